"""The verb that finds thresholds from rows that a person has labelled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl

from polars_imgmeta.analysis.intervals import wilson
from polars_imgmeta.analysis.published_rules import RULE_SETS, RulesLike, as_rule_set
from polars_imgmeta.analysis.rule_sets import RuleSet
from polars_imgmeta.analysis.rules import Rule, condition
from polars_imgmeta.column import structs
from polars_imgmeta.exceptions import ColumnError, PropertyError, hint
from polars_imgmeta.typing import Frame

_VALUE, _LABEL = "value", "label"
_INTERVAL: Final = 0.95
_SCHEMA: Final = pl.Schema(
    {
        "rule": pl.String(),
        "condition": pl.String(),
        "good": pl.Int64(),
        "false_alarms": pl.Int64(),
        "bad": pl.Int64(),
        "found": pl.Int64(),
        "found_rate": pl.Float64(),
        "found_at_least": pl.Float64(),
        "found_at_most": pl.Float64(),
        "unused": pl.Int64(),
    }
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Rules with thresholds from labelled rows, and how well they do.

    Attributes:
        rules: All rules, of which those that labels were given for have new thresholds.
        table: A row for each of these: `rule` and its `condition`; the `good` rows and the
            `false_alarms` among them; the `bad` rows, how many of them are `found`, what rate
            that is, and its 95 % interval by Wilson, `found_at_least` to `found_at_most`; and
            the `unused` rows, without a label or a value.
    """

    rules: RuleSet
    table: pl.DataFrame


def calibrate(
    frame: Frame,
    labels: Mapping[str, str],
    rules: RulesLike | None = None,
    *,
    false_alarm_rate: float = 0.05,
    confidence: float = 0.95,
    column: str | None = None,
) -> Calibration:
    """Find thresholds from rows that a person has labelled, at a rate of false alarms.

    A threshold flags as many rows as possible, as long as the share of good images that it
    flags, in all data like these, is at most the rate, with the confidence. It is a value of
    a good row: the order statistic that is the tolerance limit by Wilks. A rule with two
    thresholds gives each half of the rate.

    The rate needs enough good rows: 59 for 5 % at a confidence of 95 %, 299 for 1 %. With
    fewer, no threshold holds the promise, and there is an error that says how many are needed
    and which rate these rows allow.

    Args:
        frame: The frame. Of a lazy one the values and labels are collected.
        labels: For each rule to calibrate the Boolean column that says which rows are bad.
        rules: The rules, or the name of a rule set; `RULE_SETS["default"]` unless given.
        false_alarm_rate: The share of good images that may be flagged, between 0 and 1.
        confidence: How sure that is, between 0 and 1.
        column: The auto-extracted column; may be left out where there is one.

    Returns:
        The rules and how well they do.

    Source:
        S. S. Wilks, "Determination of Sample Sizes for Setting Tolerance Limits", Annals of
        Mathematical Statistics 12, 1941; E. B. Wilson, "Probable Inference, the Law of
        Succession, and Statistical Inference", Journal of the American Statistical
        Association 22, 1927.

    Raises:
        ColumnError: If a label is not a Boolean column, or if the frame lacks a property.
        PropertyError: If there are too few good rows, if a rule is unknown, or if it has no
            threshold that is one number.

    Examples:
        >>> light = [0.1, 0.15, 0.22] + [0.2 + number / 100 for number in range(60)]
        >>> df = pl.DataFrame({"brightness": light, "bad": [True] * 3 + [False] * 60})
        >>> found = im.calibrate(df, {"dark": "bad"})
        >>> found.rules["dark"].below, found.table["found"].item()
        (0.2, 2)
    """
    known = RULE_SETS["default"] if rules is None else as_rule_set(rules)
    for name, given in (("false_alarm_rate", false_alarm_rate), ("confidence", confidence)):
        if not 0 < given < 1:
            msg = f"`{name}` must be between 0 and 1, got {given!r}"
            raise PropertyError(msg)
    if not labels:
        msg = f"`labels` must name a Boolean column for at least one rule, got {labels!r}"
        raise PropertyError(msg)
    rows: list[dict[str, object]] = []
    calibrated: list[Rule] = []
    for name, label in labels.items():
        rule = _rule_of(known, name)
        table = _labelled(frame, rule, label, column)
        usable = table.drop_nulls()
        good, bad = (usable.filter(pl.col(_LABEL) == flag)[_VALUE] for flag in (False, True))
        new = _calibrated(rule, good.sort().to_list(), false_alarm_rate, confidence)
        calibrated.append(new)
        found, false_alarms = (_count_issues(new, values) for values in (bad, good))
        low, high = wilson(np.array([float(found)]), np.array([float(len(bad))]), _INTERVAL)
        rows.append(
            {
                "rule": name,
                "condition": condition(new),
                "good": len(good),
                "false_alarms": false_alarms,
                "bad": len(bad),
                "found": found,
                "found_rate": found / len(bad) if len(bad) else None,
                "found_at_least": float(low[0]),
                "found_at_most": float(high[0]),
                "unused": len(table) - len(usable),
            }
        )
    return Calibration(
        known.updated(*calibrated), pl.DataFrame(rows, schema=_SCHEMA).fill_nan(None)
    )


