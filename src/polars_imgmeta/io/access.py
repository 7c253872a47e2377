"""The access policy: what locators may denote, and the limits of reading it.

The locators of a table decide which files are opened and which servers are contacted.
For an untrusted table, a policy restricts them.
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
"""The schemes of cloud storage, each with its canonical synonym."""
SCHEMES: Final = (FILE, *WEB_SCHEMES, *STORE_SCHEMES)

_MAX_SECONDS = 86_400
_HOST = re.compile(r"(?:\*\.)?[\w$-][\w.-]*")
# Its addresses embed IPv4 addresses.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# All that is allocated of IPv6. `is_global` of some Python versions includes more, such
# as deprecated site-local addresses.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
# The metadata services of Azure and Oracle, and special-purpose networks.
_SPECIAL = tuple(map(ipaddress.IPv4Network, ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What locators may denote, and the limits of reading an image.

    For an untrusted table, allow what you expect of it: any other locator becomes
    `access_denied`, and no file is opened and no server contacted for it. Images that
    the table itself contains, as bytes, are always read.

    Attributes:
        schemes: The allowed schemes, such as `"https"` or `"s3"`, with their synonyms,
            such as `"s3a"`; `"file"` stands for paths. By default all schemes; or, if
            only `hosts` or `roots` is given, those that it applies to: `hosts` alone
            allows no file, and `roots` alone no server.
        hosts: The allowed hosts and, for cloud storage, buckets or containers: the part
            after `://`. `"*.example.org"` matches every subdomain of example.org.
            Redirects must stay within them. None allows all.
        roots: Folders that must contain a file, at any depth, after symbolic links and
            `..` are resolved. None allows the whole file system.
        public_addresses_only: Whether http and https may connect only to addresses of
            the public internet, and so neither to this machine nor to its local
            network, by any name. It disables proxies.
        concurrency: The maximum number of images that are fetched at the same time.
        timeout: The time limit for fetching an image, retries included, in seconds.
        max_bytes: The maximum size of a fetched image; a larger one is `too_large`.

    Raises:
        ValueError: If an attribute has an invalid value.

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
    _unrestricted: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Validate and normalize the attributes."""
        require_positive("concurrency", self.concurrency)
        require_positive("max_bytes", self.max_bytes)
        require_seconds("timeout", self.timeout)
        if self.public_addresses_only not in (True, False):
            msg = (
                f"`public_addresses_only` must be True or False, got {self.public_addresses_only!r}"
            )
            raise ValueError(msg)
        object.__setattr__(self, "schemes", _schemes(self.schemes))
        object.__setattr__(self, "hosts", _hosts(self.hosts))
        object.__setattr__(self, "roots", paths("roots", self.roots))
        restrictions = (self.schemes, self.hosts, self.roots)
        object.__setattr__(self, "_unrestricted", all(names is None for names in restrictions))

    def require_scheme(self, scheme: str) -> None:
        """Check that a scheme, in lower case, is allowed.

        Raises:
            AccessDeniedError: If it is not.
        """
        if self._unrestricted:
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
        """Check that the host of a locator or a redirect is allowed.

        Args:
            scheme: In lower case.
            spellings: The equivalent spellings of the host, without user and port.

        Raises:
            AccessDeniedError: If scheme or host is not allowed.
        """
        self.require_scheme(scheme)
        if self.hosts is not None and not any(
            _matches(host, known) for host in spellings for known in self.hosts
        ):
            msg = "not among the allowed hosts"
            raise AccessDeniedError(msg)

    def require_address(self, address: str) -> None:
        """Check that a connection to an IP address is allowed.

        Raises:
            AccessDeniedError: If it is not.
        """
        if self.public_addresses_only and not _is_public(address):
            msg = "not an address of the public internet"
            raise AccessDeniedError(msg)

    def resolve_path(self, path: str) -> str:
        """Resolve a path as far as needed to check that it may be read.

        Raises:
            AccessDeniedError: If it may not.
            ValueError: If it is not a valid path.
        """
        if self._unrestricted:
            return path
        self.require_scheme(FILE)
        if self.roots is None:
            return path
        real = os.path.realpath(path)
        self.root_of(real)
        return real

    def root_of(self, real: str) -> str:
        """Return the root that contains a real path, as a real path.

        Raises:
            AccessDeniedError: If there is none.
        """
        for root in map(os.path.realpath, self.roots or ()):
            if _lies_in(real, root):
                return root
        msg = "not in the allowed folders"
        raise AccessDeniedError(msg)


def canonical_scheme(scheme: str) -> str:
    """Return the canonical synonym of a scheme.

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


def require_seconds(name: str, seconds: object) -> None:
    """Check that an option is a time limit.

    Raises:
        ValueError: If it is none.
    """
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not (number and 0 < seconds <= _MAX_SECONDS):  # type: ignore[operator] # a number
        msg = f"`{name}` must be a positive number of seconds, at most a day, got {seconds!r}"
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
    """Normalize a host; an invalid one would silently match nothing."""
    if _HOST.fullmatch(name):
        return name.removesuffix(".")
    try:
        return str(ipaddress.IPv6Address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        msg = f"`hosts` must be names, such as 'example.org' or '*.example.org', got {name!r}"
        raise ValueError(msg) from None


def paths(name: str, roots: object) -> frozenset[str] | None:
    """Return the absolute paths of folders that an option names.

    Raises:
        ValueError: If they are none.
    """
    if roots is None:
        return None
    if (
        isinstance(roots, str | os.PathLike)
        or not isinstance(roots, Collection)
        or not all(map(_is_path, roots))
    ):
        msg = f"`{name}` must be a collection of folders, got {roots!r}"
        raise ValueError(msg)
    return frozenset(os.path.abspath(os.path.expanduser(root)) for root in roots)


def _is_path(root: object) -> bool:
    # An empty path would denote the working directory.
    path = os.fspath(root) if isinstance(root, str | os.PathLike) else None
    return isinstance(path, str) and path != ""


def _matches(host: str, pattern: str) -> bool:
    host = host.lower().removesuffix(".")
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and ":" not in host  # not the zone of an address
    return host == pattern


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


@lru_cache(maxsize=1024)
def _is_public(address: str) -> bool:
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = embedded or ip
    if isinstance(ip, ipaddress.IPv6Address):
        return ip.is_global and ip in _GLOBAL_UNICAST
    return ip.is_global and not ip.is_multicast and not any(ip in net for net in _SPECIAL)
