"""URLs of http and https, parsed and normalized for requests."""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes, urljoin

from polars_imgmeta.exceptions import AccessDeniedError, InvalidLocatorError, UnreachableError

Origin: TypeAlias = tuple[str, str, int]
"""Scheme, host and port, the scope of a connection and of credentials."""
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE | re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]*))?")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.IGNORECASE)
_ZONE = re.compile(r"[A-Za-z0-9_-]+")
_MAX_HOST_LENGTH = 253
_MAX_PORT = 65_535
# Square brackets are invalid, but escaping them would break the signature of a URL.
_TARGET_CHARACTERS = "-._~!$&'()*+,;=:@/?%[]"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Address:
    """The parts of a URL that a request needs.

    Attributes:
        scheme: `"http"` or `"https"`.
        host: A name, in ASCII, or an IP address, without brackets.
        port: The port of the server.
        target: Path and query, escaped for the request line.
        authorization: The header of basic authentication, if the URL has a user.
    """

    scheme: str
    host: str
    port: int
    target: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def origin(self) -> Origin:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port

    @cached_property
    def netloc(self) -> str:
        """Host and port, as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL, without its user."""
        return f"{self.scheme}://{self.netloc}{self.target}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """The spellings of the host that a policy may contain: in ASCII and in Unicode."""
        if "xn--" not in self.host:
            return (self.host,)
        try:
            return (self.host, self.host.encode().decode("idna"))
        except UnicodeError:
            return (self.host,)

    def follow(self, location: str) -> Address:
        """Return the target of a redirect.

        Credentials are kept within the origin; those in the redirect itself are ignored,
        as the user did not choose them.

        Args:
            location: The header, as decoded by `http.client`.

        Raises:
            AccessDeniedError: If it leads from https to http, or to another scheme.
            UnreachableError: If it is not a valid URL.

        Examples:
            >>> parse("https://example.org/a/b?c").follow("../d").url
            'https://example.org/d'
        """
        url = self._join(_as_unicode(location).strip(" \t"))
        if (scheme := _SCHEME.match(url)) and scheme[0].lower() not in {"http:", "https:"}:
            msg = "a redirect to neither http nor https"
            raise AccessDeniedError(msg)
        try:
            target = parse(url)
        except InvalidLocatorError as error:
            msg = f"a redirect to no valid URL: {error}"
            raise UnreachableError(msg) from None
        if (self.scheme, target.scheme) == ("https", "http"):
            msg = "a redirect from https to http"
            raise AccessDeniedError(msg)
        kept = self.authorization if target.origin == self.origin else None
        return Address(*target.origin, target.target, kept)

    def _join(self, location: str) -> str:
        if _SCHEME.match(location):
            return location
        if location.startswith("//"):
            return f"{self.scheme}:{location}"
        if location.startswith("/"):
            return f"{self.scheme}://{self.netloc}{location}"
        try:
            return urljoin(self.url, location)
        except ValueError:
            msg = "a redirect to no valid URL"
            raise UnreachableError(msg) from None


def parse(url: str) -> Address:
    """Parse a URL of http or https.

    Only invalid characters are escaped. Everything valid stays byte for byte the same,
    because a query may be signed.

    Raises:
        InvalidLocatorError: If the URL is not valid.

    Examples:
        >>> parse("https://bücher.example/a b%2fc.jpg?x=1#top").url
        'https://xn--bcher-kva.example/a%20b%2fc.jpg?x=1'
        >>> parse("http://me:secret@localhost:8000").authorization
        'Basic bWU6c2VjcmV0'
    """
    if _CONTROLS.search(url):
        msg = "a URL cannot contain control characters"
        raise InvalidLocatorError(msg)
    if not (parts := _URL.fullmatch(url.partition("#")[0])):
        msg = "not a URL of http or https"
        raise InvalidLocatorError(msg)
    scheme = parts[1].lower()
    if "\\" in parts[2]:  # some parsers end the host at it
        msg = "a URL cannot contain a backslash before its path"
        raise InvalidLocatorError(msg)
    user, at, server = parts[2].rpartition("@")
    try:
        target = _target(parts[3])
        authorization = _basic(user) if at else None
    except UnicodeEncodeError:
        msg = "a URL cannot contain half a character"
        raise InvalidLocatorError(msg) from None
    host, port = _host_and_port(server)
    return Address(scheme, host, port or DEFAULT_PORTS[scheme], target, authorization)


def _host_and_port(server: str) -> tuple[str, int | None]:
    parts = _HOST_AND_PORT.fullmatch(server)
    digits = parts["port"] if parts else None
    too_long = len(digits or "") > len(str(_MAX_PORT))
    if parts is None or too_long or (digits and not 1 <= int(digits) <= _MAX_PORT):
        msg = "the port is not a number from 1 to 65535"
        raise InvalidLocatorError(msg)
    if not parts["host"]:
        msg = "a URL without a host"
        raise InvalidLocatorError(msg)
    return _host(parts["host"]), int(digits) if digits else None


def _host(host: str) -> str:
    msg = "the host is not a valid name or address"
    try:
        if host.startswith("["):
            literal = unquote_to_bytes(host[1:-1]).decode("ascii")
            if "%" in literal and not _ZONE.fullmatch(literal.partition("%")[2]):
                raise InvalidLocatorError(msg)
            return str(ipaddress.IPv6Address(literal))
        if len(host) > _MAX_HOST_LENGTH:
            raise InvalidLocatorError(msg)
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError:
        raise InvalidLocatorError(msg) from None
    if not _NAME.fullmatch(name):
        raise InvalidLocatorError(msg)
    return name.lower()


def _target(target: str) -> str:
    target = target if target.startswith("/") else f"/{target}"
    return quote(_LONE_PERCENT.sub("%25", target), safe=_TARGET_CHARACTERS)


def _basic(user: str) -> str:
    name, _, password = user.partition(":")
    pair = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
    return f"Basic {base64.b64encode(pair).decode()}"


def _as_unicode(header: str) -> str:
    """Decode a header as UTF-8 that was decoded as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header
