"""What has changed between two data sets, against SciPy and simulations."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import mistakes
import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from mistakes import Mistake
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from tables import chunked, extracted

import polars_imgmeta as im
from polars_imgmeta.analysis.distances import Distribution, distance
from polars_imgmeta.analysis.summaries import ACCURACY

Values = list[float]

floats = st.floats(-1e6, 1e6).map(lambda value: value if abs(value) > 1e-6 else 0.0)
tied = st.sampled_from([-2.0, 0.0, 0.5, 1.0, 320.0])
values = st.lists(floats | tied, min_size=1, max_size=40)


def between(a: Values, b: Values) -> dict[str, Any]:
    """Compare two columns."""
    frames = (pl.DataFrame({"n": one}, schema={"n": pl.Float64}) for one in (a, b))
    return im.compare(*frames, properties="n").row(0, named=True)


@given(values, values)
def test_distances_are_those_of_scipy(a: Values, b: Values) -> None:
    """The statistics of Kolmogorov and Smirnov, and of Wasserstein."""
    found = distance(Distribution.of(np.array(a)), Distribution.of(np.array(b)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of its p, which does not matter here
        statistic = scipy.stats.ks_2samp(a, b, method="exact").statistic
    assert found.ks == pytest.approx(statistic, abs=1e-12)
    expected = scipy.stats.wasserstein_distance(a, b)
    assert found.wasserstein == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("sizes", [(20, 20), (20, 500), (100, 100), (40, 90), (1_000, 700)])
def test_p_is_that_of_the_exact_distribution(sizes: tuple[int, int]) -> None:
    """From the sizes at which there is a verdict on, p is near SciPy's exact one."""
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.1, 0.2, 0.4, 0.6, 0.8):
        a, b = rng.random(sizes[0]), rng.random(sizes[1]) + shift
        exact = scipy.stats.ks_2samp(a, b, method="exact").pvalue
        found = distance(Distribution.of(a), Distribution.of(b)).p
        assert found == pytest.approx(exact, rel=0.25, abs=0.03), (sizes, shift)
        assert (found < 0.05) == (exact < 0.05) or abs(exact - 0.05) < 0.03


@given(values, values)
def test_swapping_the_sets_swaps_the_columns(a: Values, b: Values) -> None:
    """Distances are symmetric; shares, sizes and images are those of the other set."""
    there, back = between(a, b), between(b, a)
    for name, value in there.items():
        mirrored = back[{"share_a": "share_b", "values_a": "values_b"}.get(name, name)]
        if name not in {"share_b", "values_b"}:
            assert mirrored == (pytest.approx(value) if isinstance(value, float) else value), name


@given(values)
def test_a_set_is_like_itself(a: Values) -> None:
    """Nothing has moved, all is in common, and no image explains anything."""
    row = between(a, a)
    assert (row["ks"], row["p"], row["wasserstein"], row["psi"]) == (0, 1, 0, 0)
    assert row["overlap"] == pytest.approx(1)
    assert row["images"] is None


@given(a=values, b=values, order=st.randoms(use_true_random=False), cut=st.integers(0, 9))
def test_the_order_of_rows_does_not_count(a: Values, b: Values, order: object, cut: int) -> None:
    """Nor do chunks, laziness, nulls and NaN."""
    frame = pl.DataFrame({"n": a, "path": [f"{row:03}" for row in range(len(a))]})
    mixed = pl.concat([frame, pl.DataFrame({"n": [None, math.nan], "path": [None, "nan"]})])
    places = list(range(len(mixed)))
    order.shuffle(places)  # type: ignore[attr-defined] # random.Random
    other = pl.DataFrame({"n": b, "path": [f"{row:03}b" for row in range(len(b))]})
    expected = im.compare(frame, other, properties="n", locator="path")
    shuffled = chunked(mixed[places], [cut, 1])
    assert_frame_equal(im.compare(shuffled, other, properties="n", locator="path"), expected)
    lazy = im.compare(shuffled.lazy(), other.lazy(), properties="n", locator="path")
    assert_frame_equal(lazy, expected)


