"""What a report tells, as data that become JSON.

Summary, distributions, extremes and failures are of all rows. The rows themselves,
which a page shows and filters, may be a sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.column import structs
from polars_imgmeta.column.deduplication import Images, parts_of
from polars_imgmeta.column.structs import Provenance
from polars_imgmeta.display import thumbnails
from polars_imgmeta.display.formatting import base_name, locator_text, text_of
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.typing import PropertyName
from polars_imgmeta.verbs import inspection

Json: TypeAlias = dict[str, Any]

EXTREMES: Final[dict[PropertyName, tuple[str, str]]] = {
    "width": ("narrowest", "widest"),
    "height": ("lowest", "tallest"),
    "size": ("smallest", "largest"),
    "aspect_ratio": ("most upright", "most panoramic"),
    "brightness": ("darkest", "brightest"),
    "contrast": ("flattest", "most contrasting"),
    "sharpness": ("blurriest", "sharpest"),
    "pixel_entropy": ("plainest", "most varied"),
    "symmetry": ("least symmetric", "most symmetric"),
}
"""What the images with the least and the greatest values of a property are called."""

MOST_COLUMNS: Final = 30
"""How many of the user's own columns are told."""

_EXTREMES_SHOWN = 5
_BINS = 40
# From this ratio of the greatest to the least value on, bins grow with the values.
_LOGARITHMIC_FROM = 50
_SAMPLE_SEED = 0
_THUMBNAIL_SIDE = 192
# Whole numbers up to here are exact in JavaScript.
_MOST_EXACT = (1 << 53) - 1


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows a report tells one by one.

    Attributes:
        sample: How many rows at most, beside the extremes.
        thumbnails: Whether with their pictures.
        reading: How they are read.
    """

    sample: int
    thumbnails: bool
    reading: Reading


def tell(frame: pl.DataFrame, existing: Provenance, locator: str, selection: Selection) -> Json:
    """Gather what a report tells.

    Args:
        frame: All rows.
        existing: The auto-extracted column.
        locator: The column that locates the images.
        selection: Which rows are told one by one.

    Returns:
        Plain data, without NaN and infinities, that JSON can hold.
    """
    properties = frame[existing.column].struct.unnest()
    parts = parts_of(frame[locator])
    images = Images(parts)
    located = images.numbers.is_not_null().arg_true().to_numpy()
    extremes = _extremes(images.numbers, properties.select(existing.properties))
    rows = _choose(located, extremes, selection.sample)
    failures = inspection.errors(frame, existing.column, locator=locator)
    chosen = frame[rows]
    own = _own_columns(frame, existing, locator)
    fields = [_property_field(name, properties[name], rows) for name in existing.properties]
    fields += [_own_field(frame[name], rows) for name in own[:MOST_COLUMNS]]
    place = {row: index for index, row in enumerate(rows)}
    return {
        "summary": {
            "rows": len(frame),
            "located": len(located),
            "images": len(images),
            "failed": len(failures),
            "uncomputed": _count_uncomputed(properties, existing, located),
            "shown": len(rows),
            "sampled": len(located) > selection.sample,
            "sample": selection.sample,
            "left_out": own[MOST_COLUMNS:],
        },
        "provenance": {
            "column": existing.column,
            "locator": locator,
            "edition": existing.edition,
        },
        "fields": fields,
        "locators": [locator_text(value) for value in chosen[locator].to_list()],
        "names": [base_name(value) for value in chosen[locator].to_list()],
        "errors": [
            error and text_of(error) for error in properties[structs.ERROR].gather(rows).to_list()
        ],
        "thumbnails": thumbnails.data_uris(
            chosen[locator],
            _THUMBNAIL_SIDE,
            reading=selection.reading,
        )
        if selection.thumbnails
        else None,
        "extremes": {
            name: [[place[row] for row in side] for side in sides]
            for name, sides in extremes.items()
        },
        "failures": _failures(failures, selection.sample),
    }


def _own_columns(frame: pl.DataFrame, existing: Provenance, locator: str) -> list[str]:
    """The user's columns; other auto-extracted ones are none."""
    apart = {existing.column, locator, *structs.find(frame.schema)}
    return [name for name in frame.columns if name not in apart]


def _count_uncomputed(
    properties: pl.DataFrame, existing: Provenance, located: NDArray[np.uint32]
) -> int:
    """How many rows lack values without an error that says why."""
    gap = pl.any_horizontal(pl.col(existing.properties).is_null())
    return properties[located].filter(gap & pl.col(structs.ERROR).is_null()).height


