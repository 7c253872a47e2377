"""URLs of http and https: what they say, and how they are spelled to a server."""

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
"""Scheme, host and port: what a connection is to, and what may know a user."""
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_URL = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE | re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>[0-9]*))?")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.IGNORECASE)
_ZONE = re.compile(r"[A-Za-z0-9_-]+")  # of a link, of this machine
_MOST_HOST_CHARACTERS = 253
_MOST_PORT = 65_535
# What a target consists of. Square brackets may not stand there, but whoever signed a
# URL that has them signed them.
_TARGET_CHARACTERS = "-._~!$&'()*+,;=:@/?%[]"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Address:
    """Where an object is, and how its server is asked for it.

    Attributes:
        scheme: `"http"` or `"https"`.
        host: A name, in ASCII, or an IP address, without brackets.
        port: Of the server.
        target: Path and query, as the server gets them.
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
        """Host and port as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL, without its user."""
        return f"{self.scheme}://{self.netloc}{self.target}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """How a policy may name the host: in ASCII, and as people write it."""
        if "xn--" not in self.host:
            return (self.host,)
        try:
            return (self.host, self.host.encode().decode("idna"))
        except UnicodeError:
            return (self.host,)

    def follow(self, location: str) -> Address:
        """Return where a redirect leads.

        A user goes along within the origin; one that the redirect itself names is
        ignored, because nobody who wrote the table chose it.

        Args:
            location: The header, as `http.client` decodes it.

        Raises:
            AccessDeniedError: If it leads out of http and https, or from https to http.
            UnreachableError: If it is no URL.

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
    """Take a URL apart.

    Escapes and whatever else is valid stay as they are, to the byte, because a query
    may be signed; what no URL can hold is escaped.

    Args:
        url: With the scheme http or https.

    Raises:
        InvalidLocatorError: If it names no server, or nothing that can be asked for.

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
    if "\\" in parts[2]:  # which others take for the end of the host
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
    if parts is None or len(parts["port"] or "") > len(str(_MOST_PORT)):
        msg = "the port is not a number from 1 to 65535"
        raise InvalidLocatorError(msg)
    port = int(parts["port"]) if parts["port"] else None
    if port is not None and not 1 <= port <= _MOST_PORT:
        msg = "the port is not a number from 1 to 65535"
        raise InvalidLocatorError(msg)
    if not parts["host"]:
        msg = "a URL without a host"
        raise InvalidLocatorError(msg)
    return _host(parts["host"]), port


def _host(host: str) -> str:
    msg = "the host is not a valid name or address"
    try:
        if host.startswith("["):
            literal = unquote_to_bytes(host[1:-1]).decode("ascii")
            if "%" in literal and not _ZONE.fullmatch(literal.partition("%")[2]):
                raise InvalidLocatorError(msg)
            return str(ipaddress.IPv6Address(literal))
        if len(host) > _MOST_HOST_CHARACTERS:
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
    """What a header says that was decoded byte by byte."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header