@pytest.mark.parametrize("sizes", [(50, 50), (30, 300), (400, 400)])
@pytest.mark.parametrize("kinds", [10, 3])
def test_what_chance_alone_gives(sizes: tuple[int, int], kinds: int) -> None:
    """The overlap and stability by chance are the means over random splits of one set."""
    rng = np.random.default_rng(0)
    pool = rng.integers(0, kinds, 5_000).astype(np.float64) if kinds < 10 else rng.random(5_000)
    overlaps, stabilities, expected = [], [], []
    for _ in range(200):
        drawn = rng.choice(pool, sum(sizes), replace=False)
        found = distance(Distribution.of(drawn[: sizes[0]]), Distribution.of(drawn[sizes[0] :]))
        overlaps.append(found.overlap)
        stabilities.append(found.psi)
        expected.append((found.overlap_by_chance, found.psi_by_chance))
    overlap, stability = np.mean(expected, axis=0)
    assert np.mean(overlaps) == pytest.approx(overlap, abs=0.015)
    assert np.mean(stabilities) == pytest.approx(stability, rel=0.2, abs=0.01)


def test_random_halves_are_alike() -> None:
    """Of 100 pairs of random halves of 9 properties, about 5 have a shift at all."""
    rng = np.random.default_rng(1)
    alarms = 0
    names = im.GROUPS["standard"]
    for _ in range(100):
        halves = []
        for _ in range(2):
            columns = {name: rng.random(50) for name in names}
            halves.append(pl.DataFrame(columns))
        alarms += (im.compare(*halves)["verdict"] == "shifted").any()
    assert alarms <= 10


def test_a_shift_is_explained_by_its_images() -> None:
    """Of a set that got night pictures, these are named, the darkest first."""
    rng = np.random.default_rng(0)
    day = extracted({"brightness": list(rng.uniform(0.4, 0.8, 200))})
    night = list(rng.uniform(0.4, 0.8, 150)) + list(rng.uniform(0.05, 0.15, 50))
    mixed = extracted({"brightness": night})
    row = im.compare(day, mixed).row(0, named=True)
    assert row["verdict"] == "shifted"
    assert row["share_b"] > row["share_a"] == 0
    darkest = sorted(range(150, 200), key=lambda place: night[place])
    assert row["images"] == [f"{place:03}.png" for place in darkest[:5]]
    # The other way around the same images explain it.
    assert im.compare(mixed, day)["images"].to_list() == [row["images"]]


def test_few_values_get_no_verdict() -> None:
    """With fewer than 20 values in one set no shift is claimed, and without any no number."""
    many, few = [0.1] * 100, [0.9] * 19
    assert between(many, few)["verdict"] == "too few"
    assert between(many, [*few, 0.9])["verdict"] == "shifted"
    empty = between(many, [])
    assert (empty["verdict"], empty["values_b"], empty["ks"]) == ("too few", 0, None)


def test_images_of_all_kinds_of_locators() -> None:
    """Paths, the paths of structs, and the numbers of rows where images are bytes."""
    a = extracted({"brightness": [0.5] * 30})
    b = extracted({"brightness": [0.5] * 29 + [0.9]})

    def images(frame: pl.DataFrame) -> object:
        return im.compare(frame, b.drop("path"))["images"].to_list()[0]

    assert im.compare(a, b)["images"].to_list() == [["029.png"]]
    assert im.compare(a, b.drop("path"))["images"].to_list() == [["row 29"]]
    binary = b.with_columns(path=pl.col("path").cast(pl.Binary))
    assert im.compare(a, binary)["images"].to_list() == [["row 29"]]
    struct = b.with_columns(path=pl.struct(bytes=pl.lit(None, pl.Binary), path="path"))
    assert im.compare(a, struct)["images"].to_list() == [["029.png"]]
    assert images(a) == ["row 29"]


