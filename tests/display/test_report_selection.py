"""What leaves the page of a report: the expression, the table, the paths and the address."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from browser import Browser
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from tables import extracted

import polars_imgmeta as im
from polars_imgmeta.display.report.expressions import python_text

pytestmark = pytest.mark.browser

WORDS = [
    "cat",
    "it's",
    'the "best"',
    "back\\slash\\",
    "two\nlines\tand a tab\r",
    "",
    "\u202egpj.exe",
    "🐈 ü\u2028\u0000",
    "x" * 400,
    "=1+1",
    None,
]
NUMBERS = [0.1, 0.25, math.nan, math.inf, -math.inf, None, -0.0, 1e-7, 1e21, 0.30000000000000004]
ROWS = 44


def wide() -> pl.DataFrame:
    """Return a frame with columns of many dtypes and names, rows without a path, and nulls."""
    count = range(ROWS)
    brightness = [None if row % 9 == 4 else row / ROWS for row in count]
    frame = extracted(
        {"brightness": brightness, "width": [10 + row % 7 for row in count]},
        label=[WORDS[row % len(WORDS)] for row in count],
        score=[NUMBERS[row % len(NUMBERS)] for row in count],
        correct=[(True, False, None)[row % 3] for row in count],
    )
    small = [None if row % 5 == 1 else row % 4 - 2 for row in count]
    rows = pl.int_range(pl.len())
    return frame.with_columns(
        pl.Series("level", [("low", "high", None)[row % 3] for row in count]).cast(
            pl.Enum(["low", "high"])
        ),
        pl.Series("^score$", [row / 10 for row in count], pl.Float32),
        pl.Series("*", small, pl.Int8),
        pl.Series('a "b" \\', ["x", "y"] * (ROWS // 2), pl.Categorical),
        path=pl.when(rows % 11 != 7).then(pl.format("Photos/{} İΣ'\".png", rows)),
    ).with_columns(path_imgmeta=pl.when(pl.col("path").is_not_null()).then("path_imgmeta"))


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """A frame with columns of many dtypes."""
    return wide()


@pytest.fixture(scope="module")
def page(frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the frame."""
    return im.report(frame, tmp_path_factory.mktemp("report") / "page.html", thumbnails=False)


def select(browser: Browser, **choices: object) -> tuple[str | None, list[int]]:
    """Filter the page, and return the expression and the numbers of the rows that match."""
    found = browser.run(
        """
        const {ranges, values, text, ticks} = arguments[0];
        document.getElementById("reset").click();
        untick();
        for (const one of histograms) one.select(ranges?.[name(one.field)] ?? [null, null]);
        for (const one of facets) {
          const wanted = values?.[name(one.field)] ?? [];
          one.choose([...one.labels.keys(), MISSING].filter((code) => wanted.includes(
            code === MISSING ? null : one.field.choices[code])));
        }
        seek(text ?? "");
        for (const row of ticks ?? []) tick(row, true);
        if (ticks?.length) onlyTicked(true);
        update();
        return [filterExpression(), matches.map((row) => data.rows?.[row] ?? row)];
        """,
        choices,
    )
    expression, rows = found
    return expression, sorted(rows)


def rows_of(frame: pl.DataFrame, expression: str) -> list[int]:
    """Return the numbers of the rows that an expression gives, in all engines."""
    condition = eval(expression, {"pl": pl})  # noqa: S307 - the source text is under test
    found = frame.with_row_index("number").filter(condition)["number"].to_list()
    lazy = frame.lazy().with_row_index("number").filter(condition)
    assert lazy.collect(engine="streaming")["number"].sort().to_list() == found
    return found


BOUNDS = {
    "brightness": st.integers(0, ROWS).map(lambda row: row / ROWS) | st.floats(-1, 2),
    "width": st.integers(9, 18) | st.floats(9, 18) | st.sampled_from([-1e300, 1e300, 2**60]),
    "score": st.sampled_from([x for x in NUMBERS if x is not None and math.isfinite(x)]),
    "^score$": st.integers(0, ROWS).map(lambda row: row / 10),
    "*": st.integers(-3, 3) | st.floats(-3, 3) | st.sampled_from([-1000, 1000]),
}
RANGES = st.fixed_dictionaries(
    {}, optional={name: st.tuples(st.none() | one, st.none() | one) for name, one in BOUNDS.items()}
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "label": st.lists(st.sampled_from(WORDS), unique=True),
        "level": st.lists(st.sampled_from(["low", "high", None]), unique=True),
        "correct": st.lists(st.sampled_from([True, False, None]), unique=True),
        'a "b" \\': st.lists(st.sampled_from(["x", "y"]), unique=True),
    },
)


