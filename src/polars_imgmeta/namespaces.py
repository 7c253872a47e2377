"""The accessors `imgmeta` of frames, series and expressions.

They hold neither logic nor state beside what they are attached to: each method is a verb
that takes the frame, series or expression as its first argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Generic, ParamSpec, TypeVar

import polars as pl

from polars_imgmeta.analysis import cases, duplicates, evaluation
from polars_imgmeta.analysis.calibration import calibrate
from polars_imgmeta.analysis.drift import compare
from polars_imgmeta.analysis.issues import flag_issues, issues
from polars_imgmeta.analysis.outliers import outliers
from polars_imgmeta.analysis.summaries import summarise
from polars_imgmeta.display import case_plotting, plotting, showing
from polars_imgmeta.display.report import writing
from polars_imgmeta.engines.digest import digest
from polars_imgmeta.typing import FrameT
from polars_imgmeta.verbs import editing, export, extraction, inspection

_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S")
_S_co = TypeVar("_S_co", covariant=True)


def _method(
    verb: Callable[Concatenate[_S, _P], _R],
) -> Callable[Concatenate[_Namespace[_S], _P], _R]:
    """Make a method of a verb, with its signature and its documentation."""

    @wraps(verb)
    def method(self: _Namespace[_S], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return verb(self._subject, *args, **kwargs)

    signature = inspect.signature(verb)
    first, *others = signature.parameters.values()
    own = [first.replace(name="self", annotation=inspect.Parameter.empty), *others]
    method.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    return method


class _Namespace(Generic[_S_co]):
    def __init__(self, subject: _S_co) -> None:
        self._subject = subject

    def __dir__(self) -> list[str]:
        return [name for name in dir(type(self)) if not name.startswith("_")]

    def __repr__(self) -> str:
        return "`extract` returns the properties of these images"


class _FrameNamespace(_Namespace[FrameT]):
    def __repr__(self) -> str:
        return inspection.overview(self._subject)

    extract = _method(extraction.extract)
    add = _method(editing.add)
    remove = _method(editing.remove)
    configure = _method(editing.configure)
    retry = _method(editing.retry)
    refresh = _method(editing.refresh)
    columns = _method(inspection.columns)
    properties = _method(inspection.properties)
    provenance = _method(inspection.provenance)
    errors = _method(inspection.errors)
    status = _method(inspection.status)
    nest = _method(inspection.nest)
    unnest = _method(inspection.unnest)
    test_cases = _method(cases.test_cases)
    issues = _method(issues)
    flag_issues = _method(flag_issues)
    outliers = _method(outliers)
    calibrate = _method(calibrate)
    compare = _method(compare)
    summarise = _method(summarise)
    duplicates = _method(duplicates.duplicates)
    evaluate_cases = _method(evaluation.evaluate_cases)
    plot = _method(plotting.plot)
    plot_cases = _method(case_plotting.plot_cases)
    to_arrow = _method(export.to_arrow)  # type: ignore[arg-type] # `**options` might name the frame
    report = _method(writing.report)
    show = _method(showing.show)


@pl.api.register_dataframe_namespace("imgmeta")
class DataFrameNamespace(_FrameNamespace[pl.DataFrame]):
    """What `df.imgmeta` is."""

    digest = _method(digest)
    write_delta = _method(export.write_delta)  # type: ignore[arg-type] # `**options` might name the frame
    write_parquet = _method(export.write_parquet)  # type: ignore[arg-type] # `**options` might name the frame

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Let consumers of Arrow have the frame with the readable metadata."""
        return export.to_arrow(self._subject).__arrow_c_stream__(requested_schema)


@pl.api.register_lazyframe_namespace("imgmeta")
class LazyFrameNamespace(_FrameNamespace[pl.LazyFrame]):
    """What `lf.imgmeta` is."""

    sink_iceberg = _method(export.sink_iceberg)  # type: ignore[arg-type] # `**options` might name the frame
    sink_parquet = _method(export.sink_parquet)  # type: ignore[arg-type] # `**options` might name the frame


@pl.api.register_expr_namespace("imgmeta")
class ExprNamespace(_Namespace[pl.Expr]):
    """What `pl.col(...).imgmeta` is."""

    extract = _method(extraction.extract_expr)


@pl.api.register_series_namespace("imgmeta")
class SeriesNamespace(_Namespace[pl.Series]):
    """What `series.imgmeta` is."""

    extract = _method(extraction.extract_series)
