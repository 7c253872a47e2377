"""The report as a file: its content, and how it is written."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import math
import os
import re
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing.parametric import series
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.display.formatting import AUTO_EXTRACTED_COLOURS, text_of
from polars_imgmeta.display.locator_lookup import LocatorLookup
from polars_imgmeta.display.report import data, writing
from polars_imgmeta.typing import Frame, PropertyName

UNLIMITED = (-math.inf, math.inf)
HOSTILE = "</script><script>alert(1)</script>&\u2028<!--"


class Page(html.parser.HTMLParser):
    """The scripts, styles and policy of a page, as a browser parses it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page.read_text("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Record the text after a tag."""
        if self.tags and self.tags[-1][0] in {"script", "style"} and data.strip():
            self.texts.append((self.tags[-1][0], data))

    @property
    def data(self) -> dict[str, Any]:
        """Return the content of the page."""
        found = [text for tag, text in self.texts if tag == "script" and text.startswith("{")]
        content: dict[str, Any] = json.loads(found[0])
        return content


@pytest.fixture
def frame(sample_folder: Path) -> pl.DataFrame:
    """The sample images, with all their properties."""
    return im.extract(im.scan_images(sample_folder / "photos"), "path").collect()


def extracted(values: dict[PropertyName, pl.Series]) -> pl.DataFrame:
    """Return a frame as if images had given values."""
    (length,) = {len(column) for column in values.values()}
    table = pl.DataFrame(values).with_columns(
        error=pl.lit(None, pl.String), auto_extracted=pl.lit("path@00000000")
    )
    locators = pl.Series("path", [f"{row}.png" for row in range(length)], pl.String)
    return pl.DataFrame([locators, table.to_struct("path_imgmeta")])


def content_of(frame: Frame, tmp_path: Path, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the content of the report of a frame."""
    return Page(im.report(frame, tmp_path / "page.html", **options)).data


def test_a_report_is_complete(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Counts, values, failures and pictures are those of the frame."""
    data = content_of(frame, tmp_path, title="Photos")
    assert data["title"] == "Photos"
    assert data["summary"] == {
        "rows": 12,
        "located": 12,
        "images": 12,
        "failed": 3,
        "uncomputed": 0,
        "shown": 12,
        "sampled": False,
        "sample": 1000,
        "left_out": [],
    }
    assert data["provenance"] == {
        "column": "path_imgmeta",
        "locator": "path",
        "path": 'pl.col("path")',
        "located": 'pl.col("path").is_not_null()',
    }
    names = [(field["name"], field["auto"]) for field in data["fields"]]
    assert names == [
        *((name, True) for name in im.GROUPS["standard"]),
        ("file_size", False),
        ("modified", False),
        ("etag", False),
    ]
    flat = im.unnest(frame)
    for field in (one for one in data["fields"] if "distribution" in one):
        assert field["values"] == flat[field["name"]].to_list()
        distribution = field["distribution"]
        known = flat[field["name"]].drop_nulls()
        assert sum(distribution["counts"]) == len(known)
        assert distribution["missing"] == 12 - len(known)
        assert distribution["minimum"] == known.min()
        assert distribution["maximum"] == known.max()
        assert distribution["median"] == pytest.approx(known.median())
        assert distribution["mean"] == pytest.approx(known.mean())
    assert data["locators"] == frame["path"].to_list()
    assert data["names"] == frame["path"].str.split("/").list.last().to_list()
    assert data["errors"] == flat["error"].to_list()
    readable = [uri is not None for uri in data["thumbnails"]]
    assert readable == flat["error"].is_null().to_list()
    assert sorted(data["failures"]["kinds"]) == [["corrupt", 2], ["unsupported", 1]]
    rows = im.errors(frame).with_columns(pl.col("kind").cast(pl.String)).rows()
    assert data["failures"]["rows"] == [list(row) for row in rows]


def test_extremes_are_minimum_and_maximum_values(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Each side starts with the extreme value, and no image is shown twice."""
    data = content_of(pl.concat([frame, frame]), tmp_path, thumbnails=False)
    assert set(data["extremes"]) == set(im.GROUPS["standard"])
    for field in data["fields"][: len(im.GROUPS["standard"])]:
        low, high = data["extremes"][field["name"]]
        good = frame.filter(pl.col("path_imgmeta").struct.field("error").is_null())
        known = good["path_imgmeta"].struct.field(field["name"]).drop_nulls().sort()
        assert [field["values"][row] for row in low] == known.head(len(low)).to_list()
        assert [field["values"][row] for row in high] == known.reverse().head(len(high)).to_list()
        assert len({data["locators"][row] for row in low + high}) == len(low + high)
    assert data["extremes"]["brightness"] != [[], []]


def test_every_property_has_words_for_its_extremes() -> None:
    """Every property of the catalogue has distinct headings."""
    assert set(im.GROUPS["standard"]) <= set(data.EXTREMES) <= set(im.CATALOGUE)
    words = [word for pair in data.EXTREMES.values() for word in pair]
    assert len(set(words)) == len(words)


def test_a_sample_keeps_the_extremes(tmp_path: Path) -> None:
    """A sample is always the same and contains what the page names; statistics cover all rows."""
    brightness = pl.Series(np.random.default_rng(1).random(5_000))
    many = extracted({"brightness": brightness})
    data = content_of(many, tmp_path, sample=50, thumbnails=False)
    (field,) = data["fields"]
    assert data["summary"]["sampled"]
    assert 50 <= data["summary"]["shown"] == len(field["values"]) <= 80  # 10 extremes, 20 issues
    assert {brightness.min(), brightness.max()} <= set(field["values"])
    assert sum(field["distribution"]["counts"]) == 5_000
    assert field["distribution"]["mean"] == pytest.approx(brightness.mean())
    again = content_of(many, tmp_path, sample=50, thumbnails=False)
    assert again["locators"] == data["locators"]
    assert data["locators"] == sorted(data["locators"], key=lambda name: int(name[:-4]))


def test_failures_beyond_the_sample_are_counted(tmp_path: Path) -> None:
    """All failures are counted, and those of the sample size are listed."""
    gone = pl.DataFrame({"path": [f"{row}.png" for row in range(9)]})
    data = content_of(im.extract(gone, "path", "width"), tmp_path, sample=4)
    assert data["failures"]["kinds"] == [["not_found", 9]]
    assert len(data["failures"]["rows"]) == 4
    assert data["failures"]["left_out"] == 5
    assert data["extremes"] == {"width": [[], []]}
    assert data["fields"][0]["distribution"] is None


def test_rows_without_locator_or_values_are_counted(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Null locators and rows that were not computed yet are counted."""
    other = pl.DataFrame({"path": [None, *frame["path"].head(2)]}, schema={"path": pl.String})
    data = content_of(pl.concat([frame, other], how="diagonal"), tmp_path)
    summary = data["summary"]
    assert (summary["rows"], summary["located"], summary["images"]) == (15, 14, 12)
    assert (summary["uncomputed"], summary["failed"]) == (2, 3)
    assert len(data["locators"]) == 14


def test_extremes_of_any_number(tmp_path: Path) -> None:
    """Extremes are found among integers, infinite floats and the decimals of another tool."""
    decimals = pl.Series(["1.5", None, "3.5", "2.5"], dtype=pl.Decimal(9, 1))
    floats = pl.Series([math.inf, 2.5, math.nan, 1.5])
    values = {"decimal": decimals, "float": floats, "integer": pl.Series([3, 1, 2, 4])}
    frame = pl.DataFrame(values).with_columns(
        error=pl.lit(None, pl.String), auto_extracted=pl.lit("path@0")
    )
    located = frame.select(pl.struct(pl.all()).alias("path_imgmeta")).with_columns(
        path=pl.format("{}.png", pl.int_range(pl.len()))
    )
    data = content_of(located, tmp_path, thumbnails=False)
    assert data["extremes"] == {
        "decimal": [[0], [2]],
        "float": [[3], [1]],
        "integer": [[1, 2], [3, 0]],
    }


@pytest.mark.parametrize("rows", [[], [None, None]])
def test_a_report_may_be_empty(rows: list[None], tmp_path: Path) -> None:
    """A frame without images has a report."""
    empty = pl.DataFrame({"path": rows}, schema={"path": pl.String})
    data = content_of(im.extract(empty, "path"), tmp_path)
    assert data["summary"]["images"] == 0
    assert data["locators"] == data["thumbnails"] == []


def test_columns_of_every_kind_are_included(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Numbers that JavaScript represents exactly are numbers, others text with its order."""
    own = frame.head(3).with_columns(
        pl.Series("float", [math.nan, -math.inf, 1.5]),
        pl.Series("exact", [2**53 - 1, None, -1]),
        pl.Series("inexact", [2**53, None, 5]),
        pl.Series("day", ["2026-01-02", None, "999-01-01"]).str.to_date(strict=False),
        pl.Series("level", ["low", "high", None], pl.Enum(["low", "high"])),
        pl.Series("text", [HOSTILE, None, "b"]),
        pl.Series("object", [object, 3, None], dtype=pl.Object),
        pl.Series("brightness", ["mine", "is", "another"]),
        im.extract_series(frame["path"].head(3), "width").alias("second_imgmeta"),
    )
    fields = content_of(own, tmp_path, column="path_imgmeta")["fields"][
        len(im.GROUPS["standard"]) :
    ]
    own_fields = {field["name"]: field for field in fields}
    assert [*own_fields] == [
        "file_size", "modified", "etag",
        "float", "exact", "inexact", "day", "level", "text", "object", "brightness",
    ]  # fmt: skip
    assert own_fields["float"]["values"] == ["nan", "-inf", 1.5]
    assert sum(own_fields["float"]["distribution"]["counts"]) == 1
    assert own_fields["exact"]["values"] == [2**53 - 1, None, -1]
    assert own_fields["inexact"]["values"] == [str(2**53), None, "5"]
    assert own_fields["inexact"]["order"] == [2, None, 1]
    assert own_fields["level"]["ordered"]
    assert own_fields["level"]["choices"] == ["low", "high"]
    assert own_fields["level"]["codes"] == [0, 1, None]
    assert own_fields["text"]["codes"] == [0, None, 1]
    assert own_fields["text"]["choices"] == [HOSTILE, "b"]
    assert own_fields["text"]["texts"] == {"0": text_of(HOSTILE)}
    assert not any(field["auto"] for field in fields)


@given(values=series(min_size=1, max_size=6, excluded_dtypes=[pl.Object]))
def test_a_column_of_any_dtype_becomes_json(values: pl.Series) -> None:
    """Columns of any dtype are encoded as JSON."""
    made = data._own_field("pl.col('own')", values.alias("own"), list(range(len(values))))  # noqa: SLF001
    json.dumps(made, allow_nan=False)
    assert len(made["codes"] if "codes" in made else made["values"]) == len(values)


@given(
    values=st.lists(
        st.floats(allow_nan=False, allow_infinity=False) | st.integers(-50, 50).map(float),
        min_size=1,
    )
)
def test_bins_count_every_value(values: list[float]) -> None:
    """Edges are finite and ascending, and every value is counted once, the maximum included."""
    column = pl.Series([*values, None, math.nan, math.inf])
    distribution = data._distribution(column, UNLIMITED)  # noqa: SLF001
    assert distribution is not None
    edges = distribution["edges"]
    assert all(before < after for before, after in pairwise(edges))
    assert all(map(math.isfinite, edges))
    assert edges[0] <= min(values) <= max(values) <= edges[-1]
    assert distribution["counts"] == np.histogram(values, edges)[0].tolist()
    assert sum(distribution["counts"]) == len(values)
    assert distribution["missing"] == 3


def test_the_median_of_huge_numbers() -> None:
    """The median is between two numbers whose sum overflows."""
    distribution = data._distribution(pl.Series([1e308, 1.2e308]), UNLIMITED)  # noqa: SLF001
    assert distribution is not None
    assert distribution["median"] == pytest.approx(1.1e308)


@given(values=st.lists(st.integers(1, 60), min_size=1))
def test_few_whole_numbers_have_a_bin_each(values: list[int]) -> None:
    """In a small range, each integer has a bin of its own."""
    column = pl.Series(values, dtype=pl.Int32)
    distribution = data._distribution(column, UNLIMITED)  # noqa: SLF001
    assert distribution is not None
    if 0 < max(values) - min(values) < 40:
        expected = [values.count(number) for number in range(min(values), max(values) + 1)]
        assert distribution["counts"] == expected
        assert distribution["edges"] == tuple(range(min(values), max(values) + 2))
    assert sum(distribution["counts"]) == len(values)


def test_the_page_runs_and_loads_only_its_own(frame: pl.DataFrame, tmp_path: Path) -> None:
    """The policy permits script and style by digest, and there are no external links."""
    hostile = frame.with_columns(pl.lit(HOSTILE).alias(HOSTILE))
    page = Page(im.report(hostile, tmp_path / "page.html", title=HOSTILE))
    tags = [tag for tag, _ in page.tags]
    assert (tags.count("script"), tags.count("style")) == (2, 1)
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    style, data, script = [text for _, text in page.texts]
    for text, directive in ((style, "style-src"), (script, "script-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    assert not set(data) & set("<>&\u2028\u2029")
    assert data.isascii()
    links = [
        v for _, attributes in page.tags for k, v in attributes.items() if k in {"src", "href"}
    ]
    assert all(link is not None and link.startswith(("#", "data:")) for link in links)
    assert page.data["title"] == HOSTILE


@pytest.mark.parametrize(
    "name", ["page.html", "page.css", *(f"{part}.js" for part in writing.SCRIPTS)]
)
def test_parts_are_small_and_write_no_markup(name: str) -> None:
    """Nothing in the page parses markup, evaluates strings or loads resources."""
    text = (files("polars_imgmeta") / "display" / "report" / "page" / name).read_text("utf-8")
    assert len(text.splitlines()) <= 350
    parsers = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function"
    assert re.findall(parsers, text) == []
    addresses = r"https?:(?!//www\.w3\.org/2000/svg)|@import|url\("
    assert re.findall(addresses, text) == []


def test_purple_is_the_same_everywhere() -> None:
    """The page and the notebook use the same purple."""
    style = (files("polars_imgmeta") / "display" / "report" / "page" / "page.css").read_text(
        "utf-8"
    )
    assert re.findall(r"--auto: light-dark\((#\w+), (#\w+)\);", style) == [AUTO_EXTRACTED_COLOURS]


def test_each_image_is_read_once(frame: pl.DataFrame, tmp_path: Path, sample_folder: Path) -> None:
    """Images are read once for thumbnails, and not at all without."""
    with count_reads(sample_folder / "photos") as opened:
        im.report(pl.concat([frame, frame]), tmp_path / "page.html", thumbnails=False)
        assert not opened
        im.report(pl.concat([frame, frame]), tmp_path / "page.html")
    assert set(opened.values()) == {1}
    assert len(opened) == 12


def test_a_lazy_frame_is_computed_once(sample_folder: Path, tmp_path: Path) -> None:
    """A pending extraction reads each image once."""
    lazy = im.extract(im.scan_images(sample_folder / "photos"), "path")
    with count_reads(sample_folder / "photos") as opened:
        data = Page(im.report(lazy, str(tmp_path / "page.html"), thumbnails=False)).data
    assert set(opened.values()) == {1}
    assert data["summary"]["images"] == 12


def test_a_page_is_replaced_whole_or_not_at_all(
    frame: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing fails, the previous page is unchanged, and no other file is left."""
    page = tmp_path / "page.html"
    link = tmp_path / "link.html"
    link.symlink_to(page)
    page.write_text("before")
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_render", lambda _: "\udcff")  # cannot be encoded
        with pytest.raises(UnicodeEncodeError):
            im.report(frame, page, thumbnails=False)
    assert page.read_text() == "before"
    assert im.report(frame, link, thumbnails=False) == link
    assert link.is_symlink()
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.html", "page.html"]
    mask = os.umask(0)
    os.umask(mask)
    assert page.stat().st_mode & 0o777 == 0o666 & ~mask


MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"file": "no/a.html"}, FileNotFoundError, "must be in a folder that exists, got 'no/a.html'"),
    ({"file": "."}, OSError, "`file` must name a file to write, got '.', which is a folder"),
    ({"file": os.devnull}, OSError, "which is no regular file"),
    ({"file": None}, TypeError, "`file` must be a path, got None"),
    ({"title": 3}, TypeError, "`title` must be text, got 3"),
    ({"sample": 0}, ValueError, "`sample` must be a positive whole number, got 0"),
    ({"max_pixels": True}, ValueError, "`max_pixels` must be a positive whole number, got True"),
    ({"column": "path_imgmeat"}, im.ColumnError, "Hint: did you mean 'path_imgmeta'?"),
    ({"locator": "paht"}, im.ColumnError, "Hint: did you mean 'path'?"),
    ({"frame": pl.DataFrame({"path": []})}, im.ColumnError, "Hint: make one with `extract`"),
    ({"frame": [1]}, TypeError, "`frame` must be a polars DataFrame or LazyFrame, got list"),
]


def test_a_new_name_without_a_suffix_gets_one(sample_folder: Path, tmp_path: Path) -> None:
    """A browser opens a page by its suffix."""
    frame = im.extract(im.scan_images(sample_folder / "photos"), "path", "width").collect()
    assert im.report(frame, tmp_path / "out", thumbnails=False) == tmp_path / "out.html"
    assert [one.name for one in tmp_path.iterdir()] == ["out.html"]


@pytest.mark.parametrize(("wrong", "error", "message"), MISTAKES, ids=[m for *_, m in MISTAKES])
def test_mistakes_are_named_before_any_work(
    wrong: dict[str, Any],
    error: type[Exception],
    message: str,
    sample_folder: Path,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mistake is reported before images are opened or files written."""
    monkeypatch.chdir(tmp_path)
    lazy = im.extract(im.scan_images(sample_folder / "photos"), "path")
    call: dict[str, Any] = {"frame": lazy, "file": "a.html"}
    with (
        count_reads(sample_folder / "photos") as opened,
        pytest.raises(error, match=re.escape(message)),
    ):
        im.report(**(call | wrong))
    assert not opened
    assert list(tmp_path.iterdir()) == []


def test_no_locator_column_is_needed_without_pictures(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Rows are numbered instead."""
    page = im.report(frame.drop("path"), tmp_path / "page.html", thumbnails=False)
    assert "row 0" in page.read_text("utf-8")
    with pytest.raises(im.ColumnError, match="with `locator=`"):
        im.report(frame.drop("path"), tmp_path / "page.html")


@pytest.mark.parametrize("struct", [False, True])
def test_few_images_are_held_at_once(
    struct: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a column of images, a report asks for some hundred at a time, and for each once."""
    count = 700
    pictures = [_picture(number) for number in range(count)]
    given = pl.Series("image", pictures)
    locators = pl.DataFrame({"bytes": given, "path": [None] * count}).to_struct("image")
    frame = pl.DataFrame([locators.cast(pl.Struct({"bytes": pl.Binary, "path": pl.String}))])
    if not struct:
        frame = pl.DataFrame([given])
    lazy = im.extract(frame, "image", "width").lazy()
    asked: list[int] = []
    found = LocatorLookup.find

    def record(lookup: LocatorLookup, keys: pl.Series, pictured: pl.Series) -> pl.DataFrame:
        rows = found(lookup, keys, pictured)
        images = rows["locator"].struct.field("bytes") if struct else rows["locator"]
        asked.append(int(images.bin.size().sum()))
        return rows

    monkeypatch.setattr(LocatorLookup, "find", record)
    content = content_of(lazy, tmp_path)
    assert all(content["thumbnails"])
    total = sum(map(len, pictures))
    assert sum(asked) == total
    assert max(asked) < total * 0.4


def _picture(number: int) -> bytes:
    """Return a small picture of its own size in bytes and colour."""
    colour = np.full((2, 2, 3), number % 256, np.uint8)
    colour[0, 0] = number // 256
    return bytes(cv2.imencode(".png", colour)[1])


def test_numbers_of_many_rows_are_exact(tmp_path: Path) -> None:
    """Of 250,000 rows the page shows a sample; extremes, counts and issues are of all."""
    rows = 250_000
    random = np.random.default_rng(0)
    brightness = pl.Series(random.random(rows)).set(pl.Series(np.arange(rows) % 10 == 3), None)
    width = pl.Series(random.integers(1, 5_000, rows).astype(np.int32))
    kinds = ["corrupt", "not_found", "unsupported"]
    failed = np.arange(rows) % 10 == 3
    errors = [f"{kinds[row % 3]}: no" if bad else None for row, bad in enumerate(failed)]
    table = pl.DataFrame({"width": width, "brightness": brightness}).with_columns(
        error=pl.Series(errors, dtype=pl.String), auto_extracted=pl.lit("path@00000000")
    )
    paths = pl.Series("path", [f"{row}.png" for row in range(rows)])
    label = pl.Series("label", ["train", "val"] * (rows // 2))
    frame = pl.DataFrame([paths, table.to_struct("path_imgmeta"), label])
    for one in (frame, frame.lazy()):
        data = content_of(one, tmp_path, thumbnails=False, sample=200)
        assert data["summary"]["rows"] == data["summary"]["images"] == rows
        assert data["summary"]["shown"] < 300
        counted = table["error"].drop_nulls().str.split(": ").list.first().value_counts()
        assert sorted(data["failures"]["kinds"]) == sorted(map(list, counted.rows()))
        assert data["summary"]["failed"] == failed.sum()
        good = table.filter(pl.col("error").is_null())
        for name in ("width", "brightness"):
            (field,) = [field for field in data["fields"] if field["name"] == name]
            for side, largest in zip(data["extremes"][name], (False, True), strict=True):
                shown = [field["values"][row] for row in side]
                assert shown == good[name].sort(descending=largest).head(5).to_list()
            distribution = field["distribution"]
            assert sum(distribution["counts"]) == table[name].count()
            values = table[name].drop_nulls().to_numpy()
            counts = np.histogram(values, distribution["edges"])[0]
            assert distribution["counts"] == counts.tolist()
            assert distribution["minimum"] == table[name].min()
            assert distribution["maximum"] == table[name].max()
        found = im.issues(frame)
        assert len(found)
        counts_of = dict(found["rule"].cast(pl.String).value_counts().rows())
        assert {issue["rule"]: issue["count"] for issue in data["issues"]} == counts_of
