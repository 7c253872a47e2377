"""Pillow's plug-ins, by which the content of an image decides what it is."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import BinaryIO, TypeAlias

from PIL import Image, ImageFile

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats import jxl

_Factory: TypeAlias = Callable[[BinaryIO, str], ImageFile.ImageFile]
_Accept: TypeAlias = Callable[[bytes], bool | str]

# The content of a file says what it is by its major brand.
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
)

# Pillow plug-ins that run other programs (EPS), know no pixels at all (the
# stubs), or need libraries that are not among our dependencies.
_FORMATS_LEFT_OUT = frozenset({"BUFR", "EPS", "FPX", "GRIB", "HDF5", "MIC", "MPEG", "WMF"})


def open_with_pillow(stream: BinaryIO) -> ImageFile.ImageFile:
    """Open an image with the plug-in that knows its content.

    `Image.open` is passed over because it would also open the formats that are
    left out here, and ends at the first plug-in that fails unforeseen.

    Args:
        stream: The image, seekable.

    Returns:
        The image with its header read; the pixels are decoded by its `load`.

    Raises:
        UnsupportedError: If no plug-in knows the content.
        CorruptError: If one does and cannot read the header, or if the content
            is empty.
    """
    stream.seek(0)
    prefix = stream.read(16)
    if not prefix:
        msg = "the file is empty"
        raise exceptions.CorruptError(msg)
    absent = _load_extra_plugin(prefix)
    damage: exceptions.ImageError | None = None
    for name, factory, accept in _plugins():
        try:
            if accept and accept(prefix) is not True:
                continue
            stream.seek(0)
            return factory(stream, "")
        except Exception as error:  # noqa: BLE001 - decoders raise almost anything
            # Without a magic number, a failure says nothing about the content.
            if accept and damage is None:
                damage = exceptions.from_decoder_error(
                    error, what=f"the header of this {name} image"
                )
    if damage and not absent:
        raise damage
    raise exceptions.UnsupportedError(absent or "not an image of a known format")


def _load_extra_plugin(prefix: bytes) -> str | None:
    """Load the plug-in of a format of the extra `formats`, or say that it is absent."""
    if prefix[4:8] == b"ftyp" and prefix[8:12] in _HEIF_BRANDS:
        name, module = "HEIC", "pillow_heif"
    elif prefix.startswith((jxl.CODESTREAM, jxl.CONTAINER)):
        name, module = "JPEG XL", "pillow_jxl"
    else:
        return None
    try:
        plugin = import_module(module)
    except ImportError:
        return f"{name} needs the extra `formats`: pip install 'polars-imgmeta[formats]'"
    if module == "pillow_heif" and "HEIF" not in Image.OPEN:
        plugin.register_heif_opener()
    return None


def _plugins() -> list[tuple[str, _Factory, _Accept | None]]:
    """Pillow's plug-ins, those registered meanwhile too, surest first."""
    Image.preinit()
    Image.init()
    plugins = [(name, *Image.OPEN[name]) for name in Image.ID if name not in _FORMATS_LEFT_OUT]
    # Those without a magic number take anything that is not plainly wrong.
    return sorted(plugins, key=lambda plugin: plugin[2] is None)
