"""Ways through a report: facets, the large picture, the size of cards, and the scatter plot."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from album import make_album
from browser import Browser
from PIL import Image
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from tables import extracted

import polars_imgmeta as im

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """Values of 300 images, with columns of few and of many values."""
    random = np.random.default_rng(0)
    rows = 300
    return extracted(
        {"brightness": list(random.random(rows)), "contrast": list(random.random(rows) / 2)},
        label=list(random.choice(["cat", "dog10", "dog9"], rows)),
        correct=[None if row % 10 == 0 else row % 3 > 0 for row in range(rows)],
        person=[f"person {row % 40}" for row in range(rows)],
    )


@pytest.fixture(scope="module")
def page(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the frame."""
    return im.report(frame, tmp_path_factory.mktemp("report") / "page.html", thumbnails=False)


@pytest.fixture
def shown(browser: Browser, page: Path) -> Iterator[Browser]:
    """The freshly opened page; the test fails if it wrote to the console."""
    browser.open(page, height=1400)
    yield browser
    assert browser.console() == []


def facet(browser: Browser, label: str) -> dict[str, int]:
    """Return the values of a facet with their counts, as displayed."""
    browser.settle()
    found: list[list[str]] = browser.run(
        """
        return [...document.querySelectorAll(".facet")]
          .find((node) => node.querySelector("h3").textContent === arguments[0])
          .querySelectorAll("li").values()
          .map((item) => [...item.querySelectorAll("span")].map((node) => node.textContent))
          .toArray();
        """,
        label,
    )
    return {text: int(count) for text, count in found}


def choose(browser: Browser, label: str) -> None:
    """Click a value of a facet."""
    script = (
        "[...document.querySelectorAll('.facet li')]"
        ".find((item) => item.querySelector('.value').textContent === arguments[0])"
        ".querySelector('input').click()"
    )
    browser.run(script, label)
    browser.settle()


def active(browser: Browser) -> WebElement:
    """Return the element that has the focus."""
    return browser.driver.switch_to.active_element


def press(browser: Browser, key: str) -> None:
    """Press a key."""
    ActionChains(browser.driver, duration=0).send_keys(key).perform()
    browser.settle()


def find(browser: Browser, selector: str) -> WebElement:
    """Return the first element of a selector."""
    return browser.driver.find_element(By.CSS_SELECTOR, selector)


def violations(browser: Browser) -> list[object]:
    """Return what axe finds."""
    browser.run((files("axe_core_python") / "axe.min.js").read_text("utf-8"))
    found: list[object] = browser.driver.execute_async_script(
        "const done = arguments[0];"
        "axe.run().then(({violations}) => done(violations.map(({id, nodes}) => "
        "  [id, nodes.slice(0, 3).map(({html, failureSummary}) => html + failureSummary)])))"
    )
    return found


def test_facets_count_what_passes_all_others(shown: Browser, frame: pl.DataFrame) -> None:
    """Chosen values are alternatives; the counts of a facet follow all filters but its own."""

    def counts(some: pl.DataFrame, column: str) -> dict[str, int]:
        counted = some[column].cast(pl.String).fill_null("missing").value_counts().rows()
        return dict(counted)

    assert facet(shown, "label") == counts(frame, "label")
    assert [*facet(shown, "label")] == ["cat", "dog9", "dog10"]
    assert facet(shown, "correct") == counts(frame, "correct")
    choose(shown, "dog9")
    choose(shown, "cat")
    kept = frame.filter(pl.col("label") != "dog10")
    assert facet(shown, "correct") == counts(kept, "correct")
    assert facet(shown, "label") == counts(frame, "label")
    assert find(shown, "#count").text == f"{len(kept)} of 300 rows match"
    choose(shown, "missing")
    both = kept.filter(pl.col("correct").is_null())
    assert find(shown, "#count").text == f"{len(both)} of 300 rows match"
    assert facet(shown, "label") == counts(frame.filter(pl.col("correct").is_null()), "label")
    # A range filters them as well.
    shown.run("histograms[0].select([0.5, null])")
    bright = both.filter(pl.col("path_imgmeta").struct.field("brightness") >= 0.5)
    shown.settle()
    assert find(shown, "#count").text == f"{len(bright)} of 300 rows match"


