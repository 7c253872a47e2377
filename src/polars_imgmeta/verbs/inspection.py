"""The verbs that look at auto-extracted columns and decode no image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Unpack, get_args

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE, Catalogue, PropertyLike
from polars_imgmeta.column import marker as markers
from polars_imgmeta.column import structs
from polars_imgmeta.column.states import Check
from polars_imgmeta.column.structs import StructColumn
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.measuring.options import Reading, StatusOptions, takes
from polars_imgmeta.typing import ErrorKind, Frame, FrameT

_KINDS = pl.Enum(get_args(ErrorKind))


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the values of an auto-extracted column come from.

    Attributes:
        column: The name of the struct column.
        properties: What it holds, in catalogue order.
        locators: The locator columns that its rows record, most frequent first.
        versions: For each property the versions of its definition that its rows record,
            ascending; none where no row has a value.
    """

    column: str
    properties: tuple[str, ...]
    locators: tuple[str, ...]
    versions: Mapping[str, tuple[int, ...]]


def columns(frame: Frame) -> list[str]:
    """Return the names of the auto-extracted columns.

    Args:
        frame: The frame, wherever it came from: the flag survives files and other engines.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> im.columns(im.extract(df, "path", "width"))
        ['path_imgmeta']
        >>> im.columns(df)
        []
    """
    return list(structs.find(structs.schema_of(frame)))


def properties(frame: Frame, column: str | None = None) -> list[str]:
    """Return the properties that an auto-extracted column holds.

    Args:
        frame: The frame.
        column: The auto-extracted column; may be left out where there is one.

    Returns:
        Their names, in catalogue order.

    Raises:
        ColumnError: If it is not clear which column is meant.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> im.properties(im.extract(df, "path", "geometry"))
        ['width', 'height', 'size', 'aspect_ratio']
    """
    return list(structs.choose(structs.schema_of(frame), column).properties)


def overview(frame: Frame) -> str:
    """Return what the auto-extracted columns hold, a line each: what an accessor shows.

    Rows are counted where the frame is not lazy.
    """
    found = structs.find(structs.schema_of(frame)).values()
    if not found:
        return "no auto-extracted column; make one with `extract`"
    return "\n".join(_overview_of(frame, one) for one in found)


def _overview_of(frame: Frame, existing: StructColumn) -> str:
    text = f"{existing.name}: {', '.join(existing.properties)}"
    if isinstance(frame, pl.LazyFrame):
        return text
    error, flag = (existing.field(name) for name in (structs.ERROR, structs.MARKER))
    failed, extracted = frame.select(error.is_not_null().sum(), flag.is_not_null().sum()).row(0)
    return f"{text}\n  {frame.height} rows, {extracted} extracted, {failed} of them failed"


def provenance(frame: Frame, column: str | None = None) -> Provenance:
    """Return where the values of an auto-extracted column come from.

    Args:
        frame: The frame. Of a lazy one, the column is computed.
        column: The auto-extracted column; may be left out where there is one.

    Raises:
        ColumnError: If it is not clear which column is meant.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> df = im.extract(df, "path", "width")
        >>> im.provenance(df).locators, im.provenance(df).versions
        (('path',), {'width': (1,)})
    """
    existing = structs.choose(structs.schema_of(frame), column)
    struct = frame.lazy().select(structs.column(existing.name).alias("struct"))
    field = pl.col("struct").struct.field
    text = field(structs.MARKER).cast(pl.String)
    listed = markers.entries_in(text)
    versions = [
        markers.version_in(listed, name)
        .fill_null(pl.when(field(name).is_not_null()).then(1))
        .drop_nulls()
        .unique()
        .sort()
        .implode()
        .alias(name)
        for name in existing.properties
    ]
    names = text.str.extract(r"(?s)^(.*)@", 1).drop_nulls().value_counts(sort=True).implode()
    found = struct.select(*versions, names.alias("=locators")).collect()
    locators = [one[structs.MARKER] for one in found["=locators"][0].to_list()]
    recorded = {name: tuple(found[name][0].to_list()) for name in existing.properties}
    return Provenance(existing.name, existing.properties, tuple(locators), recorded)


