"""Values as text: one short printable line for any value."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from polars.testing.parametric import series

import polars_imgmeta as im
from polars_imgmeta.display.formatting import (
    AUTO_EXTRACTED_COLOURS,
    base_name,
    python_values,
    text_of,
)
from polars_imgmeta.io.redaction import redact

LONGEST = 300


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    levels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in levels]
    return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("index", "ground"), [(0, "#ffffff"), (0, "#f5f0fe"), (1, "#17151c")])
def test_purple_is_legible(index: int, ground: str) -> None:
    """The contrast meets WCAG for text."""
    light, dark = sorted([luminance(AUTO_EXTRACTED_COLOURS[index]), luminance(ground)])
    assert (dark + 0.05) / (light + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0, "0"),
        (2**64, "18446744073709551616"),
        (0.5, "0.5"),
        (float("nan"), "nan"),
        ("", ""),
        ("plain", "plain"),
        ("x" * 300, "x" * 300),
        ("x" * 301, "x" * 299 + "…"),
        ("a\tb\r\n", "a\\u0009b\\u000d↵"),
        ("\u2028\u202e\u2066", "\\u2028\\u202e\\u2066"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),
        (b"", "0 bytes"),
        (b"\x00" * 9, "9 bytes 0000000000000000…"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), "2026-01-02 03:04:00+00:00"),
        (dt.time(3, 4), "03:04:00"),
        (dt.timedelta(hours=1), "1:00:00"),
        (Decimal("1.50"), "1.50"),
        ([1, None], "[1, null]"),
        (list(range(10)), "[0, 1, 2, 3, 4, 5, 6, 7, 2 more]"),
        ([[[[[[1]]]]]], "[[[[[…]]]]]"),
        ({"a": None, "b": ["\n"]}, "{a: null, b: [↵]}"),
    ],
)
def test_values_are_formatted(value: object, text: str) -> None:
    """Each type has its format."""
    assert text_of(value) == text


@given(st.text())
def test_text_is_printable_and_short(text: str) -> None:
    """Control characters and overrides of the direction are escaped."""
    formatted = text_of(text)
    assert len(formatted) <= LONGEST
    assert not set(formatted) & {*map(chr, range(32)), *"\x7f\x85\u2028\u202a\u202e\u2066\u2069"}


@given(series(max_size=3, excluded_dtypes=[pl.Object]))
def test_values_of_every_dtype_are_formatted(values: pl.Series) -> None:
    """Values of every dtype become one line."""
    for value in values.to_list():
        formatted = text_of(value)
        assert len(formatted) <= LONGEST
        assert "\n" not in formatted


@pytest.mark.parametrize(
    "url",
    [
        "https://me:{}@example.org/a.png",
        "https://{}@example.org/a.png",
        "https://me:x/{}@example.org/a.png",
        "https://me:x@{}@example.org/a.png",
        "https://example.org/a.png?token={}",
        "https://example.org/a.png#{}",
        " https://me:x@example.org/a.png?token={}",
        "\thttps://me:{}@example.org/a.png",
        "https:/me:{}@example.org/a.png",
        "https:\\\\me:{}@example.org/a.png",
        "ftp://me:{}@example.org/a.png",
        "s3://key:{}@bucket/a.png",
        "az://photos/a.png?sv=1&sig={}",
        "abfss://photos@shop.dfs.core.windows.net/a.png?sig={}",
        "htps://example.org/a.png?token={}",
    ],
)
def test_secrets_are_redacted(url: str) -> None:
    """Secrets are redacted from invalid URLs, too, as errors mention them."""
    for shown in (redact(url.format("5ecret")), base_name(url.format("5ecret"))):
        assert "5ecret" not in shown
        assert "a.png" in shown or "#" in url


@pytest.mark.parametrize(
    "locator",
    [
        "photos/what?.jpg",
        "a@b:c.png",
        "s3://photos/what?.jpg",
        "abfss://photos@shop.dfs.core.windows.net/a@2x.png",
        "https://example.org:8000/a@2x.png",
        "http://[::1]:8000/a@2x.png",
    ],
)
def test_other_parts_are_unchanged(locator: str) -> None:
    """Names may contain characters that are separators elsewhere."""
    assert redact(locator) == locator


@pytest.mark.parametrize(
    ("locator", "text"),
    [
        ("s3://" + "?" * 1_000_000, "s3://" + "?" * 1_000_000),
        ("s3://" + ":a" * 500_000, "s3://" + ":a" * 500_000),
        ("s3://" + "?a" * 500_000 + "=", "s3://?..."),
    ],
)
def test_long_locators_are_fast(locator: str, text: str) -> None:
    """Redaction takes one pass; with several, each of these would take minutes."""
    assert redact(locator) == text


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"])
@pytest.mark.parametrize("when", [dt.datetime(9999, 12, 31, 23, 59), dt.datetime(1, 1, 1)])  # noqa: DTZ001
def test_the_ends_of_the_calendar(zone: str, when: dt.datetime, tmp_path: Path) -> None:
    """Times of the last and the first day are shown, in zones where they are in another year."""
    file = tmp_path / "a.png"
    Image.new("L", (2, 2)).save(file)
    zoned = pl.lit(when).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    frame = pl.DataFrame({"path": [str(file)]}).with_columns(taken=zoned)
    found = im.extract(frame, "path", ["standard", "source"])
    found = found.with_columns(
        pl.col("path_imgmeta").struct.with_fields(modified=pl.lit(when).dt.replace_time_zone("UTC"))
    )
    (value,) = python_values(found["taken"])
    assert text_of(value).startswith(("9999-12-31", "0001-01-01", "+10000-01-01", "0000-12-31"))
    assert text_of(value) in im.show(found)._repr_html_()
    im.report(found, tmp_path / "a.html")
    assert text_of(value) in (tmp_path / "a.html").read_text()
