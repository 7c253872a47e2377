"""Which images of a group are kept, judged by a loop over all pairs, and in how much work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polars_imgmeta.analysis import matching
from polars_imgmeta.analysis.hamming import DisjointSets, Nodes
from polars_imgmeta.analysis.matching import FILE, PIXELS, _Relation

Hashes = NDArray[np.uint64]


def relation_of(hashes: Hashes, distance: int, *, known: int = 0) -> _Relation:
    """Return nodes that are compared by hashes alone, of which the first ones are known."""
    nodes = np.arange(len(hashes))
    first = {int(one): node for node, one in reversed([*enumerate(hashes)])}
    return _Relation(
        equal={"near": np.array([first[int(one)] for one in hashes], dtype=np.intp)},
        hashes=hashes,
        hashed=np.ones(len(hashes), bool),
        distance=distance,
        sides=None,
        known=nodes < known,
    )


@st.composite
def relations(draw: st.DrawFn) -> _Relation:
    """Draw nodes that match each other often, by digests or hashes, some of them known."""
    count = draw(st.integers(1, 40))
    numbers = st.integers(0, draw(st.integers(0, 255)))
    drawn = draw(st.lists(numbers, min_size=count, max_size=count))
    hashes = np.array([2 * number for number in drawn], np.uint64)
    flags = st.lists(st.booleans(), min_size=count, max_size=count)
    hashed = np.array(draw(flags | st.just([True] * count)))

    def firsts(values: list[object]) -> Nodes:
        return np.array([values.index(value) for value in values], dtype=np.intp)

    keys: dict[str, list[object]] = {
        "near": [
            int(one) if has else -node
            for node, (one, has) in enumerate(zip(hashes, hashed, strict=True))
        ]
    }
    for name in (FILE, PIXELS):
        if draw(st.booleans()):
            few = st.integers(0, 3 * count)
            keys[name] = draw(st.lists(few, min_size=count, max_size=count))
    return _Relation(
        equal={name: firsts(values) for name, values in keys.items()},
        hashes=hashes,
        hashed=hashed,
        distance=draw(st.integers(0, 3)),
        sides=np.array(draw(flags), np.int64) if draw(st.booleans()) else None,
        known=np.arange(count) < draw(st.sampled_from([0, 0, count // 3, count])),
    )


def match(relation: _Relation, one: int, other: int) -> bool:
    """Whether two nodes match, by definition."""
    if relation.sides is not None and relation.sides[one] == relation.sides[other]:
        return False
    if any(equal[one] == equal[other] for name, equal in relation.equal.items() if name != "near"):
        return True
    differing = (int(relation.hashes[one]) ^ int(relation.hashes[other])).bit_count()
    return bool(relation.hashed[one] & relation.hashed[other]) and differing <= relation.distance


def greedy(relation: _Relation) -> list[int]:
    """Return the original of each node: that which comes first of the kept ones it matches."""
    originals: list[int] = []
    for node, known in enumerate(relation.known):
        earlier = [one for one in range(node) if originals[one] == one]
        matched = [one for one in earlier if not known and match(relation, one, node)]
        originals.append(matched[0] if matched else node)
    return originals


def groups_of(relation: _Relation) -> Nodes:
    """Return the first node of each group, linked by all pairs of which one is new."""
    sets = DisjointSets(len(relation.known))
    for other in range(len(relation.known)):
        for one in range(other):
            if match(relation, one, other) and not relation.known[other]:
                sets.union(np.array([one]), np.array([other]))
    return sets.roots()


@contextmanager
def settings(**values: int) -> Iterator[None]:
    """Set thresholds for a while."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setattr(matching, name, value)
        yield


