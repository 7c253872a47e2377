"""Cloud storage, with real servers on loopback."""

from __future__ import annotations

import glob
import importlib.util
import json
import os
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import obstore
import polars as pl
import pytest
import servers
import trustme
from engines import ENGINES, run
from hypothesis import given
from hypothesis import strategies as st
from interpreters import run_python
from polars.testing import assert_frame_equal
from servers import Relay, aws, s3_client

import polars_imgmeta as im
from polars_imgmeta import exceptions
from polars_imgmeta.io.access import STORE_SCHEMES, Access
from polars_imgmeta.io.cloud import buckets
from polars_imgmeta.io.cloud import client as cloud_client
from polars_imgmeta.io.cloud import options as store_options
from polars_imgmeta.io.cloud.buckets import check_options, parse_location
from polars_imgmeta.io.cloud.client import StoreClient, list_objects
from polars_imgmeta.io.cloud.errors import NO_CREDENTIALS, from_store_error
from polars_imgmeta.io.listing import IMAGE_SUFFIXES
from polars_imgmeta.io.transfers import Part, Transfer

# Keys as they occur in tables, all of which Polars reads.
KEYS = [
    "plain.png",
    "a b.png",
    "a%20b.png",
    "100%.png",
    "number #1.png",
    "query?x=1&y=2.png",
    "plus+plus.png",
    "ü.png",
    "u\u0308.png",
    "emoji 😀.png",
    "folder/deeper/still.png",
    " blanks .png",
    "[brackets].png",
    "quotes'\"<>{}|^`.png",
    "back\\slash.png",
    "colon:at@equals=comma,.png",
]
SECRET, KEY_ID = servers.S3_SECRET, servers.S3_KEY_ID
CONTENT = bytes(range(32, 127)) * 100

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", autouse=True)
def _quiet_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the cloud configuration of the machine and its instance metadata."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.upper().startswith(("AWS_", "AZURE_", "GOOGLE_", "GCE_")) or name.lower() in {
                *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
            }:
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        # A closed port, so that looking for credentials fails at once.
        patch.setenv("AWS_METADATA_ENDPOINT", closed_port())
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


def closed_port() -> str:
    """Return a URL of this machine on which no server listens."""
    with socket.socket() as probe:
        probe.bind((servers.LOOPBACK, 0))
        return f"http://{servers.LOOPBACK}:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 server whose bucket `photos` holds `KEYS`."""
    with servers.s3_server(tmp_path_factory.mktemp("moto")) as url:
        client = s3_client(url)
        client.create_bucket(Bucket="photos")
        for key in KEYS:
            client.put_object(Bucket="photos", Key=key, Body=content(key))
        client.put_object(Bucket="photos", Key="empty.png", Body=b"")
        client.put_object(Bucket="photos", Key="large.png", Body=CONTENT * 400)
        yield url


@pytest.fixture(scope="module")
def s3(moto: str) -> Iterator[Relay]:
    """A relay to the S3 server."""
    with servers.relay(moto) as relay:
        yield relay


