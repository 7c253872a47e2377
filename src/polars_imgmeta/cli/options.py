"""Options that several subcommands take."""

from __future__ import annotations

import argparse
from typing import Any

from polars_imgmeta.measuring.options import ExtractOptions, Reading


def add_table(parser: argparse.ArgumentParser) -> None:
    """Add the table that a command works on."""
    parser.add_argument(
        "table", help="a folder or Parquet file that `imgmeta extract` has made, or a Parquet file"
    )
    parser.add_argument("--into", metavar="NAME", help="the struct column, where there are several")
    parser.add_argument("--column", metavar="NAME", help="the column that locates the images")
    add_storage(parser)


def add_storage(parser: argparse.ArgumentParser) -> None:
    """Add how cloud storage is reached."""
    parser.add_argument(
        "--storage-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of cloud storage, as Polars names it; may be repeated",
    )


def add_properties(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add which properties are meant; required unless there is a default."""
    parser.add_argument(
        "-p",
        "--properties",
        action="extend",
        type=lambda text: text.split(","),
        required=default is None,
        metavar="NAME,...",
        help="properties or groups" + (f" ({default})" if default else "") + "; may be repeated",
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add how images are read."""
    parser.add_argument(
        "--max-pixels", type=positive, metavar="N", help="decode no larger pictures"
    )
    parser.add_argument(
        "--sandbox",
        action="store_true",
        help="decode in processes of their own, so that an image that crashes a decoder costs"
        " one row",
    )
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show a progress bar (by default on a terminal), or lines in a log",
    )


def add_max_failed(parser: argparse.ArgumentParser) -> None:
    """Add how many failures make the command fail."""
    parser.add_argument(
        "--max-failed",
        type=limit,
        default=limit("0"),
        metavar="N|P%",
        help="exit with status 1 if more images than this could not be read (0)",
    )


def storage_of(options: argparse.Namespace) -> dict[str, str]:
    """Return the options of cloud storage.

    Raises:
        ValueError: If one is not of the form KEY=VALUE.
    """
    storage = {}
    for one in options.storage_option:
        key, equals, value = one.partition("=")
        if not (key and equals):
            msg = "--storage-option must be KEY=VALUE, got one without `=`"
            raise ValueError(msg)
        storage[key] = value
    return storage


def reading_of(options: argparse.Namespace) -> ExtractOptions:
    """Return the options of the verbs that read images."""
    given: dict[str, Any] = {
        "storage_options": storage_of(options),
        "progress": options.progress,
        "sandbox": options.sandbox,
    }
    if options.max_pixels is not None:
        given["max_pixels"] = options.max_pixels
    Reading.of(ExtractOptions, given)
    chosen: ExtractOptions = given  # type: ignore[assignment] # just checked
    return chosen


def too_many(failed: int, rows: int, limit: tuple[float, bool]) -> bool:
    """Return whether more images failed than allowed.

    Examples:
        >>> too_many(3, 100, (2, True)), too_many(3, 100, (3, False))
        (True, False)
    """
    amount, is_percentage = limit
    return failed > (amount / 100 * rows if is_percentage else amount)


def limit(text: str) -> tuple[float, bool]:
    """Take a count or a percentage."""
    is_percentage = text.endswith("%")
    try:
        amount = float(text[:-1]) if is_percentage else int(text)
    except ValueError:
        amount = -1
    if not 0 <= amount < float("inf"):
        msg = f"must be a count or a percentage such as 5%, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return amount, is_percentage


def positive(text: str) -> int:
    """Take a number of things, at least one."""
    if not (text.isascii() and text.isdecimal() and int(text)):
        msg = f"must be a positive whole number, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)
