"""Properties of a caller's own share everything with the built-in ones."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import sys
from datetime import UTC, date, datetime
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import own_properties as own
import polars as pl
import pytest
from engines import ENGINES, run
from interpreters import run_python
from PIL import Image
from polars.testing import assert_frame_equal
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.catalogue import registry
from polars_imgmeta.column import udf

ROOT = Path(__file__).parents[2]
NAMES = ("noise.png", "dusk.png", "truncated.png", "gone.png", "portrait.jpg", "blobs.png")


@pytest.fixture(scope="module")
def photos(sample_folder: Path) -> Path:
    """The folder of the sample images."""
    return sample_folder / "photos"


@pytest.fixture(scope="module")
def frame(photos: Path) -> pl.DataFrame:
    """Good and bad images, and a null."""
    return pl.DataFrame({"path": [*(str(photos / name) for name in NAMES), None]})


def fields(frame: pl.DataFrame) -> pl.DataFrame:
    """The fields of the column."""
    return frame["path_imgmeta"].struct.unnest()


@pytest.mark.parametrize("engine", ENGINES)
def test_values_are_those_of_the_functions(engine: str, frame: pl.DataFrame) -> None:
    """On every engine, in one decode with built-in ones."""
    done = run(
        engine,
        frame,
        lambda df: df.imgmeta.extract("path", ["width", "brightness", own.ALL]),
    )
    values = fields(done)
    for row, path in enumerate(frame["path"]):
        if path is None or "gone" in path or "truncated" in path:
            continue
        picture = np.asarray(Image.open(path).convert("RGB"))[..., ::-1]
        if "portrait" in path:
            picture = np.rot90(picture, -1)
        got = values.row(row, named=True)
        assert got["warmth"] == pytest.approx(own.warmth(picture), abs=1e-9)
        assert got["mean_colour"] == pytest.approx(picture.reshape(-1, 3).mean(axis=0), rel=1e-5)
        assert got["digest"] == hashlib.md5(Path(path).read_bytes()).hexdigest()  # noqa: S324
        assert got["image_format"] == ("JPEG" if "portrait" in path else "PNG")
        assert got["is_large"] == (Path(path).stat().st_size > 10_000)
        assert got["error"] is None
    truncated = values.row(NAMES.index("truncated.png"), named=True)
    assert (truncated["warmth"], truncated["image_format"]) == (None, "PNG")
    assert truncated["error"].startswith("corrupt: ")
    assert done["path_imgmeta"].is_null().to_list() == [False] * 6 + [True]


def test_they_are_edited_like_others(frame: pl.DataFrame, photos: Path) -> None:
    """Added, removed, found complete; the result depends on the final set alone."""
    whole = im.extract(frame, "path", ["width", own.warmth, own.maybe])
    with count_reads(photos) as opened:
        assert im.extract(whole, "path", [own.maybe, "width"]).equals(whole)
        assert im.add(whole, own.warmth).equals(whole)
    assert not opened
    stepwise = im.add(im.extract(frame, "path", own.maybe), own.warmth, "width", own.darkest)
    assert im.remove(stepwise, "darkest").equals(whole)
    assert im.configure(stepwise, ["width", own.maybe, own.warmth]).equals(whole)
    assert im.properties(whole) == ["width", "maybe", "warmth"]


def test_a_process_without_the_function_keeps_the_values(frame: pl.DataFrame) -> None:
    """Every verb passes them through."""
    frame = frame.filter(~pl.col("path").str.contains("truncated"))
    whole = im.extract(frame, "path", ["width", own.warmth])
    more = im.add(whole, "height")
    assert fields(more)["warmth"].equals(fields(whole)["warmth"])
    assert im.remove(more, "height").equals(whole)
    assert fields(im.remove(more, "warmth")).columns[:2] == ["width", "height"]
    assert fields(im.configure(more, "width")).columns[0] == "width"


def test_names_in_a_catalogue(frame: pl.DataFrame) -> None:
    """A catalogue lets names mean own properties, and fills them without being asked again."""
    ours = im.Catalogue(own.ALL)
    whole = im.extract(frame, "path", ["width", "warmth"], catalogue=ours)
    assert whole.equals(im.extract(frame, "path", ["width", own.warmth]))
    appended = pl.concat([whole, frame.head(1)], how="diagonal")
    filled = im.extract(appended, "path", "width", catalogue=ours)
    assert fields(filled)["warmth"][-1] == fields(filled)["warmth"][0]
    unknown = im.extract(appended, "path", "width")
    assert fields(unknown)["warmth"][-1] is None
    assert list(ours)[-1] == "warmth"
    with pytest.raises(im.PropertyError, match="did you mean 'warmth'"):
        im.extract(frame, "path", "warmht", catalogue=ours)


def test_a_new_version_makes_old_values_stale(frame: pl.DataFrame, photos: Path) -> None:
    """Just these are computed again, in just the rows that have them."""
    second = dataclasses.replace(own.warmth, version=2, kernel=lambda _: 0.5)
    whole = im.extract(frame, "path", ["width", own.warmth, "contrast"])
    with count_reads(photos) as opened:
        renewed = im.extract(whole, "path", second)
    assert set(opened) == set(NAMES)
    assert renewed.equals(im.extract(frame, "path", ["width", second, "contrast"]))
    assert im.provenance(renewed).versions["warmth"] == (2,)
    assert im.provenance(renewed).versions["width"] == (1,)
    mixed = pl.concat([renewed.head(2), whole.slice(2)])
    states = im.status(mixed, catalogue=im.Catalogue([second]))["state"].to_list()
    assert states == ["ok", "ok", "stale", "stale", "stale", "stale", None]
    with count_reads(photos) as opened:
        assert im.extract(mixed, "path", second).equals(renewed)
    assert set(opened) == set(NAMES[2:])


def test_a_failure_spares_the_others(frame: pl.DataFrame) -> None:
    """It is the error of its row, names the property, and leaves the rest alone."""
    done = fields(im.extract(frame, "path", ["width", own.fragile, own.mistyped, "symmetry"]))
    dusk = done.row(1, named=True)
    mistyped = "property_failed: mistyped returned str, which is no Int32"
    assert dusk["error"] == (
        f"property_failed: fragile raised ZeroDivisionError: division by zero\n{mistyped}"
    )
    assert (dusk["width"], dusk["symmetry"], dusk["fragile"]) == (320, 1.0, None)
    noise = done.row(0, named=True)
    assert noise["error"] == mistyped
    assert noise["fragile"] is not None
    with pytest.raises(im.PropertyFailedError, match=r"dusk.png': fragile raised"):
        im.extract(frame.slice(1), "path", own.fragile, on_error="raise")


def test_a_failure_in_a_large_picture(tmp_path: Path) -> None:
    """As in a small one."""
    Image.new("RGB", (400, 300), "gray").save(tmp_path / "flat.png")
    frame = pl.DataFrame({"path": [str(tmp_path / "flat.png")]})
    row = fields(im.extract(frame, "path", ["contrast", own.fragile])).row(0, named=True)
    assert (row["contrast"], row["fragile"]) == (0.0, None)
    assert row["error"].startswith("property_failed: fragile")


def test_an_extraction_inside_is_an_error_and_no_deadlock(frame: pl.DataFrame) -> None:
    """It says why."""
    done = fields(im.extract(frame.head(1), "path", own.recursive))
    assert done["error"][0].startswith("property_failed: recursive raised RuntimeError: the ")


def test_a_plan_collected_inside_is_an_error_and_no_deadlock(
    frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though Polars runs it on other threads."""
    monkeypatch.setattr(udf, "_PATIENCE_SECONDS", 0.3)
    plan = im.extract(frame.lazy().head(1), "path", "width")
    nested = im.custom_property(needs="header", dtype=pl.Int32, name="nested")(
        lambda _: plan.collect().height
    )
    im.set_thread_count(1)  # a second thread might be free to compute it
    try:
        done = fields(im.extract(frame, "path", nested))
    finally:
        im.set_thread_count(None)
    assert done["error"][0].startswith("property_failed: nested raised RuntimeError: the function")


