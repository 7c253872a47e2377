"""The command `imgmeta`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import polars_imgmeta as im
from polars_imgmeta.cli.command import main
from polars_imgmeta.verbs import extraction


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in a directory of its own."""
    monkeypatch.chdir(tmp_path)


def test_without_a_folder_it_draws_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sample images are drawn and described, with the errors of corrupt ones."""
    assert main([]) == 0
    output = capsys.readouterr().out
    assert "Drew images into imgmeta-samples/." in output
    assert "12 images" in output
    assert "3 failed." in output
    assert "imgmeta-samples/dusk.png" in output
    assert "imgmeta-samples/notes.jpg: unsupported: not an image of a known format" in output
    assert len(list((tmp_path / "imgmeta-samples").iterdir())) == 12


def test_a_folder_into_a_file(sample_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole frame is written, as Parquet with metadata or as flat CSV."""
    photos = str(sample_folder / "photos")
    assert main([photos, "-o", "photos.parquet", "-p", "geometry,brightness"]) == 0
    frame = pl.read_parquet("photos.parquet")
    assert im.properties(frame) == [*im.GROUPS["geometry"], "brightness"]
    assert main([photos, "-o", "photos.csv"]) == 0
    assert pl.read_csv("photos.csv").columns == [
        *("path", *im.GROUPS["source"], *im.GROUPS["standard"], "error")
    ]
    assert "Wrote photos.csv." in capsys.readouterr().out
    assert main([photos, "-o", "photos.csv", "-p", "source"]) == 0
    assert pl.read_csv("photos.csv").columns == ["path", *im.GROUPS["source"], "error"]
    assert "modified" in capsys.readouterr().out


def test_a_folder_into_a_page(
    sample_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report shows the same frame as the terminal."""
    assert main([str(sample_folder / "photos"), "--report", "photos.html"]) == 0
    assert "Wrote photos.html." in capsys.readouterr().out
    page = (tmp_path / "photos.html").read_text("utf-8")
    assert f'"title":"Images of {sample_folder}/photos"' in page


def test_many_failures_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first ten failures are listed, the others counted."""
    for number in range(15):
        (tmp_path / f"{number:02}.jpg").write_text("no image")
    assert main([str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "15 failed." in output
    assert "09.jpg: unsupported" in output
    assert "10.jpg: unsupported" not in output
    assert "and 5 more" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "imgmeta: `source` must be a folder, a file or a pattern, got 'nowhere'"),
        (["."], "imgmeta: no images in ."),
        (["-p", "widht"], "Hint: did you mean 'width'?"),
        ([""], "imgmeta: '': an empty string"),
        (["-o", "nowhere/a.csv"], "imgmeta: --output must be in a folder that exists"),
        (["-r", "nowhere/a.html"], "imgmeta: --report must be in a folder that exists"),
        (["-r", "a.txt"], "imgmeta: --report must end in .html or .htm, got a.txt"),
        (["-o", "a.txt"], "imgmeta: --output must end in .parquet or .csv, got a.txt"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Mistakes exit with status 2 and a message before any work is done."""
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_exits_cleanly(
    sample_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C prints no traceback, and exits with the status of shells."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(extraction, "extract", interrupt)
    assert main([str(sample_folder / "photos")]) == 130
    assert capsys.readouterr().err == "imgmeta: interrupted\n"


def test_one_image(sample_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A single file is a valid source."""
    assert main([str(sample_folder / "photos" / "dusk.png")]) == 0
    assert capsys.readouterr().out.startswith("1 image in ")


def test_a_terminal_without_unicode(sample_folder: Path) -> None:
    """The table is drawn in ASCII if the encoding has no other characters."""
    done = subprocess.run(
        [sys.executable, "-m", "polars_imgmeta", str(sample_folder / "photos" / "dusk.png")],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.isascii()
    assert "| 320 " in done.stdout


def test_the_command_is_installed() -> None:
    """The entry point runs."""
    command = Path(sys.executable).parent / "imgmeta"
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "Extract properties of the images in a folder." in done.stdout
