"""Nodes that agree in some key, looked up from each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from polars_imgmeta.analysis.hamming import Hashes, Nodes

Keys = tuple[Nodes, Nodes | Hashes]
"""Nodes in ascending order, and a key of each."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """For each node the later ones with the same key, by each of several kinds of keys.

    Nodes are numbered from 0. Takes twelve bytes for each node and kind of keys.

    Attributes:
        counts: How many there are of each node, those with several equal keys several times.
    """

    counts: NDArray[np.int64]
    _sorted: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]]

    @classmethod
    def of(cls, count: int, keys: Iterable[Keys]) -> Self:
        """Sort this many nodes by keys that they have."""
        counts = np.zeros(count, np.int64)
        sorted_by_key = []
        for keyed, values_of in keys:
            order = np.argsort(values_of, kind="stable")
            nodes, values = keyed[order], values_of[order]
            last = np.append(np.flatnonzero(values[1:] != values[:-1]), len(values) - 1)
            starts, ends = np.zeros((2, count), np.int32)
            starts[nodes] = np.arange(1, len(nodes) + 1)
            ends[nodes] = np.repeat(last + 1, np.diff(last, prepend=-1))
            counts += ends - starts
            sorted_by_key.append((nodes.astype(np.int32), starts, ends))
        return cls(counts, sorted_by_key)

    def later(self, nodes: Nodes) -> Iterator[tuple[Nodes, Nodes]]:
        """Yield pairs of one of these nodes and a later one, for each kind of keys."""
        for order, starts, ends in self._sorted:
            lengths = (ends[nodes] - starts[nodes]).astype(np.intp)
            ones = np.repeat(nodes, lengths)
            before = np.repeat(starts[nodes] - (np.cumsum(lengths) - lengths), lengths)
            yield ones, order[before + np.arange(len(ones))].astype(np.intp)
