"""The verb that makes an auto-extracted column, and what the editing verbs share with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Unpack

import polars as pl

from polars_imgmeta.catalogue.registry import PropertiesLike, Property, canonical_order
from polars_imgmeta.column import batches, runs, structs
from polars_imgmeta.column.deduplication import require_locator_dtype
from polars_imgmeta.column.structs import StructColumn
from polars_imgmeta.column.udf import Extraction
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.execution.progress import Observing
from polars_imgmeta.measuring.options import ExtractOptions, Reading, takes
from polars_imgmeta.typing import FrameT


@takes(ExtractOptions)
def extract(
    frame: FrameT,
    locator: str,
    properties: PropertiesLike = "standard",
    *more: PropertiesLike,
    into: str | None = None,
    where: pl.Expr | None = None,
    **options: Unpack[ExtractOptions],
) -> FrameT:
    """Make sure that properties of the images in a column are present and filled.

    Makes an auto-extracted column if there is none of that name. Otherwise adds the
    properties that it lacks, and computes what is missing or stale: rows that have no values
    yet, such as rows appended since; rows whose locator names another image now; values that
    an earlier version of a property has computed. It removes no property. A second call
    opens no file. A row with an error is left as it is while no new property is requested;
    then its image is read again, and all its values are replaced.

    Args:
        frame: The frame.
        locator: The column that locates the images. Strings are paths and URLs, also mixed
            in one column: `file`, `http`, `https`, `s3`, `gs`, `az`, `abfss` and their
            aliases. Binary is the encoded images themselves. A Struct has `bytes`, which
            count where they are not null, `path`, or both, as in the data sets of Hugging
            Face.
        properties: Names of properties or groups, or properties of one's own, one or several.
        more: Further ones.
        into: The name of the struct column; `<locator>_imgmeta` unless given.
        where: Rows to read in any case, as an expression on the columns of the frame.
        options: See `ExtractOptions`.

    Returns:
        The frame with the struct column: a field for each property, `error`, and the marker
        `auto_extracted`. A null locator gives a null struct.

    Raises:
        PropertyError: If a property is unknown, or none is given.
        ColumnError: If the locator column is missing or of another dtype, or if `into` names
            a column that is not auto-extracted.
        ImageError: Under `on_error="raise"`, when the frame is computed.
        ValueError: If an option is out of range or unknown.
        ImportError: If `storage_options` are given and the extra `remote` is not
            installed. Without them, rows that need it are `unreachable`.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png", "photos/gone.png", None]})
        >>> df = im.extract(df, "path", ["width", "brightness"])
        >>> df["path_imgmeta"].struct.unnest().drop("auto_extracted")
        shape: (3, 3)
        ┌───────┬────────────┬─────────────────────────┐
        │ width ┆ brightness ┆ error                   │
        │ ---   ┆ ---        ┆ ---                     │
        │ i32   ┆ f64        ┆ str                     │
        ╞═══════╪════════════╪═════════════════════════╡
        │ 320   ┆ 0.2        ┆ null                    │
        │ null  ┆ null       ┆ not_found: no such file │
        │ null  ┆ null       ┆ null                    │
        └───────┴────────────┴─────────────────────────┘
    """
    schema = structs.schema_of(frame)
    reading = Reading.of(ExtractOptions, options)
    structs.require_locator(schema, locator)
    wanted = reading.catalogue.resolve((properties, *more))
    require_expression(where)
    name = name_of(into, locator)
    existing = structs.find(schema).get(name)
    # A tool that infers dtypes makes this of a column whose structs are all null.
    if existing is None and schema.get(name, pl.Null) != pl.Null:
        msg = (
            f"`into` must name a new or an auto-extracted column, got {name!r},"
            " which exists and is neither\n\nHint: choose another name with `into=`"
        )
        raise ColumnError(msg)
    return fill(
        frame,
        name,
        existing,
        locator=locator,
        wanted=wanted,
        reading=reading,
        condition=where,
    )


@takes(ExtractOptions)
def extract_expr(
    locators: pl.Expr,
    properties: PropertiesLike = "standard",
    *more: PropertiesLike,
    into: str | None = None,
    **options: Unpack[ExtractOptions],
) -> pl.Expr:
    """Extract properties in an expression, without regard to what a frame has already.

    Args:
        locators: An expression of one column.
        properties: Names of properties or groups, or properties of one's own, one or several.
        more: Further ones.
        into: The name of the result; the name of the locators and `_imgmeta` unless given.
        options: See `ExtractOptions`.

    Returns:
        The struct, in any context that takes an elementwise expression.

    Raises:
        PropertyError: If a property is unknown, or none is given.
        ColumnError: If the expression is of several columns or, when it is computed, if its
            dtype cannot locate images.
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
    return _extraction(name, (properties, *more), into, reading).expression(locators)


