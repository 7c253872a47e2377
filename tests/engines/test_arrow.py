"""The extractor on Arrow data: what it keeps, completes, refuses, and where it works."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import own_properties
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interpreters import run_python
from polars.testing import assert_frame_equal
from reads import count_reads
from typical import captured_photo

import polars_imgmeta as im
from polars_imgmeta.engines import duckdb as imgmeta_duckdb
from polars_imgmeta.engines import pandas as imgmeta_pandas
from polars_imgmeta.engines.extras import require
from polars_imgmeta.exceptions import ColumnError
from polars_imgmeta.execution.runtime import DEFAULT, PIXELS_PER_THREAD

NAMES = ["dusk.png", "truncated.png", None, "noise.png", "gone.png", "dusk.png", "empty.jpg"]


@pytest.fixture(scope="module")
def photos(sample_folder: Path) -> Path:
    """The folder of the sample images."""
    return sample_folder / "photos"


@pytest.fixture(scope="module")
def frame(photos: Path) -> pl.DataFrame:
    """Rows that can be read, that cannot, and without a locator."""
    paths = [None if name is None else str(photos / name) for name in NAMES]
    return pl.DataFrame({"id": range(len(paths)), "path": paths})


@pytest.fixture(scope="module")
def expected(frame: pl.DataFrame) -> pl.DataFrame:
    """What the verb makes of them."""
    return im.extract(frame, "path")


@pytest.fixture
def threads() -> Iterator[None]:
    """Leave the number of threads as it was."""
    yield
    im.set_thread_count(None)


def struct_of(result: Any) -> pl.Series:  # noqa: ANN401 - Arrow data
    """The column of a result, as Polars reads it."""
    return pl.DataFrame(result)["path_imgmeta"]


ENCODINGS = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.large_string()),
]


@pytest.mark.parametrize("kind", ENCODINGS, ids=str)
def test_locators_in_all_encodings(
    kind: pa.DataType, frame: pl.DataFrame, expected: pl.DataFrame
) -> None:
    """Texts give the same in each, and keep their type."""
    paths = pa.array(frame["path"].to_list(), pa.string())
    encoded = paths.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else None
    table = pa.table({"path": paths.cast(kind) if encoded is None else encoded})
    result = im.ArrowExtractor("path")(table)
    assert result.column("path").equals(table.column("path"))
    assert result.schema.field("path") == table.schema.field("path")
    assert struct_of(result).equals(expected["path_imgmeta"])


@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int8(), pa.binary())],
)
def test_images_in_the_table(kind: pa.DataType, photos: Path) -> None:
    """Encoded images give the same in each encoding of binary, and so do structs of both."""
    images = [(photos / "dusk.png").read_bytes(), None, b"", (photos / "noise.png").read_bytes()]
    wanted = im.extract(pl.DataFrame({"path": images}), "path")["path_imgmeta"]
    array = pa.array(images, pa.binary())
    array = (
        array.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else array.cast(kind)
    )
    result = im.ArrowExtractor("path").array(array)
    assert pl.Series(result).equals(wanted, check_dtypes=True)
    if not pa.types.is_dictionary(kind):
        both = pa.StructArray.from_arrays([array, pa.nulls(4, pa.string())], ["bytes", "path"])
        assert pl.Series(im.ArrowExtractor("path").array(both)).equals(wanted)


class Label(pa.ExtensionType):  # type: ignore[misc] # pyarrow ships no types
    """An extension type of a user."""

    def __init__(self) -> None:
        super().__init__(pa.string(), "tests.label")

    def __arrow_ext_serialize__(self) -> bytes:
        """Without parameters."""
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, data: bytes) -> Label:
        """Without parameters."""
        del storage, data
        return cls()


def test_everything_else_stays(frame: pl.DataFrame) -> None:
    """Types that Polars does not have or changes, metadata of fields and schema, chunks."""
    rows = len(frame)
    columns = {
        "path": pa.array(frame["path"].to_list(), pa.string()),
        "dictionary": pa.array(["a"] * rows).dictionary_encode(),
        "decimal": pa.array([1] * rows, pa.decimal256(50, 2)),
        "map": pa.array([[("k", 1)]] * rows, pa.map_(pa.string(), pa.int8())),
        "view": pa.array(["v"] * rows, pa.string_view()),
        "label": pa.ExtensionArray.from_storage(Label(), pa.array(["l"] * rows)),
        "seconds": pa.array([1] * rows, pa.timestamp("s", "Europe/Berlin")),
    }
    fields = [
        pa.field(name, array.type, metadata={"unit": name}) for name, array in columns.items()
    ]
    schema = pa.schema(fields, metadata={"owner": "me"})
    table = pa.concat_tables(
        [pa.table(list(columns.values()), schema=schema).slice(*cut) for cut in [(0, 3), (3, 4)]]
    )
    result = im.ArrowExtractor("path", "width")(table)
    assert result.select(schema.names).equals(table, check_metadata=True)
    assert [column.num_chunks for column in result.columns[:-1]] == [2] * len(fields)
    assert result.schema.metadata == schema.metadata
    assert result.schema.names == [*schema.names, "path_imgmeta"]


def test_kinds_of_input(frame: pl.DataFrame, expected: pl.DataFrame) -> None:
    """A batch gives a batch, and whatever has an Arrow stream gives a table."""
    extractor = im.ArrowExtractor("path")
    (batch,) = frame.to_arrow().to_batches()
    assert isinstance(extractor(batch), pa.RecordBatch)
    for given_ in (batch, frame, frame.to_arrow(), pd.DataFrame(frame.to_dict(as_series=False))):
        assert struct_of(extractor(given_)).equals(expected["path_imgmeta"])
    assert isinstance(extractor(frame), pa.Table)
    with pytest.raises(TypeError):
        extractor(7)


def test_types_and_flag(frame: pl.DataFrame) -> None:
    """Types are those that every engine has, and fields are flagged, own properties too."""
    wanted: list[Any] = ["standard", "source"]
    wanted += [own_properties.mean_colour, own_properties.digest]
    result = im.ArrowExtractor("path", wanted)(frame.to_arrow())
    field = result.schema.field("path_imgmeta")
    kinds = {child.name: str(child.type) for child in field.type}
    assert kinds["width"] == kinds["height"] == "int32"
    assert kinds["size"] == "int64"
    assert kinds["brightness"] == "double"
    assert kinds["modified"] == "timestamp[us, tz=UTC]"
    assert kinds["digest"] == kinds["error"] == kinds["auto_extracted"] == "string"
    assert kinds["mean_colour"] == "list<item: float>"
    assert field.metadata[b"imgmeta.locator"] == b"path"
    flagged = {child.name for child in field.type if child.metadata}
    assert flagged == {child.name for child in field.type} - {"error", "auto_extracted"}
    described = field.type.field("digest").metadata[b"imgmeta.description"]
    assert described == b"MD5 of the encoded image"


def test_metadata_of_other_tools_stay(frame: pl.DataFrame) -> None:
    """Also those that they wrote on the column that is completed."""
    extractor = im.ArrowExtractor("path", ["width", "height"])
    table = im.ArrowExtractor("path", "width")(frame.to_arrow())
    field = table.schema.field("path_imgmeta")
    width = field.type.field("width")
    ours = {**width.metadata, b"imgmeta.version": b"0", b"owner": b"me"}
    children = [width.with_metadata(ours), *list(field.type)[1:]]
    field = pa.field("path_imgmeta", pa.struct(children), metadata={"theirs": "1"})
    table = table.cast(table.schema.set(table.schema.get_field_index("path_imgmeta"), field))
    again = extractor(table).schema.field("path_imgmeta")
    assert again.metadata[b"theirs"] == b"1"
    assert again.type.field("width").metadata[b"owner"] == b"me"
    assert again.type.field("width").metadata[b"imgmeta.version"] == b"1"


def test_the_schema_is_known_without_images(frame: pl.DataFrame, photos: Path) -> None:
    """It is that of the result, metadata included, for new and existing columns."""
    extractor = im.ArrowExtractor("path", ["standard", own_properties.warmth])
    table = frame.to_arrow().replace_schema_metadata({"a": "b"})
    with count_reads(photos) as opened:
        schema = extractor.schema(table.schema)
        assert extractor.schema(schema).equals(schema, check_metadata=True)
    assert not opened
    assert extractor(table).schema.equals(schema, check_metadata=True)


@pytest.mark.parametrize("kept", [[], [0], [0, 2, 4], [3, 5, 6], range(7)])
def test_completion(
    kept: list[int], frame: pl.DataFrame, expected: pl.DataFrame, photos: Path
) -> None:
    """A partly filled column is completed in its place, and only what lacks is read."""
    partly = expected.with_columns(
        path_imgmeta=pl.when(pl.col("id").is_in(list(kept))).then("path_imgmeta")
    ).select("path_imgmeta", "id", "path")
    with count_reads(photos) as opened:
        result = im.ArrowExtractor("path")(partly.to_arrow())
    assert result.schema.names == partly.columns
    assert_frame_equal(pl.DataFrame(result), expected.select(partly.columns))
    missing = frame.filter(~pl.col("id").is_in(list(kept)))["path"].drop_nulls().unique()
    assert set(opened) == {Path(path).name for path in missing}
    with count_reads(photos) as opened:
        again = im.ArrowExtractor("path", ["width", "contrast"])(result)
    assert not opened
    assert again.equals(result)


def test_arrays(frame: pl.DataFrame, expected: pl.DataFrame, photos: Path) -> None:
    """An array gives an array, chunked or not, and existing structs are completed."""
    extractor = im.ArrowExtractor("path")
    paths = pa.array(frame["path"].to_list())
    for given_ in (paths, paths.slice(0), pa.chunked_array([paths[:3], paths[3:]])):
        result = extractor.array(given_)
        assert isinstance(result, pa.StructArray)
        assert pl.Series(result).equals(expected["path_imgmeta"])
    with count_reads(photos) as opened:
        assert extractor.array(paths, result).equals(result)
    assert not opened


@given(cuts=st.lists(st.integers(0, len(NAMES)), max_size=4))
def test_batches_change_nothing(
    cuts: list[int], frame: pl.DataFrame, expected: pl.DataFrame
) -> None:
    """Not their borders, and not empty ones among them; results stream."""
    borders = sorted({0, len(NAMES), *cuts})
    table = frame.to_arrow()
    parts = [table.slice(begin, end - begin).combine_chunks() for begin, end in pairwise(borders)]
    batches = [batch for part in parts for batch in part.to_batches()]
    source = pa.RecordBatchReader.from_batches(table.schema, [*batches, batches[0][:0]])
    result = im.ArrowExtractor("path").reader(source).read_all()
    assert struct_of(result).equals(expected["path_imgmeta"])


def test_data_sets_of_pyarrow(frame: pl.DataFrame, expected: pl.DataFrame, tmp_path: Path) -> None:
    """One is read, extracted and written without being held in memory."""
    frame.write_parquet(tmp_path / "a.parquet")
    expected[:2].drop("path_imgmeta").write_parquet(tmp_path / "b.parquet")
    source = ds.dataset(tmp_path, format="parquet")
    reader = im.ArrowExtractor("path").reader(source)
    ds.write_dataset(reader, tmp_path / "out", format="parquet")
    result = pl.read_parquet(tmp_path / "out" / "*.parquet")
    assert_frame_equal(result, pl.concat([expected, expected[:2]]), check_row_order=False)


def test_pandas(frame: pl.DataFrame, expected: pl.DataFrame, photos: Path) -> None:
    """Index and columns stay, integers stay integers, and a second call reads nothing."""
    index = [f"row {number}" for number in range(len(frame))]
    given_ = pd.DataFrame(frame.to_dict(as_series=False), index=index)
    given_["mixed"] = [1, "a", None, 2.5, b"", (), []]
    result = imgmeta_pandas.extract(given_, im.ArrowExtractor("path"))
    pd.testing.assert_frame_equal(result.drop(columns="path_imgmeta"), given_)
    assert "path_imgmeta" not in given_
    assert pl.Series(pa.array(result["path_imgmeta"])).equals(expected["path_imgmeta"])
    assert im.digest(result[["path_imgmeta"]]) == im.digest(expected)
    with count_reads(photos) as opened:
        again = imgmeta_pandas.extract(result, im.ArrowExtractor("path"))
    assert not opened
    pd.testing.assert_frame_equal(again, result)
    plain = result.assign(path_imgmeta=[*map(_plain, result["path_imgmeta"])])
    with count_reads(photos) as opened:
        again = imgmeta_pandas.extract(plain, im.ArrowExtractor("path"))
    assert not opened
    pd.testing.assert_frame_equal(again, result)


def test_pandas_takes_no_other_frame(frame: pl.DataFrame) -> None:
    """The error names both."""
    with pytest.raises(TypeError, match=r"must be a pandas DataFrame, got polars\.DataFrame"):
        imgmeta_pandas.extract(frame, im.ArrowExtractor("path"))


def _plain(value: object) -> object:
    return None if value is pd.NA else value


def test_the_whole_catalogue(photos: Path, tmp_path: Path) -> None:
    """All properties leave the extractor as from the verb, and so they do in DuckDB."""
    (tmp_path / "photo.jpg").write_bytes(captured_photo())
    paths = [str(tmp_path / "photo.jpg"), str(photos / "truncated.png"), None]
    frame = pl.DataFrame({"id": range(3), "path": paths})
    whole = im.extract(frame, "path", list(im.GROUPS))
    extractor = im.ArrowExtractor("path", list(im.GROUPS))
    assert_frame_equal(pl.DataFrame(extractor(frame.to_arrow())), whole)
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        connection.register("frame", frame.to_arrow())
        imgmeta_duckdb.register(connection, extractor)
        query = "SELECT id, path, imgmeta(path) AS path_imgmeta FROM frame ORDER BY id"
        assert_frame_equal(im.extract(connection.sql(query).pl(), "path"), whole)


def test_duckdb(frame: pl.DataFrame, expected: pl.DataFrame, photos: Path) -> None:
    """Through Arrow, streamed, and as a function of SQL on two threads."""
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.register("rows", frame.to_arrow())
        connection.execute("CREATE TABLE frame AS SELECT * FROM rows")
        relation = connection.cursor().sql("SELECT * FROM frame ORDER BY id")
        images = im.ArrowExtractor("path").reader(relation)
        result = connection.from_arrow(images).pl()
        assert_frame_equal(result, expected)
        imgmeta_duckdb.register(connection, im.ArrowExtractor("path"))
        query = "SELECT id, path, imgmeta(path) AS path_imgmeta FROM frame ORDER BY id"
        result = connection.sql(query).pl()
        assert_frame_equal(result, expected)
        imgmeta_duckdb.register(connection, im.ArrowExtractor("content"), "of_bytes", of="BLOB")
        query = "SELECT of_bytes(content).width FROM read_blob(?)"
        assert connection.execute(query, [f"{photos}/dusk.png"]).fetchall() == [(320,)]
        imgmeta_duckdb.register(connection, im.ArrowExtractor("path", on_error="raise"), "strict")
        with pytest.raises(duckdb.Error, match=r"truncated\.png': the pixels cannot be decoded"):
            connection.sql("SELECT strict(path) FROM frame").fetchall()


def test_raising(frame: pl.DataFrame) -> None:
    """The first row that fails raises, with its locator; the exception can be pickled."""
    with pytest.raises(im.CorruptError, match=r"truncated\.png': the pixels") as raised:
        im.ArrowExtractor("path", on_error="raise")(frame.to_arrow())
    copy = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - ours
    assert type(copy) is im.CorruptError
    assert str(copy) == str(raised.value)


def test_mistakes_raise_at_once() -> None:
    """What is wrong whatever the data are, when the extractor is made."""
    with pytest.raises(im.PropertyError, match="did you mean 'width'"):
        im.ArrowExtractor("path", "widht")
    with pytest.raises(ColumnError, match="`into` must be the name of a column, got 7"):
        im.ArrowExtractor("path", into=7)  # type: ignore[arg-type]
    with pytest.raises(ColumnError, match="`locator` must be the name of a column, got None"):
        im.ArrowExtractor(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`threads` must be a positive whole number"):
        im.ArrowExtractor("path", threads=0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'progress'"):
        im.ArrowExtractor("path", progress=True)  # type: ignore[call-arg]


def test_mistakes_of_the_schema(frame: pl.DataFrame) -> None:
    """What is wrong with the columns, by the call and by `schema`."""
    table = frame.to_arrow()
    for call in (im.ArrowExtractor("pth"), im.ArrowExtractor("pth").schema):
        with pytest.raises(ColumnError, match="did you mean 'path'"):
            call(table if isinstance(call, im.ArrowExtractor) else table.schema)
    with pytest.raises(ColumnError, match="must be of dtype String or Binary"):
        im.ArrowExtractor("id")(table)
    with pytest.raises(ColumnError, match="`into` must name a new or an auto-extracted column"):
        im.ArrowExtractor("path", into="id")(table)
    double = pa.table([table["path"], table["path"]], names=["path", "path"])
    with pytest.raises(ColumnError, match="must have the column 'path' once, got it 2 times"):
        im.ArrowExtractor("path")(double)
    other = pa.table([table["id"], table["id"], table["path"]], names=["id", "id", "path"])
    assert im.ArrowExtractor("path", "width")(other).num_columns == 4


def test_secrets_are_not_shown() -> None:
    """Storage options are in no representation."""
    options = {"aws_access_key_id": "me", "aws_secret_access_key": "5ecret"}
    assert "5ecret" not in repr(im.ArrowExtractor("path", storage_options=options))


def test_it_is_plain_data() -> None:
    """It is pickled small, without Polars in it; own properties go by their import path."""
    extractor = im.ArrowExtractor("path", ["standard", own_properties.warmth], max_pixels=9)
    data = pickle.dumps(extractor)
    assert pickle.loads(data) == extractor  # noqa: S301 - ours
    assert b"polars." not in data
    assert len(data) < 1000


def test_catalogues_travel(frame: pl.DataFrame) -> None:
    """Own properties by name, and in an existing column of which nothing was asked."""
    ours = im.Catalogue([own_properties.warmth])
    extractor = im.ArrowExtractor("path", ["width", "warmth"], catalogue=ours)
    copy = pickle.loads(cloudpickle.dumps(extractor))  # noqa: S301 - ours
    table = copy(frame.to_arrow())
    wanted = im.extract(frame, "path", ["width", "warmth"], catalogue=ours)
    assert_frame_equal(pl.DataFrame(table), wanted)
    emptied = wanted.with_columns(path_imgmeta=pl.when(pl.col("id") > 2).then("path_imgmeta"))
    again = im.ArrowExtractor("path", "width", catalogue=ours)(emptied.to_arrow())
    assert_frame_equal(pl.DataFrame(again), wanted)


FORKED = """
import multiprocessing, pickle, sys, warnings
warnings.simplefilter("ignore")
import pyarrow as pa, polars as pl
{before}
import polars_imgmeta as im
extractor = im.ArrowExtractor("path", ["width", "brightness"], threads=1)
paths = ["photos/dusk.png", None, "photos/gone.png", "photos/noise.png"]
table = pa.table({{"path": paths, "id": [1, 2, 3, 4]}})

