"""How results name an image: by its locator as text, or by the number of its row."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from polars_imgmeta.column import structs
from polars_imgmeta.typing import Frame


def locators_as_text(schema: Mapping[str, pl.DataType], locator: str | None) -> pl.Expr:
    """Return locators as text, null where the images are in the table, without a path.

    Raises:
        ColumnError: If there is no such locator column.
    """
    if locator is None:
        return pl.lit(None, pl.String)
    structs.require_locator(schema, locator)
    dtype, value = schema[locator], structs.column(locator)
    if isinstance(dtype, pl.Struct):
        named = any(field.name == "path" for field in dtype.fields)
        return value.struct.field("path") if named else pl.lit(None, pl.String)
    return pl.lit(None, pl.String) if dtype == pl.Binary else value.cast(pl.String)


def names_of_images(frame: Frame, column: str | None, locator: str | None) -> pl.Expr:
    """Return the locators as text, and `row 7` or so where there is none.

    Raises:
        ColumnError: If the auto-extracted column or the locator column is not there.
    """
    schema = structs.schema_of(frame)
    if locator is None and (column is not None or structs.find(schema)):
        locator = structs.find_locator(frame, structs.choose(schema, column), None)
    number = pl.format("row {}", pl.int_range(pl.len()))
    return pl.coalesce(locators_as_text(schema, locator), number)
