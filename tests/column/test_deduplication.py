"""Locator columns of every dtype: paths, bytes, and structs of both."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from engines import ENGINES, run
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.column import deduplication
from polars_imgmeta.column.deduplication import Images
from polars_imgmeta.measuring import measurement

HUGGING_FACE = pl.Struct({"bytes": pl.Binary(), "path": pl.String()})

texts = st.none() | st.text(max_size=3) | st.sampled_from(["s3://b/k", "HTTP://h/", "file:///a"])
data = st.none() | st.binary(max_size=3)


def located(value: Any) -> str | bytes | None:  # noqa: ANN401
    """What a value locates, by the words of the documentation."""
    if isinstance(value, dict):
        own = value.get("bytes")
        return value.get("path") if own is None else own
    return value  # type: ignore[no-any-return]


@given(
    column=st.one_of(
        st.lists(texts).map(lambda values: pl.Series("c", values, pl.String)),
        st.lists(texts).map(lambda values: pl.Series("c", values, pl.Categorical)),
        st.lists(data).map(lambda values: pl.Series("c", values, pl.Binary)),
        st.lists(st.fixed_dictionaries({"path": texts, "more": st.integers(0, 1)}), min_size=1).map(
            lambda values: pl.Series("c", values, pl.Struct({"path": pl.String, "more": pl.Int8}))
        ),
        st.lists(st.none() | st.fixed_dictionaries({"bytes": data, "path": texts})).map(
            lambda values: pl.Series("c", values, HUGGING_FACE)
        ),
    )
)
def test_images_are_told_apart(column: pl.Series) -> None:
    """Each once, in the order in which they come first, and each row knows its own."""
    expected = [located(value) for value in column.to_list()]
    images = Images(deduplication.parts_of(column))
    every = [images[number] for number in range(len(images))]
    assert every == list(dict.fromkeys(one for one in expected if one is not None))
    found = [None if number is None else images[number] for number in images.numbers]
    assert found == expected
    far = [str(one).lower().startswith(("s3://", "http://")) for one in every]
    assert list(images.remote) == [number for number, is_far in enumerate(far) if is_far]


@pytest.mark.parametrize(
    "dtype",
    [
        pl.Int64(),
        pl.List(pl.String),
        pl.Object(),
        pl.Struct({}),
        pl.Struct({"name": pl.String()}),
        pl.Struct({"bytes": pl.String()}),
        pl.Struct({"path": pl.Binary()}),
        pl.Struct({"bytes": pl.Binary(), "path": pl.Int8()}),
    ],
)
def test_other_dtypes_are_refused(dtype: pl.DataType) -> None:
    """They cannot mean images."""
    with pytest.raises(im.ColumnError, match=r"must be of dtype String or Binary, or a Struct"):
        deduplication.require_locator_dtype(dtype, "n")


@pytest.fixture(scope="module")
def table(sample_folder: Path) -> pl.DataFrame:
    """The same images by path, as bytes, and as structs; the last one is missing."""
    paths = sorted(map(str, (sample_folder / "photos").iterdir()))
    contents = [Path(path).read_bytes() for path in paths]
    mixed = [
        {"bytes": None, "path": path} if number % 2 else {"bytes": content, "path": "gone.png"}
        for number, (path, content) in enumerate(zip(paths, contents, strict=True))
    ]
    return pl.DataFrame(
        {
            "path": [*paths, None],
            "bytes": [*contents, None],
            "mixed": [*mixed, {"bytes": None, "path": None}],
        },
        schema_overrides={"mixed": HUGGING_FACE},
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_where_the_bytes_come_from_does_not_matter(engine: str, table: pl.DataFrame) -> None:
    """By path, as bytes, or either in a struct: the values, errors and nulls are the same."""

    def query(frame: Any) -> Any:  # noqa: ANN401
        for name in table.columns:
            frame = frame.imgmeta.extract(name, into=f"{name}_m")
        return frame

    done = run(engine, table, query)
    expected = done["path_m"].struct.unnest().drop("auto_extracted")
    assert expected["error"].null_count() < len(expected)
    for name in ("bytes", "mixed"):
        assert_frame_equal(done[f"{name}_m"].struct.unnest().drop("auto_extracted"), expected)
        assert im.provenance(done, f"{name}_m").locators == (name,)
        assert done[f"{name}_m"].is_null().to_list() == [False] * (len(table) - 1) + [True]


def test_a_hugging_face_data_set_streams(table: pl.DataFrame, tmp_path: Path) -> None:
    """From Parquet to Parquet, with the marker, and filtered by what was extracted."""
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    table.select(image="mixed", label=pl.int_range(pl.len())).write_parquet(source)
    scan = pl.scan_parquet(source).imgmeta.extract("image")  # type: ignore[attr-defined]
    scan.filter(pl.col("image_imgmeta").struct.field("brightness") < 0.5).imgmeta.sink_parquet(
        target
    )
    written = pl.read_parquet(target)
    whole = im.extract(table, "path").filter(
        pl.col("path_imgmeta").struct.field("brightness") < 0.5
    )
    assert im.columns(written) == ["image_imgmeta"]
    assert_series_equal(
        written["image_imgmeta"].struct.field("brightness"),
        whole["path_imgmeta"].struct.field("brightness"),
    )
    assert "path_imgmeta" not in written.columns
    assert written["image"].dtype == HUGGING_FACE


@pytest.mark.parametrize("name", ["bytes", "mixed"])
def test_editing_reads_what_is_missing_alone(
    name: str, table: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for paths: repeated, appended and missing ones are read once each."""
    asked: Counter[object] = Counter()
    genuine = measurement.measure_all

    def count(requests: Any, **options: Any) -> Any:  # noqa: ANN401
        def counted() -> Any:  # noqa: ANN401
            for number, (image, wanted) in requests:
                asked.update({image: len(wanted.of_header) + len(wanted.of_pixels)})
                yield number, (image, wanted)

        return genuine(counted(), **options)

    monkeypatch.setattr("polars_imgmeta.column.udf.measure_all", count)
    frame = im.extract(table.select(name), name, ["width", "brightness"])
    read = len(asked)
    assert read == len(table) - 1
    assert im.extract(frame, name, "width") is not None
    assert sum(asked.values()) == 2 * read
    added = im.add(frame, "contrast")
    errors = im.errors(added).height
    assert errors > 0
    # A row with an error is read again as a whole when something new is asked of it; of the
    # others, the width is read with it, to be compared.
    assert sum(asked.values()) == 4 * read + errors
    twice = pl.concat(
        [
            added,
            table.select(name)
            .tail(4)
            .with_columns(pl.lit(None, added.schema[f"{name}_imgmeta"]).alias(f"{name}_imgmeta")),
        ]
    )
    filled = im.extract(twice, name, "width")
    assert filled[f"{name}_imgmeta"].is_null().sum() == 2
    assert_series_equal(
        filled[f"{name}_imgmeta"].tail(4), filled[f"{name}_imgmeta"].slice(len(table) - 4, 4)
    )


