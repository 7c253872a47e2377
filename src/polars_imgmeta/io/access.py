"""What locators may name, and how much reading what they name may cost.

A table is data, not code, but its locators decide which files are opened and which
servers are asked. Whoever did not write the table narrows that down.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from polars_imgmeta.exceptions import AccessDeniedError, hint, require_positive

FILE: Final = "file"
WEB_SCHEMES: Final = ("http", "https")
STORE_SCHEMES: Final = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "azure": "az",
    "abfs": "az",
    "abfss": "az",
    "adl": "az",
}
"""The schemes of cloud storage, each with the plainest of the same meaning."""
SCHEMES: Final = (FILE, *WEB_SCHEMES, *STORE_SCHEMES)

_MOST_SECONDS = 86_400
_HOST = re.compile(r"(?:\*\.)?[\w$-][\w.-]*")
# In which a translator hides an address of the old kind.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# All that is in use of the public internet. What is reserved, or old, or local under
# another name is outside, whatever each version of Python knows of it.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# Special ones, and those at which Azure and Oracle answer to their machines.
_SPECIAL = tuple(map(ipaddress.IPv4Network, ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the locators of a table may name, and what reading an image may cost.

    Where a table comes from strangers, name what you expect of it: whatever else a
    locator names becomes `access_denied`, and neither is a file opened for it nor a
    server asked. Images that are in the table itself, as bytes, are always read.

    Attributes:
        schemes: The schemes that are allowed, such as `"https"` or `"s3"`; those of
            the same meaning are too, such as `"s3a"`. `"file"` is for paths. Unless
            told, all are; or, where hosts or roots are named, those that these are
            about: `hosts` alone allows no file, and `roots` alone no server.
        hosts: The names of hosts and, of cloud storage, buckets or containers:
            whatever stands behind `://`. `"*.example.org"` is every host below
            example.org. A redirect must stay within. None for: all.
        roots: Folders; a file must lie in one of them or below, once symbolic links
            and `..` are resolved. None for: the whole file system.
        public_addresses_only: Whether http and https may reach only addresses of the
            public internet, so neither this machine nor its neighbours, whatever
            their names. Proxies are not used then.
        concurrency: How many images may be on their way at once.
        timeout: Within how many seconds an image must be fetched, with all retries.
        max_bytes: Images of more bytes are not fetched, and become `too_large`.

    Raises:
        ValueError: If an attribute cannot be.

    Examples:
        >>> access = Access(schemes=["https"], hosts=["*.example.org"])
        >>> df = pl.DataFrame({"url": ["https://localhost/a.png", "/etc/passwd"]})
        >>> df = im.extract(df, "url", "width", access=access)
        >>> for message in im.errors(df)["message"]:
        ...     print(message)
        not among the allowed hosts
        not among the allowed schemes
    """

    schemes: Collection[str] | None = None
    hosts: Collection[str] | None = None
    roots: Collection[str | os.PathLike[str]] | None = None
    public_addresses_only: bool = False
    concurrency: int = 32
    timeout: float = 60.0
    max_bytes: int = 1 << 30
    _anywhere: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the attributes, and bring them into one form."""
        require_positive("concurrency", self.concurrency)
        require_positive("max_bytes", self.max_bytes)
        _require_seconds(self.timeout)
        if self.public_addresses_only not in (True, False):
            msg = (
                f"`public_addresses_only` must be True or False, got {self.public_addresses_only!r}"
            )
            raise ValueError(msg)
        object.__setattr__(self, "schemes", _schemes(self.schemes))
        object.__setattr__(self, "hosts", _hosts(self.hosts))
        object.__setattr__(self, "roots", _paths(self.roots))
        named = (self.schemes, self.hosts, self.roots)
        object.__setattr__(self, "_anywhere", all(names is None for names in named))

    def require_scheme(self, scheme: str) -> None:
        """Check that a locator may have a scheme, known or not.

        Args:
            scheme: In lower case.

        Raises:
            AccessDeniedError: If it may not.
        """
        if self._anywhere:
            return
        if self.schemes is not None:
            allowed = canonical_scheme(scheme) in self.schemes
        else:
            allowed = (
                scheme in SCHEMES and (self.roots if scheme == FILE else self.hosts) is not None
            )
        if not allowed:
            msg = "not among the allowed schemes"
            raise AccessDeniedError(msg)

    def require_host(self, scheme: str, *spellings: str) -> None:
        """Check that a locator, or a redirect, may name a server.

        Args:
            scheme: In lower case.
            spellings: What stands behind `://`, without user and port.

        Raises:
            AccessDeniedError: If it may not.
        """
        self.require_scheme(scheme)
        if self.hosts is not None and not any(
            _matches(host, known) for host in spellings for known in self.hosts
        ):
            msg = "not among the allowed hosts"
            raise AccessDeniedError(msg)

    def require_address(self, address: str) -> None:
        """Check that an address, of whichever host, may be connected to.

        Args:
            address: An IP address.

        Raises:
            AccessDeniedError: If it may not.
        """
        if self.public_addresses_only and not _is_public(address):
            msg = "not an address of the public internet"
            raise AccessDeniedError(msg)

    def resolve_path(self, path: str) -> str:
        """Return what a path leads to, if it may be read.

        Raises:
            AccessDeniedError: If it may not.
            ValueError: If no path can be like this.
        """
        if self._anywhere:
            return path
        self.require_scheme(FILE)
        if self.roots is None:
            return path
        real = os.path.realpath(path)
        if not any(_lies_in(real, os.path.realpath(root)) for root in self.roots):
            msg = "not in the allowed folders"
            raise AccessDeniedError(msg)
        return real


def canonical_scheme(scheme: str) -> str:
    """Return the plainest scheme of the same meaning.

    Examples:
        >>> canonical_scheme("abfss"), canonical_scheme("https")
        ('az', 'https')
    """
    return STORE_SCHEMES.get(scheme, scheme)


def _names(option: str, names: object) -> frozenset[str] | None:
    if names is None:
        return None
    if (
        isinstance(names, str)
        or not isinstance(names, Collection)
        or not all(isinstance(name, str) for name in names)
    ):
        msg = f"`{option}` must be a collection of names, got {names!r}"
        raise ValueError(msg)
    return frozenset(name.lower() for name in names)


def _require_seconds(timeout: object) -> None:
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not (number and 0 < timeout <= _MOST_SECONDS):  # type: ignore[operator] # it is one
        msg = f"`timeout` must be a positive number of seconds, at most a day, got {timeout!r}"
        raise ValueError(msg)


def _schemes(schemes: object) -> frozenset[str] | None:
    names = _names("schemes", schemes)
    for scheme in names or ():
        if scheme not in SCHEMES:
            known = ", ".join(map(repr, SCHEMES))
            msg = f"`schemes` must be among {known}, got {scheme!r}{hint(scheme, SCHEMES)}"
            raise ValueError(msg)
    return None if names is None else frozenset(map(canonical_scheme, names))


def _hosts(hosts: object) -> frozenset[str] | None:
    names = _names("hosts", hosts)
    return None if names is None else frozenset(map(_host, names))


def _host(name: str) -> str:
    """Refuse what no host is called: it would deny all, and nobody would know why."""
    if _HOST.fullmatch(name):
        return name.removesuffix(".")
    try:
        return str(ipaddress.IPv6Address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        msg = f"`hosts` must be names, such as 'example.org' or '*.example.org', got {name!r}"
        raise ValueError(msg) from None


def _paths(roots: object) -> frozenset[str] | None:
    if roots is None:
        return None
    if (
        isinstance(roots, str | os.PathLike)
        or not isinstance(roots, Collection)
        or not all(map(_is_path, roots))
    ):
        msg = f"`roots` must be a collection of folders, got {roots!r}"
        raise ValueError(msg)
    return frozenset(os.path.abspath(os.path.expanduser(root)) for root in roots)


def _is_path(root: object) -> bool:
    # An empty one would be the working directory.
    path = os.fspath(root) if isinstance(root, str | os.PathLike) else None
    return isinstance(path, str) and path != ""


def _matches(host: str, pattern: str) -> bool:
    host = host.lower().removesuffix(".")
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and ":" not in host  # the zone of an address
    return host == pattern


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


@lru_cache(maxsize=1024)  # a table may name any number
def _is_public(address: str) -> bool:
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        hidden = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            hidden = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = hidden or ip
    if isinstance(ip, ipaddress.IPv6Address):
        return ip.is_global and ip in _GLOBAL_UNICAST
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _SPECIAL)
