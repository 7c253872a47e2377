"""Mistakes in calls raise at once and say what to do; broken images are rows."""

from __future__ import annotations

import errno
import os
import pickle
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import pandas as pd
import polars as pl
import pytest
from engines import ENGINES, run
from interpreters import run_python

import polars_imgmeta as im
from polars_imgmeta import exceptions
from polars_imgmeta.io import redaction
from polars_imgmeta.typing import ErrorKind

KNOWN = ", ".join([*im.CATALOGUE, *im.GROUPS])
FRAME = pl.DataFrame({"path": ["a.png"], "label": ["x"], "n": [1]})
FILLED = im.extract(FRAME, "path", "width")
TWO = im.extract(FILLED, "label", "width")

MISTAKES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "unknown property": (
        lambda: im.extract(FRAME, "path", "widht"),
        im.PropertyError,
        (
            "`properties` must name known properties, got 'widht'"
            f"\n\nHint: did you mean 'width'?\n\nKnown: {KNOWN}"
        ),
    ),
    "property of another type": (
        lambda: im.extract(FRAME, "path", [1]),  # type: ignore[list-item]
        im.PropertyError,
        f"`properties` must name known properties, got 1\n\nKnown: {KNOWN}",
    ),
    "names in one text": (
        lambda: im.extract(FRAME, "path", "width, height"),
        im.PropertyError,
        (
            "`properties` must name known properties, got 'width, height'"
            f"\n\nHint: give several names as a list, ['width', 'height']\n\nKnown: {KNOWN}"
        ),
    ),
    "a function for a property": (
        lambda: im.extract(FRAME, "path", max),  # type: ignore[arg-type]
        im.PropertyError,
        (
            "`properties` must name known properties, got <built-in function max>"
            f"\n\nHint: make a property of a function with `custom_property`\n\nKnown: {KNOWN}"
        ),
    ),
    "no property": (
        lambda: im.extract(FRAME, "path", []),
        im.PropertyError,
        (
            "`properties` must name at least one property, got none"
            "\n\nHint: such as 'brightness', or the group 'standard'"
        ),
    ),
    "unknown property of add": (
        lambda: im.add(FILLED, "warmth"),
        im.PropertyError,
        f"`properties` must name known properties, got 'warmth'\n\nKnown: {KNOWN}",
    ),
    "missing column": (
        lambda: im.extract(FRAME, "paht"),
        im.ColumnError,
        (
            "`locator` must name a column of the frame, got 'paht'"
            "\n\nHint: did you mean 'path'?\n\nColumns: 'path', 'label', 'n'"
        ),
    ),
    "an expression for a column": (
        lambda: im.extract(FRAME, pl.col("path")),  # type: ignore[arg-type]
        im.ColumnError,
        (
            f"`locator` must name a column of the frame, got the Expr {pl.col('path')}"
            "\n\nHint: give its name, 'path'\n\nColumns: 'path', 'label', 'n'"
        ),
    ),
    "a series for a column": (
        lambda: im.extract(FRAME, FRAME["path"]),  # type: ignore[arg-type]
        im.ColumnError,
        (
            "`locator` must name a column of the frame, got the Series 'path'"
            "\n\nHint: give its name, 'path'\n\nColumns: 'path', 'label', 'n'"
        ),
    ),
    "a property for the column": (
        lambda: im.extract(FRAME, "brightness", "path"),
        im.ColumnError,
        (
            "`locator` must name a column of the frame, got 'brightness'"
            "\n\nHint: name the column that locates the images, and then properties"
            "\n\nColumns: 'path', 'label', 'n'"
        ),
    ),
    "a name that is none": (
        lambda: im.extract(FRAME, "path", into=5),  # type: ignore[arg-type]
        im.ColumnError,
        "`into` must be the name of a column, got 5",
    ),
    "column of another dtype": (
        lambda: im.extract(FRAME, "n"),
        im.ColumnError,
        (
            "the locator column 'n' must be of dtype String or Binary, or a Struct with `bytes`"
            " (Binary) or `path` (String), got Int64"
        ),
    ),
    "expression of another dtype": (
        lambda: FRAME.select(pl.col("n").imgmeta.extract("width")),  # type: ignore[attr-defined]
        im.ColumnError,
        (
            "the locator column 'n' must be of dtype String or Binary, or a Struct with `bytes`"
            " (Binary) or `path` (String), got Int64"
        ),
    ),
    "expression of several columns": (
        lambda: pl.col("path", "label").imgmeta.extract("width"),  # type: ignore[attr-defined]
        im.ColumnError,
        (
            "`imgmeta.extract` must follow an expression of one column, got"
            f" {pl.col('path', 'label')}\n\nHint: extract from each column by itself"
        ),
    ),
    "name that is taken": (
        lambda: im.extract(FRAME, "path", into="label"),
        im.ColumnError,
        (
            "`into` must name a new or an auto-extracted column, got 'label', which exists and is"
            " neither\n\nHint: choose another name with `into=`"
        ),
    ),
    "nothing to add to": (
        lambda: im.add(FRAME, "width"),
        im.ColumnError,
        (
            "the frame must have an auto-extracted column, its columns are: 'path', 'label', 'n'"
            "\n\nHint: make one with `extract`"
        ),
    ),
    "several to add to": (
        lambda: im.add(TWO, "width"),
        im.ColumnError,
        (
            "`column` must say which auto-extracted column is meant, got none"
            "\n\nAuto-extracted: 'path_imgmeta', 'label_imgmeta'"
        ),
    ),
    "misspelled column": (
        lambda: im.remove(TWO, "width", column="path_imgmet"),
        im.ColumnError,
        (
            "`column` must name an auto-extracted column, got 'path_imgmet', which does not exist"
            "\n\nHint: did you mean 'path_imgmeta'?"
            "\n\nAuto-extracted: 'path_imgmeta', 'label_imgmeta'"
        ),
    ),
    "ordinary column": (
        lambda: im.errors(FILLED, "label"),
        im.ColumnError,
        (
            "`column` must name an auto-extracted column, got 'label', which is not auto-extracted"
            "\n\nAuto-extracted: 'path_imgmeta'"
        ),
    ),
    "renamed locator": (
        lambda: im.add(FILLED.rename({"path": "file"}), "height"),
        im.ColumnError,
        (
            "the locator column 'path' of 'path_imgmeta' is not in the frame\n\nHint: name the"
            " column that locates the images now with `locator=`"
            "\n\nColumns: 'file', 'label', 'n', 'path_imgmeta'"
        ),
    ),
    "names taken by unnest": (
        lambda: im.unnest(FILLED.with_columns(width=1)),
        im.ColumnError,
        (
            "the frame must not have columns of the new names, got 'width'"
            "\n\nHint: give the new ones other names with `prefix=`"
        ),
    ),
    "unknown on_error": (
        lambda: im.extract(FRAME, "path", on_error="rais"),  # type: ignore[arg-type]
        ValueError,
        "`on_error` must be one of 'null', 'raise', got 'rais'\n\nHint: did you mean 'raise'?",
    ),
    "max_pixels of another type": (
        lambda: im.extract(FRAME, "path", max_pixels="1"),  # type: ignore[arg-type]
        ValueError,
        "`max_pixels` must be a positive whole number, got '1'",
    ),
    "max_pixels out of range": (
        lambda: im.extract(FRAME, "path", max_pixels=0),
        ValueError,
        "`max_pixels` must be a positive whole number, got 0",
    ),
    "another kind of frame": (
        lambda: im.extract({"path": []}, "path"),  # type: ignore[type-var]
        TypeError,
        "`frame` must be a polars DataFrame or LazyFrame, got dict",
    ),
    "a frame of pandas": (
        lambda: im.extract(pd.DataFrame({"path": []}), "path"),
        TypeError,
        (
            "`frame` must be a polars DataFrame or LazyFrame, got pandas.DataFrame"
            "\n\nHint: convert it first, pl.from_pandas(frame)"
        ),
    ),
    "a folder as the frame": (
        lambda: im.extract("photos", "path"),  # type: ignore[type-var]
        TypeError,
        (
            "`frame` must be a polars DataFrame or LazyFrame, got str"
            "\n\nHint: `scan_images` lists the images of a folder"
        ),
    ),
    "locators that are objects": (
        lambda: im.extract(pl.DataFrame({"path": [Path("a")]}), "path"),
        im.ColumnError,
        (
            "the locator column 'path' must be of dtype String or Binary, or a Struct with"
            " `bytes` (Binary) or `path` (String), got Object"
            "\n\nHint: make them text, pl.col('path').map_elements(str, return_dtype=pl.String)"
        ),
    ),
    "locators that are lists": (
        lambda: im.extract(pl.DataFrame({"path": [["a"]]}), "path"),
        im.ColumnError,
        (
            "the locator column 'path' must be of dtype String or Binary, or a Struct with"
            " `bytes` (Binary) or `path` (String), got List(String)"
            "\n\nHint: make a row of each image first, frame.explode('path')"
        ),
    ),
    "a source that is no path": (
        lambda: im.scan_images(["photos", 3]),  # type: ignore[list-item]
        TypeError,
        "`source` must be a path or URL, or several, got 3",
    ),
    "a frame for a folder": (
        lambda: im.scan_images(FRAME),  # type: ignore[arg-type]
        TypeError,
        (
            "`source` must be a path or URL, or several, got a DataFrame"
            "\n\nHint: `extract` takes a frame that has a column of paths"
        ),
    ),
    "eager writer of a lazy frame": (
        lambda: im.write_parquet(FRAME.lazy(), "x.parquet"),  # type: ignore[arg-type]
        TypeError,
        (
            "`frame` must be a polars DataFrame, got LazyFrame"
            "\n\nHint: for a LazyFrame use `sink_parquet`"
        ),
    ),
    "lazy writer of an eager frame": (
        lambda: im.sink_parquet(FRAME, "x.parquet"),  # type: ignore[arg-type]
        TypeError,
        (
            "`frame` must be a polars LazyFrame, got DataFrame"
            "\n\nHint: for a DataFrame use `write_parquet`"
        ),
    ),
    "folder that is not there": (
        lambda: im.scan_images("nowhere"),
        im.NotFoundError,
        "`source` must be a folder, a file or a pattern, got 'nowhere': no such folder",
    ),
}


