"""Previews with pictures in notebooks, and as text elsewhere."""

from __future__ import annotations

import base64
import html.parser
import io
import re
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.display.formatting import AUTO_EXTRACTED_COLOURS

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>\u202egpj'


class Table(html.parser.HTMLParser):
    """The cells of a table, each with its attributes, and all tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[str] = []
        self.cells: list[tuple[dict[str, str | None], str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a tag, and start a cell."""
        self.tags.append(tag)
        if tag in {"td", "th"}:
            self.cells.append((dict(attrs), ""))
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")

    def handle_data(self, data: str) -> None:
        """Add to the text of the cell."""
        if self.cells:
            attributes, text = self.cells[-1]
            self.cells[-1] = (attributes, text + data)


@pytest.fixture
def frame(sample_folder: Path) -> pl.DataFrame:
    """Return two images, an invalid one, and a row without locator."""
    names = ["dusk.png", "portrait.jpg", "notes.jpg", None]
    paths = [name and str(sample_folder / "photos" / name) for name in names]
    own = pl.DataFrame({"path": paths, "label": [HOSTILE, None, "b", "c"]})
    return im.extract(own, "path", ["width", "aspect_ratio"])


def test_a_notebook_shows_rows_with_pictures(frame: pl.DataFrame) -> None:
    """Each row has its picture or error, and its properties in purple."""
    shown = im.show(frame)._repr_html_()
    table = Table(shown)
    texts = [text for _, text in table.cells]
    assert texts[:5] == ["picture", "path", "label", "width", "aspect_ratio"]
    assert texts[6:10] == ["dusk.png", HOSTILE.replace("\u202e", "\\u202e"), "320", "1.333"]
    assert texts[11:15] == ["portrait.jpg", "null", "240", "0.75"]
    assert texts[15:20] == [
        "unsupported: not an image of a known format",
        "notes.jpg",
        "b",
        "null",
        "null",
    ]
    assert texts[20:] == ["no picture", "null", "c", "null", "null"]
    assert len(table.images) == 2
    assert all(uri.startswith("data:image/webp;base64,") for uri in table.images)
    titles = {text: attributes["title"] for attributes, text in table.cells if text == "dusk.png"}
    assert titles == {"dusk.png": frame["path"][0]}
    classes = [(attributes.get("class") or "").split() for attributes, _ in table.cells]
    purple = [
        cell for (cell, _), names in zip(table.cells, classes, strict=True) if "auto" in names
    ]
    assert classes[0::5] == [["picture"]] * 5
    assert len(purple) == 2 * 5
    assert {attributes["title"] for attributes in purple} == {
        f"{about}. Auto-extracted from 'path' into 'path_imgmeta'."
        for about in ("Columns of the picture", "Width divided by height")
    }
    assert AUTO_EXTRACTED_COLOURS[0] in shown


def test_names_that_occur_twice_have_folders(tmp_path: Path) -> None:
    """Files of one name are told apart, in previews and in reports, by the folders it takes."""
    names = ["x/left/1.png", "x/right/1.png", "y/right/1.png", "y/right/2.png"]
    paths = [f"{tmp_path}/{name}" for name in names]
    frame = im.extract(pl.DataFrame({"path": [*paths, paths[3]]}), "path", "width")
    for layout, kind in (("table", "td"), ("grid", "div")):
        shown = im.show(frame, layout=layout)._repr_html_()  # type: ignore[arg-type]
        named = re.findall(rf"<{kind} [^>]*title=.{tmp_path}[^>]*><bdi>([^<]*)", shown)
        assert named == ["x/left/1.png", "x/right/1.png", "y/right/1.png", "2.png", "2.png"]
    page = im.report(frame, tmp_path / "page.html", thumbnails=False).read_text("utf-8")
    assert '"names":["x/left/1.png","x/right/1.png","y/right/1.png","2.png","2.png"]' in page


