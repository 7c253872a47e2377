"""The closed vocabularies of polars-imgmeta, as static types.

Each alias is the single place where its words are written; what needs them at
run time derives them with [`typing.get_args`][].
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias, TypeVar

import polars as pl

PropertyName: TypeAlias = Literal[
    "width",
    "height",
    "size",
    "aspect_ratio",
    "brightness",
    "contrast",
    "sharpness",
    "pixel_entropy",
    "symmetry",
]
"""An image property, which is also the name of its field, in catalogue order."""

GroupName: TypeAlias = Literal["geometry", "standard"]
"""A named set of properties."""

PropertiesLike: TypeAlias = PropertyName | GroupName | Iterable[PropertyName | GroupName]
"""One name of a property or group, or several of them."""

ErrorKind: TypeAlias = Literal[
    "not_found",
    "access_denied",
    "unreachable",
    "invalid_locator",
    "unsupported",
    "corrupt",
    "too_large",
]
"""Why a row has no values: the word before the colon in its `error`."""

OnError: TypeAlias = Literal["null", "raise"]
"""What a failing row does: become nulls with an `error`, or raise."""

Frame: TypeAlias = pl.DataFrame | pl.LazyFrame
"""An eager or a lazy frame."""

FrameT = TypeVar("FrameT", pl.DataFrame, pl.LazyFrame)
"""The kind of frame that a verb was given and returns."""