def test_null_is_an_answer_where_it_may_be(frame: pl.DataFrame, photos: Path) -> None:
    """It is no error, and not asked for again."""
    done = im.extract(frame, "path", own.maybe)
    assert fields(done)["maybe"].to_list()[:2] == [1.0, None]
    assert fields(done)["error"][1] is None
    with count_reads(photos) as opened:
        assert im.extract(done, "path", own.maybe).equals(done)
    assert not opened
    assert im.status(done, catalogue=im.Catalogue(own.ALL))["state"][1] == "ok"


def test_they_travel_to_other_processes(frame: pl.DataFrame) -> None:
    """By import path; what has none says so."""
    plan = im.extract(frame.lazy(), "path", ["width", own.warmth])
    assert_frame_equal(pickle.loads(pickle.dumps(plan)).collect(), plan.collect())  # noqa: S301
    assert pickle.loads(pickle.dumps(own.warmth)) is own.warmth  # noqa: S301
    local = dataclasses.replace(own.warmth, kernel=lambda _: 0.0)
    without = {name: sys.modules[name] for name in list(sys.modules) if "cloudpickle" in name}
    for name in without:
        del sys.modules[name]
    try:
        with pytest.raises(pickle.PicklingError, match="must be importable to reach another"):
            pickle.dumps(local)
    finally:
        sys.modules.update(without)


