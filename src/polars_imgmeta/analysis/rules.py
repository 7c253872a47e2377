"""Rules: which values of a property are an issue, and why."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Final, TypeAlias, get_args

import polars as pl

from polars_imgmeta.analysis.checks import (
    Bound,
    Check,
    GroupBounds,
    group_key,
    number,
)
from polars_imgmeta.column.fields import Quantity
from polars_imgmeta.exceptions import ColumnError, PropertyError
from polars_imgmeta.typing import Frame, OutlierMethod, Severity, Side

_DEFAULT_FACTORS: Final[dict[OutlierMethod, float]] = {"mad": 3.5, "quartiles": 3.0, "ratio": 10.0}
# The normal distribution has these multiples of its deviation as its median and mean absolute
# deviations.
_MEDIAN_DEVIATION, _MEAN_DEVIATION = 0.6745, 0.7979
_LOW, _HIGH = "low", "high"
_LARGEST: Final = sys.float_info.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition on one property that makes an image an issue.

    A value is an issue if it is below `below`, above `above`, or equal to `equals`. A row
    without a value gets no verdict.

    Attributes:
        name: The name of the rule.
        property: The property, or a column of your own, that it judges.
        reason: Why an image is an issue, for people.
        below: The threshold below which a value is an issue, or one for each group.
        above: The threshold above which a value is an issue, or one for each group.
        equals: The word or Boolean that is an issue, in place of thresholds.
        severity: How bad it is: `"low"`, `"medium"` or `"high"`.
        source: Where the thresholds are from.

    Raises:
        PropertyError: If there is no condition, or no finite threshold.

    Examples:
        >>> night = im.Rule(
        ...     name="night", property="brightness", below=0.1, reason="it was taken at night"
        ... )
        >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path")
        >>> im.issues(df, [night]).is_empty()
        True
    """

    name: str
    property: str
    reason: str
    below: float | GroupBounds | None = None
    above: float | GroupBounds | None = None
    equals: str | bool | None = None
    severity: Severity = "medium"
    source: str = ""

    def __post_init__(self) -> None:
        """Raise a `PropertyError` unless there is one condition of finite numbers."""
        _require_words(self, ("name", "property", "reason"))
        thresholds = [bound for bound in (self.below, self.above) if bound is not None]
        if (self.equals is None) == (not thresholds):
            msg = (
                f"the rule {self.name!r} must have `below`, `above` or both, or else `equals`,"
                f" got {'both kinds' if thresholds else 'none of them'}"
            )
            raise PropertyError(msg)
        for bound in thresholds:
            _require_bound(self.name, bound)
        groupings = {bound.by for bound in thresholds if isinstance(bound, GroupBounds)}
        if len(groupings) > 1:
            msg = f"the rule {self.name!r} must have one grouping, got {sorted(groupings)}"
            raise PropertyError(msg)

    def check(self, quantity: Quantity, groups: Quantity | None) -> Check:
        """Return the rule on the values of a frame.

        Raises:
            ColumnError: If their dtype does not fit the condition.
        """
        if self.equals is None:
            _require_number(self.name, quantity)
        elif isinstance(self.equals, bool) != (quantity.dtype == pl.Boolean):
            kind = "a Boolean" if isinstance(self.equals, bool) else "words"
            msg = (
                f"the rule {self.name!r} needs {kind}, got {quantity.name!r} of dtype"
                f" {quantity.dtype}"
            )
            raise ColumnError(msg)
        return Check(
            self.name,
            self.severity,
            self.reason,
            quantity,
            self.below,
            self.above,
            self.equals,
            groups,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierRule:
    """A rule whose thresholds are computed from the values of the frame, or of its groups.

    Methods, with the factor k:

    - `"mad"`: further from the median than k deviations, each the median absolute deviation
      over 0.6745, or the mean one over 0.7979 where more than half of the values are equal.
      k is 3.5 unless given.
    - `"quartiles"`: further below the first or above the third quartile than k times their
      distance. k is 3 unless given.
    - `"ratio"`: less than a k-th of the median, or more than k times the median, for positive
      values. k is 10 unless given.

    Source:
        B. Iglewicz, D. C. Hoaglin, "How to Detect and Handle Outliers", ASQC, 1993 (`"mad"`);
        J. W. Tukey, "Exploratory Data Analysis", 1977 (`"quartiles"`).

    Attributes:
        name: The name of the rule.
        property: The property, or a column of your own, that it judges.
        reason: Why an image is an issue, for people.
        method: How thresholds are computed.
        factor: The factor of the method.
        side: On which side values are issues: `"both"`, `"below"` or `"above"`.
        by: A property or column; each of its values has thresholds of its own.
        minimum: The number of values from which thresholds are computed; with fewer there is
            no verdict.
        severity: How bad it is: `"low"`, `"medium"` or `"high"`.
        source: Where the definition is from.

    Raises:
        PropertyError: If the method or side is unknown, or the factor not positive.

    Examples:
        >>> odd = im.OutlierRule(name="odd_width", property="width", reason="few are as wide")
        >>> df = pl.DataFrame({"width": [320] * 9 + [4000]})
        >>> im.RuleSet([odd]).fit(df)["odd_width"].above
        1934.2...
    """

    name: str
    property: str
    reason: str
    method: OutlierMethod = "mad"
    factor: float | None = None
    side: Side = "both"
    by: str | None = None
    minimum: int = 8
    severity: Severity = "medium"
    source: str = ""

    def __post_init__(self) -> None:
        """Raise a `PropertyError` if an argument is none of those that are possible."""
        _require_words(self, ("name", "property", "reason"))
        for name, known in (("method", OutlierMethod), ("side", Side)):
            given = getattr(self, name)
            if given not in get_args(known):
                msg = f"`{name}` must be one of {get_args(known)}, got {given!r}"
                raise PropertyError(msg)
        if self.factor is not None and not (_is_finite(self.factor) and self.factor > 0):
            msg = f"`factor` must be a positive number, got {self.factor!r}"
            raise PropertyError(msg)

    def check(self, quantity: Quantity, groups: Quantity | None) -> Check:
        """Return the rule on the values of a frame, with thresholds that are expressions.

        Raises:
            ColumnError: If the values are no numbers.
        """
        _require_number(self.name, quantity)
        low, high = self._limits(quantity)
        if groups is not None:
            low, high = low.over(group_key(groups)), high.over(group_key(groups))
        return Check(
            self.name,
            self.severity,
            self.reason,
            quantity,
            low if self.side != "above" else None,
            high if self.side != "below" else None,
        )

    def fit(self, frame: Frame, quantity: Quantity, groups: Quantity | None) -> Rule:
        """Return the rule with the thresholds of a frame.

        Raises:
            PropertyError: If there are too few values.
        """
        _require_number(self.name, quantity)
        low, high = self._limits(quantity)
        bounds = {_LOW: low, _HIGH: high}
        lazy = frame.lazy()
        if groups is None:
            found = lazy.select(**bounds).collect()
        else:
            found = lazy.group_by(group_key(groups).alias("group")).agg(**bounds).collect()
        found = found.drop_nulls([_LOW]).sort(found.columns)
        if found.is_empty():
            msg = (
                f"the rule {self.name!r} needs at least {self.minimum} values of"
                f" {self.property!r} to compute its thresholds"
                f"\n\nHint: leave it out with `rules.without({self.name!r})`"
            )
            raise PropertyError(msg)

        def bound(side: str) -> float | GroupBounds:
            if self.by is None:
                return float(found[side][0])
            return GroupBounds(self.by, dict(zip(found["group"], found[side], strict=True)))

        return Rule(
            name=self.name,
            property=self.property,
            reason=self.reason,
            below=bound(_LOW) if self.side != "above" else None,
            above=bound(_HIGH) if self.side != "below" else None,
            severity=self.severity,
            source=self.source,
        )

    def _limits(self, quantity: Quantity) -> tuple[pl.Expr, pl.Expr]:
        values = number(quantity)
        values = values.filter(values.is_finite())
        factor = _DEFAULT_FACTORS[self.method] if self.factor is None else float(self.factor)
        if self.method == "mad":
            centre = values.median()
            deviations = (values - centre).abs()
            middle = deviations.median()
            spread = (
                pl.when(middle > 0)
                .then(middle / _MEDIAN_DEVIATION)
                .otherwise(deviations.mean() / _MEAN_DEVIATION)
            )
            low, high = centre - factor * spread, centre + factor * spread
        elif self.method == "quartiles":
            first, third = (values.quantile(part, "linear") for part in (0.25, 0.75))
            low, high = first - factor * (third - first), third + factor * (third - first)
        else:
            low, high = values.median() / factor, values.median() * factor
        enough = values.len() >= max(self.minimum, 1)
        return pl.when(enough).then(_finite(low)), pl.when(enough).then(_finite(high))


def _finite(threshold: pl.Expr) -> pl.Expr:
    """Bound a threshold that overflows, as of numbers near the largest; null if it is unknown."""
    return pl.when(threshold.is_not_nan()).then(threshold.clip(-_LARGEST, _LARGEST))


AnyRule: TypeAlias = Rule | OutlierRule
"""A rule with fixed thresholds, or with those of the data."""


def grouping(rule: AnyRule) -> str | None:
    """Return the property or column that the thresholds of a rule depend on."""
    if isinstance(rule, OutlierRule):
        return rule.by
    bounds = (rule.below, rule.above)
    return next((one.by for one in bounds if isinstance(one, GroupBounds)), None)


def condition(rule: AnyRule) -> str:
    """Spell out the condition of a rule."""
    if isinstance(rule, OutlierRule):
        factor = _DEFAULT_FACTORS[rule.method] if rule.factor is None else rule.factor
        groups = f" of its {rule.by}" if rule.by else ""
        side = "" if rule.side == "both" else f" {rule.side}"
        return f"outlier{side} by {rule.method}, factor {factor:g}{groups}"
    if rule.equals is not None:
        return f"equal to {rule.equals}"
    parts = [("below", rule.below), ("above", rule.above)]
    return " or ".join(f"{side} {_spelled(bound)}" for side, bound in parts if bound is not None)


def _spelled(bound: Bound) -> str:
    if isinstance(bound, GroupBounds):
        default = "" if bound.default is None else f", else {bound.default:.4g}"
        listed = ", ".join(f"{key}: {value:.4g}" for key, value in bound.bounds.items())
        return f"that of its {bound.by} ({listed}{default})"
    return f"{bound:.4g}"


def _require_bound(name: str, bound: object) -> None:
    numbers: list[object] = [bound]
    if isinstance(bound, GroupBounds):
        default = [] if bound.default is None else [bound.default]
        numbers = [*bound.bounds.values(), *default]
    if not numbers or not all(map(_is_finite, numbers)):
        msg = f"thresholds of the rule {name!r} must be finite numbers, got {bound!r}"
        raise PropertyError(msg)


def _require_number(name: str, quantity: Quantity) -> None:
    if not (quantity.numeric or quantity.dtype == pl.Boolean):
        msg = (
            f"the rule {name!r} needs numbers, got {quantity.name!r} of dtype {quantity.dtype}"
            "\n\nHint: a rule on words has `equals=`"
        )
        raise ColumnError(msg)


def _require_words(rule: AnyRule, names: Iterable[str]) -> None:
    for name in names:
        given = getattr(rule, name)
        if not isinstance(given, str) or not given:
            msg = f"`{name}` of a rule must be text, got {given!r}"
            raise PropertyError(msg)
    if rule.severity not in get_args(Severity):
        msg = f"`severity` must be one of {get_args(Severity)}, got {rule.severity!r}"
        raise PropertyError(msg)


def _is_finite(value: object) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    return math.isfinite(float(value))
