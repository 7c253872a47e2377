"""Thresholds from labels hold the rate of false alarms that was asked for."""

from __future__ import annotations

import mistakes
import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from mistakes import Mistake
from tables import extracted

import polars_imgmeta as im

DARK = im.Rule(name="dark", property="brightness", below=0.2, reason="dark")
BRIGHT = im.Rule(name="bright", property="brightness", above=0.8, reason="bright")
EXTREME = im.Rule(name="extreme", property="brightness", below=0.2, above=0.8, reason="extreme")


def labelled(good: list[float], bad: list[float]) -> pl.DataFrame:
    """Return a frame of good and bad images."""
    labels = [False] * len(good) + [True] * len(bad)
    return extracted({"brightness": [*good, *bad]}, bad=labels)


@given(
    good=st.lists(st.floats(0, 1), min_size=60, max_size=200),
    bad=st.lists(st.floats(0, 1), max_size=10),
    rate=st.sampled_from([0.05, 0.1, 0.3]),
    rule=st.sampled_from([DARK, BRIGHT, EXTREME]),
)
def test_flagged_rows_are_those_that_the_rate_allows(
    good: list[float], bad: list[float], rate: float, rule: im.Rule
) -> None:
    """The number is the quantile of SciPy's binomial; one more would be too many."""
    sides = 2 if rule is EXTREME else 1
    allowed = int(scipy.stats.binom.ppf(0.05 / sides, len(good), rate / sides)) - 1
    frame, labels = labelled(good, bad), {rule.name: "bad"}
    if allowed < 0:
        with pytest.raises(im.PropertyError, match="good rows are needed"):
            im.calibrate(frame, labels, rule, false_alarm_rate=rate)
        return
    found = im.calibrate(frame, labels, rule, false_alarm_rate=rate)
    new, row = found.rules[rule.name], found.table.row(0, named=True)
    assert isinstance(new, im.Rule)
    if rule.below is not None:
        assert new.below == sorted(good)[allowed]
    if rule.above is not None:
        assert new.above == sorted(good, reverse=True)[allowed]
    # The table counts what the new rule flags.
    flags = im.flag_issues(frame, new)["path_issues"].struct.field(rule.name)
    assert row["false_alarms"] == flags[: len(good)].sum() <= sides * allowed
    assert row["found"] == flags[len(good) :].sum()
    if bad:
        interval = scipy.stats.binomtest(row["found"], len(bad)).proportion_ci(method="wilson")
        assert row["found_at_least"] == pytest.approx(interval.low, abs=1e-9)
        assert row["found_at_most"] == pytest.approx(interval.high, abs=1e-9)


@pytest.mark.parametrize("count", [59, 150, 1_000])
def test_the_promise_holds(count: int) -> None:
    """Over many labelled samples the true rate is above the one asked for in few, as promised."""
    rng = np.random.default_rng(0)
    broken = 0
    for _ in range(200):
        frame = labelled(list(rng.random(count)), [])
        rule = im.calibrate(frame, {"dark": "bad"}, DARK).rules["dark"]
        assert isinstance(rule, im.Rule)
        assert isinstance(rule.below, float)
        broken += rule.below > 0.05  # the true rate, of uniform values
    assert broken <= 0.05 * 200 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_rows_without_label_or_value_are_unused() -> None:
    """They count neither as good nor as bad."""
    frame = labelled([0.5] * 70, [0.1] * 3)
    odd = extracted({"brightness": [None, 0.01, float("nan")]}, bad=[True, None, False])
    found = im.calibrate(pl.concat([frame, odd]).lazy(), {"dark": "bad"})
    assert found.table.select("good", "bad", "found", "unused").row(0) == (70, 3, 3, 3)
    assert len(found.rules) == len(im.RULE_SETS["default"])
    assert found.rules["dark"].source == (
        "calibrated on 70 good images: at most 0.05 of such are flagged, at a confidence of 0.95"
    )


FRAME = labelled([0.5] * 40, [0.1])

MISTAKES: dict[str, Mistake] = {
    "too few": (
        lambda: im.calibrate(FRAME, {"dark": "bad"}),
        im.PropertyError,
        (
            "59 good rows are needed to assure 0.05 false alarms of 'dark' at a confidence of"
            " 0.95, got 40\n\nHint: these allow `false_alarm_rate=0.073`"
        ),
    ),
    "none": (
        lambda: im.calibrate(FRAME.clear(), {"dark": "bad"}),
        im.PropertyError,
        (
            "59 good rows are needed to assure 0.05 false alarms of 'dark' at a confidence of"
            " 0.95, got 0"
        ),
    ),
    "no Boolean": (
        lambda: im.calibrate(FRAME, {"dark": "path"}),
        im.ColumnError,
        (
            "`labels` must name a Boolean column for 'dark', true where an image is bad, got"
            " 'path' of String"
        ),
    ),
    "no column": (
        lambda: im.calibrate(FRAME, {"dark": "worse"}),
        im.ColumnError,
        (
            "`labels` must name a Boolean column for 'dark', true where an image is bad, got"
            " 'worse', which does not exist"
        ),
    ),
    "unknown rule": (
        lambda: im.calibrate(FRAME, {"drak": "bad"}),
        im.PropertyError,
        "`labels` must name rules, got 'drak'\n\nHint: did you mean 'dark'?",
    ),
    "no threshold": (
        lambda: im.calibrate(FRAME, {"odd_size": "bad"}),
        im.PropertyError,
        (
            "a rule must have a number as its threshold to be calibrated, got 'odd_size', which"
            " is: outlier by ratio, factor 10"
        ),
    ),
    "no labels": (
        lambda: im.calibrate(FRAME, {}),
        im.PropertyError,
        "`labels` must name a Boolean column for at least one rule, got {}",
    ),
    "rate": (
        lambda: im.calibrate(FRAME, {"dark": "bad"}, false_alarm_rate=5),
        im.PropertyError,
        "`false_alarm_rate` must be between 0 and 1, got 5",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_explained(mistake: str) -> None:
    """Messages say what was expected, what was given, and what to do."""
    mistakes.check(*MISTAKES[mistake])


def test_the_rate_of_the_hint_is_possible() -> None:
    """What the error proposes works."""
    im.calibrate(FRAME, {"dark": "bad"}, false_alarm_rate=0.073)
