"""The test cases of a report: their numbers, and their section in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from browser import Browser
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from tables import extracted

import polars_imgmeta as im
from polars_imgmeta.display.report.cases import Suites, find_cases

ROWS = 240
NUMBERS = ["images", "share", "rated", "value", "low", "high", "difference", "verdict"]


def make_frame(seed: int = 0) -> pl.DataFrame:
    """Return images of which the darkest are rated worst, and noise that says nothing."""
    random = np.random.default_rng(seed)
    light = random.permutation(np.arange(ROWS) / ROWS)
    values = {"brightness": list(light), "noise": list(random.random(ROWS))}
    chance = np.where(light < 0.25, 0.3, 0.95)
    return extracted(values, correct=random.random(ROWS) < chance)


def find(frame: pl.DataFrame, metric: str = "correct", *columns: str) -> Suites:
    """Return the test cases of a frame whose images are told apart by their paths."""
    cases = [frame[name] for name in columns]
    return find_cases(frame["path_imgmeta"], cases, frame["path"], frame[metric])


def test_the_numbers_are_those_of_evaluate_cases() -> None:
    """Each property is cut as `test_cases` does by default, and that which tells most is first."""
    frame = make_frame()
    found = find(frame)
    assert (found.metric, found.words, found.rated) == ("correct", True, ROWS)
    assert found.value == pytest.approx(frame["correct"].mean())
    assert [(suite.name, suite.auto) for suite in found.shown] == [
        ("brightness", True),
        ("noise", True),
    ]
    assert found.judged == 8
    assert found.shown[0].certain > 0.4 > found.shown[1].certain
    for suite in found.shown:
        expected = im.evaluate_cases(im.test_cases(frame, suite.name), "correct")
        names = [f"{suite.name} {case.name}" for case in suite.cases]
        assert names == expected["test_case"].to_list()
        for case, row in zip(suite.cases, expected.iter_rows(named=True), strict=True):
            assert {name: case.numbers[name] for name in NUMBERS} == {
                name: row[name] for name in NUMBERS
            }


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc") | st.none(),  # the image
            st.none() | st.floats(0, 1),  # its brightness, whatever the image
            st.none() | st.sampled_from([0.0, 0.5, 1.0, float("nan"), float("inf")]),
        ),
        max_size=12,
    )
)
def test_the_lowest_images_of_a_case_come_first(
    rows: list[tuple[str | None, float | None, float | None]],
) -> None:
    """They are in the case, have a value, ascend, and are those of the lowest values."""
    images, light, scores = ([row[place] for row in rows] for place in range(3))
    frame = extracted({"brightness": light}, score=pl.Series(scores, dtype=pl.Float64))
    cut = im.test_cases(frame, "brightness", [0.5], into="case")
    found = find_cases(
        cut["path_imgmeta"], [cut["case"]], pl.Series("image", images, pl.String), cut["score"]
    )
    (suite,) = [one for one in found.shown if not one.auto]
    assert [case.name for case in suite.cases] == cut["case"].cast(
        pl.String
    ).unique().sort().to_list()
    # An image of several rows is shown where it is lowest.
    lowest: dict[str, tuple[float, int]] = {}
    for row, (image, _, score) in enumerate(rows):
        if image is not None and score is not None and np.isfinite(score):
            lowest[image] = min(lowest.get(image, (2.0, 0)), (score, row))
    for number, case in enumerate(suite.cases):
        inside = [row for row in range(len(rows)) if suite.number_of_case[row] == number]
        assert inside == (cut["case"].cast(pl.String) == case.name).arg_true().to_list()
        expected = sorted(one for one in lowest.values() if one[1] in inside)
        assert list(zip(case.values, case.rows, strict=True)) == expected


def test_what_cannot_differ_is_left_out() -> None:
    """Properties of one value, identities and the metric itself cut nothing; Booleans do."""
    random = np.random.default_rng(0)
    frame = extracted(
        {
            "width": [64] * ROWS,
            "perceptual_hash": list(random.integers(0, 1 << 60, ROWS)),
            "brightness": list(random.random(ROWS)),
            "is_greyscale": [*[True] * 60, *[False] * 170, *[None] * 10],
        }
    )
    frame = frame.with_columns(score=pl.col("path_imgmeta").struct.field("brightness"))
    greyscale = next(one for one in find(frame, "score").shown if one.name == "is_greyscale")
    assert [(case.name, case.numbers["images"]) for case in greyscale.cases] == [
        ("no", 170),
        ("yes", 60),
        ("missing", 10),
    ]
    assert [case.numbers["verdict"] for case in greyscale.cases][2] == "too small"
    assert {one.name for one in find(frame, "score").shown} == {"brightness", "is_greyscale"}
    itself = frame.rename({"score": "brightness"})
    assert {one.name for one in find(itself, "brightness").shown} == {"is_greyscale"}
    assert find(extracted({"format": ["PNG"] * 3}, ok=[True] * 3), "ok").shown == []


def test_of_many_cases_those_that_differ_most_are_shown() -> None:
    """They stay in their order, and other properties are named only."""
    names = ["brightness", "contrast", "sharpness", "symmetry", "noise", "blockiness", "border"]
    names += ["saturation", "vignetting", "grey_entropy"]
    random = np.random.default_rng(0)
    values = {name: list(random.random(2_000)) for name in names}
    light = np.array(values["brightness"])
    frame = extracted(values, score=light + 9 * (light > 0.7) * (light < 0.75))
    cut = im.test_cases(frame, "brightness", 20, into="case")
    found = find(cut, "score", "case")
    own, *properties = found.shown
    assert (own.name, own.auto, own.count, len(own.cases)) == ("case", False, 20, 12)
    table = im.evaluate_cases(cut, "score", "case").rows(named=True)
    differing = sorted(table, key=lambda row: -max(row["difference_low"], -row["difference_high"]))
    expected = {row["case"] for row in differing[:12]}
    assert [case.name for case in own.cases] == [
        row["case"] for row in table if row["case"] in expected
    ]
    assert len(properties) + len(found.others) == len(names)
    assert properties[0].name == "brightness"
    assert len(found.shown) == 8


def content(page: Path) -> dict[str, Any]:
    """Return the data of a page about test cases."""
    text = page.read_text("utf-8").split('<script type="application/json" id="data">')[1]
    cases: dict[str, Any] = json.loads(text.split("</script>")[0])["cases"]
    return cases


@pytest.mark.parametrize("lazy", [False, True])
def test_a_sample_has_the_images_of_the_cases(tmp_path: Path, *, lazy: bool) -> None:
    """Of more rows than are shown, numbers are of all, and the named images are among them."""
    frame = make_frame()
    made = im.report(
        frame.lazy() if lazy else frame,
        tmp_path / "p.html",
        metric="correct",
        sample=5,
        thumbnails=False,
    )
    data = content(made)
    assert [case["images"] for case in data["suites"][0]["cases"]] == [60] * 4
    for suite in data["suites"]:
        for number, case in enumerate(suite["cases"]):
            assert len(case["rows"]) == 6
            assert {suite["case_of"][row] for row in case["rows"]} == {number}


def test_numbers_without_an_end_are_valid_json(tmp_path: Path) -> None:
    """Infinite ratings and sums that overflow leave a page that a browser can read."""
    frame = extracted({"brightness": [0.1, 0.9] * 40})
    frame = frame.with_columns(score=pl.Series([float("inf"), 1.5e308, -1.5e308, 1e308] * 20))
    with np.errstate(over="ignore", invalid="ignore"):
        made = im.report(frame, tmp_path / "p.html", metric="score", thumbnails=False)
    assert content(made)["rated"] == 60


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("corect", "`metric` must name a property or a column of the frame, got 'corect'"),
        ("path", "`metric` must be a number or a Boolean, got values of dtype String"),
        (pl.col("correct"), "`metric` must be the name of a property or column, got"),
    ],
)
def test_mistakes_are_told_before_any_work(tmp_path: Path, metric: Any, message: str) -> None:  # noqa: ANN401 - also what is no name
    """Nothing is written where the metric is no column of numbers or Booleans."""
    with pytest.raises(im.ColumnError) as caught:
        im.report(make_frame(), tmp_path / "p.html", metric=metric)
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "p.html").exists()


def texts(browser: Browser, selector: str) -> list[str]:
    """Return what can be read in the elements that match."""
    return [one.text for one in browser.driver.find_elements(By.CSS_SELECTOR, selector)]


@pytest.mark.browser
def test_cases_are_listed_with_interval_verdict_and_images(
    browser: Browser, tmp_path: Path
) -> None:
    """A case has its numbers in words, a point on the scale of all, and its worst images."""
    frame = make_frame()
    browser.open(im.report(frame, tmp_path / "p.html", metric="correct", thumbnails=False))
    assert texts(browser, "#case-list caption") == ["brightness", "noise"]
    (said,) = texts(browser, "#case-list > p")
    share = np.mean(frame["correct"].to_numpy())
    assert f"The mean of correct is {share:.3g} over 240 rows." in said
    assert "Of 8 cases that are large enough to be judged, about 1 would differ by chance" in said
    dark, *others = browser.driver.find_elements(By.CSS_SELECTOR, "#case-list tbody tr")
    assert len(others) == 7
    worst = im.evaluate_cases(im.test_cases(frame, "brightness"), "correct").row(0, named=True)
    name, images, mean, _, verdict, pictures = dark.find_elements(By.CSS_SELECTOR, "th, td")
    assert name.text.split("\n") == ["[0, 0.25)", "show in gallery"]
    assert images.text.split("\n") == ["60", "25%"]
    assert mean.text.startswith(f"{worst['value']:.3g}\n{worst['low']:.3g} to")
    assert verdict.text.startswith(f"lower by {-worst['difference']:.3g}")
    assert pictures.text.count("false") == len(pictures.find_elements(By.TAG_NAME, "figure")) == 6
    places = browser.run(
        "return [...document.querySelectorAll('#case-list tr:first-child .scale svg > *')]"
        ".map((mark) => mark.getBoundingClientRect().x)"
    )
    rest, _, point = places[:3]
    assert point < rest  # lower is on the left
    label = dark.find_element(By.TAG_NAME, "svg").get_attribute("aria-label")
    assert label is not None
    assert label.endswith(f"all others {worst['value'] - worst['difference']:.3g}")
    assert browser.console() == []


def open_grains(browser: Browser, folder: Path) -> tuple[pl.DataFrame, WebElement]:
    """Open a report with cases by noise; return its frame, and the button of the first case."""
    frame = im.test_cases(make_frame(), "noise", [0.5], into="grain")
    browser.open(im.report(frame, folder / "p.html", metric="correct", thumbnails=False))
    first, *_ = browser.driver.find_elements(By.CSS_SELECTOR, "#case-list .chooses")
    return frame, first


@pytest.mark.browser
def test_a_case_is_shown_in_the_gallery(browser: Browser, tmp_path: Path) -> None:
    """Its button filters the gallery; a button there, or the reset, shows all again."""
    frame, grainy = open_grains(browser, tmp_path)
    expected = (frame["grain"] == "noise [0, 0.5)").sum()
    matches = f"{expected} of 240 rows match"
    for clear in ("#chosen-case", "#reset"):
        browser.run("arguments[0].click()", grainy)
        browser.settle()
        assert texts(browser, "#count") == [matches]
        assert texts(browser, "#chosen-case") == ["noise [0, 0.5) \N{MULTIPLICATION SIGN}"]
        words = browser.run("return byId('printed-selection').textContent")
        assert words.endswith(" images: test case noise [0, 0.5).")
        browser.run("document.querySelector(arguments[0]).click()", clear)
        browser.settle()
        assert texts(browser, "#count") == ["240 of 240 rows match"]
        assert texts(browser, "#chosen-case") == []
    # Another case replaces the first one.
    for button in browser.driver.find_elements(By.CSS_SELECTOR, "#case-list .chooses")[:2]:
        browser.run("arguments[0].click()", button)
    browser.settle()
    assert texts(browser, "#count") == [f"{ROWS - expected} of 240 rows match"]
    assert browser.console() == []


@pytest.mark.browser
def test_a_case_leaves_the_page(browser: Browser, tmp_path: Path) -> None:
    """A link shows it again, and the copied Python source gives its rows of the frame."""
    frame, grainy = open_grains(browser, tmp_path)
    browser.run("arguments[0].click()", grainy)
    browser.settle()
    condition = eval(browser.run("return filterExpression()"), {"pl": pl})  # noqa: S307 - under test
    assert_frame_equal(frame.filter(condition), frame.filter(grain="noise [0, 0.5)"))
    browser.run("writeAddress()")
    link = browser.run("return location.href")
    matches = texts(browser, "#count")
    assert matches != ["240 of 240 rows match"]
    for address, shown in ((link, matches), (f"{link}9", ["240 of 240 rows match"])):
        browser.driver.get("about:blank")
        browser.driver.get(address)
        browser.settle()
        browser.settle()
        assert texts(browser, "#count") == shown
    assert browser.console() == []


@pytest.mark.browser
def test_without_a_metric_there_is_no_section(browser: Browser, tmp_path: Path) -> None:
    """Nor a link to it; a metric without values, or of few, says so."""
    frame = make_frame().with_columns(
        none=pl.lit(None, pl.Float64), few=pl.Series([True] * 5 + [None] * (ROWS - 5))
    )
    browser.open(im.report(frame, tmp_path / "p.html", thumbnails=False))
    assert not browser.driver.find_elements(By.ID, "test-cases")
    assert not browser.driver.find_elements(By.CSS_SELECTOR, 'nav a[href="#test-cases"]')
    browser.open(im.report(frame, tmp_path / "p.html", metric="none", thumbnails=False))
    assert texts(browser, "#case-list") == ["No image has a value of none."]
    browser.open(im.report(frame, tmp_path / "p.html", metric="few", thumbnails=False))
    rows = texts(browser, "#case-list tbody tr")
    assert rows
    assert all("too few to judge" in row for row in rows)
    browser.open(im.report(frame.clear(), tmp_path / "p.html", metric="few", thumbnails=False))
    assert texts(browser, "#case-list") == ["No image has a value of few."]
    assert browser.console() == []


@pytest.mark.browser
def test_names_are_text(browser: Browser, tmp_path: Path) -> None:
    """A column, a metric and cases called like markup are odd names only."""
    hostile = "<img src=x onerror=window.harm=1>"
    frame = make_frame().rename({"correct": hostile})
    cases = pl.Enum([hostile, "missing"])
    frame = frame.with_columns(pl.Series("<b>", [hostile] * 200 + ["missing"] * 40, cases))
    browser.open(im.report(frame, tmp_path / "p.html", metric=hostile, thumbnails=False))
    assert texts(browser, "#case-list caption")[0] == "<b>"
    assert texts(browser, "#case-list tbody th")[0].startswith(hostile)
    assert browser.run("return window.harm ?? null") is None
    assert browser.console() == []
