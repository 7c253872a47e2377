"""What a name in a call means: a property, or a column of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE, Property
from polars_imgmeta.column import structs
from polars_imgmeta.exceptions import ColumnError, hint

Kind: TypeAlias = Literal["number", "time", "word"]

# What makes a number of other things.
_DRAWABLE: Final[dict[type[pl.DataType], str]] = {
    pl.Duration: "dt.total_seconds()",
    pl.Time: "dt.hour()",
    pl.List: "list.len()",
    pl.Struct: "struct.field(…)",
    pl.Binary: "bin.size()",
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something of each row that can be cut, counted or drawn.

    Attributes:
        name: What the caller called it.
        dtype: The dtype of its values.
        values: The expression that gives them.
        row: Its row of the catalogue, or None for a column of the user's.
        column: The auto-extracted column that holds it, or None.
    """

    name: str
    dtype: pl.DataType
    values: pl.Expr = field(repr=False)
    row: Property | None = None
    column: str | None = None

    @property
    def numeric(self) -> bool:
        """Whether it has numbers, or nothing at all."""
        return self.dtype.is_numeric() or self.dtype == pl.Null

    @property
    def kind(self) -> Kind | None:
        """Which of the three kinds that can be drawn it is, if any."""
        if self.numeric:
            return "number"
        if isinstance(self.dtype, pl.Date | pl.Datetime):
            return "time"
        words = (pl.String, pl.Categorical, pl.Enum, pl.Boolean)
        return "word" if isinstance(self.dtype, words) else None


def find_quantity(
    schema: Mapping[str, pl.DataType], name: object, column: str | None, *, argument: str
) -> Quantity:
    """Return what a name means in a frame.

    Args:
        schema: The schema of the frame.
        name: The name of a property or a column.
        column: The auto-extracted column that the caller named, or None.
        argument: What the caller's argument is called, for messages.

    Raises:
        ColumnError: If it is neither, or not clear which of several.
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
        row = CATALOGUE[name]  # type: ignore[index] # holders have it
        return Quantity(row.name, row.dtype, pl.col(holder).struct.field(row.name), row, holder)
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
    """Return what a name means, if that has numbers.

    Raises:
        ColumnError: If it has none, or as for `find_quantity`.
    """
    quantity = find_quantity(schema, name, column, argument=argument)
    if not quantity.numeric:
        msg = f"`{argument}` must name numbers, got {name!r}, which is of dtype {quantity.dtype}"
        raise ColumnError(msg)
    return quantity


def find_drawable(
    schema: Mapping[str, pl.DataType], name: object, column: str | None, argument: str
) -> Quantity:
    """Return what a name means, if it can be drawn.

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
    """Find what one frame has in another one, to compare them.

    Args:
        schema: The schema of the other frame, given as `against`.
        found: What the one has.
        column: The auto-extracted column of the one, if it was named.
        every: Whether `found` is all there is, of which some may be missing here.

    Returns:
        What both have, of the one and of the other, and the names of what is in
        one of them alone.

    Raises:
        ColumnError: If something that was named is missing, or of another kind.
    """
    known = _names(schema, _counterpart(schema, column))
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
                f"{one.name!r} must be of like dtypes in both frames, got {one.dtype} and"
                f" {others[key].dtype}"
            )
            raise ColumnError(msg)
    if every:
        both = {one.name for one in found.values()}
        single += [name for name in known if name in CATALOGUE and name not in both]
    return found, others, single


def _counterpart(schema: Mapping[str, pl.DataType], column: str | None) -> str | None:
    """The auto-extracted column to compare with one of another frame."""
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


def _names(schema: Mapping[str, pl.DataType], column: str | None) -> list[str]:
    """The properties of an auto-extracted column, or of all, and the other columns."""
    found = structs.find(schema)
    known = [name for key, one in found.items() if column in {key, None} for name in one.properties]
    return list(dict.fromkeys([*known, *(key for key in schema if key not in found)]))
