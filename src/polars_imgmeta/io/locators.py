"""The interpretation of locators.

A locator is a path (absolute, relative to the working directory or to a home, `~`), a
URI of a known scheme, or the encoded image itself. A path is taken literally, so `%`
and `#` have no special meaning; a `file://` URI is percent-decoded.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from polars_imgmeta import exceptions
from polars_imgmeta.io.access import SCHEMES, STORE_SCHEMES, WEB_SCHEMES, Access
from polars_imgmeta.io.beneath import pinned
from polars_imgmeta.io.sources import BytesSource, FileSource, Source, SourceFacts, facts_of

Locator: TypeAlias = str | bytes
"""The path or URI of an image, or the image itself."""

_UNRESTRICTED: Final = Access()
_REMOTE_SCHEMES: Final = frozenset({*WEB_SCHEMES, *STORE_SCHEMES})
# At least two letters, so that the drive of a Windows path does not match.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_FILE_URI = re.compile(
    r"file:(?://(?P<host>[^/]*)(?=/)|(?!//))(?P<path>/.*)", re.IGNORECASE | re.DOTALL
)


def open_local(locator: Locator, access: Access) -> Source:
    """Open a local image.

    Args:
        locator: A path, a `file://` URI, or an encoded image.
        access: Which paths may be opened.

    Returns:
        The encoded image, which the caller closes.

    Raises:
        ImageError: Of the kind `not_found`, `access_denied`, `unreachable` or
            `invalid_locator`.
    """
    if isinstance(locator, bytes):
        return BytesSource(locator)
    try:
        path = access.resolve_path(local_path(locator, access))
        if access.roots is None:
            return FileSource(path)
        with pinned(path, access.root_of(path)) as (name, folder):
            return FileSource(name, folder)
    except ValueError:
        msg = "a path cannot contain the character NUL"
        raise exceptions.InvalidLocatorError(msg) from None
    except OSError as error:
        if locator[:5].lower() == "data:":
            msg = "a data URI; an image itself goes into a Binary column, its bytes decoded"
            raise exceptions.InvalidLocatorError(msg) from None
        raise exceptions.from_os_error(error) from None


def probe_local(locator: str, access: Access) -> SourceFacts:
    """Return what the file system says of the file that a locator denotes.

    Raises:
        ImageError: As for `open_local`.
        OSError: If there is none.
    """
    return probe_path(local_path(locator, access), access)


def probe_path(path: str, access: Access) -> SourceFacts:
    """Return what the file system says of a file.

    Raises:
        AccessDeniedError: If it may not be read.
        OSError: If there is none.
    """
    path = access.resolve_path(path)
    if access.roots is None:
        return facts_of(os.stat(path))
    with pinned(path, access.root_of(path)) as (name, folder):
        status = os.stat(name, dir_fd=folder, follow_symlinks=folder is None)
    if stat.S_ISLNK(status.st_mode):  # as opening it would show
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return facts_of(status)


def is_remote(locator: str) -> bool:
    """Return whether a locator denotes an object on a server.

    Examples:
        >>> is_remote("S3://photos/a.jpg"), is_remote("file:///photos/a.jpg")
        (True, False)
    """
    return "://" in locator and scheme_of(locator) in _REMOTE_SCHEMES


def scheme_of(locator: str) -> str | None:
    """Return the scheme of a URI, in lower case, or None for a path.

    Examples:
        >>> scheme_of("S3://photos/a.jpg"), scheme_of("photos/a.jpg")
        ('s3', None)
    """
    scheme = _SCHEME.match(locator)
    return scheme[1].lower() if scheme else None


def local_path(locator: str, access: Access = _UNRESTRICTED) -> str:
    """Return the path in the file system that a locator denotes.

    Args:
        locator: A path or a `file://` URI.
        access: The policy by which another scheme is either forbidden or unknown.

    Raises:
        AccessDeniedError: If its scheme is forbidden.
        InvalidLocatorError: If it does not denote a local path.

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
    if scheme := scheme_of(locator):
        access.require_scheme(scheme)
        msg = f"unknown scheme {scheme!r}; known are paths and {', '.join(SCHEMES)}"
        raise exceptions.InvalidLocatorError(msg)
    return os.path.expanduser(locator)


def spell_path(path: str) -> str:
    """Return the locator of a path: the path, or a `file://` URI if it is not valid text.

    Examples:
        >>> spell_path("~.png")
        './~.png'
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(os.path.abspath(path)))
    # A relative path can look like a URI or a home.
    special = path.startswith("~") or path.lower().startswith("file:") or _SCHEME.match(path)
    return f"./{path}" if special else path
