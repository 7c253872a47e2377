"""The mapping of obstore's exceptions to those of rows, by the wording of its messages.

Its messages quote the URL, the store's response and sometimes a secret, of which only
the status of the response is passed on.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from obstore.exceptions import BaseError, UnauthenticatedError

from polars_imgmeta.exceptions import AccessDeniedError, ImageError, NotFoundError, UnreachableError
from polars_imgmeta.io.retries import TransientError

NO_CREDENTIALS: Final = (
    "no credentials found in `storage_options`, the environment, a profile or the instance;"
    " a public bucket is read with 'skip_signature': 'true'"
)

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
# Its requests to the instance, for lack of explicit credentials.
_CREDENTIAL_REQUEST = re.compile(
    r"Error performing \w+ \S+?(/latest/api/token|/latest/meta-data/\S+|/computeMetadata/v1/\S+"
    r"|/metadata/identity/oauth2/token\S*) in |^Generic \w+ error: (GCP credential error"
    r"|Error performing token request|Error with azure cli|'?az\b|HTTP error: EOF while parsing)",
    re.IGNORECASE,
)
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist")
_EXPIRED = re.compile(r"ExpiredToken|InvalidToken|TokenRefreshRequired|RequestExpired")
_UNTRUSTED = re.compile(r"certificate|UnknownIssuer|CertNotValid", re.IGNORECASE)
_WRONG_REGION = re.compile(r"redirect without LOCATION|AuthorizationHeaderMalformed")
_DENIED: Final = frozenset({401, 403})
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


def is_store_error(error: BaseException) -> bool:
    """Return whether an exception is of obstore; any other one is a defect of this package."""
    return isinstance(error, BaseError | OSError) or _is_panic(error)


def _is_panic(error: BaseException) -> bool:
    # Each extension in Rust has a class of that name of its own, which cannot be imported.
    return type(error).__name__ == "PanicException"


def from_store_error(error: BaseException) -> ImageError | TransientError:
    """Map an exception of obstore: to a `TransientError` where a retry can help."""
    message, _, details = str(error).partition("\n\nDebug source:")
    status = int(match[1]) if (match := _STATUS.search(message)) else None
    if _CREDENTIAL_REQUEST.search(message):
        return AccessDeniedError(NO_CREDENTIALS)
    if isinstance(error, FileNotFoundError) or status == HTTPStatus.NOT_FOUND:
        what = "bucket" if _NO_BUCKET.search(message) else "object"
        return NotFoundError(f"no such {what}")
    if _WRONG_REGION.search(message):
        return UnreachableError("the bucket is in another region: name it by `aws_region`")
    if status is None:
        return _from_connection_error(error, message, details)
    if status in _DENIED or _EXPIRED.search(message):
        return AccessDeniedError(f"the store answered {status}")
    kind = TransientError if status in _TRANSIENT else UnreachableError
    return kind(f"the store answered {status}")


def _from_connection_error(
    error: BaseException, message: str, details: str
) -> ImageError | TransientError:
    """Map a failure without a response status."""
    if isinstance(error, UnauthenticatedError):
        return AccessDeniedError("asking for credentials failed")
    if _is_panic(error):
        return AccessDeniedError("an option or a variable holds what no request can")
    if "builder error" in message:
        return AccessDeniedError("http:// is not allowed by `allow_http`")
    if "HTTP error" not in message:
        final = "the store answered something that is no object"
    elif "dns error" in details:
        final = "unknown host"
    elif _UNTRUSTED.search(details):
        final = "the certificate of the store is not trusted"
    else:
        return TransientError("the connection to the store failed")
    return UnreachableError(final)