def test_booleans_and_what_is_left_out() -> None:
    """Booleans are compared as 0 and 1; words and hashes are not."""
    a = extracted({"is_greyscale": [True] * 30, "mode": ["L"] * 30, "perceptual_hash": [1] * 30})
    b = extracted({"is_greyscale": [False] * 30, "mode": ["L"] * 30, "perceptual_hash": [2] * 30})
    found = im.compare(a, b)
    assert found["property"].to_list() == ["is_greyscale"]
    assert found["wasserstein"].to_list() == [1.0]


@given(values, st.lists(st.integers(0, 40), max_size=3))
def test_merged_summaries_are_the_summary_of_the_whole(a: Values, cuts: list[int]) -> None:
    """Exactly, in any order, and through text."""
    frame = pl.DataFrame({"n": [*a, None, math.nan]})
    edges = [0, *sorted(min(cut, len(frame)) for cut in cuts), len(frame)]
    parts = [frame[start:end] for start, end in pairwise(edges)]
    summaries = [im.Summary.from_json(im.summarise(part, "n").to_json()) for part in parts]
    whole = im.summarise(frame.lazy(), "n")
    for order in (summaries, summaries[::-1]):
        total = im.Summary({})
        for one in order:
            total += one
        assert total == whole
    assert whole.properties["n"].missing == 2
    assert (whole.properties["n"].minimum, whole.properties["n"].maximum) == (min(a), max(a))


@given(values)
def test_values_of_a_summary_are_known_to_its_accuracy(a: Values) -> None:
    """Each value is in a bucket whose middle differs by 0.25 % at most."""
    middles = im.summarise(pl.DataFrame({"n": a}), "n").properties["n"].distribution()
    known = np.repeat(middles.points, middles.counts)
    bound = np.abs(np.sort(a)) * ACCURACY * (1 + 1e-9) + 1e-9
    assert (np.abs(known - np.sort(a)) <= bound).all()
    ends = np.repeat(middles.ends, middles.counts)
    assert (np.sort(a) <= ends + np.abs(ends) * 1e-9).all()


@given(values, values)
def test_distances_of_summaries_are_within_their_bounds(a: Values, b: Values) -> None:
    """KS is below the exact one by one bucket at most, Wasserstein off by 0.25 % of the values."""
    exact = between(a, b)
    summaries = [im.summarise(pl.DataFrame({"n": one}), "n") for one in (a, b)]
    found = im.compare(*summaries).row(0, named=True)
    largest = max(
        max(one.properties["n"].buckets.values()) / size
        for one, size in zip(summaries, (len(a), len(b)), strict=True)
    )
    assert exact["ks"] - largest - 1e-12 <= found["ks"] <= exact["ks"] + 1e-12
    bound = ACCURACY * (np.abs(a).mean() + np.abs(b).mean()) * (1 + 1e-6) + 2e-9
    assert abs(found["wasserstein"] - exact["wasserstein"]) <= bound
    assert found["images"] is None


def test_a_summary_and_a_frame() -> None:
    """Images of the frame are named where it is compared with a stored summary."""
    rng = np.random.default_rng(0)
    day = extracted({"width": [int(one) for one in rng.integers(300, 400, 200)]})
    night = extracted({"width": [int(one) for one in rng.integers(300, 400, 150)] + [512] * 50})
    exact = im.compare(day, night).row(0, named=True)
    found = im.compare(im.summarise(day), night).row(0, named=True)
    assert found["images"]
    assert found["verdict"] == exact["verdict"] == "shifted"
    chosen = night.filter(pl.col("path").is_in(found["images"]))
    widths = chosen["path_imgmeta"].struct.field("width")
    assert widths.to_list() == [512] * 5


