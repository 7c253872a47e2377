"""The search for near hashes finds every pair, whichever way it takes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polars_imgmeta.analysis import hamming
from polars_imgmeta.analysis.hamming import DisjointSets, Hashes, NearSearch, Nodes

BITS = 64


def components(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """Return the smallest node that is connected to each node, by walks."""
    beside: list[list[int]] = [[] for _ in range(count)]
    for one, other in pairs:
        beside[one].append(other)
        beside[other].append(one)
    found = [-1] * count
    for start in range(count):
        waiting = [start] if found[start] < 0 else []
        while waiting:
            node = waiting.pop()
            if found[node] < 0:
                found[node] = start
                waiting += beside[node]
    return found


def near_pairs(hashes: list[int], distance: int) -> list[tuple[int, int]]:
    """Return every pair that differs in few bits, by Python's own count."""
    return [
        (one, other)
        for other in range(len(hashes))
        for one in range(other)
        if (hashes[one] ^ hashes[other]).bit_count() <= distance
    ]


def linked(
    hashes: Hashes, distance: int, fresh: list[bool] | None = None, sides: list[int] | None = None
) -> list[int]:
    """Return the smallest node of the set of each, as the search links them."""
    sets = DisjointSets(len(hashes))
    every = np.ones(len(hashes), bool) if fresh is None else np.array(fresh, bool)
    of_sides = None if sides is None else np.array(sides, np.int64)
    NearSearch(hashes, distance, sets, every, of_sides).link(np.arange(len(hashes)))
    roots: list[int] = sets.roots().tolist()
    return roots


# Few bits vary, so that many hashes are near, and agree in many bits.
close_hashes = st.lists(
    st.builds(
        lambda bits, other: sum(1 << bit for bit in bits) ^ other,
        st.sets(st.integers(0, 9) | st.integers(0, BITS - 1), max_size=4),
        st.sampled_from([0, 0xFF, 0xAAAA_AAAA_AAAA_AAAA]),
    ),
    max_size=40,
)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40),
    batch=st.integers(1, 40),
)
def test_sets_are_components(pairs: list[tuple[int, int]], batch: int) -> None:
    """Sets that are joined in any batches are the components of a graph."""
    sets = DisjointSets(30)
    for start in range(0, len(pairs), batch):
        ones, others = np.array(pairs[start : start + batch]).T
        sets.union(ones, others)
    assert sets.roots().tolist() == components(30, pairs)


def test_a_long_chain_is_one_set() -> None:
    """A chain of 10^5 nodes, linked from its end, needs few rounds."""
    sets = DisjointSets(100_000)
    nodes = np.arange(99_999)[::-1].copy()
    sets.union(nodes, nodes + 1)
    assert not sets.roots().any()


@given(
    hashes=close_hashes,
    distance=st.integers(1, 12),
    agreeing=st.integers(0, 4),
    long_run=st.integers(1, 9),
    data=st.data(),
)
def test_every_plan_finds_every_pair(
    hashes: list[int], distance: int, agreeing: int, long_run: int, data: st.DataObject
) -> None:
    """Sets are the components of all near pairs, for any number of bands, old nodes and sides."""
    count = len(hashes)
    booleans = st.lists(st.booleans(), min_size=count, max_size=count)
    fresh = data.draw(st.none() | booleans)
    sides = data.draw(st.none() | st.lists(st.integers(0, 2), min_size=count, max_size=count))
    pairs = [
        (one, other)
        for one, other in near_pairs(hashes, distance)
        if (fresh is None or fresh[one] or fresh[other])
        and (sides is None or sides[one] != sides[other])
    ]

    def plan(_nodes: int, _seekers: int, bits: int, _width: float, _distance: int) -> int:
        return max(0, min(agreeing, bits - distance))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "_cheapest", plan)
        patch.setattr(hamming, "_LONG_RUN", long_run)
        found = linked(np.array(hashes, np.uint64), distance, fresh, sides)
    assert found == components(count, pairs)


def flipped(hashes: Hashes, flips: int, random: np.random.Generator) -> Hashes:
    """Return hashes with up to this many other bits."""
    for _ in range(flips):
        hashes = hashes ^ (np.uint64(1) << random.integers(0, BITS, len(hashes), np.uint64))
    return hashes


def uniform(count: int, random: np.random.Generator) -> Hashes:
    """Hashes without any structure, with planted pairs."""
    hashes = random.integers(0, 2**64, count, np.uint64)
    hashes[: count // 20] = flipped(hashes[-(count // 20) :], 5, random)
    return hashes


def scenes(count: int, random: np.random.Generator) -> Hashes:
    """Hashes around few centres, so that buckets are skewed."""
    return flipped(random.choice(random.integers(0, 2**64, 20, np.uint64), count), 9, random)


def camera(count: int, random: np.random.Generator) -> Hashes:
    """Hashes of the frames of one camera, of which each is near many others."""
    return flipped(np.full(count, 0x5555_5555_5555_5555, np.uint64), 5, random)


def narrow(count: int, random: np.random.Generator) -> Hashes:
    """Hashes of which few bits vary."""
    return random.integers(0, 2**26, count, np.uint64)


def lopsided(count: int, random: np.random.Generator) -> Hashes:
    """Hashes of which few bits are set."""
    bits = random.random((count, BITS)) < 0.12
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize("draw", [uniform, scenes, camera, narrow, lopsided])
@pytest.mark.parametrize("distance", [2, 5])
def test_ten_thousand_hashes_are_linked_as_by_brute_force(
    draw: Callable[[int, np.random.Generator], Hashes], distance: int
) -> None:
    """The sets are those of all pairs, also where hashes are alike."""
    hashes = np.unique(draw(10_000, np.random.default_rng(0)))
    brute = DisjointSets(len(hashes))
    for node in range(1, len(hashes)):
        near = np.flatnonzero(np.bitwise_count(hashes[:node] ^ hashes[node]) <= distance)
        brute.union(near, np.full_like(near, node))
    assert linked(hashes, distance) == brute.roots().tolist()


@pytest.mark.parametrize(("draw", "most"), [(uniform, 0.002), (scenes, 0.1), (camera, 0.1)])
def test_few_pairs_are_compared(
    draw: Callable[[int, np.random.Generator], Hashes],
    most: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 50,000 hashes only a small share of all pairs is looked at."""
    compared = 0
    count = np.bitwise_count

    def counting(values: Hashes) -> Nodes:
        nonlocal compared
        compared += values.size
        return count(values)

    hashes = np.unique(draw(50_000, np.random.default_rng(0)))
    monkeypatch.setattr(np, "bitwise_count", counting)
    linked(hashes, 4)
    assert 0 < compared <= most * len(hashes) ** 2 / 2
