"""Conditions on values, as expressions of Polars and as SQL, with the same verdicts.

A verdict is true for an issue, false for none, and null where the value or the threshold is
null or NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, get_args

import polars as pl

from polars_imgmeta.column.fields import Quantity
from polars_imgmeta.exceptions import PropertyError
from polars_imgmeta.typing import Severity

SEVERITIES: Final = pl.Enum(get_args(Severity))
"""The dtype of severities, least severe first."""


@dataclass(frozen=True, slots=True)
class GroupBounds:
    """A threshold for each group of rows.

    Attributes:
        by: The property or column that defines the groups.
        bounds: The threshold of each group, by the value of `by`.
        default: The threshold of all other groups; None for no verdict there.

    Examples:
        >>> im.GroupBounds("camera_model", {"A1": 0.2, "B2": 0.25}).bounds["A1"]
        0.2
    """

    by: str
    bounds: Mapping[str | int | bool | None, float]
    default: float | None = None


Bound: TypeAlias = float | GroupBounds | pl.Expr
"""A threshold: one number, one for each group, or what an expression computes from the data."""


@dataclass(frozen=True, slots=True)
class Check:
    """A rule on the values of one frame.

    Attributes:
        name: The name of the rule.
        severity: How bad it is.
        reason: Why a row is an issue.
        quantity: The values.
        below: The threshold below which a value is an issue.
        above: The threshold above which a value is an issue.
        equals: The word or Boolean that is an issue.
        groups: What group thresholds depend on.
    """

    name: str
    severity: Severity
    reason: str
    quantity: Quantity
    below: Bound | None = None
    above: Bound | None = None
    equals: str | bool | None = None
    groups: Quantity | None = None

    @property
    def value(self) -> pl.Expr:
        """The values as Float64; null for NaN and words."""
        if isinstance(self.quantity.dtype, pl.String | pl.Categorical | pl.Enum):
            return pl.lit(None, pl.Float64)
        return number(self.quantity)

    @property
    def verdict(self) -> pl.Expr:
        """Whether a row is an issue."""
        if self.equals is not None:
            return self.quantity.values == self.equals
        sides = [side for side in (self._is_below(), self._is_above()) if side is not None]
        return sides[0] if len(sides) == 1 else sides[0] | sides[1]

    @property
    def valid(self) -> pl.Expr:
        """Whether a row passes: it is no issue, or there is no verdict."""
        return ~self.verdict.fill_null(value=False)

    @property
    def threshold(self) -> pl.Expr:
        """The threshold that an issue has crossed; null for words."""
        if self.equals is not None:
            return self.value
        low, high = self._expression(self.below), self._expression(self.above)
        if low is None or high is None:
            return pl.coalesce(one for one in (low, high) if one is not None)
        return pl.when(self.value < low).then(low).otherwise(high)

    @property
    def excess(self) -> pl.Expr:
        """How far an issue is beyond its threshold: 0 at it, to 1.

        The larger of two: what part it is of the way from the threshold to the limit of the
        property, and of the sum of that distance and the size of the threshold.
        """
        if self.equals is not None:
            return pl.lit(1.0)
        minimum, maximum = self.quantity.limits
        threshold = self.threshold
        distance = (self.value - threshold).abs()
        limit = pl.when(self.value < threshold).then(minimum).otherwise(maximum)
        parts = [distance / (distance + threshold.abs()), distance / (limit - threshold).abs()]
        return pl.max_horizontal(part.fill_nan(1.0) for part in parts).clip(0.0, 1.0)

    def sql(self) -> str:
        """Return the verdict as an expression of DuckDB's SQL."""
        column = _sql_column(self.quantity)
        if self.equals is not None:
            return f"{column} = {_sql_literal(self.equals)}"
        value = f"CAST({column} AS DOUBLE)"
        sides = [
            f"{value} {sign} {self._sql_bound(bound)}"
            for sign, bound in (("<", self.below), (">", self.above))
            if bound is not None
        ]
        # DuckDB holds NaN for the greatest number.
        return f"CASE WHEN NOT isnan({value}) THEN {' OR '.join(sides)} END"

    def _is_below(self) -> pl.Expr | None:
        bound = self._expression(self.below)
        return None if bound is None else self.value < bound

    def _is_above(self) -> pl.Expr | None:
        bound = self._expression(self.above)
        return None if bound is None else self.value > bound

    def _expression(self, bound: Bound | None) -> pl.Expr | None:
        if bound is None or isinstance(bound, pl.Expr):
            return bound
        if not isinstance(bound, GroupBounds):
            return pl.lit(float(bound))
        return self._group.replace_strict(
            pl.Series(list(bound.bounds)),
            pl.Series(list(bound.bounds.values()), dtype=pl.Float64),
            default=bound.default,
            return_dtype=pl.Float64,
        )

    def _sql_bound(self, bound: Bound) -> str:
        if isinstance(bound, pl.Expr):
            msg = (
                f"the rule {self.name!r} must have fixed thresholds to be exported, it takes them"
                " from data\n\nHint: export `rules.fit(frame)`"
            )
            raise PropertyError(msg)
        if not isinstance(bound, GroupBounds):
            return _sql_literal(float(bound))
        if self.groups is None:
            msg = f"the rule {self.name!r} must know its groups"
            raise PropertyError(msg)
        column = _sql_column(self.groups)
        cases = " ".join(
            f"WHEN {column} IS NOT DISTINCT FROM {_sql_literal(key)} THEN {_sql_literal(threshold)}"
            for key, threshold in bound.bounds.items()
        )
        return f"CASE {cases} ELSE {_sql_literal(bound.default)} END"

    @property
    def _group(self) -> pl.Expr:
        return group_key(self.groups) if self.groups else pl.lit(None)


def number(quantity: Quantity) -> pl.Expr:
    """Return values as Float64, null for NaN; Booleans are 0 and 1."""
    values = quantity.values.cast(pl.Float64)
    # Not by `fill_nan`: if all are NaN, Polars 2.1 makes one value of a comparison with null.
    return pl.when(values.is_not_nan()).then(values)


def group_key(quantity: Quantity) -> pl.Expr:
    """Return what defines groups, in a dtype that is compared with plain values."""
    if isinstance(quantity.dtype, pl.Categorical | pl.Enum):
        return quantity.values.cast(pl.String)
    return quantity.values


def _sql_column(quantity: Quantity) -> str:
    names = [quantity.name] if quantity.column is None else [quantity.column, quantity.name]
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def _sql_literal(value: object) -> str:
    """Spell a value; a float with an exponent, as DuckDB takes others for decimals."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return repr(value) if "e" in repr(value) else f"{value!r}e0"
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"
