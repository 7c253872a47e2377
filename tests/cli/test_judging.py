"""`imgmeta issues` and `imgmeta compare`."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tables import extracted

import polars_imgmeta as im
from polars_imgmeta.cli.command import main


@pytest.fixture(autouse=True)
def _tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in a directory with two tables."""
    monkeypatch.chdir(tmp_path)
    light = [0.3 + number / 100 for number in range(50)]
    im.write_parquet(extracted({"brightness": light}), "day.parquet")
    im.write_parquet(extracted({"brightness": [0.1] * 25 + light[25:]}), "night.parquet")


def test_issues(capsys: pytest.CaptureFixture[str]) -> None:
    """The worst are printed, with a count of each rule."""
    assert main(["issues", "night.parquet"]) == 0
    shown = capsys.readouterr().out
    assert "25 of 50 images with issues: dark 25" in shown
    assert "000.png" in shown
    assert "and 5 more: `--format csv` lists all, with reasons" in shown
    assert main(["issues", "day.parquet"]) == 0
    assert capsys.readouterr().out == "No issue in 50 images.\n"


@pytest.mark.parametrize(("limit", "status"), [("24", 1), ("25", 0), ("49%", 1), ("50%", 0)])
def test_too_many_issues_fail(limit: str, status: int) -> None:
    """The limit is a count of images or a percentage."""
    assert main(["issues", "night.parquet", "--max-issues", limit]) == status


def test_issues_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """CSV and NDJSON have all rows and columns."""
    assert main(["issues", "night.parquet", "--format", "csv"]) == 0
    found = pl.read_csv(capsys.readouterr().out.encode())
    expected = im.issues(pl.read_parquet("night.parquet"))
    assert found.columns == expected.columns
    assert len(found) == 25
    assert main(["issues", "night.parquet", "--format", "ndjson"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["reason"] == "the picture is dark"


def test_a_rule_set_that_needs_more(capsys: pytest.CaptureFixture[str]) -> None:
    """The message says what to add."""
    assert main(["issues", "day.parquet", "--rules", "cleanvision"]) == 2
    assert "compute them with `add('cleanvision_dark'" in capsys.readouterr().err


def test_compare(capsys: pytest.CaptureFixture[str]) -> None:
    """What has shifted is explained by a range and images, and can fail."""
    assert main(["compare", "day.parquet", "night.parquet"]) == 0
    shown = capsys.readouterr().out
    assert "brightness" in shown
    assert "brightness up to 0.1: 0.0% of day.parquet, 50.0% of night.parquet, such as" in shown
    assert main(["compare", "day.parquet", "night.parquet", "--fail"]) == 1
    assert main(["compare", "day.parquet", "day.parquet", "--fail"]) == 0
    capsys.readouterr()
    assert main(["compare", "day.parquet", "night.parquet", "--format", "csv"]) == 0
    assert pl.read_csv(capsys.readouterr().out.encode())["verdict"].to_list() == ["shifted"]
