"""The images of a folder or a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import PurePath

from polars_imgmeta import exceptions
from polars_imgmeta.io import redaction
from polars_imgmeta.io.access import STORE_SCHEMES, WEB_SCHEMES, Access
from polars_imgmeta.io.beneath import pinned_folder
from polars_imgmeta.io.locators import local_path, probe_path, scheme_of, spell_path
from polars_imgmeta.io.remote import Storage, list_remote, require_remote
from polars_imgmeta.io.sources import SourceFacts

_LOCAL = Storage()
_NONE: frozenset[tuple[int, int]] = frozenset()

# fmt: off
IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".bw", ".cur", ".dcx", ".dds", ".dib", ".fits", ".gif",
    ".hdr", ".heic", ".heif", ".hif", ".icb", ".icns", ".ico", ".j2c", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".jxl", ".mpo", ".pam", ".pbm", ".pcx", ".pfm",
    ".pgm", ".pic", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".ras", ".rgb", ".rgba", ".sgi",
    ".sun", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm", ".xpm",
})
# fmt: on
"""The suffixes of image files, in lower case."""

_ANY_FOLDERS = "**"


def list_images(source: str, storage: Storage = _LOCAL) -> Iterator[tuple[str, SourceFacts]]:
    """List the image files of a folder, or the files that a pattern matches.

    Args:
        source: A folder, listed recursively and filtered by suffix; or a file; or a
            pattern with `*`, `?`, `[...]` or `**`, which selects files of any suffix.
            For cloud storage: a prefix, an object or a pattern.
        storage: How to access it.

    Yields:
        The locator of each file, and its size, modification time and ETag as far as they
        are available.

    Raises:
        ImageError: If the folder, or one below it, cannot be listed.
    """
    if scheme_of(source) in STORE_SCHEMES:
        try:
            yield from list_remote(source, IMAGE_SUFFIXES, storage)
        except exceptions.ImageError as error:
            raise redaction.locate(error, source) from None
        return
    path = storage.access.resolve_path(local_path(source))
    # An existing path comes first: its name may look like a pattern.
    if os.path.isdir(path):
        yield from _walk(path, storage.access, parents=frozenset())
        return
    for match in [path] if os.path.lexists(path) else _matches(path, storage.access):
        yield spell_path(match), _facts(match, storage.access)


def require_listable(source: str, storage: Storage = _LOCAL) -> None:
    """Check that a source can be listed; a pattern may match nothing.

    Raises:
        ImageError: Of the kind `not_found`, `access_denied` or `invalid_locator`.
        ImportError: If the source needs an extra that is not installed.
    """
    try:
        scheme = scheme_of(source)
        if scheme in WEB_SCHEMES:
            msg = "a web server lists no files; give a folder, a pattern or a cloud prefix"
            raise exceptions.InvalidLocatorError(msg)
        if scheme in STORE_SCHEMES:
            storage.access.require_scheme(scheme)
            require_remote(scheme)
            return
        path = storage.access.resolve_path(local_path(source, storage.access))
    except exceptions.ImageError as error:
        raise redaction.locate(error, source) from None
    if not (os.path.lexists(path) or glob.has_magic(path)):
        msg = f"`source` must be a folder, a file or a pattern, got {source!r}: no such folder"
        raise exceptions.NotFoundError(msg)


def _matches(pattern: str, access: Access) -> list[str]:
    """Return the files that a pattern matches."""
    if access.roots is None:
        found = glob.iglob(pattern, recursive=True)
        return sorted(path for path in found if not os.path.isdir(path))
    root = access.root_of(pattern)
    parts = PurePath(pattern).relative_to(root).parts
    return sorted({*_expand(root, parts, access)}) if parts else []


def _expand(
    folder: str, parts: Sequence[str], access: Access, parents: frozenset[tuple[int, int]] = _NONE
) -> Iterator[str]:
    """Yield the files below a folder that the parts of a pattern match.

    As `glob` does, which would follow a link that took the place of a folder after a check.
    """
    try:
        identity, listing = _scan(folder, access)
    except (OSError, exceptions.AccessDeniedError):
        return
    if identity in parents:  # a symbolic link to a parent
        return
    part, *others = parts
    anywhere = part == _ANY_FOLDERS
    if anywhere and others:  # no folder in between
        yield from _expand(folder, others, access)
    for name, is_folder in listing:
        if not _fits(name, "*" if anywhere else part):
            continue
        path = os.path.join(folder, name)
        if is_folder and anywhere:
            yield from _expand(path, parts, access, parents | {identity})
        elif is_folder and others:
            yield from _expand(path, others, access)
        elif not (is_folder or others):
            yield path


def _fits(name: str, part: str) -> bool:
    """Return whether a part of a pattern matches a name; a hidden one, if it is meant."""
    return fnmatch(name, part) and (name[0] != "." or part[0] == ".")


def _walk(
    folder: str, access: Access, parents: frozenset[tuple[int, int]]
) -> Iterator[tuple[str, SourceFacts]]:
    try:
        identity, listing = _scan(folder, access)
    except OSError as error:
        raise redaction.locate(exceptions.from_os_error(error), folder) from None
    if identity in parents:  # a symbolic link to a parent
        return
    for name, is_folder in listing:
        path = os.path.join(folder, name)
        if is_folder:
            if _is_allowed(path, access):
                yield from _walk(path, access, parents | {identity})
        elif os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
            yield spell_path(path), _facts(path, access)


def _scan(folder: str, access: Access) -> tuple[tuple[int, int], list[tuple[str, bool]]]:
    """Return the identity of a folder, and what is in it: names, and whether each is a folder.

    Below the roots of a policy it is opened without following a link that took the place of a
    folder after the check.
    """
    if access.roots is None:
        return _listing_of(folder)
    real = access.resolve_path(folder)
    with pinned_folder(real, access.root_of(real)) as opened:
        return _listing_of(opened)


def _listing_of(folder: str | int) -> tuple[tuple[int, int], list[tuple[str, bool]]]:
    status = os.stat(folder)
    with os.scandir(folder) as entries:
        listing = sorted((entry.name, _is_folder(entry)) for entry in entries)
    return (status.st_dev, status.st_ino), listing


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself: its row gets the error
        return False


def _is_allowed(path: str, access: Access) -> bool:
    """Return whether a path may be read; if not, its row gets the error."""
    try:
        access.resolve_path(path)
    except exceptions.AccessDeniedError:
        return False
    return True


def _facts(path: str, access: Access) -> SourceFacts:
    try:
        return probe_path(path, access)
    except (OSError, exceptions.AccessDeniedError):  # such as a dangling link
        return SourceFacts(None)  # its row gets the error
