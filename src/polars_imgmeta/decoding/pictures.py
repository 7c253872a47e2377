"""From bytes to a picture, as a viewer shows it.

OpenCV decodes where it is right and fast, Pillow what OpenCV cannot read or gets
wrong. Orientation is left to neither: it comes with the header and is applied
here.
"""

from __future__ import annotations

import io
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats import pam
from polars_imgmeta.decoding.formats.opencv_only import read_opencv_header
from polars_imgmeta.decoding.formats.pillow import open_with_pillow
from polars_imgmeta.decoding.headers import Header
from polars_imgmeta.decoding.isolation import isolated
from polars_imgmeta.decoding.opencv import cv2

Picture: TypeAlias = NDArray[np.uint8]
"""What a viewer shows, as `uint8` of shape (rows, columns, 3), in the order BGR."""

DEFAULT_MAX_PIXELS: Final = 1 << 27
"""Half as much again as Pillow warns of as a bomb, and less than it refuses: with the
16 bytes for each pixel that a picture takes at most, two gibibytes."""

# A tile of a small picture may be larger than the picture.
_SMALL = 1 << 24

_JPEG_SCAN = b"\xff\xda"
# Progressive pictures have about ten; thumbnails and further frames have their own.
_USUAL_SCANS = 100
_MOST_SCANNED_PIXELS = 1 << 33
_FEWEST_SCAN_BYTES = 10  # of its header alone

_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_TIFF_PLANES, _SEPARATE = 284, 2
_TIFF_SAMPLE_FORMAT = 339  # 1 for unsigned, 2 for signed
_BLOCK_ROWS = 64
_DEEP = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH

# EXIF orientation, to be undone by first transposing and then flipping along an
# axis (None: not at all; -1: both).
_UPRIGHT: dict[int, tuple[bool, int | None]] = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}


def read_picture(data: bytes, header: Header) -> Picture:
    """Decode the first frame of an image as a viewer shows it.

    Orientation is applied, alpha dropped, a palette expanded, and of 16 bits
    the high byte kept.

    Args:
        data: The image.
        header: Its header.

    Returns:
        Pixels of shape (`header.height`, `header.width`, 3).

    Raises:
        CorruptError: If the pixels are damaged.
        UnsupportedError: If they are of a kind that cannot be shown in 8 bits.
        TooLargeError: If they do not fit into memory, or would take for ever.
    """
    _require_few_scans(data, header)
    with isolated(most_pixels=max(header.width * header.height, _SMALL)):
        picture = _decode(data, header)
    if picture.shape[:2] != header.shape:
        rows, columns = picture.shape[:2]
        msg = (
            f"the header tells {header.width} x {header.height} pixels,"
            f" the data hold {columns} x {rows}"
        )
        raise exceptions.CorruptError(msg)
    return picture


def intensity_of(colours: Picture) -> NDArray[np.uint8]:
    """Return the grey picture Y, `uint8` of shape (rows, columns).

    Or those of a stack of pictures, of shape (n, rows, columns).
    """
    *shape, columns, channels = colours.shape
    grey = cv2.cvtColor(colours.reshape(-1, columns, channels), cv2.COLOR_BGR2GRAY)
    return grey.reshape(*shape, columns).astype(np.uint8, copy=False)


def _require_few_scans(data: bytes, header: Header) -> None:
    """Refuse a JPEG that goes over its pixels so often that decoding would not end."""
    pixels = header.width * header.height
    most_scans = len(data) // _FEWEST_SCAN_BYTES
    if header.format != "JPEG" or most_scans * pixels <= _MOST_SCANNED_PIXELS:
        return
    scans = data.count(_JPEG_SCAN)
    if scans > _USUAL_SCANS and scans * pixels > _MOST_SCANNED_PIXELS:
        msg = f"{scans} scans of {header.width} x {header.height} pixels"
        raise exceptions.TooLargeError(msg)


