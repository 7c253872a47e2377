"""The search for hashes that differ in few bits: exact, and never over all pairs.

Two hashes that differ in at most d bits agree in at least r of r + d bands of bits, whichever
bands these are: each bit that differs spoils one. So for each choice of r bands, hashes are
sorted by these bands, and only neighbours that agree in all of them are compared. More and
shorter bands mean more sorts of fewer pairs each; the cheapest number is chosen. Where many
hashes agree, as those of similar scenes do, they are searched in the same way again by the bits
in which they still differ. Where most hashes are linked by the first sorts, as the frames of one
camera are, only the others have to be compared from there on, for which fewer sorts do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from itertools import combinations
from math import comb, inf
from operator import or_
from typing import Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Nodes = NDArray[np.intp]

_BITS: Final = 64
# Seconds that a node takes to be sorted, a pair to be compared, and a call in Python, about.
_SORTED, _COMPARED, _CALLED = 1e-7, 4e-9, 1e-4
# Longer runs of equal keys are searched by themselves, shorter ones together.
_LONG_RUN: Final = 256
# A plan is made anew where only one in so many of the nodes that it was made for has to seek.
_FEWER: Final = 4
_BLOCK: Final = 1 << 14
_BLOCK_PAIRS: Final = 1 << 20
_SAMPLE: Final = 10_000


class DisjointSets:
    """Sets of nodes that were linked, directly or by others.

    Examples:
        >>> sets = DisjointSets(5)
        >>> sets.union(np.array([4, 1]), np.array([1, 3]))
        >>> sets.roots().tolist()
        [0, 1, 2, 1, 1]
    """

    def __init__(self, size: int) -> None:
        self._parents = np.arange(size)

    def find(self, nodes: Nodes) -> Nodes:
        """Return the smallest node that is known to be in the set of each node."""
        parents = self._parents
        above = parents[nodes]
        while True:
            higher = parents[above]
            if np.array_equal(higher, above):
                return above
            parents[nodes] = above = higher  # for those that come later, the path is shorter

    def union(self, first: Nodes, second: Nodes) -> None:
        """Join the sets of each node of the first array and the one beside it in the second."""
        ones, others = self.find(first), self.find(second)
        while len(unequal := np.flatnonzero(ones != others)):
            ones, others = ones[unequal], others[unequal]
            lower, higher = np.minimum(ones, others), np.maximum(ones, others)
            np.minimum.at(self._parents, higher, lower)
            ones, others = self.find(lower), self.find(higher)

    def roots(self) -> Nodes:
        """Return the smallest node of the set of each node."""
        return self.find(np.arange(len(self._parents)))


@dataclass(frozen=True, slots=True)
class NearSearch:
    """A search for hashes that differ in at most `distance` bits, which links them.

    Attributes:
        hashes: The hash of each node.
        distance: The number of bits in which linked hashes may differ, from 1.
        sets: The sets that are joined. Nodes that are in one set are not compared again, where
            that saves work.
        fresh: Which nodes are new; two that are not are never compared.
        sides: Only nodes of different sides are linked; None links any two.
    """

    hashes: Hashes
    distance: int
    sets: DisjointSets
    fresh: NDArray[np.bool_] = field(repr=False)
    sides: NDArray[np.intp] | None = None

    def link(self, nodes: Nodes) -> None:
        """Link all of these nodes whose hashes differ in at most `distance` bits."""
        seekers = self._seekers(nodes)
        planned = int(seekers.sum())
        if not planned:
            return
        bits, width = _bits_by_balance(self.hashes[nodes])
        agreeing = _cheapest(len(nodes), planned, len(bits), width, self.distance)
        if not agreeing:
            self._compare_all(nodes, seekers)
            return
        for mask in _masks(bits, agreeing, self.distance):
            self._link_neighbours(nodes, seekers, mask)
            seekers = self._seekers(nodes)
            if seekers.sum() * _FEWER < planned:
                self.link(nodes)  # with another plan, by which those few are sooner compared
                return

    def _seekers(self, nodes: Nodes) -> NDArray[np.bool_]:
        """Return which nodes have to be compared with all others.

        All new ones; but if all are new, none of the largest set, as it is one already.
        """
        fresh = self.fresh[nodes]
        if not (len(fresh) and fresh.all()):
            return fresh
        roots = self.sets.find(nodes)
        sample, counts = np.unique(roots[:: max(1, len(roots) // _SAMPLE)], return_counts=True)
        seekers: NDArray[np.bool_] = roots != sample[counts.argmax()]
        return seekers

    def _link_neighbours(self, nodes: Nodes, seekers: NDArray[np.bool_], mask: int) -> None:
        """Compare the nodes that agree in all bits of a mask."""
        keys = self.hashes[nodes] & np.uint64(mask)
        # Bit 0, which no mask has, sorts seekers before others among those that agree.
        order = np.argsort(np.where(seekers, keys, keys | np.uint64(1)))
        nodes, keys, seekers = nodes[order], keys[order], seekers[order]
        ends = np.append(np.flatnonzero(keys[1:] != keys[:-1]), len(keys) - 1)
        lengths = np.diff(ends, prepend=-1)
        first = ends - lengths + 1
        for run in np.flatnonzero((lengths > _LONG_RUN) & seekers[first]):
            self.link(nodes[first[run] : ends[run] + 1])
        last = np.repeat(np.where(lengths > _LONG_RUN, -1, ends), lengths)
        hashes = self.hashes[nodes]
        seeking = np.flatnonzero(seekers & (last > np.arange(len(nodes))))
        for start in range(0, len(seeking), _BLOCK):
            ones, step = seeking[start : start + _BLOCK], 1
            while len(ones):
                others = ones + step
                near = np.bitwise_count(hashes[ones] ^ hashes[others]) <= self.distance
                self._unite(nodes[ones[near]], nodes[others[near]])
                step += 1
                ones = ones[last[ones] >= ones + step]

    def _compare_all(self, nodes: Nodes, seekers: NDArray[np.bool_]) -> None:
        """Compare every seeker with every other node."""
        nodes = np.concatenate([nodes[seekers], nodes[~seekers]])
        hashes, count = self.hashes[nodes], np.count_nonzero(seekers)
        rows = max(1, _BLOCK_PAIRS // len(nodes))
        for start in range(0, count, rows):
            seeking = hashes[start : min(start + rows, count), None]
            ones, others = np.nonzero(np.bitwise_count(seeking ^ hashes[start:]) <= self.distance)
            self._unite(nodes[start + ones], nodes[start + others])

    def _unite(self, ones: Nodes, others: Nodes) -> None:
        if len(ones) and self.sides is not None:
            unequal = self.sides[ones] != self.sides[others]
            ones, others = ones[unequal], others[unequal]
        if len(ones):
            self.sets.union(ones, others)


def shared_masks(hashes: Hashes, distance: int, most: int) -> list[int]:
    """Return masks such that hashes within the distance agree in all bits of at least one.

    Those with which it takes least to compare each hash with all that agree with it in a mask.

    Args:
        hashes: The hashes.
        distance: The most bits in which two of them differ.
        most: The maximum number of masks, at least `distance` + 1.

    Examples:
        >>> masks = shared_masks(np.arange(1 << 16, dtype=np.uint64), 2, most=3)
        >>> [f"{mask:016b}" for mask in masks]
        ['0010010010010010', '0100100100100100', '1001001001001000']
    """
    bits, width = _bits_by_balance(hashes)
    agreeing = _cheapest(len(hashes), len(hashes), len(bits), width, distance, most=most)
    return list(_masks(bits, agreeing, distance)) if agreeing else [0]


def _masks(bits: NDArray[np.intp], agreeing: int, distance: int) -> Iterator[int]:
    """Yield each choice of so many bands of bits that pairs within a distance agree in one."""
    count = agreeing + distance
    # Dealt in turn, each band has bits of all kinds, from even to lopsided.
    bands = [reduce(or_, (1 << int(bit) for bit in bits[band::count])) for band in range(count)]
    for chosen in combinations(bands, agreeing):
        yield reduce(or_, chosen)


def _bits_by_balance(hashes: Hashes) -> tuple[NDArray[np.intp], float]:
    """Return the bits above 0 that differ within a sample, those first that halve it best.

    Also return how many bits without any imbalance would distinguish as many hashes.
    """
    sample = hashes[:: max(1, len(hashes) // _SAMPLE)]
    octets = sample.astype("<u8").view(np.uint8).reshape(-1, _BITS // 8)
    shares = np.unpackbits(octets, axis=1, bitorder="little").mean(axis=0)
    order = np.argsort(np.abs(shares - 0.5), kind="stable")
    bits = order[(shares[order] > 0) & (shares[order] < 1) & (order > 0)]
    return bits, float(-np.log2(shares[bits] ** 2 + (1 - shares[bits]) ** 2).sum())


def _cheapest(
    nodes: int, seekers: int, bits: int, width: float, distance: int, *, most: float = inf
) -> int:
    """Return how many bands must agree for the least work, or 0 to compare all pairs.

    There are at most so many choices of bands.
    """
    pairs = seekers * (nodes - seekers / 2)
    costs = {0: _CALLED + pairs * _COMPARED}
    for agreeing in range(1, bits - distance + 1):
        bands = agreeing + distance
        if comb(bands, agreeing) > most:
            break
        a_sort = _CALLED + nodes * _SORTED + pairs * _COMPARED / 2 ** (width * agreeing / bands)
        costs[agreeing] = comb(bands, agreeing) * a_sort
    return min(costs, key=costs.__getitem__)
