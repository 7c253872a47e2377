"""The job: rows of a source in, parts with their properties out."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, Unpack

import polars as pl

from polars_imgmeta.catalogue.registry import PropertiesLike, Property
from polars_imgmeta.column import marker, structs
from polars_imgmeta.column.runs import running_job
from polars_imgmeta.exceptions import JobError
from polars_imgmeta.execution.progress import LOGGER, observed_by
from polars_imgmeta.jobs import outputs, sources
from polars_imgmeta.jobs.batches import RowReader
from polars_imgmeta.jobs.known import KnownRows, hashes
from polars_imgmeta.jobs.manifest import FIRST_PART, Manifest, Part, count_failures
from polars_imgmeta.jobs.monitor import Monitor
from polars_imgmeta.jobs.ownership import owner_now
from polars_imgmeta.jobs.parts import UnfinishedPart, make_pace
from polars_imgmeta.jobs.sources import JobSource
from polars_imgmeta.jobs.stopping import Stopping
from polars_imgmeta.jobs.summary import JobEstimate, JobSummary
from polars_imgmeta.measuring.options import ExtractOptions, Reading, takes
from polars_imgmeta.typing import ErrorKind, Frame
from polars_imgmeta.verbs import editing, export, extraction

_HEARTBEAT_SECONDS: Final = 60.0
# Which users would be surprised to get as folders.
_OTHER_FILES: Final = (*sources.TABLE_SUFFIXES, ".json", ".txt", ".gz", ".xlsx")
# Of so many images an estimate is made.
_SAMPLED, _SAMPLED_OF_BATCH = 100, 20


@takes(ExtractOptions)
def run(
    source: Frame | str | os.PathLike[str],
    output: str | os.PathLike[str],
    locator: str | None = None,
    properties: PropertiesLike = "standard",
    *,
    into: str | None = None,
    retry: bool | ErrorKind | Iterable[ErrorKind] = False,
    refresh: bool = False,
    overwrite: bool = False,
    **options: Unpack[ExtractOptions],
) -> JobSummary:
    """Extract properties of many images into Parquet, in parts, so that a kill costs little.

    A second call goes on where an earlier one was stopped or killed. It reads images of rows
    that the output lacks, adds properties that it lacks, and leaves everything else alone.

    Args:
        source: A frame; a Parquet, CSV, NDJSON or IPC file, a pattern of such, or a folder of
            them, whose keys may be in the names of its folders; a Delta table; or a folder,
            pattern or cloud prefix of images, as `scan_images` takes.
        output: A folder of Parquet files, local or in cloud storage; or one file, if it ends in
            `.parquet`, which is made of the parts at the end.
        locator: The column that locates the images; not for a folder of images, where it is
            `path`.
        properties: Names of properties or groups, or properties of one's own, one or several.
        into: The name of the struct column; `<locator>_imgmeta` unless given.
        retry: Whether to read images again whose rows failed: of all kinds of errors, or of
            those named.
        refresh: Whether to ask the sources of all images whether they have changed, and to
            read those again.
        overwrite: Whether to begin anew where the output exists, rather than to go on.
        options: See `ExtractOptions`.

    Returns:
        What was done, and what the output holds.

    Raises:
        JobError: If another run is writing to the output, or if it holds something else or was
            made with another locator or another source.
        ColumnError: If the locator column is missing or of another dtype.
        PropertyError: If a property is unknown, or none is given.
        ImageError: If the source cannot be listed; and under `on_error="raise"`.
        OSError: If the output cannot be written, such as on a full disk.

    Examples:
        >>> im.run("photos", "images-1", properties="geometry").rows
        12
        >>> im.run("photos", "images-1", properties="geometry").new  # opens no image
        0
        >>> pl.scan_parquet("images-1").filter(pl.col("path").str.contains("dusk")).select(
        ...     pl.col("path_imgmeta").struct.field("width")).collect().item()
        320
    """
    chosen = retry if isinstance(retry, bool) else editing.require_kinds(retry)
    job = _prepare(source, output, locator, properties, into=into, options=options)
    with Stopping() as stopping:

        def pulse() -> None:
            stopping.check()
            job.beat()

        return job.run(
            retry=chosen,
            refresh=refresh,
            overwrite=overwrite,
            monitor=Monitor(options.get("progress"), pulse),
            stopping=stopping,
        )


@takes(ExtractOptions)
def estimate(
    source: Frame | str | os.PathLike[str],
    output: str | os.PathLike[str] | None,
    locator: str | None = None,
    properties: PropertiesLike = "standard",
    *,
    into: str | None = None,
    overwrite: bool = False,
    **options: Unpack[ExtractOptions],
) -> JobEstimate:
    """Say what `run` would do for rows that the output lacks, from a sample of their images.

    Args:
        source: As `run` takes it.
        output: As `run` takes it, or None for none; nothing is written.
        locator: As `run` takes it.
        properties: As `run` takes them.
        into: As `run` takes it.
        overwrite: As `run` takes it.
        options: See `ExtractOptions`.

    Raises:
        JobError: As `run`, except that another run may be writing.
    """
    job = _prepare(source, output, locator, properties, into=into, options=options)
    return job.estimate(anew=overwrite or output is None)


def _prepare(
    source: Frame | str | os.PathLike[str],
    output: str | os.PathLike[str] | None,
    locator: str | None,
    properties: PropertiesLike,
    *,
    into: str | None,
    options: ExtractOptions,
) -> _Job:
    """Check the arguments of a job."""
    reading = Reading.of(ExtractOptions, options)
    wanted = reading.catalogue.resolve(properties)
    destination = "" if output is None else os.fspath(output)
    _require_name(destination)
    if not isinstance(source, pl.DataFrame | pl.LazyFrame):
        _require_other(os.fspath(source), destination)
    opened = sources.open_source(source, locator, reading.storage)
    return _Job(opened, destination, wanted=wanted, into=into, reading=reading, options=options)


def _require_name(output: str) -> None:
    """Check the name of an output.

    Raises:
        JobError: If it is not text, or that of a file which a job does not write.
    """
    try:
        output.encode()
    except UnicodeEncodeError:
        msg = f"`output` must be a name that is text, got {output!r}"
        raise JobError(msg) from None
    if not outputs.is_file(output) and output.lower().endswith(_OTHER_FILES):
        msg = (
            f"`output` must be a folder or a file that ends in .parquet, got {output!r}"
            "\n\nHint: on the command line, files .csv, .ndjson, .jsonl and .arrow are made at once"
        )
        raise JobError(msg)


def _require_other(source: str, output: str) -> None:
    """Check that a job does not write what it reads.

    Raises:
        JobError: If it would.
    """
    if output and (source.rstrip("/") == output.rstrip("/") or _is_same(source, output)):
        msg = (
            f"`output` must not be the source, got {output!r} for both\n\nHint: a table is changed"
            " in place by `imgmeta add` and the like"
        )
        raise JobError(msg)


def _is_same(source: str, output: str) -> bool:
    try:
        return Path(source).samefile(output)
    except (OSError, ValueError):  # one is not there, or not a path
        return False


class _Job:
    """One run.

    Args:
        source: The rows.
        output: The folder or file.
        wanted: The properties that its rows shall have at least.
        into: The name of the struct column; None for the usual one.
        reading: The checked options.
        options: The options of the verbs.
    """

    def __init__(
        self,
        source: JobSource,
        output: str,
        *,
        wanted: Sequence[Property],
        into: str | None,
        reading: Reading,
        options: ExtractOptions,
    ) -> None:
        self.source = source
        self.output = output
        self.wanted = wanted
        self.column = into or source.locator + structs.SUFFIX
        self.catalogue = reading.catalogue
        self.reading = reading
        self.storage = reading.storage.options
        self.options = options
        self.source_schema = source.frame.collect_schema()
        self.schema = self._extract(pl.DataFrame(schema=self.source_schema)).schema
        self.manifest = Manifest.of(self.source_schema, source.locator, self.column)
        self.columns = list(self.manifest.source)
        self.known = KnownRows(pl.Series(dtype=pl.UInt64), self.columns)
        self.new = self.changed = 0
        self.published = False
        self.pace = make_pace()
        self.saved = time.monotonic()

    def run(
        self,
        *,
        retry: bool | Sequence[str],
        refresh: bool,
        overwrite: bool,
        monitor: Monitor,
        stopping: Stopping,
    ) -> JobSummary:
        """Do what is missing, and say what was done."""
        self.monitor = monitor
        self.folder = folder = outputs.open_folder(self.output, self.reading.storage)
        started = time.monotonic()
        folder.claim()
        try:
            with observed_by(monitor):
                self._open(overwrite=overwrite)
                self._save()
                outdated = self._outdated(retry=retry, refresh=refresh)
                self._find_known()
                monitor.start(self._count(outdated))
                self._revise(outdated, retry=retry, refresh=refresh)
                with running_job():
                    self._extract_new()
                monitor.finish()
            summary = self._summary(time.monotonic() - started)
            self.manifest.summary = asdict(summary)
            self._save(ended=True)
            if outputs.is_file(self.output):
                self._publish()
        except BaseException:
            stopping.drain()
            with suppress(Exception):
                self._save(ended=True)
            raise
        else:
            LOGGER.info("%s", summary.to_json())
            return summary
        finally:
            monitor.close()
            folder.release()

    def estimate(self, *, anew: bool) -> JobEstimate:
        """Say what a run would do, without writing anything."""
        if not anew:
            folder = outputs.open_folder(self.output, self.reading.storage)
            record, urls = folder.read(), [folder.url(name) for name in folder.names()]
            if record is None and outputs.is_file(self.output) and folder.exists(self.output):
                record, urls = outputs.read_manifest(self.output, self.storage), [self.output]
            if record is not None:
                record.require_same(self.manifest)
                self._know(urls)
        rows, samples = 0, []
        with closing(RowReader(self.source.frame, self.source.locator, lambda: None)) as reader:
            for batch in reader:
                new = self.known.without(batch)
                rows += len(new)
                samples.append(new.sample(min(len(new), _SAMPLED_OF_BATCH), seed=0))
        sampled = pl.concat(samples) if samples else pl.DataFrame(schema=self.source_schema)
        sampled = sampled.sample(min(len(sampled), _SAMPLED), seed=0)
        started = time.monotonic()
        done = self._extract(sampled)
        seconds = (time.monotonic() - started) / max(1, len(done))
        size = marker.parse(done[self.column].struct.field(structs.MARKER))["bytes"].mean()
        read = round(rows * size) if isinstance(size, float) else None
        return JobEstimate(rows, read, rows * seconds, len(done))

    def _open(self, *, overwrite: bool) -> None:
        """Read what an earlier run has recorded, and compare it with what is there."""
        found = self.folder.names()
        if overwrite:
            for name in found:
                self.folder.delete(name)
            return
        record = self.folder.read()
        if record is None and outputs.is_file(self.output):
            record = self._take_in(found)
            found = self.folder.names()
        if record is None:
            if found:
                msg = (
                    f"{self.folder.where} holds {found[0]}, but no record of the job that made it"
                    "\n\nHint: choose another output, or replace this one by `overwrite=True`"
                    " (on the command line `--overwrite`)"
                )
                raise JobError(msg)
            return
        record.require_same(self.manifest)
        self.manifest = record
        self.manifest.parts = {
            name: part for name, part in record.parts.items() if name in set(found)
        }
        for name in found:
            if name not in self.manifest.parts:  # the run was killed before it could record it
                self._require_ours(name)
                self.manifest.parts[name] = Part.of(self._read(name), self.column, {})
        self._widen()

    def _take_in(self, leftovers: Iterable[str]) -> Manifest | None:
        """Take the parts of a job from the file that they were made into."""
        if not self.folder.exists(self.output):
            return None
        record = outputs.read_manifest(self.output, self.storage)
        if record is None:
            msg = (
                f"the output {self.output!r} exists, and no job has made it\n\nHint: choose"
                " another name, or replace it by `overwrite=True` (on the command line"
                " `--overwrite`)"
            )
            raise JobError(msg)
        for name in leftovers:  # of a run that was killed when it had made the file
            self.folder.delete(name)
        (whole,) = record.parts
        self.folder.take_in(self.output, whole)
        self.published = True
        return record

    def _require_ours(self, name: str) -> None:
        if not outputs.is_of(self.folder.url(name), self.manifest, self.storage):
            msg = (
                f"{self.folder.url(name)} is no part of the job that made the other files\n\n"
                "Hint: remove it, or choose another output"
            )
            raise JobError(msg)

    def _widen(self) -> None:
        """Keep properties that the output has, also where they are not asked for now."""
        names = list(self.manifest.parts)
        if not names:
            return
        before = pl.scan_parquet(self.folder.url(names[0]), **self._to_storage()).collect_schema()
        if self.column not in before:  # its last property was removed
            return
        wide = {**self.source_schema, self.column: before[self.column]}
        self.schema = self._extract(pl.DataFrame(schema=wide)).schema

    @property
    def _versions(self) -> dict[str, int]:
        """The version of each property that a complete part has."""
        known = {**self.catalogue, **{one.name: one for one in self.wanted}}
        struct = structs.find(self.schema)[self.column]
        return {name: known[name].version if name in known else 0 for name in struct.properties}

    def _save(self, *, ended: bool = False) -> None:
        self.manifest.owner = None if ended else owner_now()
        self.folder.write(self.manifest, self.schema)
        self.saved = time.monotonic()

    def _outdated(self, *, retry: bool | Sequence[str], refresh: bool) -> list[str]:
        """Return the parts that must be looked into."""
        kinds = set() if isinstance(retry, bool) else set(retry)
        return [
            name
            for name, part in self.manifest.parts.items()
            if part.properties != self._versions
            or refresh
            or (part.failed if retry is True else kinds & part.failures.keys())
        ]

    def _find_known(self) -> None:
        """Find out which rows the output has."""
        self._know([self.folder.url(name) for name in self.manifest.parts])

    def _know(self, urls: Sequence[str]) -> None:
        if urls:
            parts = pl.scan_parquet(
                list(urls), missing_columns="insert", extra_columns="ignore", **self._to_storage()
            )
            schema = self.source_schema
            found = parts.select(self.columns).select(hashes(self.columns, schema)).collect()
            self.known = KnownRows(found.to_series(), self.columns)

    def _count(self, outdated: Iterable[str]) -> int | None:
        """Return how many rows there are to do, if that can be known."""
        if self.source.rows is None:
            return None
        new = max(0, self.source.rows - len(self.known))
        return new + sum(self.manifest.parts[name].rows for name in outdated)

    def _revise(
        self, outdated: Sequence[str], *, retry: bool | Sequence[str], refresh: bool
    ) -> None:
        """Complete parts of earlier runs, retry and refresh their rows."""
        parts = self.manifest.parts
        if not outdated:
            return
        before = {name: parts.pop(name) for name in outdated}
        self._save()  # a part whose record is older than itself would hide its new failures
        try:
            for name in outdated:
                old = self._read(name)
                new = self._extract(old)
                if retry:
                    kinds: Any = None if retry is True else retry
                    new = editing.retry(new, kinds=kinds, **self._editing())
                if refresh:
                    new = editing.refresh(new, **self._editing())
                part = Part.of(new, self.column, self._versions)
                if not new.equals(old):
                    self._write(new, name)
                    self.changed += _differing(old, new, self.column)
                parts[name] = part
                before.pop(name)
                self.monitor.add(part.rows, part.failures)
                self._save()
        finally:
            parts |= before

    def _extract_new(self) -> None:
        """Make parts of the rows that the output lacks."""
        part = UnfinishedPart()
        try:
            for batch in self._batches():
                started = time.monotonic()
                done = self._extract(batch)
                self.pace.learn(len(done), time.monotonic() - started)
                part.add(done)
                self.monitor.add(len(done), count_failures(done[self.column]))
                if part.is_large:
                    self._finish(part)
        finally:
            self._finish(part)  # what is done is kept, whatever comes

    def _batches(self) -> Iterator[pl.DataFrame]:
        """Yield the rows that the output lacks, in batches of equal cost."""
        waiting = pl.DataFrame(schema=self.source_schema)
        rows = RowReader(self.source.frame, self.source.locator, self.monitor.pulse)
        with closing(rows):
            for batch in rows:
                self.monitor.pulse()
                waiting = waiting.vstack(self.known.without(batch))
                while len(waiting) >= (size := self.pace.rows(waiting)):
                    yield waiting.head(size)
                    waiting = waiting.slice(size)
        while len(waiting):
            size = self.pace.rows(waiting)
            yield waiting.head(size)
            waiting = waiting.slice(size)

    def _finish(self, part: UnfinishedPart) -> None:
        """Write a part, and record it."""
        if not part.rows:
            return
        frame, name = part.take(), self.manifest.next_part()
        self._write(frame, name)
        self.manifest.parts[name] = Part.of(frame, self.column, self._versions)
        self.new += len(frame)
        self._save()

    def _extract(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Make sure that rows have what a part has."""
        if hasattr(self, "schema") and self.column not in frame.columns:
            struct = self.schema[self.column]
            if set(structs.find(self.schema)[self.column].properties) != {
                one.name for one in self.wanted
            }:
                frame = frame.with_columns(pl.lit(None, struct).alias(self.column))
        done: pl.DataFrame = extraction.extract(
            frame, self.source.locator, self.wanted, into=self.column, **self.options
        )
        return done

    def _editing(self) -> dict[str, Any]:
        return {"column": self.column, "locator": self.source.locator, **self.options}

    def _read(self, name: str) -> pl.DataFrame:
        return pl.read_parquet(self.folder.url(name), **self._to_storage())

    def _write(self, frame: pl.DataFrame, name: str) -> None:
        export.write_parquet(
            frame,
            self.folder.url(name),
            catalogue=self.catalogue,
            metadata=self.manifest.part_metadata(frame),
            **self._to_storage(),
        )

    def _to_storage(self) -> dict[str, Any]:
        """Return the options with which Polars reaches the output."""
        return {"storage_options": dict(self.storage)} if self.storage else {}

    def _publish(self) -> None:
        """Make one file of the parts, unless it is there."""
        summary = self.manifest.summary or {}
        if not (self.published and not self.new and not self.changed):
            whole = Part(summary["rows"], summary["failures"], self._versions)
            record = replace(self.manifest, parts={FIRST_PART: whole}, owner=None)
            parts = [self.folder.url(name) for name in self.manifest.parts]
            with self.folder.writing(self.output) as file:
                export.write_frames(
                    self._parts(),
                    file,
                    catalogue=self.catalogue,
                    metadata=record.whole_metadata(parts, **self._to_storage()),
                )
        self.folder.remove()

    def _parts(self) -> Iterator[pl.DataFrame]:
        """Yield the parts in order; Python is in charge between them."""
        yield pl.DataFrame(schema=self.schema)
        for name in self.manifest.parts:
            self.monitor.pulse()
            yield self._read(name).select(self.schema.names())

    def beat(self) -> None:
        """Let other runs know that this one is alive, from time to time."""
        if time.monotonic() > self.saved + _HEARTBEAT_SECONDS:
            self._save()

    def _summary(self, seconds: float) -> JobSummary:
        failures: Counter[str] = Counter()
        for part in self.manifest.parts.values():
            failures.update(part.failures)
        rows = sum(part.rows for part in self.manifest.parts.values())
        kinds = dict(failures.most_common())
        gone = len(self.known)
        return JobSummary(self.output, rows, kinds, self.new, self.changed, gone, seconds)


def _differing(old: pl.DataFrame, new: pl.DataFrame, column: str) -> int:
    """Count the rows whose struct has changed."""
    if old.schema[column] != new.schema[column]:
        return len(new)
    return int(old[column].ne_missing(new[column]).sum())
