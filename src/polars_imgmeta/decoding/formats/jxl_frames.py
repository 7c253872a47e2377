"""What the pixels of a JPEG XL cost: its decoder draws all frames and patches of a still picture.

A few bytes can be a frame of any size, or a million copies of a patch. So the frames are walked
before anything is decoded, up to what an honest picture may have.

Source: ISO/IEC 18181-1, "JPEG XL image coding system", annexes A (bundles), E (ICC profile), F
(frames) and K (patches).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, NamedTuple

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats.jxl import (
    CODESTREAM,
    GREY,
    Metadata,
    find_header,
    read_metadata,
)
from polars_imgmeta.decoding.formats.jxl_entropy import Bits, Numbers

# Pixels that are drawn, as a multiple of those of the picture, and of a small one. Each frame and
# each patch counts as some more.
_FACTOR, _PIXELS = 32, 1 << 24
_FRAME_PIXELS, _PATCH_PIXELS = 1 << 12, 1 << 10
# Pixels of one frame, in the same way.
_FRAME_FACTOR, _LARGEST_FRAME = 2, 1 << 19
MAX_PROFILE_BYTES = 1 << 19
"""Bytes of a colour profile. Ordinary ones have a few thousand."""
# A long one takes a share of its file, or a few bytes would take half a million steps.
_PROFILE_FACTOR = 64
MAX_SECTIONS = 1 << 17
"""Parts of a frame. A picture of 2^27 pixels in the smallest groups and eleven passes has fewer."""

# How often a pixel counts where frames are kept for later ones: up to three of 12 bytes a pixel.
_KEPT_WEIGHT = 3
# A longer colour profile is not read for the header alone.
_SHORT_PROFILE_BYTES = 1 << 13

_XYB, _CUSTOM = 2, 2  # of the spaces of colours, and of their parameters
_LOW_FREQUENCIES, _REFERENCE = 1, 2  # types of frames
_MODULAR, _PATCHES, _SPLINES, _LOW_FREQUENCY_FRAME = 1, 2, 16, 32
_REPLACE, _BLEND, _MULTIPLY_ADD, _MULTIPLY = 0, 2, 3, 4
# Of patches: those from here on use alpha, and this one multiplies.
_BLEND_ABOVE, _MULTIPLY_PATCH = 4, 3
_GROUP_SIDE = 256
_PROFILE_CONTEXTS, _TABLE_CONTEXTS, _PATCH_CONTEXTS = 41, 8, 10
_HALF_FLOAT = 16


class _Header(NamedTuple):
    """The header of a frame.

    Attributes:
        pixels: How many are decoded.
        patched: Whether patches of other frames are drawn into it.
        last: Whether no other follows.
        sections: How many parts it has.
    """

    pixels: int
    patched: bool
    last: bool
    sections: int


class Frame(NamedTuple):
    """A frame of a codestream.

    Attributes:
        pixels: How many are decoded.
        patches: Yields the pixels of each copy of a patch that is drawn into it.
        end: The position behind it.
    """

    pixels: int
    patches: Iterator[int]
    end: int


def weight_of_frames(stream: BinaryIO, metadata: Metadata) -> int:
    """Return how often a pixel counts, because the decoder keeps frames for those that follow.

    Args:
        stream: A JPEG XL, of which only the start is read. Where that does not tell whether
            the first frame is the only one, others are expected.
        metadata: Its header.
    """
    bits = find_header(stream)
    if bits is None or metadata.animated or not metadata.end:  # it will not be decoded
        return 1
    bits.position = metadata.end
    try:
        _skip_rest(bits, metadata, _SHORT_PROFILE_BYTES)
        bits.align()
        frame = _read_frame(bits, metadata, metadata.size)
    except exceptions.UnsupportedError:  # nor this
        return 1
    except (exceptions.TooLargeError, ValueError, IndexError):
        return _KEPT_WEIGHT
    is_only = frame.last and metadata.preview is None and not bits.exhausted
    return 1 if is_only else _KEPT_WEIGHT


def require_few_pixels(data: bytes) -> None:
    """Check that not many more pixels are drawn than the picture has.

    Args:
        data: The codestream of a still picture.

    Raises:
        TooLargeError: If they are, if a frame is much larger than the picture, or if the colour
            profile or a table of contents is too long.
        UnsupportedError: If splines are drawn.
    """
    metadata = read_metadata(Bits(data, 8 * len(CODESTREAM)))
    left = allowed = max(_FACTOR * math.prod(metadata.size) * metadata.weight, _PIXELS)
    try:
        for frame in read_frames(data):
            area = math.prod(metadata.size)
            if frame.pixels > max(_FRAME_FACTOR * area, _LARGEST_FRAME):
                msg = f"a frame of {frame.pixels} pixels, in a picture of {area} pixels"
                raise exceptions.TooLargeError(msg)
            for pixels in chain([frame.pixels + _FRAME_PIXELS], frame.patches):
                left -= pixels * metadata.weight
                if left < 0:
                    msg = f"frames or patches of more than {allowed} pixels"
                    raise exceptions.TooLargeError(msg)
    except (ValueError, IndexError):  # damaged: the decoder has to judge it
        return


def read_frames(data: bytes) -> Iterator[Frame]:
    """Yield the frames of a codestream.

    Raises:
        ValueError: If it is damaged.
        IndexError: If it is, too.
    """
    bits = Bits(data, 8 * len(CODESTREAM))
    metadata = read_metadata(bits)
    most = min(MAX_PROFILE_BYTES, max(_SHORT_PROFILE_BYTES, _PROFILE_FACTOR * len(data)))
    _skip_rest(bits, metadata, most)
    end = bits.align()
    preview, last = metadata.preview, False
    while not last:
        bits = Bits(data, 8 * end)
        header = _read_frame(bits, metadata, preview or metadata.size)
        lengths, first = _read_table(bits, header.sections)
        start = bits.align()
        end = start + sum(lengths)
        patches: Iterator[int] = iter(())
        if header.patched:
            patches = _patches(Bits(data, 8 * (start + sum(lengths[:first]))), metadata)
        yield Frame(header.pixels, patches, end)
        if end > len(data):
            raise ValueError
        # A preview is always followed by the picture.
        last, preview = header.last and preview is None, None


def _skip_rest(bits: Bits, metadata: Metadata, most: int) -> None:
    """Skip the header from the space of its colours on, and a colour profile up to `most` bytes."""
    if metadata.space is not None and not metadata.profile:
        _skip_colours(bits, metadata.space)
    if metadata.extended is not None:
        if metadata.extended and not bits.take(1):  # tone mapping
            bits.take(2 * _HALF_FLOAT + 1 + _HALF_FLOAT)
        _skip_extensions(bits)
    if not bits.take(1):  # other weights than the default ones
        if metadata.xyb and not bits.take(1):
            bits.take(16 * _HALF_FLOAT)
        which = bits.take(3)
        bits.take(
            _HALF_FLOAT * sum(n for index, n in enumerate((15, 55, 210)) if which >> index & 1)
        )
    if metadata.profile:
        _skip_profile(bits, most)


def _skip_colours(bits: Bits, space: int) -> None:
    def skip_point() -> None:
        for _ in range(2):
            bits.choose((0, 19), (524288, 19), (1048576, 20), (2097152, 21))

    if space != _XYB:
        if bits.enum() == _CUSTOM:  # the white point
            skip_point()
        if space != GREY and bits.enum() == _CUSTOM:  # the primary colours
            for _ in range(3):
                skip_point()
        if bits.take(1):  # gamma
            bits.take(24)
        else:
            bits.enum()
    bits.enum()  # the rendering intent


def _skip_extensions(bits: Bits) -> None:
    present = bits.long()
    lengths = [bits.long() for index in range(64) if present >> index & 1]
    bits.skip(sum(lengths))


def _skip_profile(bits: Bits, most: int) -> None:
    length = bits.long()
    if length > most:
        msg = f"a colour profile of {length} bytes, more than {most}"
        raise exceptions.TooLargeError(msg)
    numbers = Numbers(bits, _PROFILE_CONTEXTS)
    before = last = 0
    for index in range(length):
        context = 1 + _KINDS[last] + 8 * _KINDS_BEFORE[before] if index > 128 else 0  # noqa: PLR2004
        before, last = last, numbers.read(context) & 0xFF
    numbers.require_end()


def _kind(byte: int, *, last: bool) -> int:
    """Return which kind of byte it is in a profile, before another one."""
    if chr(byte).isalpha() and byte < 128:  # noqa: PLR2004 - ASCII
        return 0
    if chr(byte) in "0123456789.,":
        return 1
    if not last:
        return 2 if byte < 16 else 3 if byte > 240 else 4  # noqa: PLR2004
    if byte < 16:  # noqa: PLR2004
        return (2, 3)[byte] if byte < 2 else 4  # noqa: PLR2004
    return 6 if byte == 255 else 5 if byte > 240 else 7  # noqa: PLR2004


_KINDS = [_kind(byte, last=True) for byte in range(256)]
_KINDS_BEFORE = [_kind(byte, last=False) for byte in range(256)]


def _read_frame(bits: Bits, metadata: Metadata, size: tuple[int, int]) -> _Header:
    """Read the header of a frame of a still picture."""
    if bits.take(1):  # all is the default
        sections = _count_sections(size, _GROUP_SIDE, 1)
        return _Header(math.prod(size), patched=False, last=True, sections=sections)
    kind, modular, flags = bits.take(2), bits.take(1) == _MODULAR, bits.long()
    if flags & _SPLINES:  # a few bytes are a curve of 2^32 pixels, and encoders write none
        msg = "a JPEG XL with splines, of which only the header is read"
        raise exceptions.UnsupportedError(msg)
    upsampling = _read_upsampling(bits, metadata, flags)
    side = _GROUP_SIDE
    if modular:
        side = 128 << bits.take(2)
    elif metadata.xyb:
        bits.take(2 * 3)
    passes = 1 if kind == _REFERENCE else _read_passes(bits)
    canvas, (size, partial) = size, _read_size(bits, kind, size)
    replaces = not partial
    drawn = 0
    last = False
    if kind not in {_LOW_FREQUENCIES, _REFERENCE}:
        modes = [
            _read_blending(bits, metadata, partial=partial) for _ in range(1 + len(metadata.extra))
        ]
        replaces = replaces and modes[0] == _REPLACE
        last = bool(bits.take(1))
        drawn = math.prod(canvas)  # however small the frame is
    if kind != _LOW_FREQUENCIES:
        if not last:
            bits.take(2)
        if kind == _REFERENCE or (replaces and not last):
            bits.take(1)
    bits.skip(8 * bits.choose((0, 0), (0, 4), (16, 5), (48, 10)))  # its name
    if not bits.take(1):
        _skip_filter(bits, modular=modular)
    _skip_extensions(bits)
    size = -(-size[0] // upsampling), -(-size[1] // upsampling)
    # What is scaled up is drawn in the larger size.
    pixels = max(math.prod(size) * upsampling**2, drawn)
    return _Header(pixels, bool(flags & _PATCHES), last, _count_sections(size, side, passes))


def _read_upsampling(bits: Bits, metadata: Metadata, flags: int) -> int:
    """Return how many times wider and higher a frame is than what is coded."""
    in_planes = not metadata.xyb and bits.take(1)
    if flags & _LOW_FREQUENCY_FRAME:
        return 1
    if in_planes:
        bits.take(3 * 2)
    upsampling = bits.take(2)
    for _ in metadata.extra:
        bits.take(2)
    return 1 << upsampling


def _read_passes(bits: Bits) -> int:
    passes = bits.choose((1, 0), (2, 0), (3, 0), (4, 3))
    if passes > 1:
        coarser = bits.choose((0, 0), (1, 0), (2, 0), (3, 1))
        bits.take(2 * (passes - 1))
        bits.take(2 * coarser)
        for _ in range(coarser):
            bits.choose((0, 0), (1, 0), (2, 0), (0, 3))
    return passes


def _read_size(bits: Bits, kind: int, size: tuple[int, int]) -> tuple[tuple[int, int], bool]:
    """Return the size of a frame, and whether it covers only a part of the picture."""
    if kind == _LOW_FREQUENCIES:
        shift = 3 * (1 + bits.take(2))
        return (-(-size[0] >> shift), -(-size[1] >> shift)), False
    if not bits.take(1):
        return size, False
    choices = ((0, 8), (256, 11), (2304, 14), (18688, 30))
    place = [0, 0]
    if kind != _REFERENCE:
        place = [
            value >> 1 ^ -(value & 1) for value in (bits.choose(*choices), bits.choose(*choices))
        ]
    own = bits.choose(*choices), bits.choose(*choices)
    covered = all(
        at <= 0 and at + here >= all_ for at, here, all_ in zip(place, own, size, strict=True)
    )
    return own, not covered


def _read_blending(bits: Bits, metadata: Metadata, *, partial: bool) -> int:
    """Return how a channel is put on the former ones."""
    mode = bits.choose((0, 0), (1, 0), (2, 0), (3, 2))
    with_alpha = metadata.extra and mode in {_BLEND, _MULTIPLY_ADD}
    if with_alpha:
        bits.choose((0, 0), (1, 0), (2, 0), (3, 3))
    if with_alpha or mode == _MULTIPLY:
        bits.take(1)
    if mode != _REPLACE or partial:
        bits.take(2)
    return mode


def _skip_filter(bits: Bits, *, modular: bool) -> None:
    if bits.take(1) and bits.take(1):  # a smoothing with weights of its own
        bits.take(6 * _HALF_FLOAT)
    if bits.take(2):  # iterations of one that preserves edges
        if not modular and bits.take(1):
            bits.take(8 * _HALF_FLOAT)
        if bits.take(1):
            bits.take(5 * _HALF_FLOAT)
        if bits.take(1):
            bits.take((3 if modular else 4) * _HALF_FLOAT)
        if modular:
            bits.take(_HALF_FLOAT)
    _skip_extensions(bits)


def _count_sections(size: tuple[int, int], side: int, passes: int) -> int:
    groups = math.prod(-(-one // side) for one in size)
    coarse_groups = math.prod(-(-one // (8 * side)) for one in size)
    return 1 if groups == passes == 1 else 2 + coarse_groups + groups * passes


def _read_table(bits: Bits, sections: int) -> tuple[list[int], int]:
    """Return the lengths of the sections as they are stored, and which of them is the first."""
    if sections > MAX_SECTIONS:
        msg = f"a frame of {sections} sections, more than {MAX_SECTIONS}"
        raise exceptions.TooLargeError(msg)
    first = 0
    if bits.take(1):  # they are in another order
        numbers = Numbers(bits, _TABLE_CONTEXTS)
        moved = numbers.read(min(sections.bit_length(), _TABLE_CONTEXTS - 1))
        if moved > sections:
            raise ValueError
        last = 0
        for index in range(moved):
            last = numbers.read(min(last.bit_length(), _TABLE_CONTEXTS - 1))
            first = last if index == 0 else first
        numbers.require_end()
    bits.align()
    lengths = []
    for _ in range(sections):
        lengths.append(bits.choose((0, 10), (1024, 14), (17408, 22), (4211712, 30)))
        if bits.exhausted:
            raise ValueError
    return lengths, first


def _patches(bits: Bits, metadata: Metadata) -> Iterator[int]:
    """Yield the pixels of all copies of each patch."""
    numbers = Numbers(bits, _PATCH_CONTEXTS)
    for _ in range(numbers.read(0)):
        numbers.read(1)  # the frame that it is of
        numbers.read(3)
        numbers.read(3)
        pixels = (numbers.read(2) + 1) * (numbers.read(2) + 1)
        for copy in range(numbers.read(7) + 1):
            yield pixels + _PATCH_PIXELS
            for _ in range(2):
                numbers.read(6 if copy else 4)
            for _ in range(1 + len(metadata.extra)):
                mode = numbers.read(5)
                with_alpha = mode >= _BLEND_ABOVE
                if with_alpha and len(metadata.extra) > 1:
                    numbers.read(8)
                if with_alpha or mode == _MULTIPLY_PATCH:
                    numbers.read(9)
    numbers.require_end()
