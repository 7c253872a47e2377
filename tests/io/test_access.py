"""The access policy: every way around it ends in `access_denied`."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.io import beneath, listing
from polars_imgmeta.io.access import SCHEMES, Access
from polars_imgmeta.io.cloud.client import StoreClient
from polars_imgmeta.io.locators import open_local, probe_local
from polars_imgmeta.io.remote import Storage
from polars_imgmeta.io.transfers import Transfer

DENIED_SCHEME = "access_denied: not among the allowed schemes"
DENIED_HOST = "access_denied: not among the allowed hosts"
DENIED_FOLDER = "access_denied: not in the allowed folders"


def outcome(locator: str, access: Access) -> str | None:
    """Return the error of a row."""
    frame = im.extract(pl.DataFrame({"path": [locator]}), "path", "width", access=access)
    (error,) = frame["path_imgmeta"].struct.field("error")
    return error  # type: ignore[no-any-return]


@pytest.fixture
def roots(sample_folder: Path, tmp_path: Path) -> Path:
    """Create a folder with an image, and siblings that it links to."""
    dusk = (sample_folder / "photos" / "dusk.png").read_bytes()
    for name in ("open", "open/below", "open-too", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dusk.png").write_bytes(dusk)
    (tmp_path / "open" / "link.png").symlink_to(tmp_path / "secret" / "dusk.png")
    (tmp_path / "open" / "folder").symlink_to(tmp_path / "secret")
    (tmp_path / "open" / "inner.png").symlink_to("below/dusk.png")
    (tmp_path / "alias").symlink_to(tmp_path / "open")
    return tmp_path


@pytest.mark.parametrize(
    ("locator", "error"),
    [
        ("{}/open/dusk.png", None),
        ("file://{}/open/below/dusk.png", None),
        ("{}/open/inner.png", None),
        ("{}/alias/dusk.png", None),
        ("{}/secret/../open/dusk.png", None),
        ("{}/open/gone.png", "not_found: no such file"),
        ("{}/open/\0.png", "invalid_locator: a path cannot contain the character NUL"),
        ("{}/secret/dusk.png", DENIED_FOLDER),
        ("{}/secret/gone.png", DENIED_FOLDER),
        ("{}/open-too/dusk.png", DENIED_FOLDER),
        ("{}/open/../secret/dusk.png", DENIED_FOLDER),
        ("file://{}/open/%2e%2e/secret/dusk.png", DENIED_FOLDER),
        ("{}/open/link.png", DENIED_FOLDER),
        ("{}/open/folder/dusk.png", DENIED_FOLDER),
        ("{}/open/folder/../open/dusk.png", None),
        ("/etc/passwd", DENIED_FOLDER),
        ("~/dusk.png", DENIED_FOLDER),
        ("dusk.png", DENIED_FOLDER),
        ("/proc/self/environ", DENIED_FOLDER),
        ("ftp://example.org/a.png", DENIED_SCHEME),
        ("http://localhost/a.png", DENIED_SCHEME),
        ("S3://bucket/a.png", DENIED_SCHEME),
    ],
)
def test_roots(locator: str, error: str | None, roots: Path) -> None:
    """Neither links nor `..` lead out of a root, in any spelling, and no other file is opened."""
    with count_reads(roots / "secret") as opened:
        assert outcome(locator.format(roots), Access(roots=[roots / "open"])) == error
    assert not opened


@pytest.mark.skipif(not beneath.CAN_PIN, reason="links are followed on this system")
@pytest.mark.parametrize("swapped", ["dusk.png", "below"])
@pytest.mark.parametrize("read", [open_local, probe_local])
def test_a_link_that_takes_a_place_after_the_check_is_not_followed(
    swapped: str,
    read: Callable[[str, Access], object],
    roots: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither in the place of the file nor of a folder above it."""
    genuine = Access.resolve_path
    place = roots / "open" / swapped

    def resolve_and_swap(access: Access, path: str) -> str:
        real = genuine(access, path)
        place.rename(roots / "away")
        place.symlink_to(roots / "secret" / swapped)
        return real

    (roots / "secret" / "below").mkdir()
    (roots / "secret" / "below" / "dusk.png").write_bytes(b"secret")
    locator = str(place if place.is_file() else place / "dusk.png")
    access = Access(roots=[roots / "open"])
    monkeypatch.setattr(Access, "resolve_path", resolve_and_swap)
    with pytest.raises((im.ImageError, OSError)):
        read(locator, access)


