"""Cloud storage on loopback: real servers in their own processes, behind a relay.

A [`Relay`][servers.Relay] records the requests to a server, and injects faults.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

LOOPBACK = "127.0.0.1"
_START_SECONDS = 60
_INSTALL_SECONDS = 300
_ROOT = Path(__file__).parent.parent
# Of the session, since tests hide the proxies and the home directory that npm needs.
_ENVIRONMENT = os.environ.copy()

S3_KEY_ID, S3_SECRET = "the-key-of-the-test", "the-secret-of-the-test"

AZURITE = "azurite@3.35.0"  # the version for npm, pinned here alone
AZURE_ACCOUNT = "imgmeta"
AZURE_KEY = "c2VjcmV0LWtleS1vZi1henVyZQ=="


@dataclass(frozen=True)
class Request:
    """A request that passed a relay, with its response.

    Attributes:
        method: The method, such as `"GET"`.
        path: The path, with its query.
        range: The header, if present.
        authorization: The header, if present.
        status: The status of the response.
        sent: The number of bytes in the response's body.
    """

    method: str
    path: str
    range: str | None
    authorization: str | None
    status: int
    sent: int


Fault = Callable[["_Handler"], bool]
"""A function that answers instead of the server and returns True, or lets a request pass."""


@dataclass
class Relay:
    """A relay in front of a server, on its own port.

    Attributes:
        url: Its URL.
        requests: The requests that passed.
        faults: The faults of the next requests, one each.
    """

    url: str
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def forget(self) -> None:
        """Reset the record and the faults."""
        self.requests.clear()
        self.faults.clear()


def answer(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Return a fault that answers with this response."""

    def fault(handler: _Handler) -> bool:
        handler.reply(status, {name.replace("_", "-"): headers[name] for name in headers}, body)
        return True

    return fault


def reset(handler: _Handler) -> bool:
    """Reset the connection."""
    handler.hang_up()
    return True


def stay_silent(seconds: float) -> Fault:
    """Return a fault that sends nothing for some time, and then resets the connection."""

    def fault(handler: _Handler) -> bool:
        time.sleep(seconds)
        handler.hang_up()
        return True

    return fault


def drip(seconds: float, size: int = 1000) -> Fault:
    """Return a fault that sends single bytes for some time, of a body that would take longer."""

    def fault(handler: _Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", str(size))
        handler.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        handler.send_header("ETag", '"drip"')
        handler.end_headers()
        until = time.monotonic() + seconds
        try:
            while time.monotonic() < until:
                handler.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            pass
        handler.hang_up()
        return True

    return fault


def without_range(handler: _Handler) -> bool:
    """Return the whole object for a request of a part."""
    del handler.headers["Range"]
    return False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    relay: Relay
    target: tuple[str, int]

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client has disconnected
            self.close_connection = True

    def hang_up(self) -> None:
        """Reset the connection."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.rfile.close()
        self.connection.close()
        self.close_connection = True

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        declared = {name.lower(): value for name, value in headers.items()}.get("content-length")
        length = declared if self.command == "HEAD" and declared else str(len(body))
        self.send_header("Content-Length", length)
        # Noted before the body is sent, as the client may check it afterwards.
        self.note(status, 0 if self.command == "HEAD" else len(body))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def note(self, status: int, sent: int) -> None:
        extent = self.headers.get("Range") or self.headers.get("x-ms-range")
        authorization = self.headers.get("Authorization")
        self.relay.requests.append(
            Request(self.command, self.path, extent, authorization, status, sent)
        )

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.relay.faults and self.relay.faults.pop(0)(self):
            return
        connection = http.client.HTTPConnection(*self.target, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name != "Connection"}
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            self.reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on  # noqa: N815 - so they are named


@contextmanager
def relay(url: str, secure: ssl.SSLContext | None = None) -> Iterator[Relay]:
    """Run a relay in front of a server, with TLS if a context is given."""
    host, _, port = url.removeprefix("http://").partition(":")
    target = (host, int(port))
    server = ThreadingHTTPServer((LOOPBACK, 0), _Handler)
    server.daemon_threads = True
    instance = Relay(f"http{'s' if secure else ''}://{LOOPBACK}:{server.server_port}")
    if secure:
        server.socket = secure.wrap_socket(server.socket, server_side=True)
    server.RequestHandlerClass = type("Handler", (_Handler,), {"relay": instance, "target": target})
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield instance
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def run_server(command: list[str], log: Path, listening: str, **options: Any) -> Iterator[str]:  # noqa: ANN401
    """Run a process of a server; `listening` matches its URL in its log."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)
    try:
        until = time.monotonic() + _START_SECONDS
        while not (match := re.search(listening, log.read_text(errors="replace"))):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < until, f"{command[0]} does not start"
            time.sleep(0.02)
        yield match[0]
    finally:
        process.terminate()
        process.wait()


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run moto, which serves S3 and the XML API of Google Cloud Storage."""
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", "0"]
    with run_server(command, folder / "moto.log", rf"http://{re.escape(LOOPBACK)}:\d+") as url:
        yield url


def s3_client(url: str) -> Any:  # noqa: ANN401 - boto3 creates the class at run time
    """Return an independent client of an S3 server."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=S3_KEY_ID,
        aws_secret_access_key=S3_SECRET,
        config=Config(s3={"addressing_style": "path"}),
    )


