"""Files below a folder, reached without a link that took a place after it was checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

CAN_PIN = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
"""Whether folders can be pinned. Windows cannot: there, what was checked is opened by its
path, and a link that takes its place in between is followed."""

# Without O_PATH, on macOS, the folders must be readable.
_PIN = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_PATH"))

_LIST = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_DIRECTORY", "O_NOFOLLOW"))


@contextmanager
def pinned(path: str, root: str) -> Iterator[tuple[str, int | None]]:
    """Open the folder of a file step by step from its root, following no link.

    Args:
        path: A real path, without links and `..`.
        root: A folder that contains it, also as a real path.

    Yields:
        The name of the file, and the descriptor of the folder that it is relative to; or
        the path and None where folders cannot be pinned.

    Raises:
        OSError: If something else than a folder is in the place of one.
    """
    if not CAN_PIN:
        yield path, None
        return
    *folders, name = os.path.relpath(path, root).split(os.sep)
    descriptor = os.open(root, _PIN)
    try:
        for folder in folders:
            below = os.open(folder, _PIN, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield name, descriptor
    finally:
        os.close(descriptor)


@contextmanager
def pinned_folder(path: str, root: str) -> Iterator[str | int]:
    """Open a folder to list it, step by step from its root, following no link.

    Args:
        path: A real path, without links and `..`.
        root: A folder that contains it, or is it, also as a real path.

    Yields:
        The descriptor of the folder; or its path where folders cannot be pinned.

    Raises:
        OSError: If something else than a folder is in the place of one.
    """
    with pinned(path, root) as (name, folder):
        if folder is None:
            yield path
            return
        descriptor = os.open(name, _LIST, dir_fd=folder)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
