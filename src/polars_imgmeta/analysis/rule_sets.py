"""Sets of rules: what they need, what they become on a frame, and in other tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from polars_imgmeta.analysis import rule_exports
from polars_imgmeta.analysis.checks import SEVERITIES, Check
from polars_imgmeta.analysis.rules import AnyRule, OutlierRule, Rule, condition, grouping
from polars_imgmeta.column import structs
from polars_imgmeta.column.fields import Quantity, find_quantity
from polars_imgmeta.exceptions import ColumnError, PropertyError, hint
from polars_imgmeta.typing import Frame

if TYPE_CHECKING:
    import dataframely
    import pandera.polars
    import pointblank


Resolved: TypeAlias = tuple[AnyRule, Quantity, Quantity | None]
"""A rule, the values that it judges, and what groups them."""


class RuleSet(Mapping[str, AnyRule]):
    """Rules by name, in order.

    The methods `to_...` export the rules to other tools, with the same verdict on each row. They
    take a `frame` of the schema that is judged, which may be empty (`to_pointblank` judges its
    rows), and the auto-extracted `column` where there are several. They raise a `ColumnError` if
    the frame lacks a property, and an `ImportError` if the other tool is not installed. Rules that
    take their thresholds from data raise a `PropertyError` but in `to_expressions`: `fit` them
    first.

    Args:
        rules: The rules.

    Raises:
        PropertyError: If two have the same name, or if one is no rule.

    Examples:
        >>> rules = im.RULE_SETS["default"].without("noisy", "odd_size")
        >>> from dataclasses import replace
        >>> rules = rules.updated(replace(rules["dark"], below=0.25))
        >>> rules["dark"].below
        0.25
    """

    def __init__(self, rules: Iterable[AnyRule]) -> None:
        self._rules: dict[str, AnyRule] = {}
        for one in rules:
            if not isinstance(one, Rule | OutlierRule):
                msg = f"`rules` must be of type Rule or OutlierRule, got {type(one).__name__}"
                raise PropertyError(msg)
            if one.name in self._rules:
                msg = f"`rules` must have each name once, got {one.name!r} twice"
                raise PropertyError(msg)
            self._rules[one.name] = one

    def __getitem__(self, name: str) -> AnyRule:
        """A rule."""
        return self._rules[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._rules)

    def __len__(self) -> int:
        """The number of rules."""
        return len(self._rules)

    def __repr__(self) -> str:
        return f"RuleSet({list(self._rules.values())})"

    def updated(self, *rules: AnyRule) -> RuleSet:
        """Return a set in which these rules are added, or replace those of their names."""
        return RuleSet((self._rules | {one.name: one for one in RuleSet(rules).values()}).values())

    def without(self, *names: str) -> RuleSet:
        """Return a set without some rules.

        Raises:
            PropertyError: If there is no rule of a name.
        """
        for name in names:
            if name not in self._rules:
                msg = f"there is no rule {name!r}{hint(name, self._rules)}"
                raise PropertyError(msg)
        return RuleSet(one for name, one in self._rules.items() if name not in names)

    @property
    def properties(self) -> list[str]:
        """The properties and columns that the rules need, for `extract` and `add`."""
        return list(dict.fromkeys(name for one in self.values() for name in _needed(one)))

    def table(self) -> pl.DataFrame:
        """Return a row for each rule, for reading.

        Returns:
            A frame of `rule`, `property`, `condition`, `severity`, `reason` and `source`.

        Examples:
            >>> im.RULE_SETS["default"].table().row(0)[:4]
            ('dark', 'brightness', 'below 0.2', 'high')
        """
        return pl.DataFrame(
            {
                "rule": list(self),
                "property": [one.property for one in self.values()],
                "condition": [condition(one) for one in self.values()],
                "severity": pl.Series([one.severity for one in self.values()], dtype=SEVERITIES),
                "reason": [one.reason for one in self.values()],
                "source": [one.source for one in self.values()],
            }
        )

    def fit(self, frame: Frame, *, column: str | None = None) -> RuleSet:
        """Return the rules with the thresholds that the values of a frame give.

        Rules with fixed thresholds stay as they are. Of a lazy frame only the thresholds are
        collected.

        Args:
            frame: The frame.
            column: The auto-extracted column; may be left out where there is one.

        Raises:
            ColumnError: If the frame lacks a property.
            PropertyError: If a rule has too few values.

        Examples:
            >>> df = pl.DataFrame({"width": [320] * 9})
            >>> odd = im.OutlierRule(name="odd", property="width", reason="of another width")
            >>> im.RuleSet([odd]).fit(df)["odd"].below
            320.0
        """
        schema = structs.schema_of(frame)
        self._require_properties(schema, column)
        return RuleSet(
            one.fit(frame, *_resolve(schema, one, column)) if isinstance(one, OutlierRule) else one
            for one in self.values()
        )

    def resolve(
        self, frame: Frame, column: str | None, *, only_present: bool = False
    ) -> list[Resolved]:
        """Return each rule with the values of a frame that it judges, and what groups them.

        Args:
            frame: The frame.
            column: The auto-extracted column, or None for the only one.
            only_present: Whether rules on properties that the frame lacks are left out, unless
                none would be left.

        Raises:
            ColumnError: If the frame lacks a property that is needed.
        """
        schema = structs.schema_of(frame)
        rules = [one for one in self.values() if not (only_present and _lacking(schema, one))]
        if not rules or not only_present:
            self._require_properties(schema, column)
        return [(one, *_resolve(schema, one, column)) for one in rules]

    def checks(self, frame: Frame, column: str | None) -> list[Check]:
        """Return the rules on the values of a frame.

        Args:
            frame: The frame.
            column: The auto-extracted column, or None for the only one.

        Raises:
            ColumnError: If the frame lacks a property that is needed.
        """
        resolved = self.resolve(frame, column)
        return [rule.check(quantity, groups) for rule, quantity, groups in resolved]

    def to_expressions(self, frame: Frame, *, column: str | None = None) -> dict[str, pl.Expr]:
        """Return the verdict of each rule as an expression of Polars.

        Examples:
            >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path")
            >>> dark = im.RuleSet([im.RULE_SETS["default"]["dark"]])
            >>> df.select(dark.to_expressions(df)["dark"]).item()
            False
        """
        checks = self.checks(frame, column)
        return {check.name: check.verdict.alias(check.name) for check in checks}

    def to_sql(self, frame: Frame, *, column: str | None = None) -> dict[str, str]:
        """Return the verdict of each rule as an expression of SQL, in the dialect of DuckDB.

        Examples:
            >>> import duckdb
            >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path")
            >>> dark = im.RuleSet([im.RULE_SETS["default"]["dark"]])
            >>> duckdb.sql(f"SELECT {dark.to_sql(df)['dark']} FROM df").fetchall()
            [(False,)]
        """
        return rule_exports.to_sql(self._fixed_checks(frame, column))

    def to_pointblank(self, frame: Frame, *, column: str | None = None) -> pointblank.Validate:
        """Return a plan of pointblank for a frame, with a step for each rule.

        Examples:
            >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path")
            >>> dark = im.RuleSet([im.RULE_SETS["default"]["dark"]])
            >>> dark.to_pointblank(df).interrogate().all_passed()
            True
        """
        return rule_exports.to_pointblank(self._fixed_checks(frame, column), frame)

    def to_pandera(
        self, frame: Frame, *, column: str | None = None
    ) -> pandera.polars.DataFrameSchema:
        """Return a schema of pandera, with a check for each rule."""
        return rule_exports.to_pandera(self._fixed_checks(frame, column))

    def to_dataframely(
        self, frame: Frame, *, column: str | None = None
    ) -> type[dataframely.Schema]:
        """Return a schema of dataframely with the columns of a frame, and a rule for each rule.

        Examples:
            >>> df = im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path")
            >>> dark = im.RuleSet([im.RULE_SETS["default"]["dark"]])
            >>> dark.to_dataframely(df).is_valid(df)
            True
        """
        return rule_exports.to_dataframely(self._fixed_checks(frame, column), frame)

    def _fixed_checks(self, frame: Frame, column: str | None) -> list[Check]:
        for one in self.values():
            if isinstance(one, OutlierRule):
                msg = (
                    f"the rule {one.name!r} must have fixed thresholds to be exported, it takes"
                    " them from data\n\nHint: export `rules.fit(frame)`"
                )
                raise PropertyError(msg)
        return self.checks(frame, column)

    def _require_properties(self, schema: Mapping[str, pl.DataType], column: str | None) -> None:
        lacking = {name: one.name for one in self.values() for name in _lacking(schema, one)}
        if not lacking:
            return
        found = structs.find(schema)
        holder = column or next(iter(found), None)
        names = ", ".join(map(repr, lacking))
        rules = ", ".join(map(repr, dict.fromkeys(lacking.values())))
        where = f"{holder!r} lacks" if holder else "the frame lacks"
        call = f"add({names})" if found else f"extract(locator, [{names}])"
        msg = (
            f"`rules` need properties that {where}: {names}"
            f"\n\nHint: compute them with `{call}`,"
            f" or leave out these rules: `rules.without({rules})`"
        )
        raise ColumnError(msg)


def _needed(rule: AnyRule) -> list[str]:
    return [name for name in (rule.property, grouping(rule)) if name is not None]


def _lacking(schema: Mapping[str, pl.DataType], rule: AnyRule) -> list[str]:
    """Return what a rule needs and a frame has neither as a property nor as a column."""
    known = {name for one in structs.find(schema).values() for name in one.properties}
    return [name for name in _needed(rule) if name not in known | set(schema)]


def _resolve(
    schema: Mapping[str, pl.DataType], rule: AnyRule, column: str | None
) -> tuple[Quantity, Quantity | None]:
    quantity = find_quantity(schema, rule.property, column, argument="rules")
    by = grouping(rule)
    groups = find_quantity(schema, by, column, argument="by") if by else None
    return quantity, groups
