"""The page of a report in a real browser: content, filters, sorting and policy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from browser import Browser
from hypothesis import given
from hypothesis import strategies as st
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

import polars_imgmeta as im

PAGE = 24
IMAGES = 60
HOSTILE = [
    "<script>window.harm=1</script>",
    "</script><script>window.harm=2</script>",
    '"><img src=x onerror=window.harm=3>',
    "' onmouseover=window.harm=4 '",
    "javascript:window.harm=5",
    "data:text/html,<script>window.harm=6</script>",
    "\u202egpj.exe",
    "two\nlines",
    "<!--",
    "&lt;b&gt;{{data}}{{script}}",
    "\u2028",
    "x" * 200,
]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Properties of varied images, some of them broken, beside columns of the user's."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for index in range(IMAGES):
        rows, columns = random.integers(20, 90, 2)
        noise = random.integers(0, 256, (rows, columns, 3)).astype(np.uint8)
        blurred = cv2.GaussianBlur(noise, (0, 0), random.uniform(0.3, 4))
        cv2.imwrite(str(folder / f"image{index}.png"), blurred // random.integers(1, 8))
    for index in range(30):
        (folder / f"notes{index}.jpg").write_bytes(b"" if index % 3 else b"no image")
    images = im.extract(im.scan_images(folder), "path").collect()
    score = pl.Series("score", random.normal(size=len(images)))
    return images.drop("file_size").with_columns(
        score.set(score > 1, None),
        pl.Series("label", random.choice(["cat", "dog10", "dog9"], len(images))),
    )


@pytest.fixture(scope="module")
def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with flat columns and file names, from which expectations are computed."""
    return im.unnest(frame).with_columns(name=pl.col("path").str.split("/").list.last())