@pytest.fixture(scope="module")
def azure(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay to an Azure server whose container `photos` holds `KEYS`."""
    with (
        servers.azure_server(azurite, tmp_path_factory.mktemp("azurite")) as url,
        servers.relay(url) as relay,
    ):
        servers.put_azure(url, "photos", None)
        for key in KEYS:
            servers.put_azure(url, f"photos/{quote(key, safe='/')}", content(key))
        servers.put_azure(url, "photos/empty.png", b"")
        servers.put_azure(url, "public", None, {"x-ms-blob-public-access": "container"})
        servers.put_azure(url, "public/a.png", content("a.png"))
        yield relay


@pytest.fixture(autouse=True)
def _forget(request: pytest.FixtureRequest) -> None:
    """Clear the requests and faults that an earlier test left in a relay."""
    for name in {"s3", "azure"} & set(request.fixturenames):
        request.getfixturevalue(name).forget()


def content(key: str) -> bytes:
    """Return the content of an object, which is unique."""
    return key.encode() + b"\n" + CONTENT


def az(url: str, **more: str) -> dict[str, str]:
    """Return options for Azure."""
    return {
        "azure_storage_account_name": servers.AZURE_ACCOUNT,
        "azure_storage_account_key": servers.AZURE_KEY,
        "azure_endpoint": f"{url}/{servers.AZURE_ACCOUNT}",
        **more,
    }


def gs(url: str, **more: str) -> dict[str, str]:
    """Return options for Google, whose storage has an XML API like that of S3."""
    return {"google_base_url": url, "google_bearer_token": SECRET, **more}


def read(
    url: str,
    options: dict[str, str] | None,
    extent: tuple[int, int] | None = None,
    **limits: Any,  # noqa: ANN401 - of Access
) -> Part:
    """Read with a new client."""
    access = Access(**limits)
    with Transfer(access) as transfer:
        return StoreClient(options, access).read(url, transfer, extent)


def fails(
    url: str, options: dict[str, str] | None, extent: tuple[int, int] | None = None, **limits: float
) -> str:
    """Return kind and message of a failing read, which must contain no secret and no URL."""
    with pytest.raises(exceptions.ImageError) as caught:
        read(url, options, extent, **limits)
    message = str(caught.value)
    for word in (
        SECRET,
        KEY_ID,
        servers.AZURE_KEY,
        servers.AZURE_ACCOUNT,
        servers.LOOPBACK,
        "photos",
        "RequestId",
    ):
        assert word not in message
    assert caught.value.__cause__ is None
    return f"{caught.value.kind}: {message}"


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_literal_as_in_polars(key: str, moto: str, s3: Relay) -> None:
    """An object written by another client is read under the same key, by one request."""
    expected = content(key)
    assert read(f"s3://photos/{key}", aws(s3.url))[:3] == (expected, 0, len(expected))
    assert [(request.method, request.sent) for request in s3.requests] == [("GET", len(expected))]
    rows = pl.scan_lines(f"s3://photos/{key}", storage_options=aws(moto), glob=False)
    assert rows.collect().to_series()[0] == key


@pytest.mark.parametrize("key", KEYS)
def test_keys_of_azure_are_literal(key: str, azure: Relay) -> None:
    """The same holds for Azure, whose server checks the signature."""
    assert read(f"az://photos/{key}", az(azure.url)).data == content(key)
    assert [request.method for request in azure.requests] == ["GET"]
    rows = pl.scan_lines(f"az://photos/{key}", storage_options=az(azure.url), glob=False)
    assert rows.collect().to_series()[0] == key


def everywhere(moto: str, azure: Relay) -> dict[str, str]:
    """Return options for all clouds at once."""
    return {**aws(moto), **gs(moto), **az(azure.url)}


def test_one_column_contains_all_clouds(moto: str, azure: Relay) -> None:
    """One client reads from all clouds, in many threads, each with its own options."""
    roots = [f"{scheme}://photos" for scheme in STORE_SCHEMES]
    roots += ["S3://photos", f"abfss://photos@{servers.AZURE_ACCOUNT}.dfs.core.windows.net"]
    keys = ["plain.png", "a b.png", "folder/deeper/still.png"]
    access = Access()
    client = StoreClient(everywhere(moto, azure), access)

    def fetch(url: str) -> bytes:
        with Transfer(access) as transfer:
            return client.read(url, transfer, None).data

    urls = [f"{root}/{key}" for root in roots for key in keys] * 3
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(fetch, urls))
    assert found == [content(key) for root in roots for key in keys] * 3


@pytest.mark.parametrize("cloud", ["s3", "az", "gs"])
@given(position=st.integers(0, 12_000), length=st.integers(1, 12_000))
def test_a_part_is_a_slice(cloud: str, moto: str, azure: Relay, position: int, length: int) -> None:
    """A part has the right position and total size, even beyond the end."""
    whole = content("plain.png")
    part = read(f"{cloud}://photos/plain.png", everywhere(moto, azure), (position, length))
    assert part[:3] == (whole[position : position + length], position, len(whole))


def test_a_part_transfers_nothing_else(s3: Relay) -> None:
    """A part of a large object takes one request, and no more bytes than requested."""
    part = read("s3://photos/large.png", aws(s3.url), (1000, 32_768))
    assert part[:3] == ((CONTENT * 400)[1000:33_768], 1000, len(CONTENT) * 400)
    (request,) = s3.requests
    assert (request.range, request.sent) == ("bytes=1000-33767", 32_768)


def test_a_large_object_takes_one_request(s3: Relay) -> None:
    """A large object is assembled from many chunks of one request."""
    assert read("s3://photos/large.png", aws(s3.url)).data == CONTENT * 400
    assert len(s3.requests) == 1


class Announcing:
    """A response of obstore whose content is not what it announces."""

    def __init__(self, announced: int, chunks: list[bytes]) -> None:
        self.range = (0, announced)
        modified = datetime(2026, 1, 1, tzinfo=UTC)
        self.meta = {"size": announced, "last_modified": modified, "e_tag": None}
        self.chunks = chunks

    def stream(self, min_chunk_size: int) -> Iterator[bytes]:
        """Return the content."""
        del min_chunk_size
        return iter(self.chunks)


@pytest.mark.parametrize(
    ("announced", "chunks", "message"),
    [
        (100, [b"x" * 30, b"y" * 30], "the store sent 60 bytes in place of 100"),
        (100, [], "the store sent 0 bytes in place of 100"),
        (100, [b"x" * 99, b"yz"], "the store sent 101 or more bytes in place of 100"),
        (0, [b"x"], "the store sent 1 or more bytes in place of 0"),
    ],
)
def test_content_of_another_length_than_announced(
    announced: int, chunks: list[bytes], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again, and then the row is unreachable: nothing is filled up with zeros."""
    tries = []

    def get(*_: object, **__: object) -> Announcing:
        tries.append(1)
        return Announcing(announced, chunks)

    monkeypatch.setattr(obstore, "get", get)
    options = {**aws("http://127.0.0.1:1"), "max_retries": "1"}
    with pytest.raises(im.UnreachableError, match=f"^{message}$"):
        read("s3://photos/plain.png", options)
    assert len(tries) == 2


def test_a_defect_of_this_package_is_no_failure_of_an_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What neither obstore nor the system raises ends the extraction."""

    def get(*_: object, **__: object) -> None:
        message = "a defect"
        raise TypeError(message)

    monkeypatch.setattr(obstore, "get", get)
    frame = pl.DataFrame({"url": ["s3://photos/plain.png"]})
    with pytest.raises(TypeError, match="a defect"):
        im.extract(frame, "url", storage_options=aws("http://127.0.0.1:1"))


def test_a_server_without_ranges_returns_the_whole(s3: Relay) -> None:
    """The whole is accepted as a part that starts at zero."""
    s3.faults += [servers.without_range]
    whole = content("plain.png")
    part = read("s3://photos/plain.png", aws(s3.url), (5, 6))
    assert part[:3] == (whole, 0, len(whole))


@pytest.mark.parametrize("cloud", ["s3", "az"])
@pytest.mark.parametrize("extent", [None, (0, 10), (5, 10)])
def test_empty_objects(cloud: str, extent: tuple[int, int] | None, moto: str, azure: Relay) -> None:
    """An empty object yields an empty part for every extent."""
    position = extent[0] if extent else 0
    part = read(f"{cloud}://photos/empty.png", everywhere(moto, azure), extent)
    assert part[:3] == (b"", position, 0)


@pytest.mark.parametrize("cloud", ["s3", "az", "gs"])
@pytest.mark.parametrize("key", ["plain.png", "empty.png"])
def test_every_request_gives_the_same_facts(
    cloud: str, key: str, moto: str, azure: Relay, s3: Relay
) -> None:
    """Content, part, HEAD and listing declare the same size, time and tag."""
    url, options = f"{cloud}://photos/{key}", everywhere(moto, azure)
    facts = read(url, options).facts
    assert facts.file_size == (0 if key == "empty.png" else len(content(key)))
    assert facts.modified is not None
    assert abs(facts.modified - datetime.now(UTC)) < timedelta(hours=1)
    assert facts.etag
    assert '"' not in facts.etag
    assert read(url, options, (0, 10)).facts == facts
    head = read(url, options, (0, 0))
    assert (head.data, head.position, head.facts) == (b"", 0, facts)
    assert dict(list_objects(f"{cloud}://photos/", {".png"}, options, Access()))[url] == facts
    assert dict(list_objects(url, {".png"}, options, Access())) == {url: facts}
    assert read(f"s3://photos/{key}", aws(s3.url), (0, 0)).data == b""
    assert [(request.method, request.sent) for request in s3.requests] == [("HEAD", 0)]


@pytest.mark.parametrize("extent", [None, (0, 10)])
def test_missing_objects_and_buckets(
    extent: tuple[int, int] | None, moto: str, azure: Relay
) -> None:
    """A missing object and a missing bucket have different messages."""
    options = everywhere(moto, azure)
    for cloud in ("s3", "az", "gs"):
        missing = fails(f"{cloud}://photos/nowhere.png", options, extent)
        assert missing == "not_found: no such object"
        missing = fails(f"{cloud}://nobucket/plain.png", options, extent)
        assert missing == "not_found: no such bucket"


def test_wrong_credentials(azure: Relay) -> None:
    """A server that checks the signature denies access."""
    wrong = az(azure.url) | {"azure_storage_account_key": "d3Jvbmc="}
    assert fails("az://photos/plain.png", wrong) == "access_denied: the store answered 403"
    assert len(azure.requests) == 1


FAST = {"retry_init_backoff_ms": "1"}
TEMPORARY = [servers.answer(429), servers.answer(500), servers.answer(503), servers.reset]


@pytest.mark.parametrize("fault", TEMPORARY, ids=["429", "500", "503", "reset"])
@pytest.mark.parametrize("extent", [None, (0, 100)])
def test_transient_faults_are_retried(
    fault: servers.Fault, extent: tuple[int, int] | None, s3: Relay
) -> None:
    """A few transient faults before a success are retried."""
    s3.faults += [fault] * 3
    part = read("s3://photos/plain.png", aws(s3.url, **FAST), extent)
    assert part.data == content("plain.png")[: extent and extent[1]]
    assert s3.requests[-1].status in {200, 206}
    assert not s3.faults


@pytest.mark.parametrize(
    ("fault", "failure", "tries"),
    [
        (servers.answer(503), "unreachable: the store answered 503", 3),
        (servers.answer(429), "unreachable: the store answered 429", 3),
        (servers.answer(400), "unreachable: the store answered 400", 1),
        (servers.answer(401), "access_denied: the store answered 401", 1),
        (servers.answer(403, SECRET.encode()), "access_denied: the store answered 403", 1),
        (
            servers.answer(400, b"<Error><Code>ExpiredToken</Code></Error>"),
            "access_denied: the store answered 400",
            1,
        ),
        (
            servers.answer(301, x_amz_bucket_region="eu-west-1"),
            "unreachable: the bucket is in another region: name it by `aws_region`",
            1,
        ),
        (servers.reset, "unreachable: the connection to the store failed", 3),
    ],
)
def test_permanent_faults(fault: servers.Fault, failure: str, tries: int, s3: Relay) -> None:
    """Each permanent fault is a failure of its kind, after the right number of tries."""
    s3.faults += [fault] * 9
    assert fails("s3://photos/plain.png", aws(s3.url, max_retries="2", **FAST)) == failure
    assert len(s3.faults) == 9 - tries


def test_an_invalid_response(azure: Relay) -> None:
    """A response without the headers of an object is an error."""
    azure.faults += [servers.answer(200)]
    failure = fails("az://photos/plain.png", az(azure.url))
    assert failure == "unreachable: the store answered something that is no object"


@pytest.mark.parametrize(
    "faults",
    [
        [servers.stay_silent(1.0)] * 9,
        [servers.drip(1.0)] * 9,
        [servers.reset, servers.stay_silent(1.0), servers.drip(1.0), *[servers.answer(503)] * 99],
    ],
    ids=["silence", "drip", "one after another"],
)
def test_slow_responses(faults: list[servers.Fault], s3: Relay) -> None:
    """Neither silence nor a drip lasts longer than the timeout."""
    s3.faults += faults
    options = aws(s3.url, max_retries="99", **FAST)
    failure = fails("s3://photos/plain.png", options, timeout=0.3)
    assert failure == "unreachable: it took longer than `timeout`, which is 0.3 seconds"


def test_unreachable_servers() -> None:
    """A closed port and an unknown host are unreachable."""
    options = aws(closed_port(), max_retries="0")
    failure = fails("s3://photos/a.png", options)
    assert failure == "unreachable: the connection to the store failed"
    failure = fails("s3://photos/a.png", aws("https://store.invalid"))
    assert failure == "unreachable: unknown host"


def test_certificates_are_checked(moto: str) -> None:
    """A server with an untrusted certificate is not read from, unless options allow it."""
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(servers.LOOPBACK).configure_cert(secure)
    with servers.relay(moto, secure) as relay:
        failure = fails("s3://photos/plain.png", aws(relay.url))
        assert failure == "unreachable: the certificate of the store is not trusted"
        assert not relay.requests
        options = aws(relay.url, allow_invalid_certificates="true")
        assert read("s3://photos/plain.png", options).data == content("plain.png")
        failure = fails("s3://photos/plain.png", aws(moto, allow_http="false"))
        assert failure == "access_denied: http:// is not allowed by `allow_http`"


def test_too_large_an_object_is_not_fetched(s3: Relay) -> None:
    """The size is checked before the content is read."""
    failure = fails("s3://photos/large.png", aws(s3.url), max_bytes=1000)
    assert failure == "too_large: more bytes than `max_bytes`, which is 1000"
    assert read("s3://photos/large.png", aws(s3.url), (0, 900), max_bytes=1000).data


def test_a_stopped_transfer_makes_no_request(s3: Relay) -> None:
    """No request is made for a stopped transfer."""
    stopped = threading.Event()
    stopped.set()
    access = Access()
    client = StoreClient(aws(s3.url), access)
    with Transfer(access, stopped) as transfer, pytest.raises(exceptions.UnreachableError):
        client.read("s3://photos/plain.png", transfer, None)
    assert not s3.requests


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://", "no name of a bucket"),
        ("s3:///a.png", "no name of a bucket"),
        ("s3://user:word@photos/a.png", "no name of a bucket"),
        ("s3://pho tos/a.png", "no name of a bucket"),
        ("s3://photos?x/a.png", "no name of a bucket"),
        ("s3://photos", "a bucket or a folder"),
        ("s3://photos/", "a bucket or a folder"),
        ("s3://photos/folder/", "a bucket or a folder"),
        ("s3://photos//a.png", "an empty part"),
        ("s3://photos/a//b.png", "an empty part"),
        ("s3://photos/./b.png", "an empty part"),
        ("s3://photos/a/../b.png", "an empty part"),
        ("s3://photos/a\nb.png", "a line break"),
        ("abfss://photos@example.org/a.png", "behind @ must be"),
        ("http://photos/a.png", "not a URL of cloud storage"),
        ("photos/a.png", "not a URL of cloud storage"),
    ],
)
def test_invalid_store_urls(url: str, message: str, s3: Relay) -> None:
    """An invalid URL is reported without a request."""
    failure = fails(url, aws(s3.url))
    assert failure.startswith("invalid_locator: ")
    assert message in failure
    assert not s3.requests


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Parsing returns a location with the same key, or raises the right kind of error."""
    try:
        place = parse_location(f"s3://bucket/{text}")
    except exceptions.InvalidLocatorError:
        return
    assert place.key == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aws_acess_key_id": SECRET}, "did you mean 'aws_access_key_id'?"),
        ({"azure_storage_acount_name": SECRET}, "did you mean 'azure_storage_account_name'?"),
        ({"nonsense": SECRET}, "must be named as in Polars, got 'nonsense'"),
        ({"AWS_REGION": "x", "aws_region": "y"}, "got 'AWS_REGION' and 'aws_region'"),
        ({"endpoint": "http://x", "endpoint_url": "http://y"}, "got 'endpoint' and 'endpoint_url'"),
        ({"aws_allow_http": True}, "must be a string, such as 'true', got one of type bool"),
        ({"aws_skip_signature": SECRET}, "['aws_skip_signature']` must be 'true' or 'false'"),
        ({"aws_endpoint_url": SECRET}, "a URL that begins with http:// or https://"),
        ({"aws_endpoint_url": "http://h:99999"}, "a URL that begins with"),
        ({"google_base_url": "http://"}, "a URL that begins with"),
        ({"azure_endpoint": "ftp://h"}, "a URL that begins with"),
        ({"aws_session_token": f"{SECRET}\n"}, "without line breaks"),
        ({"azure_storage_token": f"{SECRET}\n"}, "without line breaks"),
        ({"google_bearer_token": f"{SECRET}\n"}, "without line breaks"),
        ({"timeout": "soon"}, "must be a duration, such as '500ms', '30s' or '2m'"),
        ({"pool_idle_timeout": "soon"}, "must be a duration, such as '30s'"),
        ({"pool_max_idle_per_host": "many"}, "must be a whole number"),
        ({"max_retries": "many"}, "must be a number, 0 or more"),
        ({"max_retries": True}, "must be a number, 0 or more"),
        ({"azure_storage_account_key": "?!"}, "must be a key in base64"),
        ({"google_service_account": f"/{SECRET}"}, "must be a file that can be read"),
        ({"google_service_account_key": "{}"}, "must be something that can be used"),
        ({"proxy_url": "http://"}, "must be something that can be used"),
        ({"aws_access_key_id": SECRET}, "both keys of AWS or none, got only 'aws_access_key_id'"),
        ({"aws_profile": SECRET}, "['aws_profile']`: no such profile"),
        (
            {"aws_profile": "x", "aws_access_key_id": SECRET},
            "a profile or keys, not both, got 'aws_profile' and 'aws_access_key_id'",
        ),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    """A wrong option is reported when it is passed, without its value."""
    with pytest.raises(ValueError, match="storage_options") as caught:
        check_options(options)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def test_all_options_are_known_to_obstore() -> None:
    """All option names of this package are accepted by obstore."""
    refused: list[str] = []
    connection = store_options.CONNECTION_NAMES
    for cloud, names in store_options.NAMES.items():
        for name in {*names, *connection} - {"profile"}:
            given = {name: "x"}
            config, client = ({}, given) if name in connection else (given, {})
            try:
                buckets.build_store(cloud, "bucket", config, {"client_options": client})
            except (obstore.exceptions.BaseError, ValueError) as error:
                unknown = isinstance(error, obstore.exceptions.UnknownConfigurationKeyError)
                refused += [name] * (unknown or "Invalid key" in str(error))
    assert not refused


def test_options_of_polars_without_effect_are_ignored() -> None:
    """Options of Polars that do not apply here are accepted and ignored."""
    check_options({"file_cache_ttl": 60, "google_bucket": "b", "rate_read_init": 3})  # type: ignore[dict-item]
    check_options({"max_retries": 3, "retry_timeout_ms": 5000})  # type: ignore[dict-item]
    check_options({"AWS_ALLOW_HTTP": "true", "aws_region": "", "timeout": "2m"})
    check_options(None)


def test_prefixed_options_take_precedence(s3: Relay) -> None:
    """A cloud's prefixed option takes precedence over a shared one."""
    options = aws(s3.url, token="shared", region="nowhere", aws_session_token="of-aws")  # noqa: S106
    check_options(options)
    parsed = store_options.parse_options(options)
    tokens = {parsed["gs"].config["bearer_token"], parsed["az"].config["token"]}
    assert tokens == {"shared"}
    assert read("s3://photos/plain.png", options).data
    assert "/us-east-1/" in identity(s3)


def identity(relay: Relay) -> str:
    """Return the identity in the last request."""
    return relay.requests[-1].authorization or "anonymous"


def test_environment(s3: Relay, azure: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment supplies what the options leave out."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert read("s3://photos/plain.png", None).data
    assert "Credential=from-environment/" in identity(s3)
    assert "/eu-central-1/" in identity(s3)
    assert read("s3://photos/plain.png", aws(s3.url)).data
    assert f"Credential={KEY_ID}/" in identity(s3)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", servers.AZURE_ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", servers.AZURE_KEY)
    monkeypatch.setenv("AZURE_ENDPOINT", f"{azure.url}/{servers.AZURE_ACCOUNT}")
    assert read("az://photos/plain.png", None).data
    monkeypatch.setenv("AWS_ENDPOINT_URL", SECRET)
    failure = fails("s3://photos/plain.png", None)
    assert failure.startswith("access_denied: the variable AWS_ENDPOINT_URL must be a URL")
    assert read("s3://photos/plain.png", aws(s3.url)).data


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: Relay) -> Path:
    """The folder of AWS configuration files, in a temporary home directory."""
    folder = tmp_path / ".aws"
    folder.mkdir()
    provide = json.dumps({"Version": 1, "AccessKeyId": "from-process", "SecretAccessKey": "x"})
    (folder / "answer.json").write_text(provide)
    (folder / "config").write_text(
        f"[default]\nregion = eu-north-1\nendpoint_url = {s3.url}\n"
        f"[profile work]\nregion = eu-south-1\nendpoint_url = {s3.url}\n"
        f"[profile process]\nregion = x\ncredential_process = cat {folder / 'answer.json'}\n"
    )
    (folder / "credentials").write_text(
        f"[default]\naws_access_key_id = from-default\naws_secret_access_key = 100%{SECRET}\n"
        f"[work]\naws_access_key_id = from-work\naws_secret_access_key = {SECRET}\n"
        "aws_session_token = a-session\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def test_profiles(profiles: Path, s3: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, region and endpoint come from the configured profile in the files of AWS."""
    url = "s3://photos/plain.png"
    assert read(url, None).data
    assert "Credential=from-default/" in identity(s3)
    assert "/eu-north-1/" in identity(s3)
    check_options({"aws_profile": "work"})
    assert read(url, {"aws_profile": "work"}).data
    assert "Credential=from-work/" in identity(s3)
    assert "x-amz-security-token" in identity(s3)
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert read(url, {"aws_region": "us-west-1"}).data
    assert "Credential=from-work/" in identity(s3)
    assert "/us-west-1/" in identity(s3)
    assert read(url, aws(s3.url)).data
    assert f"Credential={KEY_ID}/" in identity(s3)
    config = (profiles / "config").read_text()
    (profiles / "config").write_text(config.replace("http://", ""))
    failure = fails(url, None)
    assert failure.startswith("access_denied: the endpoint of the profile must be a URL")
    (profiles / "credentials").write_bytes(b"\xff no file of this kind")
    monkeypatch.setenv("AWS_PROFILE", "none")
    failure = fails(url, {"aws_endpoint_url": s3.url, "aws_region": "x"})
    assert failure == f"access_denied: {NO_CREDENTIALS}"


def test_profiles_that_need_a_package(
    profiles: Path, s3: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other logins of AWS use boto3, and the error names it if it is not installed."""
    options = {"aws_profile": "process", "aws_endpoint_url": s3.url}
    check_options(options)
    assert read("s3://photos/plain.png", options).data
    assert "Credential=from-process/" in identity(s3)
    (profiles / "answer.json").write_text(f"{{{SECRET}}}")
    failure = fails("s3://photos/plain.png", options)
    assert failure == "access_denied: asking for credentials failed"
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    failure = fails("s3://photos/plain.png", options)
    assert failure == (
        "access_denied: this profile of AWS needs the package boto3: pip install boto3"
    )


def test_a_login_of_google_that_needs_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other logins of Google use google-auth, in the same way."""
    login = tmp_path / "login.json"
    login.write_text('{"type": "external_account"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(login))
    failure = fails("gs://photos/plain.png", {"google_base_url": closed_port()})
    assert failure == (
        "access_denied: this login of Google needs the package google-auth: pip install google-auth"
    )


def test_the_command_of_azure(
    tmp_path: Path, azure: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login of the command `az` needs no options."""
    command = tmp_path / "az"
    token = {"accessToken": "from-command", "expires_on": 4_000_000_000, "tokenType": "Bearer"}
    token |= {"expiresOn": "2096-10-02 07:06:40.000000", "subscription": "x", "tenant": "x"}
    command.write_text(f"#!/bin/sh\necho '{json.dumps(token)}'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    options = az(azure.url)
    del options["azure_storage_account_key"]
    azure.faults += [servers.answer(403)]
    assert fails("az://photos/plain.png", options) == "access_denied: the store answered 403"
    assert identity(azure) == "Bearer from-command"


def test_public_buckets(s3: Relay, azure: Relay) -> None:
    """Without a signature, no credentials are requested or sent."""
    options = {"aws_endpoint_url": s3.url, "aws_skip_signature": "true"}
    s3.faults += [servers.answer(200, b"public", Last_Modified=formatdate(usegmt=True))]
    assert read("s3://photos/plain.png", options).data == b"public"
    assert identity(s3) == "anonymous"
    options = {
        "azure_storage_account_name": servers.AZURE_ACCOUNT,
        "azure_endpoint": f"{azure.url}/{servers.AZURE_ACCOUNT}",
        "azure_skip_signature": "true",
    }
    assert read("az://public/a.png", options).data == content("a.png")
    assert identity(azure) == "anonymous"
    assert fails("az://photos/plain.png", options) == "access_denied: the store answered 403"


def test_missing_credentials_are_requested_once(s3: Relay) -> None:
    """The instance is asked for credentials once, not for each image."""
    s3.faults += [servers.answer(404)] * 9
    options = {"aws_endpoint_url": s3.url, "aws_region": "x", "aws_metadata_endpoint": s3.url}
    access = Access()
    client = StoreClient(options, access)

    def fetch(_: int) -> str:
        with Transfer(access) as transfer, pytest.raises(exceptions.AccessDeniedError) as caught:
            client.read("s3://photos/plain.png", transfer, None)
        return str(caught.value)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(fetch, range(40))) == {NO_CREDENTIALS}
    assert [request.path for request in s3.requests] == ["/latest/api/token"]


def test_credentials_of_the_instance(s3: Relay) -> None:
    """The metadata of the instance supplies credentials if nothing else does."""
    credentials = {"AccessKeyId": "from-instance", "SecretAccessKey": "x", "Token": "t"}
    credentials["Expiration"] = "2096-10-02T07:06:40Z"
    s3.faults += [
        servers.answer(200, b"token"),
        servers.answer(200, b"role"),
        servers.answer(200, json.dumps(credentials).encode()),
    ]
    options = {"aws_endpoint_url": s3.url, "aws_region": "x", "aws_metadata_endpoint": s3.url}
    assert read("s3://photos/plain.png", options).data == content("plain.png")
    assert "Credential=from-instance/" in identity(s3)


def test_the_region_of_a_bucket_is_requested(s3: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """The region of an AWS bucket is requested once, unless it is configured."""
    monkeypatch.setattr(buckets, "REGION_URL", f"{s3.url}/{{bucket}}")
    s3.faults += [servers.answer(403, x_amz_bucket_region="eu-west-3"), servers.reset]
    assert [buckets.region_of("bucket", {}, 5) for _ in range(2)] == ["eu-west-3", "eu-west-3"]
    assert buckets.region_of("other", {}, 5) is None
    assert buckets.region_of("bucket", {"region": "configured"}, 5) is None
    assert [(request.method, request.path) for request in s3.requests] == [("HEAD", "/bucket")]


def test_a_region_without_an_answer_costs_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the resolver hangs, which no limit of a request covers."""
    hanging = threading.Event()
    monkeypatch.setattr(buckets, "_request_region", lambda *_: hanging.wait())
    assert buckets.region_of("bucket", {}, 0.2) is None
    hanging.set()


def test_a_store_that_another_thread_creates_is_not_waited_for_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An image waits for it no longer than it may take."""
    begun, goes_on = threading.Event(), threading.Event()

    def create(*_: object, **__: object) -> None:
        begun.set()
        goes_on.wait()
        message = "too late"
        raise exceptions.AccessDeniedError(message)

    monkeypatch.setattr(cloud_client, "make_store", create)
    access = Access(timeout=0.5)
    client = StoreClient(aws("http://127.0.0.1:1"), access)

    def read_one() -> str:
        with Transfer(access) as transfer, pytest.raises(exceptions.ImageError) as caught:
            client.read("s3://photos/plain.png", transfer, None)
        return str(caught.value)

    with ThreadPoolExecutor(1) as other:
        first = other.submit(read_one)
        assert begun.wait(30)
        assert read_one() == "it took longer than `timeout`, which is 0.5 seconds"
        goes_on.set()
        assert first.result() == "too late"


@given(st.text(), st.text())
def test_no_message_quotes_obstore(message: str, details: str) -> None:
    """Every message of obstore maps to one of a few fixed messages."""
    raised = obstore.exceptions.GenericError(
        f"{message} HTTP error {SECRET}\n\nDebug source:{details}"
    )
    assert str(from_store_error(raised)) in {
        "the connection to the store failed",
        "unknown host",
        "the certificate of the store is not trusted",
    }


FORK = """
import os
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.cloud.client import StoreClient
from polars_imgmeta.io.transfers import Transfer
access = Access(timeout=10)
client = StoreClient({options!r}, access)
def read():
    try:
        with Transfer(access) as transfer:
            return len(client.read("s3://photos/plain.png", transfer, None).data)
    except Exception as error:
        return error
for used in (False, True):
    if used:
        print("parent", read(), flush=True)
    if (child := os.fork()) == 0:
        print("child", read(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_forked_processes(moto: str) -> None:
    """A child process reads if its parent has not; otherwise it gets an error."""
    done = run_python(FORK.format(options=aws(moto)), Path.cwd(), "-W", "ignore")
    size = len(content("plain.png"))
    assert done.stdout.splitlines() == [
        f"child {size}",
        f"parent {size}",
        "child a forked process cannot read cloud storage once its parent has; spawn it instead",
    ], done.stderr


def listed(source: str, options: dict[str, str]) -> list[tuple[str, int]]:
    """Return the listing of a source."""
    found = list_objects(source, IMAGE_SUFFIXES, options, Access())
    return [(url, facts.file_size or 0) for url, facts in found]


@pytest.mark.parametrize("cloud", ["s3", "az", "gs"])
def test_listed_objects_can_be_read(cloud: str, moto: str, azure: Relay) -> None:
    """A bucket lists its images, each by a locator that can be read, with its size."""
    options = everywhere(moto, azure)
    rows = listed(f"{cloud}://photos", options)
    assert rows == listed(f"{cloud}://photos/", options)
    urls = [url for url, _ in rows]
    expected = {f"{cloud}://photos/{key}" for key in [*KEYS, "empty.png"]}
    if cloud == "az":  # its server treats \\ as /
        expected = {url.replace("\\", "/") for url in expected}
    assert expected <= set(urls)
    assert urls == sorted(urls)
    for url, size in rows:
        assert len(read(url, options).data) == size


@pytest.fixture(scope="module")
def many(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files with the keys of the objects in the bucket `many`."""
    folder = tmp_path_factory.mktemp("many")
    names = [
        f"{year}/{month:02}/{day}.JPG"
        for year in (2023, 2024)
        for month in (1, 2, 11)
        for day in range(200)
    ]
    names += ["2023.png", "2023/notes.txt", "2024-extra/a.jpg", "deep/er/and/deeper.png", "[x].png"]
    s3_client(moto).create_bucket(Bucket="many")
    store, _ = buckets.make_store(
        parse_location("s3://many"), store_options.parse_options(aws(moto))["s3"], 30, max_retries=0
    )
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: obstore.put(store, name, b"x"), names))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_many_objects_take_several_pages(many: Path, s3: Relay) -> None:
    """More objects than fit on one page are all listed, in order, images only."""
    urls = [url for url, _ in listed("s3://many", aws(s3.url))]
    files = [str(path.relative_to(many)) for path in many.rglob("*") if path.is_file()]
    assert urls == [f"s3://many/{name}" for name in sorted(files) if name != "2023/notes.txt"]
    assert len(s3.requests) == 2
    below = [url for url, _ in listed("s3://many/2023", aws(s3.url))]
    assert below == [url for url in urls if url.startswith("s3://many/2023/")]
    assert below == [url for url, _ in listed("s3://many/2023/", aws(s3.url))]


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "*.png",
        "2023/*/1?.JPG",
        "2023/0[12]/7*",
        "**/*.png",
        "2024/**",
        "**/1/*",
        "20*/*.jpg",
        "[[]x].png",
        "2023/**/9.JPG",
        "**/deeper*",
        "none*",
    ],
)
def test_patterns_match_as_in_folders(pattern: str, many: Path, moto: str) -> None:
    """Every match is listed, whatever its suffix, in order of names."""
    found = sorted(
        name
        for name in glob.glob(pattern, root_dir=many, recursive=True)  # noqa: PTH207 - the reference behaviour
        if (many / name).is_file()
    )
    assert [url for url, _ in listed(f"s3://many/{pattern}", aws(moto))] == [
        f"s3://many/{name}" for name in found
    ]


@pytest.mark.usefixtures("many")
def test_listing_one_object_or_none(moto: str, azure: Relay) -> None:
    """An object lists itself, even if its name looks like a pattern; no object is an error."""
    assert listed("s3://many/2023.png", aws(moto)) == [("s3://many/2023.png", 1)]
    assert listed("s3://many/[x].png", aws(moto)) == [("s3://many/[x].png", 1)]
    for source in ("s3://many/nowhere", "s3://many/nowhere/", "s3://nobucket", "s3://nobucket/*"):
        with pytest.raises(exceptions.NotFoundError):
            listed(source, aws(moto))
    with pytest.raises(exceptions.AccessDeniedError):
        listed("az://photos", az(azure.url) | {"azure_storage_account_key": "d3Jvbmc="})


def ppm(width: int, height: int = 1) -> bytes:
    """Return an image whose size in bytes depends on its area."""
    return b"P6 %05d %05d 255\n" % (width, height) + bytes(3 * width * height)


def put(cloud: str, origin: str, key: str, body: bytes) -> None:
    """Write an object into the container `fresh`."""
    if cloud == "az":
        servers.put_azure(origin, f"fresh/{key}", body)
    else:
        s3_client(origin).put_object(Bucket="fresh", Key=key, Body=body)


@pytest.mark.parametrize(
    ("cloud", "engine"), list(zip(["s3", "gs", "az"], ENGINES, strict=True)), ids=["s3", "gs", "az"]
)
def test_refresh_asks_each_object_once(
    cloud: str, engine: str, moto: str, s3: Relay, request: pytest.FixtureRequest
) -> None:
    """Of a hundred objects those that changed are read, and each is asked once for its facts."""
    relay, origin, options = s3, moto, gs(s3.url) if cloud == "gs" else aws(s3.url)
    if cloud == "az":
        relay = request.getfixturevalue("azure")
        origin, options = relay.url, az(relay.url)
    with suppress(urllib.error.HTTPError):  # it exists from the last run
        if cloud == "az":
            servers.put_azure(origin, "fresh", None)
        else:
            s3_client(origin).create_bucket(Bucket="fresh")
    for number in range(100):
        put(cloud, origin, f"{number:03}.ppm", ppm(number + 1))
    images = im.scan_images(f"{cloud}://fresh", storage_options=options).collect()
    assert len(images) == 100
    relay.forget()
    properties = ["standard", "source"]
    frame = im.extract(images, "path", properties, storage_options=options)
    assert Counter(one.method for one in relay.requests) == {"GET": 100}
    for name in ("file_size", "modified", "etag"):
        assert frame["path_imgmeta"].struct.field(name).to_list() == images[name].to_list()

    put(cloud, origin, "010.ppm", ppm(1000))
    put(cloud, origin, "020.ppm", ppm(1, 21))  # as large as before
    store, _ = buckets.make_store(
        parse_location(f"{cloud}://fresh"),
        store_options.parse_options(options)[cloud],
        30,
        max_retries=0,
    )
    obstore.delete(store, "030.ppm")
    relay.forget()

    def refresh(lazy: Any) -> Any:  # noqa: ANN401 - a frame of either kind
        return im.refresh(lazy, storage_options=options)

    done = run(engine, frame, refresh)
    asked = Counter(
        (one.method, unquote(one.path.partition("?")[0])[-7:]) for one in relay.requests
    )
    heads = {("HEAD", f"{number:03}.ppm"): 1 for number in range(100)}
    assert asked == {**heads, **{("GET", f"0{number}.ppm"): 1 for number in (10, 20, 30)}}
    changed = {10: 1000, 20: 1, 30: None}
    values = done["path_imgmeta"].struct
    assert values.field("width").to_list() == [changed.get(row, row + 1) for row in range(100)]
    assert values.field("error")[30] == "not_found: no such object"
    again = im.extract(images, "path", properties, storage_options=options)
    assert_frame_equal(done, again)

    relay.forget()
    assert_frame_equal(run(engine, done, refresh), done)
    assert {one.method for one in relay.requests} == {"HEAD"}
    state = im.status(frame, check_sources=True, storage_options=options)["state"]
    assert Counter(state) == {"ok": 97, "changed": 2, "gone": 1}
    relay.forget()
    relay.faults += [servers.answer(400)] * 100
    assert_frame_equal(refresh(frame), frame)
    assert len(relay.requests) == 100
