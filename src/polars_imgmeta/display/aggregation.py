"""What a chart shows: the rows it needs, collected once and counted by Polars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import polars as pl

from polars_imgmeta.column import structs
from polars_imgmeta.column.binning import Bins, bins_of
from polars_imgmeta.column.fields import Quantity
from polars_imgmeta.typing import Frame

_MOST_WORDS: Final = 20
_OTHERS: Final = "(others)"
_NONE: Final = "(none)"
_MOST_RANGES: Final = 5
_FEW: Final = 5
_DIGITS: Final = (3, 6, 9, 12, 15, 17)
# In milliseconds.
_TIMES: Final = ((86_400_000, "%Y-%m-%d"), (60_000, "%Y-%m-%d %H:%M"), (1, "%Y-%m-%d %H:%M:%S%.3f"))


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a chart.

    Attributes:
        quantity: What it shows.
        bins: The bins of numbers and times, where they are binned.
        words: The words in order, where it shows words.
    """

    quantity: Quantity
    bins: Bins | None = None
    words: tuple[str, ...] = ()

    @property
    def unit(self) -> str | None:
        """The unit, where it is known."""
        return self.quantity.row.unit if self.quantity.row else None

    @property
    def title(self) -> str:
        """The name, with the unit."""
        return f"{self.quantity.name} ({self.unit})" if self.unit else self.quantity.name


def count(
    rows: pl.DataFrame, quantity: Quantity, groups: Sequence[str]
) -> tuple[pl.DataFrame, Axis]:
    """How many rows of each group are in each bin, with those that have none."""
    rows, axis = axis_of(rows.drop_nulls("x"), "x", quantity, most_bins=30)
    if axis.bins:
        table = axis.bins.table
        rows = rows.with_columns(bin=axis.bins.place(rows["x"]))
    else:
        table = pl.DataFrame({"bin": axis.words}, schema={"bin": pl.String})
        rows = rows.rename({"x": "bin"})
    every = pl.DataFrame({"group": groups}).join(table, how="cross")
    counted = rows.group_by("bin", "group").agg(images=pl.len().cast(pl.Int64))
    counts = every.join(counted, on=["bin", "group"], how="left", maintain_order="left")
    images = pl.col("images").fill_null(0)
    share = (images / images.sum().over("group")).fill_nan(0)
    counts = counts.with_columns(images=images, share=share)
    return spell_times(counts, {"start": axis, "end": axis}), axis


def in_common(counts: pl.DataFrame) -> list[str]:
    """Which part two distributions share, as drawn."""
    common = counts.group_by("bin").agg(pl.col("share").min())["share"].sum()
    return [f"{common:.0%} in common"]


def greatest(values: pl.Series) -> float:
    """The greatest number, or 0 without any."""
    most = values.max()
    return float(most) if isinstance(most, int | float) else 0


def whole_ticks(images: pl.Series, first: int) -> dict[str, Any]:
    """An option for ticks of few images, between which Vega would put halves."""
    most = int(greatest(images))
    return {"values": list(range(first, most + 1))} if 0 < most <= _FEW else {}


def count_cells(rows: pl.DataFrame, x: Axis, y: Axis) -> pl.DataFrame:
    """A row for each pair of bins that has any: how many, and the first of them."""
    for key, axis in (("x", x), ("y", y)):
        if axis.bins:
            table = axis.bins.table.rename({"start": f"{key}_start", "end": f"{key}_end"})
            rows = rows.with_columns(bin=axis.bins.place(rows[key]))
            rows = rows.join(table, on="bin", how="left").drop("bin", key)
            rows = rows.rename({f"{key}_start": key})
    keys = [name for name in ("x", "x_end", "y", "y_end") if name in rows.columns]
    cells = rows.group_by(keys).agg(
        pl.len().cast(pl.Int64).alias("images"),
        *(pl.col(name).mean() for name in ("color",) if name in rows.columns),
        *(pl.col(name).first() for name in ("locator",) if name in rows.columns),
    )
    axes = {"x": x, "x_end": x, "y": y, "y_end": y}
    return spell_times(cells.sort(keys), {key: axes[key] for key in keys})


def collect(
    frame: Frame, quantities: Mapping[str, Quantity], source: str | None
) -> tuple[pl.DataFrame, list[str]]:
    """Return what is drawn, under our names, and what was left out."""
    values = {key: _expression(quantity) for key, quantity in quantities.items()}
    holders = {quantity.column for quantity in quantities.values() if quantity.column}
    failed = [pl.col(holder).struct.field(structs.ERROR).is_not_null() for holder in holders]
    if source:
        values["locator"] = pl.col(source)
    plan = frame.lazy().select(
        **values, failed=pl.any_horizontal(failed) if failed else pl.lit(value=False)
    )
    rows = plan.collect(engine="streaming")
    good = rows.filter(~pl.col("failed")).drop("failed")
    placed = [key for key in ("x", "y") if key in quantities]
    missing = (
        pl.any_horizontal(pl.col(placed).is_null())
        if placed
        else (pl.all_horizontal(pl.exclude("group").is_null()))
    )
    drawn = good.filter(~missing)
    counts = {"with an error": len(rows) - len(good), "without a value": len(good) - len(drawn)}
    told = ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)
    return drawn, [f"left out: {told}"] if told else []