def test_errors_show_what_failed(table: pl.DataFrame) -> None:
    """The values as they are, to be joined with; a message names how long they are."""
    failed = im.errors(im.extract(table, "bytes", "width"))
    assert failed["locator"].dtype == pl.Binary
    assert b"" in failed["locator"]
    frame = pl.DataFrame({"image": [b"not an image"]})
    with pytest.raises(im.UnsupportedError, match=r"^an image of 12 bytes: not an image"):
        im.extract(frame, "image", on_error="raise")


def test_an_image_in_many_rows_is_read_once(table: pl.DataFrame, sample_folder: Path) -> None:
    """Of a struct too, whatever else is in it."""
    rows = [
        {"bytes": None, "path": str(sample_folder / "photos/dusk.png"), "id": n} for n in range(9)
    ]
    frame = pl.DataFrame(
        {"image": rows},
        schema={"image": pl.Struct({"bytes": pl.Binary(), "path": pl.String(), "id": pl.Int64()})},
    )
    with count_reads(sample_folder) as opened:
        done = im.extract(frame, "image", "brightness")
    assert opened == {"dusk.png": 1}
    assert done["image_imgmeta"].struct.field("brightness").to_list() == [0.2] * 9
    del table


def test_looking_at_bytes(table: pl.DataFrame, tmp_path: Path) -> None:
    """Report, notebook and plots show pictures that have no name."""
    for name in ("bytes", "mixed"):
        frame = im.extract(table.select(name, label=pl.lit("x")), name)
        assert "data:image/webp" in im.show(frame, 20)._repr_html_()
        page = im.report(frame, tmp_path / "page.html").read_text()
        assert page.count("data:image/webp;base64") > 5
        points = im.plot(frame, "brightness", "contrast").to_dict()
        (rows,) = points["datasets"].values()
        assert sum(bool(row["image"]) for row in rows) == len(rows)
