"""Decoding of images into pictures, as a viewer shows them.

OpenCV decodes the formats that it reads correctly and faster, Pillow all others.
Orientation is taken from the header and applied here, by neither decoder.
"""

from __future__ import annotations

import io
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats import heif, jpeg2000, jxl, jxl_frames, netpbm, tiff
from polars_imgmeta.decoding.formats.opencv_only import read_opencv_header
from polars_imgmeta.decoding.formats.pillow import open_with_pillow
from polars_imgmeta.decoding.formats.rebuilding import Buffer, rebuild
from polars_imgmeta.decoding.headers import Header
from polars_imgmeta.decoding.isolation import isolated
from polars_imgmeta.decoding.opencv import cv2

Picture: TypeAlias = NDArray[np.uint8]
"""A decoded image: `uint8` of shape (rows, columns, 3), in the order BGR."""

DEFAULT_MAX_PIXELS: Final = 1 << 27
"""The default pixel limit: 1.5 times that at which Pillow warns of a decompression bomb,
and less than that at which it refuses. At up to 16 bytes per pixel, up to 2 GiB."""

# A tile of a small picture may be larger than the picture.
_MIN_PIXEL_LIMIT = 1 << 24

_WITH_METADATA = frozenset({"JPEG", "PNG", "JXL"})
_JPEG_SCAN = b"\xff\xda"
# Progressive JPEGs have about ten scans; thumbnails and further frames add theirs.
_MAX_USUAL_SCANS = 32
_MAX_SCANNED_PIXELS = 1 << 32
_MIN_SCAN_BYTES = 10  # the length of a scan header

_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_TIFF_PLANES, _SEPARATE = 284, 2
_TIFF_COLUMNS, _TIFF_ROWS, _TIFF_COMPRESSION, _TIFF_ORIENTATION, _RGB = 256, 257, 259, 274, 2
_TIFF_STRIPS, _TIFF_STRIP_BYTES = 273, 279
_TIFF_SAMPLE_FORMAT = 339  # 1 for unsigned, 2 for signed
_BLOCK_ROWS = 64
_COLOUR_OF_ANY_DEPTH = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH

# By EXIF orientation: whether to transpose, and then the axis to flip (-1: both).
_TRANSFORMS: dict[int, tuple[bool, int | None]] = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}


def read_picture(data: bytes, header: Header) -> Picture:
    """Decode the first frame of an image as a viewer shows it; call it within `isolated`.

    Orientation is applied, alpha dropped, a palette expanded, and samples of 16
    bits are reduced to their high byte.

    Args:
        data: The encoded image.
        header: Its header.

    Returns:
        Pixels of shape (`header.height`, `header.width`, 3).

    Raises:
        CorruptError: If the pixels are damaged.
        UnsupportedError: If they cannot be converted to 8-bit RGB, or are of a JPEG XL that is
            animated or has splines.
        TooLargeError: If they do not fit into memory, a JPEG has too many scans, a JPEG XL too
            many frames, or a tile of a JPEG 2000 or a coded picture of an AVIF or HEIF costs more
            than its header declares.
    """
    if header.format == "JPEG":
        _require_few_scans(data, header)
    elif header.format == "JPEG2000":
        jpeg2000.require_declared_blocks(data)
    elif header.format in {"AVIF", "HEIF"}:
        heif.require_declared_sizes(data)
    elif header.format == "JXL":
        _require_few_frames(data)
    picture = _decode(data, header)
    if picture.shape[:2] != header.shape:
        rows, columns = picture.shape[:2]
        msg = (
            f"the header declares {header.width} x {header.height} pixels,"
            f" the data hold {columns} x {rows}"
        )
        raise exceptions.CorruptError(msg)
    return picture


def intensity_of(colours: Picture) -> NDArray[np.uint8]:
    """Return the luma Y, `uint8` of shape (rows, columns), or (n, rows, columns) of a batch."""
    *shape, columns, channels = colours.shape
    grey = cv2.cvtColor(colours.reshape(-1, columns, channels), cv2.COLOR_BGR2GRAY)
    return grey.reshape(*shape, columns).astype(np.uint8, copy=False)


