"""Late materialization: locators are gathered for the rows that are shown, and for no others.

A locator column may hold the images themselves. A chart or report carries a small key for
each row instead, chooses rows, and looks the keys up at the end.

Of a lazy frame that takes a second run of its plan, of the locator column alone, from which
Polars removes an extraction. Where a filter or a sort needs the extracted values, it cannot, and
the second run would read every image again. There the first run writes all it collects into a
temporary file, in which locators are looked up, unless they may be the images themselves.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from polars_imgmeta.display.formatting import base_name, locator_text
from polars_imgmeta.io.redaction import redact
from polars_imgmeta.typing import Frame

# Of a function of Python, which an extraction is, in the description of a plan.
_FUNCTION: Final = "python_udf"
# Names that no column of the user has.
_KEY: Final = "\0key of the locator"
_LOCATOR: Final = "\0located"
_IMAGE_PARTS: Final = {"bytes": pl.Binary(), "path": pl.String()}


class LocatorLookup:
    """The locator column of a frame, by keys.

    The key of a row is its number in an eager frame. A lazy one may return its rows in
    another order when it is collected again: there, the key is the 64-bit hash of the locator.

    Attributes:
        column: The locator column.
        image: An expression that is equal for rows of equal images, and null without one.
        key: The expression to carry along for each row.
        spills: Whether `collect` writes a file.
    """

    def __init__(self, frame: Frame, column: str) -> None:
        self.column = column
        self._frame = frame
        dtype = frame.collect_schema()[column]
        fields = dict(dtype) if isinstance(dtype, pl.Struct) else {}
        of_struct = pl.col(column).struct.field
        parts = [
            of_struct(name).cast(part) for name, part in _IMAGE_PARTS.items() if name in fields
        ]
        if not parts:
            binary = isinstance(dtype, pl.Binary)
            parts = [pl.col(column) if binary else pl.col(column).cast(pl.String)]
        # A seed each, so that a path is never equal to an image.
        hashes = [part.hash(seed) for seed, part in enumerate(parts)]
        self.image = pl.coalesce(
            pl.when(part.is_not_null()).then(one) for part, one in zip(parts, hashes, strict=True)
        )
        if isinstance(frame, pl.DataFrame):
            self.key = pl.int_range(pl.len(), dtype=pl.UInt32)
        else:
            # Of both parts: equal images may have different paths, which are shown.
            key = hashes[0] if len(hashes) == 1 else hashes[0].xor(hashes[1])
            self.key = pl.when(self.image.is_not_null()).then(key)
        self._file: Path | None = None
        self.spills = (
            isinstance(frame, pl.LazyFrame)
            and not _holds_images(dtype)
            and _FUNCTION in frame.select(column).explain()
        )

    def collect(self, *columns: pl.Expr) -> pl.DataFrame:
        """Collect columns of the frame, such that `find` can look up locators afterwards."""
        plan = self._frame.lazy()
        if not self.spills:
            return plan.select(columns).collect(engine="streaming")
        self._file = _temporary_file(self)
        locators = self.key.alias(_KEY), pl.col(self.column).alias(_LOCATOR)
        plan.select(*columns, *locators).sink_ipc(self._file)
        return pl.scan_ipc(self._file).drop(_KEY, _LOCATOR).collect()

    def find(self, keys: pl.Series, pictured: pl.Series) -> pl.DataFrame:
        """Look up rows; of a lazy frame in the file of `collect`, or by collecting them again.

        A row for each key has `text` and `name` of the locator for readers, its exact `path`
        unless that holds a secret, and the `locator` itself where it is pictured. All are null
        for a key that is not found.
        """
        wanted = keys.drop_nulls().unique()
        if isinstance(self._frame, pl.DataFrame):
            gathered = self._frame[self.column].gather(wanted)
            rows = pl.LazyFrame([wanted.alias("key"), gathered.alias("locator")])
        else:
            if self._file:
                rows = pl.scan_ipc(self._file).select(key=_KEY, locator=_LOCATOR)
            else:
                locators = pl.col(self.column).alias("locator")
                rows = self._frame.select(self.key.alias("key"), locators)
            rows = rows.filter(pl.col("key").is_in(wanted.implode()))
        locator = pl.col("locator")
        described = rows.select(
            "key",
            locator.map_elements(locator_text, pl.String).alias("text"),
            locator.map_elements(base_name, pl.String).alias("name"),
            locator.map_elements(_open_path, pl.String).alias("path"),
            pl.when(pl.col("key").is_in(pictured.implode())).then(locator).alias("locator"),
        )
        # Only now, as it holds a row for each key: most have lost their image.
        found = described.unique("key", keep="any").collect(engine="streaming")
        return (
            keys.to_frame("key").join(found, "key", how="left", maintain_order="left").drop("key")
        )


def _open_path(locator: object) -> str | None:
    """Return a path or URL as it is, or None if there is none, or one with credentials."""
    if isinstance(locator, Mapping):
        return _open_path(locator.get("path"))
    return locator if isinstance(locator, str) and redact(locator) == locator else None


def _temporary_file(owner: object) -> Path:
    """Return a new file that is deleted with its owner."""
    descriptor, name = tempfile.mkstemp(prefix="imgmeta-", suffix=".arrow")
    os.close(descriptor)
    weakref.finalize(owner, Path(name).unlink, missing_ok=True)
    return Path(name)


def _holds_images(dtype: pl.DataType) -> bool:
    """Return whether locators may be encoded images."""
    if isinstance(dtype, pl.Struct):
        return any(field.name == "bytes" for field in dtype.fields)
    return isinstance(dtype, pl.Binary)