def _expression(quantity: Quantity) -> pl.Expr:
    """Numbers as finite floats, times as milliseconds since 1970, words as text."""
    if quantity.kind == "number":
        values = quantity.values.cast(pl.Float64)
        return pl.when(values.is_finite()).then(values)
    if quantity.kind == "time":
        return quantity.values.cast(pl.Datetime("ms")).dt.epoch("ms").cast(pl.Float64)
    return quantity.values.cast(pl.String)


def axis_of(
    rows: pl.DataFrame, key: str, quantity: Quantity, *, most_bins: int
) -> tuple[pl.DataFrame, Axis]:
    """Choose bins for a column of rows, or the words that are told apart in it."""
    if quantity.kind == "word":
        rows, words = tell_apart(rows, key, quantity, _MOST_WORDS)
        return rows, Axis(quantity, words=words)
    row = quantity.row
    limits = (row.minimum, row.maximum) if row else (None, None)
    whole = quantity.dtype.is_integer()
    return rows, Axis(quantity, bins_of(rows[key], whole=whole, limits=limits, count=most_bins))


def tell_apart(
    rows: pl.DataFrame, key: str, quantity: Quantity, most: int
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Tell apart the most frequent words: in the order of an Enum, or of frequency."""
    words = pl.col(key).fill_null(_NONE)
    counted = rows.group_by(words).len().sort("len", key, descending=[True, False])[key].to_list()
    kept = counted if len(counted) <= most else counted[: most - 1]
    if isinstance(quantity.dtype, pl.Enum):
        order = {word: place for place, word in enumerate(quantity.dtype.categories)}
        kept = sorted(kept, key=lambda word: order.get(word, len(order)))
    rest = [_OTHERS] if len(kept) < len(counted) else []
    told = pl.when(words.is_in(kept)).then(words).otherwise(pl.lit(_OTHERS)).alias(key)
    return rows.with_columns(told), (*kept, *rest)


def group(
    rows: pl.DataFrame, key: str, quantity: Quantity, most: int
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Make groups: the most frequent words, or ranges of numbers or times."""
    if quantity.kind == "word":
        return tell_apart(rows, key, quantity, most)
    return _cut(rows, key, quantity)


def _cut(rows: pl.DataFrame, key: str, quantity: Quantity) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Make words of numbers or times: each value, or ranges of about as many rows."""
    known = rows[key].drop_nulls()
    values = known.unique().sort()
    if len(values) <= _MOST_RANGES:
        edges = values[1:].to_list()
        _, names = _spelled(values.to_list(), quantity, values, exact=True)
    else:
        # Where most rows have the least value, the ranges are of what there is.
        spread = _quantiles(known, values) or _quantiles(values, values)
        edges, texts = _spelled(spread, quantity, values, exact=False)
        inner = [f"{start} to {end}" for start, end in pairwise(texts)]
        names = [f"below {texts[0]}", *inner, f"from {texts[-1]}"]
    places = pl.Series(edges, dtype=pl.Float64).search_sorted(rows[key], side="right")
    words = places.replace_strict(range(len(names)), names, default=_NONE, return_dtype=pl.String)
    missing = rows[key].is_null()
    rows = rows.with_columns(pl.when(missing).then(pl.lit(_NONE)).otherwise(words).alias(key))
    return rows, (*names, *([_NONE] if missing.any() else []))


def _quantiles(known: pl.Series, values: pl.Series) -> list[float]:
    """Where ranges of as many values begin, but for the first."""
    shares = (place / _MOST_RANGES for place in range(1, _MOST_RANGES))
    found = {known.quantile(share, "higher") for share in shares}
    return sorted(edge for edge in found if edge is not None and edge > values[0])


def _spelled(
    edges: Sequence[float], quantity: Quantity, values: pl.Series, *, exact: bool
) -> tuple[list[float], list[str]]:
    """Round numbers or times as far as they stay apart, and spell them."""
    rounded, texts = list(edges), [repr(edge) for edge in edges]
    for precision in _TIMES if quantity.kind == "time" else _DIGITS:
        if isinstance(precision, int):
            rounded = [float(f"{edge:.{precision}g}") for edge in edges]
            texts = [f"{edge:,.{max(precision, 15)}g}" for edge in rounded]
        else:
            step, form = precision
            rounded = [edge // step * step for edge in edges]
            times = pl.Series(rounded, dtype=pl.Float64).cast(pl.Int64).cast(pl.Datetime("ms"))
            texts = times.dt.to_string(form).to_list()
        same = 1e-6 if quantity.dtype.is_float() else 0
        if exact:
            true = all(
                math.isclose(*pair, rel_tol=same) for pair in zip(rounded, edges, strict=True)
            )
        else:
            # No range may have become empty.
            starts = pl.Series(rounded, dtype=pl.Float64)
            true = starts.search_sorted(values, side="right").n_unique() == len(edges) + 1
        if true and len(set(texts)) == len(edges):
            break
    return rounded, texts


def spell_times(rows: pl.DataFrame, axes: Mapping[str, Axis]) -> pl.DataFrame:
    """Put the text of each time beside it: browsers would shift it to their zone."""
    times = [key for key, axis in axes.items() if axis.quantity.kind == "time"]
    text = pl.col(times).cast(pl.Int64).cast(pl.Datetime("ms")).dt.to_string("%Y-%m-%d %H:%M")
    return rows.with_columns(text.name.suffix("_text")) if times else rows
