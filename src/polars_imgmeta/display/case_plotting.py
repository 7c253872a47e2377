"""The verb that draws a metric of each test case."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

import polars as pl

from polars_imgmeta.analysis.evaluation import evaluate_cases
from polars_imgmeta.typing import Frame

if TYPE_CHECKING:
    # At run time it is imported on use, as it belongs to an extra.
    import altair as alt

_MOST_CASES: Final = 100


def plot_cases(
    frame: Frame,
    metric: str | pl.Expr,
    by: str = "test_case",
    *,
    title: str | None = None,
    confidence: float = 0.95,
    minimum: int = 30,
    resamples: int = 1_000,
    seed: int = 0,
    column: str | None = None,
) -> alt.LayerChart:
    """Draw a metric of each test case with its confidence interval, beside that of the rest.

    A point is the metric of a case, a line its interval, and a tick the metric of all other
    cases together. The colour says whether the case is lower or higher than these, and which
    cases are too small to say. The numbers are those of
    [`evaluate_cases`][polars_imgmeta.evaluate_cases], whose arguments have the same meaning.

    Args:
        frame: The frame. Of a lazy one, the columns that are needed are collected.
        metric: The name of a property or column, or an expression.
        by: The column of the cases.
        title: The name of the metric in the chart; found out from `metric` unless given.
        confidence: The probability with which an interval contains the true value.
        minimum: The fewest rated images with which a case, and its rest, is judged.
        resamples: How often the bootstrap draws.
        seed: What the draws follow from.
        column: The auto-extracted column that has the property; may be left out where there is
            one.

    Returns:
        An Altair chart, to be changed, joined and saved like any other. Of more than 100 cases,
        those with most images are drawn.

    Raises:
        ImportError: If the extra `plot` is not installed.
        ColumnError: If `by` or `metric` names no column, or if the metric is not numeric.
        ValueError: If `confidence` is not between 0 and 1, or if another number is not positive.

    Examples:
        >>> df = pl.DataFrame({"light": ["day"] * 60 + ["night"] * 40, "score": range(100)})
        >>> chart = im.plot_cases(df, "score", "light")
        >>> chart.to_dict()["title"]["text"]
        'score by light'
    """
    try:
        import_module("altair")
    except ImportError as error:
        msg = f"`plot_cases` needs the extra `plot`: pip install 'polars-imgmeta[plot]' ({error})"
        raise ImportError(msg) from error
    from polars_imgmeta.display import charts  # noqa: PLC0415 - Altair belongs to an extra

    cases = evaluate_cases(
        frame,
        metric,
        by,
        confidence=confidence,
        minimum=minimum,
        resamples=resamples,
        seed=seed,
        column=column,
    )
    named = title or (metric if isinstance(metric, str) else metric.meta.output_name())
    lines = [
        f"lines: {100 * confidence:.4g} % confidence intervals; ticks: the other cases together",
        f"right: images; too small: fewer than {minimum:,} rated images",
    ]
    drawn = cases.rename({by: "case"}).with_columns(
        pl.col("case").cast(pl.String).fill_null("(none)"),
        pl.col("verdict").cast(pl.String),
        rest=pl.col("value") - pl.col("difference"),
    )
    if len(drawn) > _MOST_CASES:
        largest = pl.col("images").rank("ordinal", descending=True) <= _MOST_CASES
        lines.append(f"the largest {_MOST_CASES} of {len(drawn):,} cases are drawn")
        drawn = drawn.filter(largest)
    heading = charts.title(f"{named} by {by}", lines)
    return charts.disarm(charts.cases(drawn, named).properties(title=heading))
