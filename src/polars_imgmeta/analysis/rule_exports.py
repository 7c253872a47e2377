"""Rules for tools that check tables: the same verdicts, in the form that each tool takes.

A row fails a check exactly where the verdict of the rule is true; a row without a verdict
passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_imgmeta.analysis.checks import Check
from polars_imgmeta.typing import Frame

if TYPE_CHECKING:
    import dataframely
    import pandera.polars
    import pointblank


def to_pointblank(checks: Sequence[Check], frame: Frame) -> pointblank.Validate:
    """Return a plan of a step for each rule."""
    plan: pointblank.Validate = _require("pointblank").Validate(frame)
    for check in checks:
        brief = f"{check.name}: {check.reason}"
        plan = plan.col_vals_expr(expr=check.valid, brief=brief)
    return plan


def to_pandera(checks: Sequence[Check]) -> pandera.polars.DataFrameSchema:
    """Return a schema of a check for each rule; other columns are allowed."""
    pandera_polars = _require("pandera.polars", "pandera[polars]")
    schema: pandera.polars.DataFrameSchema = pandera_polars.DataFrameSchema(
        checks=[
            pandera_polars.Check(
                _passes(check), name=check.name, error=f"{check.name}: {check.reason}"
            )
            for check in checks
        ]
    )
    return schema


def to_dataframely(checks: Sequence[Check], frame: Frame) -> type[dataframely.Schema]:
    """Return a schema of the columns of a frame, with a rule for each rule."""
    dy = _require("dataframely")
    # Names of columns may be none of Python's.
    names = enumerate(frame.collect_schema())
    columns = {f"column_{place}": dy.Any(alias=name) for place, name in names}
    rules = {check.name: dy.rule()(_valid_of(check)) for check in checks}
    schema: type[dataframely.Schema] = type("ImageRules", (dy.Schema,), {**columns, **rules})
    return schema


def to_sql(checks: Sequence[Check]) -> dict[str, str]:
    """Return an expression for each rule."""
    return {check.name: check.sql() for check in checks}


def _passes(check: Check) -> Callable[[Any], pl.LazyFrame]:
    def passes(data: Any) -> pl.LazyFrame:  # noqa: ANN401 - pandera's PolarsData
        verdicts: pl.LazyFrame = data.lazyframe.select(check.valid.alias(check.name))
        return verdicts

    return passes


def _valid_of(check: Check) -> Callable[[Any], pl.Expr]:
    def valid(_: Any) -> pl.Expr:  # noqa: ANN401 - the schema
        return check.valid

    return valid


def _require(module: str, package: str | None = None) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        name = package or module
        msg = f"this export needs {name}: pip install '{name}' ({error})"
        raise ImportError(msg) from error
