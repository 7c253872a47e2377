"""How the images of a report differ from those of another data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from polars_imgmeta.analysis.drift import Comparable, compare
from polars_imgmeta.display.formatting import base_name, locator_text
from polars_imgmeta.display.thumbnails import data_uris
from polars_imgmeta.measuring.options import Reading


@dataclass(frozen=True, slots=True)
class Shift:
    """How one property differs.

    Attributes:
        numbers: What `compare` says of it, but for the images.
        rows: The rows of this data set that explain it.
        others: The locators of the other one that explain it.
    """

    numbers: dict[str, Any]
    rows: list[int]
    others: list[str]


def find_shifts(structs: pl.Series, against: Comparable) -> list[Shift]:
    """Compare the values of an auto-extracted column with another data set."""
    found = compare(structs.to_frame(), against)  # without locators, rows are numbered
    shifts = []
    for row in found.iter_rows(named=True):
        images = row.pop("images") or []
        ours = (row["share_a"] or 0) > (row["share_b"] or 0)
        rows = [int(one.removeprefix("row ")) for one in images] if ours else []
        shifts.append(Shift(row, rows, [] if ours else images))
    return shifts


def pictures_of(
    locators: list[str], side: int, reading: Reading, *, thumbnails: bool
) -> list[dict[str, str | None]]:
    """Return the name, and if wanted the thumbnail, of each image."""
    uris: list[str | None] = [None] * len(locators)
    if thumbnails:
        uris = data_uris(pl.Series(locators, dtype=pl.String), side, reading=reading)
    return [
        {"name": base_name(locator), "locator": locator_text(locator), "thumbnail": uri}
        for locator, uri in zip(locators, uris, strict=True)
    ]
