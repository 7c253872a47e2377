"""The content of a report, as data for JSON.

Summary, distributions, extremes and failures are those of all rows. The rows that the
page shows and filters may be a sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl
import polars.selectors as cs
from numpy.typing import NDArray

from polars_imgmeta.analysis.cases import is_test_cases
from polars_imgmeta.analysis.drift import Comparable
from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.column import structs
from polars_imgmeta.column.binning import Bins, Limits
from polars_imgmeta.column.fields import Quantity, limits_of
from polars_imgmeta.column.structs import StructColumn
from polars_imgmeta.display.formatting import distinct_names, python_values, text_of
from polars_imgmeta.display.locator_lookup import LocatorLookup
from polars_imgmeta.display.report.cases import describe_cases, find_cases
from polars_imgmeta.display.report.drift import find_shifts, pictures_of
from polars_imgmeta.display.report.duplicates import describe_groups, find_earlier, find_groups
from polars_imgmeta.display.report.expressions import (
    column_code,
    located_code,
    path_code,
    property_code,
)
from polars_imgmeta.display.report.issues import find_broken_rules
from polars_imgmeta.display.thumbnails import data_uris
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.typing import Frame

Json: TypeAlias = dict[str, Any]

_OTHER_EXTREMES: Final = ("lowest", "highest")
EXTREMES: Final[dict[str, tuple[str, str]]] = {
    "width": ("narrowest", "widest"),
    "height": ("shortest", "tallest"),
    "size": ("smallest", "largest"),
    "aspect_ratio": ("most upright", "most panoramic"),
    "brightness": ("darkest", "brightest"),
    "contrast": ("flattest", "most contrasting"),
    "sharpness": ("fewest edges", "most edges"),
    "pixel_entropy": ("plainest", "most varied"),
    "symmetry": ("least symmetric", "most symmetric"),
    "blur": ("most blurred", "least blurred"),
    "grid_blur": ("most blurred at any size", "least blurred at any size"),
    "noise": ("cleanest", "noisiest"),
    "blockiness": ("least blocky", "blockiest"),
    "shadow_clipping": ("least black", "most black"),
    "highlight_clipping": ("least white", "most white"),
    "grey_entropy": ("fewest greys", "most greys"),
    "vignetting": ("brightest corners", "darkest corners"),
    "border": ("least border", "most border"),
    "saturation": ("palest", "most saturated"),
    "colourfulness": ("least colourful", "most vivid"),
    "cleanvision_dark": ("darkest by CleanVision", "least dark by CleanVision"),
    "cleanvision_light": ("lightest by CleanVision", "least light by CleanVision"),
    "cleanvision_blurry": ("blurriest by CleanVision", "sharpest by CleanVision"),
}
"""The headings of the images with the minimum and the maximum values of a property."""

MOST_COLUMNS: Final = 30
"""The maximum number of the user's own columns in a report."""

_EXTREMES_SHOWN = 5
_BINS = 40
_SAMPLE_SEED = 0
_ROW_NUMBER: Final = "row number"
_THUMBNAIL_SIDE = 192
# Where the locator column holds the images themselves, that many are in memory at once.
_IMAGES_HELD: Final = 250
# JavaScript represents integers up to here exactly.
_MAX_SAFE_INTEGER = (1 << 53) - 1
# Names that no column of the user has.
_KEY, _IMAGE, _ROW, _EARLIER = "\0key", "\0image", "\0row", "\0duplicate"
_METRIC: Final = "\0metric"


