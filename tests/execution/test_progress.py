"""The progress bar: on a terminal or in a notebook, and nowhere else."""

from __future__ import annotations

import logging
import os
import pickle
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import polars_imgmeta as im
from polars_imgmeta.cli.command import main
from polars_imgmeta.execution import progress, scheduler, watching
from polars_imgmeta.typing import OnError

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


def test_what_cannot_tell_it_is_refused(paths: list[str]) -> None:
    """When the call is made, with a way out."""
    with pytest.raises(ValueError, match=r"got an expression.*\n\nHint: use `frame.imgmeta"):
        im.extract_expr(pl.col("path"), progress=True)
    with pytest.raises(ValueError, match="`progress` must be True, False, None or a function"):
        im.extract(pl.DataFrame({"path": paths}), "path", progress="yes")  # type: ignore[arg-type]


@pytest.fixture
def many(sample_folder: Path, tmp_path: Path) -> list[str]:
    """The paths of many images, so that a run has several batches."""
    paths = [str(tmp_path / f"{number:04}.png") for number in range(3_000)]
    for path in paths:
        Path(path).hardlink_to(sample_folder / "photos" / "dusk.png")
    return paths


LAZY = (
    "import polars as pl, polars_imgmeta as im\n"
    "from polars_imgmeta.execution import progress; progress._PATIENCE_SECONDS = 0\n"
    "width = pl.col('path_imgmeta').struct.field('width')\n"
    "rows = im.scan_images(%r).select('path').collect().head(3_000)\n"
    "plan = im.extract(rows.lazy(), 'path', 'width'%s)\n"
)


def bars(shown: str) -> list[str]:
    """Return how the bars of a terminal ended: each on a line of its own."""
    return [line.rsplit("\r", 1)[-1] for line in shown.split("\r\n") if "rows" in line]