def aws(url: str, **more: str) -> dict[str, str]:
    """Return storage options for an S3 server."""
    return {
        "aws_endpoint_url": url,
        "aws_access_key_id": S3_KEY_ID,
        "aws_secret_access_key": S3_SECRET,
        "aws_region": "us-east-1",
        **more,
    }


def find_azurite(cache: Path) -> str | None:
    """Return the path of Azurite: on PATH, installed in the checkout, or in `cache`."""
    folders = [str(prefix / "node_modules" / ".bin") for prefix in (_ROOT, cache)]
    return shutil.which("azurite-blob") or shutil.which(
        "azurite-blob", path=os.pathsep.join(folders)
    )


def install_azurite(npm: str, cache: Path) -> str | None:
    """Install the pinned Azurite into a folder and return its path, or None if npm fails."""
    options = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--prefix", str(cache)]
    try:
        subprocess.run(
            [npm, "install", *options, AZURITE],
            check=True,
            capture_output=True,
            timeout=_INSTALL_SECONDS,
            env=_ENVIRONMENT,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return find_azurite(cache)


@contextmanager
def azure_server(program: str, folder: Path) -> Iterator[str]:
    """Run Azurite, Microsoft's emulator of Blob Storage."""
    command = [program, "--blobHost", LOOPBACK, "--blobPort", "0", "--inMemoryPersistence"]
    command += ["--skipApiVersionCheck", "--disableTelemetry"]
    environment = {"AZURITE_ACCOUNTS": f"{AZURE_ACCOUNT}:{AZURE_KEY}"}
    options = {"env": os.environ | environment, "cwd": folder}
    listening = rf"http://{re.escape(LOOPBACK)}:(?!0\b)\d+"
    with run_server(command, folder / "azurite.log", listening, **options) as url:
        yield url


def put_azure(url: str, path: str, body: bytes | None, more: dict[str, str] | None = None) -> None:
    """Create a container, or a blob in one, by a signed request."""
    query, kind = (
        ("?restype=container", {}) if body is None else ("", {"x-ms-blob-type": "BlockBlob"})
    )
    headers = (
        kind | (more or {}) | {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    )
    length = str(len(body)) if body else ""
    resource = f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{path}"
    signed = [
        *("PUT", "", "", length, "", "application/octet-stream", "", "", "", "", "", ""),
        *(f"{name}:{value}" for name, value in sorted(headers.items())),
        resource + ("\nrestype:container" if query else ""),
    ]
    key = base64.b64decode(AZURE_KEY)
    digest = hmac.digest(key, "\n".join(signed).encode(), hashlib.sha256)
    headers["Authorization"] = f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}"
    headers["Content-Type"] = "application/octet-stream"
    request = urllib.request.Request(  # noqa: S310 - on loopback
        f"{url}/{AZURE_ACCOUNT}/{path}{query}", body or b"", headers, method="PUT"
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310
        assert response.status == 201
