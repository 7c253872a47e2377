"""Bins that read well, and how many values are in each."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import polars as pl

# Values that span two orders of magnitude, with the middle one far below the
# greatest, would all be in the first bin of a linear scale.
_LOG_SPAN: Final = 100
_LOG_SKEW: Final = 10
_LOG_RANGE: Final = (1e-9, 1e18)
_TINIEST: Final = 1e-300
_NICE_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
_NICE_LOG_STEPS: Final = (0.05, 0.1, 0.2, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Bins:
    """Neighbouring half-open ranges; the last one has its end as well.

    Attributes:
        edges: Where they begin, and where the last one ends, rising.
        log: Whether they are about equally wide on a logarithmic scale.
    """

    edges: tuple[float, ...]
    log: bool = False

    @property
    def table(self) -> pl.DataFrame:
        """A row for each bin: `bin`, from 0, `start` and `end`."""
        rows = [(place, *ends) for place, ends in enumerate(pairwise(self.edges))]
        schema = {"bin": pl.UInt32, "start": pl.Float64, "end": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def place(self, values: pl.Series) -> pl.Series:
        """Return the bin of each value, all of which must be within the edges.

        Examples:
            >>> Bins((0, 1, 2)).place(pl.Series([0.0, 1.0, 2.0])).to_list()
            [0, 1, 1]
        """
        inner = pl.Series(self.edges[1:-1], dtype=pl.Float64)
        return inner.search_sorted(values, side="right").cast(pl.UInt32)


def bins_of(
    values: pl.Series,
    *,
    whole: bool = False,
    limits: tuple[float | None, float | None] = (None, None),
    count: int = 30,
) -> Bins:
    """Choose bins for values, with edges of few digits.

    Args:
        values: Finite, of dtype Float64.
        whole: Whether they are whole numbers, so that narrower bins are pointless.
        limits: The least and the greatest value that is possible; logarithmic
            bins are for values without a greatest.
        count: About how many bins at most.

    Examples:
        >>> bins_of(pl.Series([0.11, 0.32, 0.48]), count=4).edges
        (0.1, 0.2, 0.3, 0.4, 0.5)
        >>> bins_of(pl.Series([1.0, 1.0, 4.0]), whole=True).edges
        (1.0, 2.0, 3.0, 4.0, 5.0)
        >>> bins_of(pl.Series([1.0, 2.0, 1e4]), count=4)
        Bins(edges=(1.0, 10.0, 100.0, 1000.0, 10000.0), log=True)
    """
    found = (values.min(), values.median(), values.max())
    least, middle, most = (_number(value) for value in found)
    if least is None or middle is None or most is None:
        lower, upper = limits
        least = lower or 0.0
        most = upper or least + 1
    elif (
        limits[1] is None
        and _LOG_RANGE[0] <= least
        and most <= _LOG_RANGE[1]
        and max(least * _LOG_SPAN, middle * _LOG_SKEW) <= most
    ):
        return Bins(_log_edges(least, most, count, whole=whole), log=True)
    return Bins(_edges(least, most, count, whole=whole, limits=limits))


def _number(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _edges(
    least: float,
    most: float,
    count: int,
    *,
    whole: bool,
    limits: tuple[float | None, float | None],
) -> tuple[float, ...]:
    # Neither overflows nor vanishes, whatever the values.
    width = max(most / count - least / count, _TINIEST)
    # A single value becomes one bin among empty ones, rather than a block.
    single = least == most
    width = max(width, max(abs(least), abs(most)) * (0.1 if single else 1e-3) / count)
    width = max(width, float(whole or (single and least == 0)))
    digit = math.floor(math.log10(width))
    step = next(nice for nice in _NICE_STEPS if nice * 10.0**digit >= width * (1 - 1e-9))
    first, last = _quotient(least, step, digit), _quotient(most, step, digit)
    if single:
        first, last = first - 5, last + 6
    elif whole or last * step * 10.0**digit < most:
        last += 1
    edges = sorted({_multiple(place, step, digit) for place in range(first, last + 1)})
    lower, upper = limits
    inside = [e for e in edges if (lower is None or e >= lower) and (upper is None or e <= upper)]
    # Rounding must not leave the outermost values outside.
    if not inside or inside[0] > least:
        inside.insert(0, least if lower is None else lower)
    if inside[-1] < most or len(inside) == 1:
        inside.append(most if upper is None else upper)
    return tuple(inside)


def _quotient(value: float, step: float, digit: int) -> int:
    """How often a step goes into a value, not misled by the last digit of either."""
    place = round(value / (step * 10.0**digit))
    return place if _multiple(place, step, digit) <= value else place - 1


def _multiple(place: int, step: float, digit: int) -> float:
    """A multiple of a step, as the float that its decimals spell."""
    multiple = float(f"{place * int(step)}e{digit}")
    return max(-sys.float_info.max, min(multiple, sys.float_info.max))


def _log_edges(least: float, most: float, count: int, *, whole: bool) -> tuple[float, ...]:
    width = (math.log10(most) - math.log10(least)) / count
    step = next((nice for nice in _NICE_LOG_STEPS if nice >= width), 1.0)
    first = math.floor(math.log10(least) / step)
    last = math.ceil(math.log10(most) / step)
    edges = {float(f"{10 ** (place * step):.2e}") for place in range(first - 1, last + 2)}
    edges = {float(math.ceil(edge)) for edge in edges} if whole else edges
    inside = sorted(edge for edge in edges if least < edge < most)
    start = max((edge for edge in edges if edge <= least), default=least)
    end = min((edge for edge in edges if edge >= most), default=most)
    return (start, *inside, end)