def errors(frame: FrameT, column: str | None = None, *, locator: str | None = None) -> FrameT:
    """Return the rows that could not be read, and why.

    Args:
        frame: The frame.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column; may be left out where the column or its rows name it.

    Returns:
        A frame of `locator` (null where the frame has no such column), `kind` (an Enum of
        the kinds of [`ErrorKind`][polars_imgmeta.typing.ErrorKind]) and `message`, in the
        order of the rows.

    Raises:
        ColumnError: If it is not clear which column is meant.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png", "photos/gone.png"]})
        >>> im.errors(im.extract(df, "path"))
        shape: (1, 3)
        ┌─────────────────┬───────────┬──────────────┐
        │ locator         ┆ kind      ┆ message      │
        │ ---             ┆ ---       ┆ ---          │
        │ str             ┆ enum      ┆ str          │
        ╞═════════════════╪═══════════╪══════════════╡
        │ photos/gone.png ┆ not_found ┆ no such file │
        └─────────────────┴───────────┴──────────────┘
    """
    existing = structs.choose(structs.schema_of(frame), column)
    source = structs.find_locator(frame, existing, locator)
    parts = existing.field(structs.ERROR).cast(pl.String).str.splitn(": ", 2)
    located = pl.lit(None, pl.String) if source is None else structs.column(source)
    return frame.select(
        located.alias("locator"),
        kind=parts.struct.field("field_0").cast(_KINDS, strict=False),
        message=parts.struct.field("field_1"),
    ).filter(pl.col("message").is_not_null())


@takes(StatusOptions)
def status(
    frame: FrameT,
    column: str | None = None,
    *,
    locator: str | None = None,
    check_sources: bool = False,
    **options: Unpack[StatusOptions],
) -> FrameT:
    """Return the state of each row, without reading an image.

    Args:
        frame: The frame.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column; may be left out where the column or its rows name it.
        check_sources: Whether to look at each source: one `stat` for each file, one small
            request for each object, many at once.
        options: See `StatusOptions`.

    Returns:
        A frame of `locator` and `state`, row by row. The states, of which the first one that
        applies counts:

        - null: there is no locator
        - `"missing"`: it has no values yet, or lacks one
        - `"stale"`: its locator names another image now, or a value was computed by another
          version of its property
        - `"gone"`, if sources are checked: nothing is there any more
        - `"changed"`, if sources are checked: size, modification time or ETag differ from
          those that the row records
        - `"failed"`: it has an error
        - `"ok"`

    Raises:
        ColumnError: If it is not clear which column is meant, or if the locator column is
            missing.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png", "photos/gone.png"]})
        >>> df = im.extract(df, "path", "width")
        >>> df = df.vstack(pl.DataFrame({"path": ["photos/fog.png"], "path_imgmeta": [None]},
        ...     schema=df.schema))
        >>> im.status(df)["state"].to_list()
        ['ok', 'failed', 'missing']
    """
    existing = structs.choose(structs.schema_of(frame), column)
    reading = Reading.of(StatusOptions, options)
    source = structs.locator_of(frame, existing, locator)
    state = Check.of(frame, existing, source, reading, check_sources=check_sources).expression()
    return frame.select(structs.column(source).alias("locator"), state.alias("state"))


