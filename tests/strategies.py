"""Hypothesis strategies: pictures, encoded images with their reference, damaged data.

A picture is `uint8` of shape (rows, columns, 3) in the order RGB, the order of
Pillow and of file formats; the package itself works in BGR.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

Samples: TypeAlias = NDArray[np.uint8]

# The modes in which Pillow writes each format without loss.
_LOSSLESS_MODES: Final[dict[str, tuple[str, ...]]] = {
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "GIF": ("1", "L", "P", "P+transparency"),
    "ICO": ("1", "L", "P", "RGB", "RGBA"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA", "I;16"),
    "PNG": ("1", "L", "LA", "P", "P+transparency", "RGB", "RGBA", "I;16"),
    "PPM": ("1", "L", "RGB"),
    "QOI": ("RGB", "RGBA"),
    "TGA": ("L", "LA", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
}
_LOSSY_MODES: Final[dict[str, tuple[str, ...]]] = {
    "AVIF": ("L", "RGB", "RGBA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
}
_WITH_ORIENTATION: Final = frozenset({"AVIF", "JPEG", "PNG", "TIFF", "WEBP"})

FORMATS: Final = tuple(sorted(_LOSSLESS_MODES.keys() | _LOSSY_MODES.keys()))
"""Pillow's names of the formats that `encodings` can draw."""

# Decoders convert CMYK to RGB with different roundings.
_CMYK_TOLERANCE = 2


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded image and the picture that it shows.

    Attributes:
        data: The file.
        format: Pillow's name of the format.
        mode: Pillow's mode in which it was written.
        orientation: The EXIF orientation that was written, 1 to 8.
        lossless: Whether the reference is computed from the samples that were
            written; otherwise it is decoded by Pillow.
        reference: The picture that a viewer shows.
        tolerance: The maximum difference of a sample from the reference.
    """

    data: bytes
    format: str
    mode: str
    orientation: int
    lossless: bool
    reference: Samples = field(repr=False)
    tolerance: int = 0


def upright(stored: Samples, orientation: int) -> Samples:
    """Return stored samples as shown, by the table of the EXIF standard.

    The standard defines which side the first stored row and column are on: top
    and left for 1, top and right for 2, ..., left and bottom for 8.
    """
    return {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.swapaxes(0, 1),
        6: stored[::-1].swapaxes(0, 1),
        7: stored[::-1, ::-1].swapaxes(0, 1),
        8: stored[:, ::-1].swapaxes(0, 1),
    }[orientation]


def shown_by_pillow(data: bytes) -> Samples:
    """Return an image as Pillow decodes it, as the oracle."""
    stored = Image.open(io.BytesIO(data))
    stored.load()
    image = ImageOps.exif_transpose(stored)
    if image.mode.startswith("I"):
        # `convert` would clip at 255.
        high_byte = (np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)
        return np.dstack([high_byte] * 3)
    # Otherwise Pillow warns that RGB cannot keep it.
    image.info.pop("transparency", None)
    return np.asarray(image.convert("RGB"))


def write(image: Image.Image, format: str, **options: Any) -> bytes:  # noqa: A002, ANN401 - Pillow's names
    """Return an image encoded by Pillow."""
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def exif_of(orientation: int) -> bytes:
    """Return EXIF data that hold an orientation and nothing else."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes()


@st.composite
def shapes(draw: st.DrawFn, longest: int = 48) -> tuple[int, int]:
    """Draw rows and columns, often a single one."""
    side = st.integers(1, longest)
    return draw(
        st.one_of(
            st.tuples(side, side),
            st.tuples(side, st.just(1)),
            st.tuples(st.just(1), side),
            st.tuples(side, st.integers(1, min(3, longest))),
        )
    )


