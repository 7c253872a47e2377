"""Distances between two distributions, of values or of summaries of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta.analysis.overlaps import Overlap

_BINS: Final = 10
# Added to each count, so that an empty bin has a logarithm.
_PSEUDOCOUNT = 0.5
_TERMS = 100


@dataclass(frozen=True, slots=True)
class Distribution:
    """How often each value occurs.

    Attributes:
        points: The values, ascending and distinct.
        counts: How often each occurs.
        ends: The largest value that each stands for, in a summary.
    """

    points: NDArray[np.float64]
    counts: NDArray[np.int64]
    ends: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Self:
        """Count finite values."""
        points, counts = np.unique(values, return_counts=True)
        return cls(points, counts.astype(np.int64), points)

    @property
    def size(self) -> int:
        """The number of values."""
        return int(self.counts.sum())

    def quantile(self, part: float) -> float:
        """Return the smallest value that at least this part of the values do not exceed."""
        cumulated = np.cumsum(self.counts)
        place = np.searchsorted(cumulated, part * cumulated[-1] * (1 - 1e-12))
        return float(self.points[min(int(place), len(self.points) - 1)])


@dataclass(frozen=True, slots=True)
class Distance:
    """The distances between two distributions.

    Attributes:
        ks: The statistic of Kolmogorov and Smirnov: the largest difference of the two
            cumulative distributions, 0 to 1.
        p: How likely chance alone gives as large a statistic.
        wasserstein: The mean distance by which values have to move, in their unit.
        psi: The population stability index over tenths of both together.
        psi_by_chance: The expected index of two random samples of these sizes.
        overlap: The part that both have in common, over the same tenths.
        overlap_by_chance: The expected overlap of two random samples of these sizes from both
            together.
        start: The lower end of the tenth in which shares differ most, not included; minus
            infinity for the lowest one.
        end: Its upper end; included.
        share_a: The share of the first distribution in it.
        share_b: The share of the second distribution in it.
    """

    ks: float
    p: float
    wasserstein: float
    psi: float
    psi_by_chance: float
    overlap: float
    overlap_by_chance: float
    start: float
    end: float
    share_a: float
    share_b: float


def distance(a: Distribution, b: Distribution) -> Distance:
    """Compare two distributions of at least one value each.

    Source:
        N. Smirnov, "Table for Estimating the Goodness of Fit of Empirical Distributions",
        Annals of Mathematical Statistics 19, 1948 (`ks`); M. A. Stephens, "Use of the
        Kolmogorov-Smirnov, Cramer-Von Mises and Related Statistics Without Extensive Tables",
        Journal of the Royal Statistical Society B 32, 1970 (`p`); N. Siddiqi, "Credit Risk
        Scorecards", Wiley, 2006 (`psi`); B. Yurdakul, "Statistical Properties of Population
        Stability Index", Western Michigan University, 2018 (`psi_by_chance`).

    Examples:
        >>> ones, twos = (Distribution.of(np.full(4, value)) for value in (1.0, 2.0))
        >>> distance(ones, twos).wasserstein
        1.0
    """
    points, places = np.unique(np.append(a.points, b.points), return_index=True)
    ends = np.append(a.ends, b.ends)[places]
    counts_a, counts_b = _spread(a, points), _spread(b, points)
    below_a, below_b = np.cumsum(counts_a) / a.size, np.cumsum(counts_b) / b.size
    gaps = np.abs(below_a - below_b)
    ks = float(gaps.max())
    lasts = _tenths(counts_a + counts_b)
    shares_a, shares_b = _shares(below_a, lasts), _shares(below_b, lasts)
    most = _most_different(shares_a, shares_b)
    common = Overlap.of(shares_a * a.size, shares_b * b.size)
    return Distance(
        ks=ks,
        p=_chance_of(ks, a.size, b.size),
        wasserstein=float((gaps[:-1] * np.diff(points)).sum()),
        psi=_stability(shares_a * a.size, shares_b * b.size),
        psi_by_chance=(len(lasts) - 1) * (1 / a.size + 1 / b.size),
        overlap=common.share,
        overlap_by_chance=common.by_chance,
        start=float(ends[lasts[most - 1]]) if most else -math.inf,
        end=float(ends[lasts[most]]),
        share_a=float(shares_a[most]),
        share_b=float(shares_b[most]),
    )


def overlap(a: Distribution, b: Distribution) -> Overlap:
    """Return what two distributions of at least one value each have in common, over tenths."""
    points = np.union1d(a.points, b.points)
    counts = [_spread(one, points) for one in (a, b)]
    lasts = _tenths(counts[0] + counts[1])
    in_tenths = [np.diff(np.cumsum(one)[lasts], prepend=0) for one in counts]
    return Overlap.of(in_tenths[0], in_tenths[1])


def _spread(one: Distribution, points: NDArray[np.float64]) -> NDArray[np.int64]:
    counts = np.zeros(len(points), np.int64)
    counts[np.searchsorted(points, one.points)] = one.counts
    return counts


def _tenths(counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the last place of each tenth; fewer where values are equal."""
    cumulated = np.cumsum(counts)
    wanted = np.arange(1, _BINS) * (cumulated[-1] / _BINS)
    return np.unique(np.append(np.searchsorted(cumulated, wanted), len(counts) - 1))


def _shares(below: NDArray[np.float64], lasts: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.diff(below[lasts], prepend=0.0)


def _most_different(shares_a: NDArray[np.float64], shares_b: NDArray[np.float64]) -> int:
    """Return the tenth of the largest difference; of equal ones that of the largest ratio."""
    differences = np.abs(shares_a - shares_b)
    ratios = differences / np.maximum(shares_a + shares_b, 1e-300)
    return int(np.lexsort((ratios, differences.round(12)))[-1])


def _chance_of(ks: float, size_a: int, size_b: int) -> float:
    """Return the probability of at least this statistic, by its asymptotic distribution."""
    root = math.sqrt(size_a * size_b / (size_a + size_b))
    scaled = (root + 0.12 + 0.11 / root) * ks
    if scaled < 0.2:  # noqa: PLR2004 - below, the series needs more terms to be 1
        return 1.0
    terms = [math.exp(-2 * (k * scaled) ** 2) for k in range(1, _TERMS)]
    return min(1.0, max(0.0, 2 * (sum(terms[::2]) - sum(terms[1::2]))))


def _stability(counts_a: NDArray[np.float64], counts_b: NDArray[np.float64]) -> float:
    parts = []
    for counts in (counts_a, counts_b):
        smoothed = counts + _PSEUDOCOUNT
        parts.append(smoothed / smoothed.sum())
    return float(((parts[0] - parts[1]) * np.log(parts[0] / parts[1])).sum())
