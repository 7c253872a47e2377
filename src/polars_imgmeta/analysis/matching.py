"""From the digests, hashes and quality of rows to groups of images, and the best of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polars_imgmeta.analysis.candidates import Candidates, Keys
from polars_imgmeta.analysis.hamming import (
    DisjointSets,
    Hashes,
    NearSearch,
    Nodes,
    shared_masks,
)

FILE, PIXELS, HASH = "file_digest", "pixel_digest", "perceptual_hash"
QUALITY: Final = ("size", "file_size", "sharpness")

COMPARED: Final = pl.Schema(
    {
        FILE: pl.String(),
        PIXELS: pl.String(),
        HASH: pl.Int64(),
        "size": pl.Int64(),
        "file_size": pl.Int64(),
        "sharpness": pl.Float64(),
        "side": pl.String(),
        "locator": pl.String(),
        "known_group": pl.String(),
    }
)
"""The columns that are compared, null where a frame does not have them."""

DUPLICATE: Final = pl.Struct(
    {
        "group": pl.String(),
        "images": pl.Int64(),
        "keep": pl.Boolean(),
        "copy_of": pl.String(),
        "reason": pl.String(),
        "distance": pl.Int32(),
    }
)
"""What is found about each row. All of it is plain, so that any tool can store it."""

_ID_DIGITS: Final = 16
# Photos have 31 bits; pictures without content none, ramps and stripes at most 7, tiny ones of
# few colours up to 9, and symmetrical ones about 16.
_FEWEST_BITS: Final = 12
# A round over all nodes that remain takes about as long as settling one in so many of them in turn.
_WORTH_A_ROUND: Final = 64
# Candidates that are compared at once, and kinds of keys by which these are found.
_BLOCK: Final = 1 << 16
_MOST_MASKS: Final = 32


@dataclass(frozen=True, eq=False)
class Matching:
    """The function that finds groups, which Polars maps over all rows at once.

    Attributes:
        compared: Which of the digests and the hash are compared.
        distance: The most bits in which the hashes of images that match differ, or None.
        across: Whether only rows of different `side` match.
        known: Rows that were there before, with the `known_group` that they were in.
    """

    compared: tuple[str, ...]
    distance: int | None
    across: bool
    known: pl.DataFrame

    def __call__(self, columns: Sequence[pl.Series], return_dtype: object = None) -> pl.Series:
        """Return a `DUPLICATE` for each row of a struct, null where it cannot be compared."""
        del return_dtype  # Polars offers it
        rows = columns[0].struct.unnest().with_row_index("row")
        images = self._best_first(rows)
        relation = _Relation.of(images, self)
        roots = relation.link()
        originals = relation.originals(roots)
        found = _describe(images, originals, self._groups(images, roots))
        found = rows.select("row").join(found, on="row", how="left", maintain_order="left")
        judged = pl.col("group").is_not_null()
        struct = pl.when(judged).then(pl.struct(*pl.Schema(DUPLICATE)))
        return found.select(struct.alias(columns[0].name)).to_series()

    def _best_first(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that can be compared as nodes, known ones first, then by quality.

        Ties are broken by content, so that the order does not depend on that of the rows.
        """
        both = pl.concat(
            [self.known.with_columns(row=pl.lit(None, pl.UInt32)), rows], how="diagonal"
        )
        needed = [*self.compared, *(["side"] if self.across else [])]
        ties = [*self.compared, "locator"]
        falling = [False, *[True] * len(QUALITY), *[False] * len(ties)]
        order = [pl.col("row").is_not_null(), *map(pl.col, QUALITY), *map(pl.col, ties)]
        images = both.filter(pl.all_horizontal(pl.col(needed).is_not_null()))
        images = images.sort(order, descending=falling, nulls_last=True)
        bits = pl.col(HASH).reinterpret(signed=False).bitwise_count_ones()
        return images.with_columns(
            node=pl.int_range(pl.len()),
            # A hash of few bits says nothing: the digests decide alone.
            near=pl.when(bits >= _FEWEST_BITS, self.distance is not None).then(HASH),
        )

    def _groups(self, images: pl.DataFrame, roots: Nodes) -> pl.DataFrame:
        """Return the id of the group of each node, and its number of images."""
        digests = [name for name in (PIXELS, FILE) if name in self.compared]
        if digests:
            key = images[digests[0]].str.head(_ID_DIGITS)
        else:
            hashes = images[HASH].reinterpret(signed=False)
            key = pl.Series([f"{number:0{_ID_DIGITS}x}" for number in hashes], dtype=pl.String)
        members = images.select("known_group", key=key, root=pl.Series(roots, dtype=pl.Int64))
        groups = members.group_by("root").agg(
            group=pl.coalesce(pl.col("known_group").min(), pl.col("key").min()),
            images=pl.len().cast(pl.Int64),
        )
        named = members.select("root").join(groups, on="root", how="left", maintain_order="left")
        return named.drop("root")