@takes(ExtractOptions)
def extract_series(
    locators: pl.Series,
    properties: PropertiesLike = "standard",
    *more: PropertiesLike,
    into: str | None = None,
    **options: Unpack[ExtractOptions],
) -> pl.Series:
    """Extract properties from a series of locators.

    Args:
        locators: Paths and URLs, encoded images, or structs of both.
        properties: Names of properties or groups, or properties of one's own, one or several.
        more: Further ones.
        into: The name of the result; the name of the locators and `_imgmeta` unless given.
        options: See `ExtractOptions`.

    Returns:
        The structs, as long as the series.

    Raises:
        PropertyError: If a property is unknown, or none is given.
        ColumnError: If the dtype of the series cannot locate images.
        ImageError: Under `on_error="raise"`.

    Examples:
        >>> im.extract_series(pl.Series("path", ["photos/dusk.png"]), "width", "height").name
        'path_imgmeta'
    """
    require_locator_dtype(locators.dtype, locators.name)
    reading = Reading.of(ExtractOptions, options)
    extraction = _extraction(locators.name, (properties, *more), into, reading)
    return replace(extraction, observing=Observing(reading.progress))([locators])


def _extraction(
    locator: str, properties: Iterable[PropertiesLike], into: object, reading: Reading
) -> Extraction:
    """Return an extraction without regard to old structs."""
    wanted = reading.catalogue.resolve(properties)
    plan = runs.name_plan(lazy=True)
    return Extraction(name_of(into, locator), locator, wanted, reading.portable, plan=plan)


def fill(
    frame: FrameT,
    name: str,
    existing: StructColumn | None,
    *,
    locator: str,
    wanted: Iterable[Property],
    reading: Reading,
    condition: pl.Expr | None = None,
    only_condition: bool = False,
) -> FrameT:
    """Compute what an auto-extracted column lacks.

    Args:
        frame: The frame.
        name: The name of the column.
        existing: The column, if it exists.
        locator: The column that locates the images.
        wanted: The properties to have, beside those that exist.
        reading: How images are read.
        condition: The rows to read in any case.
        only_condition: Whether to read no other rows.
    """
    eager = isinstance(frame, pl.DataFrame)
    known = {one.name: one for one in wanted}
    unknown: dict[str, pl.DataType] = {}
    for one, dtype in existing.dtypes.items() if existing else ():
        if one in reading.catalogue:
            known.setdefault(one, reading.catalogue[one])
        elif one not in known:
            unknown[one] = dtype
    if not known:
        return frame  # of properties that only another process can compute
    extraction = Extraction(
        column=name,
        locator=locator,
        properties=tuple(known[one] for one in canonical_order(known)),
        reading=reading.portable,
        unknown=tuple(unknown.items()),
        existing=existing is not None,
        other_columns=tuple(key for key in structs.schema_of(frame) if key not in {locator, name}),
        forced=existing is not None and condition is not None,
        only_forced=only_condition,
        plan=runs.name_plan(lazy=not eager),
        observing=Observing(reading.progress),
    )
    if not extraction.forced:
        condition = None
    # An eager frame has nothing to push down, and may come in many small chunks, of each of
    # which Polars would make a batch.
    if reading.on_error != "raise" and isinstance(frame, pl.LazyFrame):
        concurrency = reading.storage.access.concurrency
        frame = batches.divided(
            frame, extraction.plan, locator, concurrency, Observing(reading.progress)
        )
    return frame.with_columns(
        extraction.expression(structs.column(locator), condition, in_one_batch=eager)
    )


def require_expression(where: object) -> None:
    """Check the option `where`.

    Raises:
        TypeError: If it is no expression.
    """
    if not isinstance(where, pl.Expr | None):
        msg = f"`where` must be an expression, such as pl.col('label') == 'a', got {where!r}"
        raise TypeError(msg)


def _require_no_progress(reading: Reading) -> None:
    """Refuse to show progress where nothing says when a run begins and ends."""
    if reading.progress:
        msg = (
            "`progress` must come with a frame or a series, got an expression, which does not know"
            " when its query begins and ends\n\nHint: use `frame.imgmeta.extract`, or leave it out"
        )
        raise ValueError(msg)


def name_of(into: object, locator: str) -> str:
    """Return the name of the struct column.

    Raises:
        ColumnError: If `into` is given and no name.
    """
    if into is None:
        return locator + structs.SUFFIX
    if not isinstance(into, str):
        msg = f"`into` must be the name of a column, got {into!r}"
        raise ColumnError(msg)
    return into
