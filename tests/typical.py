"""Encoded images of about a megapixel, as cameras and editors write them."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin


def noise(side: int) -> Image.Image:
    """Return a picture of incompressible noise."""
    samples = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(samples)


def captured_photo() -> bytes:
    """Return a JPEG whose Exif tells time, camera and place."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Märk", "M-1"
    tags: dict[int, str] = {
        ExifTags.Base.DateTimeOriginal: "2021:03:04 05:06:07",
        ExifTags.Base.OffsetTimeOriginal: "-03:30",
        ExifTags.Base.SubsecTimeOriginal: "250001",
    }
    exif.get_ifd(ExifTags.IFD.Exif).update(tags)
    place = {1: "S", 2: (33.0, 51.0, 36.5), 3: "E", 4: (151.0, 12.0, 36.25)}
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(place)
    stream = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(stream, "JPEG", exif=exif.tobytes())
    return stream.getvalue()


def exif(orientation: int = 6, preview: int = 0) -> bytes:
    """Return Exif data like a camera's, padded as by a preview."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    tags[ExifTags.Base.ImageDescription] = "x" * preview
    return tags.tobytes()


def png_with_late_exif(chunk: int, comment: int) -> bytes:
    """Return a PNG with IDAT chunks of a size, and Exif and a comment after the pixels."""
    info = PngImagePlugin.PngInfo()
    info.add(b"tEXt", b"Comment\0" + b"c" * comment)
    target = io.BytesIO()
    noise(400).save(target, "PNG", pnginfo=info, exif=exif())
    return rechunk(target.getvalue(), chunk)


def rechunk(data: bytes, chunk: int) -> bytes:
    """Split the pixels of a PNG into chunks of a size, and move the metadata after them."""
    parts: list[tuple[bytes, bytes]] = []
    position = 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4])
        name = data[position + 4 : position + 8]
        parts.append((name, data[position + 8 : position + 8 + length]))
        position += 12 + length
    pixels = b"".join(content for name, content in parts if name == b"IDAT")
    target = io.BytesIO()
    target.write(data[:8])
    first = [part for part in parts if part[0] == b"IHDR"]
    middle = [(b"IDAT", pixels[begin : begin + chunk]) for begin in range(0, len(pixels), chunk)]
    metadata = [part for part in parts if part[0] not in {b"IHDR", b"IDAT", b"IEND"}]
    for name, content in [*first, *middle, *metadata, (b"IEND", b"")]:
        PngImagePlugin.putchunk(target, name, content)
    return target.getvalue()


def encode(name: str, **options: object) -> bytes:
    """Return an encoded noisy picture of 1000 x 1000 pixels."""
    target = io.BytesIO()
    noise(1000).save(target, name, **options)
    return target.getvalue()


UPRIGHT = Image.Exif().tobytes()
XMP = b"<x:xmpmeta><tiff:Orientation>8</tiff:Orientation></x:xmpmeta>"


def png_with_xmp() -> bytes:
    """Return a PNG in small chunks, with XMP as written by Adobe and Apple."""
    info = PngImagePlugin.PngInfo()
    info.add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    target = io.BytesIO()
    noise(1000).save(target, "PNG", pnginfo=info)
    return rechunk(target.getvalue(), 16_384)


TYPICAL: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: encode("JPEG", quality=95),
    "JPEG of a camera": lambda: encode("JPEG", quality=95, exif=exif(preview=20_000)),
    "progressive JPEG": lambda: encode("JPEG", progressive=True),
    "PNG": lambda: encode("PNG"),
    "PNG with metadata": lambda: encode("PNG", exif=exif()),
    "PNG in chunks of 8192": lambda: png_with_late_exif(8192, 100),
    "PNG with a long comment": lambda: png_with_late_exif(8192, 12_000),
    "PNG in one chunk": lambda: png_with_late_exif(1 << 24, 100),
    "WebP": lambda: encode("WEBP", quality=95),
    "lossless WebP": lambda: encode("WEBP", lossless=True, method=0),
    "PNG with XMP": png_with_xmp,
    "WebP with metadata": lambda: encode("WEBP", quality=95, exif=exif()),
    "WebP with XMP": lambda: encode("WEBP", quality=95, xmp=b"<x:xmpmeta/>"),
    "WebP with Exif without orientation": lambda: encode("WEBP", quality=95, exif=UPRIGHT),
}