@pytest.mark.parametrize(
    ("run_plan", "count"),
    [
        ("plan.collect()", "3000/3000"),
        ("plan.collect(engine='in-memory')", "3000/3000"),
        ("plan.imgmeta.sink_parquet('out.parquet')", "3000/3000"),
        ("plan.sink_parquet('out.parquet')", "3000/3000"),
        ("list(plan.collect_batches())", "3000/3000"),
        ("plan.filter(width < 0).collect()", "3000/3000"),
        ("plan.filter(pl.col('path').str.ends_with('7.png')).collect()", "300 rows"),
        ("plan.head(2000).collect()", "2000/2000"),
        ("im.add(plan, 'height').collect()", "3000 rows"),
        (
            "rows.write_parquet('in.pq'); im.extract(pl.scan_parquet('in.pq'), 'path').collect()",
            "3000/3000",
        ),
        (
            "rows.write_csv('in.csv'); im.extract(pl.scan_csv('in.csv'), 'path').collect()",
            "3000 rows",
        ),
    ],
)
def test_a_run_of_a_plan_has_one_bar(
    run_plan: str, count: str, many: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with the run, at what was computed; the total is told where it is known."""
    monkeypatch.chdir(tmp_path)
    shown = run(LAZY % (str(Path(many[0]).parent), "") + run_plan, on_terminal=True).replace(
        "images", "rows"
    )
    (bar,) = bars(shown)
    assert count in bar


ENDINGS = {
    "an early head": "plan.filter(width > 0).head(3).collect(); print('after', file=sys.stderr)",
    "an error": (
        "fail = pl.col('path').map_batches(lambda _: 1 / 0, return_dtype=pl.Int64)\n"
        "try: plan.with_columns(fail.alias('x')).collect()\n"
        "except Exception: print('after', file=sys.stderr)"
    ),
    "Ctrl-C": (
        "import os, signal\n"
        "stop = lambda s: [os.kill(os.getpid(), signal.SIGINT), s][1]\n"
        "stopping = pl.col('path').map_batches(stop, return_dtype=pl.String, is_elementwise=True)\n"
        "plan = im.extract(rows.lazy(), 'path')\n"
        "try:\n"
        "    try: plan.with_columns(stopping).collect()\n"
        "    finally: time.sleep(0.5)\n"
        "except KeyboardInterrupt: print('after', file=sys.stderr)"
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_bar_ends_with_its_run(ending: str, many: list[str]) -> None:
    """However the run ends: what is printed later has a line of its own."""
    code = "import sys, time\n" + LAZY % (str(Path(many[0]).parent), "") + ENDINGS[ending]
    shown = run(code, on_terminal=True)
    assert len(bars(shown)) <= 1
    assert shown.rstrip().split("\r\n")[-1].rsplit("\r", 1)[-1] == "after"


@pytest.mark.parametrize(
    ("argument", "on_terminal", "shown"),
    [("", False, False), (", progress=False", True, False), (", progress=True", False, True)],
)
def test_a_plan_heeds_the_option(
    argument: str, many: list[str], *, on_terminal: bool, shown: bool
) -> None:
    """As an eager frame does."""
    output = run(
        LAZY % (str(Path(many[0]).parent), argument) + "plan.collect()", on_terminal=on_terminal
    )
    assert ("3000/3000" in output) == shown
    assert bool(output) == shown


@pytest.mark.parametrize("on_error", ["null", "raise"])
def test_a_function_is_told(on_error: OnError, many: list[str]) -> None:
    """Of the rows of a plan, or its images where it computes all at once; and of eager ones."""
    frame = pl.DataFrame({"path": many[:100]})
    seen: list[im.Progress] = []
    options: Any = {"progress": seen.append, "on_error": on_error}
    expected = im.extract(frame, "path", "width")
    assert im.extract(frame, "path", "width", **options).equals(expected)
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (100, 100, "images")
    seen.clear()
    assert im.extract(frame.lazy(), "path", "width", **options).collect().equals(expected)
    assert (seen[-1].done, seen[-1].total) == (100, 100)
    seen.clear()
    plan = pickle.dumps(im.extract(frame.lazy(), "path", "width", **options))
    again: pl.LazyFrame = pickle.loads(plan)  # noqa: S301 - just made
    assert again.collect().equals(expected)
    assert seen == []


@pytest.mark.parametrize("lazy", [True, False])
def test_a_function_that_raises_ends_nothing(
    paths: list[str], caplog: pytest.LogCaptureFixture, *, lazy: bool
) -> None:
    """What it raised is in the log, and every row is there."""
    frame = pl.DataFrame({"path": paths})
    given: Any = frame.lazy() if lazy else frame
    result = im.extract(given, "path", "width", progress=lambda _: 1 / 0)
    assert result.lazy().collect().equals(im.extract(frame, "path", "width"))
    assert "ZeroDivisionError" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize("lazy", [True, False])
def test_without_a_bar_the_log_is_told(
    paths: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    lazy: bool,
) -> None:
    """Of rows or images, and of failures by their kind."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(watching, "_PULSE_SECONDS", 0.001)
    frame = pl.DataFrame({"path": paths * 2_000})
    with caplog.at_level(logging.INFO, "polars_imgmeta"):
        given: Any = frame.lazy() if lazy else frame
        im.extract(given, "path", "width").lazy().collect()
    unit = "of 10,000 rows" if lazy else "of 3 images"
    assert any(unit in line and "1 failed (not_found 1)" in line for line in caplog.messages)


def test_a_job_tells_of_its_source_no_more_than_of_itself(
    many: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A plan that a job reads its rows from is a part of it."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(watching, "_PULSE_SECONDS", 0.001)
    source = im.extract(pl.LazyFrame({"path": many}), "path", "width")
    with caplog.at_level(logging.INFO, "polars_imgmeta"):
        im.run(source, str(tmp_path / "out"), "path", "height")
    assert all(record.threadName != "imgmeta-progress" for record in caplog.records)


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
