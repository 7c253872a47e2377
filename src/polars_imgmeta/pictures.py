"""From bytes to a header or a picture: the only place that knows decoders.

OpenCV decodes where it is right and fast; Pillow reads the headers and every
picture that OpenCV cannot read or gets wrong. Orientation is never left to
either: it is read with the header and applied here.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from polars_imgmeta import exceptions
from polars_imgmeta.opencv import cv2

Picture: TypeAlias = NDArray[np.uint8]
"""What a viewer shows, as `uint8` of shape (rows, columns, 3), in the order BGR."""

DEFAULT_MAX_PIXELS: Final = 2 * 89_478_485
"""The size from which Pillow, unless told otherwise, calls a picture a bomb."""

# Formats whose pixels OpenCV reads rightly; checked against Pillow by the tests.
_OPENCV_FORMATS = frozenset({"BMP", "DIB", "JPEG", "MPO", "PNG", "WEBP"})

# Pillow plug-ins that run other programs (EPS), know no pixels at all (the
# stubs), or need libraries that are not among our dependencies.
_FORMATS_LEFT_OUT = frozenset({"BUFR", "EPS", "FPX", "GRIB", "HDF5", "MIC", "MPEG", "WMF"})

# EXIF orientation, to be undone by first transposing and then flipping along an
# axis (None: not at all; -1: both).
_UPRIGHT: dict[object, tuple[bool, int | None]] = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}


_PNG_METADATA_CHUNKS = frozenset({b"eXIf", b"iTXt", b"tEXt", b"zTXt"})

_Factory: TypeAlias = Callable[[BinaryIO, str], ImageFile.ImageFile]
_Accept: TypeAlias = Callable[[bytes], bool | str]


@dataclass(frozen=True, slots=True)
class Header:
    """What an image says of itself before its pixels.

    Attributes:
        format: The name of the format, as Pillow calls it.
        width: Columns of the picture as shown, with its orientation applied.
        height: Rows of the picture as shown.
        orientation: The EXIF orientation that the stored pixels still have, 1
            to 8.
    """

    format: str
    width: int
    height: int
    orientation: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the picture."""
        return self.height, self.width


