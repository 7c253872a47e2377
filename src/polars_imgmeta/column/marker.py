"""The marker: a text in each extracted row that says where its values come from.

    path@3f2a9c10:48213 brightness=1! sharpness=2

`path` is the locator column. `3f2a9c10` is a digest of the image's name, without its folder:
a row whose locator names another image now is recognised as stale, and a moved folder is not.
`48213` is the size in bytes of the image that was read, where it could be opened. Properties
follow with their versions: those whose version is not 1, and those whose value is null although
they were computed. `!` marks the ones that failed, for the reason in the field `error`.

The text depends on nothing else: not on the time, the machine, or how a row came about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote
from zlib import crc32

import polars as pl

_ENTRY: Final = r"(?: [^ =@]+=\d+!?)"
_PATTERN: Final = (
    rf"(?s)^(?P<locator>.*)@(?P<digest>[0-9a-f]{{8}})(?P<bytes>:\d+)?(?P<entries>{_ENTRY}*)$"
)
# The parts of an image that stand for all of it, where it is in the table.
_SAMPLED_BYTES: Final = 512


def digests(parts: pl.DataFrame) -> pl.Series:
    """Return a digest of what names the image of each row, as 8 hexadecimal digits.

    Args:
        parts: As `deduplication.parts_of` returns them.

    Returns:
        Of a path or URL, the CRC-32 of its last component, in UTF-8 and without query and
        fragment of a URL; of bytes, that of their length and of the first and last 512 of
        them. Null where there is no image.

    Examples:
        >>> digests(pl.DataFrame({"path": ["photos/a.jpg", "s3://bucket/a.jpg", None]})).to_list()
        ['9b34b216', '9b34b216', None]
    """
    # In Python, as a plan has many small batches, in which calls of Polars cost more.
    found: list[str | None] = [None] * len(parts)
    if "path" in parts.columns:
        paths = parts["path"].to_list()
        found = [None if one is None else f"{crc32(_base_name(one)):08x}" for one in paths]
    if "bytes" in parts.columns:
        data = pl.col("bytes").bin
        sampled = parts.select(
            data.size(), head=data.head(_SAMPLED_BYTES), tail=data.tail(_SAMPLED_BYTES)
        )
        for row, (size, head, tail) in enumerate(sampled.iter_rows()):
            if size is not None:
                found[row] = f"{crc32(tail, crc32(head, size)):08x}"
    return pl.Series("digest", found, pl.String)


def _base_name(locator: str) -> bytes:
    path = _path(locator) if ":" in locator else locator
    return path.rstrip("/").rpartition("/")[2].encode()


def _path(locator: str) -> str:
    """Return what names the image, unquoted in a file URI, without the query of a URL."""
    scheme = locator.partition(":")[0].lower()
    if scheme == "file":
        return unquote(locator)
    return re.split("[?#]", locator, maxsplit=1)[0] if scheme in {"http", "https"} else locator


def parse(markers: pl.Series) -> pl.DataFrame:
    """Split markers into their parts.

    Returns:
        For each row `locator`, `digest`, `bytes` (Int64, null where unknown) and `entries`;
        all null where there is no marker, or none that can be read.
    """
    groups = markers.cast(pl.String).str.extract_groups(_PATTERN)
    return groups.struct.unnest().with_columns(
        pl.col("bytes").str.slice(1).cast(pl.Int64, strict=False)
    )


def compose(
    locator: str, digest: pl.Series, size: pl.Series, entries: pl.Series | None = None
) -> pl.Series:
    """Put markers together.

    Args:
        locator: The name of the locator column.
        digest: As `digests` returns them.
        size: The number of bytes of the image of each row, or null.
        entries: As `in_order` returns them; None where no row has any.

    Returns:
        The markers; null where there is no digest.
    """
    texts = [
        None if name is None else f"{locator}@{name}" + ("" if count is None else f":{count}")
        for name, count in zip(digest.to_list(), size.to_list(), strict=True)
    ]
    markers = pl.Series(texts, dtype=pl.String)
    return markers if entries is None else markers + entries


def entries_in(text: pl.Expr) -> pl.Expr:
    """Return the entries of whole markers."""
    return text.str.extract(rf"({_ENTRY}*)$", 1)


def version_in(entries: pl.Expr, name: str) -> pl.Expr:
    """Return the version that entries list for a property, or null."""
    return entry_in(entries, name).str.strip_suffix("!").cast(pl.Int32)


def entry_in(entries: pl.Expr, name: str) -> pl.Expr:
    """Return what entries say of a property, its version and perhaps `!`, or null."""
    return entries.str.extract(rf" {re.escape(name)}=(\d{{1,9}}!?)(?: |$)", 1)


def count_failed(entries: pl.Expr) -> pl.Expr:
    """Return how many properties failed, as entries say."""
    return entries.str.count_matches("!", literal=True)


def entries_of(listed: Mapping[str, pl.Expr]) -> pl.Expr:
    """Return entries from what to list for each property; null for none."""
    if not listed:
        return pl.lit("")
    return pl.concat_str(
        pl.when(entry.is_null()).then(pl.lit("")).otherwise(pl.format(f" {name}={{}}", entry))
        for name, entry in listed.items()
    )


def in_order(entries: pl.Expr) -> pl.Expr:
    """Sort entries by name, so that equal rows have equal markers."""
    ordered = entries.str.strip_chars().str.split(" ").list.sort().list.join(" ")
    return pl.when(entries == "").then(entries).otherwise(" " + ordered)


def without_failed(entries: pl.Expr) -> pl.Expr:
    """Drop the entries of properties that failed."""
    return entries.str.replace_all(r" [^ =@]+=\d+!", "")


def without_entries(entries: pl.Expr, names: Iterable[str]) -> pl.Expr:
    """Drop entries of properties.

    Args:
        entries: Entries, or whole markers.
        names: The properties.
    """
    for name in names:
        pattern = rf"( {re.escape(name)}=\d+!?)({_ENTRY}*)$"
        entries = entries.str.replace(pattern, "$2")
    return entries
