"""The test cases of a report: where a metric differs between ranges of properties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Final

import polars as pl

from polars_imgmeta.analysis.cases import MISSING, test_cases
from polars_imgmeta.analysis.comparables import find_comparable
from polars_imgmeta.analysis.evaluation import TOO_SMALL, evaluate_cases
from polars_imgmeta.display.formatting import text_of
from polars_imgmeta.display.report.distinct import ROW
from polars_imgmeta.exceptions import ColumnError

_SUITES_SHOWN: Final = 8
_CASES_SHOWN: Final = 12
_IMAGES_SHOWN: Final = 6
# Columns of frames of our own, which have no others.
_CASE: Final = "case"
_METRIC: Final = "metric"
_IMAGE: Final = "image"


@dataclass(frozen=True, slots=True)
class Case:
    """A test case and the images in it for which the metric is lowest.

    Attributes:
        name: The name of the case.
        numbers: What `evaluate_cases` says of it.
        rows: The rows of images, the lowest first, each image once.
        values: The metric of these.
    """

    name: str
    numbers: dict[str, Any]
    rows: list[int]
    values: list[float]


@dataclass(frozen=True, slots=True)
class Suite:
    """The test cases into which a property or a column cuts the data set.

    Attributes:
        name: The property or column.
        auto: Whether it is a property.
        count: How many cases have images.
        judged: How many of these are large enough to be judged.
        certain: How much the metric differs at least from the rest in one of them.
        cases: Those shown, in their order.
        number_of_case: The place in `cases` of each row, or null where it is in another one.
    """

    name: str
    auto: bool
    count: int
    judged: int
    certain: float
    cases: list[Case]
    number_of_case: pl.Series

    @property
    def rows(self) -> list[int]:
        """The rows whose images are shown."""
        return [row for case in self.cases for row in case.rows]


@dataclass(frozen=True, slots=True)
class Suites:
    """What a metric says of a data set.

    Attributes:
        metric: The name of the metric.
        words: Whether its values are true and false.
        rated: How many rows have a value.
        value: The mean of these, or None without any.
        judged: How many cases there are that are large enough to be judged.
        shown: Columns of test cases, then the properties by which the metric differs most.
        others: The names of the properties by which it differs less.
    """

    metric: str
    words: bool
    rated: int
    value: float | None
    judged: int
    shown: list[Suite]
    others: list[str]


def find_cases(
    structs: pl.Series, columns: Sequence[pl.Series], images: pl.Series, metric: pl.Series
) -> Suites:
    """Cut a data set by quarters of each property, and evaluate a metric of each row.

    Args:
        structs: The auto-extracted column.
        columns: Test cases of the user's own, which are shown first.
        images: What is equal for rows of the same image, and null where there is none.
        metric: A number or Boolean of each row, named as it is to be called.
    """
    values = metric.cast(pl.Float64).alias(_METRIC)
    values = values.set(~values.is_finite(), None)
    ranked = (
        pl.DataFrame([images.alias(_IMAGE), values])
        .with_row_index(ROW)
        .drop_nulls()
        .sort(_METRIC, ROW)
        .unique(_IMAGE, keep="first", maintain_order=True)
    )
    rated = metric.alias(_METRIC) if metric.dtype == pl.Boolean else values
    own = [_suite(column.name, column, rated, ranked, auto=False) for column in columns]
    cut = [
        _suite(name, cases, rated, ranked, auto=True)
        for name, cases in _cut_properties(structs)
        if name != metric.name
    ]
    several = [suite for suite in cut if suite.count > 1]
    several.sort(key=lambda suite: suite.certain, reverse=True)
    suites = [*own, *several]
    most = max(_SUITES_SHOWN, len(own))
    mean = values.mean()
    return Suites(
        metric.name,
        metric.dtype == pl.Boolean,
        len(values) - values.null_count(),
        mean if isinstance(mean, float) and isfinite(mean) else None,
        sum(suite.judged for suite in suites),
        suites[:most],
        [suite.name for suite in suites[most:]],
    )


def describe_cases(found: Suites, rows: list[int], number_of: Mapping[int, int]) -> dict[str, Any]:
    """Return the cases as data for JSON, with rows as the page numbers them.

    Args:
        found: The cases.
        rows: The rows that are shown.
        number_of: The number in the page of each of these.
    """
    shown = [
        {
            "name": text_of(suite.name),
            "auto": suite.auto,
            "count": suite.count,
            "cases": [
                {
                    **_finite(case.numbers),
                    "name": text_of(case.name),
                    "rows": [number_of[row] for row in case.rows],
                    "values": case.values,
                }
                for case in suite.cases
            ],
            "case_of": suite.number_of_case.gather(rows).to_list(),
        }
        for suite in found.shown
    ]
    return {
        "metric": text_of(found.metric),
        "words": found.words,
        "rated": found.rated,
        "value": found.value,
        "judged": found.judged,
        "suites": shown,
        "others": found.others,
    }


def _finite(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return numbers for JSON, which has no infinities, as of sums that overflow."""
    return {
        name: None if isinstance(number, float) and not isfinite(number) else number
        for name, number in numbers.items()
    }


def _cut_properties(structs: pl.Series) -> Iterator[tuple[str, pl.Series]]:
    """Yield each property that can be compared, with the test case of each row."""
    frame = structs.to_frame()
    try:
        properties = find_comparable(frame, None, structs.name)
    except ColumnError:  # there are only words
        return
    for name, quantity in properties.items():
        if quantity.dtype == pl.Boolean:
            names = ["no", "yes", MISSING]
            place = quantity.values.cast(pl.UInt32).fill_null(len(names) - 1)
            case = place.replace_strict(range(len(names)), names, return_dtype=pl.Enum(names))
            yield name, frame.select(case).to_series()
        else:
            yield name, test_cases(frame, name, into=_CASE, column=structs.name)[_CASE]


def _suite(
    name: str, cases: pl.Series, metric: pl.Series, ranked: pl.DataFrame, *, auto: bool
) -> Suite:
    """Return the test cases of a column, of which `ranked` has the images, the lowest first."""
    table = evaluate_cases(pl.DataFrame([cases.alias(_CASE), metric]), _METRIC, _CASE)
    table = table.drop_nulls(_CASE)  # rows in no case are only in the rest of each
    judged = pl.col("verdict") != TOO_SMALL
    certain = pl.max_horizontal("difference_low", -pl.col("difference_high"))
    table = table.with_columns(certain=pl.when(judged).then(certain))
    shown = table.sort("certain", "images", descending=True, nulls_last=True).head(_CASES_SHOWN)
    shown = shown.sort(_CASE).with_columns(pl.col(_CASE, "verdict").cast(pl.String))
    places = range(len(shown))
    place = cases.cast(pl.String).replace_strict(
        shown[_CASE], places, default=None, return_dtype=pl.UInt32
    )
    placed = ranked.with_columns(place=place.gather(ranked[ROW])).drop_nulls()
    first = placed.group_by("place").agg(pl.col(ROW, _METRIC).head(_IMAGES_SHOWN))
    lowest = {number: (rows, values) for number, rows, values in first.iter_rows()}
    most = table["certain"].max()
    return Suite(
        name,
        auto,
        int((table["rated"] > 0).sum()),
        table.filter(judged).height,
        most if isinstance(most, float) else -inf,
        [
            Case(
                numbers.pop(_CASE).removeprefix(f"{name} "), numbers, *lowest.get(number, ([], []))
            )
            for number, numbers in zip(
                places, shown.drop("certain").iter_rows(named=True), strict=True
            )
        ],
        place,
    )
