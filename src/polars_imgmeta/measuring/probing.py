"""The current facts of sources, without reading images."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import polars as pl

from polars_imgmeta.exceptions import FAILURES, NotFoundError, from_failure
from polars_imgmeta.execution import scheduler
from polars_imgmeta.execution.runtime import DEFAULT
from polars_imgmeta.io.locators import Locator, probe_local
from polars_imgmeta.io.remote import Storage, probe_remote
from polars_imgmeta.io.sources import SourceFacts
from polars_imgmeta.io.transfers import Transfer
from polars_imgmeta.measuring.prefetching import Locators

_SCHEMA: Final = {
    "file_size": pl.Int64(),
    "modified": pl.Datetime("us", "UTC"),
    "etag": pl.String(),
    "found": pl.Boolean(),
    "gone": pl.Boolean(),
}
_NOTHING: Final = (None, None, None)

_Row: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _RemoteProber:
    """Requests the facts of remote sources concurrently."""

    storage: Storage
    remote: Sequence[int] = field(repr=False)

    @property
    def concurrency(self) -> int:
        return self.storage.access.concurrency

    def fetch(self, item: Locator | _Row, cancelled: threading.Event) -> Locator | _Row:
        with Transfer(self.storage.access, cancelled, DEFAULT) as transfer:
            try:
                return (*probe_remote(str(item), self.storage, transfer), True, False)
            except FAILURES as failure:
                return (*_NOTHING, False, isinstance(from_failure(failure), NotFoundError))

    def discard(self, item: Locator | _Row) -> None:
        pass


def probe_all(images: Locators, remote: Sequence[int], storage: Storage) -> pl.DataFrame:
    """Return the current facts of sources, by one `stat` per file and one request per object.

    Args:
        images: The locators.
        remote: The numbers of the remote ones.
        storage: How to reach them.

    Returns:
        For each locator the facts of its source, null where unknown; whether it was `found`;
        and whether it is known to be `gone`. Both are false where it could not be reached.
    """
    rows: list[_Row] = [(*_NOTHING, False, False)] * len(images)

    def process(
        items: Iterator[tuple[int, Locator | _Row]],
    ) -> Iterator[tuple[int, _Row]]:
        for number, item in items:
            yield number, item if isinstance(item, tuple) else _probe(item, storage)

    prober = _RemoteProber(storage, remote)
    for results in scheduler.run(process, images, prefetcher=prober):
        for number, row in results:
            rows[number] = row
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _probe(locator: Locator, storage: Storage) -> _Row:
    if isinstance(locator, bytes):
        return (*SourceFacts(len(locator)), True, False)
    try:
        return (*probe_local(locator, storage.access), True, False)
    except FAILURES as failure:
        return (*_NOTHING, False, isinstance(from_failure(failure), NotFoundError))
