"""PAM, the portable arbitrary map: Pillow does not read it, OpenCV only in part.

Source: the manual page pam(5) of Netpbm.
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta import exceptions

_MAGIC = b"P7\n"
_HEADER_BYTES = 4096
_FIELD = re.compile(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL)[ \t]+(\d+)[ \t]*$", re.MULTILINE)
_END = b"\nENDHDR\n"
_COLOURS = 3
_MAX_MAXVAL = (1 << 16) - 1


def read_size(stream: BinaryIO) -> tuple[int, int] | None:
    """Return width and height, or None if this is not PAM."""
    stream.seek(0)
    if stream.read(len(_MAGIC)) != _MAGIC:
        return None
    stream.seek(0)
    fields, _ = _read_fields(stream.read(_HEADER_BYTES))
    return (fields[b"WIDTH"], fields[b"HEIGHT"]) if fields else None


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return the picture, of shape (rows, columns, 3), in the order BGR.

    Of one or two channels the first is grey; of more, the first three are RGB.

    Raises:
        CorruptError: If samples are missing.
    """
    fields, start = _read_fields(data[:_HEADER_BYTES])
    rows, columns, depth = (fields[name] for name in (b"HEIGHT", b"WIDTH", b"DEPTH"))
    maxval = fields[b"MAXVAL"]
    sample = np.dtype(">u2" if maxval > 255 else np.uint8)  # noqa: PLR2004
    count = rows * columns * depth
    if not 0 < maxval <= _MAX_MAXVAL or not depth or len(data) - start < count * sample.itemsize:
        msg = "the pixels cannot be decoded: samples are missing"
        raise exceptions.CorruptError(msg)
    samples: NDArray[np.integer[Any]] = np.frombuffer(data, sample, count, start)
    samples = samples.reshape(rows, columns, depth)
    colours = samples[:, :, [2, 1, 0] if depth >= _COLOURS else [0, 0, 0]]
    if maxval in {255, _MAX_MAXVAL}:  # the byte, or the high byte
        return np.asarray(colours >> (0 if sample.itemsize == 1 else 8), np.uint8)
    scaled = colours.astype(np.float32).clip(0, maxval) * (255 / maxval)
    return np.asarray(np.rint(scaled), np.uint8)


def _read_fields(start: bytes) -> tuple[dict[bytes, int], int]:
    end = start.find(_END)
    if not start.startswith(_MAGIC) or end < 0:
        return {}, 0
    fields = {name: int(number) for name, number in _FIELD.findall(start[: end + 1])}
    complete = fields.keys() == {b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"}
    return (fields, end + len(_END)) if complete else ({}, 0)
