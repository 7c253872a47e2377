"""Values as text, for pages that people read, whatever a column holds.

A value is data: it may be long, nested, binary, or spelled so as to look like
something else. Here it becomes one line of printable text. Markup is not a concern
of this module: who puts text into a page escapes it there.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence

from polars_imgmeta.io.redaction import parse_url, redact

AUTO_EXTRACTED_COLOURS = ("#7c3aed", "#c4b5fd")
"""The purple of auto-extracted values, on light and on dark ground."""

_LONGEST = 300
_MOST_ITEMS = 8
_SHOWN_BYTES = 8
_DEEPEST = 4
# What has no glyph, and what turns the direction of the text around it.
_UNSEEN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")
# With a drive, or of a server.
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def text_of(value: object) -> str:
    r"""Return a value as one short line.

    Args:
        value: Of any type that Polars gives out.

    Examples:
        >>> text_of([1, None, {"a": b"\x89PNG", "b": [0.5] * 20}])
        '[1, null, {a: 4 bytes 89504e47, b: [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 12 more]}]'
        >>> text_of("a\nb\u202egpj.exe")
        'a↵b\\u202egpj.exe'
    """
    text = _UNSEEN.sub(_spell, _plain(value, 0))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def locator_text(locator: object) -> str:
    """Return what locates an image, or is one, as one short line without secrets.

    Examples:
        >>> locator_text({"bytes": None, "path": "photos/a.jpg"}), locator_text(b"abc")
        ('photos/a.jpg', '3 bytes 616263')
    """
    if isinstance(locator, Mapping):
        return locator_text(locator.get("path") or locator.get("bytes"))
    return text_of(redact(locator) if isinstance(locator, str) else locator)


def base_name(locator: object) -> str:
    r"""Return the name of the file that a locator ends in, as one short line.

    A backslash divides only what is a path of Windows; elsewhere names may hold it.

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


def _spell(unseen: re.Match[str]) -> str:
    return "↵" if unseen[0] == "\n" else f"\\u{ord(unseen[0]):04x}"


def _plain(value: object, depth: int) -> str:
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
            items = [f"{key}: {_nested(item, depth)}" for key, item in first]
            text = "{" + ", ".join(items + _rest(value)) + "}"
        case list() | tuple():
            items = [_nested(item, depth) for item in value[:_MOST_ITEMS]]
            text = "[" + ", ".join(items + _rest(value)) + "]"
        case _:
            text = str(value)
    return text


def _nested(value: object, depth: int) -> str:
    return _plain(value, depth + 1) if depth < _DEEPEST else "…"


def _rest(items: Sequence[object] | Mapping[str, object]) -> list[str]:
    return [f"{len(items) - _MOST_ITEMS} more"] if len(items) > _MOST_ITEMS else []
