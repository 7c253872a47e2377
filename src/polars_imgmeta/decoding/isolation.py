"""Decoding apart from the rest of the process: silent, and by our rules alone.

Decoders speak of what they overlook: Pillow by warnings and a log, libjpeg, libpng and
libtiff through C's `stderr`, OpenCV through a log of its own. Here all of that is
either harmless or a row's error, thousands of lines of it. And they obey settings
of the user's that are not meant for us: filters that turn warnings into errors,
Pillow's limit on pixels, its leniency with truncated files.

All these belong to the process. While some thread decodes they are replaced by
ones that ask which thread it is: a decoding thread is not heard and sees our
rules, every other is heard and sees what the user set. OpenCV's log alone knows
no threads; its level is lowered and put back, and so is the number of its own
threads: those of the shared pool have a picture each, and threads within them take
from each other. Who sets either meanwhile to what it is lowered to finds it put back
all the same. Nothing touches `sys.stderr` or file descriptor 2.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import threading
import warnings
from typing import Any, cast

from PIL import Image, ImageFile

from polars_imgmeta.decoding.opencv import cv2, get_log_level, set_log_level

_SILENT = 0  # OpenCV's LOG_LEVEL_SILENT
_STDERR = 2
_UNBUFFERED = 2  # C's _IONBF: each message is written by the thread that has it


class _ThisThread(threading.local):
    decoding = False
    most_pixels = math.inf


_this_thread = _ThisThread()


class _DecodingThreads:
    """Stands where a warning filter has a pattern; matches by thread, not by text."""

    def match(self, _text: str) -> bool:
        return _this_thread.decoding


class _QuietThreads(logging.Filter):
    """Drops what a decoding thread logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        del record
        return not _this_thread.decoding


# Of Pillow's loggers the one that has more to say than for debugging.
_logger = logging.getLogger("PIL.TiffImagePlugin")
_log_filter = _QuietThreads()

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


class _Leniency:
    """Pillow's `LOAD_TRUNCATED_IMAGES`: none for a decoding thread."""

    def __init__(self, users: object) -> None:
        self.users = users

    def __bool__(self) -> bool:
        return bool(self.users) and not _this_thread.decoding


class _Limit(int):
    """Pillow's `MAX_IMAGE_PIXELS`: for a decoding thread what its header was judged by."""

    users: int | None
    factor = 1

    def __lt__(self, pixels: int) -> bool:
        if _this_thread.decoding:
            return _this_thread.most_pixels * self.factor < pixels
        return self.users is not None and self.users * self.factor < pixels

    def __rmul__(self, factor: int) -> _Limit:
        limit = _Limit(factor * int(self))
        limit.users = self.users
        limit.factor = factor * self.factor
        return limit


class _PillowSettings:
    """The two settings of Pillow's that decide what it decodes."""

    def replace(self) -> None:
        self._leniency = ImageFile.LOAD_TRUNCATED_IMAGES
        self._limit = Image.MAX_IMAGE_PIXELS
        ImageFile.LOAD_TRUNCATED_IMAGES = cast("bool", _Leniency(self._leniency))
        limit = _Limit(self._limit or 0)
        limit.users = self._limit
        Image.MAX_IMAGE_PIXELS = limit

    def restore(self) -> None:
        # Unless the user has set them meanwhile.
        if isinstance(ImageFile.LOAD_TRUNCATED_IMAGES, _Leniency):
            ImageFile.LOAD_TRUNCATED_IMAGES = self._leniency
        if isinstance(Image.MAX_IMAGE_PIXELS, _Limit):
            Image.MAX_IMAGE_PIXELS = self._limit


class _Process:
    """What belongs to the process, replaced from the first decoder to the last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.decoders = 0
        self.stderr = _CStderr()
        self.pillow = _PillowSettings()
        self.log_level = _SILENT
        self.opencv_threads = 1

    def enter(self) -> None:
        with self.lock:
            self.decoders += 1
            if self.decoders == 1:
                self.stderr.replace()
                self.pillow.replace()
                _logger.addFilter(_log_filter)
                self.log_level = get_log_level()
                set_log_level(_SILENT)
                self.opencv_threads = cv2.getNumThreads()
                cv2.setNumThreads(1)
            self.filter_first()

    @staticmethod
    def filter_first() -> None:
        """Put our filter first again: whoever sets one meanwhile puts it before ours."""
        if warnings.filters[:1] != [_filter]:
            warnings.filters.insert(0, _filter)  # type: ignore[attr-defined]

    def leave(self) -> None:
        with self.lock:
            self.decoders -= 1
            if self.decoders == 0:
                self.restore()

    def restore(self) -> None:
        self.stderr.restore()
        self.pillow.restore()
        _logger.removeFilter(_log_filter)
        if get_log_level() == _SILENT:
            set_log_level(self.log_level)
        if cv2.getNumThreads() == 1:
            cv2.setNumThreads(self.opencv_threads)
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


class isolated:  # noqa: N801 - used like a function
    """Keep the decoders of this thread apart; a context that may be nested.

    Args:
        most_pixels: The size from which Pillow shall refuse an image, such as
            one within an icon that its header did not tell.
    """

    __slots__ = ("_most_pixels", "_outer")

    def __init__(self, most_pixels: float = math.inf) -> None:
        self._most_pixels = most_pixels

    def __enter__(self) -> None:
        self._outer = _this_thread.decoding, _this_thread.most_pixels
        if _this_thread.decoding:
            _process.filter_first()
        else:
            _process.enter()
        _this_thread.decoding, _this_thread.most_pixels = True, self._most_pixels

    def __exit__(self, *_: object) -> None:
        _this_thread.decoding, _this_thread.most_pixels = self._outer
        if not _this_thread.decoding:
            _process.leave()
