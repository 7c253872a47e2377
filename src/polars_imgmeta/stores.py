"""Objects in cloud storage, read and listed through obstore.

A locator is `s3://bucket/key`, `gs://bucket/key`, `az://container/key` or
`abfss://container@account.dfs.core.windows.net/key`. As in Polars, what stands behind
the bucket is the key as it is: spaces, `%`, `#` and `?` stand for themselves.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from io import BytesIO
from itertools import takewhile
from posixpath import splitext
from typing import Any, Final

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError

from polars_imgmeta import credentials
from polars_imgmeta.access import Access
from polars_imgmeta.buckets import Place, Store, make_store, parse_url
from polars_imgmeta.exceptions import (
    AccessDeniedError,
    ImageError,
    InvalidLocatorError,
    NotFoundError,
    UnreachableError,
)
from polars_imgmeta.store_errors import NO_CREDENTIALS, Failure, from_store_error
from polars_imgmeta.store_options import parse_options
from polars_imgmeta.transfers import Part, Transfer

_MOST_STORES: Final = 64
_PIECE_BYTES: Final = 1 << 20
_LISTED_AT_ONCE: Final = 1000
# For how long nobody is asked again for credentials that are not there.
_SECONDS_WITHOUT_CREDENTIALS: Final = 30
_RETRIES: Final = {
    "max_retries": 6,
    "retry_init_backoff_ms": 200,
    "retry_max_backoff_ms": 10_000,
    "retry_base_multiplier": 2,
}


class StoreClient:
    """What reads objects in cloud storage, of all clouds.

    Args:
        storage_options: As Polars takes them; each cloud takes those that it knows.
        access: Tells what an image may cost.

    Raises:
        ValueError: If an option is unknown or cannot have its value.
    """

    def __init__(self, storage_options: Mapping[str, str] | None, access: Access) -> None:
        self._options = parse_options(storage_options)
        self._timeout = access.timeout
        self._lock = threading.Lock()
        self._stores: OrderedDict[tuple[object, ...], Store] = OrderedDict()
        self._without_credentials: dict[tuple[object, ...], float] = {}

    def read(self, url: str, transfer: Transfer, extent: tuple[int, int] | None) -> Part:
        """Read an object, or a part of it: see [`Client`][polars_imgmeta.transfers.Client].

        Raises:
            ImageError: Of the kind `not_found`, `access_denied`, `unreachable`,
                `invalid_locator` or `too_large`.
        """
        place = parse_url(url)
        if not place.key or place.key.endswith("/"):
            msg = "a bucket or a folder, not an object"
            raise InvalidLocatorError(msg)
        retries = _RETRIES | self._options[place.cloud].retries
        began = time.monotonic()
        attempt = 0
        while True:
            failure = self._attempt(place, transfer, extent)
            if isinstance(failure, Part):
                return failure
            transfer.seconds_left()
            if not failure.temporary or attempt >= retries["max_retries"]:
                raise failure.error
            longest = retries["retry_init_backoff_ms"] * retries["retry_base_multiplier"] ** attempt
            longest = min(longest, retries["retry_max_backoff_ms"]) / 1000
            pause = random.uniform(longest / 2, longest)  # noqa: S311 - no secret
            until = retries.get("retry_timeout_ms", float("inf")) / 1000
            if time.monotonic() - began + pause > until or not transfer.pause(pause):
                raise failure.error
            attempt += 1

    def _attempt(
        self, place: Place, transfer: Transfer, extent: tuple[int, int] | None
    ) -> Part | Failure:
        root = place[:4]
        if time.monotonic() < self._without_credentials.get(root, 0):
            return Failure(AccessDeniedError(NO_CREDENTIALS))
        # A store has one limit for all that is asked of it: later attempts, for which
        # less time is left, go to one with half of it, or a quarter.
        left, limit = transfer.seconds_left(), self._timeout
        while limit > left * 1.1:
            limit /= 2
        try:
            return _get(self._store(place, limit), place.key, transfer, extent)
        except ImageError:
            raise
        except credentials.CredentialsError as error:
            return Failure(AccessDeniedError(str(error)))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
                raise
            failure = from_store_error(error)
        if str(failure.error) == NO_CREDENTIALS:
            self._without_credentials[root] = time.monotonic() + _SECONDS_WITHOUT_CREDENTIALS
        return failure

    def _store(self, place: Place, limit: float) -> Store:
        """Return a store whose requests take at most so many seconds."""
        _require_no_fork()
        key = (*place[:4], limit)
        with self._lock:
            if store := self._stores.get(key):
                self._stores.move_to_end(key)
                return store
        store = make_store(place, self._options[place.cloud], limit, retries=0)
        with self._lock:
            store = self._stores.setdefault(key, store)
            if len(self._stores) > _MOST_STORES:
                self._stores.popitem(last=False)
        return store


def _get(store: Store, key: str, transfer: Transfer, extent: tuple[int, int] | None) -> Part:
    if extent is None:
        return _take(obstore.get(store, key), transfer)
    position, length = extent
    try:
        options: Any = {"range": (position, position + length)}
        return _take(obstore.get(store, key, options=options), transfer)
    except BaseError as error:
        told = str(error).partition("\n\nDebug source:")[0]
        if "non-partial response" in told:
            return _take(obstore.get(store, key), transfer)
        # It ends before the position; how long it is, nothing but its head tells.
        if "status code: 416" in told or "start is after the end" in told.lower():
            return Part(b"", position, obstore.head(store, key)["size"])
        raise


def _take(result: obstore.GetResult, transfer: Transfer) -> Part:
    start, end = result.range
    transfer.hold(end - start)
    # A stream in memory gives its bytes without a copy once it has all of them, and
    # makes room for them once if the last is written first.
    data = BytesIO()
    for piece in result.stream(min_chunk_size=_PIECE_BYTES):
        if len(piece) == end - start:
            return Part(bytes(piece), start, result.meta["size"])
        if not data.tell():
            data.seek(end - start - 1)
            data.write(b"\0")
            data.seek(0)
        data.write(piece)
    return Part(data.getvalue(), start, result.meta["size"])


def list_objects(
    source: str,
    suffixes: Collection[str],
    storage_options: Mapping[str, str] | None,
    access: Access,
) -> Iterator[tuple[str, int]]:
    """List the objects below a prefix, or those that a pattern matches.

    Args:
        source: A bucket, or a folder in one, whose objects are known by their suffix, in
            all folders below it; or an object; or a pattern with `*`, `?`, `[...]` or
            `**`, which alone decides.
        suffixes: Those of images, in lower case.
        storage_options: As Polars takes them.
        access: Tells how long a request may take.

    Yields:
        The URL of each object, and its size in bytes, in the order of names.

    Raises:
        ImageError: If there is nothing below the prefix (a pattern may match nothing),
            or it cannot be listed.
    """
    place = parse_url(source)
    root = source[: len(source) - len(place.key)].rstrip("/") + "/"
    parts = place.key.strip("/").split("/") if place.key else []
    fixed = list(takewhile(lambda part: not has_magic(part), parts))
    _require_no_fork()
    try:
        options = parse_options(storage_options)[place.cloud]
        store = make_store(place, options, access.timeout, retries=_RETRIES["max_retries"])
        whole = _size(store, place.key)
        if whole is not None:
            # What is there first: its name may look like a pattern.
            yield root + place.key, whole
            return
        anything = False
        for pieces in obstore.list(store, "/".join(fixed) or None, chunk_size=_LISTED_AT_ONCE):
            for meta in pieces:
                anything = True
                key = meta["path"]
                if len(fixed) < len(parts):
                    wanted = _matches(key.split("/"), parts)
                else:
                    wanted = splitext(key)[1].lower() in suffixes
                if wanted:
                    yield root + key, meta["size"]
    except (ImageError, GeneratorExit):
        raise
    except credentials.CredentialsError as error:
        raise AccessDeniedError(str(error)) from None
    except (BaseError, OSError, ValueError) as error:
        raise from_store_error(error).error from None
    if not anything and len(fixed) == len(parts):
        msg = "no object is there, nor any below it"
        raise NotFoundError(msg)


def _size(store: Store, key: str) -> int | None:
    """The size of an object, or None if there is none."""
    if not key or key.endswith("/"):
        return None
    try:
        return obstore.head(store, key)["size"]
    except (FileNotFoundError, PermissionDeniedError):
        return None


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a key match those of a pattern."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        rest = pattern[1:] or ("*",)
        return any(_matches(parts[skip:], rest) for skip in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


_asked = False
_forked = False


def _note_fork() -> None:
    global _forked  # noqa: PLW0603 - of the process, as the fork is
    _forked = _asked


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_note_fork)


def _require_no_fork() -> None:
    """Refuse to wait for ever: the threads of obstore do not survive a fork."""
    global _asked  # noqa: PLW0603 - of the process
    if _forked:
        msg = "a forked process cannot read cloud storage once its parent has; spawn it instead"
        raise UnreachableError(msg)
    _asked = True
