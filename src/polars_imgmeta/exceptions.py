"""Every exception that polars-imgmeta raises, and the mapping of foreign ones.

    ImgmetaError
    ├── PropertyError        (ValueError)  no or unknown properties, or invalid bins
    ├── ColumnError          (ValueError)  a missing, ambiguous or mistyped column
    ├── JobError                           a job cannot write its output, or was stopped
    └── ImageError                         one image could not be read
        ├── NotFoundError                  the image does not exist
        ├── AccessDeniedError              the image may not be read
        ├── UnreachableError               reading failed for an external reason
        ├── InvalidLocatorError            the locator does not denote a file
        ├── UnsupportedError               not an image, or of an unknown format
        ├── CorruptError                   a damaged image
        ├── TooLargeError                  reading it would exceed a limit
        │   └── OutOfMemoryError           memory ran out
        └── PropertyFailedError            a custom property failed on it

The first two are argument errors, raised when the call is made. A `JobError` leaves what
was written whole. An `ImageError`
belongs to a row: under `on_error="null"` it becomes the row's `error`,
`"<kind>: <message>"`, and under `on_error="raise"` it is raised.

The message of an `ImageError` depends on the image alone. It contains no path, URL,
memory address or temporary name, so that equal failures can be aggregated.
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable
from typing import ClassVar

from polars_imgmeta.typing import ErrorKind


class ImgmetaError(Exception):
    """The base class of all exceptions of this package."""


class PropertyError(ImgmetaError, ValueError):
    """A call names no property or an unknown one, or invalid bins."""


class ColumnError(ImgmetaError, ValueError):
    """A call names a column that is missing, ambiguous or of the wrong type."""


class JobError(ImgmetaError):
    """A job cannot write to its output, or was stopped before its end."""


class ImageError(ImgmetaError):
    """One image could not be read.

    Attributes:
        kind: The category of the failure, one of
            [`ErrorKind`][polars_imgmeta.typing.ErrorKind].
    """

    # Polars recreates an exception that leaves a user-defined function from one
    # string: `__init__` of a subclass must not require more.
    kind: ClassVar[ErrorKind]


class NotFoundError(ImageError):
    """The image does not exist."""

    kind = "not_found"


class AccessDeniedError(ImageError):
    """The image may not be read."""

    kind = "access_denied"


class UnreachableError(ImageError):
    """Reading failed for a reason outside the image."""

    kind = "unreachable"


class InvalidLocatorError(ImageError):
    """The locator does not denote a file that can be read."""

    kind = "invalid_locator"


class UnsupportedError(ImageError):
    """The content is not an image of a known format."""

    kind = "unsupported"


class CorruptError(ImageError):
    """The content is a damaged image."""

    kind = "corrupt"


class TooLargeError(ImageError):
    """Reading or decoding the image would exceed a limit."""

    kind = "too_large"


class OutOfMemoryError(TooLargeError):
    """The memory of this process does not suffice for an image; that of another one may."""


class PropertyFailedError(ImageError):
    """A custom property raised, or returned a value of another dtype."""

    kind = "property_failed"


def combined(errors: Iterable[ImageError | None]) -> ImageError | None:
    """Return one error with the messages of all, a line each.

    That of the image comes first, then those of its custom properties by name.
    """
    listed = sorted(filter(None, errors), key=_of_property)
    if len(listed) < 2:  # noqa: PLR2004 - nothing to combine
        return listed[0] if listed else None
    first, *others = listed
    return type(first)("\n".join((str(first), *(f"{one.kind}: {one}" for one in others))))


def _of_property(error: ImageError) -> tuple[bool, str]:
    return isinstance(error, PropertyFailedError), str(error)


FAILURES = (ImageError, OSError, MemoryError)
"""The exceptions that become the error of a row."""

_INVALID_LOCATOR_REASONS = {
    errno.ENXIO: "a device, pipe or socket, not an image file",
    errno.EISDIR: "a directory, not an image file",
    errno.ELOOP: "too many levels of symbolic links",
    errno.ENAMETOOLONG: "the file name is too long; an image itself goes into a Binary column",
}


def from_os_error(error: OSError) -> ImageError:
    """Map an error of the file system to the exception of a row.

    Args:
        error: An exception of `open` or `read`.

    Returns:
        The exception to record or raise, whose message does not contain the path.

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
_TEXT_LIMIT = "MAX_TEXT_MEMORY"  # of Pillow


