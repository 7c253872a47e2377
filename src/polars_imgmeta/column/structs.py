"""The struct column: its dtype, and how it is found in a schema.

    Struct{ <properties>, error: String, auto_extracted: String }

All dtypes are plain and the same for every column, so that frames of any origin can be
joined, concatenated, stored and read by any tool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Final

import polars as pl
import polars.selectors as cs

from polars_imgmeta.catalogue.registry import CATALOGUE, GROUPS, Property, canonical_order
from polars_imgmeta.column.deduplication import require_locator_dtype
from polars_imgmeta.exceptions import ColumnError, hint
from polars_imgmeta.typing import Frame

SUFFIX: Final = "_imgmeta"
ERROR: Final = "error"
MARKER: Final = "auto_extracted"

_CONVERSIONS: Final = {
    "pandas": "pl.from_pandas(frame)",
    "polars": "series.to_frame()",
    "pyarrow": "pl.from_arrow(table)",
}

_FIRST_INEXACT: Final = 1 << 53


@dataclass(frozen=True, slots=True)
class StructColumn:
    """An auto-extracted column, as the schema shows it.

    Attributes:
        name: The name of the column.
        dtypes: The dtype of each property, in canonical order; those that this process does
            not know are among them.
    """

    name: str
    dtypes: Mapping[str, pl.DataType]

    @property
    def properties(self) -> tuple[str, ...]:
        """The names of its properties."""
        return tuple(self.dtypes)

    def field(self, name: str) -> pl.Expr:
        """Return a field, by its name alone: Polars would take `^...$` for a pattern."""
        return column(self.name).struct.field(name)


def exactly(name: str) -> cs.Selector:
    """Select a column by its exact name, which Polars could take for a pattern."""
    return cs.by_name(name)


def column(name: str) -> pl.Expr:
    """Return a column by its exact name, which Polars could take for a pattern."""
    return exactly(name).as_expr()


def restored(
    values: pl.Expr, dtype: pl.DataType, wanted: pl.DataType, *, strict: bool = False
) -> pl.Expr:
    """Return values in the dtype that their property has, of which a tool made another one.

    Args:
        values: The values.
        dtype: Their dtype.
        wanted: The dtype of the property.
        strict: Whether values that cannot be converted raise, rather than become null.
    """
    if isinstance(dtype, pl.String) and isinstance(wanted, pl.Datetime):
        unit, zone = wanted.time_unit, wanted.time_zone
        return values.str.to_datetime(time_unit=unit, time_zone=zone, strict=strict)
    if isinstance(dtype, pl.String) and isinstance(wanted, pl.Date):
        return values.str.to_date(strict=strict)
    if dtype.is_float() and wanted.is_integer():  # beyond, a float is not the number it was
        values = pl.when(values.abs() < _FIRST_INEXACT).then(values)
    return values.cast(wanted, strict=strict)


def struct_dtype(properties: Iterable[Property]) -> pl.Struct:
    """Return the dtype of a column with these properties.

    Examples:
        >>> struct_dtype([im.CATALOGUE["width"]])
        Struct({'width': Int32, 'error': String, 'auto_extracted': String})
    """
    return dtype_of({one.name: one.dtype for one in properties})


def dtype_of(dtypes: Mapping[str, pl.DataType]) -> pl.Struct:
    """Return the dtype of a column with properties of these names and dtypes."""
    ordered = {name: dtypes[name] for name in canonical_order(dtypes)}
    return pl.Struct({**ordered, ERROR: pl.String(), MARKER: pl.String()})


def schema_of(frame: Frame) -> pl.Schema:
    """Return the schema of a frame, or say that it is none."""
    require_frame("frame", frame)
    return frame.collect_schema()


def require_frame(argument: str, given: object) -> None:
    """Check that an argument is a frame.

    Raises:
        TypeError: If it is not.
    """
    if isinstance(given, pl.DataFrame | pl.LazyFrame):
        return
    module = type(given).__module__.partition(".")[0]
    kind = type(given).__name__ if module == "builtins" else f"{module}.{type(given).__name__}"
    msg = f"`{argument}` must be a polars DataFrame or LazyFrame, got {kind}"
    if isinstance(given, str | PathLike):
        msg += "\n\nHint: `scan_images` lists the images of a folder"
    elif module in _CONVERSIONS:
        msg += f"\n\nHint: convert it first, {_CONVERSIONS[module]}"
    raise TypeError(msg)


def find(schema: Mapping[str, pl.DataType]) -> dict[str, StructColumn]:
    """Find the auto-extracted columns of a schema, in its order.

    A struct is one if it has `auto_extracted` and `error`, both String, or Null where a tool
    drops the dtype of columns without values, and at least one field beside them.
    """
    found = {}
    for name, dtype in schema.items():
        if isinstance(dtype, pl.Struct):
            fields = {one.name: one.dtype for one in dtype.fields}
            flags = [fields.pop(flag, None) for flag in (MARKER, ERROR)]
            if fields and all(flag is not None and flag in {pl.String, pl.Null} for flag in flags):
                dtypes = dict(pl.Schema({key: fields[key] for key in canonical_order(fields)}))
                found[name] = StructColumn(name, dtypes)
    return found


def choose(schema: Mapping[str, pl.DataType], name: str | None) -> StructColumn:
    """Return the auto-extracted column that a call means.

    Args:
        schema: The schema of the frame.
        name: The name that the caller gave, or None for the only one.

    Raises:
        ColumnError: If there is none, if there are several and none is named,
            or if the named column is missing or no auto-extracted one.
    """
    found = find(schema)
    if name is not None:
        if name in found:
            return found[name]
        problem = "is not auto-extracted" if name in schema else "does not exist"
        msg = (
            f"`column` must name an auto-extracted column, got {name!r}, which {problem}"
            f"{hint(name, found)}\n\nAuto-extracted: {listing(found)}"
        )
        raise ColumnError(msg)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        msg = (
            f"`column` must say which auto-extracted column is meant, got none"
            f"\n\nAuto-extracted: {listing(found)}"
        )
        raise ColumnError(msg)
    msg = (
        f"the frame must have an auto-extracted column, its columns are: {listing(schema)}"
        "\n\nHint: make one with `extract`"
    )
    raise ColumnError(msg)


def require_locator(schema: Mapping[str, pl.DataType], locator: object) -> None:
    """Check that a column can locate images.

    Raises:
        ColumnError: If it is missing or of a dtype that cannot.
    """
    if not isinstance(locator, str) or locator not in schema:
        spelled, advice = repr(locator), hint(locator, schema)
        if isinstance(locator, pl.Series):
            spelled, advice = f"the Series {locator.name!r}", _name_advice(locator.name, schema)
        elif isinstance(locator, pl.Expr):
            name = locator.meta.output_name(raise_if_undetermined=False)
            spelled, advice = f"the Expr {locator}", _name_advice(name, schema)
        elif isinstance(locator, str) and (locator in CATALOGUE or locator in GROUPS):
            advice = "\n\nHint: name the column that locates the images, and then properties"
        msg = (
            f"`locator` must name a column of the frame, got {spelled}{advice}"
            f"\n\nColumns: {listing(schema)}"
        )
        raise ColumnError(msg)
    require_locator_dtype(schema[locator], locator)


def _name_advice(name: str | None, schema: Mapping[str, pl.DataType]) -> str:
    return f"\n\nHint: give its name, {name!r}" if name in schema else ""


def locator_of(frame: Frame, existing: StructColumn, locator: str | None) -> str:
    """Return the locator column of an auto-extracted one.

    Args:
        frame: The frame.
        existing: The auto-extracted column.
        locator: The name that the caller gave, or None for the one that the name of the
            column says or, in a data frame, that its rows record.

    Raises:
        ColumnError: If it is missing or of a dtype that cannot locate images.
    """
    schema = frame.collect_schema()
    if locator is None:
        locator = find_locator(frame, existing, None)
        if locator is None:
            named = existing.name.removesuffix(SUFFIX)
            candidates = dict.fromkeys([named, *recorded_locators(frame, existing)])
            msg = (
                f"the locator column {listing(candidates)} of {existing.name!r} is not in the"
                " frame\n\nHint: name the column that locates the images now with `locator=`"
                f"\n\nColumns: {listing(schema)}"
            )
            raise ColumnError(msg)
    require_locator(schema, locator)
    return locator


def find_locator(frame: Frame, existing: StructColumn, locator: str | None) -> str | None:
    """Return the locator column, or None if none was named and the frame has none."""
    if locator is not None:
        return locator_of(frame, existing, locator)
    schema = frame.collect_schema()
    named = existing.name.removesuffix(SUFFIX)
    candidates = [named, *recorded_locators(frame, existing)]
    return next((one for one in candidates if one in schema and one != existing.name), None)


def recorded_locators(frame: Frame, existing: StructColumn) -> list[str]:
    """Return the locator columns that the rows of a data frame record, most frequent first."""
    if isinstance(frame, pl.LazyFrame):
        return []
    markers = frame.select(existing.field(MARKER).cast(pl.String).alias(MARKER))
    names = markers.select(locator=pl.col(MARKER).str.extract(r"(?s)^(.*)@", 1)).drop_nulls()
    return names["locator"].value_counts(sort=True)["locator"].to_list()


def listing(names: Mapping[str, object]) -> str:
    """Spell out names for a message."""
    return ", ".join(repr(name) for name in names) or "none"