def _extremes(
    images: pl.Series, properties: pl.DataFrame
) -> dict[str, tuple[list[int], list[int]]]:
    """The rows of the least and the greatest values, an image once; none where all are equal."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    once = (
        properties.with_row_index("\0row")
        .with_columns(images.alias("\0image"))
        .unique("\0image", keep="first", maintain_order=True)
    )
    for name in properties.columns:
        values = once.select("\0row", name).filter(_finite(once[name]))
        if values[name].n_unique() < 2:  # noqa: PLR2004 - there is nothing to compare
            found[name] = ([], [])
            continue
        shown = min(_EXTREMES_SHOWN, len(values) // 2)
        ordered = values.sort(name, maintain_order=True)["\0row"]
        found[name] = (ordered.head(shown).to_list(), ordered.tail(shown).reverse().to_list())
    return found


def _choose(
    located: NDArray[np.uint32],
    extremes: Mapping[str, tuple[list[int], list[int]]],
    sample: int,
) -> list[int]:
    """The rows to tell one by one, in their order: all, or a sample with the extremes."""
    if len(located) <= sample:
        return [int(row) for row in located]
    drawn = np.random.default_rng(_SAMPLE_SEED).choice(located, sample, replace=False)
    rows = {int(row) for row in drawn}
    for sides in extremes.values():
        rows.update(*sides)
    return sorted(rows)


def _property_field(name: PropertyName, values: pl.Series, rows: list[int]) -> Json:
    row = CATALOGUE[name]
    return {
        "name": name,
        "auto": True,
        "unit": row.unit,
        "about": row.description,
        "words": EXTREMES[name],
        "values": [_number(value) for value in values.gather(rows).to_list()],
        "distribution": _distribution(values, logarithmic=row.maximum is None),
    }


def _own_field(values: pl.Series, rows: list[int]) -> Json:
    if isinstance(values.dtype, pl.BaseExtension):
        values = values.ext.storage()
    chosen = values.gather(rows)
    field: Json = {"name": text_of(values.name), "auto": False}
    if (values.dtype.is_integer() or values.dtype.is_float()) and _is_exact(values):
        return field | {
            "values": [_number(value) for value in chosen.to_list()],
            "distribution": _distribution(values, logarithmic=True),
        }
    cells = chosen.to_list()
    field["values"] = [None if value is None else text_of(value) for value in cells]
    if values.dtype.is_temporal() or values.dtype.is_numeric() or values.dtype == pl.Enum:
        # Their text sorts otherwise than they do.
        field["order"] = chosen.rank("dense").to_list()
    return field


def _is_exact(values: pl.Series) -> bool:
    """Whether JavaScript can hold these numbers as they are."""
    if values.dtype.is_float():
        return True
    bounds = [bound for bound in (values.min(), values.max()) if isinstance(bound, int)]
    return all(abs(bound) <= _MOST_EXACT for bound in bounds)


def _number(value: float | None) -> float | str | None:
    """A number for JSON, which has no NaN and no infinities."""
    return text_of(value) if isinstance(value, float) and not math.isfinite(value) else value


def _finite(values: pl.Series) -> pl.Series:
    known = values.is_not_null()
    return known & values.is_finite() if values.dtype.is_float() else known


def _distribution(values: pl.Series, *, logarithmic: bool) -> Json | None:
    """The histogram of all rows and what sums it up, or None without any value."""
    integer = values.dtype.is_integer()
    numbers = values.filter(_finite(values)).cast(pl.Float64).to_numpy()
    if not len(numbers):
        return None
    edges = _edges(float(numbers.min()), float(numbers.max()), integer, logarithmic)
    return {
        "integer": integer,
        "edges": edges.tolist(),
        "counts": np.histogram(numbers, edges)[0].tolist(),
        "least": float(numbers.min()),
        "greatest": float(numbers.max()),
        "median": _median(numbers),
        "mean": _mean(numbers),
        "missing": len(values) - len(numbers),
    }


def _mean(numbers: NDArray[np.float64]) -> float:
    """The mean, also where the sum of all numbers is none."""
    with np.errstate(over="ignore"):
        mean = (numbers / len(numbers)).sum()
    return float(mean.clip(numbers.min(), numbers.max()))


def _median(numbers: NDArray[np.float64]) -> float:
    """The median, also where the sum of two numbers is none."""
    below, above = (float(np.quantile(numbers, 0.5, method=side)) for side in ("lower", "higher"))
    return below if below == above else below / 2 + above / 2


def _edges(least: float, greatest: float, integer: bool, logarithmic: bool) -> NDArray[np.float64]:  # noqa: FBT001
    """The edges of the bins; the last bin holds its right edge as well."""
    if least == greatest:
        return np.array([least, greatest])
    if integer and greatest - least < _BINS:
        return np.arange(least, greatest + 2)
    # Weighted, as the difference or the ratio of two floats may be none.
    share = np.linspace(0, 1, _BINS + 1)[1:-1]
    if logarithmic and least > 0 and greatest / least >= _LOGARITHMIC_FROM:
        inner = np.exp(np.log(least) * (1 - share) + np.log(greatest) * share)
    else:
        inner = least * (1 - share) + greatest * share
    return np.sort([least, *inner.clip(least, greatest), greatest])


def _failures(failures: pl.DataFrame, most: int) -> Json:
    kinds = failures["kind"].value_counts(sort=True).rows()
    listed = failures.head(most)
    return {
        "kinds": kinds,
        "rows": [
            [locator_text(locator), *map(text_of, reason)]
            for locator, *reason in listed.iter_rows()
        ],
        "left_out": len(failures) - len(listed),
    }
