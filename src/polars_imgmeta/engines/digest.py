"""A certificate that two columns are equal, whatever their order and partitions.

The digest of a column is the number of its rows, and the sum, modulo 2^64, of a hash of each
row. So it depends on no order, and the digests of parts add up to the digest of the whole.
The hash of a row is BLAKE2b (RFC 7693) of 8 bytes, read as a little-endian number, of these
bytes:

    null               "n"
    Boolean, integer   "i", then the number, 8 bytes little-endian
    float              "f", then its 64 bits, little-endian
    date, timestamp    "t", then microseconds (since 1970 in UTC), 8 bytes
    text, binary       "s" (UTF-8) or "b", then the length, 8 bytes, and the bytes
    list               "l", then the length, 8 bytes, and the elements
    struct             "{", then the names of its fields, ascending, each as a text; then
                       their values in this order

So values count to the last bit, and neither the widths of integers, nor encodings of text,
nor the order of fields do: with these, engines take liberties.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import polars as pl

from polars_imgmeta.column import structs
from polars_imgmeta.exceptions import ColumnError, hint

if TYPE_CHECKING:
    # pyarrow takes longer to import than this package, so functions import it when called.
    import pyarrow as pa

_MODULUS: Final = 1 << 64
_HASH_BYTES: Final = 8
_NULL: Final = b"n"

DIGEST: Final = "digest"
"""The column of a record."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest of some rows; digests of parts add up.

    Attributes:
        rows: The number of rows.
        total: The sum of their hashes, modulo 2^64.

    Examples:
        >>> part = im.Digest.parse("2:00000000000000ff")
        >>> str(sum([part, part], im.Digest()))
        '4:00000000000001fe'
    """

    rows: int = 0
    total: int = 0

    def __add__(self, other: Digest) -> Digest:
        """The digest of both."""
        return Digest(self.rows + other.rows, (self.total + other.total) % _MODULUS)

    def __str__(self) -> str:
        """Rows and sum, as `parse` reads them."""
        return f"{self.rows}:{self.total:016x}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a digest that was written as text.

        Raises:
            ValueError: If it is none.
        """
        parts = re.fullmatch(r"(\d+):([0-9a-f]{16})", text)
        if parts is None:
            msg = f"a digest must be rows and 16 hexadecimal digits, such as {cls()}, got {text!r}"
            raise ValueError(msg)
        return cls(int(parts[1]), int(parts[2], 16))


def digest(frame: Any, *columns: str) -> Digest:  # noqa: ANN401 - see Args
    """Compute a digest of columns, to prove that two extractions gave the same.

    The order of rows, batches and partitions does not count, and neither does the tool that
    holds them. Everything else does: values to the last bit, nulls, errors and markers.

    Args:
        frame: A data frame, or anything that has the Arrow C stream or array interface: a
            table or batch of pyarrow, a relation of DuckDB, a frame of pandas.
        columns: The columns; the auto-extracted ones unless given. With the locator column
            among them, the digest also proves that each row has the values of its image.

    Returns:
        The digest. Those of parts of a table add up to that of the whole.

    Raises:
        ColumnError: If a column is missing, of a type that has no digest, or if none is given
            and none is auto-extracted.

    Examples:
        >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png", None]}), "path", "width")
        >>> str(im.digest(df))
        '2:...'
        >>> im.digest(df) == im.digest(df.reverse()) == im.digest(df[:1]) + im.digest(df[1:])
        True
        >>> im.digest(df) == im.digest(df[:1])
        False
    """
    import pyarrow as pa  # noqa: PLC0415 - see above

    if isinstance(frame, pl.LazyFrame):
        msg = "`frame` must be a data frame or Arrow data, got a LazyFrame\n\nHint: collect it"
        raise TypeError(msg)
    table = frame if isinstance(frame, pa.Table | pa.RecordBatch) else pa.table(frame)
    names = columns or _extracted(table.schema)
    for name in names:
        if name not in table.schema.names:
            known = ", ".join(map(repr, table.schema.names))
            msg = (
                f"`columns` must name columns of the frame, got {name!r}"
                f"{hint(name, table.schema.names)}\n\nColumns: {known}"
            )
            raise ColumnError(msg)
    parts = (_of_batch(batch) for batch in _batches(table.select(list(names))))
    return sum(parts, Digest())


