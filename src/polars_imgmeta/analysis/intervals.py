"""Confidence intervals of proportions, and of differences between two of them."""

from __future__ import annotations

from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]


def wilson(successes: Numbers, counts: Numbers, confidence: float) -> tuple[Numbers, Numbers]:
    """Return the score interval of each proportion; NaN where the count is 0.

    Source:
        E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
        Journal of the American Statistical Association 22, 1927.

    Examples:
        >>> low, high = wilson(np.array([9.0]), np.array([10.0]), 0.95)
        >>> low.round(3), high.round(3)
        (array([0.596]), array([0.982]))
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (successes + z * z / 2) / (counts + z * z)
        variance = successes * (counts - successes) / counts + z * z / 4
        half = z * np.sqrt(variance) / (counts + z * z)
    return (centre - half).clip(0, 1), (centre + half).clip(0, 1)


def newcombe(
    successes: Numbers,
    counts: Numbers,
    other_successes: Numbers,
    other_counts: Numbers,
    confidence: float,
) -> tuple[Numbers, Numbers]:
    """Return the interval of the difference of each proportion and another, independent one.

    Source:
        R. G. Newcombe, "Interval estimation for the difference between independent
        proportions", Statistics in Medicine 17, 1998, method 10.

    Examples:
        >>> low, high = newcombe(*map(np.array, ([9.0], [10.0], [50.0], [100.0])), 0.95)
        >>> low.round(3), high.round(3)
        (array([0.081]), array([0.526]))
    """
    low, high = wilson(successes, counts, confidence)
    other_low, other_high = wilson(other_successes, other_counts, confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        share, other = successes / counts, other_successes / other_counts
    difference = share - other
    below = np.hypot(share - low, other_high - other)
    above = np.hypot(high - share, other - other_low)
    return difference - below, difference + above
