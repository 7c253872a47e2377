"""The verb that cuts a data set into test cases, by ranges of its properties."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from numbers import Real
from typing import Any, Final, TypeAlias, TypeGuard

import numpy as np
import polars as pl

from polars_imgmeta.column import structs
from polars_imgmeta.column.binning import Bins, Limits
from polars_imgmeta.column.fields import Quantity, find_number
from polars_imgmeta.exceptions import ColumnError, PropertyError
from polars_imgmeta.typing import FrameT

MISSING: Final = "missing"
_AND: Final = " & "
# The dtype of an Enum holds all of its categories, also the unused ones.
_MOST_CASES: Final = 10_000
_DEFAULT_CASES: Final = 4


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Bins of about as many rows each, or of given fractions of the rows.

    Attributes:
        at: The number of bins, or the fractions of rows below each edge, ascending and
            between 0 and 1.

    Examples:
        >>> im.Quantiles(4).shares
        (0.25, 0.5, 0.75)
        >>> im.Quantiles([0.1, 0.9]).shares
        (0.1, 0.9)
    """

    at: int | Sequence[float]

    def __post_init__(self) -> None:
        """Raise a `PropertyError` unless there is a count or fractions."""
        if not _is_count(self.at):
            _require_edges(self.at, "`Quantiles`", within=(0, 1), what="fractions")

    @property
    def shares(self) -> tuple[float, ...]:
        """The fraction of rows below each edge."""
        if _is_count(self.at):
            return tuple(part / int(self.at) for part in range(1, int(self.at)))
        return tuple(float(below) for below in self.at if 0 < below < 1)  # type: ignore[union-attr] # no count


BinsLike: TypeAlias = int | Iterable[float] | Quantiles
"""A count of equally wide bins, the edges between bins, or quantiles."""


def test_cases(
    frame: FrameT,
    by: str | Iterable[str] | Mapping[str, BinsLike],
    bins: BinsLike | None = None,
    *,
    into: str = "test_case",
    column: str | None = None,
) -> FrameT:
    """Cut a data set into test cases: named, ordered ranges of properties.

    Each case is half-open: it includes its first number and excludes its second;
    the last one is closed where the property has a maximum. Every row is in exactly
    one case. Rows without a value, because the image could not be read or there is
    none, are in the last case, `<name> missing`.

    Args:
        frame: The frame. A lazy one needs edges, and stays lazy.
        by: A property, a numeric column of your own, or several. Several give
            combined cases, in which the first changes slowest. A mapping gives
            each its own bins.
        bins: The edges between the cases, ascending, such as `[0.25, 0.5]` for
            three cases; or [`Quantiles`][polars_imgmeta.Quantiles], for cases of
            about as many rows, four of them unless given; or a count, for cases
            that are equally wide between the minimum and the maximum of the frame,
            of which some may have few rows. Computed edges are rounded by at most
            a hundredth of a case, so that names are short and exact; edges that
            coincide are merged.
        into: The name of the new column.
        column: The auto-extracted column; may be left out where there is one.

    Returns:
        The frame with an Enum column whose categories are all cases in order, also
        those without rows. They depend only on the edges, so that frames cut by
        the same edges can be concatenated and joined. Test cases of an earlier
        call under the same name are replaced.

    Raises:
        PropertyError: If a count is not positive, if edges do not ascend or are
            outside the range of the property, if there are more than 10,000
            combined cases, or if a lazy frame is given a count or quantiles.
        ColumnError: If `by` names neither a property nor a numeric column or is
            ambiguous, or if `into` is taken.

    Examples:
        >>> df = im.scan_images("photos").imgmeta.extract("path").collect()
        >>> df = im.test_cases(df, "brightness", [0.25, 0.5])
        >>> df.group_by("test_case").len().sort("test_case")
        shape: (4, 2)
        ┌────────────────────────┬─────┐
        │ test_case              ┆ len │
        │ ---                    ┆ --- │
        │ enum                   ┆ u32 │
        ╞════════════════════════╪═════╡
        │ brightness [0, 0.25)   ┆ 1   │
        │ brightness [0.25, 0.5) ┆ 3   │
        │ brightness [0.5, 1]    ┆ 5   │
        │ brightness missing     ┆ 3   │
        └────────────────────────┴─────┘
        >>> df = im.test_cases(df, {"brightness": im.Quantiles(2), "sharpness": [0.1]})
        >>> df["test_case"][0]
        'brightness [0, 0.5) & sharpness [0, 0.1)'
    """
    schema = structs.schema_of(frame)
    _require_new_name(schema, into)
    number, names = pl.lit(0, pl.UInt32), [""]
    for name, wanted in _bins_by_name(by, bins).items():
        quantity = find_number(schema, name, column, argument="by")
        chosen = _choose_bins(frame, quantity, wanted)
        cases = _case_names(quantity, chosen)
        number = number * len(cases) + chosen.place(quantity.values).fill_null(len(cases) - 1)
        if len(names) * len(cases) > _MOST_CASES:
            msg = (
                f"`by` must combine to at most {_MOST_CASES} cases,"
                f" got {len(names) * len(cases)} up to {name!r}\n\nHint: give fewer bins"
            )
            raise PropertyError(msg)
        names = [_AND.join(filter(None, parts)) for parts in product(names, cases)]
    case = number.replace_strict(range(len(names)), names, return_dtype=pl.Enum(names))
    return frame.with_columns(case.alias(into))