@pytest.fixture(scope="module")
def page(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the frame."""
    return im.report(frame, tmp_path_factory.mktemp("report") / "page.html", title="All sorts")


@pytest.fixture
def shown(browser: Browser, page: Path) -> Iterator[Browser]:
    """The freshly opened page; the test fails if it wrote to the console."""
    browser.open(page)
    yield browser
    assert browser.console() == []


def names(browser: Browser) -> list[str]:
    """Return the names on the current page of the gallery."""
    found: list[str] = browser.run(
        "return [...document.querySelectorAll('#cards .locator')].map((node) => node.textContent)"
    )
    return found


def count(browser: Browser) -> str:
    """Return the number of matches as displayed."""
    browser.settle()
    return browser.driver.find_element(By.ID, "count").text


def find(browser: Browser, label: str) -> WebElement:
    """Return the first control or picture whose label starts with a text."""
    found: WebElement = browser.run(
        """
        const label = (node) => node.ariaLabel ?? node.labels?.[0]?.textContent ?? node.textContent;
        return [...document.querySelectorAll("input, select, button, svg, a")]
          .find((node) => label(node).startsWith(arguments[0]));
        """,
        label,
    )
    return found


def drag(browser: Browser, label: str, start: float, end: float) -> None:
    """Drag over a histogram between two fractions of its width."""
    histogram = find(browser, f"Histogram of {label}:")
    browser.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", histogram)
    width = histogram.rect["width"]
    mouse = ActionChains(browser.driver, duration=0)
    mouse.move_to_element_with_offset(histogram, round(width * (start - 0.5)), 0).click_and_hold()
    mouse.move_by_offset(round(width * (end - start)), 0).release().perform()
    browser.settle()


def value(browser: Browser, label: str) -> str:
    """Return the value of an input."""
    return str(find(browser, label).get_property("value"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1280])
def test_the_page_opens_quietly(
    browser: Browser,
    page: Path,
    width: int,
    scheme: Any,  # noqa: ANN401
) -> None:
    """The page makes no requests, logs nothing, and fits the window."""
    browser.open(page, width=width, scheme=scheme)
    assert browser.requests() == [page.as_uri()]
    assert browser.driver.title == "All sorts"
    assert count(browser) == "90 of 90 rows match"
    assert browser.run("return document.documentElement.scrollWidth") <= width
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    # Pictures are drawn without any further request.
    browser.run("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager' })")
    browser.run("return Promise.all([...document.images].map((image) => image.decode()))")
    assert browser.run("return [...document.images].every((image) => image.naturalWidth)")
    assert browser.run("return document.images.length") > PAGE
    assert browser.requests() == []
    assert browser.console() == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_accessible(
    browser: Browser,
    page: Path,
    width: int,
    scheme: Any,  # noqa: ANN401
) -> None:
    """No rule of axe is violated: names, roles, contrast, headings, landmarks."""
    browser.open(page, width=width, scheme=scheme)
    browser.run((files("axe_core_python") / "axe.min.js").read_text("utf-8"))
    violations = browser.driver.execute_async_script(
        "const done = arguments[0];"
        "axe.run().then(({violations}) => done(violations.map(({id, nodes}) => "
        "  [id, nodes.slice(0, 3).map(({html, failureSummary}) => html + failureSummary)])))"
    )
    assert violations == []


def test_a_brush_filters_all_but_its_own(shown: Browser, flat: pl.DataFrame) -> None:
    """A dragged range filters the gallery, the count and the other histograms."""

    def drawn(label: str, part: str) -> str:
        selector = f".{part}"
        histogram = find(shown, f"Histogram of {label}:")
        return str(histogram.find_element(By.CSS_SELECTOR, selector).get_attribute("d"))

    before = {part: drawn("width", part) for part in ("all", "inside")}
    own = drawn("brightness", "outside")
    drag(shown, "brightness", 0.25, 0.75)
    low, high = (float(value(shown, f"brightness {word}")) for word in ("from", "to"))
    passing = flat.filter(pl.col("brightness").is_between(low, high))
    assert 0 < len(passing) < IMAGES
    assert count(shown) == f"{len(passing)} of 90 rows match"
    assert names(shown) == passing["name"].head(PAGE).to_list()
    assert drawn("width", "all") == before["all"]
    assert drawn("width", "inside") != before["inside"]
    assert drawn("brightness", "outside") == own
    # A second brush narrows the selection; a click clears it.
    drag(shown, "sharpness", 0.2, 1.0)
    assert value(shown, "sharpness to") == ""
    sharpest = passing.filter(pl.col("sharpness") >= float(value(shown, "sharpness from")))
    assert 0 < len(sharpest) < len(passing)
    assert count(shown) == f"{len(sharpest)} of 90 rows match"
    drag(shown, "sharpness", 0.5, 0.5)
    assert count(shown) == f"{len(passing)} of 90 rows match"
    find(shown, "Clear the range of brightness").click()
    assert count(shown) == "90 of 90 rows match"


def test_an_integer_fills_its_bin(browser: Browser, tmp_path: Path) -> None:
    """A range of one integer is as wide as its bar."""
    values = pl.DataFrame({"width": pl.Series([*range(1, 11), 4], dtype=pl.Int32)}).with_columns(
        error=pl.lit(None, pl.String), auto_extracted=pl.lit("path@00000000")
    )
    paths = pl.Series("path", [f"{row}.png" for row in range(11)])
    frame = pl.DataFrame([paths, values.to_struct("path_imgmeta")])
    browser.open(im.report(frame, tmp_path / "page.html", thumbnails=False))
    histogram = find(browser, "Histogram of width:")
    for label in ("width from", "width to"):
        find(browser, label).send_keys("4")
    assert count(browser) == "2 of 11 rows match"
    brush = histogram.find_element(By.CSS_SELECTOR, ".brush")
    assert (brush.get_attribute("x"), brush.get_attribute("width")) == ("3", "1")
    bar = str(histogram.find_element(By.CSS_SELECTOR, ".inside").get_attribute("d"))
    assert re.fullmatch(r"M3\.06 1V0H3\.94V1Z", bar)
    # Dragging over the bar selects the integer.
    drag(browser, "width", 0.31, 0.39)
    assert (value(browser, "width from"), value(browser, "width to")) == ("4", "4")
    assert browser.console() == []


@pytest.mark.parametrize(
    ("start", "step"),
    [(1_000_000, 0.01), (1.7e9, 1.5), (-5e-9, 1e-11), (0.0, 1e30), (1e300, 1e297)],
)
def test_a_brush_is_as_fine_as_the_bins(
    browser: Browser, tmp_path: Path, start: float, step: float
) -> None:
    """Large values that are close together stay distinct, in the filter and in text."""
    rows = 600
    values = start + step * np.arange(rows)
    own = pl.DataFrame({"path": [f"{row}.png" for row in range(rows)], "x": values})
    page = im.report(im.extract(own, "path", "width"), tmp_path / "page.html", thumbnails=False)
    browser.open(page)
    drag(browser, "x", 0.25, 0.75)
    low, high = (float(value(browser, f"x {word}")) for word in ("from", "to"))
    passing = int(((values >= low) & (values <= high)).sum())
    assert abs(passing - rows / 2) < 12
    assert count(browser).startswith(f"{passing} of 600 ")
    ends = [find(browser, f"x {word}").get_attribute("placeholder") for word in ("from", "to")]
    assert ends[0] != ends[1]
    cells = browser.run(
        "return [...document.querySelectorAll('#cards dl.own dd')].map((node) => node.textContent)"
    )
    assert len(set(cells)) == PAGE
    known = [float(cell.replace(",", "")) for cell in cells]
    shown = values[(values >= low) & (values <= high)][:PAGE]
    assert known == pytest.approx(shown, abs=step * 0.6, rel=0)
    assert browser.console() == []


def test_numbers_sort_with_nulls_last(shown: Browser, flat: pl.DataFrame) -> None:
    """Properties and columns of the user sort in both orders, with nulls last."""
    for field in ("sharpness", "width", "score"):
        for order, descending in (("ascending", False), ("descending", True)):
            Select(find(shown, "Sort by")).select_by_visible_text(field)
            Select(find(shown, "Order")).select_by_visible_text(order)
            shown.settle()
            expected = flat.sort(field, descending=descending, nulls_last=True, maintain_order=True)
            assert names(shown) == expected["name"].head(PAGE).to_list()


def test_text_sorts_naturally(shown: Browser, flat: pl.DataFrame) -> None:
    """Numbers within text sort by value, in columns and in names."""
    Select(find(shown, "Sort by")).select_by_visible_text("label")
    shown.settle()
    order = pl.col("label").replace_strict({"cat": 0, "dog9": 1, "dog10": 2})
    assert names(shown) == flat.sort(order, maintain_order=True)["name"].head(PAGE).to_list()
    Select(find(shown, "Sort by")).select_by_visible_text("path")
    shown.settle()
    assert names(shown) == [f"image{index}.png" for index in range(PAGE)]


def test_names_are_searched_and_reset_undoes_all(shown: Browser) -> None:
    """Text filters names, ignoring case, together with the ranges; reset clears all filters."""
    assert find(shown, "Reset").get_property("disabled")
    find(shown, "Name contains").send_keys("IMAGE1")
    assert count(shown) == "11 of 90 rows match"
    find(shown, "width to").send_keys("1")
    assert count(shown) == "0 of 90 rows match"
    assert names(shown) == []
    find(shown, "Reset").click()
    assert count(shown) == "90 of 90 rows match"
    assert (value(shown, "Name contains"), value(shown, "width to")) == ("", "")
    assert shown.driver.switch_to.active_element.accessible_name == "Name contains"
    assert find(shown, "Reset").get_property("disabled")


@given(
    ranges=st.dictionaries(
        st.sampled_from(["width", "brightness", "symmetry", "score"]),
        st.tuples(*[st.none() | st.floats(-1, 1).map(lambda x: round(x, 2))] * 2),
        min_size=1,
    )
)
def test_any_ranges_filter_as_polars_does(
    ranges: dict[str, tuple[float | None, float | None]],
    browser: Browser,
    page: Path,
    flat: pl.DataFrame,
) -> None:
    """Typed ranges include both ends, and exclude rows without a value."""
    if browser.driver.current_url != page.as_uri():
        browser.open(page)
    expected = flat
    typed: dict[str, list[str]] = {}
    for name, (low, high) in ranges.items():
        scale = 80 if name == "width" else 1
        ends = [end if end is None else round(end * scale, 2) for end in (low, high)]
        typed[name] = ["" if end is None else str(end) for end in ends]
        if ends != [None, None]:
            expected = expected.filter(pl.col(name).is_not_null())
        if ends[0] is not None:
            expected = expected.filter(pl.col(name) >= ends[0])
        if ends[1] is not None:
            expected = expected.filter(pl.col(name) <= ends[1])
    browser.run(
        """
        document.getElementById("reset").click();
        for (const [name, values] of Object.entries(arguments[0])) {
          ["from", "to"].forEach((word, end) => {
            const input = document.querySelector(`[aria-label="${name} ${word}"]`);
            input.value = values[end];
            input.dispatchEvent(new Event("input"));
          });
        }
        """,
        typed,
    )
    assert count(browser) == f"{len(expected)} of 90 rows match"
    assert names(browser) == expected["name"].head(PAGE).to_list()


def test_the_gallery_is_paged(shown: Browser, flat: pl.DataFrame) -> None:
    """Every row is on one page, with its values and picture."""
    seen = names(shown)
    while not (further := find(shown, "Next")).get_property("disabled"):
        further.click()
        seen += names(shown)
    assert seen == flat["name"].to_list()
    assert "of 4" in shown.driver.find_element(By.ID, "pages").text
    assert value(shown, "Page of 4") == "4"
    assert shown.driver.switch_to.active_element.accessible_name == "First"
    find(shown, "First").click()
    first = shown.driver.find_element(By.CSS_SELECTOR, ".card").text
    row = flat.row(0, named=True)
    for text in (row["name"], f"{row['width']}", f"{row['brightness']:.3f}", row["label"]):
        assert text in first


def test_the_keyboard_reaches_everything(shown: Browser, flat: pl.DataFrame) -> None:
    """Tab reaches all controls, which have a visible focus and a name; ranges can be typed."""
    reached: list[str] = []
    for _ in range(400):
        ActionChains(shown.driver, duration=0).send_keys(Keys.TAB).perform()
        node = shown.driver.switch_to.active_element
        if node.tag_name == "body":
            break
        reached.append(node.accessible_name)
        assert node.accessible_name
        assert "none" not in node.value_of_css_property("outline-style")
    else:
        pytest.fail("Tab does not leave the page")
    assert reached[0] == "Skip to the gallery"
    wanted = ["Name contains", "Sort by", "Order", "Next", "Kind"]
    wanted += [
        f"{name.replace('_', ' ')} {end}"
        for name in im.GROUPS["standard"]
        for end in ("from", "to")
    ]
    assert set(wanted) <= set(reached)
    # Ranges are typed and stepped by keys.
    half = flat.filter(pl.col("brightness") >= pl.col("brightness").median())
    find(shown, "brightness from").send_keys(str(half["brightness"].min()))
    assert count(shown) == f"{len(half)} of 90 rows match"
    find(shown, "width from").send_keys("50", Keys.ARROW_UP)
    assert value(shown, "width from") == "51"


def test_provenance_is_shown_on_hover_and_on_focus(shown: Browser) -> None:
    """The tooltip of a property describes it and its origin; Escape closes it."""

    def tip(node: WebElement) -> str:
        script = "return getComputedStyle(arguments[0], '::after').display"
        return str(shown.run(script, node))

    about = find(shown, "About pixel entropy")
    assert tip(about) == "none"
    ActionChains(shown.driver, duration=0).move_to_element(about).perform()
    assert tip(about) == "block"
    ActionChains(shown.driver, duration=0).send_keys(Keys.ESCAPE).perform()
    assert tip(about) == "none"
    find(shown, "About contrast").send_keys(Keys.TAB, Keys.SHIFT + Keys.TAB)
    focused = shown.driver.switch_to.active_element
    assert tip(focused) == "block"
    said = (
        f"Standard deviation of the intensity, over 200 ({im.CATALOGUE['contrast'].unit})."
        " Auto-extracted from the images in “path” into “path_imgmeta”."
    )
    assert focused.get_attribute("data-tip") == said
    described = shown.driver.find_element(By.ID, str(focused.get_attribute("aria-describedby")))
    assert described.get_property("textContent") == said
    # In the gallery there is one such control, instead of one on each card.
    once = find(shown, "auto-extracted values")
    shown.run("arguments[0].focus({focusVisible: true})", once)
    assert tip(once) == "block"
    assert once.get_attribute("data-tip") == said.partition("). ")[2]
    assert shown.run("return document.querySelectorAll('#cards .about').length") == 0
    value_of_card = shown.driver.find_element(By.CSS_SELECTOR, ".card dl.auto dd")
    assert "Auto-extracted from" in str(value_of_card.get_attribute("title"))
    purple = shown.driver.find_element(By.CSS_SELECTOR, ".card dl.auto dd")
    own = shown.driver.find_element(By.CSS_SELECTOR, ".card dl.own dd")
    assert purple.value_of_css_property("color") == "rgba(124, 58, 237, 1)"
    assert own.value_of_css_property("color") != purple.value_of_css_property("color")


def test_extremes_are_side_by_side(shown: Browser, flat: pl.DataFrame) -> None:
    """Each property has its minimum and maximum images."""
    section = shown.driver.find_element(By.ID, "extremes")
    words = [heading.text for heading in section.find_elements(By.TAG_NAME, "h4")]
    assert len(words) == 2 * len(im.GROUPS["standard"])
    assert {"darkest", "brightest", "fewest edges", "most edges", "most symmetric"} <= set(words)
    figures = section.find_elements(By.CSS_SELECTOR, ".contrast:nth-child(5) figcaption")
    known = flat["brightness"].drop_nulls().sort()
    expected = [*known.head(5), *known.tail(5).reverse()]
    assert [figure.text for figure in figures] == [f"{number:.3f}" for number in expected]


def test_failures_are_listed_by_kind(shown: Browser) -> None:
    """Failures are counted by kind, and listed in pages, also of one kind."""
    section = shown.driver.find_element(By.ID, "failures")
    rows = section.find_element(By.CSS_SELECTOR, ".kinds tbody").text.splitlines()
    assert rows == ["corrupt 20", "unsupported 10"]
    listed = section.find_elements(By.CSS_SELECTOR, ".failed-rows tbody tr")
    assert len(listed) == 25
    Select(find(shown, "Kind")).select_by_value("unsupported")
    listed = section.find_elements(By.CSS_SELECTOR, ".failed-rows tbody tr")
    assert len(listed) == 10
    assert all("unsupported not an image of a known format" in row.text for row in listed)


@pytest.mark.slow
def test_hostile_text_stays_text(browser: Browser, frame: pl.DataFrame, tmp_path: Path) -> None:
    """Names, values and the title are neither executed nor parsed as markup."""
    folder = tmp_path / "a&b"
    picture = Path(frame["path"][0]).read_bytes()
    paths = []
    for index, text in enumerate(HOSTILE):
        path = folder / f"{index}{text}.png"  # a slash makes a folder
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
        paths.append(str(path))
    locator = f"locator {HOSTILE[1]}"
    rows = pl.DataFrame({locator: [*paths, *HOSTILE]}).with_columns(
        pl.Series(text, [*HOSTILE, *HOSTILE]) for text in HOSTILE
    )
    hostile = im.extract(rows, locator, into=f"into {HOSTILE[0]}")
    title = HOSTILE[1] + "x" * 200
    page = im.report(hostile, tmp_path / "page.html", title=title)
    browser.open(page, width=360)
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    browser.open(page)
    assert browser.requests() == [page.as_uri()]
    assert count(browser) == "24 of 24 rows match"
    assert browser.driver.title == title
    assert browser.driver.find_element(By.TAG_NAME, "h1").text == title
    assert len(browser.driver.find_elements(By.TAG_NAME, "script")) == 2
    alien = browser.run(
        "return [...document.querySelectorAll('*')].flatMap((node) => [...node.attributes])"
        ".filter(({name, value}) => name.startsWith('on') || name === 'style'"
        "  || name === 'src' && !value.startsWith('data:image/webp;base64,')"
        "  || name === 'href' && !/^(data:,$|#)/.test(value))"
        ".map(({name, value}) => name + '=' + value)"
    )
    assert alien == []
    titles = browser.run(
        "return [...document.querySelectorAll('#cards .locator')].map((node) => node.title)"
    )
    spelled = [text.replace("\n", "↵") for text in [*paths, *HOSTILE]]
    spelled = [re.sub("[\u2028\u202e]", lambda m: f"\\u{ord(m[0]):x}", text) for text in spelled]
    assert titles == spelled
    # Also after all controls were used.
    mouse = ActionChains(browser.driver, duration=0)
    for card in browser.driver.find_elements(By.CSS_SELECTOR, ".card")[:6]:
        mouse.move_to_element(card)
    mouse.perform()
    for option in Select(find(browser, "Sort by")).options:
        option.click()
    browser.settle()
    assert browser.run("return window.harm") is None
    assert browser.console() == []


def test_names_are_whole(browser: Browser, tmp_path: Path) -> None:
    """Escaped characters, and those that are no separators, do not split names."""
    locators = {
        "photos/rtl\u202egpj.exe.jpg": "rtl\\u202egpj.exe.jpg",
        "photos/a\x01b.jpg": "a\\u0001b.jpg",
        "photos/a\\b.jpg": "a\\b.jpg",
        "C:\\photos\\c.jpg": "c.jpg",
        "\\\\server\\photos/d.jpg": "d.jpg",
        "https://example.invalid/e.jpg": "e.jpg",
        "folder/": "folder",
        "/": "/",
        "": "",
    }
    values = pl.DataFrame({"width": pl.Series([1] * len(locators), dtype=pl.Int32)}).with_columns(
        error=pl.lit(None, pl.String), auto_extracted=pl.lit("path@00000000")
    )
    frame = pl.DataFrame([pl.Series("path", [*locators]), values.to_struct("path_imgmeta")])
    browser.open(im.report(frame, tmp_path / "page.html", thumbnails=False))
    assert names(browser) == [*locators.values()]


def test_fields_have_distinct_labels(browser: Browser, frame: pl.DataFrame, tmp_path: Path) -> None:
    """A column of the user may have the name of a property, or an empty one."""
    own = frame.with_columns(pl.lit(1.5).alias("brightness"), pl.lit(2.5).alias(""))
    own = own.with_columns(pl.lit(3).alias("pixel entropy")).rename({"label": "<b>"})
    browser.open(im.report(own, tmp_path / "page.html", thumbnails=False))
    options = [option.text for option in Select(find(browser, "Sort by")).options]
    assert len(set(options)) == len(options)
    assert {"brightness", "brightness (own column)", "pixel entropy (own column)"} <= set(options)
    assert {"(no name)", "score", "<b>"} <= set(options)
    empty = (
        "return [...document.querySelectorAll('h2, h3, dt')].filter((node) => !node.textContent)"
    )
    assert browser.run(empty) == []
    assert browser.console() == []


def test_the_policy_holds(browser: Browser, page: Path) -> None:
    """The policy blocks injected scripts, handlers, styles and images."""
    browser.open(page)
    browser.run(
        """
        const script = document.createElement("script");
        script.textContent = "window.harm = 1";
        const image = document.createElement("img");
        image.src = "https://example.invalid/a.png";
        document.body.append(script, image);
        const markup = "<p id=p onclick='window.harm = 2' style='color: red'>";
        document.body.insertAdjacentHTML("beforeend", markup);
        document.getElementById("p").click();
        """
    )
    browser.settle()
    assert browser.run("return window.harm") is None
    assert browser.requests() == [page.as_uri()]
    complaints = browser.console()
    assert len(complaints) == 4
    assert all("Content Security Policy" in complaint for complaint in complaints)


def test_a_sample_is_declared(browser: Browser, frame: pl.DataFrame, tmp_path: Path) -> None:
    """The page states the size of the sample and how many columns are left out."""
    wide = frame.with_columns(pl.lit(index).alias(f"c{index}") for index in range(40))
    browser.open(im.report(wide, tmp_path / "page.html", sample=20, thumbnails=False))
    notes = browser.driver.find_element(By.ID, "notes").text
    assert "a random sample of 20 rows out of 90, and the images that the sections" in notes
    assert "The first 30 of your own columns are shown; 14 columns left out." in notes
    assert browser.run("return document.images.length") == 0
    assert browser.console() == []


def test_many_rows_stay_light(browser: Browser, tmp_path: Path) -> None:
    """The number of nodes does not grow with the number of rows."""
    values = pl.DataFrame({"brightness": np.random.default_rng(0).random(10_000)}).with_columns(
        error=pl.lit(None, pl.String), auto_extracted=pl.lit("path@00000000")
    )
    paths = pl.Series("path", [f"{row}.png" for row in range(10_000)])
    many = pl.DataFrame([paths, values.to_struct("path_imgmeta")])
    page = im.report(many, tmp_path / "page.html", sample=10_000, thumbnails=False)
    browser.open(page)
    drag(browser, "brightness", 0.5, 1.0)
    passing = values.filter(pl.col("brightness") >= float(value(browser, "brightness from")))
    assert count(browser) == f"{len(passing):,} of 10,000 rows match"
    assert browser.run("return document.querySelectorAll('*').length") < 1_000
    assert json.loads(str(browser.run("return document.getElementById('data').textContent")))


def test_long_values_are_whole(browser: Browser, frame: pl.DataFrame, tmp_path: Path) -> None:
    """A long number is on one line, if necessary below its label."""
    own = frame.with_columns(pl.lit(-(2**63) + 1).alias("a key of many digits"))
    page = im.report(own.head(2), tmp_path / "page.html", thumbnails=False)
    for width in (360, 1280):
        browser.open(page, width=width)
        lines = browser.run(
            "return [...document.querySelectorAll('#cards dl.own bdi')]"
            ".filter((node) => node.textContent.startsWith('-9'))"
            ".map((node) => node.getClientRects().length)"
        )
        assert lines == [1, 1]


def test_a_printed_gallery_declares_that_it_is_partial(
    browser: Browser, page: Path, frame: pl.DataFrame, tmp_path: Path
) -> None:
    """In print, a gallery of several pages states which one is printed."""
    said = "Only the visible page of the gallery is printed."
    browser.open(page, media="print")
    assert browser.driver.find_element(By.ID, "printed").text == said
    browser.open(im.report(frame.head(3), tmp_path / "page.html"), media="print")
    assert not browser.driver.find_element(By.ID, "printed").is_displayed()
    browser.open(page)
    assert not browser.driver.find_element(By.ID, "printed").is_displayed()


def test_print_leaves_out_the_controls(browser: Browser, page: Path) -> None:
    """Prints have pictures and values on white, without controls."""
    browser.open(page, scheme="dark", media="print")
    for control in ("Name contains", "Sort by", "Reset", "Next", "width from"):
        assert not find(browser, control).is_displayed()
    assert browser.driver.find_element(By.CSS_SELECTOR, ".card").is_displayed()
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_small_reports_open(
    browser: Browser, frame: pl.DataFrame, rows: int, tmp_path: Path
) -> None:
    """Reports of no images, or only of corrupt ones, open without errors."""
    for index, part in enumerate((frame.head(rows), frame.tail(rows))):
        browser.open(im.report(part, tmp_path / f"{index}.html"))
        noun = "row" if rows == 1 else "rows"
        assert count(browser) == f"{rows} of {rows} {noun} match"
        links = [link.text for link in browser.driver.find_elements(By.CSS_SELECTOR, ".top nav a")]
        numbers = im.unnest(part).select(pl.selectors.numeric())
        # Also the labels of failed images are distributed.
        known = any(column.count() for column in numbers) or bool(rows)
        assert ("Distributions" in links) == known
        assert ("Distributions</h2>" in browser.driver.page_source) == known
        said = browser.driver.find_element(By.ID, "failures").text
        assert ("No images." in said) == (not rows)
        assert browser.console() == []
