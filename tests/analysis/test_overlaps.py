"""What two distributions have in common, against random draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polars_imgmeta.analysis.overlaps import Overlap

COUNTS = st.lists(
    st.tuples(st.integers(0, 1_000), st.integers(0, 1_000)), min_size=1, max_size=12
).filter(lambda pairs: all(map(sum, zip(*pairs, strict=True))))


@pytest.mark.parametrize("sizes", [(50, 50), (30, 300), (400, 4_000)])
@pytest.mark.parametrize("shares", [[0.1] * 10, [0.5, 0.5], [0.7, 0.2, 0.05, 0.05]])
def test_the_range_by_chance_has_most_random_samples(
    sizes: tuple[int, int], shares: list[float]
) -> None:
    """Of pairs of samples of one distribution, 95 % have an overlap within the range."""
    rng = np.random.default_rng(0)
    drawn = [Overlap.of(*(rng.multinomial(size, shares) for size in sizes)) for _ in range(2_000)]
    # Counts are whole: the end of a range may exclude many samples of equal overlap.
    inside = np.mean([one.low - 1e-9 <= one.share <= one.high + 1e-9 for one in drawn])
    assert 0.91 <= inside <= 0.99
    mean = np.mean([one.by_chance for one in drawn])
    assert mean == pytest.approx(np.mean([one.share for one in drawn]), abs=0.01)


@given(counts=COUNTS)
def test_the_order_changes_nothing(counts: list[tuple[int, int]]) -> None:
    """Neither that of the distributions nor that of the bins, and shares are shares."""
    a, b = np.array(counts).T
    found = Overlap.of(a, b)
    for other in (Overlap.of(b, a), Overlap.of(a[::-1], b[::-1]), Overlap.of(*np.array([a, b]))):
        assert (other.share, other.low, other.high) == pytest.approx(
            (found.share, found.low, found.high)
        )
    assert 0 <= found.low <= found.by_chance <= found.high <= 1
    assert 0 <= found.share <= 1 + 1e-12


def test_equal_distributions_have_all_in_common() -> None:
    """Those of one bin have nothing else by chance; those without a common bin have nothing."""
    one = Overlap.of(np.array([4]), np.array([9]))
    assert (one.share, one.low, one.by_chance, one.high) == (1, 1, 1, 1)
    assert Overlap.of(np.array([4, 0]), np.array([0, 9])).share == 0
    assert Overlap.of(np.array([4, 8, 0]), np.array([1, 2, 0])).share == pytest.approx(1)
