"""Objects in cloud storage, read and listed through obstore.

A locator is `s3://bucket/key`, `gs://bucket/key`, `az://container/key` or
`abfss://container@account.dfs.core.windows.net/key`. As in Polars, the key is taken
literally, without percent-decoding: `%`, `#` and `?` have no special meaning.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import takewhile
from posixpath import splitext
from typing import Final

import obstore
from obstore.exceptions import BaseError

from polars_imgmeta.exceptions import (
    AccessDeniedError,
    InvalidLocatorError,
    NotFoundError,
    UnreachableError,
)
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.cloud.buckets import Location, Store, make_store, parse_location
from polars_imgmeta.io.cloud.errors import NO_CREDENTIALS, from_store_error, is_store_error
from polars_imgmeta.io.cloud.objects import get_object, object_facts, probe_object, require_no_fork
from polars_imgmeta.io.cloud.options import parse_options
from polars_imgmeta.io.retries import TransientError
from polars_imgmeta.io.sources import SourceFacts
from polars_imgmeta.io.transfers import Part, Transfer

_MAX_STORES: Final = 64
_LIST_PAGE_SIZE: Final = 1000
# How long missing credentials are not asked for again.
_SECONDS_WITHOUT_CREDENTIALS: Final = 30


class _StoreSlot:
    """A store that threads share, None until the first of them creates it under a lock."""

    def __init__(self) -> None:
        self.store: Store | None = None
        self.creation_lock = threading.Lock()
        self.has_credentials = False
        self._credential_lock = threading.Lock()
        self._missing_until = 0.0

    @contextmanager
    def credential_lock(self, transfer: Transfer) -> Iterator[None]:
        """Serialize requests until one of them shows that there are credentials.

        An instance may take long to report that it has no credentials, or not answer at
        all: one request waits for that, instead of every one.
        """
        lock = nullcontext() if self.has_credentials else _held(self._credential_lock, transfer)
        with lock:
            missing = time.monotonic() < self._missing_until
            try:
                if missing:
                    raise AccessDeniedError(NO_CREDENTIALS)
                yield
            except BaseError as error:
                missing = str(from_store_error(error)) == NO_CREDENTIALS
                if missing:
                    self._missing_until = time.monotonic() + _SECONDS_WITHOUT_CREDENTIALS
                raise
            finally:
                self.has_credentials = not missing


@contextmanager
def _held(lock: threading.Lock, transfer: Transfer) -> Iterator[None]:
    """Hold a lock, for which a transfer waits no longer than it may take."""
    if not lock.acquire(timeout=transfer.seconds_left()):
        raise UnreachableError(transfer.overdue())
    try:
        yield
    finally:
        lock.release()


class StoreClient:
    """Reads objects in cloud storage of all providers, in any number of threads.

    Raises:
        ValueError: If a storage option is unknown or has an invalid value.
    """

    def __init__(self, storage_options: Mapping[str, str] | None, access: Access) -> None:
        self._options = parse_options(storage_options)
        self._access = access
        self._lock = threading.Lock()
        self._slots: OrderedDict[tuple[object, ...], _StoreSlot] = OrderedDict()

    def read(self, url: str, transfer: Transfer, extent: tuple[int, int] | None) -> Part:
        """Read an object, or a part of it: see [`Client`][polars_imgmeta.io.transfers.Client].

        Raises:
            ImageError: Of the kind `not_found`, `access_denied`, `unreachable`,
                `invalid_locator` or `too_large`.
        """
        location = parse_location(url)
        self._access.require_host(location.cloud, location.host)
        if not location.key or location.key.endswith("/"):
            msg = "a bucket or a folder, not an object"
            raise InvalidLocatorError(msg)
        retries = self._options[location.cloud].retry_policy
        try:
            return retries.run(transfer, lambda: self._attempt(location, transfer, extent))
        except TransientError as error:
            raise UnreachableError(str(error)) from None

    def _attempt(
        self, location: Location, transfer: Transfer, extent: tuple[int, int] | None
    ) -> Part:
        # A store has one timeout for all its requests: retries, which have less time
        # left, use a store with half the timeout, a quarter, and so on.
        left, timeout = transfer.seconds_left(), self._access.timeout
        while timeout > left * 1.1:
            timeout /= 2
        slot = self._slot((*location[:4], timeout))
        try:
            with _held(slot.creation_lock, transfer):
                if slot.store is None:
                    options = self._options[location.cloud]
                    slot.store, slot.has_credentials = make_store(
                        location, options, timeout, max_retries=0
                    )
            with slot.credential_lock(transfer):
                return get_object(slot.store, location.key, transfer, extent)
        except BaseException as error:  # a panic of obstore is no Exception
            if not is_store_error(error):
                raise
            failure = from_store_error(error)
        transfer.seconds_left()
        raise failure

    def _slot(self, key: tuple[object, ...]) -> _StoreSlot:
        require_no_fork()
        with self._lock:
            slot = self._slots.setdefault(key, _StoreSlot())
            self._slots.move_to_end(key)
            if len(self._slots) > _MAX_STORES:
                self._slots.popitem(last=False)
        return slot


def list_objects(
    source: str,
    suffixes: Collection[str],
    storage_options: Mapping[str, str] | None,
    access: Access,
) -> Iterator[tuple[str, SourceFacts]]:
    """List the objects below a prefix, or those that a pattern matches.

    `source` is a bucket or a folder in one, listed recursively and filtered by suffixes, in
    lower case; or an object; or a pattern with `*`, `?`, `[...]` or `**`, which selects objects
    of any suffix.

    Yields:
        The URL and the facts of each object, in ascending order of names.

    Raises:
        ImageError: If nothing is below the prefix (a pattern may match nothing), or it
            cannot be listed.
    """
    location = parse_location(source)
    access.require_host(location.cloud, location.host)
    root = source[: len(source) - len(location.key)].rstrip("/") + "/"
    parts = location.key.strip("/").split("/") if location.key else []
    fixed = list(takewhile(lambda part: not has_magic(part), parts))
    is_pattern = len(fixed) < len(parts)
    require_no_fork()
    try:
        options = parse_options(storage_options)[location.cloud]
        retries = int(options.retry_policy.max_retries)
        store, _ = make_store(location, options, access.timeout, max_retries=retries)
        facts = probe_object(store, location.key)
        if facts is not None:
            # An existing object comes first: its name may look like a pattern.
            yield root + location.key, facts
            return
        found = False
        for page in obstore.list(store, "/".join(fixed) or None, chunk_size=_LIST_PAGE_SIZE):
            for meta in page:
                found = True
                key = meta["path"]
                suffix = splitext(key)[1].lower()
                if _matches(key.split("/"), parts) if is_pattern else suffix in suffixes:
                    yield root + key, SourceFacts(*object_facts(meta))
    except (BaseError, OSError) as error:
        failure = from_store_error(error)
        if isinstance(failure, TransientError):
            failure = UnreachableError(str(failure))
        raise failure from None
    if not (found or is_pattern):
        msg = "no object is there, nor any below it"
        raise NotFoundError(msg)


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the parts of a key match those of a pattern."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        rest = pattern[1:] or ("*",)
        return any(_matches(parts[skip:], rest) for skip in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
