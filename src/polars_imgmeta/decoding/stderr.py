"""The stream to which the decoders' C libraries write their messages.

libjpeg, libpng and libtiff write to C's `stderr`. That is one variable of the process, and
its lock is shared by everything that prints, so it is left alone. Instead each library of a
decoder gets a variable of its own: a shared library finds `stderr` through a word in its
memory that contains the variable's address, and that word is set to another address. While
any thread decodes, the variable there is a stream that discards, otherwise what `stderr` is.

Nothing of it runs Python, so that no thread that prints can wait for the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

# The extension modules, and the libraries they are linked to, by name: the folder depends on
# whether a wheel or a Linux distribution has them.
_DECODER = re.compile(
    r"/(?:cv2|PIL|pillow_\w+)/[^/]+\Z|/_pillow_[^/]+\Z|/lib(?:aom|avif|dav1d|de265|heif|jpeg|jxl\w*"
    r"|opencv_\w+|openjp2|png\d*|tiff|turbojpeg|webp\w*|x265)[-.][^/]*\Z"
)
_MAPS = Path("/proc/self/maps")
_POINTER_BYTES = 8
# Of 64-bit ELF files: the places and sizes of what their headers declare.
_ELF_MAGIC = b"\x7fELF\x02\x01"
_SEGMENTS_AT, _SEGMENT_COUNT_AT, _SEGMENT = 32, 56, struct.Struct("<II6Q")
_LOADED, _WRITABLE = 1, 2
_READ, _WRITE = mmap.PROT_READ, mmap.PROT_WRITE


class _CookieFunctions(ctypes.Structure):
    """C's `cookie_io_functions_t`; without a function to write, everything is discarded."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("read", "write", "seek", "close"))


class _Mapping(NamedTuple):
    """A line of `/proc/self/maps`."""

    begin: int
    end: int
    writable: bool
    offset: int
    path: str


class DecoderStderr:
    """The `stderr` of the decoders; without effect where it cannot be set, outside Linux."""

    def __init__(self) -> None:
        self._adopted: set[str] = set()
        self._supported = sys.platform == "linux"
        if not self._supported:
            return
        self._libc = libc = ctypes.CDLL(None)
        for function in (libc.fopencookie, libc.calloc):
            function.restype = ctypes.c_void_p
        libc.fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _CookieFunctions]
        libc.calloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        self._original = ctypes.c_void_p.in_dll(libc, "stderr")
        self._discarding = libc.fopencookie(None, b"w", _CookieFunctions())
        # Never freed: the libraries outlive this object.
        self._own = ctypes.c_void_p.from_address(libc.calloc(1, _POINTER_BYTES))
        self._own.value = self._original.value

    def adopt(self) -> None:
        """Give the variable to the decoders' libraries that are loaded and do not have it."""
        if not self._supported:
            return
        mappings = _mappings()
        loaded = {one.path: one for one in reversed(mappings) if not one.offset}
        for path in loaded.keys() - self._adopted:
            self._adopted.add(path)
            if not _DECODER.search(path):
                continue
            for word in _words(loaded[path], ctypes.addressof(self._original)):
                self._set(word, mappings)

    def silence(self) -> None:
        """Discard what the decoders write."""
        if self._supported:
            self._own.value = self._discarding

    def restore(self) -> None:
        """Let the decoders write to C's `stderr`, whatever that is now."""
        if self._supported:
            self._own.value = self._original.value

    def _set(self, word: int, mappings: list[_Mapping]) -> None:
        """Set a word to the address of the variable; linkers make such words read-only."""
        writable = any(one.writable for one in mappings if one.begin <= word < one.end)
        page = word & -mmap.PAGESIZE
        if not writable and self._libc.mprotect(page, mmap.PAGESIZE, _READ | _WRITE):
            return  # a hardened system refuses, and the messages appear
        ctypes.c_void_p.from_address(word).value = ctypes.addressof(self._own)
        if not writable:
            self._libc.mprotect(page, mmap.PAGESIZE, _READ)


def _mappings() -> list[_Mapping]:
    """Return what is mapped of files in the memory of this process; nothing without `/proc`."""
    try:
        lines = _MAPS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    mappings = []
    for line in lines:
        span, flags, offset, _, _, *path = line.split(maxsplit=5)
        begin, end = (int(one, 16) for one in span.split("-"))
        if path and path[0].startswith("/"):
            mappings.append(_Mapping(begin, end, "w" in flags, int(offset, 16), path[0]))
    return mappings


def _words(library: _Mapping, value: int) -> Iterator[int]:
    """Return the addresses of the words in the data of a library that contain a value."""
    header = ctypes.string_at(library.begin, 64)
    if not header.startswith(_ELF_MAGIC):
        return
    (table,) = struct.unpack_from("<Q", header, _SEGMENTS_AT)
    size, count = struct.unpack_from("<HH", header, _SEGMENT_COUNT_AT - 2)
    segments = ctypes.string_at(library.begin + table, size * count)
    for number in range(count):
        kind, flags, _, at, _, length, _, _ = _SEGMENT.unpack_from(segments, number * size)
        if kind == _LOADED and flags & _WRITABLE:
            begin = -(-(library.begin + at) // _POINTER_BYTES) * _POINTER_BYTES
            words = (ctypes.c_uint64 * (length // _POINTER_BYTES)).from_address(begin)
            for place in np.flatnonzero(np.frombuffer(words, np.uint64) == value):
                yield begin + int(place) * _POINTER_BYTES
