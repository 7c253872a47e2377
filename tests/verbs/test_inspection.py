"""The verbs that look at a column, and those that flatten and restore it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import polars_imgmeta as im


@pytest.fixture(scope="module")
def frame(sample_folder: Path) -> pl.DataFrame:
    """Two images with facts of their source, and a missing one."""
    names = ("dusk.png", "noise.png", "gone.png")
    paths = [str(sample_folder / "photos" / name) for name in names]
    return im.extract(pl.DataFrame({"path": paths}), "path", ["width", "source"])


@pytest.mark.parametrize("into", ["path", "label"])
def test_nest_overwrites_no_other_column(frame: pl.DataFrame, into: str) -> None:
    """Neither the locators nor what is the caller's."""
    flat = im.unnest(frame.with_columns(label=pl.lit("precious")), marker=True)
    with pytest.raises(im.ColumnError, match="`into` must name a new or an auto-extracted column"):
        im.nest(flat, into)


def test_times_come_back_from_json(frame: pl.DataFrame, tmp_path: Path) -> None:
    """Where a tool made text of them, every verb goes on."""
    frame.write_ndjson(tmp_path / "a.ndjson")
    back = pl.read_ndjson(tmp_path / "a.ndjson")
    assert im.status(back).equals(im.status(frame))
    assert im.extract(back, "path", ["width", "source"]).equals(frame)
    assert im.refresh(back)["path_imgmeta"].is_null().sum() == 0


@pytest.mark.parametrize("marker", ["path@d033b518:779 width=" + "9" * 24, "path@", "x"])
def test_a_marker_that_means_nothing_is_stale(frame: pl.DataFrame, marker: str) -> None:
    """And ends nothing."""
    text = pl.lit(marker).alias("auto_extracted")
    odd = frame.with_columns(pl.col("path_imgmeta").struct.with_fields(text)).head(1)
    assert im.status(odd)["state"].item() in {"stale", "missing"}
    assert im.extract(odd, "path", "width").equals(frame.head(1))


@pytest.mark.parametrize("where", ["path", [True], 1])
def test_where_is_an_expression(frame: pl.DataFrame, where: Any) -> None:  # noqa: ANN401
    """Anything else is refused when the call is made."""
    with pytest.raises(TypeError, match="`where` must be an expression"):
        im.extract(frame, "path", where=where)
    with pytest.raises(TypeError, match="`where` must be an expression"):
        im.retry(frame, where=where)


@pytest.mark.parametrize("where", [pl.col("path"), pl.lit(pl.Series([True, False]))])
def test_where_is_boolean_for_each_row(frame: pl.DataFrame, where: pl.Expr) -> None:
    """It is one clear error."""
    with pytest.raises(im.ColumnError, match="`where` must be a Boolean expression"):
        im.extract(frame, "path", where=where)
