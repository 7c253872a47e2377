"""The verb that lists images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeAlias, Unpack

import polars as pl
from polars.io.plugins import register_io_source

from polars_imgmeta.io import listing
from polars_imgmeta.io.remote import Storage
from polars_imgmeta.measuring.options import Reading, StorageOptions, takes

PathLike: TypeAlias = str | os.PathLike[str]

_SCHEMA = {
    "path": pl.String(),
    "file_size": pl.Int64(),
    "modified": pl.Datetime("us", "UTC"),
    "etag": pl.String(),
}
# Small ones first, whatever Polars suggests: what follows may read all images of a batch before
# it finds that it needed only a few.
_FIRST_ROWS, _MOST_ROWS = 64, 1_024
# Polars takes a dozen batches ahead.
_LISTED_SLOWLY = 1_000


@takes(StorageOptions)
def scan_images(
    source: PathLike | Iterable[PathLike], *more: PathLike, **options: Unpack[StorageOptions]
) -> pl.LazyFrame:
    """List the images of folders, buckets and globs, lazily.

    Args:
        source: One or several. Each is a folder, listed recursively and filtered by the
            suffixes of images, in either case; or a pattern with `*`, `?`, `[...]` or `**`,
            which selects files of any suffix; or a file. It may begin with `~` or `file://`,
            or be a prefix or pattern of cloud storage, such as `s3://bucket/folder`.
        more: Further ones.
        options: See `StorageOptions`.

    Returns:
        A frame of `path` (relative if `source` is), `file_size` in bytes, `modified` in
        UTC, and `etag` (null for files), one source after the other, each in ascending order
        of names. They are listed when the frame is computed, and only as far as `head`
        requires.

    Raises:
        ImageError: If a folder does not exist or may not be listed. For cloud storage
            and for folders below, it is raised when the frame is computed.
        ValueError: If a storage option is unknown.
        TypeError: If a source is no path.
        ImportError: If a source is in cloud storage and the extra `remote` is not
            installed.

    Examples:
        >>> im.scan_images("photos").select("path").head(2).collect()
        shape: (2, 1)
        ┌───────────────────┐
        │ path              │
        │ ---               │
        │ str               │
        ╞═══════════════════╡
        │ photos/blobs.png  │
        │ photos/carpet.png │
        └───────────────────┘
    """
    storage = Reading.of(StorageOptions, options).storage
    sources = tuple(map(_source, (*_listed(source), *more)))
    for one in sources:
        listing.require_listable(one, storage)
    return register_io_source(_Listing(sources, storage), schema=_SCHEMA)


def _listed(source: PathLike | Iterable[PathLike]) -> Iterable[PathLike]:
    if isinstance(source, pl.DataFrame | pl.LazyFrame):
        msg = (
            f"`source` must be a path or URL, or several, got a {type(source).__name__}"
            "\n\nHint: `extract` takes a frame that has a column of paths"
        )
        raise TypeError(msg)
    return source if isinstance(source, Iterable) and not isinstance(source, str) else (source,)


def _source(path: object) -> str:
    if not isinstance(path, str | os.PathLike):
        msg = f"`source` must be a path or URL, or several, got {path!r}"
        raise TypeError(msg)
    return os.fsdecode(path)


@dataclass(frozen=True, slots=True)
class _Listing:
    """The source of the frame; Polars calls it."""

    sources: tuple[str, ...]
    storage: Storage

    def __call__(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        del batch_size
        listings = (listing.list_images(one, self.storage) for one in self.sources)
        images = islice(chain.from_iterable(listings), n_rows)
        size, listed = _FIRST_ROWS, 0
        while rows := list(islice(images, size)):
            listed += len(rows)
            if listed > _LISTED_SLOWLY:
                size = min(2 * size, _MOST_ROWS)
            found = [(path, *facts) for path, facts in rows]
            batch = pl.DataFrame(found, schema=_SCHEMA, orient="row")
            if with_columns is not None:
                batch = batch.select(with_columns)
            yield batch if predicate is None else batch.filter(predicate)
