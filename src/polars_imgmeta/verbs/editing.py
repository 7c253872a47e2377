"""The verbs that change which properties an auto-extracted column has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Unpack, get_args

import polars as pl

from polars_imgmeta.catalogue.registry import (
    CATALOGUE,
    Catalogue,
    PropertiesLike,
    PropertyLike,
)
from polars_imgmeta.column import marker, structs
from polars_imgmeta.column.failures import explaining, without_lines
from polars_imgmeta.column.states import Check
from polars_imgmeta.column.structs import StructColumn
from polars_imgmeta.exceptions import ColumnError, hint
from polars_imgmeta.measuring.options import ExtractOptions, Reading, takes
from polars_imgmeta.typing import ErrorKind, FrameT, SourceField
from polars_imgmeta.verbs.extraction import fill, require_expression


@takes(ExtractOptions)
def add(
    frame: FrameT,
    *properties: PropertyLike,
    column: str | None = None,
    locator: str | None = None,
    **options: Unpack[ExtractOptions],
) -> FrameT:
    """Add properties to an auto-extracted column; those present are no error.

    Does what `extract` does on a column that exists. Adding geometry reads headers alone.

    Args:
        frame: The frame.
        properties: Names of properties or groups, or properties of one's own.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column; may be left out where the column or its rows name it.
        options: See `ExtractOptions`.

    Returns:
        The frame with the properties added, in catalogue order.

    Raises:
        PropertyError: If a property is unknown, or none is given.
        ColumnError: If it is not clear which column is meant, or if the locator column is
            missing and something has to be read.
        ImageError: Under `on_error="raise"`, when the frame is computed.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> df = im.extract(df, "path", "brightness")
        >>> im.add(df, "width")["path_imgmeta"].struct.fields
        ['width', 'brightness', 'error', 'auto_extracted']
    """
    existing = structs.choose(structs.schema_of(frame), column)
    reading = Reading.of(ExtractOptions, options)
    wanted = reading.catalogue.resolve(properties)
    present = {one.name for one in wanted} <= set(existing.properties)
    if present and locator is None and _needs_no_locator(frame, existing):
        return frame
    source = structs.locator_of(frame, existing, locator)
    return fill(frame, existing.name, existing, locator=source, wanted=wanted, reading=reading)


def remove(
    frame: FrameT,
    *properties: PropertyLike,
    column: str | None = None,
    catalogue: Catalogue = CATALOGUE,
) -> FrameT:
    """Remove properties from an auto-extracted column; absent ones are no error.

    Reads no image. An `error` goes with the last property that it explains, and
    the column with its last property.

    Args:
        frame: The frame.
        properties: Names of properties or groups, or properties of one's own.
        column: The auto-extracted column; may be left out where there is one.
        catalogue: The properties that names mean, where a caller's own ones are among them.

    Returns:
        The frame without the properties.

    Raises:
        PropertyError: If a property is unknown, or none is given.
        ColumnError: If it is not clear which column is meant.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> df = im.extract(df, "path", ["width", "height"])
        >>> im.remove(df, "height", "symmetry")["path_imgmeta"].struct.fields
        ['width', 'error', 'auto_extracted']
        >>> im.remove(df, "geometry").columns
        ['path']
    """
    existing = structs.choose(structs.schema_of(frame), column)
    # A property that this process does not know can be removed by its name.
    present = existing.properties
    unwanted = {name for name in properties if isinstance(name, str) and name in present}
    others = [one for one in properties if not isinstance(one, str) or one not in unwanted]
    if others or not unwanted:
        unwanted |= {one.name for one in catalogue.resolve(others)}
    kept = [name for name in present if name not in unwanted]
    return _keep(frame, existing, kept)


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

    Removes the others and adds what is missing; what stays is not computed again.

    Args:
        frame: The frame.
        properties: Names of properties or groups, or properties of one's own, one or several.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column; may be left out where the column or its rows name it.
        options: See `ExtractOptions`.

    Returns:
        The frame with the column changed.

    Raises:
        PropertyError: If a property is unknown, or none is given.
        ColumnError: As for `add`.
        ImageError: Under `on_error="raise"`, when the frame is computed.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> df = im.extract(df, "path", ["width", "height"])
        >>> im.configure(df, ["height", "brightness"])["path_imgmeta"].struct.fields
        ['height', 'brightness', 'error', 'auto_extracted']
    """
    existing = structs.choose(structs.schema_of(frame), column)
    reading = Reading.of(ExtractOptions, options)
    wanted = reading.catalogue.resolve(properties)
    source = structs.locator_of(frame, existing, locator)
    names = {one.name for one in wanted}
    kept = [name for name in existing.properties if name in names]
    remaining = None
    if kept:
        frame = _keep(frame, existing, kept)
        remaining = structs.choose(structs.schema_of(frame), existing.name)
    return fill(frame, existing.name, remaining, locator=source, wanted=wanted, reading=reading)