@given(
    ranges=RANGES,
    values=VALUES,
    text=st.sampled_from(["", "1", "PHOTOS/", "i\u0307\u03c3", "İΣ'", '"', "nothing"]),
    ticks=st.just([]) | st.lists(st.integers(0, 39), min_size=1, unique=True),
)
def test_an_expression_gives_the_rows_on_the_page(  # noqa: PLR0917
    ranges: dict[str, Any],
    values: dict[str, Any],
    text: str,
    ticks: list[int],
    browser: Browser,
    page: Path,
    frame: pl.DataFrame,
) -> None:
    """Of any filters, the copied Python source selects the same rows of the frame."""
    if page.as_uri() not in browser.driver.current_url:
        browser.open(page)
    expression, rows = select(browser, ranges=ranges, values=values, text=text, ticks=ticks)
    if expression is None:
        assert len(rows) == frame["path"].count()
        return
    assert expression.isprintable()
    assert rows_of(frame, expression) == rows


@pytest.mark.parametrize(
    ("choices", "expression"),
    [
        (
            {"ranges": {"brightness": [0.1, 0.2]}},
            'pl.col("path_imgmeta").struct.field("brightness").is_between(0.1, 0.2)',
        ),
        (
            {"ranges": {"width": [11.5, None]}},
            '(pl.col("path_imgmeta").struct.field("width") >= 12)',
        ),
        (
            {"values": {"label": ["it's", 'the "best"']}},
            r"""pl.col("label").is_in(["it's", "the \"best\""])""",
        ),
        (
            {"values": {"correct": [True, None]}},
            '(pl.col("correct").is_in([True]) | pl.col("correct").is_null())',
        ),
        ({"ticks": [3]}, 'pl.col("path").is_in(["Photos/3 İΣ\'\\".png"])'),
    ],
)
def test_expressions_read_well(
    choices: dict[str, Any], expression: str, browser: Browser, page: Path
) -> None:
    """The source text is what a person would write, and leaves out rows without an image."""
    browser.open(page)
    assert select(browser, **choices)[0] == f'{expression} & pl.col("path").is_not_null()'


@pytest.mark.parametrize("kind", ["Binary", "struct", "secrets", "twice", "none"])
def test_images_without_a_path_are_named_by_their_place(
    kind: str, browser: Browser, tmp_path: Path
) -> None:
    """Bytes, secrets and paths that several rows have are never in the expression."""
    frame = extracted({"brightness": [0.1, 0.2, 0.3, 0.4]}, label=["a", "b", "a", "b"])
    changed = {
        "Binary": pl.col("path").cast(pl.Binary),
        "struct": pl.struct(bytes=pl.col("path").cast(pl.Binary), path=pl.lit(None, pl.String)),
        "secrets": pl.format("https://me:h4x0r@example.invalid/{}?token=h4x0r", "path"),
        "twice": pl.lit("same.png"),
        "none": pl.col("path"),
    }
    frame = frame.with_columns(changed[kind].alias("path"))
    if kind == "none":
        frame = frame.drop("path")
    report = im.report(frame, tmp_path / "page.html", thumbnails=False)
    assert "h4x0r" not in report.read_text("utf-8")
    browser.open(report)
    expression, rows = select(browser, ticks=[1, 2])
    assert expression == "pl.int_range(pl.len()).is_in([1, 2])"
    assert rows == [1, 2] == rows_of(frame, expression)


def test_an_expression_of_a_sample_holds_for_the_frame(browser: Browser, tmp_path: Path) -> None:
    """Ranges and values are of all rows, of which the page shows some; places are of the frame."""
    frame = extracted({"brightness": [row / 100 for row in range(100)]}, label=["a", "b"] * 50)
    numbered = frame.drop("path")
    for one in (frame, numbered):
        browser.open(im.report(one, tmp_path / "page.html", thumbnails=False, sample=10))
        expression, rows = select(browser, ranges={"brightness": [0.2, 0.7]})
        assert expression is not None
        assert rows == [row for row in browser.run("return data.rows") if 20 <= row <= 70]
        assert rows_of(one, expression) == list(range(20, 71))
        expression, rows = select(browser, ticks=[1, 3])
        assert expression is not None
        assert (
            rows_of(one, expression) == rows == browser.run("return [data.rows[1], data.rows[3]]")
        )


