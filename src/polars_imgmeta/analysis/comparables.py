"""Which values of a frame have a distribution that can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE, GROUPS
from polars_imgmeta.column import structs
from polars_imgmeta.column.fields import Quantity, find_quantity
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.typing import Frame

# Numbers, but no quantities.
_IDENTITIES: Final = frozenset(GROUPS["identity"])


def find_comparable(
    frame: Frame, properties: str | Iterable[str] | None, column: str | None
) -> dict[str, Quantity]:
    """Return the numbers and Booleans of a frame by name.

    Args:
        frame: The frame.
        properties: Properties or columns, or None for all properties that are comparable.
        column: The auto-extracted column, or None for the only one.

    Raises:
        ColumnError: If one is missing or no number, or if there is none.
    """
    schema = structs.schema_of(frame)
    names = _all_of(schema, column) if properties is None else _listed(properties)
    found = {name: find_quantity(schema, name, column, argument="properties") for name in names}
    for name, one in found.items():
        if not _is_comparable(one.dtype):
            msg = f"`properties` must name numbers or Booleans, got {name!r} of dtype {one.dtype}"
            raise ColumnError(msg)
    if not found:
        msg = "the frame must have a property that is a number or a Boolean, got none"
        raise ColumnError(msg)
    return found


def _all_of(schema: Mapping[str, pl.DataType], column: str | None) -> list[str]:
    if column is None and not structs.find(schema):  # after `unnest`
        dtypes = {name: dtype for name, dtype in schema.items() if name in CATALOGUE}
    else:
        dtypes = dict(structs.choose(schema, column).dtypes)
    return [
        name for name, dtype in dtypes.items() if _is_comparable(dtype) and name not in _IDENTITIES
    ]


def _is_comparable(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in {pl.Boolean, pl.Null}


def _listed(properties: str | Iterable[str]) -> list[str]:
    return [properties] if isinstance(properties, str) else list(dict.fromkeys(properties))
