"""Listing the images of folders and globs."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_imgmeta as im
from polars_imgmeta.io.listing import list_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of all kinds, two levels deep."""
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for name in ["z.JPG", "a b#%20.png", "notes.txt", "b/é文.webp", "b/deep/x.tiff", "b/noext"]:
        (tmp_path / name).write_bytes(b"12345")
    return tmp_path


def test_a_folder_is_listed_with_all_below_it(folder: Path) -> None:
    """Files with the suffix of an image, in either case, in the order of names."""
    frame = im.scan_images(folder).collect()
    utc = pl.Datetime("us", "UTC")
    facts = {"file_size": pl.Int64, "modified": utc, "etag": pl.String}
    assert frame.schema == {"path": pl.String, **facts}
    expected = ["a b#%20.png", "b/deep/x.tiff", "b/é文.webp", "z.JPG"]
    assert frame["path"].to_list() == [str(folder / name) for name in expected]
    assert frame["file_size"].to_list() == [5] * 4
    times = [(folder / name).stat().st_mtime_ns // 1000 for name in expected]
    assert frame["modified"].cast(pl.Int64).to_list() == times
    assert frame["etag"].null_count() == 4


def test_a_glob_alone_decides(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern lists whatever files it matches, spelled as it is."""
    monkeypatch.chdir(folder)
    assert im.scan_images("b/*").collect()["path"].to_list() == ["b/noext", "b/é文.webp"]
    assert im.scan_images("**/*.t*").collect()["path"].to_list() == ["b/deep/x.tiff", "notes.txt"]
    assert im.scan_images("*.nothing").collect().is_empty()
    assert im.scan_images("z.JPG").collect()["path"].to_list() == ["z.JPG"]
    assert im.scan_images(Path("b")).collect().height == 2


def test_several_sources(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are listed one after the other, whichever way they are given."""
    monkeypatch.chdir(folder)
    expected = ["z.JPG", "b/noext", "b/é文.webp"]
    for plan in (im.scan_images(["z.JPG", Path("b/*")]), im.scan_images("z.JPG", "b/*")):
        assert plan.collect()["path"].to_list() == expected
        assert plan.head(2).collect()["path"].to_list() == expected[:2]
    assert im.scan_images([]).collect().is_empty()


def test_a_folder_whose_name_is_a_pattern(tmp_path: Path) -> None:
    """A folder that exists is a folder, whatever its name looks like."""
    (tmp_path / "set[1]*").mkdir()
    (tmp_path / "set[1]*" / "a.png").write_bytes(b"")
    assert im.scan_images(tmp_path / "set[1]*").collect().height == 1


def test_the_listing_is_lazy(tmp_path: Path) -> None:
    """The folder is listed when the frame is computed, each time anew."""
    plan = im.scan_images(tmp_path)
    (tmp_path / "late.png").write_bytes(b"1")
    assert plan.collect().height == 1
    (tmp_path / "later.png").write_bytes(b"12")
    assert plan.collect()["file_size"].to_list() == [1, 2]


def test_queries_on_a_listing(folder: Path) -> None:
    """Projection, filter and slice give what they give on the collected frame."""
    plan, frame = im.scan_images(folder), im.scan_images(folder).collect()
    (folder / "b" / "big.png").write_bytes(b"1" * 99)
    frame = plan.collect()
    assert frame.height == 5
    assert_frame_equal(plan.select("file_size").collect(), frame.select("file_size"))
    large = pl.col("file_size") > 50
    assert_frame_equal(
        plan.filter(large).select("path").collect(), frame.filter(large).select("path")
    )
    assert_frame_equal(plan.head(2).collect(), frame.head(2))
    assert_frame_equal(plan.filter(large).head(1).collect(), frame.filter(large).head(1))
    assert_frame_equal(plan.head(4).filter(large).collect(), frame.head(4).filter(large))
    assert_frame_equal(plan.tail(2).collect(engine="streaming"), frame.tail(2))
    assert plan.select(pl.len()).collect().item() == 5


def test_links_are_followed_but_not_round_in_circles(tmp_path: Path) -> None:
    """A linked folder counts, a link back up ends; a dangling link is a row."""
    real = tmp_path / "real"
    real.mkdir()
    (real / "a.png").write_bytes(b"1")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(real)
    (root / "circle").symlink_to(root)
    (root / "dangling.png").symlink_to("nothing")
    frame = im.scan_images(root).collect()
    assert frame["path"].to_list() == [str(root / "dangling.png"), str(root / "linked" / "a.png")]
    assert frame["file_size"].to_list() == [None, 1]
    assert frame["modified"].is_null().to_list() == [True, False]


def test_names_that_look_like_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pattern that is a file is that file; a path like a URI or a home is told apart."""
    monkeypatch.chdir(tmp_path)
    for name in ("a[1].png", "a1.png", "~root/b.png", "file:/c.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("no image")
    Path("loop.png").symlink_to("loop.png")
    assert im.scan_images("a[1].png").collect()["path"].to_list() == ["a[1].png"]
    frame = im.extract(im.scan_images("*/*"), "path", "width").collect()
    assert frame["path"].to_list() == ["./file:/c.png", "./~root/b.png"]
    assert im.errors(frame)["kind"].to_list() == ["unsupported"] * 2
    frame = im.extract(im.scan_images("."), "path", "width").collect()
    assert im.errors(frame).filter(kind="invalid_locator").height == 1


def test_a_name_that_is_no_text(tmp_path: Path, sample_folder: Path) -> None:
    """A file whose name is not UTF-8 comes as a URI, and is read."""
    image = (sample_folder / "photos" / "dusk.png").read_bytes()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 1.png")).write_bytes(image)
    frame = im.extract(im.scan_images(tmp_path), "path", "width").collect()
    assert frame["path"].item() == f"{tmp_path.as_uri()}/caf%E9%201.png"
    assert frame["path_imgmeta"].struct.field("width").item() == 320


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that vanishes, or may not be read, is named."""
    (tmp_path / "gone").mkdir()
    plan = im.scan_images(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert plan.collect().is_empty()

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(im.AccessDeniedError, match=r"': permission denied$"):
        list(list_images(str(tmp_path)))
