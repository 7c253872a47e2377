"""Small images of every format that is read: the seeds of the fuzzer.

What Pillow and OpenCV can write, they write; the rest is written here, by hand. Metadata and
animations come with them, as most defects are found there.
"""

from __future__ import annotations

import gzip
import io
import itertools
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

SIDE = (13, 9)
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16")
_OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "AVIF": ({}, {"subsampling": "4:4:4"}),
    "BLP": ({}, {"blp_version": "BLP1"}),
    "BMP": ({},),
    "DDS": ({}, {"pixel_format": "DXT1"}, {"pixel_format": "BC5"}),
    "DIB": ({},),
    "GIF": ({}, {"interlace": 0}, {"comment": b"a comment"}),
    "HEIF": ({},),
    "ICNS": ({},),
    "ICO": ({}, {"bitmap_format": "bmp"}),
    "IM": ({},),
    "JPEG": ({}, {"progressive": True}, {"comment": b"a comment"}, {"subsampling": 2}),
    "JPEG2000": ({}, {"irreversible": True}, {"no_jp2": True}, {"tile_size": (8, 8)}),
    "JXL": ({}, {"lossless": True}),
    "MPO": ({},),
    "MSP": ({},),
    "PCX": ({},),
    "PNG": ({}, {"bits": 4}),
    "PPM": ({},),
    "QOI": ({},),
    "SGI": ({}, {"bpc": 2}),
    "SPIDER": ({},),
    "TGA": ({}, {"compression": "tga_rle"}),
    "TIFF": (
        {},
        {"compression": "tiff_lzw"},
        {"compression": "packbits"},
        {"compression": "jpeg"},
        {"compression": "group4"},
        {"compression": "tiff_adobe_deflate"},
        {"compression": "lzma"},
        {"compression": "zstd"},
        {"compression": "raw", "big_tiff": True},
        {"compression": "tiff_lzw", "strip_size": 40},
    ),
    "WEBP": ({}, {"lossless": True}),
    "XBM": ({},),
}
_ANIMATED = ("PNG", "GIF", "WEBP", "AVIF", "TIFF", "MPO", "HEIF")
_SUFFIXES = (
    *("bmp", "png", "jpg", "tiff", "webp", "ppm", "pgm", "pbm", "pam", "pfm"),
    *("hdr", "sr", "jp2", "avif", "gif"),
)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Yield a name and an image, for each format and its variants."""
    for name, data in itertools.chain(
        _by_pillow(), _animations(), _metadata(), _by_opencv(), _by_hand(), _containers()
    ):
        if data:
            yield name, data


def _noise(mode: str, side: tuple[int, int] = SIDE) -> Image.Image:
    samples = np.random.default_rng(1).integers(0, 256, (side[1], side[0], 3), np.uint8)
    samples[: side[1] // 2] = samples[:1]  # runs, for what encodes them
    if mode == "I;16":
        return Image.fromarray(samples[:, :, 0].astype(np.uint16) * 251)
    return Image.fromarray(samples).convert(mode)


def _save(image: Image.Image, name: str, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's
    """Encode an image, or return nothing where Pillow cannot."""
    file = io.BytesIO()
    with suppress(Exception):
        image.save(file, name, **options)
        return file.getvalue()
    return b""


def _by_pillow() -> Iterator[tuple[str, bytes]]:
    with suppress(ImportError):
        import pillow_heif  # noqa: PLC0415 - an extra

        pillow_heif.register_heif_opener()
    with suppress(ImportError):
        import pillow_jxl  # noqa: F401, PLC0415 - an extra
    for name, variants in _OPTIONS.items():
        for mode in _MODES:
            for number, options in enumerate(variants):
                side = (32, 32) if name == "ICNS" else SIDE
                yield f"{name} {mode} {number}", _save(_noise(mode, side), name, **options)


def _animations() -> Iterator[tuple[str, bytes]]:
    for name, mode in itertools.product(_ANIMATED, ("L", "P", "RGB", "RGBA")):
        others = [_noise(mode).rotate(angle) for angle in (90, 180)]
        data = _save(_noise(mode), name, save_all=True, append_images=others, duration=40)
        yield f"{name} {mode} animated", data


def _metadata() -> Iterator[tuple[str, bytes]]:
    exif = Image.Exif()
    exif[274] = 6
    exif[271] = "a maker"
    exif.get_ifd(0x8769)[0x9286] = "a comment"
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    icc = bytes(128) + b"acsp" + bytes(300)
    for name in ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "JPEG2000", "HEIF", "JXL", "MPO"):
        image = _noise("RGB")
        for key, value in {"exif": exif.tobytes(), "xmp": xmp, "icc_profile": icc}.items():
            yield f"{name} {key}", _save(image, name, **{key: value})
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type exif", "\nexif\n  4\n49492a00\n", zip=True)
    texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
    texts.add_text("a key", "a text")
    yield "PNG texts", _save(_noise("P"), "PNG", pnginfo=texts, transparency=3, gamma=1)


def _by_opencv() -> Iterator[tuple[str, bytes]]:
    base = np.asarray(_noise("RGB"))
    variants = {
        "colours": base,
        "grey": base[:, :, 0],
        "deep colours": base.astype(np.uint16) * 251,
        "deep grey": base[:, :, 0].astype(np.uint16) * 251,
        "floats": base.astype(np.float32) / 255,
        "grey floats": base[:, :, 0].astype(np.float32) / 255,
        "doubles": base.astype(np.float64) / 255,
        "alpha": np.dstack([base, base[:, :, :1]]),
    }
    for suffix, (name, samples) in itertools.product(_SUFFIXES, variants.items()):
        with suppress(cv2.error):
            done, data = cv2.imencode(f".{suffix}", np.ascontiguousarray(samples))
            yield f"OpenCV {suffix} {name}", data.tobytes() if done else b""


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG."""
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def _by_hand() -> Iterator[tuple[str, bytes]]:  # noqa: PLR0915 - a format each
    columns, rows = SIDE
    count = columns * rows
    grey = bytes(index % 251 for index in range(count))
    colours = bytes(index % 251 for index in range(3 * count))
    cards = [
        "SIMPLE  = T",
        "BITPIX  = 8",
        "NAXIS   = 2",
        f"NAXIS1  = {columns}",
        f"NAXIS2  = {rows}",
    ]
    fits = "".join(f"{card:80}" for card in [*cards, "END"]).ljust(2880).encode()
    yield "FITS", fits + grey.ljust(2880, b"\0")
    zipped = [f"{card:80}" for card in ("XTENSION= 'BINTABLE'", "BITPIX  = 8", "NAXIS   = 2")]
    zipped += [
        f"{card:80}" for card in (f"NAXIS1  = {columns}", f"NAXIS2  = {rows}", "PCOUNT  = 0")
    ]
    zipped += [f"{card:80}" for card in ("GCOUNT  = 1", "ZIMAGE  = T", "ZCMPTYPE= 'GZIP_1'")]
    zipped += [f"{card:80}" for card in ("ZBITPIX = 8", "ZNAXIS  = 2", f"ZNAXIS1 = {columns}")]
    zipped += [f"{card:80}" for card in (f"ZNAXIS2 = {rows}", f"ZTILE1  = {columns}", "END")]
    empty = "".join(f"{card:80}" for card in ("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "END"))
    start = empty.ljust(2880) + "".join(zipped).ljust(2880)
    yield "FITS gzipped", start.encode() + bytes(8 * rows) + gzip.compress(grey)
    yield (
        "FTEX",
        b"FTEX" + struct.pack("<9i", 1, columns, rows, 1, 1, 1, 32, 3 * count, 0) + colours,
    )
    yield (
        "FTEX DXT1",
        b"FTEX" + struct.pack("<9i", 1, 8, 8, 1, 1, 0, 32, 32, 0) + bytes(range(32)),
    )
    gbr = struct.pack(">5I4sI", 32, 2, columns, rows, 1, b"GIMP", 10) + b"abc\0"
    yield "GBR", gbr + grey
    yield (
        "GBR colours",
        struct.pack(">5I4sI", 32, 2, columns, rows, 4, b"GIMP", 10) + b"abc\0" + colours * 2,
    )
    sun = struct.pack(">8I", 0x59A66A95, columns, rows, 24, 3 * count, 1, 0, 0)
    yield "SUN", sun + colours + bytes(rows)
    yield (
        "SUN of runs",
        struct.pack(">8I", 0x59A66A95, columns, rows, 8, 90, 2, 0, 0) + b"\x80\x0c\x07" * 30,
    )
    fli = struct.pack("<IHHHHHHI", 128, 0xAF11, 1, columns, rows, 8, 3, 5).ljust(128, b"\0")
    palette = struct.pack("<IHHBB", 6 + 4 + 768, 11, 1, 0, 0) + bytes(range(256)) * 3
    lines = struct.pack("<IH", 6 + 2 * rows + rows, 15) + b"\1\x0d\7" * rows
    frame = struct.pack("<IHH8x", 16 + len(palette) + len(lines), 0xF1FA, 2)
    yield "FLI", fli + frame + palette + lines
    area = struct.pack(">64i", *([0, 4, 0, 0, 0, 0, 0, 0, rows, columns, 1, 0, 0, 1, 0] + [0] * 49))
    yield "MCIDAS", area[:132] + struct.pack(">i", 256) + area[136:] + grey
    yield (
        "PIXAR",
        (b"\200\350\0\0" + bytes(412) + struct.pack("<HH4xHH", rows, columns, 14, 0)).ljust(
            1024, b"\0"
        )
        + colours,
    )
    psd = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, rows, columns, 8, 3)
    yield "PSD", psd + struct.pack(">IIIH", 0, 0, 0, 0) + colours
    packed = struct.pack(f">{3 * rows}H", *[2] * (3 * rows)) + bytes([256 - columns + 1, 5]) * (
        3 * rows
    )
    yield "PSD of runs", psd + struct.pack(">IIIH", 0, 0, 0, 1) + packed
    layers = struct.pack(">IIIIIIHHI", 0, 40, 32, 0, 0, 0, 0, 0, 0)
    yield (
        "PSD with resources",
        psd + struct.pack(">I", 0) + struct.pack(">I4sHHI", 12, b"8BIM", 1005, 0, 0) + layers,
    )
    yield (
        "XPM",
        (
            f'/* XPM */\nstatic char * a[] = {{\n"{columns} {rows} 2 1",\n'
            '"a c #ff0000",\n"b c #00ff00",\n'
            + ",\n".join('"' + "ab" * (columns // 2) + 'a"' for _ in range(rows))
            + "};\n"
        ).encode(),
    )
    yield "XV", b"P7 332\n#IMGINFO:13x9 RGB\n#END_OF_COMMENTS\n%d %d 255\n" % SIDE + grey
    yield "PCD", (bytes(2048) + b"PCD_".ljust(2048, b"\0")).ljust(96 * 2048, b"\0")
    fields = {(3, 60): b"\x01\0", (3, 20): bytes([columns]), (3, 30): bytes([rows]), (3, 65): b"\0"}
    iptc = b"".join(
        struct.pack(">BBBH", 28, *key, len(value)) + value for key, value in fields.items()
    )
    yield (
        "IPTC",
        iptc
        + struct.pack(">BBBH", 28, 3, 120, 1)
        + b"\0"
        + struct.pack(">BBBH", 28, 8, 10, count)
        + grey,
    )
    icon = _save(_noise("RGBA"), "PNG")
    yield (
        "CUR",
        b"\0\0\2\0\1\0"
        + struct.pack("<BBBBHHII", 13, 9, 0, 0, 1, 32, 40 + 4 * count, 22)
        + (struct.pack("<IiiHHIIiiII", 40, columns, 2 * rows, 1, 32, 0, 0, 0, 0, 0, 0) + grey * 5),
    )
    yield (
        "ICO of two",
        b"\0\0\1\0\2\0" + struct.pack("<BBBBHHII", 13, 9, 0, 0, 1, 32, len(icon), 38) * 2 + icon,
    )
    yield "DCX", struct.pack("<III", 987654321, 12, 0) + _save(_noise("RGB"), "PCX")
    for compression, data in ((1, b"\x0d\x07\0\0" * rows), (2, b"\x0d\x21\0\0" * rows)):
        bits = 8 // compression
        bmp = struct.pack("<IiiHHIIiiII", 40, columns, rows, 1, bits, compression, 0, 0, 0, 16, 0)
        body = bmp + bytes(range(64)) + data + b"\0\1"
        yield f"BMP of runs {bits}", b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, 118) + body
    for magic, maximum in itertools.product((b"P2", b"P3", b"P5", b"P6"), (7, 255, 999, 65535)):
        size = count * (3 if magic in {b"P3", b"P6"} else 1)
        plain = magic in {b"P2", b"P3"}
        body = b" 1" * size if plain else bytes(size * (2 if maximum > 255 else 1))
        yield f"PPM {magic!r} {maximum}", magic + b"\n# a\n13 9 %d\n" % maximum + body
    yield "PBM", b"P1 13 9\n" + b"1 0 1" * count
    yield from _pngs()
    yield from _pams(count)


def _pngs() -> Iterator[tuple[str, bytes]]:
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *SIDE, 8, 0, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes((SIDE[0] + 1) * SIDE[1])))
    end = png_chunk(b"IEND", b"")
    control = png_chunk(b"acTL", struct.pack(">II", 2, 0))
    frame = struct.pack(">IIIIHHBB", *SIDE, 0, 0, 1, 25, 0, 0)
    first = png_chunk(b"fcTL", struct.pack(">I", 0) + frame)
    second = png_chunk(b"fcTL", struct.pack(">I", 1) + frame)
    more = png_chunk(b"fdAT", struct.pack(">I", 2) + zlib.compress(bytes((SIDE[0] + 1) * SIDE[1])))
    head = b"\x89PNG\r\n\x1a\n" + ihdr
    yield "APNG", head + control + first + pixels + second + more + end
    yield "APNG, default image apart", head + control + pixels + first + more + end
    yield "APNG of no frames", head + png_chunk(b"acTL", bytes(8)) + first + pixels + end
    texts = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(999)))
    yield (
        "PNG with texts after pixels",
        head + pixels + texts * 3 + png_chunk(b"eXIf", b"II*\0") + end,
    )
    interlaced = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *SIDE, 8, 0, 0, 0, 1))
    yield (
        "PNG interlaced",
        head[:8] + interlaced + png_chunk(b"IDAT", zlib.compress(bytes(400))) + end,
    )
    unknown = png_chunk(b"ruSt", b"abc") + png_chunk(b"iDOT", bytes(28))
    yield "PNG with unknown chunks", head + unknown + pixels + unknown + end