def test_text_stays_text(frame: pl.DataFrame) -> None:
    """Values and names are escaped."""
    hostile = frame.rename({"path": f"</style>{HOSTILE}"})
    shown = im.show(hostile, locator=f"</style>{HOSTILE}")._repr_html_()
    table = Table(shown)
    assert set(table.tags) == {
        "div",
        "style",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "bdi",
        "img",
    }
    assert table.tags.count("style") == 1
    assert len(table.images) == 2


def test_elsewhere_it_prints_the_flat_frame(frame: pl.DataFrame) -> None:
    """A terminal shows the result of `unnest`, and no image is read."""
    folder = Path(frame["path"][0]).parent
    with count_reads(folder) as opened:
        printed = repr(im.show(frame, 2))
    assert printed == repr(im.unnest(frame.head(2)))
    assert not opened


def test_taken_names_are_set_apart(frame: pl.DataFrame) -> None:
    """A column of the user's may have the name of a property, which then names its own."""
    taken = frame.with_columns(width=pl.lit("mine"))
    assert repr(im.show(taken)) == repr(im.unnest(taken, prefix="path_imgmeta."))
    texts = [text for _, text in Table(im.show(taken)._repr_html_()).cells]
    assert texts[:6] == ["picture", "path", "label", "width", "path_imgmeta.width", "aspect_ratio"]
    assert "mine" in texts


def test_a_grid_has_captions(frame: pl.DataFrame) -> None:
    """Each row is a picture with its name and values."""
    shown = im.show(frame, layout="grid")._repr_html_()
    tags = Table(shown).tags
    assert (tags.count("figure"), tags.count("img"), tags.count("td")) == (4, 2, 0)
    assert tags.count("dd") == 4 * 3
    assert "unsupported: not an image of a known format" in shown
    with pytest.raises(ValueError, match="`layout` must be 'table' or 'grid', got 'list'"):
        im.show(frame, layout="list")  # type: ignore[arg-type]


def test_tiny_pictures_are_enlarged_by_whole_factors(tmp_path: Path) -> None:
    """Those of few pixels stay sharp and exact; others keep their size or are shrunk."""
    for name, size in (("a", (32, 20)), ("b", (90, 60)), ("c", (400, 100)), ("d", (1, 1))):
        Image.effect_noise(size, 90).convert("RGB").save(tmp_path / f"{name}.png")
    frame = im.extract(im.scan_images(tmp_path).select("path"), "path", "width").collect()
    shown = im.show(frame)._repr_html_()
    found = re.findall(r'width="(\d+)" height="(\d+)"( class="tiny")?>', shown)
    assert [(int(width), int(height), bool(tiny)) for width, height, tiny in found] == [
        (96, 60, True),
        (90, 60, False),
        (96, 24, False),
        (96, 96, True),
    ]
    data = base64.b64decode(Table(shown).images[0].partition(",")[2])
    with Image.open(io.BytesIO(data)) as copy, Image.open(tmp_path / "a.png") as picture:
        assert copy.convert("RGB").tobytes() == picture.tobytes()


def test_a_lazy_frame_computes_the_first_rows_alone(sample_folder: Path) -> None:
    """Each image is read for its values, and once more for its picture."""
    folder = sample_folder / "photos"
    lazy = im.extract(im.scan_images(folder), "path")
    with count_reads(folder) as opened:
        preview = im.show(lazy, 2)
        assert dict(opened) == {"blobs.png": 1, "carpet.png": 1}
        assert preview._repr_html_() == preview._repr_html_()
    assert dict(opened) == {"blobs.png": 2, "carpet.png": 2}
    assert len(preview.frame) == 2


def test_mistakes_are_named(frame: pl.DataFrame) -> None:
    """Mistakes raise when the call is made."""
    with pytest.raises(ValueError, match="`rows` must be a positive whole number, got 0"):
        im.show(frame, 0)
    with pytest.raises(im.ColumnError, match="make one with `extract`"):
        im.show(frame.select("path"))


def test_no_locator_column_is_needed(frame: pl.DataFrame) -> None:
    """Without one there are no pictures."""
    page = im.show(frame.drop("path"))._repr_html_()
    assert "<img" not in page
    assert "no picture" in page