@given(text=st.text())
def test_python_source_is_a_text(text: str) -> None:
    """A name is one printable literal of the same text."""
    literal = python_text(text)
    assert literal.isprintable()
    assert eval(literal) == text  # noqa: S307 - the source text is under test


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="")))
def test_source_of_the_page_is_a_text(text: str, browser: Browser, page: Path) -> None:
    """A value is one literal of the same text."""
    if page.as_uri() not in browser.driver.current_url:
        browser.open(page)
    literal = browser.run("return literal(arguments[0])", text)
    assert eval(literal) == text  # noqa: S307 - the source text is under test


def test_the_bar_appears_with_a_selection(browser: Browser, page: Path) -> None:
    """It counts what matches, and goes when nothing is chosen."""
    browser.open(page)
    bar = browser.driver.find_element(By.ID, "selection")
    assert not bar.is_displayed()
    select(browser, ranges={"brightness": [0.5, None]})
    browser.settle()
    matched = len(browser.driver.find_elements(By.CSS_SELECTOR, ".card"))
    assert bar.find_element(By.ID, "selected").text == f"{matched} of 40 images"
    assert not bar.find_element(By.ID, "ticks").is_displayed()
    browser.driver.find_element(By.ID, "reset").click()
    browser.settle()
    assert not bar.is_displayed()
    # A tick alone is no filter.
    browser.driver.find_element(By.CSS_SELECTOR, "[data-tick='2']").click()
    assert bar.is_displayed()
    assert not bar.find_element(By.ID, "copy-filter").is_enabled()
    bar.find_element(By.ID, "only-ticked").click()
    browser.settle()
    (card,) = browser.driver.find_elements(By.CSS_SELECTOR, "#cards .locator")
    assert card.text == "2 İΣ'\".png"
    bar.find_element(By.ID, "untick").click()
    browser.settle()
    assert not bar.is_displayed()
    assert browser.console() == []


@pytest.mark.parametrize("allowed", [True, False])
def test_copies_reach_the_clipboard_or_a_dialog(
    browser: Browser, page: Path, *, allowed: bool
) -> None:
    """Where a browser refuses, the text is selected in a dialog, and Escape closes it."""
    browser.open(page)
    browser.run(
        """
        window.copied = [];
        const writeText = async (text) => {
          if (!arguments[0]) throw new Error("no");
          copied.push(text);
        };
        Object.defineProperty(navigator, "clipboard", {value: {writeText}, configurable: true});
        """,
        allowed,
    )
    expression, _ = select(browser, values={"label": ["cat"]})
    browser.settle()
    browser.driver.find_element(By.ID, "copy-filter").click()
    browser.settle()
    if allowed:
        assert browser.run("return copied") == [expression]
        assert browser.driver.find_element(By.ID, "announced").text == "Copied the filter."
        browser.driver.find_element(By.ID, "copy-paths").click()
        browser.settle()
        paths = browser.run("return matches.map(pathOf).join('\\n')")
        assert browser.run("return copied[1]") == paths
        assert paths.splitlines()[0] == "Photos/0 İΣ'\".png"
        return
    area = browser.driver.find_element(By.ID, "copied")
    assert area.is_displayed()
    assert area.get_property("value") == expression
    assert browser.run("return getSelection().toString()") == expression
    browser.run("document.getElementById('copying').close()")
    assert browser.driver.switch_to.active_element.get_attribute("id") == "copy-filter"


