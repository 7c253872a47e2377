"""Decoding without warnings, and without taking anybody else's away.

Pillow warns of what it overlooks, such as broken metadata. Here that is either
harmless or a row's error, and no setting of the user's may turn it into a
failure. The filters of `warnings` belong to the whole process, so ours holds for
the threads that are decoding, and is gone when none is.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _DecodingThreads:
    """Stands where a filter has the pattern of a message; matches by thread."""

    def __init__(self) -> None:
        self.local = threading.local()

    def match(self, _text: str) -> bool:
        return getattr(self.local, "decoding", False)


_threads = _DecodingThreads()
_filter: Any = ("ignore", _threads, Warning, None, 0)
_lock = threading.Lock()
_decoding = 0


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore the warnings of this thread, and of no other; may be nested."""
    global _decoding  # noqa: PLW0603 - of the process, as the filters are
    outermost = not getattr(_threads.local, "decoding", False)
    with _lock:
        _decoding += 1
        # Whoever restores filters meanwhile may have restored them without ours.
        if _filter not in warnings.filters:
            warnings.filters.insert(0, _filter)  # type: ignore[attr-defined]
    _threads.local.decoding = True
    try:
        yield
    finally:
        _threads.local.decoding = not outermost
        with _lock:
            _decoding -= 1
            if not _decoding and _filter in warnings.filters:
                warnings.filters.remove(_filter)  # type: ignore[attr-defined]