test_cases.__test__ = False  # type: ignore[attr-defined] # pytest would collect it where imported


def is_test_cases(dtype: pl.DataType) -> bool:
    """Return whether a column of this dtype is one that `test_cases` makes."""
    return isinstance(dtype, pl.Enum) and dtype.categories[-1:].str.ends_with(MISSING).any()


def _bins_by_name(by: object, bins: object) -> dict[object, object]:
    """Return the names to cut, each with its bins."""
    if isinstance(by, Mapping):
        if bins is not None:
            msg = f"`bins` must be left out where `by` is a mapping that has them, got {bins!r}"
            raise PropertyError(msg)
        pairs = dict(by)
    else:
        names = list(by) if isinstance(by, Iterable) and not isinstance(by, str) else [by]
        if strangers := [name for name in names if not isinstance(name, str)]:
            msg = f"`by` must name properties or columns, got {strangers[0]!r}"
            raise ColumnError(msg)
        bins = Quantiles(_DEFAULT_CASES) if bins is None else bins
        # Every name needs the edges, and a generator yields them once.
        edges = _listed(bins)
        pairs = dict.fromkeys(names, bins if edges is None else edges)
    if not pairs:
        msg = "`by` must name at least one property or column, got none"
        raise PropertyError(msg)
    return pairs


def _choose_bins(frame: pl.DataFrame | pl.LazyFrame, quantity: Quantity, bins: object) -> Bins:
    """Return bins from limit to limit, cut where the caller says."""
    label = f"`bins` of {quantity.name!r}"
    minimum, maximum = quantity.limits
    if not (_is_count(bins) or isinstance(bins, Quantiles)):
        given = _require_edges(bins, label, within=quantity.limits, what="edges")
        return Bins((minimum, *(edge for edge in given if minimum < edge < maximum), maximum))
    if isinstance(frame, pl.LazyFrame):
        msg = (
            f"{label} must be edges where the frame is lazy, got {bins!r}, which needs the values"
            "\n\nHint: give edges, such as [0.25, 0.5], or collect the frame first"
        )
        raise PropertyError(msg)
    values = frame.select(quantity.values.cast(pl.Float64)).to_series()
    values = values.filter(values.is_finite())
    whole = quantity.dtype.is_integer()
    if isinstance(bins, Quantiles):
        return Bins.quantiles(values, bins.shares, whole=whole, limits=quantity.limits)
    return Bins.equal_width(values, int(bins), whole=whole, limits=quantity.limits)


def _case_names(quantity: Quantity, bins: Bins) -> list[str]:
    edges = map(_format_edge, bins.edges)
    ranges = [f"[{start}, {end})" for start, end in pairwise(edges)]
    minimum, maximum = quantity.limits
    if math.isinf(minimum):
        ranges[0] = "(" + ranges[0][1:]
    if math.isfinite(maximum):
        ranges[-1] = ranges[-1][:-1] + "]"
    return [f"{quantity.name} {case}" for case in (*ranges, MISSING)]


def _format_edge(value: float) -> str:
    """Return the shortest decimal that is equal to a number."""
    whole = math.isfinite(value) and value == int(value) and abs(value) < 1e15  # noqa: PLR2004 - beyond, digits are not exact
    return str(int(value)) if whole else repr(value)


def _is_count(bins: object) -> TypeGuard[int]:
    return isinstance(bins, int | np.integer) and not isinstance(bins, bool) and bool(bins > 0)


def _listed(given: object) -> list[Any] | None:
    """Return edges as a list, or None for what cannot be meant as edges."""
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        return None
    return list(given)


def _require_edges(given: object, label: str, *, within: Limits, what: str) -> list[float]:
    """Return the edges that a caller gave.

    Raises:
        PropertyError: If they are not ascending numbers within the limits.
    """
    edges = _listed(given) or []
    real = all(isinstance(edge, Real) and not isinstance(edge, bool) for edge in edges)
    if not edges or not real or not all(map(math.isfinite, edges)):
        msg = f"{label} must be a count above 0 or finite, ascending {what}, got {given!r}"
        if isinstance(given, Mapping):
            msg += "\n\nHint: give a mapping of names and bins as `by`"
        elif what == "edges":
            msg += "\n\nHint: 4, [0.25, 0.5, 0.75], or `Quantiles(4)`"
        raise PropertyError(msg)
    if any(after <= before for before, after in pairwise(edges)):
        msg = f"{label} must be ascending {what}, got {edges}"
        msg += "\n\nHint: sort them and remove duplicates"
        raise PropertyError(msg)
    minimum, maximum = within
    if edges[0] < minimum or edges[-1] > maximum:
        ends = f"{_format_edge(minimum)} and {_format_edge(maximum)}"
        msg = f"{label} must be {what} between {ends}, got {edges}"
        msg += "\n\nHint: the outer cases extend to the limits; give only the edges between"
        raise PropertyError(msg)
    return [float(edge) for edge in edges]


def _require_new_name(schema: Mapping[str, pl.DataType], into: object) -> None:
    """Check that a column of test cases can have this name.

    Raises:
        ColumnError: If another column than earlier test cases has it.
    """
    if not isinstance(into, str):
        msg = f"`into` must be the name of a column, got {into!r}"
        raise ColumnError(msg)
    if into in schema and not is_test_cases(schema[into]):
        msg = (
            f"`into` must name a new column, got {into!r}, which exists and holds no test cases"
            "\n\nHint: choose another name with `into=`"
        )
        raise ColumnError(msg)
