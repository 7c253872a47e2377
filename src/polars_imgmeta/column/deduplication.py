"""The distinct images of a locator column.

A String locates an image, a Binary is one, and a Struct has `bytes`, `path` or both, as in
the data sets of Hugging Face; where both are there, the bytes count. Equal strings, and equal
bytes, are one image.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

import polars as pl

from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.io.locators import Locator, is_remote

_BYTES: Final = "bytes"
_PATH: Final = "path"
_NUMBER: Final = "number"
_TEXTS = (pl.String, pl.Categorical, pl.Enum, pl.Null)
_BINARIES = (pl.Binary, pl.Null)


def require_locator_dtype(dtype: pl.DataType, locator: str) -> None:
    """Check that values of a dtype can locate or hold images.

    Raises:
        ColumnError: If they cannot.
    """
    if isinstance(dtype, pl.Struct):
        fields = dict(dtype)
        suits = (
            bool({_BYTES, _PATH} & fields.keys())
            and isinstance(fields.get(_BYTES, pl.Null()), _BINARIES)
            and isinstance(fields.get(_PATH, pl.Null()), _TEXTS)
        )
    else:
        suits = isinstance(dtype, (pl.Binary, *_TEXTS))
    if not suits:
        msg = (
            f"the locator column {locator!r} must be of dtype String or Binary, or a Struct"
            f" with `bytes` (Binary) or `path` (String), got {dtype}{_advice(dtype, locator)}"
        )
        raise ColumnError(msg)


def _advice(dtype: pl.DataType, locator: str) -> str:
    column = f"pl.col({locator!r})"
    if isinstance(dtype, pl.Object):
        return f"\n\nHint: make them text, {column}.map_elements(str, return_dtype=pl.String)"
    if isinstance(dtype, pl.List | pl.Array):
        return f"\n\nHint: make a row of each image first, frame.explode({locator!r})"
    return ""


def parts_of(column: pl.Series) -> pl.DataFrame:
    """Return what each row holds: the `bytes` of an image, its `path`, or neither.

    Args:
        column: Of a dtype that can locate images.

    Returns:
        One of these two columns, or both; at most one value in a row.

    Examples:
        >>> images = [{"bytes": None, "path": "a.png"}, {"bytes": b"abc", "path": "b.png"}]
        >>> parts_of(pl.Series(images)).rows()
        [(None, 'a.png'), (b'abc', None)]
    """
    if isinstance(column.dtype, pl.Binary):
        return pl.DataFrame([column.alias(_BYTES)])
    if not isinstance(column.dtype, pl.Struct):
        return pl.DataFrame([column.cast(pl.String).alias(_PATH)])
    dtypes = {_BYTES: pl.Binary(), _PATH: pl.String()}
    fields = column.struct.unnest()
    parts = fields.select(pl.col(name).cast(dtypes[name]) for name in dtypes if name in fields)
    if _BYTES in parts and _PATH in parts:
        parts = parts.with_columns(pl.when(pl.col(_BYTES).is_null()).then(_PATH).alias(_PATH))
    return parts


def located(parts: pl.DataFrame) -> pl.Series:
    """Return which rows have an image."""
    return parts.select(pl.any_horizontal(pl.all().is_not_null())).to_series()


class Images:
    """The distinct images of some rows, in the order of their first occurrence.

    Bytes become Python objects on demand only, one image at a time.

    Args:
        parts: As `parts_of` returns them.

    Attributes:
        numbers: For each row the number of its image; null where it has none.
        distinct: The rows of `parts` that are numbered.
        remote: The numbers of those that are on servers, ascending.
    """

    def __init__(self, parts: pl.DataFrame) -> None:
        self._bytes: pl.Series | None = None
        self._paths: list[str]
        if _BYTES in parts:  # which Polars compares without a copy
            distinct = parts.filter(located(parts)).unique(maintain_order=True)
            numbers = parts.join(
                distinct.with_row_index(_NUMBER),
                on=parts.columns,
                how="left",
                nulls_equal=True,
                maintain_order="left",
            )
            self.numbers = numbers[_NUMBER]
            self._bytes = distinct[_BYTES]
            self._paths = distinct[_PATH].to_list() if _PATH in distinct else []
            self.distinct = distinct
        else:
            place: dict[str, int] = {}
            rows = [
                None if path is None else place.setdefault(path, len(place))
                for path in parts[_PATH].to_list()
            ]
            self.numbers = pl.Series(_NUMBER, rows, pl.UInt32)
            self._paths = list(place)
            self.distinct = parts if len(place) == len(parts) else self._frame_of(place)
        self.remote = [
            number for number, path in enumerate(self._paths) if path and is_remote(path)
        ]

    @classmethod
    def of(cls, paths: Iterable[str]) -> Self:
        """Return the images at some paths or URLs."""
        return cls(cls._frame_of(paths))

    @staticmethod
    def _frame_of(paths: Iterable[str]) -> pl.DataFrame:
        return pl.DataFrame({_PATH: list(paths)}, schema={_PATH: pl.String()})

    def spread(self, found: pl.Series) -> pl.Series:
        """Return for each row what was found for its image; null where it has none."""
        if len(found) == len(self.numbers):  # each row has an image of its own
            return found
        return found.gather(self.numbers)

    @property
    def paths(self) -> list[str] | None:
        """Where the images are; None where some are in the table."""
        return self._paths if self._bytes is None else None

    def __len__(self) -> int:
        """The number of images."""
        return len(self._paths if self._bytes is None else self._bytes)

    def __getitem__(self, number: int) -> Locator:
        """An image, or where it is."""
        if self._bytes is not None and (data := self._bytes[number]) is not None:
            return bytes(data)
        return self._paths[number]
