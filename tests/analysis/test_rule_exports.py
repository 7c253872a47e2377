"""One rule set has the same verdict on each row in Polars, SQL and the tools that check tables."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import extracted, fractions

import polars_imgmeta as im

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # of PySpark, which pandera imports
    import pandera.polars

Row = tuple[float | None, bool | None, str | None, str | None]
Verdicts = dict[str, list[bool | None]]

SITES = ["it's", 'the "north"', "^.*$", None]
RULES = im.RuleSet(
    [
        im.Rule(name="dark", property="brightness", below=0.2, reason="it is dark"),
        im.Rule(name="both", property="brightness", below=0.35, above=0.85, reason="extreme"),
        im.Rule(name="long", property="brightness", above=0.1234567890123456789, reason="long"),
        im.Rule(name="tiny", property="brightness", below=5e-324, reason="nothing is less"),
        im.Rule(name="grey", property="is_greyscale", equals=True, reason="it has no colour"),
        im.Rule(name="mode L", property="mode", equals="L", reason="it has one channel"),
        im.Rule(
            name="by_site",
            property="brightness",
            below=im.GroupBounds("the site", {"it's": 0.3, None: 0.6}),
            reason="darker than its site",
        ),
        im.Rule(
            name="by_mode",
            property="brightness",
            above=im.GroupBounds("mode", {"L": 0.2}, default=0.8),
            reason="brighter than its kind",
        ),
    ]
)


def frame_of(rows: Sequence[Row]) -> pl.DataFrame:
    """Return the rows as a frame, with the last value in a column of its own."""
    brightness, grey, mode, site = (list(values) for values in zip(*rows, strict=True))
    values = {"brightness": brightness, "is_greyscale": grey, "mode": mode}
    sites = pl.Series("the site", site, pl.String)
    return extracted(values).with_columns(sites)


def judge(row: Row) -> dict[str, bool | None]:
    """Return the verdicts of one row, in plain Python."""
    value, grey, mode, site = row
    if value is None or math.isnan(value):
        of_value: dict[str, bool | None] = dict.fromkeys(
            ["dark", "both", "long", "tiny", "by_site", "by_mode"]
        )
    else:
        of_site = {"it's": 0.3, None: 0.6}.get(site)
        of_value = {
            "dark": value < 0.2,
            "both": value < 0.35 or value > 0.85,
            "long": value > 0.1234567890123456789,
            "tiny": value < 5e-324,
            "by_site": None if of_site is None else value < of_site,
            "by_mode": value > (0.2 if mode == "L" else 0.8),
        }
    words = {"grey": grey, "mode L": None if mode is None else mode == "L"}
    return {name: (of_value | words)[name] for name in RULES}


def by_duckdb(frame: pl.DataFrame) -> list[dict[str, bool | None]]:
    """Return the verdicts of DuckDB."""
    terms = ", ".join(f'{term} AS "{name}"' for name, term in RULES.to_sql(frame).items())
    verdicts: list[dict[str, bool | None]] = (
        duckdb.from_arrow(frame.to_arrow()).select(terms).pl().to_dicts()
    )
    return verdicts


rows = st.lists(
    st.tuples(
        fractions,
        st.none() | st.booleans(),
        st.sampled_from(["L", "RGB", None]),
        st.sampled_from(SITES),
    ),
    min_size=1,
    max_size=12,
)


@given(rows)
def test_polars_and_sql(drawn: list[Row]) -> None:
    """Expressions of Polars and of SQL have the verdicts of plain Python, nulls included."""
    frame = frame_of(drawn)
    expected = [judge(row) for row in drawn]
    assert frame.select(**RULES.to_expressions(frame)).to_dicts() == expected
    assert by_duckdb(frame) == expected


def failing(drawn: list[Row]) -> dict[str, set[int]]:
    """Return the rows that each rule should reject."""
    verdicts = [judge(row) for row in drawn]
    return {name: {row for row, one in enumerate(verdicts) if one[name]} for name in RULES}


@given(rows)
def test_dataframely(drawn: list[Row]) -> None:
    """A schema of dataframely rejects the rows that are issues, by the same rules."""
    frame = frame_of(drawn)
    schema = RULES.to_dataframely(frame)
    good, failure = schema.filter(frame)
    found = {name: failure.details().filter(pl.col(name) == "invalid")["path"] for name in RULES}
    numbers = {name: {int(path[:3]) for path in paths} for name, paths in found.items()}
    assert numbers == failing(drawn)
    assert len(good) == len(drawn) - len(set().union(*numbers.values()))
    assert good.columns == frame.columns


@given(rows)
def test_pandera(drawn: list[Row]) -> None:
    """A schema of pandera reports the rows that are issues."""
    frame = frame_of(drawn)
    found: dict[str, set[int]] = {name: set() for name in RULES}
    try:
        RULES.to_pandera(frame).validate(frame, lazy=True)
    except pandera.polars.errors.SchemaErrors as error:
        cases = error.failure_cases
        for check, row in cases.select("check", "index").iter_rows():
            found[check.split(":")[0]].add(row)
    assert found == failing(drawn)


@given(rows)
def test_pointblank(drawn: list[Row]) -> None:
    """A plan of pointblank has a step for each rule, which fails on the rows that are issues."""
    frame = frame_of(drawn)
    plan = RULES.to_pointblank(frame).interrogate()
    extracts = plan.get_data_extracts()
    found = {
        name: {row - 1 for row in extracts[step]["_row_num_"]}
        if extracts[step] is not None
        else set()
        for step, name in enumerate(RULES, start=1)
    }
    assert found == failing(drawn)


def test_flat_frames() -> None:
    """After `unnest` the rules judge the flat columns, in all forms."""
    drawn: list[Row] = [(0.1, True, "L", "it's"), (None, None, None, None), (0.9, False, "P", "")]
    frame = im.unnest(frame_of(drawn))
    expected = [judge(row) for row in drawn]
    assert frame.select(**RULES.to_expressions(frame)).to_dicts() == expected
    assert by_duckdb(frame) == expected


EXPORTS = ["to_sql", "to_pointblank", "to_pandera", "to_dataframely"]


@pytest.mark.parametrize("export", EXPORTS)
def test_thresholds_of_the_data_are_fixed_first(export: str) -> None:
    """A rule without thresholds cannot leave, and `fit` gives it those of the frame."""
    frame = extracted({"brightness": [0.5] * 9 + [0.9]})
    odd = im.OutlierRule(name="odd", property="brightness", reason="far from the others")
    rules = im.RuleSet([odd])
    with pytest.raises(im.PropertyError) as caught:
        getattr(rules, export)(frame)
    assert str(caught.value) == (
        "the rule 'odd' must have fixed thresholds to be exported, it takes them from data"
        "\n\nHint: export `rules.fit(frame)`"
    )
    getattr(rules.fit(frame), export)(frame)


def test_a_tool_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "pointblank", None)
    with pytest.raises(ImportError, match=r"^this export needs pointblank: pip install"):
        RULES.to_pointblank(frame_of([(0.1, True, "L", "it's")]))
