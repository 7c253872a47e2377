"""The sizes of the coded pictures in AVIF and HEIF.

A file declares the size of a picture twice: the container for readers, and the coded data for
their decoder, which decodes its own size before anything is compared.

Sources:
    AOMedia, "AV1 Bitstream & Decoding Process Specification", 5.3 to 5.5; ITU-T H.265, 7.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""

_SEQUENCE_HEADER = 1  # a type of OBU
_SEQUENCE_PARAMETERS = 33  # a type of NAL unit
_HEADER_BYTES = 512
_PROFILE_BITS, _LEVEL_BITS = 88, 8
_COLOUR_PLANES = 3  # of the chroma formats


class BrokenUnitError(ValueError):
    """The coded data are damaged."""


class _Bits:
    """A bit reader, most significant bit first."""

    def __init__(self, data: bytes) -> None:
        self._data = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            msg = "a header ends too early"
            raise BrokenUnitError(msg)
        return self._data >> self._left & (1 << count) - 1

    def exponential(self) -> int:
        """Return a number with as many zeros before it as it has bits behind the first."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def av1_sizes(data: bytes) -> Iterator[Size | None]:
    """Yield the size of each sequence header in AV1 data, and None for each other unit.

    Raises:
        BrokenUnitError: If the data are damaged.
    """
    position = 0
    while position < len(data):
        head = data[position]
        position += 2 if head & 4 else 1  # with an extension
        length = len(data) - position
        if head & 2:
            length, position = _variable_length(data, position)
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            yield _sequence_header(_Bits(data[position : position + min(length, _HEADER_BYTES)]))
        else:
            yield None
        position += length


def _variable_length(data: bytes, position: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, and where it ends."""
    value = 0
    for shift, byte in enumerate(data[position : position + 8]):
        value |= (byte & 0x7F) << 7 * shift
        if not byte & 0x80:
            return value, position + shift + 1
    msg = "a length ends too early"
    raise BrokenUnitError(msg)


def _sequence_header(bits: _Bits) -> Size:
    bits.take(4)
    if bits.take(1):  # that of a still picture, reduced
        bits.take(5)
    else:
        _skip_operating_points(bits)
    columns, rows = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(columns) + 1, bits.take(rows) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):
            bits.exponential()
        if bits.take(1):  # the model of a decoder
            delay_bits = bits.take(5) + 1
            bits.take(42)
    display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:  # noqa: PLR2004 - levels that have tiers
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if display_delay and bits.take(1):
            bits.take(4)


def hevc_sizes(units: Iterable[bytes]) -> Iterator[Size | None]:
    """Yield the size of each set of sequence parameters, and None for each other unit.

    Raises:
        BrokenUnitError: If one is damaged.
    """
    for unit in units:
        is_set = unit and unit[0] >> 1 & 63 == _SEQUENCE_PARAMETERS
        yield _sequence_parameters(unit) if is_set else None


def hevc_units(data: bytes, length_bytes: int) -> Iterator[bytes]:
    """Yield the start of each unit of HEVC data, where it is after its length."""
    position = 0
    while position < len(data):
        length = int.from_bytes(data[position : position + length_bytes])
        position += length_bytes
        yield data[position : position + min(length, _HEADER_BYTES)]
        position += length


def hevc_configuration(content: bytes) -> tuple[int, list[bytes]]:
    """Return how many bytes a length has, and the units in a box `hvcC`."""
    units, position = [], 23
    for _ in range(content[22]):
        count = int.from_bytes(content[position + 1 : position + 3])
        position += 3
        for _ in range(count):
            length = int.from_bytes(content[position : position + 2])
            units.append(content[position + 2 : position + 2 + length])
            position += 2 + length
            if position > len(content):
                msg = "a unit ends too early"
                raise BrokenUnitError(msg)
    return (content[21] & 3) + 1, units


def _sequence_parameters(unit: bytes) -> Size:
    bits = _Bits(unit.replace(b"\0\0\3", b"\0\0"))  # the 3 keeps markers out of the data
    bits.take(16 + 4)
    layers = bits.take(3)
    bits.take(1 + _PROFILE_BITS + _LEVEL_BITS)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for profile, level in present:
        bits.take(profile * _PROFILE_BITS + level * _LEVEL_BITS)
    bits.exponential()
    if bits.exponential() == _COLOUR_PLANES:
        bits.take(1)
    return bits.exponential(), bits.exponential()
