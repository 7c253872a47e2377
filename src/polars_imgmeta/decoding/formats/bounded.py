"""A stream from which a header is read with bounded work, whatever the file."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Mapping
from typing import BinaryIO

from polars_imgmeta import exceptions

MAX_READS = 1 << 16
"""Calls that read, for one header. Ordinary headers take a few dozen."""
MAX_BYTES = 1 << 23
"""Bytes that are read for one header."""
_MAX_PATCH_BYTES = 8


class LongHeaderError(exceptions.TooLargeError):
    """A header that takes more work than any honest one."""


class BoundedStream(io.RawIOBase):
    """A stream that ends once enough has been read, and that a plug-in cannot close.

    Args:
        stream: The image, seekable.
        patches: Up to 8 bytes to show in place of those in the image, by position.
        max_bytes: The number of bytes that can be read.
        max_reads: The number of calls that can read.

    Attributes:
        exhausted: Whether more was asked for.
    """

    def __init__(
        self,
        stream: BinaryIO,
        patches: Mapping[int, bytes] | None = None,
        max_bytes: int = MAX_BYTES,
        max_reads: int = MAX_READS,
    ) -> None:
        self._stream = stream
        self._patches = patches or {}
        self._positions = sorted(self._patches)
        self._reads = self._max_reads = max_reads
        self._bytes = max_bytes
        self.exhausted = False

    def seekable(self) -> bool:
        """It is."""
        return True

    def readable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, as in the stream."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()

    def close(self) -> None:
        """Stay open: the next plug-in reads it too."""

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes; all that may be read if it is negative.

        Raises:
            LongHeaderError: If it was called too often.
        """
        wanted = self._bytes + 1 if size is None or size < 0 else size
        start = self._stream.tell() if self._patches else 0
        return self._show(start, self._account(self._stream.read(min(wanted, self._bytes + 1))))

    def readline(self, size: int | None = -1) -> bytes:
        """Read up to the end of a line.

        Raises:
            LongHeaderError: If it was called too often.
        """
        wanted = self._bytes + 1 if size is None or size < 0 else size
        return self._account(self._stream.readline(min(wanted, self._bytes + 1)))

    def _account(self, data: bytes) -> bytes:
        self._reads -= 1
        if self._reads < 0:
            msg = f"the header takes more than {self._max_reads} reads"
            raise LongHeaderError(msg)
        if len(data) > self._bytes:
            self.exhausted = True
            data = data[: self._bytes]
        self._bytes -= len(data)
        return data

    def _show(self, start: int, data: bytes) -> bytes:
        first = bisect_left(self._positions, start - _MAX_PATCH_BYTES)
        last = bisect_left(self._positions, start + len(data))
        if first == last:
            return data
        shown = bytearray(data)
        for position in self._positions[first:last]:
            for index, value in enumerate(self._patches[position], position - start):
                if 0 <= index < len(data):
                    shown[index] = value
        return bytes(shown)
