"""Rows do not lie: the single cases in which values of two images could meet."""

from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from engines import ENGINES, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from polars.testing import assert_frame_equal
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.io import sources

SET = ["width", "height", "brightness"]


def draw(path: Path, width: int, height: int = 30, *, seed: int = 0) -> Path:
    """Write a picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def frame_of(*paths: Path | str | None) -> pl.DataFrame:
    """A frame of locators."""
    return pl.DataFrame(
        {"id": range(len(paths)), "path": [path and str(path) for path in paths]},
        schema={"id": pl.Int64, "path": pl.String},
    )


def row_of(frame: pl.DataFrame, row: int = 0) -> Any:  # noqa: ANN401 - a struct
    """A struct of a frame."""
    return frame[next(iter(im.columns(frame)))][row]


@im.custom_property(needs="picture", dtype=pl.Float64)
def redness(picture: Any) -> float:  # noqa: ANN401 - a picture
    """Mean of red."""
    return float(picture[..., 2].mean())


@im.custom_property(needs="header", dtype=pl.String, nullable=True)
def caption(_: Any) -> str | None:  # noqa: ANN401 - a header
    """Nothing, ever."""
    return None


@im.custom_property(needs="bytes", dtype=pl.String, nullable=True)
def timid(_: Any) -> str | None:  # noqa: ANN401 - bytes
    """May be null, and fails nevertheless."""
    msg = "no"
    raise ValueError(msg)


@im.custom_property(needs="picture", dtype=pl.Int64)
def protest(_: Any) -> int:  # noqa: ANN401 - pixels
    """Fails, always, if there are pixels."""
    msg = "no; refusal raised no"
    raise ValueError(msg)


@im.custom_property(needs="header", dtype=pl.Int64)
def refusal(_: Any) -> int:  # noqa: ANN401 - a header
    """Fails, always."""
    msg = "no"
    raise ValueError(msg)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Three pictures of different geometry."""
    return [draw(tmp_path / f"{n}.png", 20 + n, seed=n) for n in range(3)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["join", "update"])
