"""The digest: sensitive to everything that is a difference, and to nothing else."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polars_imgmeta as im
from polars_imgmeta.exceptions import ColumnError


def utc(time: datetime) -> datetime:
    """The time in UTC."""
    return time.replace(tzinfo=UTC)


NUMBERS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.fixed_dictionaries(
    {
        "width": st.none() | st.integers(-(2**31), 2**31 - 1),
        "sharpness": st.none() | st.floats(allow_nan=False),
        "times": st.none() | st.lists(st.none() | NUMBERS, max_size=3),
        "seen": st.none() | st.booleans(),
        "raw": st.none() | st.binary(max_size=5),
        "at": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(utc),  # noqa: DTZ001
        "error": st.none() | st.text(max_size=5),
        "auto_extracted": st.text(max_size=5),
    }
)
ROWS = st.lists(st.none() | VALUES, min_size=1, max_size=8)
TYPE = pa.struct(
    {
        "width": pa.int32(),
        "sharpness": pa.float64(),
        "times": pa.list_(pa.int64()),
        "seen": pa.bool_(),
        "raw": pa.binary(),
        "at": pa.timestamp("us", "UTC"),
        "error": pa.string(),
        "auto_extracted": pa.string(),
    }
)


def table_of(rows: list[Any]) -> pa.Table:
    """A table of such rows."""
    return pa.table({"m": pa.array(rows, TYPE)})


def encoded(value: Any) -> bytes:  # noqa: ANN401, PLR0911 - one rule each
    """The bytes of a value, written from the description, one by one."""
    match value:
        case None:
            return b"n"
        case bool() | int():
            return b"i" + struct.pack("<q", value)
        case float():
            return b"f" + struct.pack("<d", value)
        case datetime():
            delta = value - datetime(1970, 1, 1, tzinfo=UTC)
            micros = (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds
            return b"t" + struct.pack("<q", micros)
        case str():
            return b"s" + struct.pack("<q", len(value.encode())) + value.encode()
        case bytes():
            return b"b" + struct.pack("<q", len(value)) + value
        case list():
            return b"l" + struct.pack("<q", len(value)) + b"".join(map(encoded, value))
        case dict():
            names = sorted(value)
            return b"{" + b"".join(map(encoded, [*names, *(value[name] for name in names)]))
    raise AssertionError(value)


@given(rows=ROWS)
def test_it_is_what_the_documentation_says(rows: list[Any]) -> None:
    """A plain computation, from its description, gives the same."""
    hashes = (blake2b(encoded({"m": row}), digest_size=8).digest() for row in rows)
    total = sum(int.from_bytes(one, "little") for one in hashes) % 2**64
    assert im.digest(table_of(rows), "m") == im.Digest(len(rows), total)


def test_it_stays_the_same() -> None:
    """A known digest, so that no release changes it."""
    row = {"width": 7, "sharpness": 0.5, "error": None, "auto_extracted": "path@00000000:1"}
    assert str(im.digest(pa.table({"m": [row, None]}))) == KNOWN


KNOWN = "2:b488b773a20a9d1b"


@given(rows=ROWS, data=st.data())
def test_order_and_partitions_do_not_count(rows: list[Any], data: st.DataObject) -> None:
    """Digests of parts add up to that of the whole, in any order."""
    whole = im.digest(table_of(rows))
    assert im.digest(table_of(data.draw(st.permutations(rows)))) == whole
    cut = data.draw(st.integers(0, len(rows)))
    table = table_of(rows)
    parts = [im.digest(table.slice(0, cut)), im.digest(table.slice(cut))]
    assert sum(parts, im.Digest()) == whole
    assert im.digest(pa.concat_tables([table.slice(cut), table.slice(0, cut)])) == whole
    assert im.Digest.parse(str(whole)) == whole


@given(rows=ROWS)
def test_encodings_do_not_count(rows: list[Any]) -> None:
    """Neither views, dictionaries, widths, order of fields, nor the tool that holds them."""
    table = table_of(rows)
    whole = im.digest(table)
    frame = pl.DataFrame(table)
    assert im.digest(frame) == whole
    assert im.digest(frame.to_arrow(compat_level=pl.CompatLevel.newest())) == whole
    assert im.digest(pd.DataFrame({"m": pd.Series(table["m"], dtype=pd.ArrowDtype(TYPE))})) == whole
    wide = frame.with_columns(
        pl.when(pl.col("m").is_not_null()).then(
            pl.struct(
                pl.col("m").struct.field("auto_extracted").cast(pl.Categorical),
                pl.col("m").struct.field("width").cast(pl.Int64),
                pl.col("m").struct.field("at").dt.cast_time_unit("ns"),
                pl.col("m").struct.field("error", "times", "seen", "raw", "sharpness"),
            )
        )
    )
    assert im.digest(wide.select("m")) == whole


@given(rows=ROWS, data=st.data())
def test_one_bit_counts(rows: list[Any], data: st.DataObject) -> None:
    """A flipped bit of a value, a null, a text, a missing or a doubled row."""
    whole = im.digest(table_of(rows))
    place = data.draw(st.integers(0, len(rows) - 1))
    changed: dict[str, Any] = dict.fromkeys(TYPE.names) | (rows[place] or {})
    name = data.draw(st.sampled_from(TYPE.names))
    match changed[name]:
        case None:
            changed[name] = data.draw(VALUES.map(lambda row: row[name]))
        case bool() as flag:
            changed[name] = not flag
        case int() as number:
            changed[name] = number ^ (1 << data.draw(st.integers(0, 30)))
        case float() as number:
            bit = 1 << data.draw(st.integers(0, 63))
            (bits,) = struct.unpack("<q", struct.pack("<d", number))
            bits ^= bit - (1 << 64) if bit >> 63 else bit
            (changed[name],) = struct.unpack("<d", struct.pack("<q", bits))
        case _:
            changed[name] = data.draw(VALUES.map(lambda row: row[name]))
    other = [*rows[:place], changed, *rows[place + 1 :]]
    same = list(map(encoded, other)) == list(map(encoded, rows))
    assert (im.digest(table_of(other)) == whole) == same
    assert im.digest(table_of([*rows, rows[place]])) != whole
    if len(rows) > 1:
        assert im.digest(table_of(rows[:place] + rows[place + 1 :])) != whole


def test_a_null_struct_is_not_a_struct_of_nulls() -> None:
    """An engine that confuses them is found out."""
    nulls = dict.fromkeys(TYPE.names)
    assert im.digest(table_of([nulls])) != im.digest(table_of([None]))


def test_swapped_rows_count_with_their_locators(sample_folder: Path) -> None:
    """The column alone is the same; beside its locators it is not."""
    paths = [str(sample_folder / "photos" / name) for name in ("dusk.png", "noise.png")]
    frame = im.extract(pl.DataFrame({"path": paths}), "path", "brightness")
    swapped = frame.with_columns(pl.col("path").reverse())
    assert im.digest(frame) == im.digest(swapped) == frame.imgmeta.digest()  # type: ignore[attr-defined]
    columns = ("path", "path_imgmeta")
    assert im.digest(frame, *columns) != im.digest(swapped, *columns)
    assert im.digest(frame, *columns) == im.digest(frame.reverse(), *columns[::-1])


def test_floats_are_their_bits() -> None:
    """The smallest difference is one, and so is the sign of zero."""
    for value in (0.1, 1.0, -3.5, 5e-324):
        near = float(np.nextafter(value, np.inf))
        one, other = (im.digest(pa.table({"a": [number]}), "a") for number in (value, near))
        assert one != other
    assert im.digest(pa.table({"a": [0.0]}), "a") != im.digest(pa.table({"a": [-0.0]}), "a")


def test_empty() -> None:
    """No rows have a digest, which adds nothing."""
    empty = im.digest(table_of([])[:0])
    assert empty == im.Digest()
    assert str(empty) == "0:0000000000000000"


def test_mistakes() -> None:
    """Columns that are not there, of types without a rule, and no column at all."""
    interval = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    table = pa.table({"path": ["a"], "length": interval})
    with pytest.raises(ColumnError, match="did you mean 'path'"):
        im.digest(table, "pth")
    with pytest.raises(ColumnError, match="got month_day_nano_interval"):
        im.digest(table, "length")
    with pytest.raises(ColumnError, match="must have an auto-extracted column"):
        im.digest(table)
    with pytest.raises(TypeError, match="Hint: collect it"):
        im.digest(pl.LazyFrame())
    with pytest.raises(ValueError, match="must be"):
        im.Digest.parse("no digest")
