"""The verb that cuts a data set into test cases, by ranges of its properties."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from itertools import pairwise, product
from numbers import Real
from typing import Final, TypeAlias, TypeGuard

import numpy as np
import polars as pl

from polars_imgmeta.column import structs
from polars_imgmeta.column.fields import Quantity, find_number
from polars_imgmeta.exceptions import ColumnError, PropertyError
from polars_imgmeta.typing import FrameT

MISSING: Final = "missing"
_AND: Final = " & "
# An Enum spells out each of its categories, also those that no row has.
_MOST_CASES: Final = 10_000
# Python iterates over these as well, and nobody means it.
_NO_LISTS: Final = (str, bytes, Mapping)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Bins of equally many rows each, or of given shares of the rows.

    Attributes:
        at: How many bins, or the shares of rows below each edge, rising and
            between 0 and 1.

    Examples:
        >>> im.Quantiles(4).shares
        (0.25, 0.5, 0.75)
        >>> im.Quantiles([0.1, 0.9]).shares
        (0.1, 0.9)
    """

    at: int | Sequence[float]

    def __post_init__(self) -> None:
        """Raise a `PropertyError` for what cannot be shares."""
        if not _is_count(self.at):
            _require_edges(self.at, "`Quantiles`", within=(0, 1), what="shares")

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of rows below each edge."""
        if _is_count(self.at):
            return tuple(part / int(self.at) for part in range(1, int(self.at)))
        return tuple(float(share) for share in self.at if 0 < share < 1)  # type: ignore[union-attr] # no count


Bins: TypeAlias = int | Iterable[float] | Quantiles
"""How to cut: a count of bins equally wide, the edges between bins, or quantiles."""


def test_cases(
    frame: FrameT,
    by: str | Iterable[str] | Mapping[str, Bins],
    bins: Bins | None = None,
    *,
    into: str = "test_case",
    column: str | None = None,
) -> FrameT:
    """Cut a data set into test cases: named, ordered ranges of properties.

    Each case is half-open, from its first number up to and without its second;
    the last one is closed where the property has a greatest value. Every row is
    in exactly one case. Rows without a value, because the image could not be read
    or there is none, are in the case `<name> missing`, which is the last.

    Args:
        frame: The frame. A lazy one needs edges, and stays lazy.
        by: A property, a numeric column of your own, or several. Several give
            combined cases, in which the first changes slowest. A mapping gives
            each its own bins.
        bins: The edges between the cases, rising, such as `[0.25, 0.5]` for
            three cases; or a count, for cases equally wide between the least and
            the greatest value that the frame has; or
            [`Quantiles`][polars_imgmeta.Quantiles], for cases of equally many
            rows. Edges that are computed are rounded by at most a hundredth of a
            case, so that names stay short and still are exact, and those that
            coincide are one.
        into: The name of the new column.
        column: The auto-extracted column; may be left out where there is one.

    Returns:
        The frame with a column of an Enum that has every case in order, also
        those without rows. It depends on the edges alone, so that frames cut by
        the same edges can be concatenated and joined. Test cases of an earlier
        call under the same name are replaced.

    Raises:
        PropertyError: If the bins cannot be: no number above 0, edges that do not
            rise or are outside the range of the property, more than 10,000
            combined cases, or a count or quantiles for a lazy frame.
        ColumnError: If `by` names neither a property nor a numeric column, if it
            is not clear which column is meant, or if `into` is taken.

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
    _require_name(schema, into)
    index, names = pl.lit(0, pl.UInt32), [""]
    for name, wanted in _pairs(by, bins).items():
        quantity = find_number(schema, name, column, argument="by")
        edges = _edges(frame, quantity, wanted)
        cases = _names(quantity, edges)
        index = index * len(cases) + _index(quantity.values.cast(pl.Float64), edges)
        if len(names) * len(cases) > _MOST_CASES:
            msg = (
                f"`by` must combine to at most {_MOST_CASES} cases,"
                f" got {len(names) * len(cases)} up to {name!r}\n\nHint: give fewer bins"
            )
            raise PropertyError(msg)
        names = [_AND.join(filter(None, parts)) for parts in product(names, cases)]
    case = index.replace_strict(range(len(names)), names, return_dtype=pl.Enum(names))
    return frame.with_columns(case.alias(into))


test_cases.__test__ = False  # type: ignore[attr-defined] # pytest takes it for a test where imported


def _pairs(by: object, bins: object) -> dict[object, object]:
    """What to cut, each with its bins."""
    if isinstance(by, Mapping):
        if bins is not None:
            msg = f"`bins` must be left out where `by` is a mapping that has them, got {bins!r}"
            raise PropertyError(msg)
        pairs = dict(by)
    else:
        if not isinstance(by, str) and isinstance(by, Iterable):
            by = list(by)
        # A generator of edges must serve each of several names.
        once = isinstance(bins, Iterable) and not isinstance(bins, _NO_LISTS)
        bins = list(bins) if once else bins  # type: ignore[call-overload] # iterable if once
        names = by if isinstance(by, list) else [by]
        if strangers := [name for name in names if not isinstance(name, str)]:
            msg = f"`by` must name properties or columns, got {strangers[0]!r}"
            raise ColumnError(msg)
        pairs = dict.fromkeys(names, bins)
    if not pairs:
        msg = "`by` must name at least one property or column, got none"
        raise PropertyError(msg)
    return pairs


