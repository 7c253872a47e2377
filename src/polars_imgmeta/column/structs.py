"""The struct column: its dtype, its marker, and how it is found again.

The marker is the field `auto_extracted`. Its dtype is an extension type over
Boolean, whose metadata say where the values come from; Polars carries them
through files and Arrow by itself. Metadata are part of a dtype's identity, so
they hold nothing that changes from run to run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE, EDITION
from polars_imgmeta.column.deduplication import require_locator_dtype
from polars_imgmeta.exceptions import ColumnError, hint
from polars_imgmeta.typing import Frame, PropertyName

EXTENSION_NAME = "imgmeta"
SUFFIX = "_imgmeta"
ERROR = "error"
MARKER = "auto_extracted"


class Imgmeta(pl.BaseExtension):
    """The dtype of the marker: a Boolean that knows its locator and edition."""

    def __init__(self, locator: str) -> None:
        # Canonical, so that equal origins are equal dtypes.
        origin = {"edition": EDITION, "locator": locator}
        metadata = json.dumps(origin, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        super().__init__(EXTENSION_NAME, pl.Boolean(), metadata)

    def _string_repr(self) -> str:
        return EXTENSION_NAME


def register_marker() -> None:
    """Make Polars load the marker as `Imgmeta`; once for a process."""
    # A second registration would raise, after overwriting the first.
    if pl.get_extension_type(EXTENSION_NAME) is None:
        pl.register_extension_type(EXTENSION_NAME, Imgmeta)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the values of an auto-extracted column come from.

    Attributes:
        column: The name of the struct column.
        properties: What it holds, in catalogue order.
        locator: The column that located the images when it was made, or None
            where another engine has dropped the record.
        edition: The edition of the formulas, or None where it was dropped.
    """

    column: str
    properties: tuple[PropertyName, ...]
    locator: str | None
    edition: int | None

    @property
    def current(self) -> bool:
        """Whether the values are of this version's formulas.

        A column without a record counts as current: there has been only one
        edition.
        """
        return self.edition in {EDITION, None}


def struct_dtype(properties: tuple[PropertyName, ...], locator: str) -> pl.Struct:
    """Return the dtype of a column with these properties.

    Examples:
        >>> struct_dtype(("width",), "path").fields[0]
        Field('width', Int32)
    """
    return pl.Struct(
        {
            **{name: CATALOGUE[name].dtype for name in properties},
            ERROR: pl.String(),
            MARKER: Imgmeta(locator),
        }
    )


def same_but_for_marker(dtype: pl.DataType, expected: pl.Struct) -> bool:
    """Tell whether two structs have the same fields, and each some marker."""
    if not isinstance(dtype, pl.Struct):
        return False
    return {**dict(dtype), MARKER: None} == {**dict(expected), MARKER: None} and (
        list(dict(dtype)) == list(dict(expected))
    )


def schema_of(frame: Frame) -> pl.Schema:
    """Return the schema of a frame, or say that it is none."""
    if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
        msg = f"`frame` must be a polars DataFrame or LazyFrame, got {type(frame).__name__}"
        raise TypeError(msg)
    return frame.collect_schema()


def find(schema: Mapping[str, pl.DataType]) -> dict[str, Provenance]:
    """Find the auto-extracted columns of a schema, in its order."""
    found = {}
    for name, dtype in schema.items():
        if isinstance(dtype, pl.Struct) and (origin := _origin(dtype)) is not None:
            fields = {field.name for field in dtype.fields}
            properties = tuple(known for known in CATALOGUE if known in fields)
            found[name] = Provenance(name, properties, origin.get("locator"), origin.get("edition"))
    return found


def _origin(dtype: pl.Struct) -> dict[str, Any] | None:
    """What the marker records; empty where it lost that, None where there is none."""
    fields = dict(dtype)
    marker = fields.get(MARKER)
    # Not our class alone: a frame may be older than the registration.
    if isinstance(marker, pl.BaseExtension):
        if marker.ext_name() != EXTENSION_NAME:
            return None
        try:
            origin = json.loads(marker.ext_metadata() or "{}")
        except ValueError:
            return {}
        return origin if isinstance(origin, dict) else {}
    # Engines that know no extension types leave a plain Boolean.
    return {} if marker == pl.Boolean and fields.get(ERROR) == pl.String else None


def strangers(schema: Mapping[str, pl.DataType], existing: Provenance) -> list[str]:
    """Return the names of fields, if any, that this package would not keep."""
    dtype = schema.get(existing.column)
    known = {*CATALOGUE, ERROR, MARKER}
    fields = dict(dtype) if isinstance(dtype, pl.Struct) else {}
    return [repr(name) for name in fields if name not in known]


def choose(schema: Mapping[str, pl.DataType], column: str | None) -> Provenance:
    """Return the auto-extracted column that a call means.

    Args:
        schema: The schema of the frame.
        column: The name that the caller gave, or None for the only one.

    Raises:
        ColumnError: If there is none, if there are several and none is named,
            or if the named column is missing or no auto-extracted one.
    """
    found = find(schema)
    if column is not None:
        if column in found:
            return found[column]
        problem = "is not auto-extracted" if column in schema else "does not exist"
        msg = (
            f"`column` must name an auto-extracted column, got {column!r}, which {problem}"
            f"{hint(column, found)}\n\nAuto-extracted: {listing(found)}"
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
        spelled = (
            repr(locator) if isinstance(locator, str) else f"the {type(locator).__name__} {locator}"
        )
        msg = (
            f"`locator` must name a column of the frame, got {spelled}"
            f"{hint(locator, schema)}\n\nColumns: {listing(schema)}"
        )
        raise ColumnError(msg)
    require_locator_dtype(schema[locator], locator)


def locator_of(schema: Mapping[str, pl.DataType], existing: Provenance, locator: str | None) -> str:
    """Return the locator column of an auto-extracted one.

    Args:
        schema: The schema of the frame.
        existing: The auto-extracted column.
        locator: The name that the caller gave, or None for the one on record.

    Raises:
        ColumnError: If it is missing or of a dtype that cannot locate images.
    """
    if locator is None:
        locator = existing.locator or existing.column.removesuffix(SUFFIX)
        if locator not in schema:
            msg = (
                f"the locator column {locator!r} of {existing.column!r} is not in the frame"
                f"\n\nHint: name the column that locates the images now with `locator=`"
                f"\n\nColumns: {listing(schema)}"
            )
            raise ColumnError(msg)
    require_locator(schema, locator)
    return locator


def listing(names: Mapping[str, object]) -> str:
    """Spell out names for a message."""
    return ", ".join(repr(name) for name in names) or "none"
