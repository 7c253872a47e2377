"""Encoded images in memory, in files or on servers, with random access.

A header is nearly always within the first few kilobytes, which are read by one system
call when the source is opened: opening a Python stream would take longer.
"""

from __future__ import annotations

import io
import os
import stat
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, ClassVar, NamedTuple, Self

from polars_imgmeta import exceptions

_START_BYTES = 4096
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Non-blocking, because opening a named pipe would wait for its writer.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_MAX_READ_BYTES = 1 << 30
# Some file systems declare a size of zero for files with content.
_UNKNOWN_SIZE = 1 << 62
_UNKNOWN_SIZE_READ_BYTES = 1 << 20
_MAX_UNKNOWN_SIZE = 1 << 30


def _seek_and_read(descriptor: int, length: int, position: int) -> bytes:
    os.lseek(descriptor, position, os.SEEK_SET)
    return os.read(descriptor, length)


_read_at = getattr(os, "pread", _seek_and_read)  # not on Windows


class SourceFacts(NamedTuple):
    """What is known of an image beside its content.

    Attributes:
        file_size: The number of bytes; None where the file system does not say.
        modified: When it was last modified, in UTC; None where it is not known.
        etag: The entity tag that the server gave it.
    """

    file_size: int | None
    modified: datetime | None = None
    etag: str | None = None


class Source(ABC):
    """An encoded image; a context that closes it.

    Attributes:
        start: The first bytes, at least 4,096 unless the image is shorter.
        size: The number of bytes; a huge number if it is unknown.
        remote: Whether the source is remote, so that each read has a high latency.
    """

    __slots__ = ("size", "start")

    remote: ClassVar[bool] = False

    start: bytes
    size: int

    @abstractmethod
    def read(self, position: int, length: int) -> bytes:
        """Return `length` bytes from `position`, or fewer at the end of the source."""

    @abstractmethod
    def stream(self) -> BinaryIO:
        """Return a seekable stream from the start, valid while the source is open."""

    @abstractmethod
    def close(self) -> None:
        """Release the source, which can no longer be read."""

    @property
    def facts(self) -> SourceFacts:
        """What is known of it without reading more."""
        return SourceFacts(self.file_size)

    @property
    def file_size(self) -> int | None:
        """The number of bytes, where it is known."""
        return self.size if self.size < _UNKNOWN_SIZE else None

    def require_unchanged(self) -> None:
        """Check that everything that was read is of one version of the image.

        Raises:
            UnreachableError: If it was modified meanwhile.
        """
        return  # what is in memory does not change

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
        """Do nothing: memory needs no release."""


class FileSource(Source):
    """An image in a file.

    Args:
        path: Its path.
        folder: The descriptor of the folder that the path is relative to. The file must
            not be a symbolic link then.

    Raises:
        InvalidLocatorError: If it is a device, pipe or socket.
        OSError: If it cannot be opened or read.
        ValueError: If the path contains NUL.
    """

    __slots__ = ("_descriptor", "_status")

    def __init__(self, path: str, folder: int | None = None) -> None:
        flags = _FLAGS if folder is None else _FLAGS | os.O_NOFOLLOW
        self._descriptor = descriptor = os.open(path, flags, dir_fd=folder)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                _require_folder(status.st_mode)
            self.start = _read_at(descriptor, _START_BYTES, 0)
            self._status = status
            self.size = status.st_size or self._guess_size()
        except BaseException:
            self.close()
            raise

    def _guess_size(self) -> int:
        """Return the size of a file whose declared size is zero."""
        known = len(self.start)
        return _UNKNOWN_SIZE if _read_at(self._descriptor, _START_BYTES, known) else known

    def read(self, position: int, length: int) -> bytes:
        """Read that part of the file."""
        if position + length <= len(self.start):
            return self.start[position : position + length]
        known = self.size < _UNKNOWN_SIZE
        step = _MAX_READ_BYTES if known else _UNKNOWN_SIZE_READ_BYTES
        data = _read_at(self._descriptor, min(length, step), position)
        if len(data) == length or not data:
            return data
        parts = [data]  # one call returns less, or the file was truncated
        done = len(data)
        while data and done < length:
            data = _read_at(self._descriptor, min(length - done, step), position + done)
            parts.append(data)
            done += len(data)
            if not known and done > _MAX_UNKNOWN_SIZE:
                msg = "a file of unknown size that does not end"
                raise exceptions.TooLargeError(msg)
        return b"".join(parts)

    def stream(self) -> BinaryIO:
        """Open a Python stream on the descriptor."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return open(self._descriptor, "rb", closefd=False)

    @property
    def facts(self) -> SourceFacts:
        """What the file system says."""
        return facts_of(self._status)._replace(file_size=self.file_size)

    def require_unchanged(self) -> None:
        """Compare size and modification time, unless one read gave everything."""
        if len(self.start) == self.size:
            return
        status = os.fstat(self._descriptor)
        if (
            self._status.st_mtime_ns != status.st_mtime_ns
            or (status.st_size or self.size) != self.size
        ):
            msg = "it changed while it was read"
            raise exceptions.UnreachableError(msg)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def facts_of(status: os.stat_result) -> SourceFacts:
    """Return what the file system says of a file; its time may be outside the calendar."""
    try:
        modified = EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
    except OverflowError:
        return SourceFacts(status.st_size)
    return SourceFacts(status.st_size, modified)


def _require_folder(mode: int) -> None:
    """Refuse files without random access; reading a directory raises its own error."""
    if not stat.S_ISDIR(mode):
        msg = "a device, pipe or socket, not an image file"
        raise exceptions.InvalidLocatorError(msg)