def work(number):
    print("a property may print")
    return extractor(table), str(im.digest(extractor(table)))

def fail(number):
    im.ArrowExtractor("path", on_error="raise")(table)

if __name__ == "__main__":
    {parent}
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        results = pool.map(work, range(4))
        try:
            pool.apply(fail, (0,))
        except im.NotFoundError as error:
            assert "photos/gone.png" in str(error)
    expected = work(0)
    assert all(table.equals(expected[0]) and text == expected[1] for table, text in results)
    print("equal")
"""
USE_POLARS = "pl.DataFrame({'a': [2, 1]}).lazy().select(pl.col('a').sort(), b='a').collect()"


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted({*multiprocessing.get_all_start_methods()}))
@pytest.mark.parametrize(
    ("before", "parent"),
    [("", ""), (USE_POLARS, ""), ("", "extractor(table)")],
    ids=["unused", "Polars was used", "it was used"],
)
def test_processes_of_workers(
    method: str, before: str, parent: str, sample_folder: Path, tmp_path: Path
) -> None:
    """Forked or spawned, also where Polars had its threads before: it ends, and is equal."""
    script = tmp_path / "workers.py"
    script.write_text(FORKED.format(method=method, before=before, parent=parent))
    code = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    code = script.read_text() if method == "fork" else code
    done = run_python(code, sample_folder)
    assert done.stdout.endswith("equal\n"), done.stderr


@pytest.mark.usefixtures("threads")
def test_threads_can_be_set(frame: pl.DataFrame) -> None:
    """The setting is that of the process, and its memory follows."""
    seen = im.ArrowExtractor("path", own_properties.thread_count, threads=3)(frame.to_arrow())
    assert set(struct_of(seen).struct.field("thread_count").drop_nulls()) == {3}
    assert DEFAULT.pixels.amount == 3 * PIXELS_PER_THREAD
    assert DEFAULT.transfer_bytes.amount == 3 << 25


@pytest.mark.usefixtures("threads")
def test_memory_can_be_granted() -> None:
    """Pixels take at most half of it, transfers an eighth."""
    DEFAULT.grant(4, 1 << 26)
    assert DEFAULT.pixels.amount * 16 == 1 << 25
    assert DEFAULT.transfer_bytes.amount == 1 << 23
    DEFAULT.grant(1, 1 << 40)
    assert DEFAULT.pixels.amount == PIXELS_PER_THREAD


def test_missing_extras_are_named() -> None:
    """An engine that is not installed names its extra."""
    with pytest.raises(ImportError, match=r"needs the extra `ray`: pip install 'polars-imgmeta"):
        require("no_such_engine", "ray")


def test_large_batches_are_one_chunk(photos: Path) -> None:
    """A batch of many equal locators reads one image."""
    paths = pa.array(np.full(100_000, str(photos / "dusk.png")))
    with count_reads(photos) as opened:
        result = im.ArrowExtractor("path", "width")(pa.record_batch({"path": paths}))
    assert opened == {"dusk.png": 1}
    assert result.num_rows == 100_000