def _edges(frame: pl.DataFrame | pl.LazyFrame, quantity: Quantity, bins: object) -> list[float]:
    """The edges between the cases, without those at the limits of the property."""
    label = f"`bins` of {quantity.name!r}"
    if not (_is_count(bins) or isinstance(bins, Quantiles)):
        least, most = _limits(quantity)
        given = _require_edges(bins, label, within=(least, most), what="edges")
        return [edge for edge in given if least < edge < most]
    if isinstance(frame, pl.LazyFrame):
        msg = (
            f"{label} must be edges where the frame is lazy, got {bins!r}, which needs the values"
            "\n\nHint: give edges, such as [0.25, 0.5], or collect the frame first"
        )
        raise PropertyError(msg)
    values = frame.select(quantity.values.cast(pl.Float64)).to_series()
    values = values.filter(values.is_finite()).sort()
    count_or_shares = int(bins) if _is_count(bins) else bins
    return _computed(values, count_or_shares, whole=quantity.dtype.is_integer())


def _computed(values: pl.Series, bins: int | Quantiles, *, whole: bool) -> list[float]:
    """Edges from the values, which are finite and sorted, rounded to be read."""
    if values.is_empty():
        return []
    least, most = values[0], values[-1]
    if isinstance(bins, Quantiles):
        # Values, rather than what is between two: rounded down, they stay apart
        # from the next lower one, and rows of equal values stay together.
        edges = [values.quantile(share, "higher") for share in bins.shares]
        rounding = ROUND_FLOOR
    else:
        edges = [least + (most - least) * part / bins for part in range(1, bins)]
        rounding = ROUND_CEILING if whole else ROUND_HALF_EVEN
    inner = sorted({edge for edge in edges if edge is not None and least < edge <= most})
    points = [least, *inner, most]
    rounded = set()
    for before, edge, after in zip(points, inner, points[2:], strict=False):
        gap = min(side for side in (edge - before, after - edge) if side > 0)
        digit = math.floor(math.log10(gap)) - 2
        digit = max(digit, 0) if whole else digit
        rounded.add(float(Decimal(repr(edge)).quantize(Decimal(1).scaleb(digit), rounding)))
    return sorted(edge for edge in rounded if least < edge <= most)


def _index(values: pl.Expr, edges: list[float]) -> pl.Expr:
    """The place of each value's case among the cases, from 0."""
    missing = values.is_null() | values.is_nan()
    below = [(values >= edge).cast(pl.UInt32) for edge in edges] or [pl.lit(0, pl.UInt32)]
    return (
        pl.when(missing).then(pl.lit(len(edges) + 1, pl.UInt32)).otherwise(pl.sum_horizontal(below))
    )


def _names(quantity: Quantity, edges: list[float]) -> list[str]:
    least, most = _limits(quantity)
    # A computed edge may be the limit itself, where many rows have that value.
    points = [least, *edges, most]
    ranges = [f"[{_number(start)}, {_number(end)})" for start, end in pairwise(points)]
    if math.isinf(least):
        ranges[0] = "(" + ranges[0][1:]
    if math.isfinite(most):
        ranges[-1] = ranges[-1][:-1] + "]"
    return [f"{quantity.name} {case}" for case in (*ranges, MISSING)]


def _number(value: float) -> str:
    """The shortest decimal that is this number."""
    whole = math.isfinite(value) and value == int(value) and abs(value) < 1e15  # noqa: PLR2004 - further, digits are made up
    return str(int(value)) if whole else repr(value)


def _limits(quantity: Quantity) -> tuple[float, float]:
    if quantity.row is None:
        return -math.inf, math.inf
    most = quantity.row.maximum
    return quantity.row.minimum, math.inf if most is None else most


def _is_count(bins: object) -> TypeGuard[int]:
    return isinstance(bins, int | np.integer) and not isinstance(bins, bool) and bool(bins > 0)


def _require_edges(
    given: object, label: str, *, within: tuple[float, float], what: str
) -> list[float]:
    """Check what a caller gave as edges.

    Raises:
        PropertyError: If they are not numbers that rise within limits.
    """
    listed = isinstance(given, Iterable) and not isinstance(given, _NO_LISTS)
    edges = list(given) if listed else []  # type: ignore[call-overload] # iterable if listed
    real = all(isinstance(edge, Real) and not isinstance(edge, bool) for edge in edges)
    if not edges or not real or not all(map(math.isfinite, edges)):
        msg = f"{label} must be a count above 0 or finite {what} that rise, got {given!r}"
        if isinstance(given, Mapping):
            msg += "\n\nHint: give a mapping of names and bins as `by`"
        elif what == "edges":
            msg += "\n\nHint: 4, [0.25, 0.5, 0.75], or `Quantiles(4)`"
        raise PropertyError(msg)
    if any(after <= before for before, after in pairwise(edges)):
        msg = f"{label} must be {what} that rise, got {edges}\n\nHint: sort them, each once"
        raise PropertyError(msg)
    least, most = within
    if edges[0] < least or edges[-1] > most:
        msg = f"{label} must be {what} within {_number(least)} and {_number(most)}, got {edges}"
        msg += "\n\nHint: the outer cases reach to the limits; give the edges between"
        raise PropertyError(msg)
    return [float(edge) for edge in edges]


def _require_name(schema: Mapping[str, pl.DataType], into: object) -> None:
    """Check that a column of test cases may have this name.

    Raises:
        ColumnError: If it is taken by anything but earlier test cases.
    """
    if not isinstance(into, str):
        msg = f"`into` must be the name of a column, got {into!r}"
        raise ColumnError(msg)
    taken = schema.get(into)
    earlier = isinstance(taken, pl.Enum) and taken.categories[-1:].str.ends_with(MISSING).any()
    if taken is not None and not earlier:
        msg = (
            f"`into` must name a new column, got {into!r}, which exists and holds no test cases"
            "\n\nHint: choose another name with `into=`"
        )
        raise ColumnError(msg)
