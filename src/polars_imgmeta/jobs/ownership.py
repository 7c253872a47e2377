"""Which run may write to an output: one at a time."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from polars_imgmeta.exceptions import JobError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PROCESS: Final = uuid.uuid4().hex

ABANDONED_SECONDS: Final = 300.0
"""How long nothing must have been heard of a run on another machine, before another takes over."""


class FolderLock:
    """A lock on a local folder, which ends with the process however that ends.

    Windows, and some network file systems, have no such lock: there, runs are not told of
    each other.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock; return False if another run has it."""
        if fcntl is None:
            return True
        while True:
            descriptor = os.open(self._path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            except OSError:  # a file system without locks
                os.close(descriptor)
                return True
            # Another run may have removed the folder before this one had the lock.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    self._descriptor = descriptor
                    return True
            os.close(descriptor)
            self._path.mkdir(parents=True, exist_ok=True)

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def owner_now() -> dict[str, Any]:
    """Return what a record says of the run that writes it."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process": _PROCESS,
        "time": time.time(),
    }


def is_alive(owner: Mapping[str, Any] | None) -> bool:
    """Return whether the run that a record names may still be writing."""
    if owner is None or time.time() - owner["time"] > ABANDONED_SECONDS:
        return False
    if owner["host"] != socket.gethostname() or os.name == "nt":
        return True
    if owner["pid"] == os.getpid():  # in a container, each process may have the same number
        return bool(owner["process"] == _PROCESS)
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def refuse(where: str, owner: Mapping[str, Any] | None) -> NoReturn:
    """Say that another run is writing.

    Raises:
        JobError: Always.
    """
    by = ""
    if owner:
        seconds = max(0.0, time.time() - owner["time"])
        by = f": process {owner['pid']} on {owner['host']}, last heard of {seconds:.0f} s ago"
    msg = (
        f"another run is writing to {where}{by}\n\nHint: wait until it has ended, or stop it;"
        f" one that was killed on another machine has ended after {ABANDONED_SECONDS / 60:.0f}"
        " minutes"
    )
    raise JobError(msg)
