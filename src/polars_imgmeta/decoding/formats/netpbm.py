"""The portable maps of Netpbm: those that Pillow and OpenCV do not read, or slowly.

Pillow's decoders of samples with a maximum other than 255, and of plain ones, are loops in
Python. It does not read PAM, nor colours of PFM.

Source: the manual pages pbm(5), pgm(5), ppm(5), pam(5) and pfm(5) of Netpbm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats.declared import Declared

_PAM = b"P7\n"
_HEADER_BYTES = 4096
_FIELD = re.compile(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL)[ \t]+(\d{1,10})[ \t]*$", re.MULTILINE)
_TUPLE = re.compile(rb"^TUPLTYPE[ \t]+(\w+)", re.MULTILINE)
_END = b"\nENDHDR\n"
_MODES = {(1, False): "L", (2, True): "LA", (3, False): "RGB", (4, True): "RGBA"}
_FLOAT_BITS = 32
_COLOURS = 3
_BYTE, _MAX_MAXVAL = 255, (1 << 16) - 1

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_MAP = re.compile(rb"P([12356])" + _GAP + rb"(\d{1,10})" + _GAP + rb"(\d{1,10})")
_MAXVAL = re.compile(_GAP + rb"(\d{1,5})\s")
_FLOATS = re.compile(rb"PF\s+(\d{1,10})\s+(\d{1,10})\s+(-?\d{1,20}(?:\.\d{0,20})?)\s")
_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]?")
_COMMENT_END = re.compile(rb"[\r\n]")
_BLOCK_BYTES, _BLOCK_ROWS = 1 << 20, 64
_SPACE: Final = b" \t\n\r\v\f"
_LONGEST_NUMBER = 10


class Map(NamedTuple):
    """The header of a portable map.

    Attributes:
        kind: The digit of its magic number, or `F`.
        width: Columns.
        height: Rows.
        depth: Samples of a pixel.
        maxval: The maximum of a sample.
        start: The position of the first sample.
        scale: The scale of floats; negative for little-endian ones.
        kind_of_tuple: What the samples of a pixel are, as PAM names it.
    """

    kind: str
    width: int
    height: int
    depth: int
    maxval: int
    start: int
    scale: float = 1.0
    kind_of_tuple: bytes = b""

    @property
    def name(self) -> str:
        """Pillow's name of the format, or ours."""
        return {"7": "PAM", "F": "PFM"}.get(self.kind, "PPM")


def read_map(stream: BinaryIO) -> Map | None:
    """Return the header of a portable map that is read here, or None."""
    stream.seek(0)
    return _parse(stream.read(_HEADER_BYTES))


def read_declared(stream: BinaryIO) -> Declared | None:
    """Return what a portable map that is read here says of its pixels, or None."""
    header = read_map(stream)
    if header is None:
        return None
    if header.kind == "F":
        return Declared(None, header.depth, _FLOAT_BITS)
    alpha = header.kind_of_tuple.endswith(b"_ALPHA")
    mode = _MODES.get((header.depth, alpha))
    if header.kind == "1" or header.kind_of_tuple == b"BLACKANDWHITE":
        mode = "1"
    elif mode == "L" and header.maxval > _BYTE:
        mode = "I" if header.name == "PPM" else "I;16"
    return Declared(mode, header.depth, header.maxval.bit_length(), has_alpha=alpha)


