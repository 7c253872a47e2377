"""What goes wrong on the way to a web server, and whether another try may help."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from http import HTTPStatus
from http.client import IncompleteRead
from typing import Final

from urllib3.exceptions import DecodeError

from polars_imgmeta.exceptions import AccessDeniedError, UnreachableError

FEW_TRIES: Final = 2
"""Where another try rarely helps."""

_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]{3})\b")
_PROXY_DENIES = {401, 403, 407}
# What OpenSSL says of a certificate is the same for all, but for whose it should be.
_OTHER_NAME = {62, 64}


class TransientError(Exception):
    """Something went wrong that may go right the next time.

    Attributes:
        pause: For how many seconds the server asks to be left alone.
        most_tries: How many tries are worth it.
    """

    def __init__(self, message: str, *, pause: float = 0.0, most_tries: int = 1 << 30) -> None:
        super().__init__(message)
        self.pause = pause
        self.most_tries = most_tries


def is_cut(error: Exception) -> bool:
    """Whether the other side closed the connection, in whichever manner."""
    error = _cause(error)
    return isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError)


def failure_of(error: Exception) -> Exception:
    """Map what urllib3 and the system raise, without a word of the URL.

    Returns:
        A `TransientError`, or an `ImageError` where no other try can help.
    """
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError) and not is_cut(cause):
        return _of_tls(cause)
    if isinstance(cause, OSError):
        return _of_system(cause)
    if isinstance(cause, IncompleteRead):
        return TransientError("the body ended early")
    if isinstance(error, DecodeError):
        return TransientError("the body is not encoded as the server says", most_tries=FEW_TRIES)
    return TransientError("the answer is not valid HTTP", most_tries=FEW_TRIES)


def _of_system(error: OSError) -> Exception:
    if isinstance(error, TimeoutError):
        return TransientError("the server was silent for too long")
    if isinstance(error, socket.gaierror):
        return TransientError("the name of the host is not known", most_tries=FEW_TRIES)
    if isinstance(error, ConnectionRefusedError):
        return TransientError("the connection was refused")
    if is_cut(error):
        return TransientError("the connection was cut")
    if tunnel := _TUNNEL.match(str(error)):
        status = int(tunnel[1])
        msg = f"the proxy answered {named(status)}"
        return AccessDeniedError(msg) if status in _PROXY_DENIES else TransientError(msg)
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return TransientError(f"the connection failed with {name}")


def _of_tls(error: ssl.SSLError) -> Exception:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = (
            "it is for another host" if error.verify_code in _OTHER_NAME else error.verify_message
        )
        return UnreachableError(f"the certificate of the server cannot be trusted: {reason}")
    reason = (error.reason or "unknown reason").lower().replace("_", " ")
    return TransientError(f"TLS failed: {reason}", most_tries=FEW_TRIES)


def named(status: int) -> str:
    """A status with its name, which servers may spell as they like.

    Examples:
        >>> named(503)
        '503 Service Unavailable'
    """
    return f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)


def _cause(error: Exception) -> Exception:
    """The exception that urllib3 wrapped, or that it is."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error