def test_a_spawned_process_computes_them(frame: pl.DataFrame, tmp_path: Path) -> None:
    """From a serialized plan, by importing their module."""
    plan = im.extract(frame.lazy(), "path", own.warmth)
    (tmp_path / "plan").write_bytes(pickle.dumps(plan))
    code = (
        f"import sys, pickle; sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "df = pickle.loads(open('plan', 'rb').read()).collect()\n"
        "print(df['path_imgmeta'].struct.field('warmth').to_list())"
    )
    done = run_python(code, tmp_path)
    assert done.stdout.strip() == str(fields(plan.collect())["warmth"].to_list()), done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": pl.UInt8}, "`dtype` of a property must be a signed integer"),
        ({"dtype": pl.Object}, "`dtype` of a property must be a signed integer"),
        ({"needs": "pixels"}, "`needs` must be one of 'header', 'details', 'source', 'bytes'"),
        ({"version": 0}, "`version` must be a positive whole number, got 0"),
        ({"dtype": pl.Int128}, "`dtype` of a property must be a signed integer of at most 64"),
        ({"dtype": int}, "`dtype` of a property must be a signed integer of at most 64"),
        ({"name": "Width"}, "`name` of a property must be a new one, got 'Width'"),
        ({"name": "width"}, "`name` of a property must be a new one, got 'width'"),
        ({"name": "error"}, "`name` of a property must be a new one, got 'error'"),
        ({"name": "geometry"}, "`name` of a property must be a new one, got 'geometry'"),
        ({"name": "a b"}, "`name` of a property must be an identifier, got 'a b'"),
    ],
)
def test_mistakes_are_explained(change: dict[str, Any], message: str) -> None:
    """When the property is made."""
    options: dict[str, Any] = {"needs": "header", "dtype": pl.Int32, "name": "own"}
    with pytest.raises(ValueError, match=message):
        im.custom_property(**{**options, **change})(lambda _: 1)


def test_one_meaning_a_name(frame: pl.DataFrame) -> None:
    """Two properties of one name are refused when the call is made."""
    other = dataclasses.replace(own.warmth, version=7)
    with pytest.raises(im.PropertyError, match="one meaning a name, got two of 'warmth'"):
        im.extract(frame, "path", [own.warmth, other])
    with pytest.raises(im.PropertyError, match="each name once, got 'warmth' twice"):
        im.Catalogue([own.warmth, other])
    with pytest.raises(TypeError, match="`catalogue` must be a `Catalogue`, got list"):
        im.extract(frame, "path", catalogue=[own.warmth])  # type: ignore[arg-type]