@dataclass(frozen=True, eq=False)
class _Relation:
    """Which nodes match.

    Attributes:
        equal: For each thing that is compared the first node that has the same.
        hashes: The hashes of those nodes that have one worth comparing.
        hashed: Which nodes these are.
        distance: The most bits in which the hashes of nodes that match differ.
        sides: Only nodes of different sides match; None lets any two match.
        known: Which nodes were there before.
    """

    equal: dict[str, Nodes]
    hashes: Hashes
    hashed: NDArray[np.bool_]
    distance: int
    sides: Nodes | None
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, images: pl.DataFrame, matching: Matching) -> Self:
        names = [*matching.compared, "near", "known_group"]
        first = pl.col("node").min()
        same = [
            pl.when(pl.col(name).is_not_null()).then(first.over(name)).otherwise("node").alias(name)
            for name in dict.fromkeys(names)
            if name != HASH
        ]
        equal = images.select(same)
        sides = images.select(pl.col("side").rank("dense")).to_series()
        return cls(
            equal={name: equal[name].to_numpy() for name in equal.columns},
            hashes=images["near"].fill_null(0).to_numpy().view(np.uint64),
            hashed=images["near"].is_not_null().to_numpy(),
            distance=matching.distance or 0,
            sides=sides.cast(pl.Int64).to_numpy() if matching.across else None,
            known=images["row"].is_null().to_numpy(),
        )

    def link(self) -> Nodes:
        """Return the best node of the group of each node: of those that matches connect."""
        sets = DisjointSets(len(self.known))
        nodes = np.arange(len(self.known))
        for firsts in self.equal.values():
            linked = self._on_several_sides(firsts)
            sets.union(nodes[linked], firsts[linked])
        if self.distance:
            self._link_near(sets)
        return sets.roots()

    def _on_several_sides(self, firsts: Nodes) -> NDArray[np.bool_]:
        """Return which nodes equal one of another side."""
        if self.sides is None:
            return np.ones(len(firsts), bool)
        others = np.zeros(len(firsts), bool)
        np.logical_or.at(others, firsts, self.sides != self.sides[firsts])
        return others[firsts]

    def _link_near(self, sets: DisjointSets) -> None:
        """Link nodes whose hashes are near: equal ones of a side are searched as one."""
        nodes = np.flatnonzero(self.hashed)
        sides = np.zeros(len(nodes), np.int64) if self.sides is None else self.sides[nodes]
        keys = pl.DataFrame({"equal": self.equal["near"][nodes], "side": sides, "node": nodes})
        keys = keys.with_columns(known=pl.Series(self.known[nodes]))
        classes = keys.group_by("equal", "side").agg(pl.col("node").min(), pl.col("known").all())
        members = classes["node"].to_numpy()
        near = DisjointSets(len(members))
        NearSearch(
            hashes=self.hashes[members],
            distance=self.distance,
            sets=near,
            fresh=~classes["known"].to_numpy(),
            sides=None if self.sides is None else classes["side"].to_numpy(),
        ).link(np.arange(len(members)))
        roots = near.roots()
        found = classes.select(
            "equal",
            "side",
            root=pl.Series(members[roots]),
            linked=pl.Series(np.bincount(roots, minlength=len(roots))[roots] > 1),
        )
        joined = keys.join(found.filter("linked"), on=["equal", "side"])
        sets.union(joined["node"].to_numpy(), joined["root"].to_numpy())

    def originals(self, roots: Nodes) -> Nodes:
        """Return for each node the kept one that it is a copy of, or itself.

        In each group the best node is kept, and what matches it is a copy; then the best of
        what remains, and so on. Known nodes are kept.
        """
        originals = np.arange(len(roots))
        counts = np.bincount(roots, minlength=len(roots))
        remaining = np.flatnonzero(counts[roots] > 1)
        remaining = remaining[~self._repeated_known(remaining)]
        remaining = self._settle_in_rounds(remaining, roots, originals)
        while len(remaining):
            remaining = self._settle_in_turn(remaining, originals)
        return originals

    def _settle_in_rounds(self, remaining: Nodes, roots: Nodes, originals: Nodes) -> Nodes:
        """Keep the best node of all groups at once, round by round, as long as that pays.

        Return the nodes that remain, ascending, where a round settles few of them.
        """
        remaining = remaining[np.argsort(roots[remaining], kind="stable")]
        settled = len(remaining)
        while settled * _WORTH_A_ROUND > len(remaining) > 0:
            starts = np.flatnonzero(np.diff(roots[remaining], prepend=-1))
            lengths = np.diff(starts, append=len(remaining))
            best = np.repeat(remaining[starts], lengths)
            unsettled = np.repeat(np.add.reduceat(~self.known[remaining], starts) > 0, lengths)
            copies = self._match(remaining, best) & ~self.known[remaining]
            originals[remaining[copies]] = best[copies]
            left = remaining[unsettled & ~copies & (remaining != best)]
            settled, remaining = len(remaining) - len(left), left
        return np.sort(remaining)

    def _settle_in_turn(self, nodes: Nodes, originals: Nodes) -> Nodes:
        """Keep or drop nodes from the best on, looking up what matches each one that is kept.

        Nodes are taken in blocks of about the same number of candidates, so that the memory is
        bounded, and each pair is compared at most once. Return the nodes that remain, where
        most of the candidates are settled.
        """
        candidates = Candidates.of(len(nodes), self._keys(nodes))
        known, is_open = self.known[nodes], np.ones(len(nodes), bool)
        done = 0
        while 2 * np.count_nonzero(is_open[done:]) > len(nodes):
            block = done + np.flatnonzero(is_open[done : done + _BLOCK])
            most = np.searchsorted(np.cumsum(candidates.counts[block]), _BLOCK, side="right")
            first, block = done, block[: max(1, most)]
            done = block[-1] + 1 if len(block) else done + _BLOCK
            pairs = []
            for ones, others in candidates.later(block):
                fit = is_open[others] & ~known[others]
                fit[fit] = self._match(nodes[ones[fit]], nodes[others[fit]])
                pairs.append((ones[fit], others[fit]))
            ones, others = (np.concatenate(side) for side in zip(*pairs, strict=True))
            kept = _first_kept(ones - first, others - first, done - first)
            fit = kept[ones - first]
            ones, others = ones[fit], others[fit]
            np.minimum.at(originals, nodes[others], nodes[ones])
            is_open[others] = False
        return nodes[done:][is_open[done:]]

    def _keys(self, nodes: Nodes) -> Iterator[Keys]:
        """Yield keys, of which nodes that match have at least one in common."""
        every = np.arange(len(nodes))
        for name in (FILE, PIXELS):
            if name in self.equal:
                yield every, self.equal[name][nodes]
        hashed = np.flatnonzero(self.hashed[nodes])
        if len(hashed):
            hashes = self.hashes[nodes[hashed]]
            for mask in shared_masks(hashes, self.distance, _MOST_MASKS):
                yield hashed, hashes & np.uint64(mask)

    def _repeated_known(self, nodes: Nodes) -> NDArray[np.bool_]:
        """Return which known nodes are like a better one in all respects."""
        own = np.arange(len(self.known))
        repeated = self.known.copy()
        for name in self.equal.keys() - {"known_group"}:
            firsts = self.equal[name]
            repeated &= (firsts != own) | (~self.hashed if name == "near" else False)
            if self.sides is not None:
                repeated &= self.sides[firsts] == self.sides
        return repeated[nodes]

    def _match(self, ones: Nodes, others: Nodes) -> NDArray[np.bool_]:
        both = self.hashed[ones] & self.hashed[others]
        differing = np.bitwise_count(self.hashes[ones] ^ self.hashes[others])
        match: NDArray[np.bool_] = both & (differing <= self.distance)
        for name in (FILE, PIXELS):
            if name in self.equal:
                match |= self.equal[name][ones] == self.equal[name][others]
        return match if self.sides is None else match & (self.sides[ones] != self.sides[others])


