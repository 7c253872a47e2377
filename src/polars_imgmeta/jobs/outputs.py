"""Where the parts of a job go: a local folder or a prefix in cloud storage.

A file appears under its final name only when it is whole. One run at a time writes.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

import polars as pl

from polars_imgmeta.exceptions import InvalidLocatorError, JobError
from polars_imgmeta.io.access import STORE_SCHEMES
from polars_imgmeta.io.locators import local_path, scheme_of
from polars_imgmeta.io.remote import Storage, require_remote
from polars_imgmeta.io.replacement import SUFFIX, replacing, sync_folder
from polars_imgmeta.jobs import ownership
from polars_imgmeta.jobs.manifest import FILE, KEY, Manifest, is_part
from polars_imgmeta.jobs.ownership import FolderLock

_REQUEST_SECONDS: Final = 60.0
_RETRIES: Final = 5
_PARTS: Final = ".parts"
_PARQUET: Final = ".parquet"


class Folder(Protocol):
    """A folder of parts, and the record of the job."""

    where: str

    def claim(self) -> None:
        """Make the folder, and be the only one that writes to it.

        Raises:
            JobError: If another run is writing, or other files are there.
        """

    def read(self) -> Manifest | None:
        """Return the record, or None if there is none."""

    def write(self, manifest: Manifest, schema: pl.Schema) -> None:
        """Replace the record.

        Raises:
            JobError: If another run has taken over.
        """

    def names(self) -> list[str]:
        """Return the names of all parts, also unrecorded ones, in order."""

    def url(self, name: str) -> str:
        """Return where a file is, for Polars."""

    def delete(self, name: str) -> None:
        """Delete a file."""

    def exists(self, file: str) -> bool:
        """Return whether the file that the output is in the end is there."""

    def take_in(self, file: str, name: str) -> None:
        """Make a part of the file that the output was in the end."""

    def writing(self, file: str) -> AbstractContextManager[IO[bytes]]:
        """Open the file that the output is in the end, which appears once it is whole."""

    def release(self) -> None:
        """Let others write."""

    def remove(self) -> None:
        """Delete the folder, with all that the job has put there."""


def is_file(output: str) -> bool:
    """Return whether an output is one file, by its name."""
    return output.lower().endswith(_PARQUET)


def open_folder(output: str, storage: Storage) -> Folder:
    """Return the folder for the parts of an output, which may be one file in the end."""
    where = output + _PARTS if is_file(output) else output.rstrip("/") or output
    scheme = scheme_of(where)
    if scheme in STORE_SCHEMES:
        require_remote(scheme)
        return CloudFolder(where, storage)
    path = Path(local_path(where))
    if path.exists() and not path.is_dir():
        msg = f"`output` must be a folder, or a file that ends in .parquet, got the file {where!r}"
        raise InvalidLocatorError(msg)
    return LocalFolder(path)


def parts_url(output: str) -> str:
    """Return what Polars scans to read the parts of a folder."""
    return f"{output.rstrip('/')}/part-*{_PARQUET}"


class LocalFolder:
    """A folder of the file system, locked while a run writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)
        self._lock = FolderLock(path)

    def claim(self) -> None:
        """See `Folder`."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire():
            # Of the other run, as the lock itself does not say.
            owner = (self.read() or Manifest("", "", {})).owner
            ownership.refuse(self.where, owner)
        for entry in self.path.iterdir():
            if entry.name.endswith(SUFFIX) and entry.name.startswith("."):
                entry.unlink(missing_ok=True)  # of a run that was killed
        _require_ours(self.where, (entry.name for entry in self.path.iterdir()))

    def read(self) -> Manifest | None:
        """See `Folder`."""
        return read_manifest(self.url(FILE), {}) if (self.path / FILE).exists() else None

    def write(self, manifest: Manifest, schema: pl.Schema) -> None:
        """See `Folder`."""
        with replacing(self.path / FILE) as unfinished:
            unfinished.write_bytes(_encoded(manifest, schema))

    def names(self) -> list[str]:
        """See `Folder`."""
        if not self.path.is_dir():
            return []
        return sorted(entry.name for entry in self.path.iterdir() if is_part(entry.name))

    def url(self, name: str) -> str:
        """See `Folder`."""
        return str(self.path / name)

    def delete(self, name: str) -> None:
        """See `Folder`."""
        (self.path / name).unlink(missing_ok=True)
        sync_folder(self.path)

    def exists(self, file: str) -> bool:
        """See `Folder`."""
        return Path(local_path(file)).exists()

    def take_in(self, file: str, name: str) -> None:
        """See `Folder`."""
        try:
            os.link(local_path(file), self.path / name)
        except OSError:  # a file system without links
            with replacing(self.path / name) as unfinished:
                shutil.copyfile(local_path(file), unfinished)

    @contextmanager
    def writing(self, file: str) -> Iterator[IO[bytes]]:
        """See `Folder`."""
        final = Path(os.path.realpath(local_path(file)))
        for left in final.parent.glob(f".{escape(final.name)}.*{SUFFIX}"):
            left.unlink(missing_ok=True)  # of a run that was killed here
        with replacing(final) as unfinished, unfinished.open("wb") as written:
            yield written

    def release(self) -> None:
        """See `Folder`."""
        self._lock.release()

    def remove(self) -> None:
        """See `Folder`."""
        self.delete(FILE)  # what has no record, beside a file that has one, is left over
        shutil.rmtree(self.path, ignore_errors=True)


class CloudFolder:
    """A prefix in cloud storage. The record says who writes, and is replaced conditionally."""

    def __init__(self, where: str, storage: Storage) -> None:
        from polars_imgmeta.io.cloud.buckets import make_store, parse_location  # noqa: PLC0415 - extra
        from polars_imgmeta.io.cloud.options import parse_options  # noqa: PLC0415 - as above

        location = parse_location(where)
        if not location.key:
            msg = f"`output` must name a folder in the bucket, got {where!r}"
            raise InvalidLocatorError(msg)
        options = parse_options(storage.options)[location.cloud]
        self.where = where
        self._store, _ = make_store(location, options, _REQUEST_SECONDS, max_retries=_RETRIES)
        self._prefix = location.key.rstrip("/")
        self._options = dict(storage.options)
        self._etag: str | None = None

    def claim(self) -> None:
        """See `Folder`."""
        _require_ours(self.where, self._list())
        record = self.read()
        if record is not None and ownership.is_alive(record.owner):
            ownership.refuse(self.where, record.owner)
        # The first write fails if another run makes it at the same time.

    def read(self) -> Manifest | None:
        """See `Folder`."""
        import obstore  # noqa: PLC0415 - an extra

        try:
            found = obstore.get(self._store, self._key(FILE))
        except FileNotFoundError:
            self._etag = None
            return None
        data = bytes(found.bytes())
        self._etag = found.meta["e_tag"]
        return Manifest.read(pl.read_parquet_metadata(io.BytesIO(data)))

    def write(self, manifest: Manifest, schema: pl.Schema) -> None:
        """See `Folder`."""
        import obstore  # noqa: PLC0415 - an extra
        from obstore.exceptions import (  # noqa: PLC0415 - an extra
            AlreadyExistsError,
            NotSupportedError,
            PreconditionError,
        )

        data, key = _encoded(manifest, schema), self._key(FILE)
        mode: Any = {"e_tag": self._etag} if self._etag else "create"
        try:
            try:
                done = obstore.put(self._store, key, data, mode=mode)
            except (NotImplementedError, NotSupportedError):  # a store without conditions
                done = obstore.put(self._store, key, data)
        except (AlreadyExistsError, PreconditionError):
            record = self.read()
            ownership.refuse(self.where, record.owner if record else None)
        self._etag = done["e_tag"]

    def names(self) -> list[str]:
        """See `Folder`."""
        return sorted(name for name in self._list() if is_part(name))

    def url(self, name: str) -> str:
        """See `Folder`."""
        return f"{self.where}/{name}"

    def delete(self, name: str) -> None:
        """See `Folder`."""
        import obstore  # noqa: PLC0415 - an extra

        with suppress(FileNotFoundError):
            obstore.delete(self._store, self._key(name))

    def exists(self, file: str) -> bool:
        """See `Folder`."""
        from polars_imgmeta.io.cloud.objects import probe_object  # noqa: PLC0415 - an extra

        return probe_object(self._store, parse_key(file)) is not None

    def take_in(self, file: str, name: str) -> None:
        """See `Folder`."""
        import obstore  # noqa: PLC0415 - an extra

        obstore.copy(self._store, parse_key(file), self._key(name))

    @contextmanager
    def writing(self, file: str) -> Iterator[IO[bytes]]:
        """See `Folder`."""
        import obstore  # noqa: PLC0415 - an extra

        # Closing completes the upload; without it nothing appears.
        writer = obstore.open_writer(self._store, parse_key(file))
        yield cast("IO[bytes]", _Upload(writer))
        writer.close()

    def release(self) -> None:
        """See `Folder`."""

    def remove(self) -> None:
        """See `Folder`."""
        self.delete(FILE)  # first, as in a local folder
        for name in self._list():
            self.delete(name)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _list(self) -> list[str]:
        import obstore  # noqa: PLC0415 - an extra

        return [
            meta["path"].removeprefix(self._prefix + "/")
            for page in obstore.list(self._store, self._prefix)
            for meta in page
        ]


class _Upload(io.RawIOBase):
    """The writer of obstore as a file, for pyarrow; closing it does not complete the upload."""

    def __init__(self, writer: Any) -> None:  # noqa: ANN401 - of an extra
        self._writer = writer

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 - a buffer
        return int(self._writer.write(bytes(data)))


def parse_key(url: str) -> str:
    """Return the name of an object in its bucket."""
    from polars_imgmeta.io.cloud.buckets import parse_location  # noqa: PLC0415 - an extra

    return parse_location(url).key


def read_manifest(url: str, options: Mapping[str, str]) -> Manifest | None:
    """Return the record that a Parquet file holds, or None.

    Raises:
        JobError: If a later release has written it.
    """
    return Manifest.read(pl.read_parquet_metadata(url, storage_options=dict(options) or None))


def is_of(url: str, manifest: Manifest, options: Mapping[str, str]) -> bool:
    """Return whether a file is a part of a job."""
    metadata = pl.read_parquet_metadata(url, storage_options=dict(options) or None)
    return metadata.get(f"{KEY}.id") == manifest.job


def _encoded(manifest: Manifest, schema: pl.Schema) -> bytes:
    data = io.BytesIO()
    pl.DataFrame(schema=schema).write_parquet(data, metadata=manifest.metadata())
    return data.getvalue()


def _require_ours(where: str, names: Iterable[str]) -> None:
    """Check that nothing else is in a folder.

    Raises:
        JobError: If there is.
    """
    others = sorted(name for name in names if name != FILE and not is_part(name))
    if others:
        msg = (
            f"the output must be a new or empty folder, or one of an earlier run, got {where!r},"
            f" which holds {os.fspath(others[0])!r}"
            f"{f' and {len(others) - 1} more' if others[1:] else ''}"
            "\n\nHint: choose another folder, or remove what is there"
        )
        raise JobError(msg)
