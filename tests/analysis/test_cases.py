"""Test cases: every row is in exactly one, and names state the range of values."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

import mistakes
import numpy as np
import polars as pl
import pytest
from engines import ENGINES, run
from hypothesis import given
from hypothesis import strategies as st
from mistakes import Mistake
from polars.testing import assert_frame_equal

import polars_imgmeta as im
from polars_imgmeta.analysis.cases import BinsLike
from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.column.structs import struct_dtype
from polars_imgmeta.typing import PropertyName

EXTRACTED: tuple[PropertyName, ...] = ("width", "brightness", "sharpness")


def extracted(rows: list[dict[str, object] | None]) -> pl.DataFrame:
    """Return a frame like the result of `extract`, with given values."""
    marked = [None if row is None else {**row, "auto_extracted": "path@00000000"} for row in rows]
    dtype = struct_dtype(CATALOGUE[name] for name in EXTRACTED)
    return pl.DataFrame(
        {"path": [str(row) for row in range(len(rows))], "path_imgmeta": marked},
        schema={"path": pl.String(), "path_imgmeta": dtype},
    )


def bright(values: Sequence[float | None]) -> pl.DataFrame:
    """Return a frame of images with given brightness."""
    return extracted([{"brightness": value} for value in values])


def cases_of(frame: pl.DataFrame, name: str = "test_case") -> list[str]:
    """Return the categories of a column of test cases."""
    dtype = frame.schema[name]
    assert isinstance(dtype, pl.Enum)
    return dtype.categories.to_list()


fractions = st.floats(0, 1) | st.sampled_from([0.0, 0.25, 0.5, 1.0])
bright_rows = st.lists(st.none() | fractions, max_size=30)
ascending = st.lists(fractions, min_size=1, max_size=6, unique=True).map(sorted)
numbers = st.lists(
    st.none() | st.floats(width=64) | st.sampled_from([-1.0, 0.0, 0.5, 7.0]), max_size=30
)


@given(values=bright_rows, edges=ascending)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_row_is_where_its_value_is(
    engine: str, values: list[float | None], edges: list[float]
) -> None:
    """The case is that of a bisection, on each engine; null values are in the last one."""
    frame = bright(values)
    cut = run(engine, frame, lambda f: im.test_cases(f, "brightness", edges))
    inner = [edge for edge in edges if 0 < edge < 1]
    places = [len(inner) + 1 if v is None else bisect_right(inner, v) for v in values]
    assert cut["test_case"].to_physical().to_list() == places
    assert_frame_equal(cut.drop("test_case"), frame)


@given(edges=ascending)
def test_names_and_their_order_follow_from_the_edges(edges: list[float]) -> None:
    """Each case starts where the previous one ends, from limit to limit."""
    names = cases_of(im.test_cases(bright([]), "brightness", edges))
    ranges = [name.removeprefix("brightness [").rstrip("])").split(", ") for name in names[:-1]]
    assert names[-1] == "brightness missing"
    assert [float(start) for start, _ in ranges] == [0, *(e for e in edges if 0 < e < 1)]
    assert [end for _, end in ranges[:-1]] == [start for start, _ in ranges[1:]]
    assert names[-2].endswith(", 1]")
    assert all(name.endswith(")") for name in names[:-2])


@given(values=numbers, edges=st.lists(st.floats(-9, 9), min_size=1, max_size=5, unique=True))
@pytest.mark.parametrize("engine", ENGINES)
def test_columns_of_the_user(engine: str, values: list[float | None], edges: list[float]) -> None:
    """Any numbers are cut, infinite ones included; NaN counts as missing."""
    edges = sorted(edges)
    frame = pl.DataFrame({"my.column [x]": values}, schema={"my.column [x]": pl.Float64})
    cut = run(engine, frame, lambda f: im.test_cases(f, "my.column [x]", edges))
    places = [
        len(edges) + 1 if v is None or math.isnan(v) else bisect_right(edges, v) for v in values
    ]
    assert cut["test_case"].to_physical().to_list() == places


@given(values=numbers, bins=st.integers(1, 7) | st.integers(1, 7).map(im.Quantiles))
def test_computed_edges_hold_for_any_numbers(
    values: list[float | None], bins: int | im.Quantiles
) -> None:
    """Ranges ascend, contain the values of their rows, and are at most as many as requested."""
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Float64})
    cut = im.test_cases(frame, "x", bins)
    names = cases_of(cut)
    count = bins.at if isinstance(bins, im.Quantiles) else bins
    assert isinstance(count, int)
    assert names[-1] == "x missing"
    assert len(names) - 1 <= count
    bounds = [float(name.split(", ")[1][:-1]) for name in names[:-1]]
    assert all(before < after for before, after in pairwise(bounds))
    for value, case in zip(values, cut["test_case"], strict=True):
        if value is None or math.isnan(value):
            assert case == "x missing"
        else:
            least, most = (float(part) for part in case.removeprefix("x ")[1:-1].split(", "))
            assert least <= value < most or value == most == math.inf


@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=60), count=st.integers(1, 8))
def test_bins_are_equally_wide_but_for_the_rounding(values: list[float], count: int) -> None:
    """Computed edges are those of NumPy, within a hundredth of a bin."""
    frame = pl.DataFrame({"x": values})
    names = cases_of(im.test_cases(frame, "x", count))
    starts = [float(name.split("[")[1].split(",")[0]) for name in names[1:-1]]
    width = (max(values) - min(values)) / count
    if width < 1e-9:
        assert len(starts) < count
        return
    expected = np.linspace(min(values), max(values), count + 1)[1:-1]
    np.testing.assert_allclose(starts, expected, rtol=0, atol=width / 100)


@given(values=st.lists(st.integers(-1000, 1000), min_size=1, unique=True), count=st.integers(1, 5))
def test_quantiles_have_equally_many_rows(values: list[int], count: int) -> None:
    """Distinct integers close to each other are split into bins of equal size."""
    frame = pl.DataFrame({"x": np.argsort(np.argsort(values))})
    cut = im.test_cases(frame, "x", im.Quantiles(count))
    sizes = cut.group_by("test_case").len()["len"].to_list()
    assert sum(sizes) == len(values)
    if len(values) <= 200:  # beyond, edges are rounded to tens
        assert max(sizes) - min(sizes) <= 1 or len(values) < count


@given(
    common=st.sampled_from([4 / 3, 0.75, 1.0]),
    others=st.lists(st.floats(0.3, 4), max_size=60),
    copies=st.integers(0, 400),
)
def test_no_case_is_degenerate_by_default(common: float, others: list[float], copies: int) -> None:
    """Without bins there are up to four cases, none of which is far smaller than a quarter."""
    frame = pl.DataFrame({"aspect_ratio": [*others, *[common] * copies]})
    cut = im.test_cases(frame, "aspect_ratio")
    sizes = cut.group_by("test_case").len()["len"].to_list()
    assert len(cases_of(cut)) - 1 <= 4
    assert len(frame) < 16 or min(sizes) >= len(frame) // 16


def test_equal_values_stay_together() -> None:
    """Rows of equal values are never split, and edges that coincide are merged."""
    cut = im.test_cases(bright([0.123456789] * 6 + [0.2, 0.3]), "brightness", im.Quantiles(4))
    assert cases_of(cut) == ["brightness [0, 0.2)", "brightness [0.2, 1]", "brightness missing"]
    assert cut["test_case"].to_physical().to_list() == [0] * 6 + [1, 1]


@pytest.mark.parametrize("bins", [1, 3, im.Quantiles(3)], ids=repr)
@pytest.mark.parametrize("values", [[], [None, None], [0.5, 0.5]], ids=repr)
def test_what_cannot_be_cut_is_one_case(
    values: list[float | None], bins: int | im.Quantiles
) -> None:
    """No rows, only nulls and a single value give the whole range."""
    cut = im.test_cases(bright(values), "brightness", bins)
    assert cases_of(cut) == ["brightness [0, 1]", "brightness missing"]


@pytest.mark.parametrize(
    ("values", "bins", "expected"),
    [
        ([1, 2, 3, 4], 2, ["(-inf, 3)", "[3, inf)"]),
        ([1, 2, 3, 4], im.Quantiles(2), ["(-inf, 3)", "[3, inf)"]),
        ([100, 8000], 4, ["(-inf, 2080)", "[2080, 4050)", "[4050, 6030)", "[6030, inf)"]),
        ([0.1, 0.9], 4, ["(-inf, 0.3)", "[0.3, 0.5)", "[0.5, 0.7)", "[0.7, inf)"]),
        ([0.0, 1 / 3], 2, ["(-inf, 0.167)", "[0.167, inf)"]),
    ],
)
def test_computed_edges_are_short(values: list[float], bins: BinsLike, expected: list[str]) -> None:
    """Edges of integers are integers; others have few digits."""
    cut = im.test_cases(pl.DataFrame({"x": values}), "x", bins)
    assert cases_of(cut)[:-1] == [f"x {case}" for case in expected]


def test_properties_know_their_limits() -> None:
    """Edges at the limits of the property make no cases."""
    frame = extracted([{"width": 1, "brightness": 1.0}])
    assert cases_of(im.test_cases(frame, "brightness", np.linspace(0, 1, 3))) == [
        "brightness [0, 0.5)",
        "brightness [0.5, 1]",
        "brightness missing",
    ]
    assert cases_of(im.test_cases(frame, "width", [1, 640.0])) == [
        "width [1, 640)",
        "width [640, inf)",
        "width missing",
    ]


@given(rows=st.lists(st.none() | st.tuples(fractions, st.none() | fractions), max_size=20))
@pytest.mark.parametrize("engine", ENGINES)
def test_combined_cases_are_pairs_of_single_ones(
    engine: str, rows: list[tuple[float, float | None] | None]
) -> None:
    """Cases are ordered by the first property, then by the second."""
    frame = extracted(
        [None if row is None else {"brightness": row[0], "sharpness": row[1]} for row in rows]
    )
    by: dict[str, BinsLike] = {"brightness": [0.25, 0.5], "sharpness": [0.1]}
    both = run(engine, frame, lambda f: im.test_cases(f, by))
    for name, bins in by.items():
        frame = im.test_cases(frame, name, bins, into=name)
    expected = frame.select(
        test_case=pl.concat_str(pl.col("brightness").cast(pl.String), pl.lit(" & "), "sharpness")
    )
    assert_frame_equal(both.select(pl.col("test_case").cast(pl.String)), expected)
    assert cases_of(both) == [
        f"{first} & {second}"
        for first in cases_of(frame, "brightness")
        for second in cases_of(frame, "sharpness")
    ]


def test_several_names_share_the_bins() -> None:
    """Each of several names is cut by the same edges, also those of a generator."""
    frame = extracted([{"brightness": 0.1, "sharpness": 0.9}])
    edges = (edge / 2 for edge in [1])
    cut = im.test_cases(frame, ["brightness", "sharpness"], edges)
    assert cut["test_case"].to_list() == ["brightness [0, 0.5) & sharpness [0.5, 1]"]


def test_frames_cut_by_the_same_edges_are_of_one_dtype() -> None:
    """Frames can be concatenated, whatever their rows."""
    frames = [bright([0.1]), bright([]), bright([None, 0.9])]
    cut = pl.concat([im.test_cases(frame, "brightness", [0.5]) for frame in frames])
    assert cut["test_case"].to_physical().to_list() == [0, 2, 1]


def test_a_second_call_replaces_the_first() -> None:
    """A call can be repeated, also with other edges."""
    frame = bright([0.1, 0.9])
    once = im.test_cases(im.test_cases(frame, "brightness", [0.3]), "brightness", [0.5])
    assert_frame_equal(once, im.test_cases(frame, "brightness", [0.5]))


def test_flat_columns_are_cut_too() -> None:
    """Unnested properties are ordinary columns, without known limits."""
    flat = im.unnest(bright([0.1, 0.9]))
    assert im.test_cases(flat, "brightness", [0.5])["test_case"].to_list() == [
        "brightness (-inf, 0.5)",
        "brightness [0.5, inf)",
    ]


def test_counts_of_numpy() -> None:
    """A count may come from NumPy."""
    frame = bright([0.1, 0.4, 0.9])
    for bins, like in [(np.int64(3), 3), (im.Quantiles(np.uint8(2)), im.Quantiles(2))]:  # type: ignore[arg-type]
        cut = im.test_cases(frame, "brightness", bins)  # type: ignore[arg-type]
        assert cut.equals(im.test_cases(frame, "brightness", like))  # type: ignore[arg-type]


def test_lazy_frames_stay_lazy() -> None:
    """With edges, nothing is computed before `collect`."""
    frame = im.extract(pl.LazyFrame({"path": ["gone.png"]}), "path", on_error="raise")
    plan = im.test_cases(frame, "brightness", [0.5])
    assert isinstance(plan, pl.LazyFrame)
    assert (
        plan.collect_schema()["test_case"]
        == im.test_cases(bright([]), "brightness", [0.5]).schema["test_case"]
    )


FRAME = bright([0.1]).with_columns(label=pl.lit("cat"), n=1)
TWO = FRAME.with_columns(other_imgmeta="path_imgmeta")
AMBIGUOUS = FRAME.with_columns(brightness=0.0)

MISTAKES: dict[str, Mistake] = {
    "no bins for a lazy frame": (
        lambda: im.test_cases(FRAME.lazy(), "brightness"),
        im.PropertyError,
        (
            "`bins` of 'brightness' must be edges where the frame is lazy, got Quantiles(at=4),"
            " which needs the values"
            "\n\nHint: give edges, such as [0.25, 0.5], or collect the frame first"
        ),
    ),
    "bins of no kind": (
        lambda: im.test_cases(FRAME, "brightness", "four"),  # type: ignore[arg-type]
        im.PropertyError,
        (
            "`bins` of 'brightness' must be a count above 0 or finite, ascending edges, got 'four'"
            "\n\nHint: 4, [0.25, 0.5, 0.75], or `Quantiles(4)`"
        ),
    ),
    "falling edges": (
        lambda: im.test_cases(FRAME, "brightness", [0.5, 0.25]),
        im.PropertyError,
        (
            "`bins` of 'brightness' must be ascending edges, got [0.5, 0.25]"
            "\n\nHint: sort them and remove duplicates"
        ),
    ),
    "edges of another scale": (
        lambda: im.test_cases(FRAME, "brightness", [64, 128]),
        im.PropertyError,
        (
            "`bins` of 'brightness' must be edges between 0 and 1, got [64, 128]"
            "\n\nHint: the outer cases extend to the limits; give only the edges between"
        ),
    ),
    "bins as a mapping": (
        lambda: im.test_cases(FRAME, "brightness", {"brightness": [0.5]}),  # type: ignore[dict-item]
        im.PropertyError,
        (
            "`bins` of 'brightness' must be a count above 0 or finite, ascending edges,"
            " got {'brightness': [0.5]}\n\nHint: give a mapping of names and bins as `by`"
        ),
    ),
    "a number": (
        lambda: im.test_cases(FRAME, ["brightness", 1], 3),  # type: ignore[list-item]
        im.ColumnError,
        "`by` must name properties or columns, got 1",
    ),
    "count for a lazy frame": (
        lambda: im.test_cases(FRAME.lazy(), "brightness", 4),
        im.PropertyError,
        (
            "`bins` of 'brightness' must be edges where the frame is lazy, got 4, which needs the"
            " values\n\nHint: give edges, such as [0.25, 0.5], or collect the frame first"
        ),
    ),
    "misspelled": (
        lambda: im.test_cases(FRAME, "brigthness", 4),
        im.ColumnError,
        (
            "`by` must name a property or a column of the frame, got 'brigthness'"
            "\n\nHint: did you mean 'brightness'?"
            "\n\nProperties: 'width', 'brightness', 'sharpness'"
            "\n\nColumns: 'path', 'label', 'n'"
        ),
    ),
    "text": (
        lambda: im.test_cases(FRAME, "label", 4),
        im.ColumnError,
        "`by` must name numbers, got 'label', which is of dtype String",
    ),
    "property and column": (
        lambda: im.test_cases(AMBIGUOUS, "brightness", 4),
        im.ColumnError,
        (
            "`by` must say what is meant by 'brightness': it is the column 'brightness' and a"
            " property of 'path_imgmeta'"
            "\n\nHint: `column='path_imgmeta'` means that column's property"
        ),
    ),
    "property of two columns": (
        lambda: im.test_cases(TWO, "brightness", 4),
        im.ColumnError,
        (
            "`by` must say what is meant by 'brightness': it is a property of 'path_imgmeta' and"
            " a property of 'other_imgmeta'"
            "\n\nHint: `column='path_imgmeta'` means that column's property"
        ),
    ),
    "bins twice": (
        lambda: im.test_cases(FRAME, {"brightness": 2}, 3),
        im.PropertyError,
        "`bins` must be left out where `by` is a mapping that has them, got 3",
    ),
    "nothing": (
        lambda: im.test_cases(FRAME, []),
        im.PropertyError,
        "`by` must name at least one property or column, got none",
    ),
    "name taken": (
        lambda: im.test_cases(FRAME, "brightness", 4, into="label"),
        im.ColumnError,
        (
            "`into` must name a new column, got 'label', which exists and holds no test cases"
            "\n\nHint: choose another name with `into=`"
        ),
    ),
    "too many": (
        lambda: im.test_cases(
            extracted([{"width": 1}, {"width": 2}]), dict.fromkeys(EXTRACTED, range(1, 2))
        ).pipe(
            lambda f: im.test_cases(
                f, {"width": list(range(1, 5000)), "brightness": [0.3, 0.6]}, into="many"
            )
        ),
        im.PropertyError,
        (
            "`by` must combine to at most 10000 cases, got 20000 up to 'brightness'"
            "\n\nHint: give fewer bins"
        ),
    ),
    "fractions above 1": (
        lambda: im.Quantiles([25, 50]),
        im.PropertyError,
        (
            "`Quantiles` must be fractions between 0 and 1, got [25, 50]"
            "\n\nHint: the outer cases extend to the limits; give only the edges between"
        ),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_explained(mistake: str) -> None:
    """Messages say what was expected, what was given, and what to do."""
    mistakes.check(*MISTAKES[mistake])


@pytest.mark.parametrize(
    "bins",
    [
        0,
        -1,
        True,
        1.5,
        "3",
        "",
        b"3",
        [],
        [True],
        ["a"],
        [math.nan],
        [math.inf],
        [None],
        {},
        object(),
    ],
    ids=repr,
)
def test_other_bins_are_refused(bins: BinsLike) -> None:
    """Invalid bins and quantiles raise when the call is made."""
    with pytest.raises(im.PropertyError, match="must be"):
        im.test_cases(FRAME.lazy(), "n", bins)
    with pytest.raises(im.PropertyError, match=r"`Quantiles` must be"):
        im.Quantiles(bins)  # type: ignore[arg-type]


def test_the_column_can_be_named() -> None:
    """`column=` selects its properties before columns of the frame."""
    cut = im.test_cases(AMBIGUOUS, "brightness", [0.05], column="path_imgmeta")
    assert cut["test_case"].to_list() == ["brightness [0.05, 1]"]
    cut = im.test_cases(AMBIGUOUS, "n", [0.05], column="path_imgmeta")
    assert cut["test_case"].to_list() == ["n [0.05, inf)"]
