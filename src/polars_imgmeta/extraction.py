"""The verb that makes an auto-extracted column, and what others fill it with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import polars as pl

from polars_imgmeta import structs
from polars_imgmeta.batches import Extraction
from polars_imgmeta.catalogue import EDITION, resolve
from polars_imgmeta.exceptions import ColumnError, hint, require_positive
from polars_imgmeta.pictures import DEFAULT_MAX_PIXELS
from polars_imgmeta.structs import Provenance
from polars_imgmeta.typing import FrameT, OnError, PropertiesLike, PropertyName


def extract(
    frame: FrameT,
    locator: str,
    properties: PropertiesLike = "standard",
    *,
    into: str | None = None,
    on_error: OnError = "null",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: bool | None = None,
) -> FrameT:
    """Make sure that properties of the images in a column are present and filled.

    Without an auto-extracted column of that name, makes one. With one, adds the
    properties that it lacks and fills the rows that have no values yet, such as
    rows appended since; it removes nothing. Only what is missing is read: a
    second call opens no file. A row with an error is left alone while nothing
    new is asked of it, and read again whole when something is.

    Args:
        frame: The frame.
        locator: The column that locates the images: paths or `file://` URIs.
        properties: Names of properties or groups, one or several.
        into: The name of the struct column; `<locator>_imgmeta` unless given.
        on_error: What an image that cannot be read does: `"null"` leaves nulls
            and an `error` in its row, `"raise"` ends the extraction.
        max_pixels: Pictures of more pixels are not decoded and become
            `too_large`; their geometry is still told.
        progress: Whether to show a progress bar, on the standard error stream or in
            the notebook. Unless told, there is one on a terminal and in a notebook,
            for work that takes longer than a second. A lazy frame has none.

    Returns:
        The frame with the struct column: a field for each property, `error` and
        the marker `auto_extracted`. A null locator gives a null struct. A column
        made by another edition of the formulas is computed anew.

    Raises:
        PropertyError: If a property is unknown or none is given.
        ColumnError: If the locator column is missing or no text, or if `into` is
            taken by a column that is not auto-extracted, or that was made from
            another locator column of the frame.
        ImageError: Under `on_error="raise"`, when the frame is computed.
        ValueError: If an option is out of range, or if a lazy frame shall show
            progress.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png", "photos/gone.png", None]})
        >>> df = im.extract(df, "path", ["width", "brightness"])
        >>> df.select("path", pl.col("path_imgmeta").struct.unnest())
        shape: (3, 5)
        ┌─────────────────┬───────┬────────────┬─────────────────────────┬────────────────┐
        │ path            ┆ width ┆ brightness ┆ error                   ┆ auto_extracted │
        │ ---             ┆ ---   ┆ ---        ┆ ---                     ┆ ---            │
        │ str             ┆ i32   ┆ f64        ┆ str                     ┆ ext[imgmeta]   │
        ╞═════════════════╪═══════╪════════════╪═════════════════════════╪════════════════╡
        │ photos/dusk.png ┆ 320   ┆ 0.2        ┆ null                    ┆ true           │
        │ photos/gone.png ┆ null  ┆ null       ┆ not_found: no such file ┆ true           │
        │ null            ┆ null  ┆ null       ┆ null                    ┆ null           │
        └─────────────────┴───────┴────────────┴─────────────────────────┴────────────────┘
    """
    schema = structs.schema_of(frame)
    wanted = resolve(properties)
    structs.require_locator(schema, locator)
    column = _name_of(into, locator)
    existing = structs.find(schema).get(column)
    if column in schema and existing is None:
        msg = (
            f"`into` must name a new or an auto-extracted column, got {column!r},"
            " which exists and is neither\n\nHint: choose another name with `into=`"
        )
        raise ColumnError(msg)
    return fill(
        frame,
        existing or Provenance(column, (), locator, EDITION),
        locator,
        wanted,
        on_error=on_error,
        max_pixels=max_pixels,
        progress=progress,
    )


def extract_expr(
    locators: pl.Expr,
    properties: PropertiesLike = "standard",
    *,
    into: str | None = None,
    on_error: OnError = "null",
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> pl.Expr:
    """Extract properties in an expression, without regard to what a frame has.

    Args:
        locators: An expression of one column.
        properties: As for `extract`.
        into: The name of the result; that of the locators with `_imgmeta`
            behind it unless given.
        on_error: As for `extract`.
        max_pixels: As for `extract`.

    Returns:
        The struct, in any context that takes an elementwise expression.

    Raises:
        PropertyError: If a property is unknown or none is given.
        ColumnError: If the expression is of several columns; when it is
            computed, if it is no text.
        ImageError: Under `on_error="raise"`, when it is computed.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png", "photos/carpet.png"]})
        >>> image = pl.col("path").imgmeta.extract("brightness")
        >>> df.filter(image.struct.field("brightness") < 0.3)["path"].to_list()
        ['photos/dusk.png']
    """
    name = locators.meta.output_name(raise_if_undetermined=False)
    if name is None:
        msg = (
            f"`imgmeta.extract` must follow an expression of one column, got {locators}"
            "\n\nHint: extract from each column by itself"
        )
        raise ColumnError(msg)
    return _anew(name, properties, into, on_error, max_pixels).expression(locators)


def extract_series(
    locators: pl.Series,
    properties: PropertiesLike = "standard",
    *,
    into: str | None = None,
    on_error: OnError = "null",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: bool | None = None,
) -> pl.Series:
    """Extract properties from a series of locators.

    Args:
        locators: Paths or `file://` URIs.
        properties: As for `extract`.
        into: The name of the result; that of the locators with `_imgmeta`
            behind it unless given.
        on_error: As for `extract`.
        max_pixels: As for `extract`.
        progress: As for `extract`.

    Returns:
        The structs, as long as the series.

    Raises:
        PropertyError: If a property is unknown or none is given.
        ColumnError: If the series is no text.
        ImageError: Under `on_error="raise"`.

    Examples:
        >>> im.extract_series(pl.Series("path", ["photos/dusk.png"]), "width").name
        'path_imgmeta'
    """
    structs.require_locator_dtype(locators.dtype, locators.name)
    _check_progress(progress)
    extraction = _anew(locators.name, properties, into, on_error, max_pixels)
    return replace(extraction, progress=progress)([locators])


def _anew(
    locator: str, properties: PropertiesLike, into: object, on_error: OnError, max_pixels: int
) -> Extraction:
    """An extraction without regard to old values."""
    _check_options(on_error, max_pixels)
    return Extraction(
        column=_name_of(into, locator),
        locator=locator,
        properties=resolve(properties),
        on_error=on_error,
        max_pixels=max_pixels,
    )


def fill(
    frame: FrameT,
    existing: Provenance,
    locator: str,
    wanted: tuple[PropertyName, ...],
    *,
    on_error: OnError,
    max_pixels: int,
    progress: bool | None,
    again: bool = False,
) -> FrameT:
    """Compute what an auto-extracted column lacks.

    Args:
        frame: The frame.
        existing: The column; one without properties need not exist yet.
        locator: The column that locates the images.
        wanted: The properties to have, beside those that exist.
        on_error: As for `extract`.
        max_pixels: As for `extract`.
        progress: As for `extract`.
        again: Whether to read the rows with an error, and no others.

    Raises:
        ColumnError: If the column was made from another locator column, or holds
            fields of somebody else's.
    """
    _check_options(on_error, max_pixels)
    _check_progress(progress)
    eager = isinstance(frame, pl.DataFrame)
    if progress and not eager:
        msg = (
            "`progress=True` must come with a data frame, got a lazy one, of which nobody knows"
            " how many rows it will have\n\nHint: collect the locators first, or leave it out"
        )
        raise ValueError(msg)
    schema = structs.schema_of(frame)
    _require_same_origin(schema, existing, locator)
    if strangers := structs.strangers(schema, existing):
        msg = (
            f"{existing.column!r} must hold properties alone, got also {', '.join(strangers)}"
            "\n\nHint: move what is your own into a column beside it"
        )
        raise ColumnError(msg)
    extraction = Extraction(
        column=existing.column,
        locator=locator,
        properties=resolve((*existing.properties, *wanted)),
        present=existing.properties if existing.current else (),
        on_error=on_error,
        max_pixels=max_pixels,
        retry=again,
        progress=progress if eager else False,
    )
    # An eager frame has nothing to push down, and may come in many small chunks,
    # each of which Polars would make a batch of.
    return frame.with_columns(extraction.expression(pl.col(locator), in_one_batch=eager))


def _name_of(into: object, locator: str) -> str:
    if into is None:
        return locator + structs.SUFFIX
    if not isinstance(into, str):
        msg = f"`into` must be the name of a column, got {into!r}"
        raise ColumnError(msg)
    return into


def _check_options(on_error: str, max_pixels: object) -> None:
    """Check the options that all reading verbs share.

    Raises:
        ValueError: If one is out of range.
    """
    choices = get_args(OnError)
    if on_error not in choices:
        listing = ", ".join(map(repr, choices))
        msg = f"`on_error` must be one of {listing}, got {on_error!r}{hint(on_error, choices)}"
        raise ValueError(msg)
    require_positive("max_pixels", max_pixels)


def _check_progress(progress: object) -> None:
    if progress not in (True, False, None):
        msg = f"`progress` must be True, False or None, got {progress!r}"
        raise ValueError(msg)


def _require_same_origin(
    schema: Mapping[str, pl.DataType], existing: Provenance, locator: str
) -> None:
    """Refuse to mix values of two locator columns that the frame both has."""
    if existing.properties and existing.locator in schema and existing.locator != locator:
        msg = (
            f"{existing.column!r} describes the images in {existing.locator!r}, got {locator!r}:"
            " values of both must not mix\n\nHint: choose another column with `into=`"
        )
        raise ColumnError(msg)
