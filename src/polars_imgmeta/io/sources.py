"""Encoded images, wherever they are, to be read in part.

What a header needs is nearly always in the first few kilobytes, which are read at
once, by one system call: opening a Python stream takes longer than that.
"""

from __future__ import annotations

import io
import os
import stat
from abc import ABC, abstractmethod
from typing import BinaryIO, ClassVar, Self

from polars_imgmeta import exceptions

_START_BYTES = 4096

# Without waiting, where a named pipe would wait for its writer; and no text.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_MOST_BYTES_AT_ONCE = 1 << 30
# Files that claim to be empty and are not: how much is read of them.
_UNKNOWN_BYTES = 1 << 62
_PIECE_BYTES = 1 << 20
_MOST_UNKNOWN_BYTES = 1 << 30


def _seek_and_read(descriptor: int, length: int, position: int) -> bytes:
    os.lseek(descriptor, position, os.SEEK_SET)
    return os.read(descriptor, length)


_read_at = getattr(os, "pread", _seek_and_read)  # not on Windows


class Source(ABC):
    """An encoded image; a context that closes it.

    Attributes:
        start: The first bytes: at least 4,096, or all that there are.
        size: The number of all bytes; a huge one where nobody knows it.
        far: Whether each reading takes a while, however little is read.
    """

    __slots__ = ("size", "start")

    far: ClassVar[bool] = False

    start: bytes
    size: int

    @abstractmethod
    def read(self, position: int, length: int) -> bytes:
        """Return so many bytes from a position on, or as many as there are."""

    @abstractmethod
    def stream(self) -> BinaryIO:
        """Return a seekable stream at the start, for the time that this is open."""

    @abstractmethod
    def close(self) -> None:
        """Close it; nothing can be read any more."""

    def whole(self) -> bytes:
        """Return all bytes."""
        return self.start if len(self.start) == self.size else self.read(0, self.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BytesSource(Source):
    """An image in memory."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.start = data[:_START_BYTES]
        self.size = len(data)

    def read(self, position: int, length: int) -> bytes:
        """Slice the data."""
        return self._data[position : position + length]

    def stream(self) -> BinaryIO:
        """Wrap the data."""
        return io.BytesIO(self._data)

    def close(self) -> None:
        """Do nothing: memory is not closed."""


class FileSource(Source):
    """An image in a file.

    Raises:
        InvalidLocatorError: If it is no regular file.
        OSError: If it cannot be opened or read.
        ValueError: If no path can be like this.
    """

    __slots__ = ("_descriptor",)

    def __init__(self, path: str) -> None:
        self._descriptor = descriptor = os.open(path, _FLAGS)
        try:
            status = os.fstat(descriptor)
            _require_file(status.st_mode)
            self.start = _read_at(descriptor, _START_BYTES, 0)
            self.size = status.st_size or self._guess_size()
        except BaseException:
            self.close()
            raise

    def _guess_size(self) -> int:
        """The size where the file system does not tell it, as some over a network."""
        told = len(self.start)
        return _UNKNOWN_BYTES if _read_at(self._descriptor, _START_BYTES, told) else told

    def read(self, position: int, length: int) -> bytes:
        """Read that part of the file."""
        known = self.size < _UNKNOWN_BYTES
        piece = _MOST_BYTES_AT_ONCE if known else _PIECE_BYTES
        data = _read_at(self._descriptor, min(length, piece), position)
        if len(data) == length or not data:
            return data
        parts = [data]  # it is more than one call gives, or the file has become shorter
        done = len(data)
        while data and done < length:
            data = _read_at(self._descriptor, min(length - done, piece), position + done)
            parts.append(data)
            done += len(data)
            if not known and done > _MOST_UNKNOWN_BYTES:
                msg = "a file of unknown size that does not end"
                raise exceptions.TooLargeError(msg)
        return b"".join(parts)

    def stream(self) -> BinaryIO:
        """Open the file for Python, from its start."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return open(self._descriptor, "rb", closefd=False)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _require_file(mode: int) -> None:
    """Refuse what cannot be read from any place; a directory has an error of its own."""
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        msg = "a device, pipe or socket, not an image file"
        raise exceptions.InvalidLocatorError(msg)
