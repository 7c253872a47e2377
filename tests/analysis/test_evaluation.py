"""Metrics of test cases: intervals as scipy has them, and verdicts that follow from them."""

from __future__ import annotations

import importlib
from typing import Any

import mistakes
import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mistakes import Mistake
from polars.testing import assert_frame_equal
from scipy import stats

import polars_imgmeta as im
from polars_imgmeta.analysis.evaluation import VERDICTS
from polars_imgmeta.analysis.intervals import newcombe, wilson

confidences = st.floats(0.5, 0.999)
CORRECT = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.booleans()), max_size=40)


@given(count=st.integers(1, 2_000), share=st.floats(0, 1), confidence=confidences)
def test_wilson_is_that_of_scipy(count: int, share: float, confidence: float) -> None:
    """The interval of a proportion is scipy's, at 0 and at all successes too."""
    successes = round(share * count)
    expected = stats.binomtest(successes, count).proportion_ci(confidence, "wilson")
    found = wilson(np.array([float(successes)]), np.array([float(count)]), confidence)
    np.testing.assert_allclose(np.ravel(found), (expected.low, expected.high), atol=1e-12)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [  # the examples of the source, table II, method 10
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((10, 10, 0, 20), (0.6791, 1.0)),
        ((0, 10, 0, 10), (-0.2775, 0.2775)),
    ],
)
def test_newcombe_gives_the_examples_of_its_source(
    pairs: tuple[int, ...], expected: tuple[float, float]
) -> None:
    """The interval of a difference is the published one."""
    own, count, rest, other_count = (np.array([float(number)]) for number in pairs)
    found = newcombe(own, count, rest, other_count, 0.95)
    np.testing.assert_allclose(np.ravel(found), expected, atol=5e-5)


@given(rows=CORRECT, confidence=confidences, minimum=st.integers(1, 20))
@pytest.mark.parametrize("spelling", ["name", "expression", "mean"])
def test_shares_are_those_of_each_case_and_its_rest(
    spelling: str, rows: list[tuple[str, bool | None]], confidence: float, minimum: int
) -> None:
    """Counts, shares, values, differences and verdicts are those of plain Python."""
    frame = pl.DataFrame(rows, schema={"case": pl.String, "ok": pl.Boolean}, orient="row")
    metric: dict[str, str | pl.Expr] = {
        "name": "ok",
        "expression": pl.col("ok") == pl.lit(value=True),
        "mean": pl.col("ok").mean(),
    }
    table = im.evaluate_cases(
        frame, metric[spelling], "case", confidence=confidence, minimum=minimum
    )
    assert table["case"].to_list() == sorted({case for case, _ in rows})
    for row in table.iter_rows(named=True):
        own = [ok for case, ok in rows if case == row["case"] and ok is not None]
        rest = [ok for case, ok in rows if case != row["case"] and ok is not None]
        assert row["images"] == sum(case == row["case"] for case, _ in rows)
        assert row["share"] == pytest.approx(row["images"] / len(rows))
        assert row["rated"] == len(own)
        assert row["value"] == (pytest.approx(np.mean(own)) if own else None)
        if own:
            interval = stats.binomtest(sum(own), len(own)).proportion_ci(confidence, "wilson")
            assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
        else:
            assert row["low"] is row["high"] is None
        if own and rest:
            assert row["difference"] == pytest.approx(np.mean(own) - np.mean(rest))
        else:
            assert row["difference"] is row["difference_low"] is None
        if min(len(own), len(rest)) < minimum:
            assert row["verdict"] == "too small"
        elif row["difference_low"] > 0:
            assert row["verdict"] == "higher"
        else:
            assert row["verdict"] == ("lower" if row["difference_high"] < 0 else "no difference")


def test_the_interval_of_a_mean_is_that_of_scipy() -> None:
    """The bootstrap of means and of their difference agrees with scipy's, within its noise."""
    random = np.random.default_rng(1)
    own, rest = random.gamma(2, 1, 80), random.gamma(2, 1.5, 120)
    frame = pl.DataFrame({"case": ["a"] * 80 + ["b"] * 120, "score": [*own, *rest]})
    table = im.evaluate_cases(frame, "score", "case", resamples=20_000).row(0, named=True)
    options: dict[str, Any] = {"n_resamples": 20_000, "method": "percentile", "rng": 0}
    alone = stats.bootstrap((own,), np.mean, **options).confidence_interval
    both = stats.bootstrap(
        (own, rest), lambda a, b, axis: a.mean(axis) - b.mean(axis), **options
    ).confidence_interval
    assert (table["low"], table["high"]) == pytest.approx(alone, abs=0.02)
    assert (table["difference_low"], table["difference_high"]) == pytest.approx(both, abs=0.03)


