"""The sections of a report that judge: issues, duplicates and drift, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from album import make_album
from browser import Browser
from PIL import Image
from selenium.webdriver.common.by import By
from tables import extracted

import polars_imgmeta as im

pytestmark = pytest.mark.browser

LARGE, SMALL = "160 \N{MULTIPLICATION SIGN} 120", "80 \N{MULTIPLICATION SIGN} 60"


def test_issues_are_listed_with_pictures(browser: Browser, tmp_path: Path) -> None:
    """Each broken rule has its reason, the number of images, and the worst of them."""
    light = [0.1] * 12 + [0.5] * 20 + [0.95]
    browser.open(im.report(extracted({"brightness": light}), tmp_path / "p.html", thumbnails=False))
    rows = browser.driver.find_elements(By.CSS_SELECTOR, "#issue-list tbody tr")
    texts = [row.text.split("\n") for row in rows]
    assert texts[0][:2] == ["dark", "the picture is dark"]
    assert texts[0][2].split() == ["high", "12"]
    assert texts[1][:2] == ["bright", "the picture is very bright"]
    assert len(rows[0].find_elements(By.TAG_NAME, "figure")) == 10
    assert rows[0].find_element(By.TAG_NAME, "figcaption").get_attribute("title") == "000.png"
    assert not browser.driver.find_elements(By.ID, "drift")
    assert browser.console() == []


def test_sections_without_content_say_so_or_go(browser: Browser, tmp_path: Path) -> None:
    """Good images have no issue, and properties that no rule judges no section of issues."""
    good = extracted({"brightness": [0.5] * 9})
    browser.open(im.report(good, tmp_path / "good.html", thumbnails=False))
    text = browser.driver.find_element(By.ID, "issue-list").text
    assert text == "No image breaks a default rule."
    words = extracted({"format": ["PNG"] * 3})
    browser.open(im.report(words, tmp_path / "words.html", thumbnails=False))
    for section in ("issues", "drift"):
        assert not browser.driver.find_elements(By.ID, section)
        assert not browser.driver.find_elements(By.CSS_SELECTOR, f'nav a[href="#{section}"]')


@pytest.mark.parametrize("summarised", [False, True])
def test_drift_names_images_of_both_sets(
    browser: Browser, tmp_path: Path, *, summarised: bool
) -> None:
    """A shift is explained by a range and by the pictures of the set that has more there."""
    rng = np.random.default_rng(0)
    for number, light in enumerate(rng.integers(150, 250, 30)):
        Image.fromarray(np.full((8, 8, 3), light, np.uint8)).save(tmp_path / f"{number}.png")
    bright = im.extract(im.scan_images(tmp_path), "path", "brightness").collect()
    dark = extracted({"brightness": list(rng.random(40) / 4)})
    against = im.summarise(bright) if summarised else bright
    browser.open(im.report(dark, tmp_path / "p.html", thumbnails=True, against=against))
    (row,) = browser.driver.find_elements(By.CSS_SELECTOR, "#drift-list tbody tr")
    assert row.text.startswith("brightness shifted 1 ")
    assert "of a, " in row.text
    # Those of b are named and shown; of a summary there are none.
    figures = row.find_elements(By.TAG_NAME, "figure")
    names = [one.find_element(By.TAG_NAME, "figcaption").text for one in figures]
    images = row.find_elements(By.CSS_SELECTOR, "figure img")
    assert len(images) == len(figures) == (0 if summarised else 5)
    assert set(names) <= {f"{number}.png" for number in range(30)}
    # The other way around the rows of the page itself are named.
    browser.open(im.report(bright, tmp_path / "q.html", against=im.summarise(dark)))
    (row,) = browser.driver.find_elements(By.CSS_SELECTOR, "#drift-list tbody tr")
    assert len(row.find_elements(By.CSS_SELECTOR, "figure img")) in {0, 5}
    assert browser.console() == []


def extract_album(folder: Path) -> pl.DataFrame:
    """Return pictures, of which one has a copy, and one a small version in another split."""
    make_album(folder)
    names = ("width", "height", "file_digest", "pixel_digest", "perceptual_hash")
    frame = im.extract(im.scan_images(folder), "path", names).collect()
    test = pl.col("path").str.ends_with("small.png")
    return frame.with_columns(split=pl.when(test).then(pl.lit("test")).otherwise(pl.lit("train")))


def groups_shown(browser: Browser) -> list[list[str]]:
    """Return for each group its heading and the caption of each picture."""
    groups = browser.driver.find_elements(By.CSS_SELECTOR, "#duplicate-list .contrast")
    return [
        [one.text for one in group.find_elements(By.CSS_SELECTOR, "h3, figcaption")]
        for group in groups
    ]


@pytest.mark.parametrize("width", [400, 1400])
def test_numbers_of_drift_are_short(browser: Browser, tmp_path: Path, width: int) -> None:
    """Neither a tiny probability nor a huge distance makes the page wider than the window."""
    rows = range(400)
    this, other = (
        extracted({"size": [start + step * row for row in rows]})
        for start, step in ((4_000_000_000_000_000, 1_000_000), (100, 1))
    )
    page = im.report(this, tmp_path / "p.html", against=other, thumbnails=False)
    browser.open(page, width=width)
    said = [cell.text for cell in browser.driver.find_elements(By.CSS_SELECTOR, "#drift td")]
    numbers = [one.removeprefix("p ").removeprefix("moved by ") for one in said]
    assert any(re.fullmatch(r"\d\.\d\de-\d+", one) for one in numbers)
    assert "4,000T pixels" in numbers
    assert browser.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("lazy", [False, True])
def test_duplicates_are_side_by_side(browser: Browser, tmp_path: Path, *, lazy: bool) -> None:
    """Of each group the best is marked and comes first; copies have a reason and a distance."""
    df = extract_album(tmp_path)
    df = pl.concat([df, df[:2]])  # a table of labels has rows of one image
    page = im.report(df.lazy() if lazy else df, tmp_path / "p.html")
    browser.open(page)
    text = browser.driver.find_element(By.CSS_SELECTOR, "#duplicate-list > p").text
    assert text == "2 groups, in which 2 images can go."
    exact, near = sorted(groups_shown(browser), key=lambda group: "similar" in group[-1])
    assert exact[0] == near[0] == "2 images; 1 can go"
    assert {exact[1].split("\n")[1], exact[2].split("\n")[1]} == {"a.png", "twin.png"}
    assert exact[1].split("\n")[::2] == ["keep", LARGE]
    assert exact[2].split("\n")[::2] == ["same file", LARGE]
    assert near[1].split("\n") == ["keep", "d.png", LARGE, "split: train"]
    reason, *rest = near[2].split("\n")
    assert re.fullmatch(r"similar, [0-4] bits?", reason)
    assert rest == ["small.png", SMALL, "split: test"]
    kept = browser.driver.find_elements(By.CSS_SELECTOR, "#duplicate-list .kept img")
    assert len(kept) == 2
    assert browser.console() == []


def test_earlier_duplicates_are_shown_as_they_are(browser: Browser, tmp_path: Path) -> None:
    """A column of `duplicates`, such as one across splits, decides what the section shows."""
    df = im.duplicates(extract_album(tmp_path), across="split", into="leak")
    browser.open(im.report(df, tmp_path / "p.html", thumbnails=False))
    ((heading, kept, copy),) = groups_shown(browser)
    assert heading == "2 images; 1 can go"
    assert "split: train" in kept
    assert "split: test" in copy
    text = browser.driver.find_element(By.ID, "duplicate-list").text
    assert text.startswith("1 group, in which 1 image can go. As the column “leak” says.")
    assert "leak" not in browser.driver.find_element(By.ID, "cards").text
    none = im.duplicates(df, None, across="split", into="leak")
    browser.open(im.report(none, tmp_path / "none.html", thumbnails=False))
    text = browser.driver.find_element(By.ID, "duplicate-list").text
    assert text == "No image is like another. As the column “leak” says."


def test_copies_of_images_elsewhere_are_beside_these(browser: Browser, tmp_path: Path) -> None:
    """What a new image is a copy of is shown, though it is not in the data set."""
    df = extract_album(tmp_path)
    name = pl.col("path").str.extract(r"(\w+)\.png$")
    new = im.duplicates(df.filter(name.is_in(["b", "twin"])), against=df.filter(name == "a"))
    browser.open(im.report(new, tmp_path / "p.html"))
    ((heading, kept, copy),) = groups_shown(browser)
    assert heading == "1 image; 1 can go"
    assert kept.split("\n") == ["keep, not in this data set", "a.png"]
    assert copy.split("\n")[:2] == ["same file", "twin.png"]
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "#duplicate-list figure img")) == 2


def test_images_without_digests_are_not_compared(browser: Browser, tmp_path: Path) -> None:
    """Without the group of identity there is no section; digests alone give exact copies."""
    df = extract_album(tmp_path)
    browser.open(im.report(im.remove(df, "identity"), tmp_path / "p.html", thumbnails=False))
    assert not browser.driver.find_elements(By.ID, "duplicates")
    digests = im.remove(df, "perceptual_hash")
    browser.open(im.report(digests, tmp_path / "q.html", thumbnails=False))
    ((_, _, copy),) = groups_shown(browser)
    assert copy.startswith("same file\n")
