"""Counting which files are opened, by any code."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_listening: list[tuple[str, Counter[str]]] = []
_announced = threading.local()


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if not _listening or event != "open":
        return
    path, mode = arguments[:2]
    if not isinstance(path, str | bytes | os.PathLike):
        return
    # `open` with an opener raises two events: its own, then that of `os.open`,
    # which has no mode.
    if mode is None and getattr(_announced, "path", None) == path:
        _announced.path = None
        return
    _announced.path = path if mode is not None else None
    name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - without resolving links
    for folder, opened in _listening:
        if name.startswith(folder):
            opened[Path(name).name] += 1


# An audit hook cannot be removed: it records only within `count_reads`.
sys.addaudithook(_hear)


@contextmanager
def count_reads(folder: Path) -> Iterator[Counter[str]]:
    """Count how often each file below a folder is opened, by its name."""
    entry = (str(folder.resolve()) + os.sep, Counter[str]())
    _listening.append(entry)
    try:
        yield entry[1]
    finally:
        _listening.remove(entry)
