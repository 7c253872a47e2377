"""What the header of a file declares of its pixels, for formats that Pillow does not describe."""

from __future__ import annotations

from typing import NamedTuple


class Declared(NamedTuple):
    """The pixels of a file, as its header declares them.

    Attributes:
        mode: Pillow's name of the colour mode, if it has one.
        channels: The number of samples of a pixel.
        bit_depth: The number of bits of a sample.
        frames: The number of frames, if the header declares it.
        has_alpha: Whether pixels can be transparent.
        has_icc_profile: Whether there is a colour profile.
    """

    mode: str | None
    channels: int
    bit_depth: int
    frames: int | None = 1
    has_alpha: bool = False
    has_icc_profile: bool = False
