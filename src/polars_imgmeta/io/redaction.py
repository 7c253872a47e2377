"""Locators in messages, without the secrets that URLs may contain."""

from __future__ import annotations

import re

from polars_imgmeta.exceptions import ImageError

# Lenient, because a malformed URL can contain secrets too.
_URL = re.compile(
    r"(?P<scheme>.*?https?:[/\\]+)(?:[^/\\?#]*@|[^/\\?#:\[]*:[^0-9/\\?#][^?#]*@)?"
    r"(?P<rest>[^?#]*)(?P<query>[?#].*)?",
    re.IGNORECASE | re.DOTALL,
)
# A question mark that no parameter follows belongs to the key.
_OTHER_URL = re.compile(
    r"(?P<scheme>\s*[A-Z][A-Z0-9+.-]*://)(?:[^/:]*:[^/]*@)?(?P<rest>[^?]*(?:\?[^=]*\Z)?)"
    r"(?P<query>.+)?",
    re.IGNORECASE | re.DOTALL,
)
_MAX_LENGTH = 1024


def redact(locator: str) -> str:
    """Return a URL without user, password and query; other locators unchanged.

    In a URL of cloud storage, the part before `@` is the name of a container, unless it
    contains a colon, and a question mark belongs to the key, unless parameters follow.

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
    """Return the same exception with the redacted locator in its message.

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
    if len(shown) > _MAX_LENGTH:
        shown = f"{shown[:_MAX_LENGTH]}..."
    return type(error)(f"{shown!r}: {error}")


def parse_url(locator: str) -> re.Match[str] | None:
    """Return the groups `scheme`, `rest` and `query` of a URL, or None for a path."""
    return _URL.fullmatch(locator) or _OTHER_URL.fullmatch(locator)
