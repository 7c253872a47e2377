"""A process that runs one engine, with at least two workers, and does what tests ask.

Engines start processes and threads, write to standard output, and emit warnings; none of that
belongs into the process of the tests. Requests and replies are lines of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import polars_imgmeta as im

PARTS = 4


class Engine:
    """Extracts from a Parquet file into a folder of them."""

    retries: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def extract(self, source: str, target: str, extractor: im.ArrowExtractor) -> im.Digest:
        """Extract from `source` into `target`, and return the digest of the column."""
        raise NotImplementedError

    def names(self, source: str, extractor: im.ArrowExtractor) -> list[str]:
        """Return the names of the columns of a result that is not computed."""
        raise NotImplementedError


class Ray(Engine):
    """Ray Data on two workers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.environ |= {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }
        for left in reversed(range(5)):
            try:
                self._start()
            except Exception:
                if not left:
                    raise
            else:
                return

    def _start(self) -> None:
        import ray

        ray.shutdown()
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            object_store_memory=100 << 20,
        )

    def _mapped(self, source: str, extractor: im.ArrowExtractor, **options: Any) -> Any:
        import ray

        from polars_imgmeta.engines.ray import extract

        dataset = ray.data.read_parquet(source).repartition(PARTS)
        return extract(dataset, extractor, **options)

    def extract(
        self, source: str, target: str, extractor: im.ArrowExtractor, **options: Any
    ) -> im.Digest:
        from polars_imgmeta.engines.ray import digest

        result = self._mapped(source, extractor, **options).materialize()
        result.write_parquet(target)
        return digest(result, extractor.into)

    def names(self, source: str, extractor: im.ArrowExtractor) -> list[str]:
        schema = self._mapped(source, extractor).schema()
        assert str(schema.base_schema.field(extractor.into).type).startswith("struct<")
        return list(schema.names)


class Dask(Engine):
    """Dask on two processes of two threads."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        import dask
        from distributed import Client, LocalCluster

        dask.config.set({"temporary_directory": str(folder)})
        self.cluster: Any = LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            memory_limit="2GiB",
            host="127.0.0.1",
            dashboard_address=None,
        )
        self.client: Any = Client(self.cluster)

    def _mapped(self, source: str, extractor: im.ArrowExtractor) -> Any:
        import dask.dataframe as dd
        import pandas as pd

        from polars_imgmeta.engines.dask import extract

        frame = pd.read_parquet(source, dtype_backend="pyarrow")
        return extract(dd.from_pandas(frame, npartitions=PARTS), extractor)

    def extract(self, source: str, target: str, extractor: im.ArrowExtractor) -> im.Digest:
        from polars_imgmeta.engines.dask import digest

        result = self._mapped(source, extractor).persist()
        result.to_parquet(target, write_index=False)
        return digest(result, extractor.into)

    def names(self, source: str, extractor: im.ArrowExtractor) -> list[str]:
        return list(self._mapped(source, extractor).columns)


class Spark(Engine):
    """Spark on two local executors' threads, each with Python workers of its own."""

    master = "local[2,4]"  # tasks are tried four times
    settings: ClassVar[dict[str, str]] = {}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        from pyspark import SparkConf
        from pyspark.sql import SparkSession

        os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
        conf = SparkConf(loadDefaults=False).setMaster(self.master).setAppName("imgmeta")
        for key, value in {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.local.dir": str(folder / "local"),
            "spark.log.level": "OFF",
            "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
            "spark.sql.session.timeZone": "Europe/Berlin",
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            "spark.sql.execution.arrow.maxRecordsPerBatch": "7",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            **self.settings,
        }.items():
            conf.set(key, value)
        self.session = SparkSession.builder.config(conf=conf).getOrCreate()

    def _mapped(self, source: str, extractor: im.ArrowExtractor) -> Any:
        from polars_imgmeta.engines.spark import extract

        return extract(self.session.read.parquet(source).repartition(PARTS), extractor)

    def extract(self, source: str, target: str, extractor: im.ArrowExtractor) -> im.Digest:
        from polars_imgmeta.engines.spark import digest

        self._mapped(source, extractor).write.parquet(target)
        return digest(self.session.read.parquet(target), extractor.into)

    def names(self, source: str, extractor: im.ArrowExtractor) -> list[str]:
        return list(self._mapped(source, extractor).columns)


class SparkCluster(Spark):
    """Spark on two executors, each a process of its own."""

    master = "local-cluster[2,1,1024]"
    settings: ClassVar[dict[str, str]] = {"spark.executor.memory": "1g"}


class Daft(Engine):
    """Daft's local runner, with the extraction in processes of their own."""

    def _mapped(self, source: str, extractor: im.ArrowExtractor, **options: Any) -> Any:
        import daft

        from polars_imgmeta.engines.daft import extract

        frame = daft.read_parquet(source)
        defaults = {"use_process": True, "max_concurrency": 2, "cpus": 1, "batch_size": 2}
        return extract(frame, extractor, **{**defaults, **options})

    def extract(
        self, source: str, target: str, extractor: im.ArrowExtractor, **options: Any
    ) -> im.Digest:
        result = self._mapped(source, extractor, **options).collect()
        result.write_parquet(target)
        return im.digest(result.to_arrow(), extractor.into)

    def names(self, source: str, extractor: im.ArrowExtractor) -> list[str]:
        return list(self._mapped(source, extractor).column_names)


ENGINES = {"ray": Ray, "dask": Dask, "spark": Spark, "spark-cluster": SparkCluster, "daft": Daft}


def load(path: str) -> Any:
    """Import `module:name`."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def make_extractor(arguments: Mapping[str, Any]) -> im.ArrowExtractor:
    """Make an extractor of what came as JSON."""
    arguments = dict(arguments)
    named = arguments.pop("properties", "standard")
    if not isinstance(named, str):
        named = [load(one) if ":" in one else one for one in named]
    if "access" in arguments:
        arguments["access"] = im.Access(**arguments["access"])
    return im.ArrowExtractor(properties=named, **arguments)


def main(name: str, folder: str) -> None:
    """Serve requests until the standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    engine = ENGINES[name](Path(folder))
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any]
        try:
            extractor = make_extractor(request["extractor"])
            if request["verb"] == "names":
                reply = {"value": engine.names(request["source"], extractor)}
            else:
                found = engine.extract(
                    request["source"], request["target"], extractor, **request["options"]
                )
                reply = {"value": str(found)}
        except BaseException:  # noqa: BLE001 - for the tests
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