def swap_before_listing(roots: Path, swapped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a link in the place of a folder after it was checked, before it is opened."""
    genuine = beneath.pinned_folder
    (roots / "secret" / "hidden.png").write_bytes(b"secret")
    (roots / "secret" / "below").mkdir()
    (roots / "secret" / "below" / "hidden.png").write_bytes(b"secret")

    def swap_and_open(path: str, root: str) -> AbstractContextManager[str | int]:
        place = roots / swapped
        if path == os.path.realpath(place) and not place.is_symlink():
            place.rename(roots / "away")
            place.symlink_to(roots / "secret")
        return genuine(path, root)

    monkeypatch.setattr(listing, "pinned_folder", swap_and_open)


@pytest.mark.skipif(not beneath.CAN_PIN, reason="links are followed on this system")
@pytest.mark.parametrize("swapped", ["open", "open/below"])
def test_a_folder_that_is_swapped_after_the_check_is_not_listed(
    swapped: str, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link in the place of a folder is no folder; nothing behind it is named."""
    swap_before_listing(roots, swapped, monkeypatch)
    found: list[str] = []
    images = listing.list_images(
        str(roots / "open"), Storage(access=Access(roots=[roots / "open"]))
    )
    with pytest.raises(im.ImageError):
        found.extend(locator for locator, _ in images)
    assert (roots / swapped).is_symlink()
    assert not any("hidden" in locator for locator in found)


@pytest.mark.skipif(not beneath.CAN_PIN, reason="links are followed on this system")
@pytest.mark.parametrize("swapped", ["open", "open/below"])
@pytest.mark.parametrize("pattern", ["*/*.png", "below/*.png", "**", "**/*.png"])
def test_a_pattern_lists_no_folder_that_is_swapped_after_the_check(
    pattern: str, swapped: str, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a folder matches nothing."""
    swap_before_listing(roots, swapped, monkeypatch)
    storage = Storage(access=Access(roots=[roots / "open"]))
    found = [locator for locator, _ in listing.list_images(f"{roots}/open/{pattern}", storage)]
    assert (roots / swapped).is_symlink()
    assert not any("hidden" in locator for locator in found)


_NAMES = st.sampled_from(["a", "b.png", ".c", ".d.png", "[e]", "f*"])
_PARTS = st.sampled_from(["a", "b.png", "*", "**", "*.png", ".*", "?", "[ab]*", "[!a]*", "[[]e]"])


@given(
    paths=st.lists(st.lists(_NAMES, min_size=1, max_size=4), max_size=8),
    parts=st.lists(_PARTS, min_size=1, max_size=4),
)
def test_patterns_below_roots_match_as_without(paths: list[list[str]], parts: list[str]) -> None:
    """A policy leaves the files that a pattern matches as they are, and their order."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(os.path.realpath(name))
        for *folders, file in paths:
            with contextlib.suppress(OSError):  # a file is in the place of a folder, or vice versa
                (root / Path(*folders)).mkdir(parents=True, exist_ok=True)
                (root / Path(*folders, file)).touch()
        pattern = str(root / Path(*parts))
        without = [locator for locator, _ in listing.list_images(pattern)]
        storage = Storage(access=Access(roots=[root]))
        found = [locator for locator, _ in listing.list_images(pattern, storage)]
    assert found == list(dict.fromkeys(without))


def test_a_link_to_a_parent_ends_a_pattern(roots: Path) -> None:
    """A folder is listed once on each way to it that does not lead through itself."""
    (roots / "open" / "below" / "up").symlink_to(roots / "open")
    storage = Storage(access=Access(roots=[roots / "open"]))
    found = [locator for locator, _ in listing.list_images(f"{roots}/open/**/dusk.png", storage)]
    assert found == [f"{roots}/open/below/dusk.png", f"{roots}/open/dusk.png"]


@pytest.mark.skipif(not beneath.CAN_PIN, reason="links are followed on this system")
def test_nothing_outside_is_read_while_links_are_swapped(roots: Path) -> None:
    """Whatever wins the race, a row has the picture inside the root or an error."""
    inside, outside = Image.new("L", (3, 1)), Image.new("L", (7, 1))
    place, target = roots / "open" / "raced.png", roots / "secret" / "raced.png"
    outside.save(target)
    done = threading.Event()

    def swap() -> None:
        new = roots / "open" / "new"
        while not done.is_set():
            inside.save(new, "PNG")
            new.replace(place)
            new.symlink_to(target)
            new.replace(place)

    swapper = threading.Thread(target=swap)
    swapper.start()
    access, frame = Access(roots=[roots / "open"]), pl.DataFrame({"path": [str(place)]})
    widths: set[int | None] = set()
    try:
        for _ in range(1000):
            column = im.extract(frame, "path", "width", access=access)["path_imgmeta"]
            widths.add(column.struct.field("width").item())
    finally:
        done.set()
        swapper.join()
    assert 7 not in widths
    assert 3 in widths


def test_a_root_may_be_a_link(roots: Path) -> None:
    """A root that is a link allows the files of its target."""
    access = Access(roots=[str(roots / "alias")])
    assert outcome(f"{roots}/open/dusk.png", access) is None
    assert outcome(f"{roots}/secret/dusk.png", access) == DENIED_FOLDER


def test_the_root_of_all(roots: Path) -> None:
    """The root `/` allows every file and no server."""
    assert outcome(f"{roots}/secret/dusk.png", Access(roots=["/"])) is None
    assert outcome("https://localhost/a.png", Access(roots=["/"])) == DENIED_SCHEME


@pytest.mark.parametrize(
    ("access", "locator", "error"),
    [
        (Access(schemes=["https"]), "http://localhost/a", DENIED_SCHEME),
        (Access(schemes=["https"]), "/etc/passwd", DENIED_SCHEME),
        (Access(schemes=["https"]), "file:///etc/passwd", DENIED_SCHEME),
        (Access(schemes=["https"]), "data:image/png;base64,AAAA", DENIED_SCHEME),
        (Access(schemes=["https"]), "ftp://example.org/a.png", DENIED_SCHEME),
        (Access(schemes=["file"]), "s3://bucket/a.png", DENIED_SCHEME),
        (Access(schemes=["https"], roots=["/"]), "/etc/passwd", DENIED_SCHEME),
        (Access(hosts=["example.org"]), "/etc/passwd", DENIED_SCHEME),
        (Access(hosts=["example.org"]), "https://example.com/a.png", DENIED_HOST),
        (Access(hosts=["example.org"]), "https://www.example.org/a.png", DENIED_HOST),
        (Access(hosts=["*.example.org"]), "https://example.org/a.png", DENIED_HOST),
        (Access(hosts=["*.example.org"]), "https://badexample.org/a.png", DENIED_HOST),
        (Access(hosts=["example.org"]), "https://example.org@127.0.0.1/a.png", DENIED_HOST),
        (Access(hosts=["example.org"]), "https://example.org:pw@127.0.0.1/a.png", DENIED_HOST),
        (Access(hosts=["example.org"]), "https://127.0.0.1#@example.org/a.png", DENIED_HOST),
        (Access(hosts=["example.org"]), "https://127.0.0.1?@example.org/a.png", DENIED_HOST),
        (Access(hosts=["bucket"]), "s3://other/a.png", DENIED_HOST),
        (Access(hosts=["bucket"]), "gs://bucket.other/a.png", DENIED_HOST),
        (Access(schemes=["gs"]), "s3a://bucket/a.png", DENIED_SCHEME),
    ],
)
def test_schemes_and_hosts(access: Access, locator: str, error: str) -> None:
    """Anything not listed is denied, in any spelling."""
    assert outcome(locator, access) == error


def test_a_backslash_does_not_end_the_host() -> None:
    """Parsers differ on whether a backslash ends the host; no other host is contacted."""
    error = outcome("https://127.0.0.1\\@example.org/a.png", Access(hosts=["example.org"]))
    assert error is not None
    assert error.partition(":")[0] in {"access_denied", "invalid_locator"}


@pytest.mark.parametrize("host", ["[::1]", "::1", "0:0::1"])
def test_addresses_are_hosts(host: str) -> None:
    """An address matches with or without brackets, in any spelling."""
    Access(hosts=[host]).require_host("http", "::1")


def test_a_zone_is_not_part_of_a_name() -> None:
    """The zone of a link-local address is not part of a host name."""
    with pytest.raises(im.AccessDeniedError):
        Access(hosts=["*.example.org"]).require_host("http", "fe80::1%a.example.org")
    error = outcome("http://[::1%25a.example.org]/", Access(hosts=["*.example.org"]))
    assert error == "invalid_locator: the host is not a valid name or address"


def test_listings_do_not_leave_the_roots(roots: Path) -> None:
    """No folder outside the roots is listed, and no size of a file outside is returned."""
    access = Access(roots=[roots / "open"])
    for source in (roots / "open", f"{roots}/open/**/*.png"):
        rows = dict(
            im.scan_images(source, access=access).select("path", "file_size").collect().iter_rows()
        )
        found = {os.path.relpath(path, roots / "open"): size for path, size in rows.items()}
        assert found.keys() == {"below/dusk.png", "dusk.png", "inner.png", "link.png"}
        assert [name for name, size in found.items() if size is None] == ["link.png"]


@given(host=st.from_regex(r"[a-z0-9]+(\.[a-z0-9]+){0,3}", fullmatch=True))
def test_names_of_hosts(host: str) -> None:
    """A name matches itself in every spelling, and a wildcard matches subdomains only."""
    for spelled in (host, host.upper(), f"{host}."):
        Access(hosts=[host.upper()]).require_host("https", spelled)
        Access(hosts=["gone", f"*.{host}"]).require_host("https", f"a.{spelled}")
        for pattern in (f"a{host}", f"*.{host}", f"{host}.a"):
            with pytest.raises(im.AccessDeniedError):
                Access(hosts=[pattern]).require_host("https", spelled)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_is_allowed_with_its_synonyms(scheme: str) -> None:
    """A scheme is allowed together with its synonyms."""
    likes = [
        {"s3", "s3a"},
        {"gs", "gcs"},
        {"az", "azure", "abfs", "abfss", "adl"},
    ]
    same = next((group for group in likes if scheme in group), {scheme})
    for other in SCHEMES:
        if other in same:
            Access(schemes=[scheme.upper()]).require_scheme(other)
        else:
            with pytest.raises(im.AccessDeniedError):
                Access(schemes=[scheme]).require_scheme(other)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("0.0.0.0", False),  # noqa: S104 - not bound
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::1", False),
        ("2002:5db8:d822::1", True),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b:1::a9fe:a9fe", False),
        ("fec0::1", False),
        ("5f00::1", False),
        ("168.63.129.16", False),
        ("::ffff:168.63.129.16", False),
        ("192.0.0.192", False),
    ],
)
def test_addresses(address: str, public: bool) -> None:  # noqa: FBT001
    """Local, private and metadata addresses are not public, in any spelling."""
    Access().require_address(address)
    access = Access(public_addresses_only=True)
    if public:
        access.require_address(address)
    else:
        with pytest.raises(im.AccessDeniedError, match=r"^not an address of the public internet$"):
            access.require_address(address)


