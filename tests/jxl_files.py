"""JPEG XL files of a few bytes, written bit by bit."""

from __future__ import annotations

from collections.abc import Sequence

SIDE = 1000
_REGULAR, REFERENCE = 0, 2
_PATCHES, _SPLINES = 2, 16


class Writer:
    """Writes bits, least significant bit first."""

    def __init__(self) -> None:
        self._bits = 0
        self._count = 0

    def add(self, *fields: tuple[int, int]) -> Writer:
        """Append numbers, each with its count of bits."""
        for value, count in fields:
            assert value < 1 << count
            self._bits |= value << self._count
            self._count += count
        return self

    def content(self) -> bytes:
        """Return the bits, and zeros up to the next byte."""
        return self._bits.to_bytes((self._count + 7) // 8, "little")


def head(side: int = SIDE, extra: int = 0, profile: int | None = None) -> bytes:
    """Return a header of a square picture in RGB, with channels of depth and a profile of zeros."""
    bits = Writer().add((0x0AFF, 16), (0, 1), (3, 2), (side - 1, 30), (1, 3))
    bits.add((0, 1), (0, 1), (0, 1), (0, 2), (1, 1))  # 8 bits, in 16
    bits.add((3, 2), (extra - 1, 12)) if extra else bits.add((0, 2))
    for _ in range(extra):
        bits.add((0, 1), (2, 2), (1, 4), (0, 1), (0, 2), (0, 2), (0, 2))
    bits.add((0, 1))  # not XYB
    bits.add((1, 1)) if profile is None else bits.add((0, 1), (1, 1), (0, 2))
    bits.add((0, 2), (1, 1))
    if profile is not None:
        bits.add((3, 2), (profile & 0xFFF, 12), (1, 1), (profile >> 12, 8), (0, 1))
        bits.add((0, 1), (1, 1), (0, 2)).add(*NOTHING)
    return bits.content()


# Tables of numbers that take no bits, and are all zero.
NOTHING = ((1, 1), (0, 4), (0, 1))


def frame(
    *,
    kind: int = _REGULAR,
    last: bool = False,
    size: tuple[int, int] | None = None,
    extra: int = 0,
    patches: Sequence[int] = (),
    splines: bool = False,
) -> bytes:
    """Return a black frame of a few bytes.

    Args:
        kind: Its type.
        last: Whether it is the last one.
        size: Its columns and rows, of 256 to 2303, or None for those of the picture.
        extra: The number of extra channels of the picture.
        patches: The side of a patch, and the number of its copies.
        splines: Whether it declares splines, of which it holds none.
    """
    flags = _SPLINES if splines else _PATCHES if patches else 0
    bits = Writer().add((0, 1), (kind, 2), (1, 1))
    bits.add((1, 2), (flags - 1, 4)) if flags else bits.add((0, 2))
    bits.add((0, 1), (0, 2), *[(0, 2)] * extra, (3, 2))
    if kind != REFERENCE:
        bits.add((0, 2))
    bits.add((int(size is not None), 1))
    if size:
        if kind != REFERENCE:
            bits.add((0, 2), (2, 8), (0, 2), (0, 8))  # one column to the right
        bits.add((1, 2), (size[0] - 256, 11), (1, 2), (size[1] - 256, 11))
    if kind == _REGULAR:
        bits.add(*[(0, 4 if size else 2)] * (1 + extra), (int(last), 1))
    if not last:
        bits.add((0, 2))
    if kind == REFERENCE:
        bits.add((1, 1))
    elif not last and not size:
        bits.add((0, 1))
    bits.add((0, 2), (0, 1), (0, 1), (0, 2), (0, 2), (0, 2))  # no name, no filter
    bits.add((0, 1))
    section = Writer()
    if patches:
        add_patches(section, *patches)
    section.add((1, 1), (1, 1))
    section.add((0, 1), (1, 1), (0, 2), *NOTHING)  # a tree of one leaf
    section.add((0, 1), *NOTHING, (1, 1), (1, 1), (0, 2))
    content = section.content()
    return bits.content() + Writer().add((0, 2), (len(content), 10)).content() + content


def add_patches(bits: Writer, side: int, copies: int) -> None:
    """Append one patch with copies at the same place: no number takes a bit."""
    numbers = [0, side - 1, copies - 1, 1]
    clusters = [3, 0, 1, 0, 0, 0, 0, 2, 0, 0]
    bits.add((0, 1), (1, 1), (2, 2), *[(cluster, 2) for cluster in clusters], (1, 1))
    bits.add(*[(15, 4)] * 4)
    for number in numbers:
        if number:
            power = number.bit_length() - 1
            bits.add((1, 1), (power, 4), (number - (1 << power), power))
        else:
            bits.add((0, 1))
    bits.add(
        *[field for one in numbers if one for field in ((1, 2), (0, 2), (one, one.bit_length()))]
    )
