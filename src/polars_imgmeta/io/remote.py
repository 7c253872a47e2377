"""Images on servers: whole, or the parts of them that a header needs."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, cast

from polars_imgmeta.exceptions import ImageError, UnreachableError
from polars_imgmeta.execution.runtime import Runtime
from polars_imgmeta.io.access import STORE_SCHEMES, Access
from polars_imgmeta.io.locators import scheme_of
from polars_imgmeta.io.sources import BytesSource, Source
from polars_imgmeta.io.transfers import Client, Part, Transfer

# A header is nearly always in here; a photo's preview may come before it.
_START_BYTES = 1 << 15
# Then a little more, and from some number of requests on ever more, as each takes a while.
_LEAST_AHEAD, _MOST_AHEAD = 1 << 12, 1 << 20
_SMALL_REQUESTS = 5
_MOST_WINDOWS = 3
# Whose header is in so many places, the whole is fetched of: it may be a trap.
_MOST_REQUESTS = 64


@dataclass(frozen=True, slots=True)
class Storage:
    """Where and how one call reads images.

    Attributes:
        access: What it may read, and what that may cost.
        options: How to reach cloud storage, in Polars' words.
    """

    access: Access = field(default_factory=Access)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # has secrets


def make_storage(storage_options: Mapping[str, str] | None, access: Access | None) -> Storage:
    """Check what a caller said of how images are reached.

    Raises:
        TypeError: If `access` is no `Access`, or `storage_options` no mapping of texts.
        ValueError: If an option is unknown, or cannot be of its value.
    """
    if not isinstance(access, Access | None):
        msg = f"`access` must be an `Access`, got {type(access).__name__}"
        raise TypeError(msg)
    if not isinstance(storage_options, Mapping | None):
        msg = f"`storage_options` must be a mapping, got {type(storage_options).__name__}"
        raise TypeError(msg)
    if storage_options:
        with _needing_extra("`storage_options`", ImportError):
            from polars_imgmeta.io.cloud.buckets import check_options  # noqa: PLC0415 - an extra
        check_options(storage_options)
    return Storage(access or Access(), dict(storage_options or {}))


def open_remote(url: str, storage: Storage, transfer: Transfer, *, whole: bool) -> Source:
    """Begin to read an image on a server.

    Args:
        url: Of a scheme for which there is a client.
        storage: How to read it.
        transfer: Pays for it, and is released when the image is closed; where there is
            none, by the caller.
        whole: Whether to fetch all of it at once; otherwise what is read.

    Raises:
        ImageError: If it cannot be read.
    """
    scheme = scheme_of(url) or ""
    storage.access.require_scheme(scheme)
    client = _client_for(scheme, storage, transfer.runtime)
    if not whole:
        return RangeSource(client, url, transfer)
    return FetchedSource(client.read(url, transfer, None).data, transfer)


def require_remote(scheme: str) -> None:
    """Raise `ImportError` where the extra is not installed that a scheme needs."""
    with _needing_extra(f"{scheme}://", ImportError):
        import polars_imgmeta.io.cloud.client  # noqa: F401, PLC0415 - an extra


def list_remote(
    source: str, suffixes: Collection[str], storage: Storage
) -> Iterator[tuple[str, int]]:
    """List objects of cloud storage: see `stores.list_objects`."""
    from polars_imgmeta.io.cloud.client import list_objects  # noqa: PLC0415 - an extra

    return list_objects(source, suffixes, storage.options, storage.access)


class FetchedSource(BytesSource):
    """An image that was fetched."""

    __slots__ = ("_transfer",)

    def __init__(self, data: bytes, transfer: Transfer) -> None:
        super().__init__(data)
        self._transfer = transfer

    def close(self) -> None:
        """Make room for others."""
        self._transfer.release()


class RangeSource(Source):
    """An image of which parts are fetched when they are read."""

    remote = True
    __slots__ = ("_client", "_error", "_fetched", "_requests", "_transfer", "_url", "_windows")

    def __init__(self, client: Client, url: str, transfer: Transfer) -> None:
        self._client = client
        self._url = url
        self._transfer = transfer
        self._requests = 1
        self._error: ImageError | None = None
        first = client.read(url, transfer, (0, _START_BYTES))
        self.start = first.data
        self.size = first.size
        self._fetched = len(first.data)
        self._windows = [first]

    def read(self, position: int, length: int) -> bytes:
        """Fetch that part, and some more, unless it was fetched before."""
        end = min(position + length, self.size)
        if position >= end:
            return b""
        for part in self._windows:
            if part.position <= position and end <= part.position + len(part.data):
                break
        else:
            if self._error:  # readers pass over errors, and a trap would go on
                raise type(self._error)(str(self._error))
            try:
                part = self._fetch(position, end)
            except ImageError as error:
                self._error = type(error)(str(error))
                raise
        return part.data[position - part.position : end - part.position]

    def _fetch(self, position: int, end: int) -> Part:
        self._requests += 1
        doublings = max(0, min(self._requests, _MOST_REQUESTS) - _SMALL_REQUESTS)
        ahead = max(end - position, min(_LEAST_AHEAD << doublings, _MOST_AHEAD))
        begin = max(0, min(position, self.size - ahead))
        self._fetched += ahead
        most = min(2 * self.size, self._transfer.access.max_bytes)
        whole = self._requests > _MOST_REQUESTS or self._fetched > most
        extent = None if whole else (begin, ahead)
        part = self._client.read(self._url, self._transfer, extent)
        if part.size != self.size:
            msg = "it changed while it was read"
            raise UnreachableError(msg)
        # The start is kept, and the last ones, unless they are large.
        kept = self._windows[1:][1 - _MOST_WINDOWS :] if ahead <= _MOST_AHEAD else []
        self._windows = [part] if whole else [self._windows[0], *kept, part]
        return part

    def stream(self) -> BinaryIO:
        """Wrap it for readers of files."""
        return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", _RangeStream(self))))

    def close(self) -> None:
        """Make room for others."""
        self._transfer.release()


class _RangeStream(io.RawIOBase):
    """The bytes of a source, as Python reads files."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}
        self._position = max(0, base[whence] + offset)
        return self._position

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._source.read(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        data = self._source.read(self._position, self._source.size - self._position)
        self._position += len(data)
        return data


def _client_for(scheme: str, storage: Storage, runtime: Runtime) -> Client:
    with _needing_extra(f"{scheme}://", UnreachableError):
        if scheme in STORE_SCHEMES:
            key = (frozenset(storage.options.items()), storage.access)
            return runtime.client(key, partial(_store_client, storage))
        return runtime.client(storage.access, partial(_web_client, storage))


@contextmanager
def _needing_extra(what: str, kind: type[Exception]) -> Iterator[None]:
    """Raise what names the extra, where one of its packages is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in {"obstore", "urllib3"}:
            raise
        msg = f"{what} needs an extra: pip install 'polars-imgmeta[remote]'"
        raise kind(msg) from None


def _store_client(storage: Storage) -> Client:
    from polars_imgmeta.io.cloud.client import StoreClient  # noqa: PLC0415 - an extra

    return StoreClient(storage.options, storage.access)


def _web_client(storage: Storage) -> Client:
    from polars_imgmeta.io.http.client import WebClient  # noqa: PLC0415 - an extra

    return WebClient(storage.access)
