"""From a locator to its bytes: the only place that knows storage.

A locator is a path (absolute, relative to the working directory, or below a
home, `~`) or a `file://` URI. A path is taken literally: spaces, `%`, `#` and
every letter stand for themselves. A URI is percent-decoded.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes

from polars_imgmeta import exceptions
from polars_imgmeta.sources import FileSource, Source

# Two letters at least, so that the drive of a Windows path is not taken for one.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_FILE_URI = re.compile(
    r"file:(?://(?P<host>[^/]*)(?=/)|(?!//))(?P<path>/.*)", re.IGNORECASE | re.DOTALL
)

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".bw", ".cur", ".dcx", ".dds", ".dib", ".fits", ".gif",
    ".hdr", ".heic", ".heif", ".hif", ".icb", ".icns", ".ico", ".j2c", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".jxl", ".mpo", ".pam", ".pbm", ".pcx", ".pfm",
    ".pgm", ".pic", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".ras", ".rgb", ".rgba", ".sgi",
    ".sun", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm", ".xpm",
})
# fmt: on
"""The suffixes, in lower case, by which an image in a folder is known."""


def open_image(locator: str) -> Source:
    """Open what a locator points at, for one reading.

    Args:
        locator: A path or `file://` URI.

    Returns:
        The encoded image, to be read in part; the caller closes it.

    Raises:
        ImageError: Of the kind `not_found`, `access_denied`, `unreachable` or
            `invalid_locator`.
    """
    path = local_path(locator)
    try:
        return FileSource(path)
    except ValueError:
        msg = "a path cannot contain the character NUL"
        raise exceptions.InvalidLocatorError(msg) from None
    except OSError as error:
        raise exceptions.from_os_error(error) from None


def local_path(locator: str) -> str:
    """Return the path in the file system that a locator denotes.

    Raises:
        InvalidLocatorError: If it denotes none.

    Examples:
        >>> local_path("file:///photos/a%20b.jpg")
        '/photos/a b.jpg'
        >>> local_path("photos/100% #1.jpg")
        'photos/100% #1.jpg'
    """
    if not locator:
        msg = "an empty string"
        raise exceptions.InvalidLocatorError(msg)
    if ":" not in locator and locator[0] != "~":
        return locator
    if uri := _FILE_URI.fullmatch(locator):
        if uri["host"] not in {None, "", "localhost"}:
            msg = "a file URI of another host; this machine's files are file:///path"
            raise exceptions.InvalidLocatorError(msg)
        return os.fsdecode(unquote_to_bytes(uri["path"]))
    if locator[:7].lower() == "file://":
        msg = "a file URI of a relative path; absolute ones are file:///path"
        raise exceptions.InvalidLocatorError(msg)
    if scheme := _SCHEME.match(locator):
        msg = f"unknown scheme {scheme[1].lower()!r}; known are local paths and file://"
        raise exceptions.InvalidLocatorError(msg)
    return os.path.expanduser(locator)


def list_images(source: str) -> Iterator[tuple[str, int | None]]:
    """List the image files of a folder, or the files that a glob matches.

    Args:
        source: A folder, whose image files are known by their suffix, in all
            folders below it; or a file; or a pattern with `*`, `?`, `[...]` or
            `**`, which alone decides.

    Yields:
        The locator of each file, and its size in bytes where it can be told.

    Raises:
        ImageError: If the folder, or one below it, cannot be listed.
    """
    path = local_path(source)
    # What is there first: its name may look like a pattern.
    if os.path.isdir(path):
        yield from _walk(path, above=frozenset())
        return
    matches = [path] if os.path.lexists(path) else sorted(glob.iglob(path, recursive=True))
    for match in matches:
        if not os.path.isdir(match):
            yield _spell(match), _size(match)


def require_listable(source: str) -> None:
    """Raise `NotFoundError` for a folder or file that is not there.

    A pattern may match nothing.
    """
    path = local_path(source)
    if not (os.path.lexists(path) or glob.has_magic(path)):
        msg = f"`source` must be a folder, a file or a pattern, got {source!r}: no such folder"
        raise exceptions.NotFoundError(msg)


def _walk(folder: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, int | None]]:
    try:
        status = os.stat(folder)
        with os.scandir(folder) as entries:
            listing = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise exceptions.locate(exceptions.from_os_error(error), folder) from None
    here = (status.st_dev, status.st_ino)
    if here in above:  # a symbolic link back up
        return
    for entry in listing:
        if _is_folder(entry):
            yield from _walk(entry.path, above | {here})
        elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
            yield _spell(entry.path), _size(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: its row will tell
        return False


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:  # a dangling link, say: its row will tell
        return None


def _spell(path: str) -> str:
    """Spell a path as a locator: as it is, or as a URI where it is no valid text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(os.path.abspath(path)))
    # A relative path could be taken for a URI or for somebody's home.
    special = path.startswith("~") or path.lower().startswith("file:") or _SCHEME.match(path)
    return f"./{path}" if special else path
