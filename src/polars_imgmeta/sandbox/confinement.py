"""What a child process gives up before it sees the first image.

It is called by the child alone, and irrevocable.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# Where the dynamic linker and the standard library look, beside the paths of Python.
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/urandom")
# The versions of Landlock since which all that changes files, TCP and UDP can be denied.
_FILES, _TCP, _UDP = 3, 4, 10


def confine(max_memory: int, readable: Iterable[str]) -> list[str]:
    """Give up memory, files and the network, as far as the system offers it.

    Args:
        max_memory: How many bytes may be allocated beside those in use now.
        readable: The files and folders that may be read, beside those of Python.

    Returns:
        What is not restricted, of `"memory"`, `"files"`, `"tcp"` and `"udp"`.
    """
    # A core dump of each crash could fill a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Where all memory of the machine is taken, the kernel ends this process and not its parent.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    memory = _limit_memory(max_memory)
    return memory + _restrict(readable)


def ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent, which ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _limit_memory(max_memory: int) -> list[str]:
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        limit = pages * resource.getpagesize() + max_memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (OSError, ValueError):  # not on Linux
        return ["memory"]
    return []


def _restrict(readable: Iterable[str]) -> list[str]:
    """Deny files and the network by Landlock."""
    if sys.platform != "linux":
        return ["files", "tcp", "udp"]
    import landlockpy  # noqa: PLC0415 - an extra, and on Linux alone

    try:
        version = landlockpy.abi_version()
        with landlockpy.Ruleset(
            scoped=landlockpy.Scope.SIGNAL | landlockpy.Scope.ABSTRACT_UNIX_SOCKET
        ) as rules:
            python = (sys.prefix, sys.base_prefix, *sys.path)
            for path in {*_SYSTEM, *python, *readable}:
                reading = landlockpy.AccessFS.READ_FILE
                if os.path.isdir(path):  # noqa: PTH112 - as it is spelled in `sys.path`
                    reading |= landlockpy.AccessFS.READ_DIR
                with suppress(OSError):  # it need not exist
                    rules.allow_path(path or ".", reading)
            # Some library may have started threads already.
            rules.restrict(landlockpy.RestrictFlag.TSYNC)
    except landlockpy.LandlockError:  # an older kernel, or one that was started without it
        return ["files", "tcp", "udp"]
    since = {"files": _FILES, "tcp": _TCP, "udp": _UDP}
    return [gap for gap, first in since.items() if version < first]
