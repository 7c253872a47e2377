"""The verb that finds images which are the same, or look the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import polars as pl

from polars_imgmeta.analysis.matching import (
    COMPARED,
    DUPLICATE,
    FILE,
    HASH,
    PIXELS,
    QUALITY,
    Matching,
)
from polars_imgmeta.analysis.naming import locators_as_text
from polars_imgmeta.column import structs
from polars_imgmeta.exceptions import ColumnError, PropertyError, hint
from polars_imgmeta.typing import Frame, FrameT

_IDENTITY: Final = (FILE, PIXELS, HASH)
_WORDS: Final = (pl.String, pl.Categorical, pl.Enum)
# Unrelated pictures differ in about 31 bits.
_MOST_DISTANT: Final = 31


def duplicates(
    frame: FrameT,
    distance: int | None = 4,
    *,
    against: Frame | None = None,
    across: str | None = None,
    into: str = "duplicate",
    column: str | None = None,
    locator: str | None = None,
) -> FrameT:
    """Find images that are the same or look the same, and the best of each group.

    Two images match if they are the same file (`file_digest`), have the same pixels
    (`pixel_digest`), or look the same: their `perceptual_hash` differs in at most `distance`
    bits. Every such pair is found. `extract` computes the three as the group `"identity"`;
    those that the frame has are compared.

    Images that match, directly or by way of others, are a group. The best one is kept: that of
    most pixels (`size`), then of most bytes (`file_size`), then the sharpest (`sharpness`), as
    far as the frame has these. What matches it is its copy. Where images are in the group that
    match only a copy, the best of these is kept as well, and so on. So no two images that are
    kept match, and each copy matches one that is kept.

    Args:
        frame: The frame. A lazy one stays lazy.
        distance: The most bits in which the hashes of two images that match differ, from 0 to
            31; None for exact copies only.
        against: Images that were there before, for example a training set. They are compared
            with those of the frame, not with each other, and are kept whatever their quality.
            Groups of an earlier call, in a column of the name `into`, keep their ids. Of a lazy
            frame, the values that are compared are collected when the call is made.
        across: A column, such as the split of a data set: only images that differ in it match.
            Rows in which it is null are not compared.
        into: The name of the new column. A column of an earlier call is replaced.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column; may be left out where the column or its rows name it.

    Returns:
        The frame with a struct column, which is null where the image could not be read, or
        there is none, or `across` is null, and otherwise has these fields:

        - `group`: the id of the group, 16 hexadecimal digits, which depends on its images alone:
          it is the start of their smallest digest
        - `images`: the number of images in the group, at least 1
        - `keep`: false for a copy
        - `copy_of`: the locator of the kept image that a copy matches
        - `reason`: why it matches: `"same file"`, `"same pixels"` or `"similar"`
        - `distance`: the number of bits in which their hashes differ

    Raises:
        PropertyError: If the frame has nothing to compare, or no hash for the distance.
        ColumnError: If it is not clear which column is meant, if `across` is not a column of
            plain values, or if `into` is taken.
        ValueError: If `distance` is not a whole number from 0 to 31.

    Examples:
        >>> images = im.scan_images("photos").imgmeta.extract("path", ["identity", "size"])
        >>> df = im.duplicates(images).collect().unnest("duplicate")
        >>> df.filter(~pl.col("keep")).select("path", "reason", "distance").rows()
        [('photos/blobs.png', 'similar', 4), ('photos/fog.png', 'similar', 4)]
        >>> df.filter(pl.col("keep"), pl.col("images") > 1)["path"].to_list()
        ['photos/noise.png']
    """
    schema = structs.schema_of(frame)
    _require_distance(distance)
    _require_new(schema, into)
    values = _values(frame, "frame", column, locator, across)
    compared = {name for name in _IDENTITY if name in values}
    known = pl.DataFrame(schema=COMPARED)
    if against is not None:
        known_values = _known_values(against, into, column, across)
        compared &= known_values.keys()
        known = against.lazy().select(_completed(known_values)).collect(engine="streaming")
    _require_comparable(compared, distance, both=against is not None)
    names = tuple(name for name in _IDENTITY if name in compared)
    matching = Matching(names, distance, across is not None, known)
    row = pl.struct(_completed(values)).alias(into)
    return frame.with_columns(pl.map_batches([row], matching, return_dtype=DUPLICATE))


def _completed(values: Mapping[str, pl.Expr]) -> list[pl.Expr]:
    """Return all columns of what is compared, null where there are no values."""
    return [
        values.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in COMPARED.items()
    ]


def _values(
    frame: Frame, argument: str, column: str | None, locator: str | None, across: str | None
) -> dict[str, pl.Expr]:
    """Return what is compared of a frame, by name, as far as it has it."""
    schema = structs.schema_of(frame)
    existing = structs.choose(schema, column) if column or structs.find(schema) else None
    values = {}
    for name in (*_IDENTITY, *QUALITY):
        wanted = COMPARED[name]
        if existing and name in existing.properties:
            dtype, value = existing.dtypes[name], existing.field(name)
        elif name in schema and (existing is None or name == "file_size"):
            dtype, value = schema[name], structs.column(name)
        else:
            continue
        fits = dtype.is_numeric() if wanted.is_numeric() else dtype in _WORDS
        if not fits and dtype != pl.Null:
            msg = f"{name!r} of `{argument}` must be of dtype {wanted}, got {dtype}"
            raise ColumnError(msg)
        values[name] = structs.restored(value, dtype, wanted)
    if "size" not in values and existing and {"width", "height"} <= {*existing.properties}:
        values["size"] = existing.field("width").cast(pl.Int64) * existing.field("height")
    if across is not None:
        values["side"] = _side(schema, argument, across)
    source = structs.find_locator(frame, existing, locator) if existing else locator
    values["locator"] = locators_as_text(schema, source)
    return values


def _known_values(
    against: object, into: str, column: str | None, across: str | None
) -> dict[str, pl.Expr]:
    """Return what is compared of the images that were there before, and their groups."""
    if not isinstance(against, pl.DataFrame | pl.LazyFrame):
        msg = f"`against` must be a polars DataFrame or LazyFrame, got {type(against).__name__}"
        raise TypeError(msg)
    schema = against.collect_schema()
    named = column if column in schema else None
    values = _values(against, "against", named, None, across)
    if schema.get(into) == DUPLICATE:
        values["known_group"] = structs.column(into).struct.field("group")
    return values


def _side(schema: Mapping[str, pl.DataType], argument: str, across: str) -> pl.Expr:
    """Return the values of the column `across` as text."""
    if across not in schema:
        msg = (
            f"`across` must name a column of `{argument}`, got {across!r}{hint(across, schema)}"
            f"\n\nColumns: {structs.listing(schema)}"
        )
        raise ColumnError(msg)
    if schema[across].is_nested() or schema[across] == pl.Binary:
        msg = (
            f"`across` must name a column of plain values, got {across!r}, which is of dtype"
            f" {schema[across]}"
        )
        raise ColumnError(msg)
    value = structs.column(across)
    if isinstance(schema[across], pl.Duration):  # has no text
        value = value.cast(pl.Int64)
    return value.cast(pl.String)


def _require_distance(distance: object) -> None:
    whole = isinstance(distance, int) and not isinstance(distance, bool)
    if distance is not None and not (whole and 0 <= distance <= _MOST_DISTANT):  # type: ignore[operator] # whole
        msg = (
            f"`distance` must be a whole number of bits from 0 to {_MOST_DISTANT}, or None for"
            f" exact copies only, got {distance!r}"
        )
        raise ValueError(msg)


def _require_comparable(compared: set[str], distance: int | None, *, both: bool) -> None:
    """Check that there are digests or, for a distance, hashes."""
    where = "the frame and `against`" if both else "the frame"
    if distance is not None and HASH not in compared:
        msg = (
            f"{where} must have {HASH!r} to compare images by a distance\n\nHint: extract it with"
            f" `add({HASH!r})`, or give `distance=None` for exact copies only"
        )
        raise PropertyError(msg)
    if distance is None and not compared - {HASH}:
        msg = (
            f"{where} must have {FILE!r} or {PIXELS!r} to find exact copies"
            "\n\nHint: extract them with `add('identity')`"
        )
        raise PropertyError(msg)


def _require_new(schema: Mapping[str, pl.DataType], into: object) -> None:
    """Check that the new column can have this name.

    Raises:
        ColumnError: If a column that is no result of an earlier call has it.
    """
    if not isinstance(into, str):
        msg = f"`into` must be the name of a column, got {into!r}"
        raise ColumnError(msg)
    if schema.get(into, DUPLICATE) != DUPLICATE:
        msg = (
            f"`into` must name a new column, got {into!r}, which exists and is no result of"
            " `duplicates`\n\nHint: choose another name with `into=`"
        )
        raise ColumnError(msg)