def _rule_of(rules: RuleSet, name: str) -> Rule:
    """Return a rule that can be calibrated."""
    if name not in rules:
        msg = f"`labels` must name rules, got {name!r}{hint(name, rules)}"
        raise PropertyError(msg)
    rule = rules[name]
    if isinstance(rule, Rule):
        bounds = [bound for bound in (rule.below, rule.above) if bound is not None]
        if bounds and all(isinstance(bound, float | int) for bound in bounds):
            return rule
    msg = (
        "a rule must have a number as its threshold to be calibrated, got"
        f" {name!r}, which is: {condition(rule)}"
    )
    raise PropertyError(msg)


def _labelled(frame: Frame, rule: Rule, label: object, column: str | None) -> pl.DataFrame:
    """Return the values that a rule judges, and the labels."""
    schema = structs.schema_of(frame)
    if not isinstance(label, str) or schema.get(label) != pl.Boolean:
        known = schema.get(label) if isinstance(label, str) else None
        msg = (
            f"`labels` must name a Boolean column for {rule.name!r}, true where an image is bad,"
            f" got {label!r}{f' of {known}' if known else ', which does not exist'}"
        )
        raise ColumnError(msg)
    [check] = RuleSet([rule]).checks(frame, column)
    labelled = frame.lazy().select(check.value.alias(_VALUE), structs.column(label).alias(_LABEL))
    return labelled.collect()


def _calibrated(rule: Rule, good: list[float], rate: float, confidence: float) -> Rule:
    """Return the rule with the thresholds that flag as much as the rate allows."""
    sides = sum(bound is not None for bound in (rule.below, rule.above))
    share, doubt = rate / sides, (1 - confidence) / sides
    allowed = _allowed(len(good), share, doubt)
    if allowed is None:
        needed = math.ceil(math.log(doubt) / math.log1p(-share))
        msg = (
            f"{needed} good rows are needed to assure {rate:.3g} false alarms of {rule.name!r} at"
            f" a confidence of {confidence:g}, got {len(good)}"
        )
        possible = sides * -math.expm1(math.log(doubt) / len(good)) if good else 1.0
        if possible < 1:
            rounded = math.ceil(possible * 1000) / 1000
            msg += f"\n\nHint: these allow `false_alarm_rate={rounded}`"
        raise PropertyError(msg)
    return replace(
        rule,
        below=None if rule.below is None else good[allowed],
        above=None if rule.above is None else good[-1 - allowed],
        source=f"calibrated on {len(good)} good images: at most {rate:.3g} of such are flagged,"
        f" at a confidence of {confidence:g}",
    )


def _allowed(count: int, rate: float, doubt: float) -> int | None:
    """Return how many of some good rows may be flagged, so that the rate is assured.

    If each row were flagged at the rate, so few would be flagged with the probability of the
    doubt at most. None if that does not even hold for no row.
    """
    cumulated, allowed = 0.0, None
    for flagged in range(count):
        ways = math.lgamma(count + 1) - math.lgamma(flagged + 1) - math.lgamma(count - flagged + 1)
        cumulated += math.exp(
            ways + flagged * math.log(rate) + (count - flagged) * math.log1p(-rate)
        )
        if cumulated > doubt:
            break
        allowed = flagged
    return allowed


def _count_issues(rule: Rule, values: pl.Series) -> int:
    """Count the values beyond a threshold, which is a number."""
    beyond = pl.repeat(value=False, n=len(values), eager=True)
    if isinstance(rule.below, float):
        beyond |= values < rule.below
    if isinstance(rule.above, float):
        beyond |= values > rule.above
    return int(beyond.sum())
