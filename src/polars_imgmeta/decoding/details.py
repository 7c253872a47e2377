"""Details of an image file beyond its header: colour mode, depth, frames, and Exif.

They are read only if a property asks for them, without decoding pixels and with bounded work:
through Pillow, except of formats that it cannot open without their pixels. Whatever is absent,
broken or takes too much is None: metadata never fail a readable picture.

Sources:
    CIPA DC-008, "Exif"; the Exif and GPS directories of which Pillow reads.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any, BinaryIO, TypeVar, cast

from PIL import ExifTags, Image, ImageFile

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats import jxl, netpbm, png, tiff, webp
from polars_imgmeta.decoding.formats.bounded import (
    MAX_BYTES,
    MAX_READS,
    BoundedStream,
    LongHeaderError,
)
from polars_imgmeta.decoding.formats.declared import Declared
from polars_imgmeta.decoding.formats.pillow import open_with_pillow
from polars_imgmeta.decoding.headers import Header
from polars_imgmeta.decoding.isolation import isolated
from polars_imgmeta.io.sources import Source

_Value = TypeVar("_Value")

# Parsers of formats of which Pillow reads the whole file, or the pixels, or nothing.
_PARSERS: dict[str, Callable[[BinaryIO], Declared | None]] = {
    "WEBP": webp.read_declared,
    "JXL": jxl.read_declared,
    "PPM": netpbm.read_declared,
    "PAM": netpbm.read_declared,
    "PFM": netpbm.read_declared,
    "HDR": lambda _: Declared(None, channels=3, bit_depth=8),  # and an exponent for each pixel
}
_EXIF_PARSERS = {"WEBP": webp.read_exif, "JXL": jxl.read_exif}
_WITHOUT_PILLOW = _PARSERS.keys() - {"PPM"}
# Pillow decodes icons while opening them.
_ICONS, _MAX_ICON_PIXELS = frozenset({"ICO", "CUR", "ICNS"}), 1 << 21
_MIN_PIXEL_LIMIT = 1 << 24
# Pillow reads these as a whole to open them.
_READ_WHOLE = frozenset({"AVIF", "HEIF"})
# Its blocks have 255 bytes, and take two reads. Millions of tiny frames take more.
_GIF_BYTES_PER_READ = 64
# Pillow calls the layers of a picture its frames.
_WITH_LAYERS = frozenset({"PSD"})

# Bits of a sample by Pillow's mode, where they are not 8.
_MODE_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}
_PNG_DEPTH = 24  # position in the file
_TIFF_BITS, _TIFF_ORIENTATION = 258, 274
_ORIENTATIONS = range(1, 9)
# Start of codestream, followed by the SIZ marker segment, which holds the bit depth.
_JPEG2000_SIZ, _SIZ_DEPTH = b"\xff\x4f\xff\x51", 42
_START_BYTES = 1 << 16
# The box of AVIF in which two bits declare 8, 10 or 12 bits.
_AV1_BOX = b"av1C"

# Some writers separate a date by hyphens, and the time by a T, as ISO 8601 does.
_TIME = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):([0-5]\d)", re.ASCII)
_UTC = "Z"
_MAX_OFFSET = 14 * 60
# Time, offset from UTC and fraction of a second: of taking a picture, and of digitizing it.
_TAGS = ExifTags.Base
_TIMES = (
    (_TAGS.DateTimeOriginal, _TAGS.OffsetTimeOriginal, _TAGS.SubsecTimeOriginal),
    (_TAGS.DateTimeDigitized, _TAGS.OffsetTimeDigitized, _TAGS.SubsecTimeDigitized),
)
_MICROSECOND_DIGITS = 6


class Details:
    """Details of an image file, each read when it is first asked for.

    Args:
        source: The image, open while the details are read.
        header: Its header.
    """

    def __init__(self, source: Source, header: Header) -> None:
        self._source = source
        self._header = header

    def fetch(self, names: Iterable[str]) -> None:
        """Read some details now, so that nothing more of the source is read for them later.

        A failure of the source is raised when they are read.
        """
        for name in names:
            with suppress(exceptions.ImageError):
                getattr(self, name, None)

    @property
    def format(self) -> str:
        """Pillow's name of the format."""
        return self._header.format

    @property
    def orientation(self) -> int:
        """The orientation that the file declares, 1 to 8; 1 if it declares none."""
        if self.format == "TIFF":  # Pillow and its plug-in apply these two
            found = self._read(lambda image: image.tag_v2[_TIFF_ORIENTATION])
        elif self.format == "HEIF":
            found = self._read(lambda image: image.info["original_orientation"])
        else:
            return self._header.orientation
        return found if isinstance(found, int) and found in _ORIENTATIONS else 1

    @property
    def mode(self) -> str | None:
        """Pillow's name of the colour mode."""
        if self._declared:
            return self._declared.mode
        return self._read(lambda image: image.mode)

    @property
    def channels(self) -> int | None:
        """The number of samples of a pixel; an index into a palette is one."""
        if self._declared:
            return _positive(self._declared.channels)
        return self._read(lambda image: len(image.getbands()))

    @cached_property
    def bit_depth(self) -> int | None:
        """The number of bits of a sample."""
        if self._declared:
            return _positive(self._declared.bit_depth)
        return _positive(self._read(self._bits_of))

    @cached_property
    def frames(self) -> int | None:
        """The number of frames or pages."""
        if self.format in _WITH_LAYERS:
            return 1
        if self._declared:
            return _positive(self._declared.frames)
        return _positive(self._read(lambda image: int(getattr(image, "n_frames", 1))))

    @property
    def has_alpha(self) -> bool | None:
        """Whether pixels can be transparent."""
        if self._declared:
            return self._declared.has_alpha
        return self._read(lambda image: image.has_transparency_data)

    @property
    def has_icc_profile(self) -> bool | None:
        """Whether the file has a colour profile."""
        if self._declared:
            return self._declared.has_icc_profile
        if self.format == "PNG":
            return self._read(lambda _: any(chunk.name == b"iCCP" for chunk in self._chunks))
        return self._read(lambda image: bool(image.info.get("icc_profile")))

    @property
    def camera_make(self) -> str | None:
        """The manufacturer of the camera."""
        return self._text_of(ExifTags.Base.Make)

    @property
    def camera_model(self) -> str | None:
        """The model of the camera."""
        return self._text_of(ExifTags.Base.Model)

    @property
    def captured(self) -> datetime | None:
        """When the picture was taken, by the clock of the camera, without a time zone."""
        return self._captured[0]

    @property
    def captured_offset(self) -> int | None:
        """The offset of that clock from UTC, in minutes, positive in the east."""
        return self._captured[1]

    @property
    def latitude(self) -> float | None:
        """Degrees north of the equator."""
        ref, angle = ExifTags.GPS.GPSLatitudeRef, ExifTags.GPS.GPSLatitude
        return _degrees(self._gps.get(ref), self._gps.get(angle), "NS", 90)

    @property
    def longitude(self) -> float | None:
        """Degrees east of Greenwich."""
        ref, angle = ExifTags.GPS.GPSLongitudeRef, ExifTags.GPS.GPSLongitude
        return _degrees(self._gps.get(ref), self._gps.get(angle), "EW", 180)

    @cached_property
    def _declared(self) -> Declared | None:
        """What the header says, of formats with a parser."""
        parser = _PARSERS.get(self.format)
        return self._parse(parser) if parser else None

    @cached_property
    def _image(self) -> ImageFile.ImageFile | None:
        if self.format in _WITHOUT_PILLOW:
            return None
        try:
            with isolated(max_pixels=self._max_pixels):
                return self._open()
        except (exceptions.ImageError, struct.error):  # only OpenCV reads it, or it is too much
            self._require_reached()
            return None

    def _open(self) -> ImageFile.ImageFile:
        """Open the image with Pillow, which sees as much of it as its details may take."""
        if self.format == "PNG" and png.has_much_metadata(self._chunks):
            stream = self._source.stream()
            image = open_with_pillow(io.BytesIO(png.rebuild_header(stream, self._chunks)))
        else:
            image = open_with_pillow(cast("BinaryIO", self._stream))
        if self.format == "PNG":
            image.info.update(png.info_after_pixels(self._source.stream(), self._chunks))
        return image

    @cached_property
    def _stream(self) -> BoundedStream:
        stream = self._source.stream()
        if self.format == "GIF":  # has its frames all over the file
            size = self._source.size
            max_reads = MAX_READS + size // _GIF_BYTES_PER_READ
            return BoundedStream(stream, None, MAX_BYTES + 4 * size, max_reads)
        max_bytes = MAX_BYTES + (self._source.size if self.format in _READ_WHOLE else 0)
        return BoundedStream(stream, tiff.patches(self._source.stream()), max_bytes)

    @cached_property
    def _chunks(self) -> list[png.Chunk]:
        return list(png.read_chunks(self._source, self._source.stream()))

    @property
    def _max_pixels(self) -> float:
        """The limit of what Pillow may decode while it opens an image or counts frames."""
        if self.format in _ICONS:
            return _MAX_ICON_PIXELS
        return max(self._header.width * self._header.height, _MIN_PIXEL_LIMIT)

    @cached_property
    def _exif(self) -> Image.Exif:
        """The first directory."""
        if parser := _EXIF_PARSERS.get(self.format):
            data, exif = self._parse(parser) or b"", Image.Exif()
            self._shield(lambda: exif.load(data))
            return exif
        # The override of the PNG plug-in would decode the pixels.
        return self._read(Image.Image.getexif) or Image.Exif()

    @cached_property
    def _gps(self) -> Mapping[int, Any]:
        return self._directory(ExifTags.IFD.GPSInfo)

    @cached_property
    def _captured(self) -> tuple[datetime | None, int | None]:
        tags = self._directory(ExifTags.IFD.Exif)
        for time, offset, fraction in _TIMES:
            if found := _time(_text(tags.get(time)), _text(tags.get(fraction))):
                return found, _offset(_text(tags.get(offset)))
        return None, None

    def _text_of(self, tag: ExifTags.Base) -> str | None:
        exif = self._exif
        return _text(self._shield(lambda: exif.get(tag)))  # read at last here, or warned of

    def _directory(self, which: ExifTags.IFD) -> Mapping[int, Any]:
        exif = self._exif
        return self._shield(lambda: exif.get_ifd(which)) or {} if exif else {}

    def _parse(self, parser: Callable[[BinaryIO], _Value]) -> _Value | None:
        """Return what a parser finds; None if that takes too much."""
        try:
            found = parser(cast("BinaryIO", self._stream))
        except LongHeaderError:
            return None
        return None if self._stream.exhausted else found

    def _read(self, detail: Callable[[Any], _Value]) -> _Value | None:
        """Return a detail of Pillow's image; None if it is broken, or if there is no image."""
        image = self._image
        return None if image is None else self._shield(lambda: detail(image))

    def _shield(self, detail: Callable[[], _Value]) -> _Value | None:
        """Return a detail that Pillow reads; None if it fails, or if that takes too much."""
        with isolated(max_pixels=self._max_pixels):
            try:
                value = detail()
            except BaseException as error:
                if not exceptions.is_of_decoder(error):
                    raise
                self._require_reached()
                return None
        return None if self._stream.exhausted else value

    def _require_reached(self) -> None:
        """Raise the error of a source that broke off, which a decoder takes for damage."""
        if self._source.remote:
            self._source.read(self._source.size - 1, 1)

    def _bits_of(self, image: Any) -> int:  # noqa: ANN401 - attributes of many plug-ins
        if image.format == "PNG":
            return self._source.start[_PNG_DEPTH]
        if image.format == "TIFF":
            return int(max(image.tag_v2.get(_TIFF_BITS, (1,))))
        if image.format == "HEIF":
            return int(image.info["bit_depth"])
        start = self._source.read(0, _START_BYTES) if image.format in {"AVIF", "JPEG2000"} else b""
        if (siz := start.find(_JPEG2000_SIZ)) >= 0:
            return (start[siz + _SIZ_DEPTH] & 0x7F) + 1
        if (box := start.find(_AV1_BOX)) >= 0:
            flags = start[box + len(_AV1_BOX) + 2]
            return 8 + 2 * (flags >> 6 & 1) + 2 * (flags >> 5 & 1)
        return 16 if image.mode == "I" and image.format == "PPM" else _MODE_BITS.get(image.mode, 8)


