"""Columns as Python source text, for the expressions that a report offers to copy.

The page adds the conditions. A reader runs the result on the frame: it must name exactly the
column that the page shows, in a dtype in which Polars compares as the page does.
"""

from __future__ import annotations

import polars as pl
from polars.datatypes import DataTypeClass


def column_code(name: str, dtype: pl.DataType) -> str:
    r"""Return the source text of an expression for a column.

    Args:
        name: The name of the column.
        dtype: Its dtype.

    Examples:
        >>> print(column_code("label", pl.String()))
        pl.col("label")
        >>> print(column_code("^label$", pl.String()))  # no pattern
        pl.selectors.by_name("^label$").as_expr()
    """
    pattern = name == "*" or (name.startswith("^") and name.endswith("$"))
    quoted = python_text(name)
    code = f"pl.selectors.by_name({quoted}).as_expr()" if pattern else f"pl.col({quoted})"
    return _compared_exactly(code, dtype)


def property_code(column: str, name: str, dtype: pl.DataType | DataTypeClass) -> str:
    """Return the source text of an expression for a property.

    Examples:
        >>> property_code("path_imgmeta", "brightness", pl.Float64())
        'pl.col("path_imgmeta").struct.field("brightness")'
    """
    code = f"{column_code(column, pl.Struct([]))}.struct.field({python_text(name)})"
    return _compared_exactly(code, dtype)


def path_code(column: str, dtype: pl.DataType) -> str | None:
    """Return the source text of an expression for the paths in a locator column, if it has any.

    Examples:
        >>> path_code("image", pl.Struct({"bytes": pl.Binary(), "path": pl.String()}))
        'pl.col("image").struct.field("path")'
    """
    if isinstance(dtype, pl.Struct):
        fields = dict(dtype)
        return property_code(column, "path", fields["path"]) if "path" in fields else None
    if isinstance(dtype, pl.Binary):
        return None
    code = column_code(column, dtype)
    return code if dtype == pl.String else f"{code}.cast(pl.String)"


def located_code(column: str, dtype: pl.DataType) -> str:
    """Return the source text of the condition that a row locates an image.

    Examples:
        >>> located_code("path", pl.String())
        'pl.col("path").is_not_null()'
    """
    code = column_code(column, dtype)
    parts = [code]
    if isinstance(dtype, pl.Struct):
        parts = [
            f'{code}.struct.field("{part}")' for part in ("bytes", "path") if part in dict(dtype)
        ]
    conditions = [f"{part}.is_not_null()" for part in parts]
    return conditions[0] if len(conditions) == 1 else f"({' | '.join(conditions)})"


def python_text(text: str) -> str:
    r"""Return the literal of a text in double quotes, with escapes for what has no glyph.

    Examples:
        >>> print(python_text("it's \"new\"\n"))
        "it's \"new\"\n"
    """
    escapes = {'"': '\\"', "'": "'"}
    return f'"{"".join(escapes.get(one, repr(one)[1:-1]) for one in text)}"'


def _compared_exactly(code: str, dtype: pl.DataType | DataTypeClass) -> str:
    """Add the cast by which Polars compares with all digits of a number, as JavaScript does."""
    if isinstance(dtype, pl.BaseExtension):
        code, dtype = f"{code}.ext.storage()", dtype.ext_storage()
    return f"{code}.cast(pl.Float64)" if dtype.is_float() and dtype != pl.Float64 else code