@takes(ExtractOptions)
def retry(
    frame: FrameT,
    *,
    kinds: ErrorKind | Iterable[ErrorKind] | None = None,
    where: pl.Expr | None = None,
    column: str | None = None,
    locator: str | None = None,
    **options: Unpack[ExtractOptions],
) -> FrameT:
    """Read the images again whose rows have an error, and no others.

    Args:
        frame: The frame.
        kinds: The kinds of errors to retry, such as `"unreachable"`; all unless given.
        where: The failed rows to retry, as an expression on the columns of the frame.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column; may be left out where the column or its rows name it.
        options: See `ExtractOptions`.

    Returns:
        The frame with those rows as they are now.

    Raises:
        ColumnError: As for `add`.
        ValueError: If a kind is unknown.
        ImageError: Under `on_error="raise"`, when the frame is computed.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> df = im.extract(df, "path", "brightness", max_pixels=1)
        >>> df = im.retry(df, kinds="too_large")
        >>> df["path_imgmeta"].struct.field("brightness", "error").to_list()
        [0.2]
    """
    existing = structs.choose(structs.schema_of(frame), column)
    reading = Reading.of(ExtractOptions, options)
    source = structs.locator_of(frame, existing, locator)
    require_expression(where)
    error = existing.field(structs.ERROR).cast(pl.String)
    condition = error.is_not_null()
    if kinds is not None:
        condition &= error.str.extract("^([a-z_]+)", 1).is_in(require_kinds(kinds))
    if where is not None:
        condition &= where
    return _read_again(frame, existing, source, reading, condition)


@takes(ExtractOptions)
def refresh(
    frame: FrameT,
    *,
    ignore: Iterable[SourceField] = (),
    column: str | None = None,
    locator: str | None = None,
    **options: Unpack[ExtractOptions],
) -> FrameT:
    """Read the images again that have changed at their source, and no others.

    Looks at each source: one `stat` for each file, one small request for each object, many at
    once. The size is compared with the one that each row records; modification time and ETag
    are compared if the column has them: extract the group `"source"` for that.

    Args:
        frame: The frame.
        ignore: What not to compare, where it is unreliable: `"file_size"`, `"modified"` or
            `"etag"`.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column; may be left out where the column or its rows name it.
        options: See `ExtractOptions`.

    Returns:
        The frame, with those rows as they are now. Rows whose image is gone get an error.

    Raises:
        ColumnError: As for `add`.
        ValueError: If `ignore` names something else.
        ImageError: Under `on_error="raise"`, when the frame is computed.

    Examples:
        >>> df = im.scan_images("photos").imgmeta.extract("path", ["geometry", "source"])
        >>> df = im.refresh(df.collect(), ignore=["modified"])
    """
    existing = structs.choose(structs.schema_of(frame), column)
    reading = Reading.of(ExtractOptions, options)
    source = structs.locator_of(frame, existing, locator)
    ignored = _among("ignore", ignore, get_args(SourceField))
    check = Check.of(frame, existing, source, reading, check_sources=True, ignore=ignored)
    changed = check.expression().is_in(["gone", "changed"])
    return _read_again(frame, existing, source, reading, changed)


def _read_again(
    frame: FrameT, existing: StructColumn, locator: str, reading: Reading, condition: pl.Expr
) -> FrameT:
    """Read the images of the rows that meet a condition, and no others."""
    return fill(
        frame,
        existing.name,
        existing,
        locator=locator,
        wanted=(),
        reading=reading,
        condition=condition,
        only_condition=True,
    )


def require_kinds(kinds: object) -> list[str]:
    """Return one or several kinds of errors as a list.

    Raises:
        ValueError: If one is unknown.
    """
    return _among("kinds", kinds, get_args(ErrorKind))


def _among(option: str, given: object, choices: tuple[str, ...]) -> list[str]:
    """Return one or several words as a list.

    Raises:
        ValueError: If one is unknown.
    """
    listed: list[Any]
    listed = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    for one in listed:
        if one not in choices:
            known = ", ".join(map(repr, choices))
            msg = f"`{option}` must be among {known}, got {one!r}{hint(one, choices)}"
            raise ValueError(msg)
    return listed


def _keep(frame: FrameT, existing: StructColumn, kept: Sequence[str]) -> FrameT:
    """Keep only some properties of a column, by pure expressions."""
    if len(kept) == len(existing.properties):
        return frame
    if not kept:
        return frame.drop(structs.exactly(existing.name))
    dropped = [name for name in existing.properties if name not in kept]
    text = marker.without_entries(pl.field(structs.MARKER).cast(pl.String), dropped)
    own = [name for name in dropped if name not in CATALOGUE]
    error = explaining(without_lines(pl.field(structs.ERROR).cast(pl.String), own), text)
    column = structs.column(existing.name)
    fields = (error.alias(structs.ERROR), text)
    return frame.with_columns(column.struct.drop(dropped).struct.with_fields(*fields))


def _needs_no_locator(frame: FrameT, existing: StructColumn) -> bool:
    """Whether the frame cannot be completed, and need not be."""
    try:
        structs.locator_of(frame, existing, None)
    except ColumnError:
        if isinstance(frame, pl.LazyFrame):
            return True
        values = frame.select(structs.column(existing.name)).to_series()
        fields = [*existing.properties, structs.ERROR]
        gaps = values.struct.unnest().select(pl.all_horizontal(pl.col(fields).is_null()))
        return not (gaps.to_series() & values.is_not_null()).any()
    return False
