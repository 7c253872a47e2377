"""The command `imgmeta`."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import polars_imgmeta as im
from polars_imgmeta.cli.command import main
from polars_imgmeta.jobs import parts, runner
from polars_imgmeta.verbs import export


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in a directory of its own."""
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    """Run the command."""
    return main(arguments)


@pytest.fixture
def photos(sample_folder: Path, tmp_path: Path) -> str:
    """A folder of images, of which three cannot be read."""
    shutil.copytree(sample_folder / "photos", tmp_path / "photos")
    return "photos"


def test_bare_it_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is drawn or written."""
    assert run() == 0
    output = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"\n    {name}\s", output)
    assert list(Path().iterdir()) == []


COMMANDS = (
    *("extract", "add", "remove", "retry", "refresh"),
    *("status", "errors", "show", "report", "issues", "duplicates", "compare", "demo"),
)


def test_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    """Sample images are drawn and described, with the errors of corrupt ones."""
    assert run("demo") == 0
    output = capsys.readouterr().out
    assert "Drew images into photos/." in output
    assert "12 images in photos.parquet, 3 failed." in output
    assert "photos/notes.jpg: unsupported: not an image of a known format" in output
    assert "Wrote photos.html" in output
    assert im.properties(pl.scan_parquet("photos.parquet"))
    assert run("demo") == 0  # again
    assert run("demo", "other") == 0
    assert im.properties(pl.scan_parquet("other.parquet"))


@pytest.mark.parametrize(
    "mine", ["photos/mine.png", "photos/dusk.png", "photos/below/a.png", "photos.html", "photos"]
)
def test_the_demo_overwrites_nothing(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder, table or page that the demo did not make stays as it is."""
    Path(mine).parent.mkdir(parents=True, exist_ok=True)
    Path(mine).write_text("mine")
    assert run("demo") == 2
    assert "exists, and was not made by the demo" in capsys.readouterr().err
    assert [file for file in Path().rglob("*") if file.is_file()] == [Path(mine)]
    assert Path(mine).read_text() == "mine"