def test_the_mean_of_many_images_has_the_interval_of_the_central_limit() -> None:
    """Beyond 1,000 images an interval is the normal one, also beside cases of few images."""
    random = np.random.default_rng(4)
    own, few, rest = random.gamma(2, 1, 30_000), random.gamma(2, 1, 50), random.gamma(2, 1.1, 2_000)
    frame = pl.DataFrame(
        {
            "case": ["a"] * len(own) + ["b"] * len(few) + ["c"] * len(rest),
            "score": [*own, *few, *rest],
        }
    )
    table = im.evaluate_cases(frame, "score", "case", resamples=20_000)
    others = [np.concatenate(pair) for pair in ((few, rest), (own, rest), (own, few))]
    for row, scores, other in zip(
        table.iter_rows(named=True), (own, few, rest), others, strict=True
    ):
        error, other_error = (part.std() / np.sqrt(len(part)) for part in (scores, other))
        low, high = stats.norm.interval(0.95, scores.mean(), error)
        assert (row["low"], row["high"]) == pytest.approx((low, high), abs=error / 6)
        both = np.hypot(error, other_error)
        low, high = stats.norm.interval(0.95, scores.mean() - other.mean(), both)
        found = (row["difference_low"], row["difference_high"])
        assert found == pytest.approx((low, high), abs=both / 6)


def test_any_expression_is_bootstrapped() -> None:
    """An aggregate agrees with scipy's bootstrap of the same statistic."""
    random = np.random.default_rng(2)
    own, rest = random.normal(0, 1, 60), random.normal(0.5, 1, 90)
    frame = pl.DataFrame({"case": ["a"] * 60 + ["b"] * 90, "score": [*own, *rest]})
    metric = pl.col("score").quantile(0.9, "linear") - pl.col("score").median()
    table = im.evaluate_cases(frame, metric, "case", resamples=4_000).row(0, named=True)

    def statistic(scores: Any, axis: int) -> Any:  # noqa: ANN401 - arrays
        return np.quantile(scores, 0.9, axis=axis) - np.median(scores, axis=axis)

    expected = stats.bootstrap(
        (own,), statistic, n_resamples=4_000, method="percentile", rng=0
    ).confidence_interval
    assert table["value"] == pytest.approx(statistic(own, 0))
    assert table["difference"] == pytest.approx(statistic(own, 0) - statistic(rest, 0))
    assert (table["low"], table["high"]) == pytest.approx(expected, abs=0.08)


