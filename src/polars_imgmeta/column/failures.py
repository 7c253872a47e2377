"""What the field `error` says of a row whose properties were changed: pure expressions.

An error has a line for what is wrong with the image, and one for each property of the user's
own that failed:

    corrupt: the pixels cannot be decoded: broken data stream
    property_failed: warmth raised ValueError: no red
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import polars as pl

from polars_imgmeta.column import marker

_OF_PROPERTY = "property_failed: "


def without_lines(error: pl.Expr, names: Iterable[str]) -> pl.Expr:
    """Drop the lines of properties."""
    for name in names:
        error = error.str.replace(rf"(?m)^{_OF_PROPERTY}{re.escape(name)} .*\n?", "")
    return error.str.strip_chars_end("\n")


def explaining(error: pl.Expr, entries: pl.Expr) -> pl.Expr:
    """Drop the line of the image where each failure has a line of its own.

    Args:
        error: The error, whose lines of properties are those of failures.
        entries: The entries of the marker, or the whole marker.

    Returns:
        The error; null where it explains none of the failures that the marker lists.
    """
    own = error.str.count_matches(rf"(?m)^{_OF_PROPERTY}")
    failed = marker.count_failed(marker.entries_in(entries))
    of_image = (own == failed) & ~error.str.starts_with(_OF_PROPERTY)
    error = pl.when(of_image).then(error.str.replace(r"^.*\n?", "")).otherwise(error)
    return pl.when(error != "").then(error)
