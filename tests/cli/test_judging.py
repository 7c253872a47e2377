"""`imgmeta issues`, `imgmeta duplicates`, `imgmeta compare` and `imgmeta cases`."""

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


@pytest.fixture
def rated() -> pl.DataFrame:
    """A table of 160 images, of which a model gets the dark half wrong more often."""
    light = [number / 160 for number in range(160)]
    frame = extracted({"brightness": light}).with_columns(
        pl.Series("correct", [number % 10 < (4 if number < 80 else 9) for number in range(160)]),
        pl.Series("label", ["cat", "dog"] * 80),
    )
    im.write_parquet(frame, "rated.parquet")
    return frame


@pytest.mark.parametrize(
    ("options", "by", "bins"),
    [
        ([], ["brightness"], None),
        (["--bins", "0.25,0.5"], ["brightness"], [0.25, 0.5]),
        (["--by", "correct_share"], ["brightness", "correct_share"], None),
    ],
)
def test_cases(
    options: list[str],
    by: list[str],
    bins: list[float] | None,
    rated: pl.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Programs get what `test_cases` and `evaluate_cases` return, and a file has it too."""
    frame = rated.with_columns(correct_share=pl.int_range(pl.len()) % 7)
    im.write_parquet(frame, "rated.parquet")
    command = ["cases", "rated.parquet", "--by", "brightness", "--metric", "correct", *options]
    expected = im.evaluate_cases(im.test_cases(frame, by, bins), "correct")
    assert main([*command, "--format", "csv", "-o", "cases.parquet"]) == 0
    printed = pl.read_csv(capsys.readouterr().out.encode())
    written = pl.read_parquet("cases.parquet")
    assert written["case"].cast(pl.String).equals(expected["test_case"].cast(pl.String))
    assert written.drop("case").equals(expected.drop("test_case"))
    assert printed["images"].to_list() == expected["images"].to_list()
    assert main(command) == 0
    assert main([*command, "-o", "cases.parquet"]) == 2


def test_cases_in_words(rated: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    """The table says which case is worse and by how much, and which are too small."""
    command = ["cases", "rated.parquet", "--metric", "correct", "--by"]
    assert main([*command, "brightness", "--bins", "0.1,0.5"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "correct differs from the rest in 2 of 2 cases with 30 images or more\n"
    )
    table = im.evaluate_cases(im.test_cases(rated, "brightness", [0.1, 0.5]), "correct")
    small, dark, light = table.iter_rows(named=True)
    assert "brightness [0, 0.1)" in shown
    assert "too small" in shown
    assert f"lower by {-dark['difference']:.3g}" in shown
    assert f"higher by {light['difference']:.3g}" in shown
    assert small["images"] == 16
    assert main([*command, "brightness", "--minimum", "10"]) == 0
    assert "of 4 cases with 10 images or more" in capsys.readouterr().out
    # A column of words has its own cases.
    assert main([*command, "label", "--format", "csv"]) == 0
    assert pl.read_csv(capsys.readouterr().out.encode())["case"].to_list() == ["cat", "dog"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "light", "--metric", "correct"], "`--by` must name a property or a column"),
        (["--by", "brightness", "--metric", "corect"], "did you mean 'correct'?"),
        (["--by", "brightness", "--metric", "label"], "must be a number or a Boolean"),
        (["--by", "label", "--bins", "3", "--metric", "correct"], "`by` must name numbers"),
        (["--by", "brightness", "--bins", "3", "--metric", "correct"], "edges between 0 and 1"),
    ],
)
def test_mistakes_about_cases(
    options: list[str],
    message: str,
    rated: pl.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is read in vain, and the message says what to give."""
    assert not rated.is_empty()
    assert main(["cases", "rated.parquet", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_report_evaluates_a_metric(rated: pl.DataFrame, tmp_path: Path) -> None:
    """The page of a table has the test cases of the metric that is named."""
    (tmp_path / "images").mkdir()
    frame = rated.with_columns(path=pl.lit("images/none.png"))
    im.write_parquet(frame, "rated.parquet")
    assert main(["report", "rated.parquet", "-o", "page.html", "--metric", "correct"]) == 0
    assert '"metric":"correct"' in Path("page.html").read_text("utf-8")