@given(
    rows=st.lists(
        st.tuples(st.sampled_from("ab"), st.none() | st.floats(-9, 9) | st.just(float("nan"))),
        max_size=12,
    ),
    data=st.data(),
)
@pytest.mark.parametrize("metric", ["score", pl.col("score").max()], ids=["mean", "max"])
def test_results_follow_from_the_rows_and_the_seed(
    metric: str | pl.Expr, rows: list[tuple[str, float | None]], data: st.DataObject
) -> None:
    """Neither the order of rows, nor lazy or eager, changes anything; another seed may."""
    schema = {"case": pl.String, "score": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    mixed = pl.DataFrame(data.draw(st.permutations(rows)), schema=schema, orient="row")
    table = im.evaluate_cases(frame, metric, "case", resamples=20)
    assert_frame_equal(im.evaluate_cases(mixed, metric, "case", resamples=20), table)
    assert_frame_equal(im.evaluate_cases(frame.lazy(), metric, "case", resamples=20), table)
    for row in table.filter(pl.col("low").is_not_null()).iter_rows(named=True):
        assert row["low"] <= row["high"]


def test_intervals_contain_the_truth_as_often_as_they_say() -> None:
    """Of 300 data sets without a difference, about 95 % of the intervals contain 0."""
    random = np.random.default_rng(3)
    contained = 0
    for _ in range(300):
        frame = pl.DataFrame({"case": ["a"] * 40 + ["b"] * 60, "score": random.normal(size=100)})
        row = im.evaluate_cases(frame, "score", "case", resamples=200).row(0, named=True)
        contained += row["difference_low"] <= 0 <= row["difference_high"]
    assert 270 <= contained <= 297


def test_cases_are_in_their_order_and_may_be_properties() -> None:
    """Cases of an Enum are in its order, empty ones left out; a struct's property is a metric."""
    frame = pl.DataFrame(
        {
            "path_imgmeta": [
                {"brightness": value, "error": None, "auto_extracted": "path@00000000"}
                for value in (0.9, 0.1, 0.2, None)
            ]
        }
    )
    cut = im.test_cases(frame, "brightness", [0.15, 0.5, 0.6])
    table = im.evaluate_cases(cut, "brightness")
    selected = cs.by_name("path_imgmeta").as_expr().struct.field("brightness")
    assert_frame_equal(im.evaluate_cases(cut, selected), table)
    assert table["test_case"].cast(pl.String).to_list() == [
        "brightness [0, 0.15)",
        "brightness [0.15, 0.5)",
        "brightness [0.6, 1]",
        "brightness missing",
    ]
    assert table["value"].to_list() == [0.1, 0.2, 0.9, None]
    assert table.schema["verdict"] == VERDICTS
    assert table["low"].null_count() == 4  # one image does not vary


@pytest.mark.parametrize("rows", [50, 3_000])
def test_sums_that_overflow_are_infinite_without_a_warning(rows: int) -> None:
    """Ratings near the largest number are odd, but no failure."""
    frame = pl.DataFrame({"case": ["a", "b"] * (rows // 2), "score": 1.7e308})
    table = im.evaluate_cases(frame, "score", "case", resamples=20)
    assert table["value"].to_list() == [float("inf")] * 2
    assert table["low"].null_count() == 2


def test_few_rows_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are the same to the last bit in blocks of one draw."""
    frame = pl.DataFrame({"case": ["a", "b"] * 50, "score": range(100)})
    for metric in ("score", pl.col("score").median()):
        table = im.evaluate_cases(frame, metric, "case", resamples=30)
        with monkeypatch.context() as patch:
            evaluation = importlib.import_module("polars_imgmeta.analysis.evaluation")
            patch.setattr(evaluation, "_MOST_DRAWN", 700)
            blocks = im.evaluate_cases(frame, metric, "case", resamples=30)
        assert blocks["value"].equals(table["value"])
        assert blocks.shape == table.shape


def test_charts_have_a_mark_for_each_case() -> None:
    """The chart has the numbers of the table, and the words for cases and metric."""
    frame = pl.DataFrame({"case": ["<b>", None] * 50, "ok": [True, False, True, True] * 25})
    chart = im.plot_cases(frame, pl.col("ok").mean(), "case", title="accuracy").to_dict()
    assert chart["title"]["text"] == "accuracy by case"
    (rows,) = chart["datasets"].values()
    assert [row["case"] for row in rows] == ["<\N{WORD JOINER}b>", "(none)"]
    assert [row["value"] for row in rows] == [1.0, 0.5]
    assert {row["verdict"] for row in rows} == {"higher", "lower"}


def test_charts_show_the_largest_cases() -> None:
    """Of many cases those with most images are drawn, and a frame without rows draws none."""
    frame = pl.DataFrame({"case": [number // 2 for number in range(250)], "ok": True})
    chart = im.plot_cases(frame.with_columns(case=pl.col("case").clip(10)), "ok", "case").to_dict()
    (rows,) = chart["datasets"].values()
    assert len(rows) == 100
    assert "10" in {row["case"] for row in rows}
    assert "the largest 100 of 115 cases are drawn" in chart["title"]["subtitle"]
    im.plot_cases(frame.clear(), "ok", "case").to_dict()


FRAME = pl.DataFrame({"test_case": ["a", "b", "b"], "label": ["x", "y", "y"], "ok": True})

MISTAKES: dict[str, Mistake] = {
    "no cases": (
        lambda: im.evaluate_cases(FRAME.drop("test_case"), "ok"),
        im.ColumnError,
        (
            "`by` must name the column of the cases, got 'test_case'"
            "\n\nHint: make one with `test_cases`\n\nColumns: 'label', 'ok'"
        ),
    ),
    "a name of the result": (
        lambda: im.evaluate_cases(FRAME.rename({"label": "images"}), "ok", "images"),
        im.ColumnError,
        (
            "`by` must not have the name of a column of the result, got 'images'"
            "\n\nHint: rename the column"
        ),
    ),
    "words": (
        lambda: im.evaluate_cases(FRAME, "label"),
        im.ColumnError,
        "`metric` must be a number or a Boolean, got values of dtype String",
    ),
    "several": (
        lambda: im.evaluate_cases(FRAME, pl.col("ok").head(2)),
        im.ColumnError,
        "`metric` must be one value for each image, or one for all, got 2 values for 3 images",
    ),
    "no expression": (
        lambda: im.evaluate_cases(FRAME, 1),  # type: ignore[arg-type]
        im.ColumnError,
        "`metric` must be the name of a property or column, or an expression, got 1",
    ),
    "confidence": (
        lambda: im.evaluate_cases(FRAME, "ok", confidence=95),
        ValueError,
        "`confidence` must be between 0 and 1, such as 0.95, got 95",
    ),
    "resamples": (
        lambda: im.plot_cases(FRAME, "ok", resamples=0),
        ValueError,
        "`resamples` must be a positive whole number, got 0",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_explained(mistake: str) -> None:
    """Messages say what was expected, what was given, and what to do."""
    mistakes.check(*MISTAKES[mistake])
