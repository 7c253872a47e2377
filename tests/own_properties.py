"""Properties of a caller's own, at the top level of a module so that they can be pickled."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl

import polars_imgmeta as im


@im.custom_property(needs="picture", dtype=pl.Float64, minimum=-1, maximum=1, unit="fraction")
def warmth(picture: Any) -> float:  # noqa: ANN401 - an array
    """Mean of red minus blue, over 255."""
    blue, red = picture[..., 0].mean(), picture[..., 2].mean()
    return float(red - blue) / 255


@im.custom_property(needs="intensity", dtype=pl.Int32)
def darkest(intensity: Any) -> int:  # noqa: ANN401 - an array
    """The minimum of the intensity."""
    return int(intensity.min())


@im.custom_property(needs="bytes", dtype=pl.String)
def digest(data: bytes) -> str:
    """MD5 of the encoded image."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@im.custom_property(needs="header", dtype=pl.String)
def image_format(header: Any) -> str:  # noqa: ANN401 - a header
    """The format of the image."""
    return str(header.format)


@im.custom_property(needs="source", dtype=pl.Boolean)
def is_large(facts: Any) -> bool:  # noqa: ANN401 - facts of the source
    """Whether the file has more than 10,000 bytes."""
    return bool(facts.file_size > 10_000)


@im.custom_property(needs="picture", dtype=pl.Array(pl.Float32, 3))
def mean_colour(picture: Any) -> list[float]:  # noqa: ANN401 - an array
    """The mean of each channel."""
    means: list[float] = picture.reshape(-1, 3).mean(axis=0).tolist()
    return means


@im.custom_property(needs="intensity", dtype=pl.Float64, nullable=True)
def maybe(intensity: Any) -> float | None:  # noqa: ANN401 - an array
    """Null for a picture without contrast."""
    return None if intensity.min() == intensity.max() else 1.0


@im.custom_property(needs="intensity", dtype=pl.Float64)
def fragile(intensity: Any) -> float:  # noqa: ANN401 - an array
    """Fails for a picture without contrast."""
    return 1 / int(intensity.max() - intensity.min())


@im.custom_property(needs="intensity", dtype=pl.Int32)
def mistyped(intensity: Any) -> Any:  # noqa: ANN401 - what is wrong with it
    """Of another dtype than it says."""
    return f"{intensity.mean()}"


@im.custom_property(needs="picture", dtype=pl.Int32)
def recursive(_: Any) -> int:  # noqa: ANN401 - an array
    """Calls an extraction, which it must not."""
    return im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path").height


ALL = (warmth, darkest, digest, image_format, is_large, mean_colour, maybe)