def test_many_values_are_searched(shown: Browser, frame: pl.DataFrame) -> None:
    """Of many values the most frequent are listed, those that are chosen, and those sought."""
    assert len(facet(shown, "person")) == 12
    search = find(shown, "[aria-label='Find a value of person']")
    search.send_keys("ON 39")
    assert [*facet(shown, "person")] == ["person 39"]
    choose(shown, "person 39")
    search.send_keys(Keys.CONTROL, "a")
    search.send_keys(Keys.BACKSPACE)
    listed = facet(shown, "person")
    assert len(listed) == 12
    assert next(iter(listed)) == "person 39"
    assert (
        find(shown, "#count").text == f"{(frame['person'] == 'person 39').sum()} of 300 rows match"
    )
    search.send_keys("no such")
    assert facet(shown, "person") == {}
    assert "No value contains this." in find(shown, "#facets").text


def test_constants_are_one_line(browser: Browser, tmp_path: Path) -> None:
    """What cannot filter has no histogram and no list of values."""
    frame = extracted(
        {"width": [32] * 5, "height": [32] * 5, "brightness": [0.1, 0.2, 0.3, 0.4, 0.5]}
    )
    frame = frame.with_columns(split=pl.lit("train"))
    browser.open(im.report(frame, tmp_path / "page.html", thumbnails=False))
    assert find(browser, "#constants").text == "Constant: width 32, height 32, split train."
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, ".histogram, .facet")) == 1
    assert browser.console() == []


def test_a_print_names_what_is_selected(browser: Browser, shown: Browser, page: Path) -> None:
    """At the top of a print are the ranges, the values, the name and the ticks of its selection."""
    printed = find(shown, "#printed-selection")
    choose(shown, "cat")
    choose(shown, "missing")
    shown.run(
        "histograms[0].select([0.25, null]); histograms[1].select([0.1, 0.4]); seek('7<b>');"
        "tick(3, true); onlyTicked(true)"
    )
    shown.settle()
    assert not printed.is_displayed()
    shown.command("Emulation.setEmulatedMedia", media="print")
    assert printed.text == (
        "Selected, 0 of 300 images: 1 ticked; name contains 7<b>; brightness from 0.25;"
        " contrast 0.1 to 0.4; label cat; correct missing."
    )
    assert printed.location["y"] < find(shown, "#summary").location["y"]
    browser.open(page, media="print")
    assert not find(browser, "#printed-selection").is_displayed()


@pytest.mark.parametrize("sample", [1000, 100])
def test_counts_of_a_sample_are_called_so(
    browser: Browser, frame: pl.DataFrame, sample: int, tmp_path: Path
) -> None:
    """Where only some rows are on the page, it says which numbers are theirs."""
    browser.open(im.report(frame, tmp_path / "page.html", sample=sample, thumbnails=False))
    said = find(browser, "#of-sample")
    assert said.is_displayed() is (sample < len(frame))
    if said.is_displayed():
        on_page = browser.run("return total")
        assert said.text == (
            f"The counts of values and the purple bars are those of the {on_page} rows on this"
            " page, grey bars and medians those of all 300."
        )
        assert sum(facet(browser, "label").values()) == on_page