def test_the_table_has_the_values_of_the_frame(
    browser: Browser, page: Path, frame: pl.DataFrame, tmp_path: Path
) -> None:
    """A saved table is read back by Polars: quotes, line ends, nulls and empty texts."""
    browser.open(page)
    browser.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    _, rows = select(browser, ranges={"width": [11, None]})
    browser.settle()
    browser.driver.find_element(By.ID, "download").click()
    said = browser.driver.find_element(By.ID, "announced").text
    formulas = (frame[rows]["label"] == "=1+1").sum()
    assert said.startswith(f"Saved {len(rows)} rows. {formulas} values may run as a formula")
    file = tmp_path / "Image-report.csv"
    WebDriverWait(browser.driver, 20).until(lambda _: file.exists())
    wanted = im.unnest(frame)[rows]
    own = ["label", "score", "correct", "level", "^score$", "*", 'a "b" \\']
    wanted = wanted.select(pl.selectors.by_name("path", "width", "brightness", *own, "error"))
    header = next(csv.reader(io.StringIO(file.read_text("utf-8"), newline="")))
    assert header == wanted.columns
    # Polars leaves the quotes of a header as they are.
    body = file.read_bytes().split(b"\r\n", 1)[1]
    read = pl.read_csv(io.BytesIO(body), has_header=False, schema=wanted.schema)
    assert_frame_equal(read, wanted, categorical_as_str=True)
    assert browser.console() == []


def keep(browser: Browser) -> str:
    """Return the address once it is written."""
    browser.settle()
    browser.run("writeAddress()")
    return str(browser.run("return location.href"))


STATES: list[tuple[str, Callable[[Browser], Any]]] = [
    (
        "histograms.find((one) => name(one.field) === 'brightness').select([0.1, 0.6])",
        lambda b: b.run("return matches"),
    ),
    ("facets[0].choose([1, 4, MISSING])", lambda b: b.run("return matches")),
    ("seek('photos/1 & #=')", lambda b: b.run("return document.getElementById('search').value")),
    (
        """byId('sort').value = '1'; byId('order').value = '-1';
        byId('order').dispatchEvent(new Event('change'))""",
        lambda b: b.run("return matches"),
    ),
    ("tick(3, true); tick(7, true)", lambda b: b.run("return [...ticked]")),
    ("tick(3, true); onlyTicked(true)", lambda b: b.run("return [matches, [...ticked]]")),
    ("turn(1)", lambda b: b.run("return page")),
    (
        "byId('density').value = 1; byId('density').dispatchEvent(new Event('input'))",
        lambda b: b.run("return [byId('density').value, byId('cards').dataset.width]"),
    ),
    (
        "byId('shown-list').querySelector('[value=\"1\"]').click()",
        lambda b: b.run("return document.querySelector('.card').textContent"),
    ),
    (
        """byId('scatter').open = true; byId('scatter-x').value = '2';
        byId('scatter-x').dispatchEvent(new Event('change'))""",
        lambda b: b.run("return [byId('scatter').open, byId('scatter-x').value]"),
    ),
    (
        "seek('1'); update(); view(matches[2])",
        lambda b: b.run("return byId('viewer').open && byId('viewer').innerText"),
    ),
]


@pytest.mark.parametrize("number", range(len(STATES)))
def test_a_link_shows_the_page_again(number: int, browser: Browser, page: Path) -> None:
    """The address has what is chosen, and a fresh page at that address shows the same."""
    script, state = STATES[number]
    browser.open(page)
    before = state(browser)
    assert keep(browser) == page.as_uri()
    browser.run(script)
    link = keep(browser)
    chosen = state(browser)
    assert chosen != before
    browser.driver.get("about:blank")
    browser.driver.get(link)
    browser.settle()
    browser.settle()
    assert state(browser) == chosen
    assert keep(browser) == link
    # The same page goes back, and forth, with its address.
    browser.run("location.hash = 'page=1'")
    browser.settle()
    browser.settle()
    assert state(browser) == before
    assert browser.console() == []


def test_a_wrong_address_is_no_error(browser: Browser, page: Path) -> None:
    """What an address does not mean is left out."""
    browser.open(page)
    wrong = "only.label=99_x&range.width=a_b&sort=77&page=999&width=x&ticked=999_z&open=1000&x=9"
    browser.driver.get("about:blank")
    browser.driver.get(f"{page.as_uri()}#{wrong}&show=__")
    browser.settle()
    assert browser.run("return matches.length") == 40
    assert browser.console() == []


def test_a_section_in_the_address_leaves_the_choice(browser: Browser, page: Path) -> None:
    """Links to sections move the focus, and what is chosen stays in the address."""
    browser.open(page)
    select(browser, values={"label": ["cat"]})
    link = keep(browser)
    browser.driver.find_element(By.CSS_SELECTOR, 'nav a[href="#extremes"]').click()
    assert browser.driver.switch_to.active_element.get_attribute("id") == "extremes"
    assert browser.run("return location.href") == link
