"""What two distributions have in common, and what they would have by chance alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

_NORMAL_95: Final = 1.96


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two distributions over the same bins have in common.

    Attributes:
        share: The sum over the bins of the smaller one of both shares, 0 to 1.
        by_chance: Its mean for two random samples of these sizes from both together.
        low: The lower end of the range of about 95 % of such samples.
        high: Its upper end.
    """

    share: float
    by_chance: float
    low: float
    high: float

    @classmethod
    def of(cls, a: NDArray[Any], b: NDArray[Any]) -> Self:
        """Compare how many values are in each bin, of at least one value each.

        By chance, the differences of shares are approximately normal. Their variances and
        covariances are those of two multinomial samples, from which follow the mean and the
        variance of the sum of their absolute values.

        Examples:
            >>> found = Overlap.of(np.array([30, 10]), np.array([10, 30]))
            >>> found.share, round(found.by_chance, 2), round(found.low, 2)
            (0.5, 0.91, 0.78)
        """
        a, b = a[a + b > 0], b[a + b > 0]
        size_a, size_b = a.sum(), b.sum()
        shares = (a + b) / (size_a + size_b)
        scale = 1 / size_a + 1 / size_b
        covariances = scale * (np.diag(shares) - np.outer(shares, shares))
        deviations = np.sqrt(np.diag(covariances).clip(0))
        products = np.outer(deviations, deviations)
        related = np.divide(covariances, products, where=products > 0, out=np.zeros_like(products))
        related = related.clip(-1, 1)
        # Of the absolute values of two normal variables with this correlation.
        absolute = np.sqrt(1 - related**2) + related * np.arcsin(related) - 1
        variance = float((2 / math.pi * products * absolute).sum()) / 4
        mean = 1 - math.sqrt(2 / math.pi) * float(deviations.sum()) / 2
        reach = _NORMAL_95 * math.sqrt(max(0.0, variance))
        return cls(
            share=float(np.minimum(a / size_a, b / size_b).sum()),
            by_chance=max(0.0, mean),
            low=max(0.0, mean - reach),
            high=min(1.0, mean + reach),
        )