def decode(data: bytes) -> NDArray[np.uint8]:
    """Return the picture, of shape (rows, columns, 3), in the order BGR.

    Of one or two channels the first is grey; of more, the first three are RGB.

    Raises:
        CorruptError: If samples are missing or wrong.
    """
    header = _parse(data[:_HEADER_BYTES])
    if header is None or not 0 < header.maxval <= _MAX_MAXVAL or not header.depth:
        msg = "the pixels cannot be decoded: samples are missing"
        raise exceptions.CorruptError(msg)
    if header.kind == "F":
        return _decode_floats(data, header)
    shape = (header.height, header.width, header.depth)
    count = shape[0] * shape[1] * shape[2]
    table = _table(header)
    if header.kind in "123":
        samples = _plain_samples(data, header, table, count)
    else:
        dtype = np.dtype(">u2" if header.maxval > _BYTE else np.uint8)
        _require(len(data) - header.start >= count * dtype.itemsize, "samples are missing")
        samples = np.frombuffer(data, dtype, count, header.start)
    samples = samples.reshape(shape)
    picture = np.empty((*shape[:2], _COLOURS), np.uint8)
    channels = (2, 1, 0) if header.depth >= _COLOURS else (0, 0, 0)
    for row in range(0, header.height, _BLOCK_ROWS * (1 + 1000 // header.width)):
        rows = slice(row, row + _BLOCK_ROWS * (1 + 1000 // header.width))
        block = samples[rows] if table is None or header.kind in "123" else table[samples[rows]]
        for target, channel in enumerate(channels):
            picture[rows, :, target] = block[:, :, channel]
    return picture


def _require(condition: object, reason: str) -> None:
    if not condition:
        msg = f"the pixels cannot be decoded: {reason}"
        raise exceptions.CorruptError(msg)


def _parse(start: bytes) -> Map | None:
    if start.startswith(_PAM):
        return _parse_pam(start)
    if found := _FLOATS.match(start):
        scale = float(found[3])
        return Map("F", int(found[1]), int(found[2]), 3, 1, found.end(), scale) if scale else None
    found = _MAP.match(start)
    return _parse_map(start, found) if found else None


def _parse_map(start: bytes, found: re.Match[bytes]) -> Map | None:
    kind, width, height = found[1].decode(), int(found[2]), int(found[3])
    if kind == "1":
        return Map(kind, width, height, 1, 1, found.end())
    maximum = _MAXVAL.match(start, found.end())
    maxval = int(maximum[1]) if maximum else 0
    # Pillow is fast where samples are bytes.
    if not maximum or not 0 < maxval <= _MAX_MAXVAL or (kind in "56" and maxval == _BYTE):
        return None
    return Map(kind, width, height, _COLOURS if kind in "36" else 1, maxval, maximum.end())


def _parse_pam(start: bytes) -> Map | None:
    end = start.find(_END)
    fields = {name: int(number) for name, number in _FIELD.findall(start[: end + 1])}
    if end < 0 or fields.keys() != {b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"}:
        return None
    width, height, depth, maxval = (
        fields[name] for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
    )
    kind = _TUPLE.search(start[:end])
    name = kind[1] if kind else b""
    return Map("7", width, height, depth, maxval, end + len(_END), kind_of_tuple=name)


def _table(header: Map) -> NDArray[np.uint8] | None:
    """Return the 8-bit value of each sample, or None where they are equal."""
    if header.maxval == _BYTE:
        return None
    values: NDArray[Any] = np.arange((1 << 16) if header.maxval > _BYTE else (1 << 8))
    if header.maxval == _MAX_MAXVAL:  # the high byte
        return np.asarray(values >> 8, np.uint8)
    if header.kind == "7":
        scaled = values.astype(np.float32).clip(0, header.maxval) * (_BYTE / header.maxval)
        return np.asarray(np.rint(scaled), np.uint8)
    if header.maxval > _BYTE and header.depth == 1:  # as Pillow: by way of 16 bits
        scaled = np.rint(values / header.maxval * _MAX_MAXVAL).clip(0, _MAX_MAXVAL)
        return np.asarray(scaled.astype(np.uint16) >> 8, np.uint8)
    return np.asarray(np.rint(values / header.maxval * _BYTE).clip(0, _BYTE), np.uint8)


def _plain_samples(
    data: bytes, header: Map, table: NDArray[np.uint8] | None, count: int
) -> NDArray[np.uint8]:
    """Return the 8-bit values of samples that are written as text."""
    samples = np.empty(count, np.uint8)
    done, rest = 0, b""
    for text, last in _texts(data, header.start):
        if header.kind == "1":  # there may be no space between them
            values = np.frombuffer(text.translate(None, _SPACE), np.uint8) - ord("0")
        else:
            text = rest + text  # noqa: PLW2901
            whole = len(text) if last else max(text.rfind(bytes((byte,))) for byte in _SPACE) + 1
            rest = text[whole:]
            _require(len(rest) <= _LONGEST_NUMBER, "a sample is too long")
            values = np.fromstring(text[:whole], np.int64, sep=" ")
        values = values[: count - done]
        _require(not values.size or values.max() <= header.maxval, "a sample is above the maximum")
        if header.kind == "1":
            values = (1 - values) * _BYTE  # 1 is black
        elif table is not None:
            values = table[values]
        samples[done : done + values.size] = values
        done += values.size
        if done == count:
            return samples
    _require(done == count, "samples are missing")
    return samples


def _texts(data: bytes, position: int) -> Iterator[tuple[bytes, bool]]:
    """Yield samples as text, without comments, in blocks; and whether one is the last."""
    while position < len(data):
        end = min(position + _BLOCK_BYTES, len(data))
        start = data.rfind(b"#", position, end)
        if start >= 0 and not _COMMENT_END.search(data, start, end):  # a comment is not cut
            found = _COMMENT_END.search(data, end)
            end = found.end() if found else len(data)
        text = _COMMENT.sub(b"", data[position:end])
        _require(not text.translate(None, b"0123456789" + _SPACE), "a sample is not a number")
        position = end
        yield text, position >= len(data)


def _decode_floats(data: bytes, header: Map) -> NDArray[np.uint8]:
    """Return colours of floats, which are stored from the last row to the first."""
    shape = (header.height, header.width, _COLOURS)
    count = shape[0] * shape[1] * shape[2]
    dtype = np.dtype("<f4" if header.scale < 0 else ">f4")
    _require(len(data) - header.start >= count * dtype.itemsize, "samples are missing")
    samples = np.frombuffer(data, dtype, count, header.start).reshape(shape)[::-1, :, ::-1]
    picture = np.empty(shape, np.uint8)
    scale = np.float32(abs(header.scale))
    step = _BLOCK_ROWS * (1 + 1000 // header.width)
    for row in range(0, header.height, step):
        block = samples[row : row + step].astype(np.float32) / scale
        picture[row : row + step] = np.rint(np.nan_to_num(block).clip(0, 1) * _BYTE)
    return picture