def test_summaries_in_parquet(tmp_path: Path) -> None:
    """Parts written with their summaries give that of the whole, without a row being read."""
    frame = extracted({"brightness": list(np.linspace(0, 1, 100))})
    files = [tmp_path / f"{part}.parquet" for part in range(3)]
    for part, file in enumerate(files):
        rows = frame[part * 40 : part * 40 + 40]
        im.write_parquet(rows, file, metadata=im.summarise(rows).metadata)
    assert im.Summary.from_parquet(files) == im.summarise(frame)
    streamed = tmp_path / "streamed.parquet"
    im.sink_parquet(frame.lazy(), streamed, metadata=im.summarise(frame).metadata)
    assert im.Summary.from_parquet(streamed) == im.summarise(frame)
    # They stay beside what the package itself writes there.
    assert pl.read_parquet_metadata(streamed)["imgmeta"]


def test_a_summary_is_small() -> None:
    """However many values there are, of nine properties it takes less than 400 kB as text."""
    rng = np.random.default_rng(0)
    columns: dict[str, NDArray[np.float64]] = {
        name: rng.lognormal(0, 2, 100_000) for name in im.GROUPS["standard"]
    }
    assert len(im.summarise(pl.DataFrame(columns)).to_json()) < 400_000


FRAME = extracted({"brightness": [0.1], "mode": ["L"]})
SUMMARY = im.summarise(FRAME)

MISTAKES: dict[str, Mistake] = {
    "nothing in common": (
        lambda: im.compare(FRAME, extracted({"width": [1]})),
        im.ColumnError,
        (
            "the data sets must have a property in common, got 'brightness' in one and 'width' in"
            " the other"
        ),
    ),
    "words": (
        lambda: im.summarise(FRAME, "mode"),
        im.ColumnError,
        "`properties` must name numbers or Booleans, got 'mode' of dtype String",
    ),
    "no numbers": (
        lambda: im.summarise(extracted({"mode": ["L"]})),
        im.ColumnError,
        "the frame must have a property that is a number or a Boolean, got none",
    ),
    "not in the summary": (
        lambda: im.compare(FRAME, SUMMARY, properties=["width"]),
        im.ColumnError,
        (
            "`properties` must name a property or a column of the frame, got 'width'"
            "\n\nProperties: 'brightness', 'mode'\n\nColumns: 'path'"
        ),
    ),
    "only in the frame": (
        lambda: im.compare(im.Summary({}), FRAME, properties="brightness"),
        im.ColumnError,
        (
            "the summary must have the properties that are compared, got no 'brightness'"
            "\n\nProperties: none"
        ),
    ),
    "no frame": (
        lambda: im.compare(FRAME, "b.parquet"),  # type: ignore[arg-type]
        TypeError,
        "a DataFrame, a LazyFrame or a Summary can be compared, got str",
    ),
    "no summary": (
        lambda: im.Summary.from_json("{}"),
        im.PropertyError,
        "a summary must be what `to_json` writes, got '{}'",
    ),
    "another form": (
        lambda: im.Summary.from_json('{"form":2,"accuracy":0.0025,"properties":{}}'),
        im.PropertyError,
        "the summary is in the form of another release, which this one cannot read",
    ),
    "no file": (
        lambda: im.Summary.from_parquet([]),
        im.PropertyError,
        "`files` must name at least one Parquet file, got none",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_explained(mistake: str) -> None:
    """Messages say what was expected, what was given, and what to do."""
    mistakes.check(*MISTAKES[mistake])


def test_versions_are_not_mixed() -> None:
    """Summaries of two versions of a definition cannot be merged."""
    text = SUMMARY.to_json().replace('"version":1', '"version":2')
    with pytest.raises(
        im.PropertyError, match=r"^summaries of 'brightness' must be of one version"
    ):
        SUMMARY + im.Summary.from_json(text)


def test_a_file_without_a_summary_is_named(tmp_path: Path) -> None:
    """The error says how it is written."""
    im.write_parquet(FRAME, tmp_path / "plain.parquet")
    with pytest.raises(im.PropertyError, match=r"plain\.parquet has no summary in its metadata"):
        im.Summary.from_parquet(tmp_path / "plain.parquet")
