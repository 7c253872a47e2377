"""The verb that draws charts of properties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final, Unpack

import polars as pl

from polars_imgmeta.column import structs
from polars_imgmeta.column.fields import Quantity, find_drawable, match_quantities
from polars_imgmeta.display import aggregation
from polars_imgmeta.display.aggregation import Axis, Layout
from polars_imgmeta.display.locator_lookup import LocatorLookup
from polars_imgmeta.display.thumbnails import add_examples, add_thumbnails
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.measuring.options import Reading, ReadOptions, takes
from polars_imgmeta.typing import Frame

if TYPE_CHECKING:
    # At run time it is imported on use, as it belongs to an extra.
    import altair as alt

_MOST_POINTS: Final = 5_000
_MOST_GROUPS: Final = 10


@takes(ReadOptions)
def plot(
    frame: Frame,
    x: str | Iterable[str] | None = None,
    y: str | None = None,
    *,
    color: str | None = None,
    against: Frame | None = None,
    names: tuple[str, str] = ("this", "other"),
    title: str | None = None,
    width: int | None = None,
    columns: int = 3,
    pictures: int = 300,
    column: str | None = None,
    locator: str | None = None,
    **options: Unpack[ReadOptions],
) -> alt.Chart | alt.LayerChart | alt.ConcatChart:
    """Draw properties: distributions, one against another, or two data sets.

    The arguments decide what is drawn:

    - only the frame: the distribution of every property
    - `x`: the distribution of one property or column, or of several
    - `x` and `y`: a point for each image, whose picture is shown on hover; for more
      than 5,000 images, a heat map of their number
    - `against`: overlaid distributions of two data sets, as fractions of each
    - `color`: a third property or column that colours points, or whose groups have a
      distribution each; more than four groups have a plot each

    Each bin, cell or point shows a picture on hover: the most extreme ones first, where there
    are more than `pictures`. Polars bins and aggregates, so that charts stay small however
    large the frame is. Rows with an error, rows without a value, and groups of fewer than 10
    images beside larger ones are left out; the title counts them. Auto-extracted properties
    are purple.

    Args:
        frame: The frame. Of a lazy one, the values that are drawn are collected once,
            and then, by a second run of the plan, the locators that are shown; where that
            would read all images again, paths are collected with the values.
        x: A property or a column of your own: numbers, times or words. Of words,
            the 20 most frequent are shown.
        y: A second one.
        color: A third one. Of words, the 9 most frequent are shown, and the others
            as one. Groups of numbers or times are up to 5 ranges of about as many
            rows each. A heat map shows the mean of numbers; with words, points of a
            random sample of 5,000 rows, always the same, are drawn instead.
        against: Another frame to compare distributions with: of `x`, or else of the
            properties that both frames have.
        names: The names of the frame and of the other one.
        title: A title, above the number of images.
        width: The width of each plot in pixels.
        columns: How many plots are beside each other.
        pictures: The maximum number of pictures in a chart. The most extreme points, or the
            outermost bins, have theirs first. They take about 3 kB each.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column, where the one on record was renamed.
        options: See `ReadOptions`.

    Returns:
        An Altair chart, to be changed, joined and saved like any other.

    Raises:
        ImportError: If the extra `plot` is not installed.
        ColumnError: If a name is neither a property nor a column, or ambiguous.
        ValueError: If arguments exclude each other, or if `width` or `columns` is not a
            positive integer.

    Examples:
        >>> df = im.scan_images("photos").imgmeta.extract("path").collect()
        >>> chart = im.plot(df, "brightness", "sharpness")
        >>> chart.properties(width=300).to_dict()["title"]["text"]
        '9 images'
    """
    schema = structs.schema_of(frame)
    _require_compatible(x, y, color, against, names=names, pictures=pictures)
    layout = Layout(title, width, columns)
    try:
        import_module("altair")
    except ImportError as error:
        msg = f"`plot` needs the extra `plot`: pip install 'polars-imgmeta[plot]' ({error})"
        raise ImportError(msg) from error
    reading = Reading.of(ReadOptions, options)
    if y is not None:
        given = {"x": x, "y": y} if color is None else {"x": x, "y": y, "color": color}
        drawn = {key: find_drawable(schema, name, column, key) for key, name in given.items()}
        lookup, lacking = _find_pictures(frame, drawn, column, locator, pictures)
        rows, left_out = aggregation.collect(frame, drawn, lookup)
        lines = [*left_out, *lacking]
        return _relation(rows, drawn, lines, layout, lookup, pictures=pictures, reading=reading)
    every = x is None
    if x is None:
        chosen = structs.choose(schema, column)
        x, column = chosen.properties, chosen.name
    wanted = [x] if isinstance(x, str) else list(x)
    found = {
        f"v{number}": find_drawable(schema, name, column, "x") for number, name in enumerate(wanted)
    }
    if not found:
        msg = "`x` must name at least one property or column, got none"
        raise ColumnError(msg)
    find = partial(_find_pictures, column=column, locator=locator, pictures=pictures)
    draw = partial(
        _distributions, layout=layout, pictures=pictures, reading=reading, alone=isinstance(x, str)
    )
    if against is not None:
        others = against.collect_schema()
        found, matched, single = match_quantities(others, found, column, every=every)
        parts, lookups, lines = [], {}, []
        for name, part, quantities in zip(names, (frame, against), (found, matched), strict=True):
            lookups[name], _ = find(part, quantities)
            rows, left_out = _collect(part, quantities, lookups[name])
            parts.append(rows.with_columns(group=pl.lit(name)))
            lines.append(", ".join([f"{name}: {_count_images(len(rows))}", *left_out]))
        lines += [f"not in both: {', '.join(single)}"] if single else []
        text = " against ".join(names)
        return draw(pl.concat(parts), found, (text, lines), names, lookups, pair=names)
    groups = {} if color is None else {"group": find_drawable(schema, color, column, "color")}
    lookup, _ = find(frame, found)
    rows, lines = _collect(frame, {**found, **groups}, lookup)
    text = _count_images(len(rows))
    words: Sequence[str] = ()
    if groups:
        rows, axis = aggregation.group(rows, "group", groups["group"], _MOST_GROUPS)
        rows, words, small = aggregation.leave_out_small(rows, axis.words)
        lines = [*axis.cut, *small, *lines]
    return draw(rows, found, (text, lines), words, dict.fromkeys(words or [""], lookup))


def _collect(
    frame: Frame, quantities: Mapping[str, Quantity], lookup: LocatorLookup | None
) -> tuple[pl.DataFrame, list[str]]:
    """Collect the values, with keys of locators, or nulls without any."""
    rows, lines = aggregation.collect(frame, quantities, lookup)
    return rows if lookup else rows.with_columns(locator=pl.lit(None, pl.UInt64)), lines


def _distributions(
    rows: pl.DataFrame,
    found: dict[str, Quantity],
    heading: tuple[str, Sequence[str]],
    groups: Sequence[str],
    lookups: Mapping[str, LocatorLookup | None],
    *,
    layout: Layout,
    pictures: int,
    reading: Reading,
    alone: bool,
    pair: tuple[str, str] | None = None,
) -> alt.Chart | alt.LayerChart | alt.ConcatChart:
    """Draw distributions, with the pictures of their bins."""
    from polars_imgmeta.display import charts  # noqa: PLC0415 - Altair belongs to an extra

    counted, common = [], []
    for key, quantity in found.items():
        group = pl.col("group") if groups else pl.lit("")
        values = rows.select("locator", x=key, group=group)
        counts, axis = aggregation.count(values, quantity, groups or [""], merge=pair is not None)
        counted.append((counts, axis))
        common.append(aggregation.in_common(values, counts, quantity, pair) if pair else None)
    tables = add_examples([counts for counts, _ in counted], lookups, pictures, reading=reading)
    axes = [axis for _, axis in counted]
    drawn = [
        charts.distribution(
            counts, axis, groups, common=lines, heading=heading if alone else None, layout=layout
        )
        for counts, axis, lines in zip(tables, axes, common, strict=True)
    ]
    return charts.disarm(drawn[0] if alone else charts.grid(drawn, heading, layout))


def _relation(
    rows: pl.DataFrame,
    drawn: dict[str, Quantity],
    left_out: list[str],
    layout: Layout,
    lookup: LocatorLookup | None,
    *,
    pictures: int,
    reading: Reading,
) -> alt.Chart:
    """Draw points or, where they are too many, a heat map."""
    from polars_imgmeta.display import charts  # noqa: PLC0415 - Altair belongs to an extra

    text = _count_images(len(rows))
    rows, x = aggregation.axis_of(rows, "x", drawn["x"], most_bins=40)
    rows, y = aggregation.axis_of(rows, "y", drawn["y"], most_bins=40)
    color = Axis(drawn["color"]) if "color" in drawn else None
    if color and color.quantity.kind == "word":
        rows, color = aggregation.keep_frequent(rows, "color", color.quantity, _MOST_GROUPS)
    axes = {"x": x, "y": y} | ({"color": color} if color else {})
    cut = dict.fromkeys(line for axis in axes.values() for line in axis.cut)
    crowded = len(rows) > _MOST_POINTS or bool(x.words and y.words)
    heat = crowded and not (color and color.words)
    if heat:
        rows = aggregation.count_pairs(rows, x, y)
    else:
        if len(rows) > _MOST_POINTS:
            rows = rows.sample(_MOST_POINTS, seed=0)
            left_out = [f"a sample of {_MOST_POINTS:,} is drawn", *left_out]
        # The golden ratio spreads neighbours evenly.
        spread = pl.int_range(pl.len()) * 0.618_033_988_75 % 1
        rows = aggregation.format_times(rows.with_columns(spread=spread), {"x": x, "y": y})
    if lookup:
        numbers = [key for key, axis in axes.items() if not axis.words]
        chosen = aggregation.choose_pictured(rows, numbers, pictures)
        rows = add_thumbnails(rows, lookup, chosen, reading=reading)
    if heat:
        chart = charts.heat(rows, x, y, color, layout=layout)
    else:
        named = lookup.column if lookup else None
        chart = charts.points(rows, x, y, color, named=named, layout=layout)
    above = charts.title(*layout.head(text, [*cut, *left_out]))
    return charts.disarm(chart.properties(title=above))


def _find_pictures(
    frame: Frame,
    drawn: Mapping[str, Quantity],
    column: str | None,
    locator: str | None,
    pictures: int,
) -> tuple[LocatorLookup | None, list[str]]:
    """Return the locators, or the reason why the chart has no pictures."""
    if not pictures:
        return None, []
    source, lacking = _find_locator(frame, drawn, column, locator)
    return (LocatorLookup(frame, source) if source else None), lacking


def _find_locator(
    frame: Frame, drawn: Mapping[str, Quantity], column: str | None, locator: str | None
) -> tuple[str | None, list[str]]:
    """Return the locator column, or the reason why the chart has no pictures."""
    schema = structs.schema_of(frame)
    if locator is not None:
        structs.require_locator(schema, locator)
        return locator, []
    found = structs.find(schema)
    holders = [column, *(quantity.column for quantity in drawn.values()), *found]
    if not found:
        return None, []
    holder = found[next(holder for holder in holders if holder in found)]
    try:
        return structs.locator_of(frame, holder, None), []
    except ColumnError:
        # Charts are useful without pictures, too.
        name = holder.name.removesuffix(structs.SUFFIX)
        reason = f"is of dtype {schema[name]}" if name in schema else "is not in the frame"
        return None, [f"no pictures: the column {name!r} {reason}"]


def _count_images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _require_compatible(
    x: object, y: object, color: object, against: object, *, names: object, pictures: object
) -> None:
    """Check the arguments that need no schema, and which of them are combined."""
    if not isinstance(x, Iterable | None):
        msg = f"`x` must be the name of a property or column, or several names, got {x!s}"
        raise ColumnError(msg)
    if against is not None:
        structs.require_frame("against", against)
    if y is not None and not isinstance(x, str):
        msg = f"`x` must be the name of one property or column where `y` is given, got {x!r}"
        raise ValueError(msg)
    if against is not None and not (y is None and color is None):
        msg = "`against` compares distributions, and goes with neither `y` nor `color`"
        raise ValueError(msg)
    match names:
        case [str(first), str(second)] if first != second:
            pass
        case _:
            msg = f"`names` must be two different names, got {names!r}"
            raise ValueError(msg)
    if not isinstance(pictures, int) or isinstance(pictures, bool) or pictures < 0:
        msg = f"`pictures` must be a whole number from 0, got {pictures!r}"
        raise ValueError(msg)
