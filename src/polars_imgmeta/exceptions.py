"""Every exception that polars-imgmeta raises, and every foreign one that it maps.

    ImgmetaError
    ├── PropertyError        (ValueError)  no or an unknown property, or bins that cannot be
    ├── ColumnError          (ValueError)  the call names a column that cannot serve
    └── ImageError                         one image could not be read
        ├── NotFoundError                  nothing is where the locator points
        ├── AccessDeniedError              it is there, and may not be read
        ├── UnreachableError               reading failed on the way
        ├── InvalidLocatorError            the locator does not denote a file
        ├── UnsupportedError               it is no image, or of no known format
        ├── CorruptError                   it is an image, and damaged
        └── TooLargeError                  decoding it would exceed a limit

The first two are mistakes in a call and are raised when the call is made. An
`ImageError` belongs to a row: under `on_error="null"` it becomes the row's
`error`, `"<kind>: <message>"`, and under `on_error="raise"` it is raised.

The messages of an `ImageError` depend on the image alone. They hold no path, no
address and no temporary name, so that equal failures can be counted.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable
from typing import ClassVar

from polars_imgmeta.typing import ErrorKind


class ImgmetaError(Exception):
    """The base of all exceptions of this package."""


class PropertyError(ImgmetaError, ValueError):
    """A call names an unknown property, none, or bins that cannot be."""


class ColumnError(ImgmetaError, ValueError):
    """A call names a column that is missing, ambiguous or of the wrong type."""


class ImageError(ImgmetaError):
    """One image could not be read.

    Attributes:
        kind: The word that classifies the failure, one of
            [`ErrorKind`][polars_imgmeta.typing.ErrorKind].
    """

    # Polars builds the exception anew from one string when it crosses a
    # user-defined function: no subclass may ask for more in `__init__`.
    kind: ClassVar[ErrorKind]


class NotFoundError(ImageError):
    """Nothing is where the locator points."""

    kind = "not_found"


class AccessDeniedError(ImageError):
    """The file exists and may not be read."""

    kind = "access_denied"


class UnreachableError(ImageError):
    """Reading failed on the way, for a reason outside the file."""

    kind = "unreachable"


class InvalidLocatorError(ImageError):
    """The locator does not denote a file that can be read."""

    kind = "invalid_locator"


class UnsupportedError(ImageError):
    """The content is no image of a known format."""

    kind = "unsupported"


class CorruptError(ImageError):
    """The content is a damaged image."""

    kind = "corrupt"


class TooLargeError(ImageError):
    """Decoding the image would exceed a limit."""

    kind = "too_large"


FAILURES = (ImageError, OSError, MemoryError)
"""What an image, or its place, may do wrong."""

_INVALID_LOCATOR_REASONS = {
    errno.ENXIO: "a device, pipe or socket, not an image file",
    errno.EISDIR: "a directory, not an image file",
    errno.ELOOP: "too many levels of symbolic links",
    errno.ENAMETOOLONG: "the file name is too long; an image itself goes into a Binary column",
}


def from_os_error(error: OSError) -> ImageError:
    """Map a failure of the file system to the exception of a row.

    Args:
        error: What `open` or `read` raised.

    Returns:
        The exception to record or raise; never the path, which the row has.

    Examples:
        >>> from_os_error(FileNotFoundError(2, "No such file", "a.jpg"))
        NotFoundError('no such file')
        >>> from_os_error(OSError(5, "Input/output error"))
        UnreachableError('reading failed with EIO')
    """
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFoundError("no such file")
    if isinstance(error, PermissionError):
        return AccessDeniedError("permission denied")
    if error.errno in _INVALID_LOCATOR_REASONS:
        return InvalidLocatorError(_INVALID_LOCATOR_REASONS[error.errno])
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return UnreachableError(f"reading failed with {name}")


_UNSUPPORTED = re.compile(
    r"unsupported|not supported|unknown pixel mode|cannot handle|not implemented", re.IGNORECASE
)


def from_decoder_error(error: Exception, *, what: str) -> ImageError:
    """Map whatever a decoder raised to the exception of a row.

    Decoders raise almost anything on damaged data, so all of it is mapped.

    Args:
        error: What the decoder raised.
        what: The part that could not be read, as the subject of the message.

    Returns:
        `TooLargeError` where memory ran out or a hidden image would take it,
        `UnsupportedError` where the decoder says so, otherwise `CorruptError`.

    Examples:
        >>> from_decoder_error(OSError("broken <_io.BytesIO object at 0x7f>"), what="the pixels")
        CorruptError('the pixels cannot be decoded: broken')
        >>> from_decoder_error(MemoryError(), what="the pixels")
        TooLargeError('the pixels do not fit into memory')
    """
    if isinstance(error, MemoryError):
        return TooLargeError(f"{what} do not fit into memory")
    if type(error).__name__ == "DecompressionBombError":
        return TooLargeError("an icon, or an image within, of more pixels than it lets expect")
    reason = _reason(error)
    kind = UnsupportedError if _UNSUPPORTED.search(reason) else CorruptError
    return kind(f"{what} cannot be decoded: {reason}")


def from_failure(failure: BaseException) -> ImageError:
    """Map any of `FAILURES` to the exception of a row.

    Returns:
        An exception without a traceback, which would keep the image in memory.
    """
    if isinstance(failure, ImageError):
        return type(failure)(str(failure))
    if isinstance(failure, OSError):  # from reading; opening maps its own
        return from_os_error(failure)
    return from_decoder_error(MemoryError(), what="the data")


_LONGEST_REASON = 120


def _reason(error: Exception) -> str:
    """What a foreign exception says, in one line and free of object addresses."""
    if isinstance(error, KeyError):  # says nothing but the key
        return f"unknown value {error}"
    text = re.sub(r"\s*<[^<>]*\bat 0x[0-9a-fA-F]+>", "", str(error))
    line = " ".join(text.split()) or type(error).__name__
    # Some quote the file, which may be long and may be anything.
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."


def require_positive(name: str, value: object) -> None:
    """Check an argument that counts something.

    Raises:
        ValueError: If it is no positive whole number.

    Examples:
        >>> require_positive("rows", 0)
        Traceback (most recent call last):
        ...
        ValueError: `rows` must be a positive whole number, got 0
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        msg = f"`{name}` must be a positive whole number, got {value!r}"
        raise ValueError(msg)


def hint(word: object, choices: Iterable[str]) -> str:
    r"""Say which of the choices is nearest to a word, or nothing.

    Examples:
        >>> hint("widht", ["width", "height"])
        "\n\nHint: did you mean 'width'?"
        >>> hint("colour", ["width", "height"])
        ''
    """
    nearest = difflib.get_close_matches(str(word), list(choices), n=1)
    return f"\n\nHint: did you mean {nearest[0]!r}?" if nearest else ""
