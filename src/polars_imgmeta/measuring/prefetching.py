"""Images on their way: who is far away is fetched before it is its turn."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.decoding import headers
from polars_imgmeta.decoding.headers import Header
from polars_imgmeta.exceptions import FAILURES, ImageError, from_failure
from polars_imgmeta.io import locators
from polars_imgmeta.io.locators import Locator
from polars_imgmeta.io.remote import Storage, open_remote
from polars_imgmeta.io.sources import Source
from polars_imgmeta.io.transfers import Transfer
from polars_imgmeta.typing import PropertyName


@dataclass(frozen=True, slots=True, eq=False)
class Arrived:
    """An image that was fetched, or why it could not be.

    Attributes:
        source: The image, or the parts of it that were asked for.
        header: Its header, where no more was asked for.
        error: Why there is none of it.
    """

    source: Source | None = None
    header: Header | None = None
    error: ImageError | None = None

    def open(self) -> Source:
        """Return the image, to be closed by the caller."""
        if self.source is None:
            raise self.error or AssertionError
        return self.source


Image: TypeAlias = Locator | Arrived
Request: TypeAlias = tuple[Image, tuple[PropertyName, ...]]
"""An image and the properties to compute; none where the picture itself is wanted."""


class Locators(Protocol):
    """Locators by number, each made when it is asked for."""

    def __getitem__(self, number: int, /) -> Locator:
        """One locator."""


class Requests:
    """Requests for distinct images, each made when it is asked for.

    Args:
        images: The images.
        names: What is asked of each.
    """

    __slots__ = ("_images", "_names")

    def __init__(self, images: Locators, names: Sequence[tuple[PropertyName, ...]]) -> None:
        self._images = images
        self._names = names

    def __len__(self) -> int:
        """The number of requests."""
        return len(self._names)

    def __getitem__(self, number: int) -> Request:
        """One request."""
        return self._images[number], self._names[number]


def open_image(image: Image, storage: Storage) -> Source:
    """Open an image for one reading; the caller closes it.

    Raises:
        ImageError: If it cannot be reached.
    """
    if isinstance(image, Arrived):
        return image.open()
    return locators.open_local(image, storage.access)


@dataclass(frozen=True, slots=True)
class ImageFetching:
    """Brings images from servers: whole, or as much as their headers need.

    Attributes:
        storage: How to reach them.
        far: The numbers of the requests that are for such images.
    """

    storage: Storage
    far: Sequence[int] = field(repr=False)

    @property
    def concurrency(self) -> int:
        """How many are fetched at once."""
        return self.storage.access.concurrency

    def fetch(self, request: Request, cancelled: threading.Event) -> Request:
        """Fetch the image of one request; what goes wrong is for its row to tell."""
        url, names = request
        transfer = Transfer(self.storage.access, cancelled)
        whole = not names or any(CATALOGUE[name].need != "shape" for name in names)
        try:
            source = open_remote(str(url), self.storage, transfer, whole=whole)
            header = None if whole else headers.read_header(source)
        except BaseException as failure:
            transfer.release()  # or the next would wait for its memory for ever
            if not isinstance(failure, FAILURES):
                raise
            return Arrived(error=from_failure(failure)), names
        return Arrived(source, header), names

    def discard(self, request: Request) -> None:
        """Let go of an image that was fetched for nothing."""
        image = request[0]
        if isinstance(image, Arrived) and image.source:
            image.source.close()