@pytest.mark.parametrize("output", ["table", "table.parquet"])
def test_a_job(output: str, photos: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run goes on, and reads nothing."""
    assert run("extract", photos, "-o", output, "-p", "geometry,brightness") == 1
    shown = capsys.readouterr().out
    assert f"12 images in {output}: 12 new, 0 changed, 3 failed" in shown
    assert re.search(r"brightness +┆ 0.200 +┆ 0.500 +┆ 0.803 +┆ 9 ", shown)
    assert "photos/empty.jpg: corrupt: the file is empty" in shown
    assert run("extract", photos, "-o", output, "-p", "geometry,brightness") == 1
    assert "0 new, 0 changed" in capsys.readouterr().out
    assert im.properties(pl.scan_parquet(output)) == [*im.GROUPS["geometry"], "brightness"]
    assert run("extract", photos, "-o", output, "--overwrite", "-p", "width", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["new"], told["failed"]) == (12, 2)
    assert im.properties(pl.scan_parquet(output)) == ["width"]


@pytest.mark.parametrize(
    ("limit", "status"), [("2", 1), ("3", 0), ("24%", 1), ("25%", 0), ("100%", 0), ("0", 1)]
)
def test_the_status_says_whether_too_many_failed(limit: str, status: int, photos: str) -> None:
    """`--max-failed` is a count or a percentage."""
    assert run("extract", photos, "-o", "table", "--max-failed", limit) == status
    assert run("extract", photos, "--max-failed", limit) == status


def test_a_table_is_changed_in_place(photos: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Properties come and go, failed rows are retried, changed ones refreshed."""
    tolerant = ("--max-failed", "3")
    for table in ("folder", "file.parquet"):
        some = ("-p", "width", "-p", "height,brightness")
        run("extract", photos, "-o", table, *some, "--max-failed", "100%")
        assert run("add", table, "-p", "contrast", *tolerant) == 0
        assert run("remove", table, "-p", "width", "-p", "height", *tolerant) == 0
        assert im.properties(pl.scan_parquet(table)) == ["brightness", "contrast"]
        before = Path("photos/notes.jpg").read_bytes()
        shutil.copy("photos/dusk.png", "photos/notes.jpg")
        assert run("retry", table, "--kinds", "unsupported", "--max-failed", "2") == 0
        Path("photos/notes.jpg").write_bytes(before)
        assert run("refresh", table, *tolerant) == 0
        capsys.readouterr()
        assert run("status", table) == 0
        assert "ok     ┆ 9" in capsys.readouterr().out
        # A job goes on with what there is now.
        assert run("extract", photos, "-o", table, "-p", "contrast", *tolerant) == 0
        assert "0 new, 0 changed, 3 failed" in capsys.readouterr().out
        assert im.properties(pl.scan_parquet(table)) == ["brightness", "contrast"]


def test_a_table_is_looked_at(photos: str, capsys: pytest.CaptureFixture[str]) -> None:
    """States, errors, rows and a page."""
    run("extract", photos, "-o", "table")
    shutil.copy("photos/window.png", "photos/dusk.png")
    capsys.readouterr()
    assert run("status", "table", "--check-sources") == 0
    assert "changed ┆ 1" in capsys.readouterr().out
    assert run("errors", "table", "--format", "csv") == 0
    listed = pl.read_csv(capsys.readouterr().out.encode())
    assert listed["kind"].to_list() == ["corrupt", "unsupported", "corrupt"]
    assert run("show", "table", "--sort", "brightness", "--rows", "2") == 0
    assert "dusk.png" in capsys.readouterr().out
    assert run("report", "table", "-o", "page.html") == 0
    assert '"title":"Images of table"' in Path("page.html").read_text("utf-8")


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "ten", "²"])
def test_numbers_of_things_are_positive(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused before the table is looked for."""
    for arguments in (("show", "table", "--rows"), ("extract", "photos", "--max-pixels")):
        with pytest.raises(SystemExit, match="2"):
            run(*arguments, number)
        message = f"{arguments[-1]}: must be a positive whole number, got {number!r}"
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_text(form: str, photos: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """The standard output has only the table."""
    assert run("extract", photos, "-o", "-", "--format", form, "-p", "geometry") == 1
    data = capfdbinary.readouterr().out
    frame = pl.read_csv(data) if form == "csv" else pl.read_ndjson(data)
    assert frame.columns == ["path", *im.GROUPS["geometry"], "error"]
    assert len(frame) == 12
    assert run("extract", photos, "-o", f"table.{form}") == 1
    assert Path(f"table.{form}").exists()
    assert run("extract", photos, "-o", f"table.{form}") == 2  # `--overwrite` must be said
    assert run("extract", photos, "-o", f"table.{form}", "--overwrite") == 1


def test_sources(
    photos: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that the shell expanded, lists, and tables."""
    files = sorted(str(one) for one in Path(photos).glob("d*.png"))
    assert run("extract", *files, "-o", "files", "-p", "width") == 0
    assert pl.read_parquet("files")["path"].to_list() == files
    for number, separator in enumerate(("\n", "\r\n", "\0")):
        listing = (separator.join(files) + 2 * separator).encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listing)))
        assert run("extract", "-", "-o", f"list-{number}", "-p", "width") == 0
        assert pl.read_parquet(f"list-{number}")["path"].to_list() == files
    pl.DataFrame({"file": files, "label": ["a", "b"]}).write_csv("table.csv")
    assert run("extract", "table.csv", "--column", "file", "-o", "table", "-p", "width") == 0
    assert pl.read_parquet("table").columns == ["file", "label", "file_imgmeta"]
    assert run("extract", "photos/dusk.png") == 0
    assert "1 image in" in capsys.readouterr().out


