"""The verbs that look at auto-extracted columns and read no image."""

from __future__ import annotations

from typing import get_args

import polars as pl

from polars_imgmeta.column import structs
from polars_imgmeta.column.structs import Provenance
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.typing import ErrorKind, Frame, FrameT, PropertyName

_KINDS = pl.Enum(get_args(ErrorKind))


def columns(frame: Frame) -> list[str]:
    """Return the names of the auto-extracted columns.

    Args:
        frame: The frame, wherever it came from: the flag survives files and
            other engines.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> im.columns(im.extract(df, "path", "width"))
        ['path_imgmeta']
        >>> im.columns(df)
        []
    """
    return list(structs.find(structs.schema_of(frame)))


def properties(frame: Frame, column: str | None = None) -> list[PropertyName]:
    """Return the properties that an auto-extracted column holds.

    Args:
        frame: The frame.
        column: The auto-extracted column; may be left out where there is one.

    Returns:
        Their names, in catalogue order.

    Raises:
        ColumnError: If it is not clear which column is meant.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> im.properties(im.extract(df, "path", "geometry"))
        ['width', 'height', 'size', 'aspect_ratio']
    """
    return list(provenance(frame, column).properties)


def provenance(frame: Frame, column: str | None = None) -> Provenance:
    """Return where the values of an auto-extracted column come from.

    Args:
        frame: The frame.
        column: The auto-extracted column; may be left out where there is one.

    Returns:
        The record that the column carries: its properties, the locator column
        and the edition of the formulas.

    Raises:
        ColumnError: If it is not clear which column is meant.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> im.provenance(im.extract(df, "path", "width"))
        Provenance(column='path_imgmeta', properties=('width',), locator='path', edition=1)
    """
    return structs.choose(structs.schema_of(frame), column)


def errors(frame: FrameT, column: str | None = None, *, locator: str | None = None) -> FrameT:
    """Return the rows that could not be read, and why.

    Args:
        frame: The frame.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column, where the one on record was renamed.

    Returns:
        A frame of `locator`, `kind` (an Enum of the kinds of
        [`ErrorKind`][polars_imgmeta.typing.ErrorKind]) and `message`, in the
        order of the rows.

    Raises:
        ColumnError: If it is not clear which column is meant, or if the locator
            column is missing.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png", "photos/gone.png"]})
        >>> im.errors(im.extract(df, "path"))
        shape: (1, 3)
        ┌─────────────────┬───────────┬──────────────┐
        │ locator         ┆ kind      ┆ message      │
        │ ---             ┆ ---       ┆ ---          │
        │ str             ┆ enum      ┆ str          │
        ╞═════════════════╪═══════════╪══════════════╡
        │ photos/gone.png ┆ not_found ┆ no such file │
        └─────────────────┴───────────┴──────────────┘
    """
    schema = structs.schema_of(frame)
    existing = structs.choose(schema, column)
    source = structs.locator_of(schema, existing, locator)
    parts = pl.col(existing.column).struct.field(structs.ERROR).str.splitn(": ", 2)
    return frame.select(
        locator=pl.col(source),
        kind=parts.struct.field("field_0").cast(_KINDS),
        message=parts.struct.field("field_1"),
    ).filter(pl.col("kind").is_not_null())


def unnest(frame: FrameT, column: str | None = None, *, prefix: str | None = None) -> FrameT:
    """Turn an auto-extracted column into ordinary flat ones.

    For what knows no structs, such as CSV, and for plots. The marker is dropped:
    the columns are no longer recognised as auto-extracted.

    Args:
        frame: The frame.
        column: The auto-extracted column; may be left out where there is one.
        prefix: Is put before each name, `error` included.

    Returns:
        The frame with a column for each property and `error` in place of the
        struct.

    Raises:
        ColumnError: If it is not clear which column is meant, or if a new name
            is taken by another column.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> im.unnest(im.extract(df, "path", ["width", "height"]), prefix="img_")
        shape: (1, 4)
        ┌─────────────────┬───────────┬────────────┬───────────┐
        │ path            ┆ img_width ┆ img_height ┆ img_error │
        │ ---             ┆ ---       ┆ ---        ┆ ---       │
        │ str             ┆ i32       ┆ i32        ┆ str       │
        ╞═════════════════╪═══════════╪════════════╪═══════════╡
        │ photos/dusk.png ┆ 320       ┆ 240        ┆ null      │
        └─────────────────┴───────────┴────────────┴───────────┘
    """
    schema = structs.schema_of(frame)
    existing: Provenance = structs.choose(schema, column)
    names = [*existing.properties, structs.ERROR]
    flat = {name: f"{prefix or ''}{name}" for name in names}
    if taken := [new for new in flat.values() if new in schema and new != existing.column]:
        msg = (
            f"the frame must not have columns of the new names, got {', '.join(map(repr, taken))}"
            "\n\nHint: set the new ones apart with `prefix=`"
        )
        raise ColumnError(msg)
    field = pl.col(existing.column).struct.field
    parts: list[pl.Expr] = []
    for name in schema:
        if name != existing.column:
            parts.append(pl.col(name))
            continue
        for old, new in flat.items():
            parts.append(field(old).alias(new))
    return frame.select(parts)