def digest_record(batch: Any, *columns: str) -> pa.RecordBatch:  # noqa: ANN401 - as above
    """Compute a digest in the worker of an engine: one row, with the text of it."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    return pa.record_batch({DIGEST: [str(digest(batch, *columns))]})


def sum_digests(texts: Iterable[str]) -> Digest:
    """Add up what workers have computed."""
    return sum(map(Digest.parse, texts), Digest())


def _extracted(schema: pa.Schema) -> Iterable[str]:
    import pyarrow as pa  # noqa: PLC0415 - see above

    # Polars does not know all types of Arrow.
    nested = pa.schema([field for field in schema if pa.types.is_struct(field.type)])
    found = structs.find(pl.Schema(nested))
    if not found:
        known = ", ".join(map(repr, schema.names))
        msg = f"the frame must have an auto-extracted column, its columns are: {known}"
        raise ColumnError(msg)
    return found


def _batches(table: pa.Table | pa.RecordBatch) -> Iterable[pa.RecordBatch]:
    return table.to_batches() if hasattr(table, "to_batches") else [table]


def _of_batch(batch: pa.RecordBatch) -> Digest:
    rows = (
        blake2b(row, digest_size=_HASH_BYTES).digest() for row in _encoded(batch.to_struct_array())
    )
    hashes = np.frombuffer(b"".join(rows), "<u8")
    return Digest(batch.num_rows, int(hashes.sum(dtype=np.uint64)))


def _encoded(values: pa.Array) -> list[bytes]:  # noqa: C901, PLR0912 - one rule each
    """Return the bytes of each value.

    Raises:
        ColumnError: If there is no rule for the type.
    """
    import pyarrow as pa  # noqa: PLC0415 - see above

    kind, types = values.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _encoded(values.storage)
    if types.is_dictionary(kind):
        return _encoded(values.dictionary_decode())
    if types.is_null(kind):
        return [_NULL] * len(values)
    if types.is_boolean(kind) or types.is_integer(kind):
        cells = _cells(b"i", values.cast(pa.int64()))
    elif types.is_floating(kind):
        cells = _cells(b"f", values.cast(pa.float64()))
    elif types.is_timestamp(kind) or types.is_date(kind):
        cells = _cells(b"t", values.cast(pa.timestamp("us")).cast(pa.int64()))
    elif types.is_duration(kind):
        cells = _cells(b"t", values.cast(pa.duration("us")).cast(pa.int64()))
    elif types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        cells = _sized(b"s", values)
    elif types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind):
        cells = _sized(b"b", values)
    elif types.is_struct(kind):
        cells = _structs(values)
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        cells = _lists(values)
    else:
        msg = (
            "a digest must be of numbers, dates, timestamps, texts, binary, lists and structs,"
            f" got {kind}"
        )
        raise ColumnError(msg)
    if not values.null_count:
        return cells
    valid = values.is_valid().to_numpy(zero_copy_only=False).tolist()
    return [cell if one else _NULL for cell, one in zip(cells, valid, strict=True)]


def _cells(tag: bytes, values: pa.Array) -> list[bytes]:
    """Return a tag and 8 bytes for each number."""
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False)
    table = np.empty((len(numbers), 1 + 8), np.uint8)
    table[:, 0] = ord(tag)
    table[:, 1:] = numbers.astype(numbers.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, 8)
    cells: list[bytes] = table.view("V9").ravel().tolist()
    return cells


def _sized(tag: bytes, values: pa.Array) -> list[bytes]:
    """Return a tag, the length and the bytes of each text."""
    import pyarrow as pa  # noqa: PLC0415 - see above

    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = values.cast(pa.large_binary())
    texts = values.to_pylist()  # of bytes, or of text where it comes as views
    encoded = (text.encode() if isinstance(text, str) else text or b"" for text in texts)
    return [tag + len(text).to_bytes(8, "little") + text for text in encoded]


def _structs(values: pa.StructArray) -> list[bytes]:
    import pyarrow as pa  # noqa: PLC0415 - see above

    names = sorted(field.name for field in values.type)
    begin = b"{" + b"".join(_sized(b"s", pa.array(names, pa.string())))
    parts = [[begin] * len(values), *(_encoded(values.field(name)) for name in names)]
    return list(map(b"".join, zip(*parts, strict=True)))


def _lists(values: pa.ListArray) -> list[bytes]:
    lengths = values.value_lengths().fill_null(0).to_pylist()
    elements = iter(_encoded(values.flatten()))
    return [
        b"l" + length.to_bytes(8, "little") + b"".join(next(elements) for _ in range(length))
        for length in lengths
    ]
