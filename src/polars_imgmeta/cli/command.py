"""The command `imgmeta`: its subcommands, and how it ends."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE, GROUPS
from polars_imgmeta.cli import demo, editing, extract, judging, looking
from polars_imgmeta.exceptions import ImgmetaError

_INTERRUPTED = 130  # the exit status of shells for SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command-line arguments; by default those of the process.

    Returns:
        The exit status: 0; 1 if more images than `--max-failed` allows could not be read, more
        than `--max-issues` allows are bad, more than `--max-copies` allows are copies, or under
        `compare --fail` a property has shifted; 2 for invalid arguments, or if the output cannot
        be written; 130 if interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help()
        return 0
    if not sys.stderr.isatty() and options.progress is None:  # where there is no bar
        logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr)
        logging.getLogger("polars_imgmeta").setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files need not be text
            stream.reconfigure(errors="backslashreplace")
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # such as of `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ImgmetaError, ImportError, OSError, ValueError, pl.exceptions.PolarsError) as error:
        text, _, _ = str(error).partition("\n\nResolved plan")  # which Polars appends
        print(f"imgmeta: {text}", file=sys.stderr)
        if os.strerror(errno.ENOSPC) in text:
            print(
                "\nHint: " + "; ".join(["free some space", *options.interrupted]), file=sys.stderr
            )
        return 2
    except KeyboardInterrupt:
        print("; ".join(["imgmeta: interrupted", *options.interrupted]), file=sys.stderr)
        return _INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imgmeta",
        description="Properties of images: brightness, sharpness, size and more, in tables.",
        epilog=f"Properties: {', '.join(CATALOGUE)}. Groups: {', '.join(GROUPS)}."
        " `imgmeta COMMAND --help` lists the options of a command.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {version('polars-imgmeta')}"
    )
    # What is true of the output of a command when it ends early, as far as it is known.
    parser.set_defaults(run=None, progress=None, interrupted=[])
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in (extract, editing, looking, judging, demo):
        module.register(commands)
    return parser
