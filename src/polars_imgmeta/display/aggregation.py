"""The data of charts: rows are collected once, and binned and aggregated by Polars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import polars as pl
import polars.selectors as cs

from polars_imgmeta.analysis.distances import Distribution, overlap
from polars_imgmeta.analysis.overlaps import Overlap
from polars_imgmeta.column import structs
from polars_imgmeta.column.binning import Bins, count_rows, quantile_edges
from polars_imgmeta.column.fields import Quantity
from polars_imgmeta.display.locator_lookup import LocatorLookup
from polars_imgmeta.exceptions import require_positive
from polars_imgmeta.typing import Frame

_MOST_WORDS: Final = 20
# The distribution of fewer images says little.
_FEWEST: Final = 10
_OTHERS: Final = "(others)"
_NONE: Final = "(none)"
_MOST_RANGES: Final = 5
_FRACTIONS: Final = [part / _MOST_RANGES for part in range(1, _MOST_RANGES)]
_FEW: Final = 5
_DIGITS: Final = (3, 6, 9, 12, 15, 17)
# In milliseconds.
_TIMES: Final = ((86_400_000, "%Y-%m-%d"), (60_000, "%Y-%m-%d %H:%M"), (1, "%Y-%m-%d %H:%M:%S%.3f"))


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis or a colour scale: the bins of numbers or times, or the words in order."""

    quantity: Quantity
    bins: Bins | None = None
    words: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    """A line that says which words are not shown each for itself."""

    @property
    def unit(self) -> str | None:
        """The unit of a property."""
        return self.quantity.row.unit if self.quantity.row else None

    @property
    def title(self) -> str:
        """The name and the unit."""
        return f"{self.quantity.name} ({self.unit})" if self.unit else self.quantity.name


@dataclass(frozen=True, slots=True)
class Layout:
    """How a chart is arranged: its title, the width of each plot in pixels, and the columns."""

    title: str | None = None
    width: int | None = None
    columns: int = 3

    def __post_init__(self) -> None:
        if self.title is not None and not isinstance(self.title, str):
            msg = f"`title` must be a text, got {self.title!r}"
            raise ValueError(msg)
        if self.width is not None:
            require_positive("width", self.width)
        require_positive("columns", self.columns)

    def head(self, text: str, lines: Sequence[str]) -> tuple[str, list[str]]:
        """Return the heading and the lines below it."""
        return (text, list(lines)) if self.title is None else (self.title, [text, *lines])


def count(
    rows: pl.DataFrame, quantity: Quantity, groups: Sequence[str], *, merge: bool
) -> tuple[pl.DataFrame, Axis]:
    """Count the rows of each group and bin, which may be 0, with their fraction of the group.

    With keys of locators, each bin has that of its most extreme row, and its `depth`: 1 for
    the first and the last bin of a group with rows, 2 for those beside them, and so on.

    Args:
        rows: Of `x`, `group` and, for examples, `locator`.
        quantity: What `x` is.
        groups: The groups, in order.
        merge: Whether words that are less frequent are one bin, or left out.
    """
    known = rows.drop_nulls("x")
    totals = known.group_by("group").agg(total=pl.len())
    away = pl.lit(0) if quantity.kind == "word" else (pl.col("x") - pl.col("x").median()).abs()
    known = known.with_columns(away=away)
    rows, axis = axis_of(known, "x", quantity, most_bins=30, merge=merge)
    if axis.bins:
        table = axis.bins.table
        rows = rows.with_columns(bin=axis.bins.place(pl.col("x")))
    else:
        table = pl.DataFrame({"bin": axis.words}, schema={"bin": pl.String})
        rows = rows.rename({"x": "bin"})
    every = pl.DataFrame({"group": groups}).join(table, how="cross")
    on = ["bin", "group"]
    counts = count_rows(rows, every, on)
    counts = counts.join(totals, on="group", how="left", maintain_order="left")
    fraction = (pl.col("images") / pl.col("total")).fill_null(0)
    counts = counts.with_columns(fraction=fraction).drop("total")
    if "locator" in rows.columns:
        extreme = pl.col("locator").sort_by("away", descending=True, maintain_order=True).first()
        examples = rows.group_by(on, maintain_order=True).agg(extreme)
        counts = counts.join(examples, on=on, how="left", maintain_order="left")
        place = pl.when(pl.col("images") > 0).then(pl.int_range(pl.len()))
        ends = [place.rank(descending=last).over("group") for last in (False, True)]
        counts = counts.with_columns(depth=pl.min_horizontal(ends) if axis.bins else ends[0])
    return format_times(counts, {"start": axis, "end": axis}), axis


