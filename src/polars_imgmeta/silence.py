"""Decoding in silence, without taking anybody else's voice away.

Decoders speak of what they overlook: Pillow by warnings, libjpeg, libpng and
libtiff through C's `stderr`, OpenCV through a log of its own. Here all of that is
either harmless or a row's error, thousands of lines of it, and no filter of the
user's may turn a warning into a failure.

Warnings and C's `stderr` belong to the process. Both are replaced, while some
thread decodes, by ones that ask which thread speaks: they drop what a decoding
thread says and pass on the rest. OpenCV's log knows no threads; its level is
lowered and put back. Nothing touches `sys.stderr` or file descriptor 2.
"""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from polars_imgmeta.opencv import get_log_level, set_log_level

_SILENT = 0  # OpenCV's LOG_LEVEL_SILENT
_STDERR = 2
_UNBUFFERED = 2  # C's _IONBF: each message is written by the thread that has it


class _ThisThread(threading.local):
    decoding = False


_this_thread = _ThisThread()


class _DecodingThreads:
    """Stands where a warning filter has a pattern; matches by thread, not by text."""

    def match(self, _text: str) -> bool:
        return _this_thread.decoding


# For its action, message, category, module and line.
_filter: Any = ("ignore", _DecodingThreads(), Warning, None, 0)


_CWrite = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _CookieFunctions(ctypes.Structure):
    """C's `cookie_io_functions_t`."""

    _fields_ = (
        ("read", ctypes.c_void_p),
        ("write", _CWrite),
        ("seek", ctypes.c_void_p),
        ("close", ctypes.c_void_p),
    )


def _is_gnu() -> bool:
    """Whether C's library is the GNU one, in which `stderr` is a variable to set."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, OSError, ValueError):
        return False


class _CStderr:
    """C's variable `stderr`, where it can be replaced: with the GNU C library."""

    def __init__(self) -> None:
        self._variable: ctypes.c_void_p | None = None
        if not _is_gnu():
            return
        libc = ctypes.CDLL(None)
        # Kept, so that C can call it as long as the process lives.
        self._functions = _CookieFunctions(None, _CWrite(self._write), None, None)
        libc.fopencookie.restype = ctypes.c_void_p
        libc.fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _CookieFunctions]
        libc.setvbuf.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_size_t,
        ]
        self._selective = libc.fopencookie(None, b"w", self._functions)
        libc.setvbuf(self._selective, None, _UNBUFFERED, 0)
        self._variable = ctypes.c_void_p.in_dll(libc, "stderr")
        self._original = self._variable.value

    @staticmethod
    def _write(_cookie: int, text: int, length: int) -> int:
        if not _this_thread.decoding:
            os.write(_STDERR, ctypes.string_at(text, length))
        return length

    def replace(self) -> None:
        if self._variable is not None:
            self._original = self._variable.value
            self._variable.value = self._selective

    def restore(self) -> None:
        # Unless somebody has put theirs there meanwhile.
        if self._variable is not None and self._variable.value == self._selective:
            self._variable.value = self._original


class _Process:
    """What belongs to the process, replaced from the first decoder to the last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.decoders = 0
        self.stderr = _CStderr()
        self.log_level = _SILENT

    def enter(self) -> None:
        with self.lock:
            self.decoders += 1
            if self.decoders == 1:
                self.stderr.replace()
                self.log_level = get_log_level()
                set_log_level(_SILENT)
            # Whoever sets filters meanwhile puts theirs before ours.
            if warnings.filters[:1] != [_filter]:
                warnings.filters.insert(0, _filter)  # type: ignore[attr-defined]

    def leave(self) -> None:
        with self.lock:
            self.decoders -= 1
            if self.decoders == 0:
                self.restore()

    def restore(self) -> None:
        self.stderr.restore()
        if get_log_level() == _SILENT:
            set_log_level(self.log_level)
        while _filter in warnings.filters:
            warnings.filters.remove(_filter)  # type: ignore[attr-defined]

    def forget_decoders(self) -> None:
        """Begin anew in a forked child, where no other thread is left to leave."""
        self.lock = threading.Lock()
        if self.decoders:
            self.decoders = 0
            self.restore()


_process = _Process()

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_process.forget_decoders)


@contextmanager
def silence() -> Iterator[None]:
    """Let decoders say nothing in this thread; may be nested."""
    if _this_thread.decoding:
        yield
        return
    _process.enter()
    _this_thread.decoding = True
    try:
        yield
    finally:
        _this_thread.decoding = False
        _process.leave()
