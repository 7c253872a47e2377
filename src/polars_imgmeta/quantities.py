"""What a name in a call means: a property, or a column of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import polars as pl

from polars_imgmeta import structs
from polars_imgmeta.catalogue import CATALOGUE, Property
from polars_imgmeta.exceptions import ColumnError, hint

Kind: TypeAlias = Literal["number", "time", "word"]


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
    found = structs.find(schema)
    holders = {key: one for key, one in found.items() if name in one.properties}
    if column is not None:
        chosen = structs.choose(schema, column)
        holders = {key: one for key, one in holders.items() if one == chosen}
    elif (len(holders) + (name in schema)) > 1:
        owners = [f"the column {name!r}"] if name in schema else []
        owners += [f"a property of {holder!r}" for holder in holders]
        msg = (
            f"`{argument}` must say what is meant by {name!r}: it is {' and '.join(owners)}"
            f"\n\nHint: `column={next(iter(holders))!r}` means that column's property"
        )
        raise ColumnError(msg)
    for holder in holders:
        row = CATALOGUE[name]  # type: ignore[index] # holders have it
        return Quantity(row.name, row.dtype, pl.col(holder).struct.field(row.name), row, holder)
    if isinstance(name, str) and name in schema and name not in found:
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