def from_decoder_error(error: BaseException, *, what: str) -> ImageError:
    """Map any exception of a decoder to the exception of a row.

    Decoders raise exceptions of almost any type on damaged data.

    Args:
        error: The exception of the decoder.
        what: The part that could not be decoded, as the subject of the message.

    Returns:
        `OutOfMemoryError` if memory ran out, `TooLargeError` if an embedded image is too large,
        `UnsupportedError` if the decoder reports that, otherwise `CorruptError`.

    Examples:
        >>> from_decoder_error(OSError("broken <_io.BytesIO object at 0x7f>"), what="the pixels")
        CorruptError('the pixels cannot be decoded: broken')
        >>> from_decoder_error(MemoryError(), what="the pixels")
        OutOfMemoryError('the pixels do not fit into memory')
    """
    if isinstance(error, TooLargeError):  # of a limit of ours, met inside the decoder
        return error
    if _lacks_memory(error):
        return OutOfMemoryError(f"{what} do not fit into memory")
    if type(error).__name__ == "DecompressionBombError":
        return TooLargeError("an icon, or an image within, of more pixels than it lets expect")
    reason = reason_of(error)
    if _TEXT_LIMIT in reason:
        return TooLargeError("a PNG of more than 64 MiB of texts")
    kind = UnsupportedError if _UNSUPPORTED.search(reason) else CorruptError
    return kind(f"{what} cannot be decoded: {reason}")


def from_failure(failure: BaseException, decoder: str | None = None) -> ImageError:
    """Map what ended the reading of an image to the exception of a row.

    Args:
        failure: Any of `FAILURES`; of a decoder, any for which `is_of_decoder` holds.
        decoder: The decoder that was running, the subject of the message; None if none was.

    Returns:
        An exception without a traceback, which would keep the image in memory.

    Examples:
        >>> from_failure(AssertionError("no tile"), "the FTEX decoder of Pillow")
        CorruptError('the FTEX decoder of Pillow raised AssertionError: no tile')
    """
    if isinstance(failure, ImageError):
        return type(failure)(str(failure))
    if isinstance(failure, OSError) and (failure.errno is not None or decoder is None):
        return from_os_error(failure)
    if decoder is None or _lacks_memory(failure):
        return OutOfMemoryError("the data do not fit into memory")
    return CorruptError(f"{decoder} raised {type(failure).__name__}: {reason_of(failure)}")


def is_of_decoder(failure: BaseException) -> bool:
    """Return whether a decoder may have raised this because of its input.

    Anything but a request to end the process. A decoder in Rust that panics raises an
    exception that is not an `Exception`.
    """
    return isinstance(failure, Exception) or type(failure).__name__ == "PanicException"


_OPENCV_NO_MEMORY = -4


def _lacks_memory(error: BaseException) -> bool:
    """Return whether memory ran out, which `cv2.error` says by its code."""
    return isinstance(error, MemoryError) or getattr(error, "code", None) == _OPENCV_NO_MEMORY


_MAX_REASON_LENGTH = 120
_OF_STRUCT = re.compile(r"unpack(_from)? requires a buffer of")


def reason_of(error: BaseException) -> str:
    """Return the message of a foreign exception in one line, without memory addresses."""
    try:
        message = str(error).encode("utf-8", "backslashreplace").decode("utf-8")
    except Exception:  # noqa: BLE001 - an exception class may be wrong itself
        return type(error).__name__
    if isinstance(error, KeyError):  # its message is the key alone
        return f"unknown value {message}"
    text = re.sub(r"\s*<[^<>]*\bat 0x[0-9a-fA-F]+>", "", message)
    line = " ".join(text.split()) or type(error).__name__
    if _OF_STRUCT.match(line):
        return "the data end too early"
    # Some messages quote arbitrary amounts of the file.
    return line if len(line) <= _MAX_REASON_LENGTH else f"{line[:_MAX_REASON_LENGTH]}..."


def require_positive(name: str, value: object) -> None:
    """Check that an argument is a positive integer.

    Raises:
        ValueError: If it is not.

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
    r"""Return a hint with the choice that is closest to a word, or an empty string.

    Examples:
        >>> hint("widht", ["width", "height"])
        "\n\nHint: did you mean 'width'?"
        >>> hint("colour", ["width", "height"])
        ''
    """
    nearest = difflib.get_close_matches(str(word), list(choices), n=1)
    return f"\n\nHint: did you mean {nearest[0]!r}?" if nearest else ""