def test_a_locator_that_was_replaced_makes_no_hybrid(
    engine: str, how: str, images: list[Path]
) -> None:
    """After a join or an update that changes locators, `add` reads those rows as a whole."""
    old = im.extract(frame_of(images[0], images[1]), "path", "width")
    other = frame_of(images[0], images[2])
    if how == "join":
        new = old.drop("path").join(other, on="id", maintain_order="left")
    else:
        new = old.update(other, on="id")
    added = run(engine, new, lambda frame: im.add(frame, "height", "brightness", locator="path"))
    clean = im.extract(other, "path", SET)
    assert_frame_equal(added.select(clean.columns), clean, check_exact=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_null_locator_gives_null(engine: str, images: list[Path]) -> None:
    """Whatever a row had, without a locator it has nothing."""
    full = im.extract(frame_of(*images), "path", "width")
    lost = full.with_columns(path=pl.when(pl.col("id") != 1).then("path"))
    result = run(engine, lost, lambda frame: im.extract(frame, "path", "width"))
    assert result["path_imgmeta"].is_null().to_list() == [False, True, False]


def test_a_corrected_path_is_read_again(images: list[Path]) -> None:
    """An error of another locator is none of the row's."""
    wrong = im.extract(frame_of(images[0].with_name("O.png")), "path", SET)
    assert im.errors(wrong)["kind"].to_list() == ["not_found"]
    right = im.extract(wrong.with_columns(path=pl.lit(str(images[0]))), "path", SET)
    assert_frame_equal(right, im.extract(frame_of(images[0]), "path", SET), check_exact=True)


def test_a_moved_folder_costs_nothing(images: list[Path]) -> None:
    """A locator in another folder with the same name is the same image, until it is read."""
    folder = images[0].parent / "moved"
    folder.mkdir()
    full = im.extract(frame_of(*images), "path", SET)
    moved = [path.rename(folder / path.name) for path in images]
    after = full.with_columns(frame_of(*moved)["path"])
    with count_reads(folder) as opened:
        assert im.extract(after, "path", SET)["path_imgmeta"].equals(full["path_imgmeta"])
        assert im.status(after, check_sources=True)["state"].to_list() == ["ok"] * 3
    assert not opened


@pytest.mark.parametrize("engine", ENGINES)
def test_a_replaced_file_of_the_same_geometry_is_noticed(engine: str, images: list[Path]) -> None:
    """The size in bytes contradicts the row, which is computed anew."""
    old = im.extract(frame_of(images[0]), "path", ["width", "brightness"])
    Image.new("RGB", (20, 30)).save(images[0])
    added = run(engine, old, lambda frame: im.add(frame, "sharpness", locator="path"))
    clean = im.extract(frame_of(images[0]), "path", ["width", "brightness", "sharpness"])
    assert_frame_equal(added, clean, check_exact=True)


def test_an_image_that_appears_makes_no_hybrid(tmp_path: Path) -> None:
    """A row that was made without a file is computed anew once there is one."""
    path = tmp_path / "late.png"
    old = im.extract(frame_of(path), "path", ["modified", caption])
    draw(path, 20)
    catalogue = im.Catalogue([caption])
    assert im.status(old, catalogue=catalogue)["state"].to_list() == ["failed"]
    added = im.add(old, "width", catalogue=catalogue)
    clean = im.extract(frame_of(path), "path", ["width", "modified", caption])
    assert_frame_equal(added, clean, check_exact=True)


def test_a_partial_reading_that_fails_keeps_what_is_known(images: list[Path]) -> None:
    """Values of an image that is gone stay, with an error for the missing ones."""
    old = im.extract(frame_of(images[0]), "path", "width")
    images[0].unlink()
    new = im.add(old, "brightness")
    row = row_of(new)
    assert (row["width"], row["brightness"]) == (20, None)
    assert row["error"] == "not_found: no such file"
    assert_frame_equal(im.remove(new, "brightness"), old, check_exact=True)


CHANGED = "unreachable: it changed while it was read"


@pytest.mark.parametrize("size", [60, 700])
@pytest.mark.parametrize(
    "names", [["width", "brightness", "file_size"], ["width"], ["file_size", "brightness"]]
)
def test_a_file_that_is_rewritten_while_it_is_read(
    size: int, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is of one picture or has an error, and none of the values that were read."""
    path = draw(tmp_path / "a.png", size, size)
    other = draw(tmp_path / "b.png", size + 1, size, seed=1).read_bytes()
    read_at = sources._read_at  # noqa: SLF001 - the one place between two reads
    done: list[bool] = []

    def rewrite_behind(descriptor: int, length: int, position: int) -> bytes:
        data: bytes = read_at(descriptor, length, position)
        if not done:
            done.append(True)
            path.write_bytes(other)
            os.utime(path, (1, 1))
        return data

    monkeypatch.setattr(sources, "_read_at", rewrite_behind)
    row = row_of(im.extract(frame_of(path), "path", names))
    assert row["error"] == CHANGED
    assert {row[name] for name in names} == {None}
    again = im.retry(im.extract(frame_of(path), "path", names))
    assert row_of(again)["error"] is None


def test_a_property_of_the_bytes_sees_one_version(tmp_path: Path) -> None:
    """A file that a property itself rewrites gives an error rather than a torn row."""
    path = draw(tmp_path / "a.png", 60, 60)

    @im.custom_property(needs="bytes", dtype=pl.Int64)
    def length(data: bytes) -> int:
        path.write_bytes(data[:-1])
        os.utime(path, (1, 1))
        return len(data)

    cases: list[list[str | im.Property]] = [["width", length], [length], [length, "brightness"]]
    for names in cases:
        row = row_of(im.extract(frame_of(path), "path", names))
        assert row["error"] == CHANGED
        assert row["length"] is None
        draw(path, 60, 60)


def test_what_needs_no_locator_column(images: list[Path]) -> None:
    """Errors, a no-op `add` and `remove` work on a frame that has lost its locators."""
    full = im.extract(frame_of(*images, images[0].with_name("gone.png")), "path", SET)
    lost = full.drop("path")
    errors = im.errors(lost)
    assert errors["locator"].to_list() == [None]
    assert errors["kind"].to_list() == ["not_found"]
    assert im.add(lost, "width") is lost
    assert im.properties(im.remove(lost, "width")) == ["height", "brightness"]
    with pytest.raises(im.ColumnError, match=r"^the locator column 'path' of 'path_imgmeta'"):
        im.add(lost, "sharpness")


def as_pandas(frame: pl.DataFrame) -> pl.DataFrame:
    """Pass through pandas, which has no dtype for columns without values."""
    return pl.from_pandas(frame.to_pandas())


def as_ndjson(frame: pl.DataFrame) -> pl.DataFrame:
    """Pass through NDJSON, which makes structs of nulls of null ones."""
    return pl.read_ndjson(frame.write_ndjson().encode()).select(frame.columns)


@pytest.mark.parametrize("form", [as_pandas, as_ndjson])
@pytest.mark.parametrize("engine", ENGINES)
def test_frames_whose_dtypes_were_lost(engine: str, form: Any, images: list[Path]) -> None:  # noqa: ANN401
    """Null dtypes, and structs of nulls, are what they were before."""
    sound = im.extract(frame_of(*images, None), "path", SET)
    lost = form(sound)
    assert im.properties(lost) == SET
    with count_reads(images[0].parent) as opened:
        result = run(engine, lost, lambda frame: im.extract(frame, "path", SET))
        retried = run(engine, lost, lambda frame: im.retry(frame, locator="path"))
        refreshed = run(engine, lost, lambda frame: im.refresh(frame, locator="path"))
    assert not opened
    for one in (result, retried, refreshed):
        assert_frame_equal(one.select(sound.columns), sound, check_exact=True)
    assert im.errors(lost).is_empty()
    assert im.status(lost)["state"].to_list() == ["ok", "ok", "ok", None]
    assert im.properties(im.remove(lost, "width")) == SET[1:]
    added = run(engine, lost, lambda frame: im.add(frame, "sharpness", locator="path"))
    clean = im.extract(frame_of(*images, None), "path", [*SET, "sharpness"])
    assert_frame_equal(added.select(clean.columns), clean, check_exact=True)


def test_a_column_that_lost_all_its_dtypes(images: list[Path]) -> None:
    """Where all structs were null, a file may keep nothing but nulls."""
    empty = as_ndjson(im.extract(frame_of(None), "path", SET))
    assert empty.schema["path_imgmeta"] == pl.Null
    named = empty.cast({"path": pl.String}).with_columns(path=pl.lit(str(images[0])))
    clean = im.extract(frame_of(images[0]), "path", SET)
    assert_frame_equal(im.extract(named, "path", SET), clean, check_exact=True)


UNREAD = "later=2"


@pytest.mark.parametrize("engine", ENGINES)
def test_unknown_properties_pass_through(engine: str, images: list[Path]) -> None:
    """Properties of another release, and their versions, outlive every verb."""
    newer = im.Catalogue([dataclasses.replace(redness, name="later", version=2)])
    gone = images[0].with_name("gone.png")
    locators = frame_of(*images, gone, None)
    made = im.extract(locators, "path", ["width", "later"], catalogue=newer)
    before = made["path_imgmeta"].struct.field("later")
    verbs: dict[str, Any] = {
        "extract": lambda frame: im.extract(frame, "path", "height"),
        "add": lambda frame: im.add(frame, "brightness", locator="path"),
        "remove": lambda frame: im.remove(frame, "width"),
        "retry": lambda frame: im.retry(frame, locator="path"),
        "refresh": lambda frame: im.refresh(frame, locator="path"),
        "where": lambda frame: im.extract(frame, "path", "width", where=pl.col("id") == 3),
    }
    for verb in verbs.values():
        after = run(engine, made, verb)
        column = after["path_imgmeta"].struct
        assert column.field("later").equals(before)
        texts = column.field("auto_extracted").to_list()
        assert [text is not None and UNREAD in text for text in texts] == [True] * 4 + [False]
    after = run(engine, made, verbs["add"])
    clean = im.extract(locators, "path", ["width", "brightness", "later"], catalogue=newer)
    assert_frame_equal(after, clean, check_exact=True)
    with count_reads(images[0].parent) as opened:
        im.extract(after, "path", "later", catalogue=newer)
    assert not opened
    removed = run(engine, after, lambda frame: im.remove(frame, "later"))
    assert im.properties(removed) == ["width", "brightness"]
    assert not removed["path_imgmeta"].struct.field("auto_extracted").str.contains("later").any()


def test_a_column_of_unknown_properties_alone(images: list[Path]) -> None:
    """The verbs work where this process knows none of the properties."""
    made = im.extract(frame_of(*images, None), "path", redness)
    assert im.retry(made).equals(made)
    assert im.refresh(made).equals(made)
    assert im.status(made)["state"].to_list() == ["ok", "ok", "ok", None]
    assert im.errors(made).is_empty()
    assert im.properties(im.add(made, "width")) == ["width", "redness"]
    images[0].write_bytes(images[1].read_bytes())
    assert im.refresh(made).equals(made)
    assert im.status(made, check_sources=True)["state"].to_list() == ["changed", "ok", "ok", None]
    refreshed = im.refresh(made, catalogue=im.Catalogue([redness]))
    assert refreshed.equals(im.extract(frame_of(*images, None), "path", redness))


def test_an_unknown_property_of_a_row_that_heals_is_computed_where_it_is_known(
    tmp_path: Path,
) -> None:
    """A null that only an old error explained is not taken for a value."""
    path = tmp_path / "late.png"
    failed = im.extract(frame_of(path), "path", ["width", redness])
    draw(path, 20)
    healed = im.retry(failed)
    assert (row_of(healed)["width"], row_of(healed)["redness"]) == (20, None)
    clean = im.extract(frame_of(path), "path", ["width", redness])
    assert_frame_equal(im.add(healed, redness), clean, check_exact=True)


@pytest.mark.parametrize("verb", ["retry", "refresh"])
@pytest.mark.parametrize("engine", ENGINES)
def test_verbs_for_some_rows_leave_stale_ones_alone(
    verb: str, engine: str, images: list[Path]
) -> None:
    """A row whose locator is another one keeps its values and stays stale."""
    full = im.extract(frame_of(*images), "path", SET)
    stale = full.with_columns(
        path=pl.when(pl.col("id") == 0).then(pl.lit(str(images[1]))).otherwise("path")
    )
    result = run(engine, stale, lambda frame: getattr(im, verb)(frame, locator="path"))
    assert_frame_equal(result, stale, check_exact=True)
    assert im.status(result)["state"].to_list() == ["stale", "ok", "ok"]


def test_a_version_is_seen_whatever_the_neighbours_are(images: list[Path]) -> None:
    """A value of another version is stale, also among rows that are complete."""
    newer = dataclasses.replace(redness, version=2)
    old = im.extract(frame_of(*images), "path", newer)
    assert im.status(old, catalogue=im.Catalogue([redness]))["state"].to_list() == ["stale"] * 3
    with count_reads(images[0].parent) as opened:
        result = im.extract(old, "path", redness)
    assert len(opened) == len(images)
    assert_frame_equal(result, im.extract(frame_of(*images), "path", redness), check_exact=True)


def test_only_stale_versions_are_computed_again(images: list[Path]) -> None:
    """Of concatenated rows, those of the earlier version are read."""
    newer = dataclasses.replace(redness, version=2)
    upper = im.extract(frame_of(*images[:2]), "path", ["width", redness])
    lower = im.extract(frame_of(images[2]), "path", ["width", newer])
    with count_reads(images[0].parent) as opened:
        result = im.extract(pl.concat([upper, lower]), "path", newer)
    assert set(opened) == {"0.png", "1.png"}
    assert im.provenance(result).versions == {"width": (1,), "redness": (2,)}


def test_versions_are_recorded_beside_failures(images: list[Path]) -> None:
    """The record of a property does not depend on whether another one failed."""
    newer = dataclasses.replace(redness, version=2)
    failed = im.extract(frame_of(*images[:1]), "path", ["width", newer, refusal])
    assert im.provenance(failed).versions == {"width": (1,), "redness": (2,), "refusal": (1,)}


POOL = ["width", "brightness", redness, caption, timid, refusal, protest]


@pytest.mark.parametrize("engine", ENGINES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sets=st.lists(st.lists(st.sampled_from(POOL), min_size=1), min_size=2, max_size=4))
def test_the_error_depends_on_the_last_set_alone(
    engine: str, images: list[Path], sets: list[list[Any]]
) -> None:
    """Whichever properties a row had meanwhile, and whatever failed of them."""
    broken = images[0].with_name("broken.png")
    broken.write_bytes(images[0].read_bytes()[:300])
    locators = frame_of(images[0], broken, images[0].with_name("gone.png"), None)
    frame = run(engine, locators, lambda f: im.extract(f, "path", sets[0]))
    for one in sets[1:]:
        frame = run(engine, frame, lambda f, one=one: im.configure(f, one))
    clean = run(engine, locators, lambda f: im.extract(f, "path", sets[-1]))
    assert_frame_equal(frame, clean.select(frame.columns), check_exact=True)


@pytest.mark.parametrize("names", [[*SET, redness, caption], [refusal, "width", caption]])
def test_the_error_is_set_exactly_where_a_null_is_not_allowed(
    names: list[Any], images: list[Path]
) -> None:
    """Properties that may be null need no error; all others do."""
    broken = images[0].with_name("broken.png")
    broken.write_bytes(images[0].read_bytes()[:300])
    frame = im.extract(frame_of(*images, broken, images[0].with_name("gone.png")), "path", names)
    cases: list[Any] = [[*names], [names[0], caption], [caption, "width"], [caption]]
    for kept in cases:
        reduced = im.configure(frame, kept)
        clean = im.extract(frame.select("id", "path"), "path", kept)
        assert_frame_equal(reduced, clean, check_exact=True)
        required = set(im.properties(reduced)) - {"caption"}
        *there, gone = reduced["path_imgmeta"].to_list()
        for row in there:  # of which the header, and so `caption`, can be read
            assert (row["error"] is not None) == any(row[name] is None for name in required)
        assert gone["error"] == "not_found: no such file"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_property_that_may_be_null_can_fail(engine: str, images: list[Path]) -> None:
    """The error stays with it through `remove`, and `retry` and `refresh` find the row."""
    text = images[0].with_name("text.png")
    text.write_text("no image")
    locators = frame_of(images[0], images[0].with_name("gone.png"), text)
    full = run(engine, locators, lambda f: im.extract(f, "path", ["width", caption, timid]))
    alone = run(engine, full, lambda f: im.remove(f, "width", timid, caption))
    assert im.columns(alone) == []
    alone = run(engine, full, lambda f: im.remove(f, "width", timid))
    assert_frame_equal(
        alone,
        im.extract(locators, "path", caption).select(alone.columns),
        check_exact=True,
    )
    errors = ["not_found", "unsupported"]
    assert im.errors(alone)["kind"].to_list() == errors
    catalogue = im.Catalogue([caption, timid])
    states = run(engine, alone, lambda f: im.status(f, catalogue=catalogue))["state"]
    assert states.to_list() == ["ok", "failed", "failed"]
    draw(images[0].with_name("gone.png"), 20)
    again = run(engine, alone, lambda f: im.refresh(f, catalogue=catalogue))
    assert im.errors(again)["kind"].to_list() == errors[1:]
    timid_alone = run(engine, full, lambda f: im.remove(f, "width", caption))
    assert im.errors(timid_alone)["kind"].to_list() == [
        "property_failed",
        "not_found",
        "property_failed",  # which needs no header
    ]


def test_remove_then_add_gives_the_identical_row(images: list[Path]) -> None:
    """Nothing remains of a detour, in the marker neither."""
    names: list[str | im.Property] = [*SET, "modified", "etag", caption]
    names.append(dataclasses.replace(redness, version=3))
    full = im.extract(frame_of(*images, images[0].with_name("gone.png"), None), "path", names)
    for one in names:
        assert_frame_equal(im.add(im.remove(full, one), one), full, check_exact=True)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["vertical_relaxed", "diagonal_relaxed"])
def test_concatenated_frames_of_different_properties(
    engine: str,
    how: Literal["vertical_relaxed", "diagonal_relaxed"],
    images: list[Path],
) -> None:
    """Failed rows among them, an extraction makes them what a clean run makes."""
    broken = images[0].with_name("broken.png")
    broken.write_bytes(images[0].read_bytes()[:300])
    locators = frame_of(*images, broken, images[0].with_name("gone.png"), None)
    parts: list[list[str | im.Property]] = [["width", "etag"], ["brightness", redness], [caption]]
    both = pl.concat([im.extract(locators, "path", part) for part in parts], how=how)
    names = [one for part in parts for one in part]
    result = run(engine, both, lambda frame: im.extract(frame, "path", names))
    clean = im.extract(pl.concat([locators] * 3), "path", names)
    assert_frame_equal(result, clean, check_exact=True)


def test_columns_are_addressed_by_name(images: list[Path]) -> None:
    """A name that looks like a pattern is a name."""
    odd = {"path": "^p.*$"}
    frame = frame_of(*images).with_columns(p=pl.lit("other")).rename(odd)
    full = im.extract(frame, "^p.*$", SET)
    assert full["p"].to_list() == ["other"] * 3
    assert im.errors(full).is_empty()
    assert im.properties(im.add(im.remove(full, "width"), "sharpness")) == [*SET[1:], "sharpness"]
    assert im.remove(full, *SET).columns == frame.columns


def test_bytes_in_memory_have_a_name_too() -> None:
    """An image that other bytes replace is read anew."""
    data = []
    for width in (20, 30):
        buffer = io.BytesIO()
        Image.new("RGB", (width, 30)).save(buffer, "png")
        data.append(buffer.getvalue())
    old = im.extract(pl.DataFrame({"image": data[:1]}), "image", "width")
    new = im.add(old.with_columns(image=pl.lit(data[1])), "height")
    clean = im.extract(pl.DataFrame({"image": data[1:]}), "image", ["width", "height"])
    assert_frame_equal(new, clean, check_exact=True)


def test_integers_that_a_float_cannot_hold_are_computed_anew(images: list[Path]) -> None:
    """Pandas makes floats of integers with gaps, which changes large ones."""
    names = ["width", "perceptual_hash"]
    full = im.extract(frame_of(*images, images[0].with_name("gone.png")), "path", names)
    back = pl.from_pandas(full.to_pandas())
    assert im.status(back)["state"].to_list() == [*["missing"] * len(images), "failed"]
    assert_frame_equal(im.extract(back, "path", names), full, check_exact=True)
