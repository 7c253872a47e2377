"""Half-open ranges of values: how their edges are chosen, and how values are counted."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import Final, Self, TypeAlias

import polars as pl

Limits: TypeAlias = tuple[float, float]
"""The minimum and the maximum that values can have; infinite where there is none."""

_UNLIMITED: Final[Limits] = (-math.inf, math.inf)
# On a linear scale, values that span two orders of magnitude with a median far below the
# maximum would nearly all be in the first bin.
_LOG_SPAN: Final = 100
_LOG_SKEW: Final = 10
_LOG_RANGE: Final = (1e-9, 1e18)
_MINIMUM_WIDTH: Final = 1e-300
# The minimum range of the bins, relative to the values: beyond, edges lose their digits.
_RESOLUTION: Final = 1e-9
_NICE_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
_NICE_LOG_STEPS: Final = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Bins:
    """Neighbouring half-open ranges; the last one is closed.

    Attributes:
        edges: Where they start, and where the last one ends, ascending.
        log: Whether they are about equally wide on a logarithmic scale.
    """

    edges: tuple[float, ...]
    log: bool = False

    @classmethod
    def readable(
        cls, values: pl.Series, *, whole: bool = False, limits: Limits = _UNLIMITED, count: int = 30
    ) -> Self:
        """Choose bins around values, with edges of few digits.

        Args:
            values: Finite, of dtype Float64.
            whole: Whether they are integers, so that bins are at least 1 wide.
            limits: The range outside which there is no bin. Without a maximum, bins may be
                logarithmic.
            count: The approximate maximum number of bins.

        Examples:
            >>> Bins.readable(pl.Series([0.11, 0.32, 0.48]), count=4).edges
            (0.1, 0.2, 0.3, 0.4, 0.5)
            >>> Bins.readable(pl.Series([1.0, 1.0, 4.0]), whole=True).edges
            (1.0, 2.0, 3.0, 4.0, 5.0)
            >>> Bins.readable(pl.Series([1.0, 2.0, 1e4]), count=4)
            Bins(edges=(1.0, 10.0, 100.0, 1000.0, 10000.0), log=True)
        """
        lower, upper = limits
        minimum, middle, maximum = (
            value if isinstance(value, float) else None
            for value in (values.min(), values.median(), values.max())
        )
        if minimum is None or middle is None or maximum is None:
            minimum = lower if math.isfinite(lower) else 0.0
            maximum = upper if math.isfinite(upper) else minimum + 1
        elif (
            upper == math.inf
            and _LOG_RANGE[0] <= minimum
            and maximum <= _LOG_RANGE[1]
            and max(minimum * _LOG_SPAN, middle * _LOG_SKEW) <= maximum
        ):
            return cls(_log_edges(minimum, maximum, count, whole=whole), log=True)
        return cls(_linear_edges(minimum, maximum, count, whole=whole, limits=limits))

    @classmethod
    def equal_width(
        cls, values: pl.Series, count: int, *, whole: bool = False, limits: Limits = _UNLIMITED
    ) -> Self:
        """Cut the limits into bins that are equally wide between minimum and maximum.

        Args:
            values: Finite, of dtype Float64.
            count: The maximum number of bins.
            whole: Whether values are integers, so that edges are, too.
            limits: Where the first bin starts and the last one ends.

        Examples:
            >>> Bins.equal_width(pl.Series([0.1, 0.5, 0.9]), 4).edges
            (-inf, 0.3, 0.5, 0.7, inf)
        """
        if values.is_empty():
            return cls(limits)
        values = values.sort()
        minimum, maximum = values[0], values[-1]
        edges = [minimum + (maximum - minimum) * part / count for part in range(1, count)]
        rounding = ROUND_CEILING if whole else ROUND_HALF_EVEN
        rounded = _rounded(edges, minimum, maximum, rounding, whole=whole)
        return cls((limits[0], *rounded, limits[1]))

    @classmethod
    def quantiles(
        cls,
        values: pl.Series,
        fractions: Sequence[float],
        *,
        whole: bool = False,
        limits: Limits = _UNLIMITED,
    ) -> Self:
        """Cut the limits into bins at quantiles of values, otherwise as `equal_width`.

        Examples:
            >>> Bins.quantiles(pl.Series([0.1, 0.2, 0.4, 0.9]), [0.5]).edges
            (-inf, 0.4, inf)
        """
        if values.is_empty():
            return cls(limits)
        values = values.sort()
        edges = quantile_edges(values, fractions)
        # Rounded down, an edge stays above the next lower value.
        rounded = _rounded(edges, values[0], values[-1], ROUND_FLOOR, whole=whole)
        return cls((limits[0], *rounded, limits[1]))

    @property
    def table(self) -> pl.DataFrame:
        """A row for each bin: its number `bin`, from 0, `start` and `end`."""
        rows = [(number, *ends) for number, ends in enumerate(pairwise(self.edges))]
        schema = {"bin": pl.UInt32, "start": pl.Float64, "end": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def place(self, values: pl.Expr) -> pl.Expr:
        """Return the number of the bin of each value; null for null and NaN.

        Values outside the edges are in the first or the last bin. The expression is
        elementwise, so that it streams.

        Examples:
            >>> pl.select(Bins((0, 1, 2)).place(pl.lit(1.0))).item()
            1
        """
        values = values.cast(pl.Float64)
        reached = [(values >= edge).cast(pl.UInt32) for edge in self.edges[1:-1]]
        number = pl.sum_horizontal(reached or [pl.lit(0, pl.UInt32)])
        return pl.when(values.is_not_nan()).then(number)

    def count(self, values: pl.Series) -> list[int]:
        """Count the values of each bin."""
        places = values.to_frame("x").select(bin=self.place(pl.col("x")))
        return count_rows(places, self.table, ["bin"])["images"].to_list()


def count_rows(rows: pl.DataFrame, keys: pl.DataFrame, on: Sequence[str]) -> pl.DataFrame:
    """Return the keys with `images`: how many rows have each, which may be 0."""
    counted = rows.group_by(on).agg(images=pl.len().cast(pl.Int64))
    counts = keys.join(counted, on=on, how="left", maintain_order="left")
    return counts.with_columns(pl.col("images").fill_null(0))


def quantile_edges(values: pl.Series, fractions: Sequence[float]) -> list[float]:
    """Return distinct quantiles above the minimum, ascending.

    They are values themselves, so that bins never split equal values. Beside a value that many
    rows have, a bin could be left with few: one with less than a quarter of the rows that the
    narrowest was to have is joined to the smaller one beside it.

    Examples:
        >>> quantile_edges(pl.Series([1.0] * 48 + [1.3] * 4 + [1.4] * 48), [0.25, 0.5, 0.75])
        [1.4]
    """
    values = values.sort()
    found = {values.quantile(fraction, "higher") for fraction in fractions}
    edges = sorted(edge for edge in found if edge is not None and edge > values[0])
    fewest = len(values) * min(after - before for before, after in pairwise((0, *fractions, 1))) / 4
    starts = [0, *(int(values.search_sorted(edge)) for edge in edges), len(values)]
    while len(starts) > 2:  # noqa: PLR2004 - of one bin
        sizes = [end - start for start, end in pairwise(starts)]
        small = sizes.index(min(sizes))
        if sizes[small] >= fewest:
            break
        beside = sizes[small - 1 : small] + sizes[small + 1 : small + 2]
        joined = small if small and sizes[small - 1] == min(beside) else small + 1
        del starts[joined], edges[joined - 1]
    return edges


def _rounded(
    edges: Sequence[float], minimum: float, maximum: float, rounding: str, *, whole: bool
) -> list[float]:
    """Round edges to at most a hundredth of the narrower bin beside them."""
    inner = sorted({edge for edge in edges if minimum < edge <= maximum})
    points = [minimum, *inner, maximum]
    rounded = set()
    for before, edge, after in zip(points, inner, points[2:], strict=False):
        gap = min(side for side in (edge - before, after - edge) if side > 0)
        digit = math.floor(math.log10(gap)) - 2
        digit = max(digit, 0) if whole else digit
        rounded.add(float(Decimal(repr(edge)).quantize(Decimal(1).scaleb(digit), rounding)))
    return sorted(edge for edge in rounded if minimum < edge <= maximum)


def _linear_edges(
    minimum: float, maximum: float, count: int, *, whole: bool, limits: Limits
) -> tuple[float, ...]:
    # Divided first, as the difference of two floats may overflow.
    width = max(maximum / count - minimum / count, _MINIMUM_WIDTH)
    # A single value becomes one bin among empty ones, rather than a block.
    single = minimum == maximum
    width = max(width, max(abs(minimum), abs(maximum)) * (0.1 if single else _RESOLUTION) / count)
    width = max(width, float(whole or (single and minimum == 0)))
    digit = math.floor(math.log10(width))
    step = next(nice for nice in _NICE_STEPS if nice * 10.0**digit >= width * (1 - 1e-9))
    first, last = _quotient(minimum, step, digit), _quotient(maximum, step, digit)
    if single:
        first, last = first - 5, last + 6
    elif whole or _multiple(last, step, digit) < maximum:
        last += 1
    edges = sorted({_multiple(number, step, digit) for number in range(first, last + 1)})
    lower, upper = limits
    inside = [edge for edge in edges if lower <= edge <= upper]
    # The outermost values stay inside, also where edges were rounded or cut off.
    if not inside or inside[0] > minimum:
        inside.insert(0, lower if lower > -math.inf else minimum)
    if inside[-1] < maximum or len(inside) == 1:
        inside.append(upper if upper < math.inf else maximum)
    return tuple(inside)


def _quotient(value: float, step: float, digit: int) -> int:
    """Return how many whole steps are in a value, whatever the rounding error of either."""
    number = round(value / (step * 10.0**digit))
    return number if _multiple(number, step, digit) <= value else number - 1


def _multiple(number: int, step: float, digit: int) -> float:
    """Return a multiple of a step as the float that is nearest to its decimals."""
    multiple = float(f"{number * int(step)}e{digit}")
    return max(-sys.float_info.max, min(multiple, sys.float_info.max))


def _log_edges(minimum: float, maximum: float, count: int, *, whole: bool) -> tuple[float, ...]:
    width = (math.log10(maximum) - math.log10(minimum)) / count
    step = next((nice for nice in _NICE_LOG_STEPS if nice >= width), 1.0)
    first = math.floor(math.log10(minimum) / step)
    last = math.ceil(math.log10(maximum) / step)
    edges = {float(f"{10 ** (number * step):.2e}") for number in range(first - 1, last + 2)}
    edges = {float(math.ceil(edge)) for edge in edges} if whole else edges
    inside = sorted(edge for edge in edges if minimum < edge < maximum)
    start = max((edge for edge in edges if edge <= minimum), default=minimum)
    end = min((edge for edge in edges if edge >= maximum), default=maximum)
    return (start, *inside, end)