def test_a_name_that_is_not_text_is_one_row(
    photos: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a list, in a folder and as an argument: such a file is read, and others are too."""
    odd = os.fsdecode(b"photos/\xff.png")
    shutil.copy(f"{photos}/dusk.png", odd)
    listing = b"photos/dusk.png\nphotos/\xff.png\nphotos/\xfe.png\nphotos/\xc3\xa9.png\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listing), "ascii"))
    assert run("extract", "-", "-o", "list", "-p", "width") == 1
    done = im.unnest(pl.read_parquet("list"))
    assert done["width"].to_list() == [320, 320, None, None]
    assert done["error"].to_list() == [None, None, *["not_found: no such file"] * 2]
    assert done["path"].str.ends_with("%FF.png").to_list() == [False, True, False, False]
    assert run("extract", odd, "-o", "argument", "-p", "width") == 0
    assert run("extract", photos, "-o", os.fsdecode(b"\xff")) == 2
    assert "`output` must be a name that is text, got '\\udcff'" in capsys.readouterr().err


INTERRUPTED = """
    import os, signal, sys
    import polars_imgmeta as im
    from polars_imgmeta.cli import command, extract
    from polars_imgmeta.display.report import writing
    from polars_imgmeta.measuring import measurement
    from polars_imgmeta.verbs import export

    when, number, *arguments = sys.argv[1:]

    def interrupt(function):
        def interrupted(*positional, **named):
            os.kill(os.getpid(), int(number))
            return function(*positional, **named)
        return interrupted

    module, name = {
        "reading": (command.extract.extraction, "extract"),
        "writing": (extract.printing, "write_text"),
        "reporting": (writing, "report"),
        "changing": (command.editing.editing, "add"),
    }[when]
    setattr(module, name, interrupt(getattr(module, name)))
    sys.exit(command.main(arguments))
"""


KEPT = "what is done is kept, and the same command {}goes on from there"
CHANGED = "the parts that were changed are kept, and the same command changes the others"
INTERRUPTS = [
    ("reading", "extract photos", "nothing was written"),
    ("reading", "extract photos -o a.csv", "nothing was written"),
    ("reading", "extract photos -o -", "nothing was written"),
    ("reading", "extract photos --dry-run", "nothing was written"),
    ("writing", "extract photos -o -", "the output is not complete"),
    ("reading", "extract photos -o out", KEPT.format("")),
    (
        "reading",
        "extract photos -o a.parquet --overwrite",
        KEPT.format("without --overwrite "),
    ),
    ("reporting", "extract photos -o out -r a.html", "out is complete"),
    ("reporting", "extract photos -o a.csv -r a.html", "a.csv is complete"),
    ("changing", "add made.parquet -p brightness", "made.parquet is as it was"),
    ("changing", "add made -p brightness", CHANGED),
]


@pytest.mark.parametrize(
    ("number", "when", "arguments", "message"),
    [
        *((signal.SIGINT, *one) for one in INTERRUPTS),
        *((signal.SIGTERM, *INTERRUPTS[number]) for number in (1, 5, 9, 10)),
    ],
)
def test_an_interrupt_says_what_is_true_of_the_output(
    number: signal.Signals, when: str, arguments: str, message: str, photos: str
) -> None:
    """Of a job, of what is made at once, and of a table that is changed; never a traceback."""
    for made in ("made", "made.parquet"):
        assert run("extract", photos, "-o", made, "-p", "width", "--max-failed", "3") == 0
    before = sorted(Path().iterdir())
    code = textwrap.dedent(INTERRUPTED)
    command = [sys.executable, "-c", code, when, str(int(number)), *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    new = {one.name for one in Path().iterdir() if one not in before}
    told = [line for line in done.stderr.splitlines() if line.startswith("imgmeta:")]
    assert "Traceback" not in done.stderr
    assert not [one for one in new if one.endswith(".tmp")]
    if number == signal.SIGTERM:  # as the system ends it
        assert (done.returncode, told) == (-signal.SIGTERM, [])
    else:
        assert (done.returncode, told) == (130, [f"imgmeta: interrupted; {message}"])
    if "nothing" in message:
        assert not new
    if "is complete" in message:
        assert message.split(maxsplit=1)[0] in new
    if "goes on" in message:
        assert run(*arguments.replace("--overwrite", "").split(), "--max-failed", "3") == 0
        assert len(pl.read_parquet(arguments.split()[3])) == 12
    if "made" in arguments:
        assert run(*arguments.split(), "--max-failed", "3") == 0
        table = pl.read_parquet(arguments.split()[1])
        assert im.properties(table) == ["width", "brightness"]


def test_a_dry_run_writes_nothing(photos: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what there is to do, from a sample."""
    assert run("extract", photos, "-o", "table", "--dry-run") == 0
    size = sum(one.stat().st_size for one in Path(photos).iterdir()) / 1e6
    told = f"12 rows to compute\n{size:.1f} MB to read, about "
    assert capsys.readouterr().out.startswith(told)
    assert not Path("table").exists()
    run("extract", photos, "-o", "table")
    capsys.readouterr()
    assert run("extract", photos, "-o", "table", "--dry-run") == 0
    assert capsys.readouterr().out == "0 rows to compute\n"


def test_a_mistake_leaves_a_table_as_it_was(
    photos: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its record too, which says what is in its parts."""
    assert run("extract", photos, "-o", "table", "-p", "width", "--max-failed", "3") == 0
    before = {one: one.read_bytes() for one in Path("table").iterdir()}
    for command in (["add", "table", "-p", "nope"], ["refresh", "table", "--ignore", "nope"]):
        assert run(*command) == 2
        assert {one: one.read_bytes() for one in Path("table").iterdir()} == before
    assert run("show", "table", "--sort", "nope") == 2
    assert "Resolved plan" not in capsys.readouterr().err
    table = pl.DataFrame({"path": ["photos/dusk.png"], "width": [1]})
    table.write_csv("table.csv")
    assert run("extract", "table.csv", "--column", "path", "-o", "out.csv") == 2
    assert "the table already has columns 'width'\n\nHint: write" in capsys.readouterr().err
    assert run("extract", "table.csv", "--column", "path", "-o", "out.arrow") == 0


def test_a_change_that_ends_early_leaves_a_record_of_the_parts(
    photos: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of those that were changed, and of those that were not begun; no part is read for nothing."""
    monkeypatch.setattr(parts, "_PART_ROWS", 4)
    monkeypatch.setattr(parts, "_FIRST_BATCH", 4)
    monkeypatch.setattr(parts, "_LARGEST_BATCH", 4)
    assert run("extract", photos, "-o", "table", "-p", "width", "--max-failed", "3") == 0
    assert len([*Path("table").glob("part-*")]) > 1
    writes = []

    def write(frame: pl.DataFrame, file: str, **options: Any) -> None:  # noqa: ANN401
        writes.append(frame)
        if len(writes) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        im.write_parquet(frame, file, **options)

    with monkeypatch.context() as patched:
        patched.setattr(export, "write_parquet", write)
        assert run("add", "table", "-p", "height") == 2
    told = "Hint: free some space; the parts that were changed are kept, and the same command"
    assert told in capsys.readouterr().err
    run("status", "table")
    output = capsys.readouterr().out
    others = len([*Path("table").glob("part-*")]) - 1
    assert output.startswith(f"{others} part")
    assert "missing" in output
    assert "is writing" not in output
    assert run("add", "table", "-p", "height", "--max-failed", "3") == 0
    assert im.unnest(pl.read_parquet("table"))["height"].null_count() == 2


def test_many_failures_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first ten failures are listed, the others counted."""
    for number in range(15):
        (tmp_path / f"{number:02}.jpg").write_text("no image")
    assert run("extract", ".") == 1
    output = capsys.readouterr().out
    assert "15 failed." in output
    assert "09.jpg: unsupported" in output
    assert "10.jpg: unsupported" not in output
    assert "and 5 more" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract", "nowhere"], "`source` must be a folder, a file or a pattern, got 'nowhere'"),
        (["extract", "."], "imgmeta: no images in ."),
        (["extract", ".", "-p", "widht"], "Hint: did you mean 'width'?"),
        (["extract", ""], "imgmeta: '': an empty string"),
        (["extract", ".", "-o", "no/a.csv"], "--output must be in a folder that exists"),
        (["extract", ".", "-r", "no/a.html"], "--report must be in a folder that exists"),
        (["extract", ".", "-r", "a.txt"], "--report must end in .html or .htm, got a.txt"),
        (["extract", ".", "--storage-option", "a"], "--storage-option must be KEY=VALUE"),
        (["extract", "a.parquet", "--column", "path"], "'a.parquet': no such file"),
        (["status", "a.parquet"], "'a.parquet': no such file"),
        (["add", "nowhere", "-p", "width"], "must be a Parquet file or a folder"),
        (["add", "a.parquet", "-p", "width"], "got 'a.parquet': no such file or folder"),
        (["extract", ".", "--format", "csv"], "--format must come with `-o -`"),
        (["extract", ".", "-o", "a.csv.gz"], "must be a folder or a file that ends in .parquet"),
        (["extract", ".", "-o", "a.json"], "Hint: on the command line, files .csv"),
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
    photos: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C prints no traceback, and exits with the status of shells."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run", interrupt)
    assert run("extract", photos, "-o", "table") == 130
    assert capsys.readouterr().err.startswith("imgmeta: interrupted; what is done is kept")


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_tables_fit_the_terminal(columns: int, photos: str) -> None:
    """No line of a table is wider, and without Unicode it is drawn in ASCII."""
    done = subprocess.run(
        [sys.executable, "-m", "polars_imgmeta", "extract", photos],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.isascii()
    drawn = [line for line in done.stdout.splitlines() if line.startswith(("|", "+"))]
    assert drawn
    assert max(map(len, drawn)) <= columns
    assert columns < 60 or "| median |" in done.stdout


def test_a_reader_that_ends_is_no_error(photos: str) -> None:
    """Such as `head`."""
    command = f"{sys.executable} -m polars_imgmeta extract {photos} -o - | head -c 5"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)  # noqa: S607
    assert done.stdout == "path,"
    assert "Traceback" not in done.stderr


def test_the_command_is_installed() -> None:
    """The entry point runs."""
    command = Path(sys.executable).parent / "imgmeta"
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "extract" in done.stdout
