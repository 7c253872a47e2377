"""The mapping of connection failures to errors, transient or final."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, IncompleteRead

from urllib3.exceptions import DecodeError, HTTPError

from polars_imgmeta.exceptions import AccessDeniedError, UnreachableError
from polars_imgmeta.io.retries import TransientError

_TUNNEL_FAILURE = re.compile(r"Tunnel connection failed: ([0-9]{3})\b")
_PROXY_DENIALS = {401, 403, 407}
# The codes of OpenSSL for a certificate of another name, whose message quotes the name.
_NAME_MISMATCH = {62, 64}


def is_disconnect(error: Exception) -> bool:
    """Return whether the peer closed or reset the connection."""
    error = _cause(error)
    return isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError)


@contextmanager
def reading() -> Iterator[None]:
    """Report as invalid HTTP what the library, given an answer, does not understand.

    Other exceptions of type `ValueError` are defects of this package, and no failure of a row.
    """
    try:
        yield
    except (OSError, HTTPException, HTTPError):  # some of these are a `ValueError` too
        raise
    except ValueError as error:
        raise HTTPException(str(error)) from None


def failure_of(error: Exception) -> Exception:
    """Map an exception to a `TransientError`, or to an `ImageError` where no retry can help."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError) and not is_disconnect(cause):
        return _from_tls_error(cause)
    if isinstance(cause, OSError):
        return _from_os_error(cause)
    if isinstance(cause, IncompleteRead):
        return TransientError("the body ended early")
    if isinstance(error, DecodeError):
        return TransientError("the body is not encoded as the server says", max_retries=1)
    return TransientError("the answer is not valid HTTP", max_retries=1)


def _from_os_error(error: OSError) -> Exception:
    if isinstance(error, TimeoutError):
        return TransientError("the server was silent for too long")
    if isinstance(error, socket.gaierror):
        return TransientError("the name of the host is not known", max_retries=1)
    if isinstance(error, ConnectionRefusedError):
        return TransientError("the connection was refused")
    if is_disconnect(error):
        return TransientError("the connection was cut")
    if tunnel := _TUNNEL_FAILURE.match(str(error)):
        status = int(tunnel[1])
        msg = f"the proxy answered {name_status(status)}"
        return AccessDeniedError(msg) if status in _PROXY_DENIALS else TransientError(msg)
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return TransientError(f"the connection failed with {name}")


def _from_tls_error(error: ssl.SSLError) -> Exception:
    if isinstance(error, ssl.SSLCertVerificationError):
        mismatch = error.verify_code in _NAME_MISMATCH
        reason = "it is for another host" if mismatch else error.verify_message
        return UnreachableError(f"the certificate of the server cannot be trusted: {reason}")
    reason = (error.reason or "unknown reason").lower().replace("_", " ")
    return TransientError(f"TLS failed: {reason}", max_retries=1)


def name_status(status: int) -> str:
    """Return a status with its standard phrase, whatever phrase the server sent.

    Examples:
        >>> name_status(503)
        '503 Service Unavailable'
    """
    return f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)


def _cause(error: Exception) -> Exception:
    """Return the exception that urllib3 wrapped, or the exception itself."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    return error