def report_data(
    frame: Frame,
    existing: StructColumn,
    locator: str | None,
    *,
    sample: int,
    thumbnails: bool,
    reading: Reading,
    against: Comparable | None = None,
    metric: Quantity | None = None,
) -> Json:
    """Collect the content of a report, as plain data for JSON without NaN and infinities.

    Of a lazy frame the values are collected once, and after that the locators of the rows that
    are shown: at most `sample`, and those that other sections name. Without a locator column,
    rows are numbered.
    """
    path = None
    located_by = f"{column_code(existing.name, pl.Struct([]))}.is_not_null()"
    if locator is not None:
        dtype = frame.collect_schema()[locator]
        path, located_by = path_code(locator, dtype), located_code(locator, dtype)
    else:
        locator = _ROW_NUMBER
        number = pl.format("row {}", pl.int_range(pl.len()))
        present = structs.column(existing.name).is_not_null()
        frame = frame.with_columns(pl.when(present).then(number).alias(locator))
    lookup = LocatorLookup(frame, locator)
    schema = frame.collect_schema()
    earlier = find_earlier(schema)
    not_own = {existing.name, locator, *structs.find(schema), earlier}
    own = [name for name in schema if name not in not_own]
    cut = [name for name in own if metric and is_test_cases(schema[name])]
    lazy = isinstance(frame, pl.LazyFrame)
    table = lookup.collect(
        structs.column(existing.name),
        *(
            # Also columns of the user may hold images: collect their text instead.
            structs.column(name).map_elements(text_of, pl.String)
            if lazy and _holds_bytes(schema[name])
            else structs.column(name)
            for name in dict.fromkeys([*own[:MOST_COLUMNS], *cut])
        ),
        lookup.key.alias(_KEY),
        lookup.image.alias(_IMAGE),
        *([structs.column(earlier).alias(_EARLIER)] if earlier else []),
        *([metric.values.alias(_METRIC)] if metric else []),
    )
    properties = table[existing.name].struct.unnest()
    located = table[_IMAGE].is_not_null().arg_true().to_numpy()
    numeric = properties.select(existing.properties).select(cs.numeric())
    errors = properties[structs.ERROR].cast(pl.String)  # of dtype Null after some tools
    # What only a damaged header declares is no extreme, as in plots.
    extremes = _find_extremes(table[_IMAGE], numeric, errors.is_null())
    broken = find_broken_rules(table[existing.name], table[_IMAGE])
    shifts = None if against is None else find_shifts(table[existing.name], against)
    marked = table[_EARLIER].alias(earlier) if earlier else None
    twins = find_groups(table[existing.name], table[_IMAGE], marked)
    suites = metric and find_cases(
        table[existing.name],
        [table[name] for name in cut],
        table[_IMAGE],
        table[_METRIC].alias(metric.name),
    )
    judged = [*(broken or ()), *(shifts or ()), *(twins.largest if twins else ())]
    judged += suites.shown if suites else ()
    named = [one.rows for one in judged]
    rows = _choose_rows(located, extremes, named, sample)
    failed = errors.is_not_null().arg_true()
    listed = failed.head(sample)
    incomplete = pl.any_horizontal(pl.col(existing.properties).is_null())
    uncomputed = properties[located].filter(incomplete & pl.col(structs.ERROR).is_null())
    held = _IMAGES_HELD if _holds_bytes(schema[locator]) else None
    shown, uris = _look_up(
        lookup, table[_KEY].gather(rows), held, reading=reading, thumbnails=thumbnails
    )
    unread, _ = _look_up(
        lookup, table[_KEY].gather(listed), held, reading=reading, thumbnails=False
    )
    fields = [
        _property_field(
            property_code(existing.name, name, properties.schema[name]), properties[name], rows
        )
        for name in existing.properties
    ]
    fields += [
        _own_field(
            # Of what is collected as text, the page has no values to compare with.
            None if lazy and _holds_bytes(schema[name]) else column_code(name, schema[name]),
            table[name],
            rows,
        )
        for name in own[:MOST_COLUMNS]
    ]
    number_of = {row: number for number, row in enumerate(rows)}
    return {
        "summary": {
            "rows": len(table),
            "located": len(located),
            "images": table[_IMAGE].drop_nulls().n_unique(),
            "failed": len(failed),
            "uncomputed": len(uncomputed),
            "shown": len(rows),
            "sampled": len(located) > sample,
            "sample": sample,
            "left_out": own[MOST_COLUMNS:],
        },
        "provenance": {
            "column": existing.name,
            "locator": locator,
            "path": path,
            "located": located_by,
        },
        "fields": fields,
        "locators": shown["text"].to_list(),
        "names": distinct_names(shown["name"].to_list(), shown["text"].to_list()),
        "rows": rows if len(rows) < len(table) else None,
        "paths": {
            number: exact
            for number, (text, exact) in enumerate(shown.select("text", "path").iter_rows())
            if exact != text
        },
        "errors": [error and text_of(error) for error in errors.gather(rows).to_list()],
        "thumbnails": uris if thumbnails else None,
        "extremes": {
            name: [[number_of[row] for row in side] for side in sides]
            for name, sides in extremes.items()
        },
        "issues": broken
        and [asdict(one) | {"rows": [number_of[row] for row in one.rows]} for one in broken],
        "duplicates": twins
        and describe_groups(
            twins, number_of, shown["text"], _THUMBNAIL_SIDE, reading, thumbnails=thumbnails
        ),
        "drift": shifts
        and [
            {
                **one.numbers,
                "rows": [number_of[row] for row in one.rows],
                "others": pictures_of(one.others, _THUMBNAIL_SIDE, reading, thumbnails=thumbnails),
            }
            for one in shifts
        ],
        "cases": suites and describe_cases(suites, rows, number_of),
        "failures": {
            "kinds": errors.drop_nulls().str.extract("^([^:]*)").value_counts(sort=True).rows(),
            "rows": [
                [text, *map(text_of, error.split(": ", 1))]
                for text, error in zip(unread["text"], errors.gather(listed), strict=True)
            ],
            "left_out": len(failed) - len(listed),
        },
    }


