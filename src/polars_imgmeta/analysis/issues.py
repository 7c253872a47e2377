"""The verbs that say which images are bad, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import polars as pl

from polars_imgmeta.analysis.checks import SEVERITIES, Check
from polars_imgmeta.analysis.published_rules import RULE_SETS, RulesLike, as_rule_set
from polars_imgmeta.analysis.rule_sets import Resolved
from polars_imgmeta.column import structs
from polars_imgmeta.column.fields import Quantity
from polars_imgmeta.column.structs import StructColumn
from polars_imgmeta.exceptions import ColumnError, PropertyError
from polars_imgmeta.typing import Frame, FrameT

_COLUMNS: Final = ("rule", "property", "value", "threshold", "severity", "excess", "reason")


def issues(
    frame: FrameT,
    rules: RulesLike | None = None,
    *,
    column: str | None = None,
    locator: str | None = None,
) -> FrameT:
    """List the images that break a rule, the worst first.

    Nothing is read: the rules judge the properties that the frame has.

    Args:
        frame: The frame. A lazy one stays lazy; its rows are gone through once.
        rules: The rules, or the name of a rule set. Unless given, those of
            `RULE_SETS["default"]` whose properties the frame has.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column; may be left out where the column or its rows name it.

    Returns:
        A row for each image and rule that it breaks: `locator` (null where the frame has no
        such column), `rule`, `property`, `value` and `threshold` (null for words),
        `severity`, `excess` (how far beyond the threshold, 0 to 1) and `reason`, sorted by
        severity and excess, descending, then by rule and locator.

    Raises:
        ColumnError: If the frame lacks a property that rules need.
        PropertyError: If a rule set is unknown.

    Examples:
        >>> df = im.scan_images("photos").imgmeta.extract("path").collect()
        >>> dark = im.Rule(name="dim", property="brightness", below=0.3, reason="too dim")
        >>> im.issues(df, dark).select("locator", "rule", "value", "threshold", "excess")
        shape: (1, 5)
        ┌─────────────────┬──────┬───────┬───────────┬──────────┐
        │ locator         ┆ rule ┆ value ┆ threshold ┆ excess   │
        │ ---             ┆ ---  ┆ ---   ┆ ---       ┆ ---      │
        │ str             ┆ str  ┆ f64   ┆ f64       ┆ f64      │
        ╞═════════════════╪══════╪═══════╪═══════════╪══════════╡
        │ photos/dusk.png ┆ dim  ┆ 0.2   ┆ 0.3       ┆ 0.333333 │
        └─────────────────┴──────┴───────┴───────────┴──────────┘
    """
    resolved = _resolve(frame, rules, column)
    source = _locator_of(frame, column, locator)
    located = pl.lit(None, pl.String) if source is None else structs.column(source)
    # First the values and then the conditions: Polars 2.0 panics on conditions that evaluate
    # fields of a struct which is in several chunks.
    values, checks = _flattened(resolved)
    rows = [_issue(number, check) for number, check in enumerate(checks)]
    lists = {name: pl.concat_list(row[name] for row in rows) for name in rows[0]}
    table = frame.select(located.alias("locator"), *values)
    found = table.select("locator", **lists).explode(*lists).filter(pl.col("number").is_not_null())
    # Words come last: of each row and rule there are only numbers until then.
    named = {
        "rule": _chosen(pl.Series([check.name for check in checks])),
        "property": _chosen(pl.Series([check.quantity.name for check in checks])),
        "severity": _chosen(pl.Series([check.severity for check in checks], dtype=SEVERITIES)),
        "reason": _chosen(pl.Series([check.reason for check in checks])),
    }
    columns = {**named, **{name: pl.col(name) for name in ("value", "threshold", "excess")}}
    return found.select("locator", **{name: columns[name] for name in _COLUMNS}).sort(
        ["severity", "excess", "rule", "locator"], descending=[True, True, False, False]
    )


def flag_issues(
    frame: FrameT,
    rules: RulesLike | None = None,
    *,
    into: str | None = None,
    column: str | None = None,
) -> FrameT:
    """Add a struct of Booleans: for each row and rule, whether the rule is broken.

    Args:
        frame: The frame. A lazy one stays lazy.
        rules: The rules, or the name of a rule set. Unless given, those of
            `RULE_SETS["default"]` whose properties the frame has.
        into: The name of the struct; by default that of the auto-extracted column, with
            `_issues` for `_imgmeta`, or `issues` where there is none. Issues of an earlier
            call under that name are replaced.
        column: The auto-extracted column; may be left out where there is one.

    Returns:
        The frame with the struct, whose fields are the rules. A field is null where the row
        has no value.

    Raises:
        ColumnError: If the frame lacks a property that rules need, or if `into` is taken.
        PropertyError: If a rule set is unknown.

    Examples:
        >>> df = im.scan_images("photos").imgmeta.extract("path").collect()
        >>> dark = im.Rule(name="dim", property="brightness", below=0.3, reason="too dim")
        >>> df = im.flag_issues(df, dark)
        >>> df.filter(pl.col("path_issues").struct.field("dim"))["path"].to_list()
        ['photos/dusk.png']
    """
    resolved = _resolve(frame, rules, column)
    checks = [rule.check(quantity, groups) for rule, quantity, groups in resolved]
    schema = structs.schema_of(frame)
    existing = _existing(schema, column)
    if into is None:
        into = existing.name.removesuffix(structs.SUFFIX) + "_issues" if existing else "issues"
    _require_new_name(schema, into)
    flags = pl.struct(check.verdict.alias(check.name) for check in checks)
    return frame.with_columns(flags.alias(into))


def _resolve(frame: Frame, rules: RulesLike | None, column: str | None) -> list[Resolved]:
    schema = structs.schema_of(frame)
    _existing(schema, column)
    if rules is None:
        return RULE_SETS["default"].resolve(frame, column, only_present=True)
    resolved = as_rule_set(rules).resolve(frame, column)
    if not resolved:
        msg = "`rules` must be at least one, got none"
        raise PropertyError(msg)
    return resolved


def _flattened(resolved: list[Resolved]) -> tuple[list[pl.Expr], list[Check]]:
    """Return what the rules judge as columns of a table, and the rules on that table."""
    values: list[pl.Expr] = []

    def flat(quantity: Quantity) -> Quantity:
        name = f"value {len(values)}"
        values.append(quantity.values.alias(name))
        return replace(quantity, values=pl.col(name))

    checks = [
        rule.check(flat(quantity), groups and flat(groups)) for rule, quantity, groups in resolved
    ]
    return values, checks


def _issue(number: int, check: Check) -> dict[str, pl.Expr]:
    """Return the columns of a row of the list, whose number is null where there is no issue."""
    return {
        "number": pl.when(check.verdict).then(pl.lit(number, pl.UInt16)),
        "value": check.value,
        "threshold": pl.when(check.verdict).then(check.threshold),
        "excess": check.excess,
    }


def _chosen(texts: pl.Series) -> pl.Expr:
    """Return the text of the rule of each number."""
    numbers = pl.int_range(len(texts), dtype=pl.UInt16, eager=True)
    return pl.col("number").replace_strict(numbers, texts, return_dtype=texts.dtype)


def _existing(schema: Mapping[str, pl.DataType], column: str | None) -> StructColumn | None:
    """Return the auto-extracted column; None for a frame of flat columns alone."""
    if column is None and not structs.find(schema):
        return None
    return structs.choose(schema, column)


def _locator_of(frame: Frame, column: str | None, locator: str | None) -> str | None:
    schema = structs.schema_of(frame)
    existing = _existing(schema, column)
    if existing is not None:
        return structs.find_locator(frame, existing, locator)
    if locator is not None:
        structs.require_locator(schema, locator)
    return locator


def _require_new_name(schema: Mapping[str, pl.DataType], into: object) -> None:
    """Check that a column of issues can have this name.

    Raises:
        ColumnError: If another column than earlier issues has it.
    """
    if not isinstance(into, str):
        msg = f"`into` must be the name of a column, got {into!r}"
        raise ColumnError(msg)
    taken = schema.get(into)
    earlier = isinstance(taken, pl.Struct) and all(one.dtype == pl.Boolean for one in taken.fields)
    if taken is not None and not earlier:
        msg = (
            f"`into` must name a new column, got {into!r}, which exists and holds no issues"
            "\n\nHint: choose another name with `into=`"
        )
        raise ColumnError(msg)