def test_entry_points_are_discovered_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not before."""
    point = EntryPoint("warmth", "own_properties:warmth", "polars_imgmeta.properties")
    monkeypatch.setattr(registry, "entry_points", lambda **_: EntryPoints([point]))
    assert "warmth" not in im.CATALOGUE
    assert im.Catalogue.discover()["warmth"] is own.warmth


def test_they_are_exported_with_their_description(frame: pl.DataFrame) -> None:
    """As far as the exporting process knows them; the flag is there in any case."""
    table = im.to_arrow(im.extract(frame, "path", own.warmth))
    metadata = table.schema.field("path_imgmeta").type.field("warmth").metadata
    assert metadata[b"imgmeta.auto_extracted"] == b"true"


def test_they_can_be_called() -> None:
    """The decorated function is still one."""
    assert own.darkest(np.array([[3, 7]], np.uint8)) == 3
    assert own.warmth.description == "Mean of red minus blue, over 255"


def taken(kind: str) -> Any:  # noqa: ANN401 - a function
    """Return what a property gives for a portrait, and a date for all others."""
    values = {
        "time for a date": datetime(2020, 1, 1, 5),  # noqa: DTZ001
        "text": "2020",
        "number": 1,
    }
    return lambda header: values[kind] if header.width == 240 else date(2020, 1, 1)


@pytest.mark.parametrize("kind", ["time for a date", "text", "number"])
@pytest.mark.parametrize("alone", [False, True])
def test_another_dtype_is_the_error_of_its_row(
    frame: pl.DataFrame, kind: str, *, alone: bool
) -> None:
    """Whatever the other rows of the batch return."""
    one = im.custom_property(needs="header", dtype=pl.Date, name="taken")(taken(kind))
    portrait = NAMES.index("portrait.jpg")
    done = fields(im.extract(frame[portrait] if alone else frame, "path", [one, "width"]))
    row = done.row(0 if alone else portrait, named=True)
    assert (row["taken"], row["width"]) == (None, 240)
    assert row["error"].startswith("property_failed: taken returned ")
    assert alone or done["taken"][0] == date(2020, 1, 1)


def test_a_time_without_its_zone_is_refused(frame: pl.DataFrame) -> None:
    """Rather than shifted or cut off."""
    zoned = datetime(2020, 1, 1, 5, tzinfo=UTC)
    for dtype, value in ((pl.Datetime("us"), zoned), (pl.Datetime("us", "UTC"), None)):
        function = taken("number") if value is None else lambda _, value=zoned: value
        one = im.custom_property(needs="header", dtype=dtype, name="taken")(function)
        error = fields(im.extract(frame.head(1), "path", one))["error"][0]
        assert error.startswith("property_failed: taken returned ")


def test_what_is_raised_may_be_unprintable(frame: pl.DataFrame) -> None:
    """It ends its row, not the extraction."""

    class WeirdError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    for error, text in ((WeirdError(), "WeirdError"), (OSError("caf\udce9"), "caf\\udce9")):

        def fail(_: object, error: Exception = error) -> None:
            raise error

        one = im.custom_property(needs="header", dtype=pl.Int32, name="failing")(fail)
        message = fields(im.extract(frame.head(1), "path", one))["error"][0]
        assert message.startswith("property_failed: failing raised ")
        assert message.endswith(text)


def test_lists_of_words_and_dates(frame: pl.DataFrame) -> None:
    """Are dtypes of properties too."""
    one = im.custom_property(needs="header", dtype=pl.List(pl.String), name="words")(
        lambda header: [header.format, "x"]
    )
    assert fields(im.extract(frame.head(1), "path", one))["words"].to_list() == [["PNG", "x"]]
