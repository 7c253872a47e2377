"""Changes of the auto-extracted column of a table that is there: part by part, each at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.column import structs
from polars_imgmeta.exceptions import JobError, NotFoundError
from polars_imgmeta.execution.progress import observed_by
from polars_imgmeta.io.locators import is_remote
from polars_imgmeta.io.remote import Storage
from polars_imgmeta.jobs import outputs
from polars_imgmeta.jobs.manifest import FIRST_PART, Manifest, Part
from polars_imgmeta.jobs.monitor import Monitor
from polars_imgmeta.jobs.ownership import owner_now
from polars_imgmeta.jobs.stopping import Stopping
from polars_imgmeta.verbs import export

Change = Callable[[pl.DataFrame], pl.DataFrame]


def revise(
    table: str | os.PathLike[str], change: Change, storage: Storage, *, progress: bool | None = None
) -> int:
    """Change a Parquet file, or the output of a job part by part.

    Args:
        table: A Parquet file, or a folder that `run` has made.
        change: The change of a frame, whose rows it keeps.
        storage: How the table is reached.
        progress: Whether to show a bar.

    Returns:
        The number of rows of the table.

    Raises:
        JobError: If it is neither, or another run is writing to it.
    """
    where = os.fspath(table)
    if not (is_remote(where) or os.path.lexists(where)):
        msg = (
            "the table must be a Parquet file or a folder that a job has made, got"
            f" {where!r}: no such file or folder"
        )
        raise NotFoundError(msg)
    options = storage.options
    with Stopping() as stopping:
        monitor = Monitor(progress, stopping.check)
        with _stopped_cleanly(stopping), observed_by(monitor):
            if outputs.is_file(where):
                return _revise_file(where, change, options)
            return _revise_folder(where, change, storage, monitor)


@contextmanager
def _stopped_cleanly(stopping: Stopping) -> Iterator[None]:
    try:
        yield
    except BaseException:
        stopping.drain()
        raise


def _revise_file(where: str, change: Change, options: Mapping[str, str]) -> int:
    to_storage: dict[str, Any] = {"storage_options": dict(options)} if options else {}
    old = pl.read_parquet(where, **to_storage)
    new = change(old)
    record = outputs.read_manifest(where, options)
    if not new.equals(old):
        metadata: dict[str, str] = {}
        if record is not None:
            record = replace(record, parts={FIRST_PART: _describe(new, record)})
            metadata = {**record.metadata(), **record.part_metadata(new)}
        export.write_parquet(new, where, metadata=metadata, **to_storage)
    return len(new)


def _revise_folder(where: str, change: Change, storage: Storage, monitor: Monitor) -> int:
    if not (is_remote(where) or Path(where).is_dir()):
        msg = f"the table must be a Parquet file or a folder that a job has made, got {where!r}"
        raise JobError(msg)
    folder = outputs.open_folder(where, storage)
    record = folder.read()
    if record is None:
        msg = (
            f"no job has made {where!r}\n\nHint: a folder of other Parquet files is changed file"
            " by file"
        )
        raise JobError(msg)
    folder.claim()
    try:
        names = folder.names()
        monitor.start(sum(part.rows for part in record.parts.values()))
        to_storage: dict[str, Any] = (
            {"storage_options": dict(storage.options)} if storage.options else {}
        )
        if not names:
            return 0
        schema = pl.scan_parquet(folder.url(names[0]), **to_storage).collect_schema()
        change(pl.DataFrame(schema=schema))  # raises for mistakes before anything is written
        # A part whose record is older than itself would hide its new failures.
        unchanged, record.parts = record.parts, {}
        record.owner = owner_now()
        folder.write(record, schema)
        try:
            for name in names:
                unchanged.pop(name, None)
                old = pl.read_parquet(folder.url(name), **to_storage)
                new = change(old)
                if not new.equals(old):
                    metadata = record.part_metadata(new)
                    export.write_parquet(new, folder.url(name), metadata=metadata, **to_storage)
                schema = new.schema
                record.parts[name] = _describe(new, record)
                monitor.add(len(new), record.parts[name].failures)
        except BaseException:
            record.owner = None
            record.parts |= {name: part for name, part in unchanged.items() if name in names}
            with suppress(Exception):
                folder.write(record, schema)
            raise
        record.owner = None
        folder.write(record, schema)
        return sum(part.rows for part in record.parts.values())
    finally:
        monitor.close()
        folder.release()


def _describe(frame: pl.DataFrame, record: Manifest) -> Part:
    found = structs.find(frame.schema).get(record.column)
    names = found.properties if found else ()
    versions = {name: CATALOGUE[name].version if name in CATALOGUE else 0 for name in names}
    return Part.of(frame, record.column, versions)