def _require_few_frames(data: bytes) -> None:
    """Refuse a JPEG XL of many frames: the plug-in decodes all, and of an animation the last."""
    declared = jxl.read_declared(io.BytesIO(data))
    if declared is None:
        msg = "the header of this JXL image is damaged, or very long"
        raise exceptions.CorruptError(msg)
    if declared.frames is None:
        msg = "an animated JPEG XL, of which only the header is read"
        raise exceptions.UnsupportedError(msg)
    jxl_frames.require_few_pixels(jxl.codestream(data))


def _require_few_scans(data: bytes, header: Header) -> None:
    """Refuse a JPEG with so many scans of the whole picture that decoding takes minutes."""
    pixels = header.width * header.height
    max_scans = len(data) // _MIN_SCAN_BYTES
    if max_scans * pixels <= _MAX_SCANNED_PIXELS:
        return
    scans = data.count(_JPEG_SCAN)
    if scans > _MAX_USUAL_SCANS and scans * pixels > _MAX_SCANNED_PIXELS:
        msg = f"{scans} scans of {header.width} x {header.height} pixels"
        raise exceptions.TooLargeError(msg)


def _decode(data: bytes, header: Header) -> Picture:
    if header.decoder == "own":
        return netpbm.decode(data)
    if header.decoder == "opencv":
        seen = data if header.is_plain(data) else rebuild(data, header.format)
        stored = _imdecode(seen, cv2.IMREAD_COLOR)
        if stored is not None:
            return _apply_orientation(_to_8_bits(stored), header.orientation)
    with isolated(max_pixels=max(header.width * header.height, _MIN_PIXEL_LIMIT)):
        return _decode_slowly(data, header)


def _decode_slowly(data: bytes, header: Header) -> Picture:
    """Decode what OpenCV cannot, or not correctly."""
    try:
        # Pillow and its plug-ins read all metadata, whatever they cost.
        seen = rebuild(data, header.format) if header.format in _WITH_METADATA else None
        if header.format == "TIFF":
            seen = tiff.without_metadata(data)
        return _apply_orientation(_decode_with_pillow(seen or data), header.orientation)
    except exceptions.ImageError:
        # OpenCV reads some images that Pillow refuses, but fills up truncated ones.
        found = read_opencv_header(io.BytesIO(data))
        if not found or not found.complete or (found.height, found.width) != header.shape:
            raise
        stored = _imdecode(rebuild(data, found.format), _COLOUR_OF_ANY_DEPTH)
        if stored is None:
            raise
        return _to_8_bits(stored)


