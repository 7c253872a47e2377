"""Spark, which runs on Java, keeps the column and its flag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession
from reads import count_reads
from typical import captured_photo

import polars_imgmeta as im
from polars_imgmeta.typing import GroupName, PropertyName

pytestmark = [
    pytest.mark.java,
    # pyspark forks to start Java. Lance, where it is loaded, and Python from 3.12 on warn of that.
    pytest.mark.filterwarnings("ignore:lance is not fork-safe:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

PROPERTIES: list[PropertyName | GroupName] = ["width", "symmetry", "source"]


@pytest.fixture(scope="module")
def photos(sample_folder: Path) -> Path:
    """The folder of the sample images."""
    return sample_folder / "photos"


@pytest.fixture(scope="module")
def frame(photos: Path) -> pl.DataFrame:
    """Complete, failed and null rows, beside a key."""
    names = ["dusk.png", "truncated.png", "noise.png", "gone.png"]
    frame = pl.DataFrame({"id": range(5), "path": [*(str(photos / name) for name in names), None]})
    return im.extract(frame, "path", PROPERTIES)


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session of two threads, without a user interface and on loopback alone."""
    folder = tmp_path_factory.mktemp("spark")
    conf = SparkConf(loadDefaults=False).setMaster("local[2]").setAppName("imgmeta")
    for key, value in {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(folder / "local"),
        "spark.log.level": "ERROR",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }.items():
        conf.set(key, value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        gateway: Any = launch_gateway(conf)  # type: ignore[no-untyped-call]
    try:
        session = SparkSession(SparkContext(conf=conf, gateway=gateway))
        yield session
        session.stop()
    finally:
        gateway.shutdown()
        # Java ends with its standard input.
        gateway.proc.stdin.close()
        gateway.proc.wait(60)


def check_unread(
    result: pl.DataFrame,
    expected: pl.DataFrame,
    photos: Path,
    properties: Sequence[str] = PROPERTIES,
) -> None:
    """The column is found, and `extract` opens no file and restores the frame."""
    assert im.columns(result) == ["path_imgmeta"]
    assert im.provenance(result).locators == ("path",)
    with count_reads(photos) as opened:
        again = im.extract(result, "path", properties)
    assert not opened
    assert_frame_equal(again.sort("id"), expected)


@pytest.mark.parametrize("timestamps", ["INT96", "TIMESTAMP_MICROS"])
def test_parquet(
    timestamps: str, spark: SparkSession, frame: pl.DataFrame, photos: Path, tmp_path: Path
) -> None:
    """Spark reads what Polars wrote, and Polars what Spark wrote, whose times may be INT96."""
    frame.write_parquet(tmp_path / "a.parquet")
    spark.conf.set("spark.sql.parquet.outputTimestampType", timestamps)
    target = tmp_path / "b.parquet"
    spark.read.parquet(str(tmp_path / "a.parquet")).write.parquet(str(target))
    check_unread(pl.scan_parquet(target / "*.parquet").collect(), frame, photos)


def test_the_whole_catalogue(
    spark: SparkSession, frame: pl.DataFrame, photos: Path, tmp_path: Path
) -> None:
    """All properties come back from Spark, among them what a camera wrote."""
    (tmp_path / "photo.jpg").write_bytes(captured_photo())
    paths = [str(tmp_path / "photo.jpg"), *frame["path"][1:]]
    properties = list(im.GROUPS)
    whole = im.extract(pl.DataFrame({"id": range(5), "path": paths}), "path", properties)
    assert whole["path_imgmeta"][0]["captured"] is not None
    im.write_parquet(whole, tmp_path / "a.parquet")
    # As Spark itself has it, a time without a zone must not become one of its own zone.
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    read = spark.read.parquet(str(tmp_path / "a.parquet"))
    assert dict(read.select("path_imgmeta.*").dtypes)["captured"] == "timestamp_ntz"
    read.write.parquet(str(tmp_path / "b"))
    check_unread(pl.scan_parquet(tmp_path / "b" / "*.parquet").collect(), whole, photos, properties)


def test_filter(spark: SparkSession, frame: pl.DataFrame, photos: Path, tmp_path: Path) -> None:
    """Properties and the flag are fields, in expressions and in SQL."""
    im.write_parquet(frame, tmp_path / "a.parquet")
    photos_of_spark = spark.read.parquet(str(tmp_path / "a.parquet"))
    photos_of_spark.filter("path_imgmeta.width > 0").write.parquet(str(tmp_path / "wide"))
    photos_of_spark.createOrReplaceTempView("photos")
    failed = spark.sql(
        "SELECT * FROM photos"
        " WHERE path_imgmeta.auto_extracted IS NOT NULL AND path_imgmeta.error LIKE 'not_found:%'"
    )
    failed.write.parquet(str(tmp_path / "failed"))
    width = pl.col("path_imgmeta").struct.field("width")
    wide = pl.scan_parquet(tmp_path / "wide" / "*.parquet").collect()
    check_unread(wide, frame.filter(width > 0), photos)
    gone = pl.scan_parquet(tmp_path / "failed" / "*.parquet").collect()
    check_unread(gone, frame.filter(pl.col("id") == 3), photos)


def test_union(spark: SparkSession, frame: pl.DataFrame, photos: Path, tmp_path: Path) -> None:
    """Parts that Polars, this package and DuckDB wrote go together, in a folder or by union."""
    parts = tmp_path / "parts"
    parts.mkdir()
    frame[:1].write_parquet(parts / "a.parquet")
    im.write_parquet(frame[1:3], parts / "b.parquet")
    frame[3:].write_parquet(tmp_path / "c.tmp")
    with duckdb.connect() as connection:
        source, target = tmp_path / "c.tmp", parts / "c.parquet"
        connection.execute(f"COPY (FROM read_parquet('{source}')) TO '{target}'")
    first, second, third = (spark.read.parquet(str(part)) for part in sorted(parts.iterdir()))
    union = first.unionByName(second).unionByName(third)
    for number, result in enumerate((spark.read.parquet(str(parts)), union)):
        result.write.parquet(str(tmp_path / str(number)))
        scanned = pl.scan_parquet(tmp_path / str(number) / "*.parquet").collect()
        check_unread(scanned, frame, photos)


def test_join(spark: SparkSession, frame: pl.DataFrame, photos: Path, tmp_path: Path) -> None:
    """Rows of a join keep their flags."""
    labels = pl.DataFrame({"id": [4, 1, 0, 9], "label": ["d", "b", "a", "x"]})
    frame.write_parquet(tmp_path / "a.parquet")
    labels.write_parquet(tmp_path / "labels.parquet")
    left, right = (
        spark.read.parquet(str(tmp_path / f"{name}.parquet")) for name in ("a", "labels")
    )
    for how in ("inner", "left", "left_anti"):
        left.join(right, on="id", how=how).write.parquet(str(tmp_path / how))
        result = pl.scan_parquet(tmp_path / how / "*.parquet").collect()
        expected = frame.join(labels, on="id", how=how.removeprefix("left_"))  # type: ignore[arg-type]
        check_unread(result, expected.sort("id"), photos)


@pytest.mark.parametrize("readable", [False, True])
def test_arrow(spark: SparkSession, frame: pl.DataFrame, photos: Path, *, readable: bool) -> None:
    """Tables of Arrow go to Spark and back, with and without readable metadata."""
    table = im.to_arrow(frame) if readable else frame.to_arrow()
    result = spark.createDataFrame(table).toArrow()
    check_unread(pl.DataFrame(pl.from_arrow(result)), frame, photos)
