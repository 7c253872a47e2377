"""`imgmeta issues`, `imgmeta duplicates` and `imgmeta compare`."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from album import make_album
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


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of four pictures, of which one is copied and one also there in half the size."""
    folder = tmp_path / "album"
    folder.mkdir()
    make_album(folder)
    return folder


def test_duplicates_of_a_folder(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of images needs no table, and the best of each group comes first."""
    assert main(["duplicates", "album"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("2 groups of images that match among 6 images; 2 can go: ")
    assert "same file 1" in shown
    assert "similar 1" in shown
    assert main(["duplicates", "album", "--format", "csv"]) == 0
    listed = pl.read_csv(capsys.readouterr().out.encode())
    names = [Path(locator).name for locator in listed["locator"]]
    assert {*names} == {"a.png", "twin.png", "d.png", "small.png"}
    assert listed["keep"].to_list() == [True, False, True, False]
    reasons = dict(zip(names, listed["reason"], strict=True))
    assert {reasons["a.png"], reasons["twin.png"]} == {None, "same file"}
    assert (reasons["d.png"], reasons["small.png"]) == (None, "similar")
    (album / "twin.png").unlink()
    (album / "small.png").unlink()
    assert main(["duplicates", "album"]) == 0
    assert capsys.readouterr().out == "No image is like another of 4 images.\n"


@pytest.mark.parametrize(("limit", "status"), [("1", 1), ("2", 0), ("33%", 1), ("34%", 0)])
def test_too_many_copies_fail(album: Path, limit: str, status: int) -> None:
    """The limit is a count of images or a percentage."""
    assert main(["duplicates", str(album), "--max-copies", limit]) == status


def test_duplicates_across_splits_and_against_a_table(
    album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Leaks are between splits only; old images are kept, and new ones are copies of them."""
    df = im.extract(im.scan_images(album), "path", ["identity", "size"]).collect()
    name = pl.col("path").str.extract(r"(\w+)\.png$")
    df = df.with_columns(split=pl.when(name.is_in(["a", "small"])).then(1).otherwise(2))
    im.write_parquet(df, "all.parquet")
    assert main(["duplicates", "all.parquet", "--across", "split", "--format", "ndjson"]) == 0
    listed = pl.read_ndjson(capsys.readouterr().out.encode())
    assert sorted(listed["split"]) == [1, 1, 2, 2]
    im.write_parquet(df.filter(name.is_in(["a", "b"])), "old.parquet")
    im.write_parquet(df.filter(name == "twin"), "new.parquet")
    assert main(["duplicates", "new.parquet", "--against", "old.parquet", "-o", "new.csv"]) == 0
    assert "1 can go: same file 1" in capsys.readouterr().out
    assert [Path(one).name for one in pl.read_csv("new.csv")["copy_of"]] == ["a.png"]
    assert main(["duplicates", "all.parquet", "--distance", "exact", "--max-copies", "0"]) == 1
    assert "same file 1" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "jsonl", "arrow", "parquet"])
def test_results_are_written_to_files(suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file has all rows, is not overwritten by accident, and text is printed still."""
    command = ["issues", "night.parquet", "-o", f"found.{suffix}"]
    assert main(command) == 0
    assert "25 of 50 images with issues" in capsys.readouterr().out
    readers = {"csv": pl.read_csv, "arrow": pl.read_ipc, "parquet": pl.read_parquet}
    found = readers.get(suffix, pl.read_ndjson)(f"found.{suffix}")
    assert (
        found["locator"].to_list()
        == im.issues(pl.read_parquet("night.parquet"))["locator"].to_list()
    )
    assert main(command) == 2
    assert f"found.{suffix} exists; --overwrite replaces it" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert main(["compare", "day.parquet", "night.parquet", "-o", f"drift.{suffix}"]) == 0


def test_duplicates_need_something_to_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what to extract, and that a folder is empty."""
    assert main(["duplicates", "day.parquet"]) == 2
    assert "`add('perceptual_hash')`" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["duplicates", "empty"]) == 2
    assert "no images in empty" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["duplicates", "day.parquet", "--distance", "many"])
    assert main(["duplicates", "day.parquet", "--distance", "64"]) == 2