@pytest.mark.parametrize("side", [24, 600])
def test_a_large_picture_says_what_it_is(browser: Browser, tmp_path: Path, side: int) -> None:
    """It is the image with square pixels, or a smooth preview that leads to the original."""
    Image.new("RGB", (side, side // 2)).save(tmp_path / "a.png")
    frame = im.extract(pl.DataFrame({"path": [str(tmp_path / "a.png")]}), "path")
    browser.open(im.report(frame, tmp_path / "page.html"))
    find(browser, "#cards .frame").click()
    browser.wait("return byId('viewer-size').textContent", 5)
    said = find(browser, "#viewer-size")
    rendering = browser.run(
        "const image = document.querySelector('#viewer-picture img');"
        "return [getComputedStyle(image).imageRendering, image.width > 400]"
    )
    times = "\N{MULTIPLICATION SIGN}"
    if side == 24:
        assert said.text == f"All 24 {times} 12 pixels of the image"
        assert rendering == ["pixelated", True]
    else:
        whole = f"600 {times} 300 pixels"
        assert said.text == f"A preview of 192 {times} 96 pixels; the original has {whole}"
        link = said.find_element(By.LINK_TEXT, whole)
        assert link.get_attribute("href") == (tmp_path / "a.png").as_uri()
        assert rendering == ["auto", True]
    assert browser.console() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_image_opens_large(browser: Browser, tmp_path: Path, scheme: str) -> None:
    """A dialog has the picture, all values and a link; keys walk, and the focus returns."""
    (tmp_path / "photos & more").mkdir()
    make_album(tmp_path / "photos & more")
    frame = im.extract(im.scan_images(tmp_path / "photos & more"), "path").collect()
    frame = frame.with_columns(label=pl.lit("own"), other=pl.int_range(pl.len()))
    browser.open(im.report(frame, tmp_path / "page.html"), scheme=scheme)  # type: ignore[arg-type]
    names = [one.text for one in browser.driver.find_elements(By.CSS_SELECTOR, "#cards .locator")]
    viewer = find(browser, "#viewer")
    assert not viewer.is_displayed()
    second = browser.driver.find_elements(By.CSS_SELECTOR, "#cards .frame")[1]
    assert second.accessible_name == f"Open {names[1]}"
    second.click()
    browser.settle()
    assert viewer.is_displayed()
    assert viewer.accessible_name == names[1]
    assert find(browser, "#viewer-picture img").accessible_name == f"Picture {names[1]}"
    said = find(browser, "#viewer-values").text
    for text in ("brightness", "symmetry", "label", "own", names[1]):
        assert text in said
    link = find(browser, "#viewer-values a")
    assert str(link.get_property("href")) == Path(frame["path"][1]).absolute().as_uri()
    assert "noopener" in str(link.get_attribute("rel"))
    assert violations(browser) == []
    press(browser, Keys.ARROW_RIGHT)
    assert viewer.accessible_name == names[2]
    assert find(browser, "#viewer-place").text == f"3 of {len(frame)}"
    for _ in range(5):
        press(browser, Keys.ARROW_LEFT)
    assert viewer.accessible_name == names[0]
    assert not find(browser, "#viewer-previous").is_enabled()
    press(browser, Keys.ESCAPE)
    assert not viewer.is_displayed()
    assert active(browser).accessible_name == f"Open {names[0]}"
    assert browser.console() == []


def test_walking_turns_the_page_and_follows_the_selection(
    shown: Browser, frame: pl.DataFrame
) -> None:
    """The next image is the next of the selection; afterwards its page is shown."""
    choose(shown, "cat")
    cats = frame.filter(label="cat")["path"].to_list()
    shown.driver.find_elements(By.CSS_SELECTOR, "#cards .frame")[23].click()
    press(shown, Keys.ARROW_RIGHT)
    assert find(shown, "#viewer").accessible_name == cats[24]
    # A tick is the same on the card.
    find(shown, "#viewer [data-tick]").click()
    press(shown, Keys.ESCAPE)
    assert active(shown).accessible_name == f"Open {cats[24]}"
    assert shown.run("return document.querySelector('#pages input').value") == "2"
    assert find(shown, "#cards [data-tick]").is_selected()


def test_links_lead_to_files_and_servers_alone(browser: Browser, tmp_path: Path) -> None:
    """No locator becomes a script, and one with a secret or of a bucket has no link."""
    folder = tmp_path.as_uri()
    links = {
        "/photos/ä #1?.png": "file:///photos/%C3%A4%20%231%3F.png",
        "https://example.invalid/a b.png": "https://example.invalid/a%20b.png",
        "file:///photos/a.png": "file:///photos/a.png",
        "C:\\photos\\a.png": "file:///C:/photos/a.png",
        "photos/a%41.png": f"{folder}/photos/a%2541.png",
        "javascript:window.harm=1": None,
        "JavaScript://%0awindow.harm=1": None,
        "data:text/html,<script>window.harm=1</script>": None,
        "s3://bucket/a.png": None,
        "~/a.png": None,
        "\\\\server\\a.png": None,
        "https://me:word@example.invalid/a.png": None,
        "https://[": None,
    }
    frame = extracted({"width": [*range(len(links))]}).with_columns(pl.Series("path", [*links]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        browser.open(im.report(frame, "page.html", thumbnails=False).resolve())
    for row, expected in enumerate(links.values()):
        browser.run("view(arguments[0])", row)
        found = browser.driver.find_elements(By.CSS_SELECTOR, "#viewer-values a")
        assert [one.get_property("href") for one in found] == ([expected] if expected else [])
    assert browser.run("return window.harm") is None
    assert browser.console() == []


def test_small_cards_show_more_and_large_ones_fewer(shown: Browser) -> None:
    """The size changes how many cards a page has, and its first card stays on it."""
    size = find(shown, "#density")
    sizes, first = [], []
    shown.run("turn(4)")
    start = shown.run("return matches[4 * 24]")
    for width in (3, 2, 1, 0, 4, 5):
        shown.run(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))",
            size,
            width,
        )
        shown.settle()
        cards = shown.driver.find_elements(By.CSS_SELECTOR, "#cards .frame")
        sizes.append((len(cards), cards[0].rect["width"]))
        first.append(str(start) in [card.get_attribute("data-row") for card in cards])
        assert shown.run("return document.documentElement.scrollWidth <= innerWidth")
    assert [number for number, _ in sizes[:4]] == [24, 60, 120, 240]
    assert [number for number, _ in sizes[4:]] == [12, 6]
    assert sizes[3][1] < sizes[2][1] < sizes[1][1] < sizes[0][1] < sizes[4][1] < sizes[5][1]
    assert all(first[:4])


def test_values_on_cards_are_chosen(shown: Browser) -> None:
    """Any values may be on cards, also none; the large picture has all."""
    find(shown, ".shown summary").click()
    buttons = {
        one.text: one for one in shown.driver.find_elements(By.CSS_SELECTOR, "#shown-list button")
    }
    buttons["None"].click()
    shown.settle()
    assert find(shown, "#cards .card").text == "no picture\n000.png"
    assert find(shown, "#shown-count").text == "none"
    label = (
        "return [...document.querySelectorAll('#shown-list label')]"
        ".find((one) => one.textContent === 'label')"
    )
    shown.run(label).click()
    shown.settle()
    assert find(shown, "#cards .card dl").text.startswith("label\n")
    assert len(shown.driver.find_elements(By.CSS_SELECTOR, "#cards .card:first-child dl div")) == 1
    buttons["All"].click()
    shown.settle()
    assert len(shown.driver.find_elements(By.CSS_SELECTOR, "#cards .card:first-child dl div")) == 5


@pytest.mark.parametrize(("side", "tiny"), [(16, True), (100, False)])
def test_tiny_pictures_fill_their_frame(
    browser: Browser, tmp_path: Path, *, side: int, tiny: bool
) -> None:
    """A picture of few pixels is enlarged with square pixels."""
    Image.fromarray(np.full((side, side, 3), 99, np.uint8)).save(tmp_path / "a.png")
    frame = im.extract(im.scan_images(tmp_path), "path").collect()
    browser.open(im.report(frame, tmp_path / "page.html"))
    browser.run("return Promise.all([...document.images].map((image) => image.decode()))")
    image = find(browser, "#cards img")
    assert image.value_of_css_property("image-rendering") == ("pixelated" if tiny else "auto")
    assert image.value_of_css_property("object-fit") == "contain"
    assert image.rect["width"] == find(browser, "#cards .frame").rect["width"] > 100


def test_a_page_is_typed(shown: Browser) -> None:
    """The number of a page can be typed, and one that does not exist is the nearest."""
    for typed, page in (("9", "9"), ("99", "13"), ("0", "1"), ("", "1")):
        entry = find(shown, "#pages input")
        entry.send_keys(Keys.CONTROL, "a")
        entry.send_keys(typed or Keys.BACKSPACE, Keys.ENTER)
        shown.settle()
        assert find(shown, "#pages input").get_property("value") == page
        first = find(shown, "#cards .locator").text
        assert first == f"{24 * (int(page) - 1):03}.png"


def test_a_hundred_thousand_rows_are_a_page_of_cards(browser: Browser, tmp_path: Path) -> None:
    """Only the cards of one page are in the document, whatever matches."""
    rows = 100_000
    values = pl.DataFrame({"brightness": np.random.default_rng(0).random(rows)}).with_columns(
        error=pl.lit(None, pl.String), auto_extracted=pl.lit("path@00000000")
    )
    paths = pl.Series("path", [f"{row}.png" for row in range(rows)])
    label = pl.Series("label", ["a", "b"] * (rows // 2))
    many = pl.DataFrame([paths, values.to_struct("path_imgmeta"), label])
    browser.open(im.report(many, tmp_path / "page.html", sample=rows, thumbnails=False))
    browser.run("byId('sort').value = '0'; byId('sort').dispatchEvent(new Event('change'))")
    choose(browser, "b")
    ordered = many.filter(label="b").sort(pl.col("path_imgmeta").struct.field("brightness"))
    assert find(browser, "#cards .locator").text == ordered["path"][0]
    browser.run("byId('density').value = 0; byId('density').dispatchEvent(new Event('input'))")
    browser.settle()
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "#cards .card")) == 240
    assert browser.run("return document.querySelectorAll('*').length") < 3_000
    assert browser.console() == []


def test_a_rectangle_selects_both_ranges(shown: Browser, frame: pl.DataFrame) -> None:
    """The scatter plot is linked with the histograms, and a click opens the nearest image."""
    find(shown, "#scatter summary").click()
    shown.settle()
    canvas = find(shown, "#points")
    assert canvas.accessible_name == (
        "Scatter plot of brightness and contrast: 300 of 300 images match"
    )
    shown.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", canvas)
    width, height = canvas.rect["width"], canvas.rect["height"]
    mouse = ActionChains(shown.driver, duration=0)
    mouse.move_to_element_with_offset(canvas, round(-width * 0.25), round(-height * 0.3))
    mouse.click_and_hold().move_by_offset(
        round(width * 0.5), round(height * 0.4)
    ).release().perform()
    shown.settle()
    ranges = shown.run("return histograms.map((one) => one.range)")
    assert ranges[0] == pytest.approx([0.25, 0.75], abs=0.02)
    assert ranges[1] == pytest.approx([0.2, 0.4], abs=0.02)
    values = frame["path_imgmeta"].struct.unnest()
    inside = values.filter(
        pl.col("brightness").is_between(*ranges[0]), pl.col("contrast").is_between(*ranges[1])
    )
    assert 0 < len(inside) < 300
    assert find(shown, "#count").text == f"{len(inside)} of 300 rows match"
    assert canvas.accessible_name.endswith(f": {len(inside)} of 300 images match")
    # The image in the middle of the plot, by its place.
    row = shown.run("return matches[0]")
    x, y = shown.run("return scatter.at(arguments[0])", row)
    mouse = ActionChains(shown.driver, duration=0)
    mouse.move_to_element_with_offset(
        canvas, round(width * (x - 0.5)), round(height * (y - 0.5))
    ).click().perform()
    shown.settle()
    assert find(shown, "#viewer").is_displayed()
    opened = shown.run("return viewed")
    nearest = shown.run(
        "const [x, y] = scatter.at(arguments[0]); const [a, b] = scatter.at(viewed);"
        "return Math.hypot((x - a) * arguments[1], (y - b) * arguments[2])",
        row,
        width,
        height,
    )
    assert nearest < 10
    assert opened in shown.run("return matches")


def test_the_scatter_plot_is_used_by_keys(shown: Browser) -> None:
    """Its selects and buttons are reached, and lead to the ranges of both properties."""
    find(shown, "#scatter summary").send_keys(Keys.ENTER)
    shown.settle()
    find(shown, "#scatter-x").send_keys("contrast")
    shown.settle()
    assert find(shown, "#points").accessible_name.startswith(
        "Scatter plot of contrast and contrast"
    )
    button = find(shown, "#range-x")
    assert button.text == "Type a range of contrast"
    button.send_keys(Keys.ENTER)
    assert active(shown).accessible_name == "contrast from"
    assert violations(shown) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_all_that_opens_is_accessible(
    browser: Browser, page: Path, width: int, scheme: str
) -> None:
    """With bar, plot, facets and choice of values open, axe finds nothing, and all fits."""
    browser.open(page, width=width, scheme=scheme)  # type: ignore[arg-type]
    choose(browser, "cat")
    browser.run(
        "byId('scatter').open = true; document.querySelector('.shown').open = true; tick(2, true)"
    )
    browser.settle()
    assert violations(browser) == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.console() == []