def _imdecode(seen: Buffer | None, flags: int) -> NDArray[Any] | None:
    """Decode what OpenCV may see of an image, or return None where it cannot."""
    if seen is None:
        return None
    try:
        return cv2.imdecode(np.frombuffer(seen, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None


def _to_8_bits(samples: NDArray[Any], bits: int | None = None) -> NDArray[np.uint8]:
    """Reduce samples of any depth, integer or float, to 8 bits.

    Args:
        samples: Of any shape.
        bits: Significant bits of an integer, without the sign; all if None.
    """
    if samples.dtype == np.uint8:
        return samples
    kind = samples.dtype.kind
    shift = (bits or 8 * samples.dtype.itemsize - (kind == "i")) - 8
    reduced = np.empty(samples.shape, np.uint8)
    for row in range(0, len(samples), _BLOCK_ROWS):  # in blocks, to save memory
        block = samples[row : row + _BLOCK_ROWS]
        if kind == "f":
            # By convention 0 is black and 1 white.
            reduced[row : row + _BLOCK_ROWS] = np.rint(np.nan_to_num(block).clip(0, 1) * 255)
        else:
            positive = block.clip(0)
            reduced[row : row + _BLOCK_ROWS] = (
                positive >> shift if shift > 0 else positive << -shift
            )
    return reduced


def _decode_with_pillow(data: bytes | memoryview) -> Picture:
    image = open_with_pillow(io.BytesIO(data))
    try:
        if _has_deep_planes(image):
            return _join_planes(image, data)
        image.load()
        return _to_bgr(image)
    except exceptions.ImageError:
        raise
    except BaseException as error:
        if not exceptions.is_of_decoder(error):
            raise
        raise exceptions.from_decoder_error(error, what="the pixels") from None


def _to_bgr(image: Image.Image) -> Picture:
    if (grey := _deep_grey(image)) is not None:
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    if image.mode in {"1", "L"}:
        samples = np.asarray(image).view(np.uint8)
        if image.mode == "1":
            samples = (samples != 0) * np.uint8(255)
        return cv2.cvtColor(samples, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    # Otherwise Pillow warns that RGB cannot keep it.
    image.info.pop("transparency", None)
    try:
        colours = np.asarray(_to_rgb(image))
    except ValueError:
        msg = f"pixels of mode {image.mode} cannot be converted to RGB"
        raise exceptions.UnsupportedError(msg) from None
    return cv2.cvtColor(colours, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)


def _has_deep_planes(image: Image.Image) -> bool:
    """Return whether this is a TIFF with colours of more than 8 bits in separate planes.

    Pillow reads those wrongly that are not compressed.
    """
    tags = getattr(image, "tag_v2", {})
    return bool(
        tags.get(_TIFF_PLANES) == _SEPARATE
        and max(tags.get(_TIFF_BITS, (8,))) > 8  # noqa: PLR2004
        and tags.get(_TIFF_COMPRESSION, 1) == 1
    )


def _join_planes(image: Image.Image, data: bytes | memoryview) -> Picture:
    """Return the high bytes of uncompressed colours of 16 bits in separate planes."""
    tags: dict[int, Any] = image.tag_v2  # type: ignore[attr-defined]
    channels = len(tags[_TIFF_BITS])
    rgb = tags.get(_TIFF_PHOTOMETRIC) == _RGB and channels >= 3  # noqa: PLR2004
    if set(tags[_TIFF_BITS]) != {16} or not rgb or set(tags.get(_TIFF_SAMPLE_FORMAT, (1,))) != {1}:
        msg = "colours of more than 8 bits in separate planes, and not of 16 bits"
        raise exceptions.UnsupportedError(msg)
    shape = tags[_TIFF_ROWS], tags[_TIFF_COLUMNS]
    strips = [*zip(tags[_TIFF_STRIPS], tags[_TIFF_STRIP_BYTES], strict=True)]
    picture = np.empty((*shape, 3), np.uint8)
    per_plane = len(strips) // channels
    for channel in range(3):
        plane = strips[channel * per_plane : (channel + 1) * per_plane]
        content = b"".join(data[start : start + length] for start, length in plane)
        samples = np.frombuffer(content, ">u2" if data[:2] == b"MM" else "<u2")
        picture[:, :, 2 - channel] = samples.reshape(shape) >> 8
    return _apply_orientation(picture, tags.get(_TIFF_ORIENTATION, 1))


def _deep_grey(image: Image.Image) -> NDArray[np.uint8] | None:
    """Return grey of more than 8 bits as 8, which Pillow would clip; None for other modes."""
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        grey = _to_8_bits(np.asarray(image, np.float32))
    elif image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        grey = _to_8_bits(np.asarray(image).astype(np.uint16))
    elif image.mode == "I":
        samples = np.asarray(image, np.int32)
        (bits,) = tags.get(_TIFF_BITS, (32,))[:1]
        unsigned = image.format == "TIFF" and tags.get(_TIFF_SAMPLE_FORMAT, (1,))[0] == 1
        grey = _to_8_bits(samples.view(np.uint32) if unsigned else samples, bits - (not unsigned))
    else:
        return None
    # Up to 8 bits Pillow inverts by itself.
    return ~grey if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO else grey


def _to_rgb(image: Image.Image) -> Image.Image:
    match image.mode:
        case "RGB":
            return image
        case "RGBa" | "La":  # premultiplied alpha
            return image.convert(image.mode.upper()).convert("RGB")
        case "LAB":
            lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)
        case _:
            return image.convert("RGB")


def _apply_orientation(stored: Picture, orientation: int) -> Picture:
    if orientation not in _TRANSFORMS:
        return stored
    transpose, axis = _TRANSFORMS[orientation]
    picture = cv2.transpose(stored) if transpose else stored
    if axis is not None:
        picture = cv2.flip(picture, axis)
    return picture.astype(np.uint8, copy=False)
