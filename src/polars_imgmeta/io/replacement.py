"""Files that are replaced as a whole: at any moment the name has the old one or the new one."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SUFFIX = ".tmp"
"""How the names of unfinished files end, so that a process that was killed leaves no other."""


@contextmanager
def replacing(file: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a file beside another one, which takes its place once it is whole and on the disk.

    Args:
        file: The file to replace, or one that does not exist yet. A symbolic link stays, and
            what it points to is replaced.

    Yields:
        The path to write to. If anything is raised, it is deleted, and the old file stays.
    """
    final = Path(os.path.realpath(file))
    unfinished = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}{SUFFIX}")
    try:
        yield unfinished
        with suppress(FileNotFoundError):
            shutil.copymode(final, unfinished)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(final)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    sync_folder(final.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can."""
    with suppress(OSError):  # Windows, and some network file systems
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