def in_our_words(error: Exception) -> str:
    """The message without the expression that Polars appends to it."""
    return str(error).partition("\n\nThis error occurred in the following expression")[0]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_raise_when_the_call_is_made(mistake: str) -> None:
    """The message says what was expected, what came, and what to do."""
    call, kind, message = MISTAKES[mistake]
    with pytest.raises(kind) as caught:
        call()
    assert in_our_words(caught.value) == message


@pytest.mark.parametrize(
    "mistake",
    [
        lambda lf: im.extract(lf, "path", "widht"),
        lambda lf: im.extract(lf, "paht"),
        lambda lf: im.extract(lf, "n"),
        lambda lf: im.add(lf, "width"),
        im.errors,
    ],
)
def test_mistakes_on_a_lazy_frame_raise_before_it_is_computed(
    mistake: Callable[[pl.LazyFrame], object],
) -> None:
    """No plan is made from a call that cannot work."""
    with pytest.raises(im.ImgmetaError):
        mistake(FRAME.lazy())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path) -> Path:
    """A folder of things that are no sound image."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "folder.jpg").mkdir()
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("hello, image\n" * 99)
    whole = (sample_folder / "photos" / "noise.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[:-2000])
    (folder / "header.png").write_bytes(whole[:20])
    (folder / "large.png").write_bytes(whole)
    (folder / "script.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    os.mkfifo(folder / "pipe.jpg")
    with pytest.MonkeyPatch.context() as patch, socket.socket(socket.AF_UNIX) as listener:
        patch.chdir(folder)  # the path of a socket must be short
        listener.bind("socket.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "dangling.jpg").symlink_to("nothing.jpg")
    return folder


ROWS = {
    "missing.jpg": "not_found: no such file",
    "dangling.jpg": "not_found: no such file",
    "empty.jpg/below.jpg": "not_found: no such file",
    "folder.jpg": "invalid_locator: a directory, not an image file",
    "pipe.jpg": "invalid_locator: a device, pipe or socket, not an image file",
    "socket.jpg": "invalid_locator: a device, pipe or socket, not an image file",
    "script.eps": "unsupported: not an image of a known format",
    "loop.jpg": "invalid_locator: too many levels of symbolic links",
    "x" * 300: "invalid_locator: the file name is too long; an image itself goes into a Binary"
    " column",
    "a\0b": "invalid_locator: a path cannot contain the character NUL",
    "empty.jpg": "corrupt: the file is empty",
    "text.jpg": "unsupported: not an image of a known format",
    "truncated.png": "corrupt: the pixels cannot be decoded: image file is truncated",
    "header.png": "corrupt: the header of this PNG image cannot be decoded: Truncated File Read",
}
OTHER_ROWS = {
    "data:image/png;base64,iVBORw0KGgo=": "invalid_locator: a data URI; an image itself goes into"
    " a Binary column, its bytes decoded",
    "": "invalid_locator: an empty string",
    "ftp://host/a.jpg": "invalid_locator: unknown scheme 'ftp'; known are paths and file, http,"
    " https, s3, s3a, gs, gcs, az, azure, abfs, abfss, adl",
    "file://host/a.jpg": (
        "invalid_locator: a file URI of another host; this machine's files are file:///path"
    ),
    "file://relative.jpg": (
        "invalid_locator: a file URI of a relative path; absolute ones are file:///path"
    ),
    "/proc/self/mem": "unreachable: reading failed with EIO",
    "/dev/zero": "invalid_locator: a device, pipe or socket, not an image file",
}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_bad_row_says_why_and_stops_no_other(engine: str, hostile: Path) -> None:
    """Each kind of failure has its message; sound rows among them are complete."""
    expected = {str(hostile / name): message for name, message in ROWS.items()} | OTHER_ROWS
    sound = str(hostile / "large.png")
    frame = pl.DataFrame({"path": [sound, *expected, sound]})
    result = run(engine, frame, lambda f: f.imgmeta.extract("path"))
    column = result["path_imgmeta"].struct
    assert column.field("error").to_list() == [None, *expected.values(), None]
    complete = im.unnest(result).filter(pl.col("path") == sound)
    assert complete.drop("error").null_count().sum_horizontal().item() == 0
    failed = im.errors(result)
    assert failed.schema == {
        "locator": pl.String,
        "kind": pl.Enum(get_args(ErrorKind)),
        "message": pl.String,
    }
    assert [f"{kind}: {message}" for _, kind, message in failed.rows()] == [*expected.values()]
    assert failed["locator"].to_list() == [*expected]


@pytest.mark.parametrize("engine", ENGINES)
def test_on_error_raise_names_the_first_locator(engine: str, hostile: Path) -> None:
    """The exception of the first failing row surfaces alike on every engine."""
    bad = str(hostile / "text.jpg")
    frame = pl.DataFrame({"path": [str(hostile / "large.png"), bad]})
    with pytest.raises(im.UnsupportedError) as caught:
        run(engine, frame, lambda f: f.imgmeta.extract("path", "width", on_error="raise"))
    assert in_our_words(caught.value) == f"{bad!r}: not an image of a known format"


def test_on_error_raise_is_the_first_row_whatever_the_batches(hostile: Path) -> None:
    """However Polars cuts the column, the first failing row of all is raised."""
    sound, gone = str(hostile / "large.png"), str(hostile / "missing.jpg")
    text = str(hostile / "text.jpg")
    rows = [*[sound] * 40, gone, *[sound] * 40, text]
    chunks = [pl.DataFrame({"path": [row]}) for row in rows]
    frame = pl.concat(chunks, rechunk=False)
    image = pl.col("path").imgmeta.extract("brightness", on_error="raise")  # type: ignore[attr-defined]
    queries: list[Callable[[], object]] = [
        lambda: frame.select(image),
        lambda: frame["path"].imgmeta.extract("width", on_error="raise"),  # type: ignore[attr-defined]
        *(
            partial(run, engine, frame, lambda f: im.extract(f, "path", on_error="raise"))
            for engine in ENGINES
        ),
    ]
    for query in queries:
        with pytest.raises(im.NotFoundError):
            query()


def test_a_picture_over_the_limit_keeps_its_geometry(hostile: Path) -> None:
    """`max_pixels` is judged on the header; geometry alone is not concerned."""
    frame = pl.DataFrame({"path": [str(hostile / "large.png")]})
    result = im.extract(frame, "path", ["width", "brightness"], max_pixels=76_799)
    assert im.unnest(result).row(0)[1:] == (
        320,
        None,
        "too_large: 320 x 240 pixels are more than `max_pixels`, which is 76799",
    )
    assert im.errors(im.retry(result, max_pixels=76_800)).is_empty()
    assert im.errors(im.extract(frame, "path", "geometry", max_pixels=1)).is_empty()


def test_no_permission(tmp_path: Path) -> None:
    """A file that exists and may not be read is `access_denied`."""
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "secret.jpg").chmod(0)
    code = (
        "import os, polars as pl, polars_imgmeta as im\n"
        "if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)\n"
        "df = im.extract(pl.DataFrame({'path': ['secret.jpg']}), 'path', 'width')\n"
        "print(df['path_imgmeta'].struct.field('error').item())"
    )
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    done = run_python(code, tmp_path)
    assert (done.stdout, done.stderr) == ("access_denied: permission denied\n", "")


ALL_IMAGE_ERRORS = im.ImageError.__subclasses__()


def test_every_kind_has_one_exception() -> None:
    """The kinds and the exceptions of rows are the same seven."""
    kinds = [error.kind for error in ALL_IMAGE_ERRORS]
    assert sorted(kinds) == sorted(get_args(ErrorKind))


@pytest.mark.parametrize("kind", ALL_IMAGE_ERRORS)
def test_exceptions_cross_processes_and_engines(kind: type[im.ImageError]) -> None:
    """An exception is made anew from one string, as pickle and Polars do."""
    error = pickle.loads(pickle.dumps(kind("what happened")))  # noqa: S301
    assert type(error) is kind
    assert str(error) == "what happened"
    located = redaction.locate(error, "a.jpg")
    assert type(located) is kind
    assert str(located) == "'a.jpg': what happened"


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_file_system_is_mapped(number: int) -> None:
    """Whatever `open` and `read` may raise becomes one of the kinds, without the path."""
    error = exceptions.from_os_error(OSError(number, os.strerror(number), "/home/me/a.jpg"))
    assert error.kind in get_args(ErrorKind)
    assert "/home" not in str(error)


class Odd(Exception):  # noqa: N818
    """An exception that is not among the usual ones of a decoder."""


@pytest.mark.parametrize(
    "raised",
    [
        OSError("broken data stream when reading image file"),
        SyntaxError("not a PNG file"),
        ValueError(),
        ZeroDivisionError("division by zero"),
        RecursionError("maximum recursion depth exceeded"),
        Odd("<_io.BytesIO object at 0x7f00aa> is odd\n  twice"),
        ValueError(b"quoted from the file" * 999),
        MemoryError(),
    ],
)
def test_every_error_of_a_decoder_is_mapped(raised: Exception) -> None:
    """Whatever a decoder raises becomes a message of one line, without an address."""
    error = exceptions.from_decoder_error(raised, what="the pixels")
    expected = im.TooLargeError if isinstance(raised, MemoryError) else im.CorruptError
    assert isinstance(error, expected)
    assert str(error).startswith("the pixels ")
    assert "0x" not in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 200
