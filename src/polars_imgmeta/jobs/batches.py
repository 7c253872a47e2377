"""The rows of a source, read ahead by one thread so that the caller can be interrupted."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import polars as pl

_PULSE_SECONDS: Final = 0.1
_AHEAD: Final = 2
_JOIN_SECONDS: Final = 30.0
# Those with encoded images are large.
_ROWS, _LARGE_ROWS = 10_000, 200


class RowReader:
    """Yields the rows of a source, in order, in batches of moderate size.

    Args:
        source: The source.
        locator: The column that locates the images.
        pulse: Is called several times a second while the source has nothing; what it raises
            ends the reading.
    """

    def __init__(self, source: pl.LazyFrame, locator: str, pulse: Callable[[], None]) -> None:
        self._source = source
        texts = pl.String | pl.Categorical | pl.Enum
        self._rows = _ROWS if isinstance(source.collect_schema()[locator], texts) else _LARGE_ROWS
        self._pulse = pulse
        self._ahead: queue.Queue[pl.DataFrame | BaseException | None] = queue.Queue(_AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="imgmeta-rows", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Yield batches until the source ends; raise what reading it raised."""
        while (item := self._next()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """End the reading."""
        self._closed.set()
        self._thread.join(_JOIN_SECONDS)

    def _next(self) -> pl.DataFrame | BaseException | None:
        while True:
            with suppress(queue.Empty):
                return self._ahead.get(timeout=_PULSE_SECONDS)
            self._pulse()

    def _read(self) -> None:
        try:
            for batch in self._source.collect_batches(chunk_size=self._rows, maintain_order=True):
                self._put(batch)
                if self._closed.is_set():
                    return
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - raised by the caller
            self._put(error)

    def _put(self, item: pl.DataFrame | BaseException | None) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._ahead.put(item, timeout=_PULSE_SECONDS)
                return