def unnest(
    frame: FrameT, column: str | None = None, *, prefix: str | None = None, marker: bool = False
) -> FrameT:
    """Turn an auto-extracted column into ordinary flat ones.

    For what knows no structs, such as CSV, and for plots.

    Args:
        frame: The frame.
        column: The auto-extracted column; may be left out where there is one.
        prefix: Is put before each name, `error` included.
        marker: Whether to keep the marker as a column `auto_extracted`, so that `nest` can
            make the struct again. Without it, the columns are no longer recognised as
            auto-extracted.

    Returns:
        The frame with a column for each property and `error` in place of the struct.

    Raises:
        ColumnError: If it is not clear which column is meant, or if a new name
            is taken by another column.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> im.unnest(im.extract(df, "path", ["width", "height"]), prefix="img_")
        shape: (1, 4)
        ┌─────────────────┬───────────┬────────────┬───────────┐
        │ path            ┆ img_width ┆ img_height ┆ img_error │
        │ ---             ┆ ---       ┆ ---        ┆ ---       │
        │ str             ┆ i32       ┆ i32        ┆ str       │
        ╞═════════════════╪═══════════╪════════════╪═══════════╡
        │ photos/dusk.png ┆ 320       ┆ 240        ┆ null      │
        └─────────────────┴───────────┴────────────┴───────────┘
    """
    schema = structs.schema_of(frame)
    existing: StructColumn = structs.choose(schema, column)
    names = [*existing.properties, structs.ERROR, *([structs.MARKER] if marker else [])]
    flat = {name: f"{prefix or ''}{name}" for name in names}
    if taken := [new for new in flat.values() if new in schema and new != existing.name]:
        msg = (
            f"the frame must not have columns of the new names, got {', '.join(map(repr, taken))}"
            "\n\nHint: give the new ones other names with `prefix=`"
        )
        raise ColumnError(msg)
    fields = [existing.field(old).alias(new) for old, new in flat.items()]
    parts = [fields if name == existing.name else [structs.column(name)] for name in schema]
    return frame.select(chain.from_iterable(parts))


def nest(
    frame: FrameT,
    into: str,
    properties: PropertyLike | Iterable[PropertyLike] | None = None,
    *,
    prefix: str | None = None,
    catalogue: Catalogue = CATALOGUE,
) -> FrameT:
    """Make an auto-extracted column again of what `unnest(marker=True)` made flat.

    Args:
        frame: The frame, for example from CSV or a database.
        into: The name of the struct column.
        properties: The properties to take; all that the frame has unless given.
        prefix: What stands before each name.
        catalogue: The properties that names mean, where a caller's own ones are among them.

    Returns:
        The frame with the struct column in place of the flat ones, with the dtypes that
        properties have.

    Raises:
        PropertyError: If a property is unknown.
        ColumnError: If a column is missing, or if `into` is taken by another one.

    Examples:
        >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path", "width")
        >>> text = im.unnest(df, marker=True).write_csv()
        >>> im.nest(pl.read_csv(text.encode()), "path_imgmeta").equals(df)
        True
    """
    schema: pl.Schema = structs.schema_of(frame)
    before = prefix or ""
    if properties is None:
        wanted = tuple(one for name, one in catalogue.items() if before + name in schema)
    else:
        wanted = catalogue.resolve(properties)
    dtypes = dict(pl.Schema(structs.struct_dtype(wanted)))
    flat: dict[str, str] = {before + name: name for name in dtypes}
    if into in schema and into not in {*structs.find(schema), *flat}:
        msg = (
            f"`into` must name a new or an auto-extracted column, got {into!r},"
            " which exists and is neither\n\nHint: choose another name"
        )
        raise ColumnError(msg)
    if lacking := [name for name in flat if name not in schema]:
        msg = (
            f"the frame must have the columns that `unnest(marker=True)` makes, got no"
            f" {', '.join(map(repr, lacking))}\n\nColumns: {structs.listing(schema)}"
        )
        raise ColumnError(msg)
    fields = [
        structs.restored(structs.column(old), schema[old], dtypes[new], strict=True).alias(new)
        for old, new in flat.items()
    ]
    present = structs.column(before + structs.MARKER).is_not_null()
    struct = pl.when(present).then(pl.struct(fields)).alias(into)
    first = next(name for name in schema if name in flat)
    return frame.select(
        struct if name == first else structs.column(name)
        for name in schema
        if name == first or name not in {*flat, into}
    )
