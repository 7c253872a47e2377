"""The verb that gives a metric of each test case, and whether it differs from the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polars_imgmeta.analysis.intervals import Numbers, newcombe, wilson
from polars_imgmeta.column import structs
from polars_imgmeta.column.fields import Quantity, find_quantity
from polars_imgmeta.exceptions import ColumnError, hint, require_positive
from polars_imgmeta.typing import Frame

TOO_SMALL, LOWER, LIKE_REST, HIGHER = "too small", "lower", "no difference", "higher"
VERDICTS: Final = pl.Enum([TOO_SMALL, LOWER, LIKE_REST, HIGHER])

# Names that columns of the user hardly have.
_CASE, _METRIC, _PLACE, _DRAW = "=case", "=metric", "=place", "=draw"
# Rows that are drawn at once, to bound memory.
_MOST_DRAWN: Final = 1 << 20
# A single image drawn again and again does not vary.
_FEWEST_DRAWN: Final = 2
# The mean of more values than this is as good as normal, and drawn as such: at once.
_MOST_RESAMPLED: Final = 1_000


def evaluate_cases(
    frame: Frame,
    metric: str | pl.Expr,
    by: str = "test_case",
    *,
    confidence: float = 0.95,
    minimum: int = 30,
    resamples: int = 1_000,
    seed: int = 0,
    column: str | None = None,
) -> pl.DataFrame:
    """Give a metric of each test case with its confidence interval, and compare it to the rest.

    The metric decides which intervals are computed:

    - A Boolean for each image, such as `pl.col("label") == pl.col("prediction")`, or its mean:
      the share of true ones, with Wilson's score interval. That of the difference is Newcombe's.
    - A number for each image, such as `"iou"`: the mean, with a bootstrap interval.
    - One value for many images, such as `pl.col("error").median()`, with a bootstrap interval.

    The bootstrap draws as many images of each case, with replacement, `resamples` times; an
    interval lies between two quantiles of the results. The mean of more than 1,000 images of a
    case is drawn from the normal distribution, which takes no longer for a million.

    Args:
        frame: The frame. Of a lazy one, the columns that are needed are collected.
        metric: The name of a property or column, or an expression. Images without a value, or
            with NaN, are not rated.
        by: The column of the cases: what `test_cases` made, or any other column, such as a
            label.
        confidence: The probability with which an interval contains the true value.
        minimum: The fewest rated images with which a case, and its rest, is judged.
        resamples: How often the bootstrap draws; its time is proportional.
        seed: What the draws follow from: with the same, results are the same.
        column: The auto-extracted column that has the property; may be left out where there is
            one.

    Returns:
        A row for each case that has images, in the order of the cases:

        - the case, in a column named as `by`
        - `images` and `share`: how many images it has, and which fraction of all these are
        - `rated`: how many of them have a value of the metric
        - `value`, `low`, `high`: the metric and its interval
        - `difference`, `difference_low`, `difference_high`: how much the metric is above that
          of all other cases together
        - `verdict`: `"lower"` or `"higher"` than the rest if all of the interval of the
          difference is, `"no difference"` if the interval contains 0, or `"too small"`

    Raises:
        ColumnError: If `by` or `metric` names no column, if the metric is not numeric, or if `by`
            has the name of another column of the result.
        ValueError: If `confidence` is not between 0 and 1, or if another number is not positive.

    Examples:
        >>> df = pl.DataFrame({"light": ["day"] * 60 + ["night"] * 40, "score": range(100)})
        >>> cases = im.evaluate_cases(df, pl.col("score") < 76, "light")
        >>> cases.select("light", "images", pl.col("value", "low", "high").round(2), "verdict")
        shape: (2, 6)
        ┌───────┬────────┬───────┬──────┬──────┬─────────┐
        │ light ┆ images ┆ value ┆ low  ┆ high ┆ verdict │
        │ ---   ┆ ---    ┆ ---   ┆ ---  ┆ ---  ┆ ---     │
        │ str   ┆ i64    ┆ f64   ┆ f64  ┆ f64  ┆ enum    │
        ╞═══════╪════════╪═══════╪══════╪══════╪═════════╡
        │ day   ┆ 60     ┆ 1.0   ┆ 0.94 ┆ 1.0  ┆ higher  │
        │ night ┆ 40     ┆ 0.4   ┆ 0.26 ┆ 0.55 ┆ lower   │
        └───────┴────────┴───────┴──────┴──────┴─────────┘
    """
    schema = structs.schema_of(frame)
    _require_options(confidence, minimum=minimum, resamples=resamples)
    _require_case(schema, by)
    needed = [pl.all()]
    if isinstance(metric, str):
        values = find_metric(schema, metric, column).values
        needed, metric = [values.alias(_METRIC)], pl.col(_METRIC)
    elif not isinstance(metric, pl.Expr):
        msg = f"`metric` must be the name of a property or column, or an expression, got {metric!r}"
        raise ColumnError(msg)
    elif not metric.meta.has_multiple_outputs():  # as selectors have
        needed = [structs.column(name) for name in dict.fromkeys(metric.meta.root_names())]
    rows = frame.lazy().select(structs.column(by).alias(_CASE), *needed)
    table, found = _evaluate(rows.collect(engine="streaming"), metric, confidence, resamples, seed)
    judged = (pl.col("rated") >= minimum) & (pl.sum("rated") - pl.col("rated") >= minimum)
    verdict = (
        pl.when(~judged)
        .then(pl.lit(TOO_SMALL))
        .when(pl.col("difference_low") > 0)
        .then(pl.lit(HIGHER))
        .when(pl.col("difference_high") < 0)
        .then(pl.lit(LOWER))
        .otherwise(pl.lit(LIKE_REST))
    )
    numbers = pl.DataFrame(found._asdict()).fill_nan(None)
    table = pl.concat([table, numbers], how="horizontal")
    return table.with_columns(verdict=verdict.cast(VERDICTS)).rename({_CASE: by})


def find_metric(schema: Mapping[str, pl.DataType], metric: object, column: str | None) -> Quantity:
    """Resolve the name of a metric: a property or a column of numbers or Booleans.

    Raises:
        ColumnError: If it is neither, ambiguous, or of another dtype.
    """
    quantity = find_quantity(schema, metric, column, argument="metric")
    _require_rating(quantity.dtype)
    return quantity


class _Found(NamedTuple):
    """The metric of each case, its difference to that of the rest, and their intervals."""

    value: Numbers
    low: Numbers
    high: Numbers
    difference: Numbers
    difference_low: Numbers
    difference_high: Numbers


def _evaluate(
    rows: pl.DataFrame, metric: pl.Expr, confidence: float, resamples: int, seed: int
) -> tuple[pl.DataFrame, _Found]:
    """Return the cases with the numbers of their images, and what the metric says of each."""
    metric, values = _values_of(rows, metric)
    each = len(values) == len(rows)
    if each:
        numbers = values.cast(pl.Float64).fill_nan(None)
        rows = rows.select(_CASE, numbers.alias(_METRIC))
    rated = pl.col(_METRIC).count() if each else pl.len()
    table = rows.group_by(_CASE).agg(images=pl.len().cast(pl.Int64), rated=rated.cast(pl.Int64))
    table = table.sort(_CASE, nulls_last=True).with_columns(
        share=pl.col("images") / pl.sum("images")
    )
    table = table.select(_CASE, "images", "share", "rated")
    places = table.select(_CASE, pl.int_range(pl.len()).alias(_PLACE))
    rows = rows.join(places, on=_CASE, nulls_equal=True).drop(_CASE)
    counts = table["rated"].to_numpy().astype(np.float64)
    if not each:
        plain = [name for name, dtype in rows.schema.items() if not dtype.is_nested()]
        rows = rows.sort(_PLACE, *plain)
        drawn = _draw_aggregates(rows, metric, counts, resamples, seed)
        return table, _bootstrap(*drawn, counts, confidence)
    rows = rows.drop_nulls(_METRIC).sort(_PLACE, _METRIC)
    if values.dtype == pl.Boolean:
        successes = np.bincount(rows[_PLACE], rows[_METRIC], minlength=len(table))
        return table, _proportions(successes.astype(np.float64), counts, confidence)
    drawn = _draw_means(rows[_METRIC].to_numpy(), counts, resamples, seed)
    return table, _bootstrap(*drawn, counts, confidence)


def _values_of(rows: pl.DataFrame, metric: pl.Expr) -> tuple[pl.Expr, pl.Series]:
    """Return a metric and its values: one for each row, or one for all.

    A mean of values is replaced by these, which say more.
    """
    inputs = metric.meta.undo_aliases().meta.pop()
    if len(inputs) == 1 and metric.meta.undo_aliases().meta.eq(inputs[0].mean()):
        metric = inputs[0]
    values = rows.select(metric.alias(_METRIC)).to_series()
    _require_rating(values.dtype)
    if len(values) not in {1, len(rows)}:
        msg = (
            "`metric` must be one value for each image, or one for all, got"
            f" {len(values)} values for {len(rows)} images"
        )
        raise ColumnError(msg)
    return metric, values


def _proportions(successes: Numbers, counts: Numbers, confidence: float) -> _Found:
    """Return shares of successes and their score intervals."""
    rest = (successes.sum() - successes, counts.sum() - counts)
    own_share, rest_share = _means(successes[np.newaxis], counts)
    return _Found(
        own_share[0],
        *wilson(successes, counts, confidence),
        (own_share - rest_share)[0],
        *newcombe(successes, counts, *rest, confidence),
    )


def _means(sums: Numbers, counts: Numbers) -> tuple[Numbers, Numbers]:
    """Return the mean of each case and of its rest, for each row of sums."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        rest = (sums.sum(axis=1, keepdims=True) - sums) / (counts.sum() - counts)
        return sums / counts, rest