def _decode(data: bytes, header: Header) -> Picture:
    if header.format == "PAM":
        return pam.decode(data)
    if header.decoder == "opencv":
        stored = _imdecode(data, cv2.IMREAD_COLOR)
        if stored is not None:
            return _upright(_to_8_bits(stored), header.orientation)
    try:
        return _upright(_decode_with_pillow(data), header.orientation)
    except exceptions.ImageError:
        # Some that are all there are read by OpenCV alone.
        known = read_opencv_header(io.BytesIO(data))
        stored = _imdecode(data, _DEEP) if known and known.whole else None
        if stored is None:
            raise
        return _to_8_bits(stored)


def _imdecode(data: bytes, flags: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None


def _to_8_bits(samples: NDArray[Any], bits: int | None = None) -> NDArray[np.uint8]:
    """Reduce samples of any depth, as every decoder's are reduced here.

    Args:
        samples: Whole numbers or floats.
        bits: How many of a whole number count, the sign not among them; all
            unless given.
    """
    if samples.dtype == np.uint8:
        return samples
    kind = samples.dtype.kind
    shift = (bits or 8 * samples.dtype.itemsize - (kind == "i")) - 8
    reduced = np.empty(samples.shape, np.uint8)
    for row in range(0, len(samples), _BLOCK_ROWS):  # in blocks, to save memory
        block = samples[row : row + _BLOCK_ROWS]
        if kind == "f":
            # By convention 0 is black and 1 white; what is beyond cannot be shown.
            reduced[row : row + _BLOCK_ROWS] = np.rint(np.nan_to_num(block).clip(0, 1) * 255)
        else:
            positive = block.clip(0)
            reduced[row : row + _BLOCK_ROWS] = (
                positive >> shift if shift > 0 else positive << -shift
            )
    return reduced


def _decode_with_pillow(data: bytes) -> Picture:
    image = open_with_pillow(io.BytesIO(data))
    try:
        image.load()
        return _to_bgr(image)
    except exceptions.ImageError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise almost anything
        raise exceptions.from_decoder_error(error, what="the pixels") from None


def _to_bgr(image: Image.Image) -> Picture:
    if (grey := _deep_grey(image)) is not None:
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    tags = getattr(image, "tag_v2", {})
    if tags.get(_TIFF_PLANES) == _SEPARATE and max(tags.get(_TIFF_BITS, (8,))) > 8:  # noqa: PLR2004
        msg = "colours of more than 8 bits in separate planes"  # all decoders mix them up
        raise exceptions.UnsupportedError(msg)
    # Otherwise Pillow warns that it cannot keep what we do not want.
    image.info.pop("transparency", None)
    try:
        colours = np.asarray(_to_rgb(image))
    except ValueError:
        msg = f"pixels of mode {image.mode} cannot be converted to RGB"
        raise exceptions.UnsupportedError(msg) from None
    return cv2.cvtColor(colours, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)


def _deep_grey(image: Image.Image) -> NDArray[np.uint8] | None:
    """Grey of more than 8 bits, of which Pillow itself would keep the wrong ones."""
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
    # Of fewer bits Pillow itself turns white and black round.
    return ~grey if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO else grey


def _to_rgb(image: Image.Image) -> Image.Image:
    match image.mode:
        case "RGB":
            return image
        case "RGBa" | "La":  # colours multiplied by alpha
            return image.convert(image.mode.upper()).convert("RGB")
        case "LAB":
            lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            return ImageCms.buildTransform(lab, srgb, "LAB", "RGB").apply(image)
        case _:
            return image.convert("RGB")


def _upright(stored: Picture, orientation: int) -> Picture:
    if orientation not in _UPRIGHT:
        return stored
    transpose, axis = _UPRIGHT[orientation]
    picture = cv2.transpose(stored) if transpose else stored
    if axis is not None:
        picture = cv2.flip(picture, axis)
    return picture.astype(np.uint8, copy=False)