def _first_kept(ones: Nodes, others: Nodes, count: int) -> NDArray[np.bool_]:
    """Return which of the first nodes are kept, where each drops later ones that it matches.

    Args:
        ones: The earlier node of each pair that matches.
        others: The later one, which may be beyond these nodes.
        count: How many nodes there are.
    """
    kept = np.ones(count, bool)
    inside = others < count
    ones, others = ones[inside], others[inside]
    order = np.argsort(ones, kind="stable")
    ones, others = ones[order], others[order]
    keepers, starts = np.unique(ones, return_index=True)
    for one, (start, end) in zip(keepers, pairwise([*starts, len(ones)]), strict=True):
        if kept[one]:
            kept[others[start:end]] = False
    return kept


def _describe(images: pl.DataFrame, originals: Nodes, groups: pl.DataFrame) -> pl.DataFrame:
    """Return the fields of `DUPLICATE` for each `row` that is no known one."""
    of = images.select(pl.col(FILE, PIXELS, HASH, "locator").name.prefix("of_"))[originals]
    pairs = pl.concat([images, of, groups], how="horizontal")
    copied = pl.col("node") != pl.Series(originals)
    reason = (
        pl.when(pl.col(FILE) == pl.col(f"of_{FILE}"))
        .then(pl.lit("same file"))
        .when(pl.col(PIXELS) == pl.col(f"of_{PIXELS}"))
        .then(pl.lit("same pixels"))
        .otherwise(pl.lit("similar"))
    )
    differing = (pl.col(HASH) ^ pl.col(f"of_{HASH}")).bitwise_count_ones()
    return pairs.select(
        "row",
        "group",
        "images",
        keep=~copied,
        copy_of=pl.when(copied).then("of_locator"),
        reason=pl.when(copied).then(reason),
        distance=pl.when(copied).then(differing.cast(pl.Int32)),
    ).drop_nulls("row")
