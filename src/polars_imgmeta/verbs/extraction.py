"""The verb that makes an auto-extracted column, and what others fill it with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Unpack

import polars as pl

from polars_imgmeta.catalogue.registry import EDITION, resolve
from polars_imgmeta.column import structs
from polars_imgmeta.column.deduplication import require_locator_dtype
from polars_imgmeta.column.structs import Provenance
from polars_imgmeta.column.udf import Extraction
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.execution.progress import ProgressBar
from polars_imgmeta.measuring.options import ExtractOptions, Reading, takes
from polars_imgmeta.typing import FrameT, PropertiesLike, PropertyName


@takes(ExtractOptions)
def extract(
    frame: FrameT,
    locator: str,
    properties: PropertiesLike = "standard",
    *,
    into: str | None = None,
    **options: Unpack[ExtractOptions],
) -> FrameT:
    """Make sure that properties of the images in a column are present and filled.

    Without an auto-extracted column of that name, makes one. With one, adds the
    properties that it lacks and fills the rows that have no values yet, such as
    rows appended since; it removes nothing. Only what is missing is read: a
    second call opens no file. A row with an error is left alone while nothing
    new is asked of it, and read again whole when something is.

    Args:
        frame: The frame.
        locator: The column that locates the images. Text is paths and URLs, of which
            there may be all kinds in one column: `file`, `http`, `https`, `s3`, `gs`,
            `az`, `abfss` and their aliases. Binary is the encoded images themselves. A
            Struct has `bytes`, which count where they are not null, and `path`, or one
            of them, as the data sets of Hugging Face.
        properties: Names of properties or groups, one or several.
        into: The name of the struct column; `<locator>_imgmeta` unless given.
        options: See `ExtractOptions`.

    Returns:
        The frame with the struct column: a field for each property, `error` and
        the marker `auto_extracted`. A null locator gives a null struct. A column
        made by another edition of the formulas is computed anew.

    Raises:
        PropertyError: If a property is unknown or none is given.
        ColumnError: If the locator column is missing or of another dtype, or if `into` is
            taken by a column that is not auto-extracted, or that was made from
            another locator column of the frame.
        ImageError: Under `on_error="raise"`, when the frame is computed.
        ValueError: If an option is out of range or unknown, or if a lazy frame shall
            show progress.
        ImportError: If `storage_options` are given, and the extra `remote` is not
            installed; without them, rows that need it are `unreachable`.

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
        Reading.of(ExtractOptions, options),
    )


@takes(ExtractOptions)
def extract_expr(
    locators: pl.Expr,
    properties: PropertiesLike = "standard",
    *,
    into: str | None = None,
    **options: Unpack[ExtractOptions],
) -> pl.Expr:
    """Extract properties in an expression, without regard to what a frame has.

    Args:
        locators: An expression of one column.
        properties: As for `extract`.
        into: The name of the result; that of the locators with `_imgmeta`
            behind it unless given.
        options: See `ExtractOptions`.

    Returns:
        The struct, in any context that takes an elementwise expression.

    Raises:
        PropertyError: If a property is unknown or none is given.
        ColumnError: If the expression is of several columns; when it is
            computed, if it is of no dtype that locates images.
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
    reading = Reading.of(ExtractOptions, options)
    _require_no_progress(reading)
    return _anew(name, properties, into, reading).expression(locators)


@takes(ExtractOptions)
def extract_series(
    locators: pl.Series,
    properties: PropertiesLike = "standard",
    *,
    into: str | None = None,
    **options: Unpack[ExtractOptions],
) -> pl.Series:
    """Extract properties from a series of locators.

    Args:
        locators: As for `extract`.
        properties: As for `extract`.
        into: The name of the result; that of the locators with `_imgmeta`
            behind it unless given.
        options: See `ExtractOptions`.

    Returns:
        The structs, as long as the series.

    Raises:
        PropertyError: If a property is unknown or none is given.
        ColumnError: If the series is of no dtype that locates images.
        ImageError: Under `on_error="raise"`.

    Examples:
        >>> im.extract_series(pl.Series("path", ["photos/dusk.png"]), "width").name
        'path_imgmeta'
    """
    require_locator_dtype(locators.dtype, locators.name)
    reading = Reading.of(ExtractOptions, options)
    extraction = _anew(locators.name, properties, into, reading)
    return replace(extraction, observer=ProgressBar(reading.progress))([locators])


def _anew(locator: str, properties: PropertiesLike, into: object, reading: Reading) -> Extraction:
    """An extraction without regard to old values."""
    return Extraction(_name_of(into, locator), locator, resolve(properties), reading)


def fill(
    frame: FrameT,
    existing: Provenance,
    locator: str,
    wanted: tuple[PropertyName, ...],
    reading: Reading,
    *,
    again: bool = False,
) -> FrameT:
    """Compute what an auto-extracted column lacks.

    Args:
        frame: The frame.
        existing: The column; one without properties need not exist yet.
        locator: The column that locates the images.
        wanted: The properties to have, beside those that exist.
        reading: How images are read.
        again: Whether to read the rows with an error, and no others.

    Raises:
        ColumnError: If the column was made from another locator column, or holds
            fields of somebody else's.
    """
    eager = isinstance(frame, pl.DataFrame)
    if not eager:
        _require_no_progress(reading)
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
        reading=reading,
        present=existing.properties if existing.current else (),
        retry=again,
        observer=ProgressBar(reading.progress) if eager else None,
    )
    # An eager frame has nothing to push down, and may come in many small chunks,
    # each of which Polars would make a batch of.
    return frame.with_columns(extraction.expression(pl.col(locator), in_one_batch=eager))


def _require_no_progress(reading: Reading) -> None:
    """Refuse a bar where the number of rows is not known."""
    if reading.progress:
        msg = (
            "`progress=True` must come with a data frame or a series, got a lazy frame or an"
            " expression, whose number of rows is not known\n\nHint: collect the locators first,"
            " or leave it out"
        )
        raise ValueError(msg)


def _name_of(into: object, locator: str) -> str:
    if into is None:
        return locator + structs.SUFFIX
    if not isinstance(into, str):
        msg = f"`into` must be the name of a column, got {into!r}"
        raise ColumnError(msg)
    return into


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