def read_header(stream: BinaryIO) -> Header:
    """Read the header of an image, without decoding pixels.

    Args:
        stream: The image, seekable and at its start.

    Returns:
        Format, geometry as shown, and orientation. Broken metadata counts as
        none.

    Raises:
        UnsupportedError: If the content is of no known format.
        CorruptError: If it is, and the header is damaged, or if it is empty.
    """
    image = _open(stream)
    orientation = _orientation(image, stream)
    width, height = image.size
    if orientation in _UPRIGHT and _UPRIGHT[orientation][0]:
        width, height = height, width
    return Header(str(image.format), width, height, orientation)


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
        TooLargeError: If they do not fit into memory.
    """
    stored = None
    if header.format in _OPENCV_FORMATS:
        stored = _decode_with_opencv(data)
    if stored is None:
        stored = _decode_with_pillow(data)
    picture = _upright(stored, header.orientation)
    if picture.shape[:2] != header.shape:
        rows, columns = picture.shape[:2]
        msg = (
            f"the header tells {header.width} x {header.height} pixels,"
            f" the data hold {columns} x {rows}"
        )
        raise exceptions.CorruptError(msg)
    return picture


def intensity_of(picture: Picture) -> NDArray[np.uint8]:
    """Return the grey picture Y, `uint8` of shape (rows, columns)."""
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)


def _decode_with_opencv(data: bytes) -> Picture | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if pixels is None else pixels.astype(np.uint8, copy=False)


def _decode_with_pillow(data: bytes) -> Picture:
    image = _open(io.BytesIO(data))
    try:
        image.load()
        return _to_bgr(image)
    except exceptions.ImageError:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise almost anything
        raise exceptions.from_decoder_error(error, what="the pixels") from None


def _to_bgr(image: Image.Image) -> Picture:
    if image.mode in {"F", "I"}:
        msg = f"pixels of {'floating-point' if image.mode == 'F' else '32-bit'} samples"
        raise exceptions.UnsupportedError(msg)
    if image.mode.startswith("I;16"):
        # Pillow itself would clip at 255; a viewer shows the high byte.
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    # Otherwise Pillow warns that it cannot keep what we do not want.
    image.info.pop("transparency", None)
    try:
        colours = np.asarray(image.convert("RGB"))
    except ValueError:
        msg = f"pixels of mode {image.mode} cannot be converted to RGB"
        raise exceptions.UnsupportedError(msg) from None
    return cv2.cvtColor(colours, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)


def _upright(stored: Picture, orientation: int) -> Picture:
    if orientation not in _UPRIGHT:
        return stored
    transpose, axis = _UPRIGHT[orientation]
    picture = cv2.transpose(stored) if transpose else stored
    if axis is not None:
        picture = cv2.flip(picture, axis)
    return picture.astype(np.uint8, copy=False)


def _open(stream: BinaryIO) -> ImageFile.ImageFile:
    """Find the Pillow plug-in that reads an image.

    `Image.open` is passed over because its limit on pixels is a global setting
    of the user's, and speaks in warnings, which are process-wide too.
    """
    prefix = stream.read(16)
    if not prefix:
        msg = "the file is empty"
        raise exceptions.CorruptError(msg)
    damage: exceptions.ImageError | None = None
    for name, factory, accept in _plugins():
        if accept and accept(prefix) is not True:
            continue
        stream.seek(0)
        try:
            return factory(stream, "")
        except Exception as error:  # noqa: BLE001 - decoders raise almost anything
            if accept and damage is None:
                damage = exceptions.from_decoder_error(
                    error, what=f"the header of this {name} image"
                )
    raise damage or exceptions.UnsupportedError("not an image of a known format")


def _plugins() -> list[tuple[str, _Factory, _Accept | None]]:
    """Pillow's plug-ins, those registered meanwhile too, surest first."""
    Image.preinit()
    Image.init()
    plugins = [(name, *Image.OPEN[name]) for name in Image.ID if name not in _FORMATS_LEFT_OUT]
    # Those without a magic number take anything that is not plainly wrong.
    return sorted(plugins, key=lambda plugin: plugin[2] is None)


def _orientation(image: ImageFile.ImageFile, stream: BinaryIO) -> int:
    """The EXIF orientation that the pixels still have; 1 where it is none or broken."""
    if image.format == "TIFF":  # Pillow turns these itself
        return 1
    try:
        if image.format == "PNG":
            image.info.update(_info_after_pixels(stream))
        # Not the method of the PNG plug-in, which would decode the pixels.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
        return int(value) if value in _UPRIGHT else 1
    except Exception:  # noqa: BLE001 - broken metadata never fails a readable picture
        return 1


def _info_after_pixels(stream: BinaryIO) -> dict[str | tuple[int, int], object]:
    """What the chunks of a PNG behind its pixels tell, skipping the pixels."""
    stream.seek(0)
    signature_and_ihdr = stream.read(33)
    chunks = []
    pixels_seen = False
    while len(head := stream.read(8)) == 8:  # noqa: PLR2004 - length and name
        length, name = struct.unpack(">I4s", head)
        if name == b"IEND" or (name == b"fcTL" and pixels_seen):
            break
        if pixels_seen and name in _PNG_METADATA_CHUNKS:
            content = stream.read(length)
            chunks.append(_png_chunk(name, content))
            stream.seek(4, io.SEEK_CUR)
        else:
            stream.seek(length + 4, io.SEEK_CUR)
        pixels_seen = pixels_seen or name == b"IDAT"
    if not chunks:
        return {}
    # The same picture with the chunks in front of (no) pixels.
    rebuilt = b"".join([signature_and_ihdr, *chunks, _png_chunk(b"IDAT", b"")])
    return _open(io.BytesIO(rebuilt)).info


def _png_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I4s", len(content), name) + content + struct.pack(">I", checksum)
