"""The laws of the design, for arbitrary columns and arbitrary ways to cut them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from engines import ENGINES, run
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.cli.samples import make_samples
from polars_imgmeta.column.marker import digests
from polars_imgmeta.typing import PropertyName

PROPERTIES = list(im.CATALOGUE)
some_properties = st.lists(st.sampled_from(PROPERTIES), min_size=1, unique=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample images in a folder whose name has all the characters that bite."""
    folder = tmp_path_factory.mktemp("laws") / "a b%20#?&+é文 [1]"
    make_samples(folder)
    return folder


def locators(folder: Path) -> st.SearchStrategy[pl.DataFrame]:
    """Columns of locators that repeat, are missing or are null."""
    names = sorted(path.name for path in folder.iterdir())
    paths = [*(str(folder / name) for name in names), str(folder / "gone.png"), "", None]
    return st.lists(st.sampled_from(paths), max_size=12).map(
        lambda rows: pl.DataFrame({"path": rows}, schema={"path": pl.String})
    )


@given(data=st.data(), names=some_properties)
@pytest.mark.parametrize("engine", ENGINES)
def test_batch_boundaries_change_nothing(
    engine: str, data: st.DataObject, names: list[PropertyName], folder: Path
) -> None:
    """A column cut anywhere, extracted in pieces or in chunks, gives the same rows."""
    frame = data.draw(locators(folder))
    cut = data.draw(st.integers(0, len(frame)))
    whole = im.extract(frame, "path", names)
    pieces = [frame.head(cut), frame.slice(cut)]
    in_pieces = [run(engine, piece, lambda f: im.extract(f, "path", names)) for piece in pieces]
    assert_frame_equal(pl.concat(in_pieces), whole, check_exact=True)
    in_chunks = pl.concat(pieces, rechunk=False)
    assert_frame_equal(
        run(engine, in_chunks, lambda f: im.extract(f, "path", names)), whole, check_exact=True
    )


@given(data=st.data())
def test_row_order_changes_nothing(data: st.DataObject, folder: Path) -> None:
    """Extracting from permuted rows permutes the values."""
    frame = data.draw(locators(folder))
    order = data.draw(st.permutations(range(len(frame))))
    assert_frame_equal(
        im.extract(frame[order], "path"), im.extract(frame, "path")[order], check_exact=True
    )


@given(data=st.data(), names=some_properties)
def test_a_value_does_not_depend_on_its_neighbours(
    data: st.DataObject, names: list[PropertyName], folder: Path
) -> None:
    """A property has one value, whichever others are asked for in the same call."""
    frame = data.draw(locators(folder))
    together = im.unnest(im.extract(frame, "path", PROPERTIES))
    alone = im.unnest(im.extract(frame, "path", names))
    for name in names:
        assert_frame_equal(alone.select(name), together.select(name), check_exact=True)


@given(data=st.data(), first=some_properties, second=some_properties)
@pytest.mark.parametrize("engine", ENGINES)
def test_only_the_final_set_matters(
    engine: str,
    data: st.DataObject,
    first: list[PropertyName],
    second: list[PropertyName],
    folder: Path,
) -> None:
    """Adding and removing end where one fresh extraction of the final set begins."""
    frame = data.draw(locators(folder))
    added = run(engine, frame, lambda f: im.add(im.extract(f, "path", first), *second))
    union = {*first, *second}
    assert_frame_equal(added, im.extract(frame, "path", union), check_exact=True)
    removed = run(engine, added, lambda f: im.remove(f, *second))
    rest = union - {*second}
    fresh = im.extract(frame, "path", rest) if rest else frame
    assert_frame_equal(removed, fresh, check_exact=True)
    configured = run(engine, added, lambda f: im.configure(f, second))
    assert_frame_equal(configured, im.extract(frame, "path", second), check_exact=True)


@given(data=st.data(), names=some_properties)
@pytest.mark.parametrize("engine", ENGINES)
def test_extract_is_idempotent(
    engine: str, data: st.DataObject, names: list[PropertyName], folder: Path
) -> None:
    """A second extraction gives the same frame and opens no file."""
    frame = data.draw(locators(folder))
    once = im.extract(frame, "path", names)
    with count_reads(folder) as opened:
        twice = run(engine, once, lambda f: im.extract(f, "path", names))
    assert_frame_equal(twice, once, check_exact=True)
    assert opened == Counter()


@given(data=st.data(), left=some_properties, right=some_properties)
def test_gaps_between_concatenated_frames_are_filled(
    data: st.DataObject, left: list[PropertyName], right: list[PropertyName], folder: Path
) -> None:
    """Frames of different properties, concatenated, become one of all of them."""
    frame = data.draw(locators(folder))
    upper = im.extract(frame, "path", left)
    lower = im.extract(frame, "path", right)
    both = pl.concat([upper, lower], how="vertical_relaxed")
    names = {*left, *right}
    result = im.extract(both, "path", names)
    fresh = im.extract(pl.concat([frame, frame]), "path", names)
    assert_frame_equal(result, fresh, check_exact=True)


def test_spelling_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute and relative paths, the home, and URIs in all spellings agree."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder.parent))
    image = folder / "noise.png"
    escaped = image.as_uri()
    spellings = [
        str(image),
        "noise.png",
        "./noise.png",
        f"../{folder.name}/noise.png",
        f"~/{folder.name}/noise.png",
        escaped,
        escaped.replace("file://", "file://localhost"),
        escaped.replace("file://", "FILE://"),
        escaped.replace("file://", "file:"),
    ]
    rows = im.extract(pl.DataFrame({"path": spellings}), "path")["path_imgmeta"]
    assert rows.struct.field("error").to_list() == [None] * len(spellings)
    assert rows.n_unique() == 1
    for name in os.listdir(folder):  # noqa: PTH208
        both = im.extract(
            pl.DataFrame({"path": [str(folder / name), (folder / name).as_uri()]}), "path"
        )["path_imgmeta"]
        assert both.n_unique() == 1


@given(
    st.lists(
        st.none()
        | st.lists(
            st.sampled_from(
                ["a", "http", "https:", "file:", "//", "/", "?", "#", "%41", ":", "s3:", "é"]
            ),
            max_size=6,
        ).map("".join),
        max_size=5,
    )
)
@example(["httpd/a#1.png", "a:b.png"])
def test_the_digest_of_a_name_does_not_depend_on_other_rows(locators: list[str | None]) -> None:
    """So that the marker is the same in any batch."""
    table = pl.DataFrame({"path": locators}, schema={"path": pl.String})
    alone = [digests(row)[0] for row in table.iter_slices(1)]
    assert digests(table).to_list() == alone
