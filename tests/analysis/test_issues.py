"""Which images are bad: verdicts, their order, and what happens without values."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import mistakes
import numpy as np
import polars as pl
import pytest
from engines import ENGINES, run
from hypothesis import example, given
from hypothesis import strategies as st
from mistakes import Mistake
from polars.testing import assert_frame_equal
from tables import chunked, extracted, fractions

import polars_imgmeta as im
from polars_imgmeta.cli.samples import make_samples
from polars_imgmeta.typing import OutlierMethod

DARK = im.Rule(name="dark", property="brightness", below=0.2, reason="dark", severity="high")
ODD = im.Rule(name="odd", property="n", below=-1, above=1, reason="far from 0", severity="low")
GREY = im.Rule(name="grey", property="is_greyscale", equals=True, reason="grey")
FAR = im.OutlierRule(name="far", property="n", reason="far from the others", minimum=3)
RULES = im.RuleSet([DARK, ODD, GREY, FAR])

numbers = st.none() | st.floats(allow_nan=True) | st.sampled_from([-2.0, 0.0, 1.0, 3.5])
rows = st.lists(st.tuples(fractions, st.none() | st.booleans(), numbers), min_size=1, max_size=20)


def frame_of(drawn: list[tuple[float | None, bool | None, float | None]]) -> pl.DataFrame:
    """Return rows as a frame with two properties and a column of the user."""
    brightness, grey, n = (list(values) for values in zip(*drawn, strict=True))
    frame = extracted({"brightness": brightness, "is_greyscale": grey})
    return frame.with_columns(pl.Series("n", n, pl.Float64))


@given(drawn=rows, order=st.randoms(use_true_random=False), cut=st.integers(0, 5))
@pytest.mark.parametrize("engine", ENGINES)
def test_the_list_does_not_depend_on_how_rows_come(
    engine: str,
    drawn: list[tuple[float | None, bool | None, float | None]],
    order: object,
    cut: int,
) -> None:
    """Rows may come in any order, in any chunks, and through any engine."""
    frame = frame_of(drawn)
    places = list(range(len(drawn)))
    order.shuffle(places)  # type: ignore[attr-defined] # random.Random
    other = chunked(frame[places], [cut, 1])
    found = run(engine, other, lambda f: im.issues(f, RULES))
    assert_frame_equal(found, im.issues(frame, RULES))
    flags = run(engine, other, lambda f: im.flag_issues(f, RULES)).sort("path")
    assert_frame_equal(flags, im.flag_issues(frame, RULES).sort("path"))


@given(rows)
def test_the_list_and_the_flags_agree(
    drawn: list[tuple[float | None, bool | None, float | None]],
) -> None:
    """An issue is listed where its flag is true, with the value and the threshold it crossed."""
    frame = frame_of(drawn)
    flagged = im.flag_issues(frame, RULES)
    assert flagged.columns == [*frame.columns, "path_issues"]
    expected = {
        (path, name)
        for path, flags in flagged.select("path", "path_issues").iter_rows()
        for name, flag in flags.items()
        if flag
    }
    listed = im.issues(frame, RULES)
    assert {(row["locator"], row["rule"]) for row in listed.iter_rows(named=True)} == expected
    assert len(listed) == len(expected)
    for (brightness, grey, n), flags in zip(drawn, flagged["path_issues"], strict=True):
        known = {"brightness": brightness, "n": n}
        for name, value in (("dark", "brightness"), ("odd", "n"), ("far", "n")):
            absent = known[value] is None or math.isnan(known[value] or 0)
            assert flags[name] is None or not absent
        assert flags["grey"] == grey
    for row in listed.iter_rows(named=True):
        if row["rule"] == "grey":
            assert (row["value"], row["threshold"], row["excess"]) == (1, 1, 1)
        else:
            assert row["value"] != row["threshold"]
        assert 0 <= row["excess"] <= 1
        assert row["reason"] == RULES[row["rule"]].reason
        assert row["property"] == RULES[row["rule"]].property


@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=9), threshold=st.floats(0.05, 0.95))
def test_the_worst_are_first(values: list[float], threshold: float) -> None:
    """Severe issues come first, and of one rule those further beyond the threshold."""
    low = im.Rule(name="low", property="brightness", below=threshold, reason="low")
    high = im.Rule(
        name="high", property="brightness", above=threshold, reason="high", severity="high"
    )
    found = im.issues(extracted({"brightness": values}), [low, high])
    assert found["rule"].to_list() == sorted(found["rule"])  # high before low
    lows = found.filter(rule="low")["value"].to_list()
    highs = found.filter(rule="high")["value"].to_list()
    assert lows == pytest.approx(sorted(lows), abs=1e-12)
    assert highs == pytest.approx(sorted(highs, reverse=True), abs=1e-12)


def test_excess_is_the_way_to_the_limit() -> None:
    """It is 1 at the limit of a property, and half at twice a threshold far from any limit."""
    rules = [
        im.Rule(name="dark", property="brightness", below=0.2, reason="dark"),
        im.Rule(name="bright", property="brightness", above=0.8, reason="bright"),
        im.Rule(name="wide", property="width", above=100, reason="wide"),
    ]
    frame = extracted({"brightness": [0.0, 0.1, 0.9, 1.0], "width": [200, 1, 1, 1]})
    found = im.issues(frame, rules).sort("locator", "rule")
    assert found["excess"].round(6).to_list() == [1.0, 0.5, 0.5, 0.5, 1.0]


def test_defaults_judge_what_is_there() -> None:
    """Without rules named, those whose properties are absent are left out; others raise."""
    frame = extracted({"brightness": [0.1, 0.9, None, 0.5]})
    found = im.issues(frame).select("locator", "rule").rows()
    assert found == [("000.png", "dark"), ("001.png", "bright")]
    flags = im.flag_issues(frame)["path_issues"]
    assert [one.name for one in flags.dtype.fields] == ["dark", "bright"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("rows", [0, 1, 40])
@pytest.mark.parametrize("engine", ENGINES)
def test_without_any_value_there_is_no_issue(engine: str, rows: int) -> None:
    """Where no image could be read, thresholds of the data are none, and nothing is an issue."""
    frame = extracted({"brightness": [0.1] * 40, "size": [4] * 40, "is_greyscale": [True] * 40})
    unread = pl.lit(None, frame.schema["path_imgmeta"])
    frame = frame.with_columns(path_imgmeta=unread).head(rows)
    assert run(engine, frame, im.issues).is_empty()
    flags = run(engine, frame, im.flag_issues)["path_issues"].struct.unnest()
    assert flags.null_count().sum_horizontal().item() == rows * flags.width


def test_a_scan_is_gone_through_once(tmp_path: Path) -> None:
    """However many rules there are, each image of a lazy frame is read once."""
    calls: list[int] = []

    def counted(paths: pl.Series) -> pl.Series:
        calls.append(len(paths))
        return paths

    make_samples(tmp_path)
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    lazy = pl.LazyFrame({"path": paths}).with_columns(
        pl.col("path").map_batches(counted, pl.String, is_elementwise=True)
    )
    lazy = lazy.imgmeta.extract("path", ["standard", "quality"])  # type: ignore[attr-defined]
    found = im.issues(lazy).collect()
    assert sum(calls) == len(paths)
    assert {"blobs.png", "dusk.png"} & {Path(path).name for path in found["locator"]}


def outlier_limits(values: list[float], method: OutlierMethod, k: float) -> tuple[float, float]:
    """Return the thresholds of a method, by the standard library and NumPy."""
    centre = statistics.median(values)
    if method == "ratio":
        return centre / k, centre * k
    if method == "quartiles":
        first, third = np.percentile(values, [25, 75])
        return first - k * (third - first), third + k * (third - first)
    deviations = [abs(value - centre) for value in values]
    spread = statistics.median(deviations) / 0.6745 or statistics.fmean(deviations) / 0.7979
    return centre - k * spread, centre + k * spread


usual = st.lists(st.floats(0, 1000) | st.sampled_from([5.0, 7.0]), min_size=3, max_size=30)


@given(values=usual, method=st.sampled_from(["mad", "quartiles", "ratio"]), k=st.floats(0.5, 20))
def test_thresholds_of_outliers(values: list[float], method: OutlierMethod, k: float) -> None:
    """They are those of the standard library and NumPy, fitted before or in the query."""
    rule = im.OutlierRule(
        name="far", property="n", reason="far", method=method, factor=k, minimum=3
    )
    frame = pl.DataFrame({"n": [*values, None, math.nan]})
    fitted = im.RuleSet([rule]).fit(frame)["far"]
    assert isinstance(fitted, im.Rule)
    assert (fitted.below, fitted.above) == pytest.approx(outlier_limits(values, method, k))
    assert_frame_equal(im.flag_issues(frame, rule), im.flag_issues(frame, fitted))


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), numbers), min_size=1, max_size=40))
@example([("a", 0.0), ("a", 0.0), ("a", 1.3e308)])
@example([("a", math.nan), ("a", math.nan)])
@example([("a", -1.3e308), ("a", 1.3e308), ("a", 1.7e308), ("a", 1.7e308)])
def test_groups_are_judged_apart(drawn: list[tuple[str | None, float | None]]) -> None:
    """With `by`, each group has the verdicts that it has alone, before and after `fit`."""
    frame = pl.DataFrame(
        {"site": [site for site, _ in drawn], "n": [n for _, n in drawn], "row": range(len(drawn))},
        schema_overrides={"site": pl.String, "n": pl.Float64},
    )
    apart = im.OutlierRule(name="far", property="n", reason="far", by="site", minimum=3)
    alone = im.OutlierRule(name="far", property="n", reason="far", minimum=3)
    together = im.flag_issues(frame, apart)
    parts = [
        im.flag_issues(group, alone) for _, group in frame.group_by("site", maintain_order=True)
    ]
    assert_frame_equal(together.sort("row"), pl.concat(parts).sort("row"))
    try:
        fitted = im.RuleSet([apart]).fit(frame)
    except im.PropertyError:
        assert together["issues"].struct.field("far").is_null().all()
    else:
        assert_frame_equal(im.flag_issues(frame, fitted), together)


def test_outliers_of_enums_and_properties_as_groups() -> None:
    """Test cases, words and properties can be groups."""
    frame = extracted({"brightness": [0.5] * 9 + [0.9] * 9 + [0.5], "mode": ["L"] * 9 + ["P"] * 10})
    cut = im.test_cases(frame, "brightness", [0.6])
    for by in ("mode", "test_case"):
        rules = im.outliers(cut, "brightness", by=by)
        found = im.issues(cut, rules)["locator"].to_list()
        assert found == (["018.png"] if by == "mode" else [])


def test_greyscale_is_an_issue_among_colours_alone() -> None:
    """The default rule flags grey images where at least three quarters have colours."""
    rules = im.RuleSet([im.RULE_SETS["default"]["greyscale"]])
    few = extracted({"is_greyscale": [True, *[False] * 9]})
    many = extracted({"is_greyscale": [True] * 5 + [False] * 5})
    most = extracted({"is_greyscale": [True] * 9 + [False]})
    assert im.issues(few, rules)["locator"].to_list() == ["000.png"]
    assert im.issues(many, rules).is_empty()
    assert im.issues(most, rules).is_empty()


def test_binary_struct_and_no_locators() -> None:
    """Locators may be bytes, structs, or absent."""
    frame = extracted({"brightness": [0.1, 0.05]})
    binary = frame.with_columns(path=pl.col("path").cast(pl.Binary))
    assert im.issues(binary, DARK)["locator"].to_list() == [b"001.png", b"000.png"]
    struct = frame.with_columns(path=pl.struct(bytes=pl.lit(None, pl.Binary), path="path"))
    assert [one["path"] for one in im.issues(struct, DARK)["locator"]] == ["001.png", "000.png"]
    assert im.issues(frame.drop("path"), DARK)["locator"].to_list() == [None, None]
    renamed = frame.rename({"path": "file"})
    assert im.issues(renamed, DARK, locator="file")["locator"][0] == "001.png"


def test_flags_of_an_earlier_call_are_replaced() -> None:
    """A second call under the same name replaces, and other columns are safe."""
    frame = im.flag_issues(extracted({"brightness": [0.1]}), DARK)
    bright = im.Rule(name="bright", property="brightness", above=0.9, reason="bright")
    assert im.flag_issues(frame, bright)["path_issues"].to_list() == [{"bright": False}]


FRAME = extracted({"brightness": [0.1]}, n=[1.0], word=["x"])

MISTAKES: dict[str, Mistake] = {
    "property missing": (
        lambda: im.issues(FRAME, "cleanvision"),
        im.ColumnError,
        (
            "`rules` need properties that 'path_imgmeta' lacks: 'cleanvision_dark',"
            " 'cleanvision_light', 'cleanvision_low_information', 'mode', 'cleanvision_blurry',"
            " 'cleanvision_odd_aspect_ratio', 'cleanvision_size'"
            "\n\nHint: compute them with `add('cleanvision_dark', 'cleanvision_light',"
            " 'cleanvision_low_information', 'mode', 'cleanvision_blurry',"
            " 'cleanvision_odd_aspect_ratio', 'cleanvision_size')`, or leave out these rules:"
            " `rules.without('dark', 'light', 'low_information', 'grayscale', 'blurry',"
            " 'odd_aspect_ratio', 'odd_size')`"
        ),
    ),
    "no properties at all": (
        lambda: im.issues(FRAME.select("word"), im.RuleSet([im.RULE_SETS["default"]["dark"]])),
        im.ColumnError,
        (
            "`rules` need properties that the frame lacks: 'brightness'"
            "\n\nHint: compute them with `extract(locator, ['brightness'])`, or leave out these"
            " rules: `rules.without('dark')`"
        ),
    ),
    "unknown set": (
        lambda: im.issues(FRAME, "defalt"),  # type: ignore[arg-type]
        im.PropertyError,
        (
            "`rules` must be one of ['default', 'cleanvision'], got 'defalt'"
            "\n\nHint: did you mean 'default'?"
        ),
    ),
    "no rule": (
        lambda: im.issues(FRAME, []),
        im.PropertyError,
        "`rules` must be at least one, got none",
    ),
    "not a rule": (
        lambda: im.issues(FRAME, ["dark"]),  # type: ignore[list-item]
        im.PropertyError,
        "`rules` must be of type Rule or OutlierRule, got str",
    ),
    "twice": (
        lambda: im.RuleSet([DARK, DARK]),
        im.PropertyError,
        "`rules` must have each name once, got 'dark' twice",
    ),
    "unknown rule": (
        lambda: RULES.without("drak"),
        im.PropertyError,
        "there is no rule 'drak'\n\nHint: did you mean 'dark'?",
    ),
    "words": (
        lambda: im.issues(FRAME, im.Rule(name="r", property="word", below=1, reason="r")),
        im.ColumnError,
        (
            "the rule 'r' needs numbers, got 'word' of dtype String"
            "\n\nHint: a rule on words has `equals=`"
        ),
    ),
    "equals of numbers": (
        lambda: im.issues(FRAME, im.Rule(name="r", property="n", equals=True, reason="r")),
        im.ColumnError,
        "the rule 'r' needs a Boolean, got 'n' of dtype Float64",
    ),
    "no condition": (
        lambda: im.Rule(name="r", property="n", reason="r"),
        im.PropertyError,
        ("the rule 'r' must have `below`, `above` or both, or else `equals`, got none of them"),
    ),
    "not finite": (
        lambda: im.Rule(name="r", property="n", below=math.nan, reason="r"),
        im.PropertyError,
        "thresholds of the rule 'r' must be finite numbers, got nan",
    ),
    "severity": (
        lambda: im.Rule(name="r", property="n", below=1, reason="r", severity="bad"),  # type: ignore[arg-type]
        im.PropertyError,
        "`severity` must be one of ('low', 'medium', 'high'), got 'bad'",
    ),
    "method": (
        lambda: im.outliers(FRAME, "n", method="sigma"),  # type: ignore[arg-type]
        im.PropertyError,
        "`method` must be one of ('mad', 'quartiles', 'ratio'), got 'sigma'",
    ),
    "too few": (
        lambda: im.outliers(FRAME, "n"),
        im.PropertyError,
        (
            "the rule 'n_outlier' needs at least 8 values of 'n' to compute its thresholds"
            "\n\nHint: leave it out with `rules.without('n_outlier')`"
        ),
    ),
    "name taken": (
        lambda: im.flag_issues(FRAME, DARK, into="n"),
        im.ColumnError,
        (
            "`into` must name a new column, got 'n', which exists and holds no issues"
            "\n\nHint: choose another name with `into=`"
        ),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_explained(mistake: str) -> None:
    """Messages say what was expected, what was given, and what to do."""
    mistakes.check(*MISTAKES[mistake])


def test_a_thousand_groups_are_looked_up() -> None:
    """Thresholds of many groups are a table, not a condition within a condition."""
    values = np.random.default_rng(0).random(10_000)
    frame = pl.DataFrame({"n": values, "site": np.arange(10_000) % 1_000})
    rules = im.outliers(frame, "n", by="site", factor=5)
    same = im.OutlierRule(name="n", property="n", reason="far", factor=5, by="site")
    expected = im.flag_issues(frame, same)["issues"].struct.field("n")
    assert len(im.issues(frame, rules)) == expected.sum() > 0
