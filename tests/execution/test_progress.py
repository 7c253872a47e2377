"""The progress bar: on a terminal or in a notebook, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import polars_imgmeta as im
from polars_imgmeta.cli.command import main
from polars_imgmeta.execution import progress, scheduler

AT_ONCE = "from polars_imgmeta.execution import progress; progress._PATIENCE_SECONDS = 0"
EXTRACT = (
    "import polars as pl, polars_imgmeta as im; im.extract(pl.DataFrame({'path': %r}), 'path'%s)"
)


def run(code: str, *, on_terminal: bool) -> str:
    """Run code in a new process, and return what it writes to its standard error stream."""
    if not on_terminal:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout == ""
        return done.stderr
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        assert process.wait(60) == 0
    os.close(ours)
    return shown.decode()


@pytest.fixture
def paths(sample_folder: Path) -> list[str]:
    """Two images, one of them three times, and none."""
    photos = sample_folder / "photos"
    return [str(photos / "dusk.png")] * 3 + [str(photos / "noise.png"), str(photos / "gone.png")]


@pytest.mark.parametrize(
    ("argument", "on_terminal", "patient", "shown"),
    [
        ("", True, False, True),
        ("", True, True, False),  # it takes less than a second
        ("", False, False, False),
        (", progress=True", True, True, True),
        (", progress=True", False, True, True),
        (", progress=False", True, False, False),
    ],
)
def test_a_bar_is_shown_where_it_can_be_seen(
    argument: str,
    paths: list[str],
    *,
    on_terminal: bool,
    patient: bool,
    shown: bool,
) -> None:
    """On a terminal, for long work; or as told."""
    code = ("" if patient else AT_ONCE + "\n") + EXTRACT % (paths, argument)
    output = run(code, on_terminal=on_terminal)
    assert bool(output) == shown
    if shown:
        assert "3/3" in output  # images, each once
        assert "failed=1" in output
        assert "images/s" in output


def test_nothing_to_do_shows_nothing(paths: list[str]) -> None:
    """A second extraction has no bar."""
    code = (
        f"{AT_ONCE}; import polars as pl, polars_imgmeta as im, sys\n"
        f"df = im.extract(pl.DataFrame({{'path': {paths}}}), 'path', progress=False)\n"
        "im.extract(df, 'path', progress=True)"
    )
    assert run(code, on_terminal=True) == ""


def test_every_reading_verb_has_it(paths: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`progress=True` is heard by all of them."""
    frame = pl.DataFrame({"path": paths})
    done = im.extract(frame, "path", "width", progress=True)
    assert "3/3" in capsys.readouterr().err
    im.add(done, "height", progress=True)
    assert "3/3" in capsys.readouterr().err
    im.configure(done, ["height"], progress=True)
    assert "3/3" in capsys.readouterr().err
    im.retry(done, progress=True)
    assert "1/1" in capsys.readouterr().err
    im.extract_series(frame["path"], progress=True)
    assert "3/3" in capsys.readouterr().err


def test_an_error_ends_the_bar(paths: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What is raised comes after it."""
    with pytest.raises(im.NotFoundError):
        im.extract(pl.DataFrame({"path": paths}), "path", on_error="raise", progress=True)
    assert "failed=1" in capsys.readouterr().err


def test_a_lazy_frame_has_none(paths: list[str]) -> None:
    """It is refused when the call is made, with a way out."""
    lazy = pl.LazyFrame({"path": paths})
    with pytest.raises(ValueError, match="collect the locators first"):
        im.extract(lazy, "path", progress=True)
    assert im.extract(lazy, "path", "width", progress=False).collect().height == len(paths)
    with pytest.raises(ValueError, match="`progress` must be True, False or None, got 'yes'"):
        im.extract(pl.DataFrame({"path": paths}), "path", progress="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["--progress", "--no-progress"])
def test_the_command_has_it(
    word: str, sample_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line decides as the argument does."""
    photos = str(sample_folder / "photos")
    assert main(["extract", photos, "-p", "width", word, "--max-failed", "3"]) == 0
    assert bool(capsys.readouterr().err) == (word == "--progress")


class Closed:
    """A stream that raises whatever is done with it."""

    def __getattr__(self, name: str) -> object:
        """Have nothing but `write`, which fails."""
        if name == "write":
            raise ValueError
        raise AttributeError(name)


@pytest.mark.parametrize("stream", [None, Closed()])
@pytest.mark.parametrize("wanted", [None, True])
def test_a_stream_that_cannot_show_it_ends_nothing(
    stream: object, *, wanted: bool | None, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs replace the error stream, close it, or have none."""
    monkeypatch.setattr(sys, "stderr", stream)
    result = im.extract(pl.DataFrame({"path": paths}), "path", "width", progress=wanted)
    assert im.unnest(result)["width"].to_list() == [320, 320, 320, 320, None]


def test_a_notebook_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell with a kernel is a notebook; a terminal's IPython is none."""

    class Shell:
        kernel: object = None

    class IPython:
        shell: Shell | None = None

        @classmethod
        def get_ipython(cls) -> Shell | None:
            return cls.shell

    monkeypatch.setitem(sys.modules, "IPython", IPython)
    assert not progress._in_notebook()  # noqa: SLF001
    IPython.shell = Shell()
    assert not progress._in_notebook()  # noqa: SLF001
    IPython.shell.kernel = object()
    assert progress._in_notebook()  # noqa: SLF001


def test_the_watcher_is_told_everything_once() -> None:
    """Every result is news once, in the caller's thread."""
    news: list[tuple[int, int]] = []
    for results in scheduler.run(
        lambda feed: ((number, 2 * item) for number, item in feed), range(1000)
    ):
        news.extend(results)
    assert sorted(news) == [(item, 2 * item) for item in range(1000)]
