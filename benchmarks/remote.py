"""Speed of an extraction from servers, with one request at a time and with many.

    python benchmarks/remote.py [--images N] [--rounds N] [--delay MILLISECONDS]

A server for S3 and plain http, in a process of its own, answers each request after a
delay that takes no processor time. Photos are generated; the table shows medians.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import sets

import polars_imgmeta as im
from polars_imgmeta.typing import GroupName

_LOOPBACK = "127.0.0.1"
_RANGE = re.compile(rb"^range: *bytes=(\d+)-(\d*)\r$", re.IGNORECASE | re.MULTILINE)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, folder: Path, delay: float
) -> None:
    """Answer the GET requests of one connection, of a range or the whole, after the delay."""
    try:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(delay)
            name = unquote(request.split()[1].decode()).rpartition("/")[2]
            body = (folder / name).read_bytes()
            size, status, content_range = len(body), "200 OK", ""
            if match := _RANGE.search(request):
                start = int(match[1])
                end = min(int(match[2] or size), size - 1)
                body, status = body[start : end + 1], "206 Partial Content"
                content_range = f"Content-Range: bytes {start}-{end}/{size}\r\n"
            head = (
                f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{content_range}"
                'ETag: "photo"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n'
            )
            writer.write(head.encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def serve(folder: Path, delay: float, ready: Connection) -> None:
    """Serve the files of a folder, as objects of any bucket, until the process is terminated."""

    async def run() -> None:
        server = await asyncio.start_server(
            lambda reader, writer: _answer(reader, writer, folder, delay), _LOOPBACK, 0
        )
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def measure(call: Callable[[], pl.DataFrame], rounds: int) -> float:
    """Return the median seconds of a call, which must not fail for any image."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
        assert im.errors(result).is_empty()
    return statistics.median(seconds)


def main() -> None:
    """Serve, time the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=20)
    options = parser.parse_args()
    # A forked process could inherit locks that are never released.
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary:
        paths = sets.write(Path(temporary), options.images, 480, 640)
        ready, answer = context.Pipe(duplex=False)
        server = context.Process(
            target=serve, args=(Path(temporary), options.delay / 1000, answer), daemon=True
        )
        server.start()
        address = f"http://{_LOOPBACK}:{ready.recv()}"
        store = {
            "aws_endpoint_url": address,
            "aws_access_key_id": "key",
            "aws_secret_access_key": "secret",
            "aws_region": "us-east-1",
        }
        names = [Path(path).name for path in paths]
        groups: tuple[GroupName, ...] = ("standard", "geometry")
        print(f"{options.images} images, {options.delay:g} ms a request; images a second\n")
        print("| | one at a time | many at once | ratio | from the disk |")
        print("|---|--:|--:|--:|--:|")
        for properties in groups:
            local = pl.DataFrame({"url": paths})
            local_rate = options.images / measure(partial(im.extract, local, "url", properties), 3)
            for base in ("s3://photos", f"{address}/photos"):
                frame = pl.DataFrame({"url": [f"{base}/{name}" for name in names]})
                one, many = (
                    options.images
                    / measure(
                        partial(
                            im.extract,
                            frame,
                            "url",
                            properties,
                            access=access,
                            storage_options=store,
                        ),
                        options.rounds,
                    )
                    for access in (im.Access(concurrency=1), im.Access())
                )
                print(
                    f"| {properties}, {base.partition(':')[0]} | {one:,.0f} | {many:,.0f}"
                    f" | {many / one:.1f} | {local_rate:,.0f} |",
                    flush=True,
                )
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