@st.composite
def samples(draw: st.DrawFn, rows: int, columns: int, channels: int) -> Samples:
    """Draw samples of shape (rows, columns, channels), of much or little variety."""
    shape = (rows, columns, channels)
    if rows * columns <= 12 and draw(st.booleans()):
        return draw(hnp.arrays(np.uint8, shape))
    kind = draw(st.sampled_from(["constant", "few", "noise", "faint", "ramp", "blocks", "mirror"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind in {"constant", "few"}:
        count = 1 if kind == "constant" else draw(st.integers(2, 5))
        colours = draw(hnp.arrays(np.uint8, (count, channels)))
        drawn = colours[rng.integers(0, count, (rows, columns))]
    elif kind == "faint":
        span = draw(st.integers(1, 80))
        drawn = rng.integers(0, span + 1, shape) + draw(st.integers(0, 255 - span))
    elif kind == "ramp":
        down, across = draw(st.tuples(st.integers(0, 60), st.integers(0, 60)))
        grid = np.add.outer(np.arange(rows) * down, np.arange(columns) * across)
        drawn = grid[..., np.newaxis] + np.arange(channels) * draw(st.integers(0, 60))
        drawn = np.minimum(drawn, 255) if draw(st.booleans()) else drawn % 256
    elif kind == "blocks":
        block = draw(st.integers(2, 9))
        coarse = rng.integers(0, 256, (rows // block + 1, columns // block + 1, channels))
        drawn = coarse.repeat(block, axis=0).repeat(block, axis=1)[:rows, :columns]
    else:
        drawn = rng.integers(0, 256, shape)
    drawn = np.ascontiguousarray(drawn, np.uint8)
    if kind == "mirror":
        drawn[:, columns - columns // 2 :] = drawn[:, : columns // 2][:, ::-1].copy()
    return drawn


@st.composite
def pictures(draw: st.DrawFn, longest: int = 48) -> Samples:
    """Draw pictures: `uint8` of shape (rows, columns, 3), including degenerate ones."""
    return draw(samples(*draw(shapes(longest)), 3))


@st.composite
def grey_pictures(draw: st.DrawFn, longest: int = 48) -> Samples:
    """Draw grey pictures: `uint8` of shape (rows, columns)."""
    return draw(samples(*draw(shapes(longest)), 1))[..., 0]


@st.composite
def encodings(draw: st.DrawFn, formats: Sequence[str] = FORMATS, *, longest: int = 20) -> Encoded:
    """Draw encoded images: format x mode x depth x options x orientation.

    Args:
        draw: Supplied by Hypothesis.
        formats: The formats to choose from.
        longest: The maximum number of stored rows and columns.
    """
    name = draw(st.sampled_from(formats))
    lossless = name in _LOSSLESS_MODES and (name not in _LOSSY_MODES or draw(st.booleans()))
    mode = draw(st.sampled_from((_LOSSLESS_MODES if lossless else _LOSSY_MODES)[name]))
    rows, columns = draw(shapes(longest))
    image, stored = draw(_images(mode, rows, columns))
    options = draw(_options(name, mode, lossless=lossless))
    orientation = draw(st.integers(1, 8)) if name in _WITH_ORIENTATION else 1
    if name == "TIFF":
        options["tiffinfo"] = {ExifTags.Base.Orientation: orientation}
    elif name in _WITH_ORIENTATION and (orientation > 1 or draw(st.booleans())):
        options["exif"] = exif_of(orientation)
    if name == "ICO":
        options["sizes"] = [image.size]
    data = write(image, name, **options)
    return Encoded(
        data,
        name,
        mode,
        orientation,
        lossless,
        upright(stored, orientation) if lossless else shown_by_pillow(data),
        _CMYK_TOLERANCE if mode == "CMYK" else 0,
    )


@st.composite
def _images(draw: st.DrawFn, mode: str, rows: int, columns: int) -> tuple[Image.Image, Samples]:
    """Draw an image in one of Pillow's modes, and its picture without orientation."""
    if mode.startswith("P"):
        colours = draw(hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.just(3))))
        indices = draw(samples(rows, columns, 1))[..., 0] % len(colours)
        image = Image.fromarray(indices)
        image.putpalette(colours.tobytes())
        return image, colours[indices]
    if mode == "I;16":
        high, low = np.moveaxis(draw(samples(rows, columns, 2)), 2, 0)
        return Image.fromarray(high.astype(np.uint16) << 8 | low), np.dstack([high] * 3)
    drawn = draw(samples(rows, columns, {"RGB": 3, "RGBA": 4, "CMYK": 4, "LA": 2}.get(mode, 1)))
    if mode == "CMYK":  # always lossy: the reference is decoded by Pillow
        return Image.frombytes(mode, (columns, rows), drawn.tobytes()), drawn[..., :3]
    if mode in {"RGB", "RGBA"}:
        return Image.fromarray(drawn), drawn[..., :3]
    grey = drawn[..., 0]
    if mode == "1":
        return Image.fromarray(grey > 127), np.dstack([np.where(grey > 127, 255, 0)] * 3)
    return Image.fromarray(drawn if mode == "LA" else grey), np.dstack([grey] * 3)


@st.composite
def _options(draw: st.DrawFn, name: str, mode: str, *, lossless: bool) -> dict[str, Any]:
    """Draw the options with which Pillow writes an image of a format."""
    options: dict[str, st.SearchStrategy[Any]] = {}
    if mode == "P+transparency":
        one_index = st.integers(0, 255)
        options["transparency"] = (
            one_index if name == "GIF" else one_index | st.binary(min_size=1, max_size=20)
        )
    if name == "WEBP":
        # Without `exact`, colours of transparent pixels are discarded.
        options |= {"lossless": st.just(lossless), "exact": st.just(value=True)}
        options |= {} if lossless else {"quality": st.integers(0, 100)}
    elif name == "JPEG":
        options |= {"quality": st.integers(1, 100), "progressive": st.booleans()}
        options |= {"subsampling": st.integers(0, 2)} if mode == "RGB" else {}
    elif name == "AVIF":
        options |= {"quality": st.integers(0, 100), "speed": st.just(10)}
    elif name == "TIFF":
        options["compression"] = st.sampled_from(["raw", "tiff_lzw", "tiff_deflate", "packbits"])
    elif name == "TGA":
        options["compression"] = st.sampled_from([None, "tga_rle"])
    elif name == "ICO":
        options["bitmap_format"] = st.sampled_from(["png", "bmp"])
    elif name == "PNG":
        options["compress_level"] = st.integers(0, 9)
    return draw(st.fixed_dictionaries(options))


def truncated(data: bytes) -> st.SearchStrategy[bytes]:
    """Draw proper prefixes of some data, the empty one included."""
    return st.integers(0, len(data) - 1).map(lambda length: data[:length])


@st.composite
def flipped(draw: st.DrawFn, data: bytes, max_flips: int = 4) -> bytes:
    """Draw data with a few bytes changed, mostly near the beginning."""
    damaged = bytearray(data)
    position = st.integers(0, len(data) - 1) | st.integers(0, min(len(data), 120) - 1)
    for index in draw(st.sets(position, min_size=1, max_size=max_flips)):
        damaged[index] ^= draw(st.integers(1, 255))
    return bytes(damaged)


@st.composite
def damaged_encodings(
    draw: st.DrawFn, formats: Sequence[str] = FORMATS, *, longest: int = 12
) -> tuple[Encoded, bytes]:
    """Draw encoded images, each with a damaged version of its data."""
    encoded = draw(encodings(formats, longest=longest))
    return encoded, draw(flipped(encoded.data) | truncated(encoded.data))
