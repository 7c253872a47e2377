"""Names in a call, resolved to a property or to a column of the user."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE, Property
from polars_imgmeta.column import structs
from polars_imgmeta.column.binning import Limits
from polars_imgmeta.exceptions import ColumnError, hint

Kind: TypeAlias = Literal["number", "time", "word"]

# Methods that turn values of other dtypes into numbers.
_DRAWABLE: Final[dict[type[pl.DataType], str]] = {
    pl.Duration: "dt.total_seconds()",
    pl.Time: "dt.hour()",
    pl.List: "list.len()",
    pl.Struct: "struct.field(…)",
    pl.Binary: "bin.size()",
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value of each row that can be binned, counted or drawn.

    Attributes:
        name: The name that the caller gave.
        dtype: The dtype of its values.
        values: The expression for its values.
        row: Its row of the catalogue, or None for a column of the user.
        column: The auto-extracted column that holds it, or None.
    """

    name: str
    dtype: pl.DataType
    values: pl.Expr = field(repr=False)
    row: Property | None = None
    column: str | None = None

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers, or all null."""
        return self.dtype.is_numeric() or self.dtype == pl.Null

    @property
    def kind(self) -> Kind | None:
        """How it is drawn; None where it cannot be."""
        if self.numeric:
            return "number"
        if isinstance(self.dtype, pl.Date | pl.Datetime):
            return "time"
        words = (pl.String, pl.Categorical, pl.Enum, pl.Boolean)
        return "word" if isinstance(self.dtype, words) else None

    @property
    def limits(self) -> Limits:
        """The minimum and maximum of its values; infinite for a column of the user."""
        return limits_of(self.row) if self.row else (-math.inf, math.inf)


def limits_of(row: Property) -> Limits:
    """Return the minimum and maximum of a property, infinite without one."""
    return (
        -math.inf if row.minimum is None else row.minimum,
        math.inf if row.maximum is None else row.maximum,
    )


def find_quantity(
    schema: Mapping[str, pl.DataType], name: object, column: str | None, *, argument: str
) -> Quantity:
    """Resolve a name in a frame.

    Args:
        schema: The schema of the frame.
        name: The name of a property or a column.
        column: The auto-extracted column that the caller named, or None.
        argument: The name of the caller's argument, for messages.

    Raises:
        ColumnError: If it is neither, or ambiguous.
    """
    if not isinstance(name, str):
        spelled = str(name) if isinstance(name, pl.Expr) else repr(name)
        msg = f"`{argument}` must be the name of a property or column, got {spelled}"
        raise ColumnError(msg)
    found = structs.find(schema)
    holders = {key: one for key, one in found.items() if name in one.properties}
    if column is not None:
        chosen = structs.choose(schema, column)
        holders = {key: one for key, one in holders.items() if one == chosen}
    elif (len(holders) + (name in schema)) > 1:
        owners = [f"the column {name!r}"] if name in schema else []
        owners += [f"a property of {holder!r}" for holder in holders]
        own = f"; rename the column {name!r} to draw that" if name in schema else ""
        msg = (
            f"`{argument}` must say what is meant by {name!r}: it is {' and '.join(owners)}"
            f"\n\nHint: `column={next(iter(holders))!r}` means that column's property"
            f"{own if argument != 'by' else ''}"
        )
        raise ColumnError(msg)
    for holder in holders:
        dtype = found[holder].dtypes[name]
        return Quantity(name, dtype, found[holder].field(name), CATALOGUE.get(name), holder)
    if name in schema and name not in found:
        return Quantity(name, schema[name], pl.col(name))
    properties = [known for one in found.values() for known in one.properties]
    columns = [key for key in schema if key not in found]
    msg = (
        f"`{argument}` must name a property or a column of the frame, got {name!r}"
        f"{hint(name, [*properties, *columns])}"
        f"\n\nProperties: {structs.listing(dict.fromkeys(properties))}"
        f"\n\nColumns: {structs.listing(dict.fromkeys(columns))}"
    )
    raise ColumnError(msg)


def find_number(
    schema: Mapping[str, pl.DataType], name: object, column: str | None, *, argument: str
) -> Quantity:
    """Resolve a name to something numeric.

    Raises:
        ColumnError: If its values are no numbers, or as for `find_quantity`.
    """
    quantity = find_quantity(schema, name, column, argument=argument)
    if not quantity.numeric:
        msg = f"`{argument}` must name numbers, got {name!r}, which is of dtype {quantity.dtype}"
        raise ColumnError(msg)
    return quantity


def find_drawable(
    schema: Mapping[str, pl.DataType], name: object, column: str | None, argument: str
) -> Quantity:
    """Resolve a name to something that can be drawn.

    Raises:
        ColumnError: If it cannot, or as for `find_quantity`.
    """
    quantity = find_quantity(schema, name, column, argument=argument)
    if quantity.kind is None:
        method = next((how for dtype, how in _DRAWABLE.items() if quantity.dtype == dtype), None)
        tip = f"\n\nHint: draw a column made with `pl.col({name!r}).{method}`" if method else ""
        msg = (
            f"`{argument}` must name numbers, times or words, got {name!r}, which is of dtype"
            f" {quantity.dtype}{tip}"
        )
        raise ColumnError(msg)
    return quantity


def match_quantities(
    schema: Mapping[str, pl.DataType],
    found: Mapping[str, Quantity],
    column: str | None,
    *,
    every: bool,
) -> tuple[dict[str, Quantity], dict[str, Quantity], list[str]]:
    """Find the quantities of one frame in another one, to compare them.

    Args:
        schema: The schema of the other frame, given as `against`.
        found: The quantities of the first frame.
        column: The auto-extracted column of the first frame, if it was named.
        every: Whether `found` are all properties, of which the other frame may lack some.

    Returns:
        The quantities of the first frame that the other one has, those of the other frame,
        and the names of those in only one of them.

    Raises:
        ColumnError: If a quantity that was named is missing, or of another kind.
    """
    known = _comparable_names(schema, _counterpart(schema, column))
    single = [one.name for one in found.values() if one.name not in known]
    if single and (not every or len(single) == len(found)):
        listing = structs.listing(dict.fromkeys(known))
        msg = f"{single[0]!r} is not in the frame given as `against`, which has: {listing}"
        raise ColumnError(msg)
    found = {key: one for key, one in found.items() if one.name in known}
    others = {}
    for key, one in found.items():
        holder = _counterpart(schema, column or one.column)
        others[key] = find_drawable(schema, one.name, holder, "against")
        if one.kind != others[key].kind:
            msg = (
                f"{one.name!r} must have comparable dtypes in both frames, got {one.dtype} and"
                f" {others[key].dtype}"
            )
            raise ColumnError(msg)
    if every:
        both = {one.name for one in found.values()}
        single += [name for name in known if name in CATALOGUE and name not in both]
    return found, others, single


def _counterpart(schema: Mapping[str, pl.DataType], column: str | None) -> str | None:
    """Return the auto-extracted column to compare with one of another frame."""
    found = structs.find(schema)
    if column is None or column in found or not found:
        return column if column in found else None
    if len(found) == 1:
        return next(iter(found))
    msg = (
        f"the frame given as `against` must have the auto-extracted column {column!r}, as it has"
        f" several others\n\nAuto-extracted: {structs.listing(found)}"
    )
    raise ColumnError(msg)


def _comparable_names(schema: Mapping[str, pl.DataType], column: str | None) -> list[str]:
    """List the properties of one auto-extracted column, or of all, and the other columns."""
    found = structs.find(schema)
    known = [name for key, one in found.items() if column in {key, None} for name in one.properties]
    return list(dict.fromkeys([*known, *(key for key in schema if key not in found)]))
