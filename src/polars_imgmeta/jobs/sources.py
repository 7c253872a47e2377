"""What a job reads its rows from, as a lazy frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any, Final

import polars as pl

from polars_imgmeta.column import structs
from polars_imgmeta.exceptions import ColumnError, ImageError, NotFoundError
from polars_imgmeta.io.access import STORE_SCHEMES
from polars_imgmeta.io.listing import IMAGE_SUFFIXES
from polars_imgmeta.io.locators import local_path, scheme_of
from polars_imgmeta.io.redaction import locate
from polars_imgmeta.io.remote import Storage, list_remote
from polars_imgmeta.typing import Frame
from polars_imgmeta.verbs import scanning

PATH: Final = "path"
"""The locator column of a listing."""

_SCANNERS: Final[dict[str, Callable[..., pl.LazyFrame]]] = {
    ".parquet": pl.scan_parquet,
    ".pq": pl.scan_parquet,
    ".csv": pl.scan_csv,
    ".csv.gz": pl.scan_csv,
    ".tsv": lambda source, **options: pl.scan_csv(source, separator="\t", **options),
    ".ndjson": pl.scan_ndjson,
    ".jsonl": pl.scan_ndjson,
    ".arrow": pl.scan_ipc,
    ".feather": pl.scan_ipc,
    ".ipc": pl.scan_ipc,
}
TABLE_SUFFIXES: Final = tuple(_SCANNERS)
_DELTA_LOG: Final = "_delta_log"


@dataclass(frozen=True, slots=True)
class JobSource:
    """The rows of a job.

    Attributes:
        frame: The rows.
        locator: The column that locates the images.
        rows: How many rows there are; None where counting would mean to compute them.
    """

    frame: pl.LazyFrame
    locator: str
    rows: int | None


def open_source(
    source: Frame | str | os.PathLike[str], locator: str | None, storage: Storage
) -> JobSource:
    """Find out what a source is.

    Args:
        source: A frame; a table or a folder of tables; or a folder or pattern of images.
        locator: The column that locates the images; None for a listing of images.
        storage: How it is reached.

    Raises:
        ColumnError: If a table comes without the name of its locator column, or the column
            is missing or of another dtype.
        ImageError: If a folder does not exist or cannot be listed.
    """
    if isinstance(source, pl.DataFrame | pl.LazyFrame):
        frame, rows = source.lazy(), source.height if isinstance(source, pl.DataFrame) else None
    elif (table := scan_table(os.fspath(source), storage)) is not None:
        frame, rows = table, table.select(pl.len()).collect().item()
    else:
        options: dict[str, Any] = {"access": storage.access, "storage_options": storage.options}
        listed = scanning.scan_images(source, **options).select(PATH).collect()
        frame, rows, locator = listed.lazy(), listed.height, locator or PATH
    schema = frame.collect_schema()
    if locator is None:
        msg = (
            "`locator` must name the column of the table that locates the images, got none"
            f"\n\nColumns: {structs.listing(schema)}\n\nHint: on the command line, `--column`"
        )
        raise ColumnError(msg)
    structs.require_locator(schema, locator)
    return JobSource(frame, locator, rows)


def scan_table(
    source: str, storage: Storage, *, partly_changed: bool = False
) -> pl.LazyFrame | None:
    """Scan a table, or several in a folder; None where the source is not one.

    Args:
        source: A file, a pattern or a folder.
        storage: How it is reached.
        partly_changed: Whether some Parquet files may lack properties that others have, as
            after a change that was interrupted; those are null.

    Raises:
        NotFoundError: If it is one by its name, and does not exist.
    """
    remote = scheme_of(source) in STORE_SCHEMES
    options: dict[str, Any] = {}
    if remote:
        storage.access.require_scheme(str(scheme_of(source)))
        options["storage_options"] = dict(storage.options) or None
    else:
        try:
            source = local_path(source, storage.access)
        except ImageError as error:
            raise locate(error, source) from None
    if suffix := _suffix_of(source, _SCANNERS):
        if not (remote or has_magic(source) or os.path.lexists(source)):
            msg = f"`source` must be a table, a folder or a pattern, got {source!r}: no such file"
            raise NotFoundError(msg)
        return _SCANNERS[suffix](source, **options)
    if has_magic(source) or not (remote or Path(source).is_dir()):
        return None
    if _is_delta(source, storage, remote=remote):
        return pl.scan_delta(source, **options)
    first = _first_file(source, storage, remote=remote)
    if not (suffix := _suffix_of(first, _SCANNERS)):
        return None
    pattern = f"{source.rstrip('/')}/**/*{suffix}"
    if partly_changed and suffix == ".parquet":
        options |= {"missing_columns": "insert", "extra_columns": "ignore"}
        options["cast_options"] = pl.ScanCastOptions(
            missing_struct_fields="insert", extra_struct_fields="ignore"
        )
    if suffix in {".parquet", ".pq", ".arrow", ".feather", ".ipc"}:
        options["hive_partitioning"] = "=" in first[len(source) :]
    return _SCANNERS[suffix](pattern, **options)


def _suffix_of(name: str, suffixes: Mapping[str, object]) -> str:
    return next((one for one in suffixes if name.lower().endswith(one)), "")


def _is_delta(folder: str, storage: Storage, *, remote: bool) -> bool:
    if not remote:
        return (Path(folder) / _DELTA_LOG).is_dir()
    log = list_remote(f"{folder.rstrip('/')}/{_DELTA_LOG}", [".json", ".checkpoint"], storage)
    try:
        return next(iter(log), None) is not None
    except NotFoundError:
        return False


def _first_file(folder: str, storage: Storage, *, remote: bool) -> str:
    """Return the first file of a folder that is an image or a table, by its suffix."""
    suffixes = dict.fromkeys([*_SCANNERS, *IMAGE_SUFFIXES])
    if remote:
        singles = {f".{one.rpartition('.')[2]}" for one in suffixes}
        return next((url for url, _ in list_remote(folder, singles, storage)), "")
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if _suffix_of(name, suffixes) and not name.startswith((".", "_")):
                return str(Path(parent) / name)
    return ""
