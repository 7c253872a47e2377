"""Pillow's plug-ins, by which the content of an image decides what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, TypeAlias

from PIL import Image, ImageFile

from polars_imgmeta import exceptions

_Factory: TypeAlias = Callable[[BinaryIO, str], ImageFile.ImageFile]
_Accept: TypeAlias = Callable[[bytes], bool | str]

# Pillow plug-ins that run other programs (EPS), know no pixels at all (the
# stubs), or need libraries that are not among our dependencies.
_FORMATS_LEFT_OUT = frozenset({"BUFR", "EPS", "FPX", "GRIB", "HDF5", "MIC", "MPEG", "WMF"})


def open_with_pillow(stream: BinaryIO) -> ImageFile.ImageFile:
    """Open an image with the plug-in that knows its content.

    `Image.open` is passed over because it applies a limit on pixels that is a
    global setting of the user's.

    Args:
        stream: The image, seekable and at its start.

    Returns:
        The image with its header read; the pixels are decoded by its `load`.

    Raises:
        UnsupportedError: If no plug-in knows the content.
        CorruptError: If one does and cannot read the header, or if the content
            is empty.
    """
    prefix = stream.read(16)
    if not prefix:
        msg = "the file is empty"
        raise exceptions.CorruptError(msg)
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
    raise damage or exceptions.UnsupportedError("not an image of a known format")


def _plugins() -> list[tuple[str, _Factory, _Accept | None]]:
    """Pillow's plug-ins, those registered meanwhile too, surest first."""
    Image.preinit()
    Image.init()
    plugins = [(name, *Image.OPEN[name]) for name in Image.ID if name not in _FORMATS_LEFT_OUT]
    # Those without a magic number take anything that is not plainly wrong.
    return sorted(plugins, key=lambda plugin: plugin[2] is None)
