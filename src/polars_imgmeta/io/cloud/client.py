"""Objects in cloud storage, read and listed through obstore.

A locator is `s3://bucket/key`, `gs://bucket/key`, `az://container/key` or
`abfss://container@account.dfs.core.windows.net/key`. As in Polars, what stands behind
the bucket is the key as it is: spaces, `%`, `#` and `?` stand for themselves.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import takewhile
from posixpath import splitext
from typing import Final

import obstore
from obstore.exceptions import BaseError

from polars_imgmeta.exceptions import (
    AccessDeniedError,
    ImageError,
    InvalidLocatorError,
    NotFoundError,
    UnreachableError,
)
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.cloud import credentials
from polars_imgmeta.io.cloud.buckets import Place, Store, make_store, parse_url
from polars_imgmeta.io.cloud.errors import NO_CREDENTIALS, Failure, from_store_error
from polars_imgmeta.io.cloud.objects import get_object, require_no_fork, size_of
from polars_imgmeta.io.cloud.options import parse_options
from polars_imgmeta.io.transfers import Part, Transfer

_MOST_STORES: Final = 64
_LISTED_AT_ONCE: Final = 1000
# For how long nobody is asked again for credentials that are not there.
_SECONDS_WITHOUT_CREDENTIALS: Final = 30
_RETRIES: Final[dict[str, float]] = {
    "max_retries": 6,
    "retry_init_backoff_ms": 200,
    "retry_max_backoff_ms": 10_000,
    "retry_base_multiplier": 2,
}


class _Shelf:
    """Where the threads find a store, and wait while nobody knows its credentials.

    Attributes:
        store: None before the first of them has made it.
        making: For who makes it.
        proven: Whether there are credentials, as far as anybody knows.
    """

    def __init__(self) -> None:
        self.store: Store | None = None
        self.making = threading.Lock()
        self.proven = False
        self._proving = threading.Lock()
        self._closed_until = 0.0

    @contextmanager
    def turn(self, transfer: Transfer) -> Iterator[None]:
        """Let one in after the other, until the first has succeeded, and then all.

        The instance may take long to say that it has no credentials, or not to answer:
        one waits for that, and not each for itself.
        """
        alone = not self.proven
        if alone and not self._proving.acquire(timeout=transfer.seconds_left()):
            raise UnreachableError(transfer.overdue())
        missing = time.monotonic() < self._closed_until
        try:
            if missing:
                raise AccessDeniedError(NO_CREDENTIALS)
            yield
        except BaseError as error:
            missing = str(from_store_error(error).error) == NO_CREDENTIALS
            if missing:
                self._closed_until = time.monotonic() + _SECONDS_WITHOUT_CREDENTIALS
            raise
        finally:
            self.proven = not missing
            if alone:
                self._proving.release()


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
        self._access = access
        self._lock = threading.Lock()
        self._stores: OrderedDict[tuple[object, ...], _Shelf] = OrderedDict()

    def read(self, url: str, transfer: Transfer, extent: tuple[int, int] | None) -> Part:
        """Read an object, or a part of it: see [`Client`][polars_imgmeta.io.transfers.Client].

        Raises:
            ImageError: Of the kind `not_found`, `access_denied`, `unreachable`,
                `invalid_locator` or `too_large`.
        """
        place = parse_url(url)
        self._access.require_host(place.cloud, place.host)
        if not place.key or place.key.endswith("/"):
            msg = "a bucket or a folder, not an object"
            raise InvalidLocatorError(msg)
        retries = _RETRIES | self._options[place.cloud].retries
        until = time.monotonic() + retries.get("retry_timeout_ms", float("inf")) / 1000
        longest = retries["retry_init_backoff_ms"] / 1000
        attempt = 0
        while True:
            failure = self._attempt(place, transfer, extent)
            if isinstance(failure, Part):
                return failure
            transfer.seconds_left()
            if not failure.temporary or attempt >= retries["max_retries"]:
                raise failure.error
            longest = min(longest, retries["retry_max_backoff_ms"] / 1000)
            pause = random.uniform(longest / 2, longest)  # noqa: S311 - no secret
            if time.monotonic() + pause > until or not transfer.pause(pause):
                raise failure.error
            longest *= retries["retry_base_multiplier"]
            attempt += 1

    def _attempt(
        self, place: Place, transfer: Transfer, extent: tuple[int, int] | None
    ) -> Part | Failure:
        # A store has one limit for all that is asked of it: later attempts, for which
        # less time is left, go to one with half of it, or a quarter.
        left, limit = transfer.seconds_left(), self._access.timeout
        while limit > left * 1.1:
            limit /= 2
        shelf = self._shelf((*place[:4], limit))
        try:
            with shelf.making:
                if shelf.store is None:
                    options = self._options[place.cloud]
                    shelf.store, shelf.proven = make_store(place, options, limit, retries=0)
            with shelf.turn(transfer):
                return get_object(shelf.store, place.key, transfer, extent)
        except (ImageError, KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except credentials.CredentialsError as error:
            return Failure(AccessDeniedError(str(error)))
        except BaseException as error:  # noqa: BLE001 - a panic of Rust is no Exception
            return from_store_error(error)

    def _shelf(self, key: tuple[object, ...]) -> _Shelf:
        """Return the place of a store, whether it has been made or not."""
        require_no_fork()
        with self._lock:
            shelf = self._stores.setdefault(key, _Shelf())
            self._stores.move_to_end(key)
            if len(self._stores) > _MOST_STORES:
                self._stores.popitem(last=False)
        return shelf


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
    access.require_host(place.cloud, place.host)
    root = source[: len(source) - len(place.key)].rstrip("/") + "/"
    parts = place.key.strip("/").split("/") if place.key else []
    fixed = list(takewhile(lambda part: not has_magic(part), parts))
    require_no_fork()
    try:
        options = parse_options(storage_options)[place.cloud]
        retries = int((_RETRIES | options.retries)["max_retries"])
        store, _ = make_store(place, options, access.timeout, retries=retries)
        whole = size_of(store, place.key)
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


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a key match those of a pattern."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        rest = pattern[1:] or ("*",)
        return any(_matches(parts[skip:], rest) for skip in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
