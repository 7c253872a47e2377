"""The sections of a report that judge: issues and drift, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, launch
from PIL import Image
from selenium.webdriver.common.by import By
from tables import extracted

import polars_imgmeta as im

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that all tests of this module share."""
    with launch(tmp_path_factory.mktemp("profile")) as started:
        yield started


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