@given(
    relation=relations(),
    worth=st.sampled_from([0, 1, 3, 64]),
    block=st.sampled_from([1, 5, 1 << 18]),
    masks=st.sampled_from([4, 32]),
)
def test_the_best_are_kept_as_one_after_the_other(
    relation: _Relation, worth: int, block: int, masks: int
) -> None:
    """In rounds, in turn, and from the one to the other, the result is that of plain loops."""
    with settings(_WORTH_A_ROUND=worth, _BLOCK=block, _MOST_MASKS=masks):
        found = relation.originals(groups_of(relation))
    assert found.tolist() == greedy(relation)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how many pairs are compared, each time."""
    counts: list[int] = []
    plain = _Relation._match  # noqa: SLF001 - what is counted

    def counting(self: _Relation, ones: Nodes, others: Nodes) -> NDArray[np.bool_]:
        counts.append(len(ones))
        return plain(self, ones, others)

    monkeypatch.setattr(_Relation, "_match", counting)
    return counts


def photos(count: int) -> Hashes:
    """Return hashes of unrelated images, which differ in about half of 63 bits."""
    random = np.random.default_rng(0)
    return random.integers(0, 1 << 63, count).astype(np.uint64) << np.uint64(1)


def path(count: int) -> Hashes:
    """Return hashes each of which differs from the one before in 4 bits, mostly others."""
    random = np.random.default_rng(0)
    steps = random.random((count, 63)).argsort(axis=1)[:, :4] + 1
    flips = np.bitwise_or.reduce(np.uint64(1) << steps.astype(np.uint64), axis=1)
    walk: Hashes = np.bitwise_xor.accumulate(flips)
    return walk


COUNT = 100_000


@pytest.mark.parametrize("order", ["ascending", "descending", "mixed"])
def test_a_path_takes_work_for_each_image_not_for_each_pair(
    order: str, compared: list[int]
) -> None:
    """Half of a chain is kept, whatever the order of quality along it: in few comparisons."""
    places = {
        "ascending": np.arange(COUNT),
        "descending": np.arange(COUNT)[::-1],
        "mixed": np.random.default_rng(1).permutation(COUNT),
    }[order]
    found = relation_of(path(COUNT)[places], 4).originals(np.zeros(COUNT, np.intp))
    kept = np.count_nonzero(found == np.arange(COUNT))
    assert COUNT / 3 < kept <= COUNT / 2 + 1
    assert sum(compared) < 64 * COUNT
    assert max(compared) <= COUNT
    # What is kept matches nothing kept before it along the chain.
    along = np.argsort(places)
    is_kept = (found == np.arange(COUNT))[along]
    assert not (is_kept[1:] & is_kept[:-1]).any()


def test_a_star_is_settled_in_one_round(compared: list[int]) -> None:
    """The centre is kept, and each of the others is its copy, though they do not match."""
    flips = np.array([3 << shift for shift in range(1, 60, 2)], np.uint64)
    hashes = np.concatenate([[np.uint64(0)], flips])
    relation = relation_of(hashes, 2)
    assert relation.originals(np.zeros(len(hashes), np.intp)).tolist() == [0] * len(hashes)
    assert compared == [len(hashes)]


def test_a_star_whose_centre_is_worst_keeps_all_others(compared: list[int]) -> None:
    """The centre is a copy of the best; the leaves, which do not match, are all kept."""
    leaves = photos(1) ^ (
        np.uint64(2) << np.random.default_rng(0).permutation(63).astype(np.uint64)
    )
    hashes = np.concatenate([leaves[:60], photos(1)])
    relation = relation_of(hashes, 1)
    with settings(_WORTH_A_ROUND=1):
        found = relation.originals(np.zeros(61, np.intp))
    assert found.tolist() == [*range(60), 0]
    assert sum(compared) < 61 * 61


def test_a_clique_is_settled_in_one_round(compared: list[int]) -> None:
    """The best of many copies is kept, and the others are compared with it alone."""
    hashes = np.full(COUNT, photos(1)[0])
    found = relation_of(hashes, 4).originals(np.zeros(COUNT, np.intp))
    assert not found.any()
    assert sum(compared) == COUNT


def test_cliques_that_are_linked_take_less_than_all_pairs(compared: list[int]) -> None:
    """In a group of a thousand sets of a hundred copies, one of each set is kept."""
    scenes = np.repeat(photos(1_000), 100)
    places = np.random.default_rng(2).permutation(COUNT)
    hashes = scenes[places]
    found = relation_of(hashes, 4).originals(np.zeros(COUNT, np.intp))
    kept = np.flatnonzero(found == np.arange(COUNT))
    _, first = np.unique(hashes, return_index=True)
    assert kept.tolist() == sorted(first)
    assert sum(compared) < 400 * COUNT