def choose_pictured(rows: pl.DataFrame, keys: Sequence[str], most: int) -> pl.Series:
    """Choose the rows that have pictures; half are the most extreme, the others spread evenly.

    Args:
        rows: The rows that are drawn.
        keys: The columns of numbers whose minimum and maximum are extreme.
        most: The maximum number of pictures.

    Examples:
        >>> choose_pictured(pl.DataFrame({"x": [5, 1, 4, 9, 6, 7, 3, 8]}), ["x"], 4).to_list()
        [True, True, False, True, False, True, False, False]
    """
    ranks = [pl.col(key).rank("ordinal", descending=last) for key in keys for last in (False, True)]
    depth = pl.min_horizontal(ranks or [pl.lit(None, pl.UInt32)]).rank("ordinal")
    extreme = rows.select((depth <= -(-most // 2)).fill_null(value=False)).to_series()
    if len(extreme) < len(rows):  # a literal
        extreme = pl.repeat(value=False, n=len(rows), eager=True)
    others = rows.select(place=pl.arg_where(~extreme))["place"]
    left = min(most - int(extreme.sum()), len(others))
    spread = others.gather([number * len(others) // left for number in range(left)])
    return extreme | pl.int_range(len(rows), eager=True).is_in(spread.implode())


def leave_out_small(
    rows: pl.DataFrame, groups: Sequence[str]
) -> tuple[pl.DataFrame, list[str], list[str]]:
    """Leave out groups whose distribution would say little, unless all are small.

    Returns:
        The other rows, their groups, and the line that says what is left out.
    """
    sizes = dict(rows.group_by("group").len().iter_rows())
    small = [name for name in groups if sizes.get(name, 0) < _FEWEST]
    if not small or len(small) == len(groups):
        return rows, list(groups), []
    few = ", ".join(f"{name} ({sizes.get(name, 0)})" for name in small)
    kept = [name for name in groups if name not in small]
    line = f"left out: groups of fewer than {_FEWEST} images: {few}"
    return rows.filter(pl.col("group").is_in(kept)), kept, [line]


def all_small(counts: pl.DataFrame) -> bool:
    """Return whether no group has enough images for fractions to mean much."""
    return maximum_of(counts.group_by("group").agg(pl.col("images").sum())["images"]) < _FEWEST


def in_common(
    rows: pl.DataFrame, counts: pl.DataFrame, quantity: Quantity, pair: tuple[str, str]
) -> list[str]:
    """Say what a pair of groups has in common, and would have by chance alone.

    It is what `compare` says: of numbers and times over tenths of both, whatever bins are drawn.

    Args:
        rows: Of `x` and `group`.
        counts: What `count` made of them.
        quantity: What `x` is.
        pair: The groups.

    Returns:
        A line, or none where a group has no values.
    """
    values = [rows.filter(pl.col("group") == name)["x"].drop_nulls() for name in pair]
    if not all(map(len, values)):
        return []
    if quantity.kind == "word":
        images = [counts.filter(pl.col("group") == name)["images"].to_numpy() for name in pair]
        common = Overlap.of(images[0], images[1])
    else:
        one, other = (Distribution.of(part.to_numpy()) for part in values)
        common = overlap(one, other)
    low, high = (f"{end:.0%}" for end in (common.low, common.high))
    chance = low if low == high else f"{low.removesuffix('%')} to {high}"
    return [f"{common.share:.0%} in common; chance alone: {chance}"]


def maximum_of(values: pl.Series) -> float:
    """Return the maximum, or 0 without values."""
    most = values.max()
    return float(most) if isinstance(most, int | float) else 0


def first_digit(value: float) -> float:
    """Round a positive number down to its first digit.

    Examples:
        >>> first_digit(0.37), first_digit(25)
        (0.3, 20.0)
    """
    digit = 10.0 ** math.floor(math.log10(value))
    return float(f"{value // digit * digit:.1g}")


def whole_ticks(images: pl.Series, first: int) -> dict[str, Any]:
    """Return an option for ticks of few images, as Vega would add ticks at halves."""
    most = int(maximum_of(images))
    return {"values": list(range(first, most + 1))} if 0 < most <= _FEW else {}


def count_pairs(rows: pl.DataFrame, x: Axis, y: Axis) -> pl.DataFrame:
    """Aggregate the rows of each pair of bins: their number and the first locator."""
    axes = {"x": x, "y": y}
    for key, axis in (("x", x), ("y", y)):
        if axis.bins:
            ends = axis.bins.table.rename({"start": key, "end": f"{key}_end"})
            rows = rows.with_columns(bin=axis.bins.place(pl.col(key))).drop(key)
            rows = rows.join(ends, on="bin", how="left").drop("bin")
            axes[f"{key}_end"] = axis
    keys = sorted(axes)
    pairs = rows.group_by(keys).agg(
        pl.len().cast(pl.Int64).alias("images"),
        cs.by_name("color", require_all=False).mean(),
        cs.by_name("locator", require_all=False).first(),
    )
    return format_times(pairs.sort(keys), axes)


def collect(
    frame: Frame, quantities: Mapping[str, Quantity], lookup: LocatorLookup | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """Collect the rows that are drawn, a column for each quantity, and say how many are not.

    With a lookup, `locator` has its keys, of one dtype whatever the frame.
    """
    values = {key: _drawable_values(quantity) for key, quantity in quantities.items()}
    holders = {quantity.column for quantity in quantities.values() if quantity.column}
    errors = [pl.col(holder).struct.field(structs.ERROR) for holder in holders]
    if lookup:
        values["locator"] = lookup.key.cast(pl.UInt64)
    failed = pl.any_horizontal(pl.lit(value=False), *(error.is_not_null() for error in errors))
    columns = [value.alias(key) for key, value in {**values, "failed": failed}.items()]
    if lookup:
        rows = lookup.collect(*columns)
    else:
        rows = frame.lazy().select(columns).collect(engine="streaming")
    good = rows.filter(~pl.col("failed")).drop("failed")
    if "x" in quantities:
        missing = pl.any_horizontal(cs.by_name("x", "y", require_all=False).is_null())
    else:
        missing = pl.all_horizontal(pl.exclude("group", "locator").is_null())
    drawn = good.filter(~missing)
    counts = {"with an error": len(rows) - len(good), "without a value": len(good) - len(drawn)}
    left_out = ", ".join(f"{number:,} {reason}" for reason, number in counts.items() if number)
    return drawn, [f"left out: {left_out}"] if left_out else []


def _drawable_values(quantity: Quantity) -> pl.Expr:
    """Return numbers as finite floats, times as milliseconds since 1970, words as text."""
    if quantity.kind == "number":
        values = quantity.values.cast(pl.Float64)
        return pl.when(values.is_finite()).then(values)
    if quantity.kind == "time":
        return quantity.values.cast(pl.Datetime("ms")).dt.epoch("ms").cast(pl.Float64)
    return quantity.values.cast(pl.String)


def axis_of(
    rows: pl.DataFrame, key: str, quantity: Quantity, *, most_bins: int, merge: bool = True
) -> tuple[pl.DataFrame, Axis]:
    """Choose bins for a column of rows, or its most frequent words."""
    if quantity.kind == "word":
        return keep_frequent(rows, key, quantity, _MOST_WORDS, merge=merge)
    whole, limits = quantity.dtype.is_integer(), quantity.limits
    bins = Bins.readable(rows[key], whole=whole, limits=limits, count=most_bins)
    return rows, Axis(quantity, bins)


def keep_frequent(
    rows: pl.DataFrame, key: str, quantity: Quantity, most: int, *, merge: bool = True
) -> tuple[pl.DataFrame, Axis]:
    """Keep the most frequent words, ordered as in their Enum or by frequency.

    The others are merged into one more word, or else left out.
    """
    words = pl.col(key).fill_null(_NONE)
    counted = rows.group_by(words).len().sort("len", key, descending=[True, False])[key].to_list()
    kept = counted if len(counted) <= most else counted[: most - merge]
    if isinstance(quantity.dtype, pl.Enum):
        order = {word: number for number, word in enumerate(quantity.dtype.categories)}
        kept = sorted(kept, key=lambda word: order.get(word, len(order)))
    if len(kept) == len(counted):
        return rows.with_columns(words), Axis(quantity, words=tuple(kept))
    frequent = words.is_in(kept)
    line = f"{quantity.name}: the {len(kept)} most frequent of {len(counted):,}"
    if merge:
        merged = pl.when(frequent).then(words).otherwise(pl.lit(_OTHERS)).alias(key)
        return rows.with_columns(merged), Axis(quantity, words=(*kept, _OTHERS), cut=(line,))
    shown = rows.with_columns(words).filter(pl.col(key).is_in(kept))
    line += f", {len(shown) / len(rows):.0%} of the images"
    return shown, Axis(quantity, words=tuple(kept), cut=(line,))


def group(rows: pl.DataFrame, key: str, quantity: Quantity, most: int) -> tuple[pl.DataFrame, Axis]:
    """Group rows by the most frequent words, or by ranges of about as many rows each."""
    if quantity.kind == "word":
        return keep_frequent(rows, key, quantity, most)
    known = rows[key].drop_nulls()
    values = known.unique().sort()
    if len(values) <= _MOST_RANGES:  # each value is a group
        edges = values[1:].to_list()
        _, names = _round_edges(values.to_list(), quantity, values, exact=True)
    else:
        # Where most rows have the minimum, the ranges are those of the distinct values.
        spread = quantile_edges(known, _FRACTIONS) or quantile_edges(values, _FRACTIONS)
        edges, texts = _round_edges(spread, quantity, values, exact=False)
        inner = [f"{start} to {end}" for start, end in pairwise(texts)]
        names = [f"below {texts[0]}", *inner, f"from {texts[-1]}"]
    number = Bins((-math.inf, *edges, math.inf)).place(pl.col(key))
    words = number.replace_strict(range(len(names)), names, default=_NONE, return_dtype=pl.String)
    missing = [_NONE] if rows[key].has_nulls() else []
    return rows.with_columns(words.alias(key)), Axis(quantity, words=(*names, *missing))


def _round_edges(
    edges: Sequence[float], quantity: Quantity, values: pl.Series, *, exact: bool
) -> tuple[list[float], list[str]]:
    """Round numbers or times as far as they stay distinct, and format them."""
    rounded, texts = list(edges), [repr(edge) for edge in edges]
    for precision in _TIMES if quantity.kind == "time" else _DIGITS:
        if isinstance(precision, int):
            rounded = [float(f"{edge:.{precision}g}") for edge in edges]
            texts = [f"{edge:,.{max(precision, 15)}g}" for edge in rounded]
        else:
            step, pattern = precision
            rounded = [edge // step * step for edge in edges]
            times = pl.Series(rounded, dtype=pl.Float64).cast(pl.Int64).cast(pl.Datetime("ms"))
            texts = times.dt.to_string(pattern).to_list()
        tolerance = 1e-6 if quantity.dtype.is_float() else 0
        if exact:
            enough = all(
                math.isclose(*pair, rel_tol=tolerance) for pair in zip(rounded, edges, strict=True)
            )
        else:
            # No range may become empty.
            enough = all(Bins((-math.inf, *rounded, math.inf)).count(values))
        if enough and len(set(texts)) == len(edges):
            break
    return rounded, texts


def format_times(rows: pl.DataFrame, axes: Mapping[str, Axis]) -> pl.DataFrame:
    """Add the text of each time, as browsers would convert it to their time zone."""
    times = [key for key, axis in axes.items() if axis.quantity.kind == "time"]
    text = pl.col(times).cast(pl.Int64).cast(pl.Datetime("ms")).dt.to_string("%Y-%m-%d %H:%M")
    return rows.with_columns(text.name.suffix("_text")) if times else rows
