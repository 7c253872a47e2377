"""Values of any dtype as one short line of printable text.

Values may be long, nested, binary, or contain characters that disguise them. Markup is
not escaped here, but where text is put into a page.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence

import polars as pl

from polars_imgmeta.io.redaction import parse_url, redact

AUTO_EXTRACTED_COLOURS = ("#7c3aed", "#c4b5fd")
"""The purple of auto-extracted values, on light and on dark backgrounds."""

_LONGEST = 300
_MOST_ITEMS = 8
_SHOWN_BYTES = 8
_DEEPEST = 4
# Characters without a glyph, and those that change the direction of text.
_INVISIBLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]"
)
_SEPARATORS = re.compile(r"([\\/]+)")
# With a drive or a server name.
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def text_of(value: object) -> str:
    r"""Return a value as one short line.

    Args:
        value: Of any type that Polars returns.

    Examples:
        >>> text_of([1, None, {"a": b"\x89PNG", "b": [0.5] * 20}])
        '[1, null, {a: 4 bytes 89504e47, b: [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 12 more]}]'
        >>> text_of("a\nb\u202egpj.exe")
        'a↵b\\u202egpj.exe'
    """
    text = _INVISIBLE.sub(_escape, _format_any(value, 0))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def locator_text(locator: object) -> str:
    """Return a locator as one short line without credentials.

    Examples:
        >>> locator_text({"bytes": None, "path": "photos/a.jpg"}), locator_text(b"abc")
        ('photos/a.jpg', '3 bytes 616263')
    """
    if isinstance(locator, Mapping):
        return locator_text(locator.get("path") or locator.get("bytes"))
    return text_of(redact(locator) if isinstance(locator, str) else locator)


def base_name(locator: object) -> str:
    r"""Return the file name of a locator as one short line.

    A backslash is a separator only in Windows paths; elsewhere it is part of a name.

    Examples:
        >>> base_name(r"photos/a\b.jpg"), base_name(r"C:\photos\a.jpg")
        ('a\\b.jpg', 'a.jpg')
        >>> base_name("https://example.org/a.jpg?token=1")
        'a.jpg'
        >>> base_name({"bytes": b"abc", "path": "photos/a.jpg"})
        'a.jpg'
    """
    if isinstance(locator, Mapping):
        return base_name(locator.get("path") or locator.get("bytes"))
    if not isinstance(locator, str):
        return text_of(locator)
    if url := parse_url(locator):
        locator = str(url["rest"])
    separators = r"[\\/]" if _WINDOWS_PATH.match(locator) else "/"
    parts = [part for part in re.split(separators, locator) if part]
    return text_of(parts[-1] if parts else locator)


def distinct_names(names: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Put folders before the names that several files have, as many as tell these apart.

    Args:
        names: The file name of each locator, as of `base_name`.
        texts: The locators, as of `locator_text`.

    Examples:
        >>> distinct_names(["1.jpg", "1.jpg", "2.jpg"], ["a/1.jpg", "b/1.jpg", "b/2.jpg"])
        ['a/1.jpg', 'b/1.jpg', '2.jpg']
    """
    files: dict[str, set[str]] = {}
    for name, text in zip(names, texts, strict=True):
        files.setdefault(name, set()).add(text)
    distinct = {text: name for name, some in files.items() for text in some}
    for name, some in files.items():
        parts = {text: _SEPARATORS.split(text) for text in some if text.endswith(name)}
        deepest, depth = max(map(len, parts.values()), default=0), 0
        while len({distinct[text] for text in some}) < len(some) and depth < deepest:
            depth += 2  # a folder, and what separates it
            distinct |= {text: "".join(one[-1 - depth :]) for text, one in parts.items()}
    return [distinct[text] for text in texts]


def _escape(invisible: re.Match[str]) -> str:
    return "↵" if invisible[0] == "\n" else f"\\u{ord(invisible[0]):04x}"


def python_values(values: pl.Series) -> list[object]:
    """Return values for `text_of`; as text where one may be beyond Python's calendar.

    The last day of the year 9999 is already the next one in half of all time zones.
    """
    if isinstance(values.dtype, pl.Date | pl.Datetime):
        years = values.dt.year()
        if not years.is_between(dt.MINYEAR, dt.MAXYEAR, closed="none").all():
            return values.cast(pl.String).to_list()
    try:
        return values.to_list()
    except (OverflowError, ValueError):
        return values.cast(pl.String).to_list()


def _format_any(value: object, depth: int) -> str:
    match value:
        case None:
            text = "null"
        case bool():
            text = "true" if value else "false"
        case str():
            text = value[: _LONGEST + 1]
        case bytes():
            dots = "…" if len(value) > _SHOWN_BYTES else ""
            text = f"{len(value):,} bytes {value[:_SHOWN_BYTES].hex()}{dots}".rstrip()
        case dt.datetime():
            text = value.isoformat(" ")
        case dt.date() | dt.time():
            text = value.isoformat()
        case Mapping():
            first = list(value.items())[:_MOST_ITEMS]
            items = [f"{key}: {_format_nested(item, depth)}" for key, item in first]
            text = "{" + ", ".join(items + _remainder(value)) + "}"
        case list() | tuple():
            items = [_format_nested(item, depth) for item in value[:_MOST_ITEMS]]
            text = "[" + ", ".join(items + _remainder(value)) + "]"
        case _:
            text = str(value)
    return text


def _format_nested(value: object, depth: int) -> str:
    return _format_any(value, depth + 1) if depth < _DEEPEST else "…"


def _remainder(items: Sequence[object] | Mapping[str, object]) -> list[str]:
    return [f"{len(items) - _MOST_ITEMS} more"] if len(items) > _MOST_ITEMS else []