def _positive(count: int | None) -> int | None:
    """Return a count that a file declares; None if it is none of something that is there."""
    return count if count is not None and count > 0 else None


def _text(value: object) -> str | None:
    """Return a text up to its end; Exif knows ASCII only, and many cameras write UTF-8."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return None
    with suppress(UnicodeError):
        value = value.encode("latin-1").decode("utf-8")
    text = value.partition("\0")[0].strip()
    return text.encode("utf-8", "replace").decode("utf-8") or None


def _time(text: str | None, fraction: str | None) -> datetime | None:
    found = _TIME.match(text or "")
    if not found:
        return None
    digits = fraction if fraction and fraction.isascii() and fraction.isdigit() else ""
    microsecond = int(digits[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0"))
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, second, microsecond)  # noqa: DTZ001 - of a camera
    except ValueError:  # zeros stand for an unknown time
        return None


def _offset(text: str | None) -> int | None:
    if text == _UTC:
        return 0
    found = _OFFSET.fullmatch(text or "")
    if not found:
        return None
    minutes = 60 * int(found[2]) + int(found[3])
    return None if minutes > _MAX_OFFSET else -minutes if found[1] == "-" else minutes


def _degrees(reference: object, angle: object, signs: str, limit: int) -> float | None:
    """Return an angle of degrees, minutes and seconds; negative in the south and west."""
    side = (_text(reference) or " ")[0].upper()
    try:
        degrees, minutes, seconds = map(float, angle)  # type: ignore[call-overload]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    value: float = degrees + minutes / 60 + seconds / 3600
    if side not in signs or not 0 <= value <= limit:  # NaN is not
        return None
    return (-value if side == signs[1] else value) or 0.0  # not minus zero
