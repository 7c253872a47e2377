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
from polars_imgmeta.io.sources import BytesSource, Source, SourceFacts
from polars_imgmeta.io.transfers import Client, Part, Transfer

# Nearly always contains the header, even behind the preview of a photo.
_START_BYTES = 1 << 15
# Later requests begin small, and grow after `_SMALL_REQUESTS`, since each costs a round trip.
_MIN_AHEAD, _MAX_AHEAD = 1 << 12, 1 << 20
_SMALL_REQUESTS = 5
_MAX_WINDOWS = 3
# After this many the whole is fetched: a malicious header may be scattered.
_MAX_REQUESTS = 64


@dataclass(frozen=True, slots=True)
class Storage:
    """How one call reaches images.

    Attributes:
        access: The access policy and its limits.
        options: The options of cloud storage, by their names in Polars.
    """

    access: Access = field(default_factory=Access)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # contains secrets


def make_storage(storage_options: Mapping[str, str] | None, access: Access | None) -> Storage:
    """Check the options of a call and return its storage.

    Raises:
        TypeError: If `access` is not an `Access`, or `storage_options` not a mapping.
        ValueError: If an option is unknown or has an invalid value.
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
    """Open a remote image.

    Args:
        url: A URL of http, https or cloud storage.
        storage: How to reach it.
        transfer: Holds its memory. Closing the source releases it; if this raises, the
            caller must.
        whole: Whether to fetch all of it at once; otherwise parts are fetched on demand.

    Raises:
        ImageError: If it cannot be read.
    """
    client = _client_for(url, storage, transfer.runtime)
    if not whole:
        return RangeSource(client, url, transfer)
    return FetchedSource(client.read(url, transfer, None), transfer)


def probe_remote(url: str, storage: Storage, transfer: Transfer) -> SourceFacts:
    """Request the current facts of a remote image, by HEAD where the server supports it.

    Raises:
        ImageError: If it does not exist or cannot be reached.
    """
    return _client_for(url, storage, transfer.runtime).read(url, transfer, (0, 0)).facts


def require_remote(scheme: str) -> None:
    """Raise `ImportError` if the extra that a scheme needs is not installed."""
    with _needing_extra(f"{scheme}://", ImportError):
        import polars_imgmeta.io.cloud.client  # noqa: F401, PLC0415 - an extra


def list_remote(
    source: str, suffixes: Collection[str], storage: Storage
) -> Iterator[tuple[str, SourceFacts]]:
    """List objects of cloud storage: see `cloud.client.list_objects`."""
    require_remote(str(scheme_of(source)))
    from polars_imgmeta.io.cloud.client import list_objects  # noqa: PLC0415 - an extra

    return list_objects(source, suffixes, storage.options, storage.access)


class FetchedSource(BytesSource):
    """A remote image that was fetched as a whole."""

    __slots__ = ("_facts", "_transfer")

    def __init__(self, part: Part, transfer: Transfer) -> None:
        super().__init__(part.data)
        self._facts = part.facts
        self._transfer = transfer

    @property
    def facts(self) -> SourceFacts:
        """The facts that the server declared."""
        return self._facts

    def close(self) -> None:
        """Release its memory."""
        self._transfer.release()


class RangeSource(Source):
    """A remote image whose parts are fetched on demand."""

    remote = True
    __slots__ = (
        *("_client", "_error", "_facts", "_fetched", "_requests", "_transfer", "_url"),
        "_windows",
    )

    def __init__(self, client: Client, url: str, transfer: Transfer) -> None:
        self._client = client
        self._url = url
        self._transfer = transfer
        self._requests = 1
        self._error: ImageError | None = None
        first = client.read(url, transfer, (0, _START_BYTES))
        self.start = first.data
        self.size = first.size
        self._facts = first.facts
        self._fetched = len(first.data)
        self._windows = [first]

    def read(self, position: int, length: int) -> bytes:
        """Fetch that part and some bytes around it, unless a window contains it."""
        end = min(position + length, self.size)
        if position >= end:
            return b""
        for part in self._windows:
            if part.position <= position and end <= part.position + len(part.data):
                break
        else:
            if self._error:  # readers ignore errors, and would make further requests
                raise type(self._error)(str(self._error))
            try:
                part = self._fetch(position, end)
            except ImageError as error:
                self._error = type(error)(str(error))
                raise
        return part.data[position - part.position : end - part.position]

    def _fetch(self, position: int, end: int) -> Part:
        self._requests += 1
        doublings = max(0, min(self._requests, _MAX_REQUESTS) - _SMALL_REQUESTS)
        ahead = max(end - position, min(_MIN_AHEAD << doublings, _MAX_AHEAD))
        begin = max(0, min(position, self.size - ahead))
        self._fetched += ahead
        limit = min(2 * self.size, self._transfer.access.max_bytes)
        whole = self._requests > _MAX_REQUESTS or self._fetched > limit
        extent = None if whole else (begin, ahead)
        part = self._client.read(self._url, self._transfer, extent)
        self._facts = _require_same(self._facts, part.facts)
        # The start and the latest windows are kept, unless they are large.
        kept = self._windows[1:][1 - _MAX_WINDOWS :] if ahead <= _MAX_AHEAD else []
        self._windows = [part] if whole else [self._windows[0], *kept, part]
        return part

    @property
    def facts(self) -> SourceFacts:
        """The facts that the server has declared so far."""
        return self._facts

    def stream(self) -> BinaryIO:
        """Return a buffered stream that fetches parts on demand."""
        return stream_of(self)

    def close(self) -> None:
        """Release its memory."""
        self._transfer.release()


def _require_same(known: SourceFacts, found: SourceFacts) -> SourceFacts:
    """Return the facts of two responses for the same object together.

    A response may lack what another one declares. Modification times count only where entity
    tags cannot be compared, since the machines behind one server may differ in them.

    Raises:
        UnreachableError: If the facts are of different versions.
    """
    validators = (known.etag, found.etag)
    if None in validators:
        validators = (known.modified, found.modified)  # type: ignore[assignment]
    if known.file_size != found.file_size or (
        None not in validators and validators[0] != validators[1]
    ):
        msg = "it changed while it was read"
        raise UnreachableError(msg)
    return SourceFacts(known.file_size, known.modified or found.modified, known.etag or found.etag)


def stream_of(source: Source) -> BinaryIO:
    """Return a buffered stream over a source, which reads parts on demand."""
    return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", _SourceStream(source))))


class _SourceStream(io.RawIOBase):
    """A raw stream over a source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}
        position = base[whence] + offset
        if position < 0:  # as streams of bytes in memory do, so that decoders see no difference
            msg = f"negative seek value {position}"
            raise ValueError(msg)
        self._position = position
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


def _client_for(url: str, storage: Storage, runtime: Runtime) -> Client:
    scheme = scheme_of(url) or ""
    storage.access.require_scheme(scheme)
    with _needing_extra(f"{scheme}://", UnreachableError):
        if scheme in STORE_SCHEMES:
            key = (frozenset(storage.options.items()), storage.access)
            return runtime.client(key, partial(_store_client, storage))
        return runtime.client(storage.access, partial(_web_client, storage))


@contextmanager
def _needing_extra(what: str, kind: type[Exception]) -> Iterator[None]:
    """Raise an exception that names the extra if one of its packages is not installed."""
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