MISTAKES = [
    ({"schemes": ["htps"]}, "got 'htps'\n\nHint: did you mean 'https'?"),
    ({"schemes": "https"}, "`schemes` must be a collection of names, got 'https'"),
    ({"hosts": "example.org"}, "`hosts` must be a collection of names, got 'example.org'"),
    ({"hosts": [1]}, "`hosts` must be a collection of names, got [1]"),
    ({"hosts": 1}, "`hosts` must be a collection of names, got 1"),
    *(
        ({"hosts": [host]}, f"such as 'example.org' or '*.example.org', got {host!r}")
        for host in ("https://a.org", "a.org:80", "a.org/b", "*", "img*.a.org", "me@a.org", "")
    ),
    ({"roots": [1]}, "`roots` must be a collection of folders, got [1]"),
    ({"roots": 1}, "`roots` must be a collection of folders, got 1"),
    ({"public_addresses_only": "no"}, "`public_addresses_only` must be True or False, got 'no'"),
    ({"timeout": True}, "must be a positive number of seconds, at most a day, got True"),
    (
        {"timeout": math.inf},
        "`timeout` must be a positive number of seconds, at most a day, got inf",
    ),
    ({"roots": "/data"}, "`roots` must be a collection of folders, got '/data'"),
    ({"concurrency": 0}, "`concurrency` must be a positive whole number, got 0"),
    ({"hosts": ["https://example.org"]}, "got 'https://example.org'"),
    ({"hosts": ["example.org:80"]}, "got 'example.org:80'"),
    ({"hosts": ["*"]}, "such as 'example.org' or '*.example.org', got '*'"),
    ({"roots": [""]}, "`roots` must be a collection of folders, got ['']"),
    ({"roots": [b"/data"]}, "`roots` must be a collection of folders, got [b'/data']"),
    ({"timeout": 0}, "`timeout` must be a positive number of seconds, at most a day, got 0"),
    ({"timeout": "1"}, "`timeout` must be a positive number of seconds, at most a day, got '1'"),
    ({"timeout": 1e9}, "at most a day, got 1000000000.0"),
    ({"timeout": float("inf")}, "at most a day, got inf"),
    ({"max_bytes": -1}, "`max_bytes` must be a positive whole number, got -1"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes(options: dict[str, object], message: str) -> None:
    """The message contains what was expected and what was given."""
    with pytest.raises(ValueError, match="must be") as caught:
        Access(**options)  # type: ignore[arg-type]
    assert str(caught.value).endswith(message)


def test_other_types_are_refused() -> None:
    """A wrong type raises when the call is made."""
    frame = pl.DataFrame({"path": ["a.png"]})
    with pytest.raises(TypeError, match=r"^`access` must be an `Access`, got dict$"):
        im.extract(frame, "path", access={"timeout": 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^`storage_options` must be a mapping, got list$"):
        im.extract(frame, "path", storage_options=[1])  # type: ignore[arg-type]


def test_equality() -> None:
    """Policies are equal if they mean the same, regardless of order and spelling."""
    here = Path.cwd()
    one = Access(schemes=["https", "S3A"], hosts=["A", "b"], roots=["."])
    two = Access(schemes=("s3", "https"), hosts=iter_twice("b", "a"), roots=[os.fspath(here)])
    assert one == two
    assert hash(one) == hash(two)


def iter_twice(*names: str) -> set[str]:
    """Return a collection that is not a list."""
    return set(names)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("shop.dfs.core.windows.net", True), ("*.core.windows.net", True), ("photos", False)],
)
def test_an_account_is_named_by_its_host(host: str, allowed: bool) -> None:  # noqa: FBT001
    """The account's host must be allowed, because container names are not unique."""
    client = StoreClient(None, Access(hosts=[host]))
    url = "abfss://photos@shop.dfs.core.windows.net/"
    # An allowed URL fails because it has no key, before any request.
    with pytest.raises(im.InvalidLocatorError if allowed else im.AccessDeniedError):
        client.read(url, Transfer(Access()), None)
