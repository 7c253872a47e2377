"""The verb that writes a report: a self-contained HTML page of pictures and properties."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Final, Unpack

from polars_imgmeta.analysis.drift import Comparable
from polars_imgmeta.column import structs
from polars_imgmeta.display.report.data import Json, report_data
from polars_imgmeta.exceptions import require_positive
from polars_imgmeta.measuring.options import Reading, ReadOptions, takes
from polars_imgmeta.typing import Frame

SCRIPTS: Final = (
    "elements",
    "fields",
    "filters",
    "expressions",
    "address",
    "histograms",
    "facets",
    "ticks",
    "gallery",
    "scatter",
    "selection",
    "viewer",
    "overview",
    "judgement",
    "main",
)
"""The parts of the page's script, in their order: they share one scope, and the last one runs."""

# Equivalent in JSON, but no markup in a page.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


@takes(ReadOptions)
def report(
    frame: Frame,
    file: str | os.PathLike[str],
    *,
    column: str | None = None,
    locator: str | None = None,
    title: str = "Image report",
    sample: int = 1_000,
    thumbnails: bool = True,
    against: Comparable | None = None,
    **options: Unpack[ReadOptions],
) -> Path:
    """Write a page that shows the images of a frame and their properties.

    The page is one HTML file that needs no network: a summary; a histogram of each property
    and the values of columns of few, where a choice filters everything else; a gallery that
    is sorted and filtered, and whose selection can be copied as a Polars expression; the
    images that break the default rules; the extremes of each property side by side; what
    has changed against another data set, if one is given; and the failures by kind.
    Auto-extracted properties are purple. The user's own columns are shown beside them, at
    most the first 30.

    Args:
        frame: The frame. Of a lazy one, the values are collected once; where the
            locator column holds the images themselves, those of the rows that are
            shown are collected after that.
        file: The page, which is written atomically and replaces an existing one. A new
            name without a suffix gets `.html`.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column, where the one on record was renamed.
        title: The heading of the page.
        sample: The maximum number of rows that are shown one by one. Of more rows, a
            random sample, always the same, the extremes and the worst issues are shown;
            all numbers are still of all rows.
        thumbnails: Whether to show the pictures, which reads each image once.
        against: Another data set, or a [`Summary`][polars_imgmeta.Summary] of one, from which
            these properties may have shifted.
        options: See `ReadOptions`.

    Returns:
        The path of the page.

    Raises:
        ColumnError: If the auto-extracted column is ambiguous, or if the locator
            column is missing.
        TypeError: If `frame` is not a frame, `file` not a path or `title` not text.
        ValueError: If `sample` or `max_pixels` is not a positive integer, or if a
            storage option is unknown.
        OSError: If the page cannot be written. A missing folder is reported before
            any work is done.

    Examples:
        >>> df = im.scan_images("photos").imgmeta.extract("path").collect()
        >>> im.report(df, "photos.html", title="Photos").name
        'photos.html'
    """
    schema = structs.schema_of(frame)
    existing = structs.choose(schema, column)
    find = structs.locator_of if thumbnails else structs.find_locator
    source = find(frame, existing, locator)
    if not isinstance(title, str):
        msg = f"`title` must be text, got {title!r}"
        raise TypeError(msg)
    require_positive("sample", sample)
    page = writable_page(file)
    reading = Reading.of(ReadOptions, options)
    content = report_data(
        frame,
        existing,
        source,
        sample=sample,
        thumbnails=thumbnails,
        reading=reading,
        against=against,
    )
    data = {
        "title": title,
        "version": version("polars-imgmeta"),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "base": _base_of(page),
        **content,
    }
    _write_atomically(page, _render(data))
    return page


def writable_page(file: object) -> Path:
    """Return the path of a page to write.

    Raises:
        TypeError: If it is not a path.
        OSError: If its folder does not exist, or if it exists and is not a regular file.
    """
    if not isinstance(file, str | os.PathLike):
        msg = f"`file` must be a path, got {file!r}"
        raise TypeError(msg)
    page = Path(os.fsdecode(file)).expanduser()
    if not page.suffix and not page.exists():
        page = page.with_name(page.name + ".html")
    if not page.parent.is_dir():
        msg = f"`file` must be in a folder that exists, got {str(page)!r}"
        raise FileNotFoundError(msg)
    if page.exists() and not page.is_file():
        what = "a folder" if page.is_dir() else "no regular file"
        msg = f"`file` must name a file to write, got {str(page)!r}, which is {what}"
        raise OSError(msg)
    return page


def _base_of(page: Path) -> str | None:
    """Return the working directory as a URL relative to the page, for links to relative paths.

    None if neither contains the other: the page would name folders that have nothing to do with it.
    """
    folder, here = page.parent.resolve(), Path.cwd().resolve()
    if here.is_relative_to(folder):
        return here.relative_to(folder).as_posix()
    if folder.is_relative_to(here):
        return "/".join([".."] * len(folder.relative_to(here).parts)) or "."
    return None


def _render(data: Json) -> str:
    """Assemble the page of shell, style, script and data, which are not executable."""
    folder = files("polars_imgmeta") / "display" / "report" / "page"
    shell, style = ((folder / name).read_text("utf-8") for name in ("page.html", "page.css"))
    script = "\n".join((folder / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}';"
        f" script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    encoded = json.dumps(data, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)
    # The data come last, as they may contain the placeholders.
    parts = {"policy": policy, "style": style, "script": script, "data": encoded}
    for name, part in parts.items():
        before, _, after = shell.partition("{{" + name + "}}")
        shell = before + part + after
    return shell


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _write_atomically(page: Path, text: str) -> None:
    """Write to a temporary file beside the page, and move it into place."""
    target = page.resolve()  # the target of a symbolic link
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with partial.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