def _pams(count: int) -> Iterator[tuple[str, bytes]]:
    for depth, maximum in itertools.product((1, 2, 3, 4), (255, 999)):
        head = b"P7\nWIDTH 13\nHEIGHT 9\nDEPTH %d\nMAXVAL %d\nTUPLTYPE A\nENDHDR\n" % (
            depth,
            maximum,
        )
        yield f"PAM {depth} {maximum}", head + bytes(count * depth * (2 if maximum > 255 else 1))


def _containers() -> Iterator[tuple[str, bytes]]:
    """Yield structures of JPEG XL, AVIF and HEIF that no encoder writes."""
    sys.path.append(str(Path(__file__).parents[1]))
    import heif_files  # noqa: PLC0415 - beside the tests, which are elsewhere for a script
    import jxl_files  # noqa: PLC0415

    first, last = jxl_files.frame(kind=jxl_files.REFERENCE), jxl_files.frame(last=True)
    yield "JXL of frames", jxl_files.head(64) + first + jxl_files.frame() + last
    yield "JXL of parts", jxl_files.head() + jxl_files.frame(size=(256, 256)) + last
    patched = jxl_files.frame(patches=(9, 5), last=True)
    yield "JXL of patches", jxl_files.head(64) + first + patched
    yield "JXL of splines", jxl_files.head(64) + jxl_files.frame(splines=True, last=True)
    channels = jxl_files.frame(extra=3, last=True)
    yield "JXL of channels", jxl_files.head(64, 3) + channels
    yield "JXL with a profile", jxl_files.head(64, profile=40) + last
    packed = io.BytesIO()
    with suppress(Exception), tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        _noise("RGB").save(file.name)
        with Image.open(file.name) as jpeg:  # the plug-in reads the file itself
            jpeg.save(packed, "JXL", lossless_jpeg=True)
    yield "JXL of a JPEG", packed.getvalue()
    for kind, levels, times in ((b"iden", 2, 1), (b"iovl", 1, 2), (b"grid", 1, 4)):
        with suppress(Exception):  # where there is no encoder
            yield f"HEIF {kind.decode()}", heif_files.derived(kind, levels, times)
    for coding, (kind, _, brand) in heif_files.CODINGS.items():
        with suppress(Exception):
            configuration, pixels = heif_files.tile(coding)
            size = heif_files.full(b"ispe", struct.pack(">II", heif_files.TILE, heif_files.TILE))
            clap = heif_files.box(b"clap", struct.pack(">8i", 9, 1, 5, 1, 0, 1, 0, 1))
            turned = [configuration, size, clap, heif_files.box(b"irot", b"\1")]
            item = heif_files.Item(kind, pixels, turned)
            yield f"{coding} turned and cut", heif_files.file_of(brand, [item])
    picture = _save(_noise("RGBA"), "PNG")
    count = 40
    places = [struct.pack("<BBBBHHII", 13, 9, 0, 0, 1, 32, len(picture), 6 + 16 * count)] * count
    yield "ICO of many", struct.pack("<HHH", 0, 1, count) + b"".join(places) + picture
