"""What obstore raises, as the exceptions of rows; the only place that knows its words.

Its messages quote the URL, the answer of the store, at times a secret. Of all that,
only the status of an answer is passed on.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final, NamedTuple

from obstore.exceptions import UnauthenticatedError

from polars_imgmeta.exceptions import (
    AccessDeniedError,
    ImageError,
    NotFoundError,
    UnreachableError,
)

NO_CREDENTIALS: Final = (
    "no credentials found in `storage_options`, the environment, a profile or the instance;"
    " a public bucket is read with 'skip_signature': 'true'"
)

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
# Whom it asks where nothing else has told credentials.
_ASKED_FOR_CREDENTIALS = re.compile(
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
_TEMPORARY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Failure(NamedTuple):
    """What an attempt ended with.

    Attributes:
        error: To be raised, if it was the last one.
        temporary: Whether another attempt may help.
    """

    error: ImageError
    temporary: bool = False


def from_store_error(error: BaseException) -> Failure:
    """Map what obstore raised.

    Args:
        error: One of `obstore.exceptions`, or of Python's own.
    """
    told, _, details = str(error).partition("\n\nDebug source:")
    status = int(match[1]) if (match := _STATUS.search(told)) else None
    if _ASKED_FOR_CREDENTIALS.search(told):
        return Failure(AccessDeniedError(NO_CREDENTIALS))
    if isinstance(error, FileNotFoundError) or status == HTTPStatus.NOT_FOUND:
        what = "bucket" if _NO_BUCKET.search(told) else "object"
        return Failure(NotFoundError(f"no such {what}"))
    if _WRONG_REGION.search(told):
        return Failure(UnreachableError("the bucket is in another region: name it by `aws_region`"))
    if status is None:
        return _from_connection(error, told, details)
    if status in _DENIED or _EXPIRED.search(told):
        return Failure(AccessDeniedError(f"the store answered {status}"))
    return Failure(UnreachableError(f"the store answered {status}"), status in _TEMPORARY)


def _from_connection(error: BaseException, told: str, details: str) -> Failure:
    """Map what ended without an answer, or with one that is none."""
    if isinstance(error, UnauthenticatedError):
        return Failure(AccessDeniedError("asking for credentials failed"))
    if type(error).__name__ == "PanicException":
        return Failure(AccessDeniedError("an option or a variable holds what no request can"))
    if "builder error" in told:
        return Failure(AccessDeniedError("http:// is not allowed by `allow_http`"))
    message, temporary = "the connection to the store failed", True
    if "HTTP error" not in told:
        message, temporary = "the store answered something that is no object", False
    elif "dns error" in details:
        message, temporary = "unknown host", False
    elif _UNTRUSTED.search(details):
        message, temporary = "the certificate of the store is not trusted", False
    return Failure(UnreachableError(message), temporary)
