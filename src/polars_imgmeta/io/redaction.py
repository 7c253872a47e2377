"""Locators in messages: named, and without the secrets that URLs may carry."""

from __future__ import annotations

import re

from polars_imgmeta.exceptions import (
    ImageError,
)

# Also where it is not spelled rightly, so that nothing reads it.
_URL = re.compile(
    r"(?P<scheme>.*?https?:[/\\]+)(?:[^/\\?#]*@|[^/\\?#:\[]*:[^0-9/\\?#][^?#]*@)?"
    r"(?P<rest>[^?#]*)(?P<query>[?#].*)?",
    re.IGNORECASE | re.DOTALL,
)
# In which a lone question mark belongs to the name.
_OTHER_URL = re.compile(
    r"(?P<scheme>\s*[A-Z][A-Z0-9+.-]*://)(?:[^/:]*:[^/]*@)?(?P<rest>[^?]*(?:\?[^=]*\Z)?)"
    r"(?P<query>.+)?",
    re.IGNORECASE | re.DOTALL,
)
_LONGEST_LOCATOR = 1024


def redact(locator: str) -> str:
    """Return a URL without user, password and query, and anything else as it is.

    Of cloud storage, what stands before an `@` is the name of a container, unless there
    is a colon in it; and a question mark belongs to the key, unless a signature follows.

    Examples:
        >>> redact("https://me:word@example.org/a.jpg?token=1")
        'https://example.org/a.jpg?...'
        >>> redact("photos/what?.jpg")
        'photos/what?.jpg'
        >>> redact("az://photos/a.jpg?sv=1&sig=secret")
        'az://photos/a.jpg?...'
    """
    if not (url := parse_url(locator)):
        return locator
    return url["scheme"] + url["rest"] + ("?..." if url["query"] else "")


def locate(error: ImageError, locator: str | bytes) -> ImageError:
    """Return the same exception with a message that names its locator.

    Without what may be secret in a URL: user and password, and the query.

    Examples:
        >>> locate(im.NotFoundError("no such file"), "a.jpg")
        NotFoundError("'a.jpg': no such file")
        >>> locate(im.AccessDeniedError("no"), "https://me:word@example.org/a.jpg?token=1")
        AccessDeniedError("'https://example.org/a.jpg?...': no")
        >>> locate(im.CorruptError("the file is empty"), b"")
        CorruptError('an image of 0 bytes: the file is empty')
    """
    if isinstance(locator, bytes):
        return type(error)(f"an image of {len(locator)} bytes: {error}")
    shown = redact(locator)
    if len(shown) > _LONGEST_LOCATOR:  # perhaps an image itself, as text
        shown = f"{shown[:_LONGEST_LOCATOR]}..."
    return type(error)(f"{shown!r}: {error}")


def parse_url(locator: str) -> re.Match[str] | None:
    """Return the groups `scheme`, `rest` and `query` of a URL; None if the locator is a path."""
    return _URL.fullmatch(locator) or _OTHER_URL.fullmatch(locator)
