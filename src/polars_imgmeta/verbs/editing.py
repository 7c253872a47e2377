"""The verbs that change which properties an auto-extracted column has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

import polars as pl

from polars_imgmeta.catalogue.registry import EDITION, resolve
from polars_imgmeta.column import structs
from polars_imgmeta.column.structs import Provenance
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.measuring.options import ExtractOptions, Reading, takes
from polars_imgmeta.typing import FrameT, GroupName, PropertiesLike, PropertyName
from polars_imgmeta.verbs.extraction import fill


@takes(ExtractOptions)
def add(
    frame: FrameT,
    *properties: PropertyName | GroupName,
    column: str | None = None,
    locator: str | None = None,
    **options: Unpack[ExtractOptions],
) -> FrameT:
    """Add properties to an auto-extracted column; those present are no error.

    Does what `extract` does, with the locator column that is on record. Adding
    geometry reads headers alone.

    Args:
        frame: The frame.
        properties: Names of properties or groups.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column, where the one on record was renamed.
        options: See `ExtractOptions`.

    Returns:
        The frame with the properties added, in catalogue order.

    Raises:
        PropertyError: If a property is unknown or none is given.
        ColumnError: If it is not clear which column is meant, if the locator
            column is missing, or if another edition of the formulas made the
            column.
        ImageError: Under `on_error="raise"`, when the frame is computed.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> df = im.extract(df, "path", "brightness")
        >>> im.add(df, "width")["path_imgmeta"].struct.fields
        ['width', 'brightness', 'error', 'auto_extracted']
    """
    schema = structs.schema_of(frame)
    wanted = resolve(properties)
    existing = _editable(schema, column)
    source = structs.locator_of(schema, existing, locator)
    reading = Reading.of(ExtractOptions, options)
    return fill(frame, existing, source, wanted, reading)


def remove(
    frame: FrameT, *properties: PropertyName | GroupName, column: str | None = None
) -> FrameT:
    """Remove properties from an auto-extracted column; absent ones are no error.

    Reads no image. An `error` goes with the last property that it explains, and
    the column with its last property.

    Args:
        frame: The frame.
        properties: Names of properties or groups.
        column: The auto-extracted column; may be left out where there is one.

    Returns:
        The frame without the properties.

    Raises:
        PropertyError: If a property is unknown or none is given.
        ColumnError: If it is not clear which column is meant.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> df = im.extract(df, "path", ["width", "height"])
        >>> im.remove(df, "height", "symmetry")["path_imgmeta"].struct.fields
        ['width', 'error', 'auto_extracted']
        >>> im.remove(df, "geometry").columns
        ['path']
    """
    schema = structs.schema_of(frame)
    unwanted = resolve(properties)
    existing = structs.choose(schema, column)
    return _keep(frame, existing, [name for name in existing.properties if name not in unwanted])


@takes(ExtractOptions)
def configure(
    frame: FrameT,
    properties: PropertiesLike,
    *,
    column: str | None = None,
    locator: str | None = None,
    **options: Unpack[ExtractOptions],
) -> FrameT:
    """Give an auto-extracted column exactly these properties.

    Removes the others and adds what is missing; what stays is not computed
    again.

    Args:
        frame: The frame.
        properties: Names of properties or groups, one or several.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column, where the one on record was renamed.
        options: See `ExtractOptions`.

    Returns:
        The frame with the column changed.

    Raises:
        PropertyError: If a property is unknown or none is given.
        ColumnError: As for `add`.
        ImageError: Under `on_error="raise"`, when the frame is computed.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> df = im.extract(df, "path", ["width", "height"])
        >>> im.configure(df, ["height", "brightness"])["path_imgmeta"].struct.fields
        ['height', 'brightness', 'error', 'auto_extracted']
    """
    schema = structs.schema_of(frame)
    wanted = resolve(properties)
    existing = _editable(schema, column)
    source = structs.locator_of(schema, existing, locator)
    kept = tuple(name for name in existing.properties if name in wanted)
    if kept:
        frame = _keep(frame, existing, kept)
    remaining = Provenance(existing.column, kept, existing.locator, existing.edition)
    reading = Reading.of(ExtractOptions, options)
    return fill(frame, remaining, source, wanted, reading)


@takes(ExtractOptions)
def retry(
    frame: FrameT,
    *,
    column: str | None = None,
    locator: str | None = None,
    **options: Unpack[ExtractOptions],
) -> FrameT:
    """Read the images again whose rows have an error, and no others.

    Args:
        frame: The frame.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column, where the one on record was renamed.
        options: See `ExtractOptions`.

    Returns:
        The frame with those rows as they are now.

    Raises:
        ColumnError: As for `add`.
        ImageError: Under `on_error="raise"`, when the frame is computed.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> df = im.extract(df, "path", "brightness", max_pixels=1)
        >>> df = im.retry(df)
        >>> df["path_imgmeta"].struct.field("brightness", "error").to_list()
        [0.2]
    """
    schema = structs.schema_of(frame)
    existing = _editable(schema, column)
    source = structs.locator_of(schema, existing, locator)
    reading = Reading.of(ExtractOptions, options)
    return fill(frame, existing, source, existing.properties, reading, again=True)


def _keep(frame: FrameT, existing: Provenance, kept: Sequence[PropertyName]) -> FrameT:
    """Keep only some properties of a column, by pure expressions."""
    if len(kept) == len(existing.properties):
        return frame
    if not kept:
        return frame.drop(existing.column)
    dropped = [name for name in existing.properties if name not in kept]
    complete = pl.all_horizontal(pl.field(list(kept)).is_not_null())
    error = pl.when(~complete).then(pl.field(structs.ERROR)).alias(structs.ERROR)
    return frame.with_columns(
        pl.col(existing.column).struct.drop(dropped).struct.with_fields(error)
    )


def _editable(schema: Mapping[str, pl.DataType], column: str | None) -> Provenance:
    """The auto-extracted column that is meant, if this version may add to it."""
    existing = structs.choose(schema, column)
    if not existing.current:
        msg = (
            f"{existing.column!r} was made by edition {existing.edition} of the formulas, this is"
            f" edition {EDITION}: values of both must not mix"
            "\n\nHint: `extract` computes the whole column anew"
        )
        raise ColumnError(msg)
    return existing