def _places_drawn(sizes: NDArray[np.intp], resamples: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Draw rows again within each case, in blocks: a row of places for each time."""
    random = np.random.default_rng(seed)
    most = max(1, _MOST_DRAWN // max(1, sizes.sum()))
    starts = np.cumsum(sizes) - sizes
    for done in range(0, resamples, most):
        times = min(most, resamples - done)
        drawn = [
            start + random.integers(0, size, (times, size))
            for start, size in zip(starts, sizes, strict=True)
            if size
        ]
        yield np.concatenate(drawn, axis=1)


def _draw_means(
    values: Numbers, counts: Numbers, resamples: int, seed: int
) -> tuple[Numbers, Numbers]:
    """Return means of each case and its rest, as they are and as they are drawn.

    Values are sorted by case.
    """
    sizes = counts.astype(int)
    sums = _sums(values[np.newaxis], sizes)
    many = sizes > _MOST_RESAMPLED
    few_sizes = np.where(many, 0, sizes)
    few_values = values[np.repeat(~many, sizes)]
    blocks = _places_drawn(few_sizes, resamples, seed) if len(few_values) else ()
    drawn = [_sums(few_values[places], few_sizes) for places in blocks]
    sums_drawn = np.concatenate(drawn) if drawn else np.zeros((resamples, len(sizes)))
    with np.errstate(invalid="ignore", over="ignore"):  # as infinite values give
        means = np.repeat((sums[0] / np.maximum(counts, 1)), sizes)
        spreads = np.sqrt(_sums(np.square(values - means)[np.newaxis], sizes)[0])
        normal = np.random.default_rng((seed, 1)).standard_normal((resamples, int(many.sum())))
        sums_drawn[:, many] = sums[0, many] + spreads[many] * normal
    return _means(np.concatenate([sums, sums_drawn]), counts)


def _sums(rows: Numbers, sizes: NDArray[np.intp]) -> Numbers:
    """Return the sum of each case in each row of values, which are sorted by case."""
    sums = np.zeros((len(rows), len(sizes)))
    filled = sizes > 0
    if filled.any():
        starts = (np.cumsum(sizes) - sizes)[filled]
        with np.errstate(over="ignore", invalid="ignore"):  # such sums are infinite
            sums[:, filled] = np.add.reduceat(rows, starts, axis=1)
    return sums


def _draw_aggregates(
    rows: pl.DataFrame, metric: pl.Expr, counts: Numbers, resamples: int, seed: int
) -> tuple[Numbers, Numbers]:
    """Return a metric of each case and its rest, as it is and as it is drawn.

    Rows are sorted by case.
    """
    found = [_aggregate(rows.with_columns(pl.lit(0).alias(_DRAW)), metric, 1, len(counts))]
    sizes = counts.astype(int)
    for places in _places_drawn(sizes, resamples, seed) if len(rows) else ():
        draws = np.repeat(np.arange(len(places)), places.shape[1])
        drawn = rows[places.ravel()].with_columns(pl.Series(_DRAW, draws))
        found.append(_aggregate(drawn, metric, len(places), len(counts)))
    own, rest = zip(*found, strict=True)
    return np.concatenate(own), np.concatenate(rest)


def _aggregate(
    drawn: pl.DataFrame, metric: pl.Expr, draws: int, cases: int
) -> tuple[Numbers, Numbers]:
    """Return a metric of each case and of its rest, for each draw; NaN where it is null."""
    own, rest = (np.full((draws, cases), np.nan) for _ in range(2))
    value = metric.cast(pl.Float64).alias(_METRIC)
    for place in range(cases):
        for part, into in (
            (drawn.filter(pl.col(_PLACE) == place), own),
            (drawn.filter(pl.col(_PLACE) != place), rest),
        ):
            found = part.group_by(_DRAW).agg(value).drop_nulls()
            into[found[_DRAW].to_numpy(), place] = found[_METRIC].to_numpy()
    return own, rest


def _bootstrap(own: Numbers, rest: Numbers, counts: Numbers, confidence: float) -> _Found:
    """Return a metric and its intervals. The first row is the metric itself, others are draws."""
    few, few_others = counts < _FEWEST_DRAWN, counts.sum() - counts < _FEWEST_DRAWN
    difference = own - rest
    return _Found(
        own[0],
        *_between_quantiles(own[1:], confidence, few),
        difference[0],
        *_between_quantiles(difference[1:], confidence, few | few_others),
    )


def _between_quantiles(
    draws: Numbers, confidence: float, few: NDArray[np.bool_]
) -> tuple[Numbers, Numbers]:
    """Return the ends of the interval of each column; NaN without values or where too few."""
    low, high = np.full((2, draws.shape[1]), np.nan)
    tail = (1 - confidence) / 2
    for place in np.flatnonzero(~few):
        finite = draws[np.isfinite(draws[:, place]), place]
        if len(finite):
            low[place], high[place] = np.quantile(finite, (tail, 1 - tail))
    return low, high


def _require_rating(dtype: pl.DataType) -> None:
    if not (dtype.is_numeric() or dtype in {pl.Boolean, pl.Null}):
        msg = f"`metric` must be a number or a Boolean, got values of dtype {dtype}"
        raise ColumnError(msg)


def _require_options(confidence: object, **counts: object) -> None:
    if not (isinstance(confidence, float) and 0 < confidence < 1):
        msg = f"`confidence` must be between 0 and 1, such as 0.95, got {confidence!r}"
        raise ValueError(msg)
    for name, count in counts.items():
        require_positive(name, count)


def _require_case(schema: Mapping[str, pl.DataType], by: object) -> None:
    if not isinstance(by, str) or by not in schema:
        msg = (
            f"`by` must name the column of the cases, got {by!r}{hint(by, schema)}"
            "\n\nHint: make one with `test_cases`"
            f"\n\nColumns: {structs.listing(schema)}"
        )
        raise ColumnError(msg)
    if by in {"images", "share", "rated", "verdict", *_Found._fields}:
        msg = (
            f"`by` must not have the name of a column of the result, got {by!r}"
            "\n\nHint: rename the column"
        )
        raise ColumnError(msg)
