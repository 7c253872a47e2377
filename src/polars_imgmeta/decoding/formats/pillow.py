"""Pillow's plug-ins, chosen by the content of an image, never by its name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import BinaryIO, TypeAlias

from PIL import Image, ImageFile

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats import heif, jxl

_Factory: TypeAlias = Callable[[BinaryIO, str], ImageFile.ImageFile]
_Accept: TypeAlias = Callable[[bytes], bool | str]

# Plug-ins that run other programs (EPS), decode no pixels (the stubs), or need libraries
# that are not among the dependencies.
_EXCLUDED_FORMATS = frozenset({"BUFR", "EPS", "FPX", "GRIB", "HDF5", "MIC", "MPEG", "WMF"})


def open_with_pillow(stream: BinaryIO) -> ImageFile.ImageFile:
    """Open an image with the plug-in that accepts its content.

    `Image.open` is not used: it would also open the excluded formats, and an
    unexpected exception of one plug-in would keep it from trying the others.

    Args:
        stream: The image, seekable.

    Returns:
        The image with its header read; its `load` decodes the pixels.

    Raises:
        UnsupportedError: If no plug-in accepts the content.
        CorruptError: If one accepts it and cannot read the header, or if the
            content is empty.
    """
    stream.seek(0)
    prefix = stream.read(16)
    if not prefix:
        msg = "the file is empty"
        raise exceptions.CorruptError(msg)
    missing = _load_extra_plugin(prefix)
    damage: exceptions.ImageError | None = None
    for name, factory, accept in _plugins():
        if accept and not _accepts(accept, prefix):
            continue
        try:
            stream.seek(0)
            return factory(stream, "")
        except BaseException as error:
            if not exceptions.is_of_decoder(error):
                raise
            # A plug-in without `accept` is tried on everything: its failure means nothing.
            if accept and damage is None:
                damage = exceptions.from_decoder_error(
                    error, what=f"the header of this {name} image"
                )
    if damage and not missing:
        raise damage
    raise exceptions.UnsupportedError(missing or "not an image of a known format")


def _accepts(accept: _Accept, prefix: bytes) -> bool:
    """Return whether a plug-in accepts content; if it fails on it, as on 3 bytes, it does not."""
    try:
        return accept(prefix) is True
    except BaseException as error:
        if not exceptions.is_of_decoder(error):
            raise
        return False


def _load_extra_plugin(prefix: bytes) -> str | None:
    """Load the plug-in of an optional format; return an error message if it is not installed."""
    if prefix[4:8] == b"ftyp" and prefix[8:12] in heif.HEIF_BRANDS:
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
    """List Pillow's plug-ins, including late registrations, those that check content first."""
    Image.preinit()
    Image.init()
    plugins = [(name, *Image.OPEN[name]) for name in Image.ID if name not in _EXCLUDED_FORMATS]
    # Plug-ins without `accept` may open the content of other formats, and that of HEIF opens AVIF
    # without being able to decode it.
    return sorted(plugins, key=lambda plugin: (plugin[2] is None, plugin[0] == "HEIF"))
