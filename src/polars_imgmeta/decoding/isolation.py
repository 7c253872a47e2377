"""Isolation of decoders from the process: no output, and no influence of user settings.

Decoders report recoverable problems: Pillow through warnings and logging, libjpeg,
libpng and libtiff through C's `stderr`, OpenCV through its own log. Here each of these
is harmless or already a row's error, and there can be thousands. Decoders also obey
process-wide settings that are meant for other code: warning filters that raise,
Pillow's pixel limit, its tolerance of truncated files.

While any thread decodes, these globals are replaced by objects that check the calling
thread: a decoding thread is silent and sees the settings of this package, every other
thread reports as usual and sees the user's. Three have no per-thread form: the stream of
the decoders' C libraries (see `stderr`), OpenCV's log level, and its thread count, which is
lowered because each thread of the pool already decodes a picture of its own. They are
restored afterwards, the last two unless other code has set another value meanwhile. C's
`stderr`, `sys.stderr` and file descriptor 2 stay untouched.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import warnings
from typing import Any, cast

from PIL import Image, ImageFile

from polars_imgmeta.decoding.opencv import cv2, get_log_level, set_log_level
from polars_imgmeta.decoding.stderr import DecoderStderr
from polars_imgmeta.execution.forking import after_fork_in_child

_SILENT = 0  # OpenCV's LOG_LEVEL_SILENT


class _ThisThread(threading.local):
    decoding = False
    max_pixels = math.inf


_this_thread = _ThisThread()


class _DecodingThreadPattern:
    """The pattern of a warning filter; matches by thread, not by text."""

    def match(self, _text: str) -> bool:
        return _this_thread.decoding


class _DecodingThreadFilter(logging.Filter):
    """A logging filter that drops the records of decoding threads."""

    def filter(self, record: logging.LogRecord) -> bool:
        del record
        return not _this_thread.decoding


# The only logger of Pillow that emits above level DEBUG while decoding.
_logger = logging.getLogger("PIL.TiffImagePlugin")
_log_filter = _DecodingThreadFilter()

# Action, message, category, module and line.
_warning_filter: Any = ("ignore", _DecodingThreadPattern(), Warning, None, 0)


class _TruncationSetting:
    """Pillow's `LOAD_TRUNCATED_IMAGES`: false for decoding threads."""

    def __init__(self, original: object) -> None:
        self.original = original

    def __bool__(self) -> bool:
        return bool(self.original) and not _this_thread.decoding


class _PixelLimit(int):
    """Pillow's `MAX_IMAGE_PIXELS`: for decoding threads, the limit of `isolated`."""

    original: int | None
    factor = 1

    def __lt__(self, pixels: int) -> bool:
        if _this_thread.decoding:
            return _this_thread.max_pixels * self.factor < pixels
        return self.original is not None and self.original * self.factor < pixels

    def __rmul__(self, factor: int) -> _PixelLimit:
        limit = _PixelLimit(factor * int(self))
        limit.original = self.original
        limit.factor = factor * self.factor
        return limit


class _PillowSettings:
    """Pillow's two global settings that decide which images it decodes."""

    def replace(self) -> None:
        self._truncation = ImageFile.LOAD_TRUNCATED_IMAGES
        self._limit = Image.MAX_IMAGE_PIXELS
        ImageFile.LOAD_TRUNCATED_IMAGES = cast("bool", _TruncationSetting(self._truncation))
        limit = _PixelLimit(self._limit or 0)
        limit.original = self._limit
        Image.MAX_IMAGE_PIXELS = limit

    def restore(self) -> None:
        # Unless other code has set them meanwhile.
        if isinstance(ImageFile.LOAD_TRUNCATED_IMAGES, _TruncationSetting):
            ImageFile.LOAD_TRUNCATED_IMAGES = self._truncation
        if isinstance(Image.MAX_IMAGE_PIXELS, _PixelLimit):
            Image.MAX_IMAGE_PIXELS = self._limit


class _ProcessState:
    """Process-wide state, replaced from the first decoding thread until the last leaves."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.decoders = 0
        self.stderr = DecoderStderr()
        self.modules = 0
        self.pillow = _PillowSettings()
        self.log_level = _SILENT
        self.opencv_threads = 1

    def enter(self) -> None:
        with self.lock:
            self.decoders += 1
            if self.modules != len(sys.modules):  # a plug-in may be among the new ones
                self.modules = len(sys.modules)
                self.stderr.adopt()
            if self.decoders == 1:
                self.stderr.silence()
                self.pillow.replace()
                _logger.addFilter(_log_filter)
                self.log_level = get_log_level()
                set_log_level(_SILENT)
                self.opencv_threads = cv2.getNumThreads()
                cv2.setNumThreads(1)
            self.put_filter_first()

    @staticmethod
    def put_filter_first() -> None:
        """Move the warning filter to the front, before filters that were added meanwhile."""
        if warnings.filters[:1] != [_warning_filter]:
            warnings.filters.insert(0, _warning_filter)  # type: ignore[attr-defined]

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
        while _warning_filter in warnings.filters:
            warnings.filters.remove(_warning_filter)  # type: ignore[attr-defined]

    def reset_after_fork(self) -> None:
        """Restore everything in a forked child, where the decoding threads no longer exist."""
        self.lock = threading.Lock()
        if self.decoders:
            self.decoders = 0
            self.restore()


_process = _ProcessState()

after_fork_in_child(_process.reset_after_fork)


class isolated:  # noqa: N801 - used like a function
    """Isolate the decoders of this thread; a context manager that may be nested.

    Args:
        max_pixels: Pillow's `MAX_IMAGE_PIXELS` for this thread, against images whose
            size the header does not declare, such as those inside an icon.
    """

    __slots__ = ("_max_pixels", "_outer")

    def __init__(self, max_pixels: float = math.inf) -> None:
        self._max_pixels = max_pixels

    def __enter__(self) -> None:
        self._outer = _this_thread.decoding, _this_thread.max_pixels
        if _this_thread.decoding:
            _process.put_filter_first()
        else:
            _process.enter()
        _this_thread.decoding, _this_thread.max_pixels = True, self._max_pixels

    def __exit__(self, *_: object) -> None:
        _this_thread.decoding, _this_thread.max_pixels = self._outer
        if not _this_thread.decoding:
            _process.leave()
