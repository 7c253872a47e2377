"""What holds for every property, every shape of a column and every engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import polars as pl
import pytest
from engines import ENGINES, run
from polars.testing import assert_frame_equal, assert_series_equal

import polars_imgmeta as im
from polars_imgmeta.typing import PropertyName

PROPERTIES: list[PropertyName] = list(get_args(PropertyName))
NAMES = ["blobs.png", "notes.jpg", "portrait.jpg", "truncated.png", "gone.png"]


@pytest.fixture(scope="module")
def paths(sample_folder: Path) -> list[str | None]:
    """Locators of sound, broken and missing images, and a null."""
    return [None, *(str(sample_folder / "photos" / name) for name in NAMES)]


@pytest.fixture(scope="module")
def expected(paths: list[str | None]) -> pl.DataFrame:
    """The rows of a plain eager extraction."""
    return im.extract(pl.DataFrame({"path": paths}), "path", PROPERTIES)


SHAPES: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "plain": lambda frame: frame,
    "empty": lambda frame: frame.clear(),
    "all null": lambda frame: frame.with_columns(path=pl.lit(None, pl.String)),
    "null dtype": lambda frame: frame.with_columns(path=pl.lit(None, pl.Null)),
    "sliced": lambda frame: pl.concat([frame] * 3, rechunk=True).slice(2, 9),
    "many chunks": lambda frame: pl.concat(
        [frame.slice(row, 1) for row in range(len(frame))], rechunk=False
    ),
    "categorical": lambda frame: frame.cast(pl.Categorical),
    "enum": lambda frame: frame.cast(pl.Enum(frame["path"].drop_nulls())),
}


def shaped(shape: str, paths: list[str | None]) -> pl.DataFrame:
    """A frame of the locators in one of the shapes that a column can have."""
    return SHAPES[shape](pl.DataFrame({"path": paths}, schema={"path": pl.String}))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PROPERTIES)
def test_every_property_in_every_shape_on_every_engine(
    name: PropertyName,
    shape: str,
    engine: str,
    paths: list[str | None],
    expected: pl.DataFrame,
) -> None:
    """The column has its dtype and the values of a plain extraction, row by row."""
    frame = shaped(shape, paths)
    result = run(engine, frame, lambda f: f.imgmeta.extract("path", name))
    column = result["path_imgmeta"]
    assert result.columns == ["path", "path_imgmeta"]
    assert_series_equal(result["path"], frame["path"])
    assert column.dtype == pl.Struct(
        {
            name: im.CATALOGUE[name].dtype,
            "error": pl.String(),
            "auto_extracted": pl.String(),
        }
    )
    value = dict(zip(expected["path"], expected["path_imgmeta"].struct.field(name), strict=True))
    assert column.struct.field(name).to_list() == [value[path] for path in frame["path"]]
    assert_series_equal(column.is_null(), frame["path"].is_null(), check_names=False)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_schema_is_known_before_a_lazy_frame_is_computed(
    shape: str, engine: str, paths: list[str | None]
) -> None:
    """A lazy frame tells the schema that it then has."""
    frame = shaped(shape, paths)
    promised = im.extract(frame.lazy(), "path").collect_schema()
    assert run(engine, frame, lambda f: f.imgmeta.extract("path")).schema == promised


@pytest.mark.parametrize("shape", SHAPES)
def test_an_expression_gives_the_same_column(shape: str, paths: list[str | None]) -> None:
    """Frame, expression and series namespaces agree."""
    frame = shaped(shape, paths)
    column = im.extract(frame, "path", "geometry")["path_imgmeta"]
    image = pl.col("path").imgmeta.extract("geometry")  # type: ignore[attr-defined]
    assert_series_equal(frame.select(image).to_series(), column)
    assert_series_equal(frame.lazy().select(image).collect().to_series(), column)
    assert_series_equal(frame["path"].imgmeta.extract("geometry"), column)  # type: ignore[attr-defined]


def test_row_states(expected: pl.DataFrame) -> None:
    """A row is null, complete, or explained; and geometry outlives broken pixels."""
    rows = im.unnest(expected).drop("path").rows()
    null, blobs, notes, portrait, truncated, gone = (row[:12] + row[-2:] for row in rows)
    assert expected["path_imgmeta"].is_null().to_list() == [True, *[False] * 5]
    assert set(null) == {None}
    for row in (blobs, portrait):
        assert [
            name for name, value in zip(PROPERTIES, row[:-2], strict=False) if value is None
        ] == ["etag"]
        assert row[-1] is None
    details = [dict(zip(PROPERTIES, row, strict=False)) for row in rows]
    assert [one["format"] for one in details] == [None, "PNG", None, "JPEG", "PNG", None]
    assert [one["channels"] for one in details] == [None, 3, None, 3, 3, None]
    assert [one["orientation"] for one in details] == [None, 1, None, 6, 1, None]
    assert [one["file_digest"] is None for one in details] == [True, *[False] * 4, True]
    assert [one["pixel_digest"] is None for one in details] == [
        True,
        False,
        True,
        False,
        True,
        True,
    ]
    for row, kind in ((notes, "unsupported"), (gone, "not_found")):
        assert set(row[:9]) == {None}
        assert row[-1].startswith(f"{kind}: ")
    assert (notes[9], gone[9]) == (38, None)
    assert truncated[:4] == (320, 240, 76_800, 320 / 240)
    assert set(truncated[4:9]) == {None}
    assert truncated[-1].startswith("corrupt: ")
    marker = expected["path_imgmeta"].struct.field("auto_extracted")
    sizes = r"^path@[0-9a-f]{8}(:\d+)?"
    assert marker.str.extract(sizes, 1).is_null().to_list() == [True, *[False] * 4, True]
    assert marker.is_null().to_list() == [True, *[False] * 5]


def test_the_error_is_set_exactly_where_a_property_is_null(
    expected: pl.DataFrame,
) -> None:
    """Whatever properties remain, `error` explains the nulls among them."""
    choices: list[list[PropertyName]] = [
        ["width"],
        ["brightness"],
        ["height", "symmetry"],
        PROPERTIES,
    ]
    for names in choices:
        reduced = im.unnest(im.configure(expected, names))
        required = [name for name in names if not im.CATALOGUE[name].nullable]
        missing = pl.any_horizontal(pl.col(required).is_null())
        explained = pl.col("error").is_not_null()
        located = pl.col("path").is_not_null()
        assert reduced.filter(located).select((missing == explained).all()).item()


def test_extraction_in_other_contexts(paths: list[str | None], expected: pl.DataFrame) -> None:
    """The expression serves in select, filter, group_by and over a literal."""
    frame = pl.DataFrame({"path": paths[1:4], "set": ["a", "b", "a"]})
    width = pl.col("path").imgmeta.extract("width").struct.field("width")  # type: ignore[attr-defined]
    assert frame.select(width)["width"].to_list() == [320, None, 240]
    assert frame.filter(width == 240)["set"].to_list() == ["a"]
    widest = frame.group_by("set", maintain_order=True).agg(width.max())
    assert_frame_equal(
        widest,
        pl.DataFrame(
            {"set": ["a", "b"], "width": [320, None]}, schema_overrides={"width": pl.Int32}
        ),
    )
    literal = pl.lit(paths[1]).imgmeta.extract("width")  # type: ignore[attr-defined]
    assert pl.select(literal).to_series().struct.field("width").to_list() == [320]
    assert expected["path_imgmeta"].struct.field("width")[1] == 320


def test_names_of_the_column(paths: list[str | None]) -> None:
    """`into` names the column; several columns for one or two locators live side by side."""
    frame = pl.DataFrame({"left": paths, "right": paths[::-1]})
    frame = im.extract(frame, "left", "width", into="meta")
    frame = im.extract(frame, "left", "height")
    frame = im.extract(frame, "right", "width")
    assert frame.columns == ["left", "right", "meta", "left_imgmeta", "right_imgmeta"]
    assert im.columns(frame) == ["meta", "left_imgmeta", "right_imgmeta"]
    assert im.provenance(frame, "meta").locators == ("left",)
    frame = im.add(frame, "size", column="right_imgmeta")
    assert im.properties(frame, "right_imgmeta") == ["width", "size"]
    assert im.properties(frame, "meta") == ["width"]
    flat = frame.imgmeta.unnest("meta", prefix="l_").imgmeta.unnest("right_imgmeta", prefix="r_")  # type: ignore[attr-defined]
    assert flat.columns == [
        "left",
        "right",
        "l_width",
        "l_error",
        "left_imgmeta",
        "r_width",
        "r_size",
        "r_error",
    ]