def _look_up(
    lookup: LocatorLookup,
    keys: pl.Series,
    held: int | None,
    *,
    reading: Reading,
    thumbnails: bool,
) -> tuple[pl.DataFrame, list[str | None]]:
    """Return the `text`, `name` and exact `path` of locators, and if wanted their thumbnails.

    Args:
        lookup: The locators.
        keys: The keys of the rows.
        held: The maximum number of locators in memory at once; None for any.
        reading: How images are read.
        thumbnails: Whether to read the images.
    """
    found, uris = [], list[str | None]()
    some = max(1, held or len(keys))
    for start in range(0, max(1, len(keys)), some):
        part = keys.slice(start, some)
        rows = lookup.find(part, pictured=part if thumbnails else part.clear())
        if thumbnails:
            uris += data_uris(rows["locator"], _THUMBNAIL_SIDE, reading=reading)
        found.append(rows.drop("locator"))
    return pl.concat(found).with_columns(pl.col("text", "name").fill_null("null")), uris


def _holds_bytes(dtype: object) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(map(_holds_bytes, dict(dtype).values()))
    if isinstance(dtype, pl.List | pl.Array):
        return _holds_bytes(dtype.inner)
    return isinstance(dtype, pl.Binary)


def _find_extremes(
    images: pl.Series, properties: pl.DataFrame, good: pl.Series
) -> dict[str, tuple[list[int], list[int]]]:
    """Return the good rows of minimum and maximum values, once an image; none if all are equal."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    numbered = pl.DataFrame([images, *properties]).with_row_index(_ROW)
    distinct = numbered.filter(good).unique(images.name, keep="first", maintain_order=True)
    for name in properties.columns:
        finite = distinct[name].cast(pl.Float64).is_finite()
        values = distinct.select(_ROW, name).filter(finite)
        several = values[name].n_unique() > 1
        shown = min(_EXTREMES_SHOWN, len(values) // 2) if several else 0
        ordered = values.sort(name, maintain_order=True)[_ROW]
        found[name] = (ordered.head(shown).to_list(), ordered.tail(shown).reverse().to_list())
    return found


def _choose_rows(
    located: NDArray[np.uint32],
    extremes: Mapping[str, tuple[list[int], list[int]]],
    named: list[list[int]],
    sample: int,
) -> list[int]:
    """Return the rows to show, ascending: all, or a sample, the extremes and those named."""
    if len(located) <= sample:
        return [int(row) for row in located]
    drawn = np.random.default_rng(_SAMPLE_SEED).choice(located, sample, replace=False)
    rows = {int(row) for row in drawn}
    return sorted(rows.union(*(side for sides in extremes.values() for side in sides), *named))


def _property_field(code: str, values: pl.Series, rows: list[int]) -> Json:
    name = values.name
    known = CATALOGUE.get(name)
    limits = limits_of(known) if known else (-math.inf, math.inf)
    field = _own_field(code, values, rows, limits) | {
        "name": name,
        "auto": True,
        "unit": known.unit if known else "",
        "about": known.description if known else name.replace("_", " "),
    }
    if "distribution" in field:
        field["words"] = EXTREMES.get(name, _OTHER_EXTREMES)
    return field


def _own_field(
    code: str | None, values: pl.Series, rows: list[int], limits: Limits = (-math.inf, math.inf)
) -> Json:
    """Return the values of a column in the rows that are shown, and the numbers of all rows.

    Args:
        code: The source text of an expression for the column, if it can be filtered by.
        values: All values.
        rows: The rows that are shown.
        limits: The range of possible values.
    """
    field: Json = {"name": text_of(values.name), "auto": False, "code": code}
    values = values.alias("values")  # Polars takes some names for patterns, also in a series
    if isinstance(values.dtype, pl.BaseExtension):
        values = values.ext.storage()
    chosen = values.gather(rows)
    if (values.dtype.is_integer() or values.dtype.is_float()) and _is_exact(values):
        return field | {
            "values": [
                text_of(value) if isinstance(value, float) and not math.isfinite(value) else value
                for value in chosen.to_list()
            ],
            "distribution": _distribution(values, limits),
        }
    if code and values.dtype in (pl.String, pl.Boolean, pl.Enum, pl.Categorical):
        return field | _choices(chosen)
    field["values"] = [None if value is None else text_of(value) for value in python_values(chosen)]
    if values.dtype.is_temporal() or values.dtype.is_numeric() or values.dtype == pl.Enum:
        # Their text sorts differently.
        field["order"] = chosen.rank("dense").to_list()
    return field


def _choices(values: pl.Series) -> Json:
    """Return distinct values, the number of that of each row, and the text of those that differ.

    The text is what a page may show; an expression needs the exact value.
    """
    ordered = values.dtype == pl.Enum
    choices = values.drop_nulls().unique(maintain_order=not ordered)
    exact = (choices.sort() if ordered else choices).to_list()
    number_of = {value: number for number, value in enumerate(exact)}
    texts = {number: text_of(value) for value, number in number_of.items()}
    return {
        "choices": exact,
        "ordered": ordered,
        "texts": {number: text for number, text in texts.items() if text != exact[number]},
        "codes": [None if value is None else number_of[value] for value in values.to_list()],
    }


def _is_exact(values: pl.Series) -> bool:
    """Return whether JavaScript represents these numbers exactly, as it does all floats."""
    bounds = [bound for bound in (values.min(), values.max()) if isinstance(bound, int)]
    return all(abs(bound) <= _MAX_SAFE_INTEGER for bound in bounds)


def _distribution(values: pl.Series, limits: Limits) -> Json | None:
    """Return the histogram and statistics of all rows, or None without values."""
    whole = values.dtype.is_integer()
    finite = values.filter(values.is_finite()).cast(pl.Float64)
    numbers = finite.to_numpy()
    if not len(numbers):
        return None
    bins = Bins.readable(finite, whole=whole, limits=limits, count=_BINS)
    below, above = (float(np.quantile(numbers, 0.5, method=side)) for side in ("lower", "higher"))
    return {
        "integer": whole,
        "logarithmic": bins.log,
        "edges": bins.edges,
        "counts": bins.count(finite),
        "minimum": float(numbers.min()),
        "maximum": float(numbers.max()),
        # Halved first, as the sum of two numbers may overflow.
        "median": below if below == above else below / 2 + above / 2,
        "mean": _mean(numbers),
        "missing": len(values) - len(numbers),
        "finite": len(numbers) == values.count(),
    }


def _mean(numbers: NDArray[np.float64]) -> float:
    """Return the mean, also where the sum would overflow."""
    with np.errstate(over="ignore"):
        mean = (numbers / len(numbers)).sum()
    return float(mean.clip(numbers.min(), numbers.max()))
