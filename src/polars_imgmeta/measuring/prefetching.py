"""Remote images, fetched before they are measured."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeAlias

from polars_imgmeta.catalogue.registry import PropertySet
from polars_imgmeta.decoding import headers
from polars_imgmeta.decoding.details import Details
from polars_imgmeta.decoding.headers import Header
from polars_imgmeta.exceptions import FAILURES, from_failure, is_of_decoder
from polars_imgmeta.execution.runtime import DEFAULT, Runtime
from polars_imgmeta.io import locators
from polars_imgmeta.io.locators import Locator
from polars_imgmeta.io.remote import Storage, open_remote
from polars_imgmeta.io.sources import Source
from polars_imgmeta.io.transfers import Transfer
from polars_imgmeta.measuring.options import Reading


@dataclass(frozen=True, slots=True, eq=False)
class Prefetched:
    """A remote image that was fetched, or the reason why it could not be.

    Args:
        source: The image, or the parts of it that were asked for.
        header: Its header, where nothing but it and details was asked for.
        details: Its details, where they were asked for.
        error: The reason why there is no image or, beside a source, no header. It is raised
            where the image is measured, as if its header was read there.
    """

    source: Source | None = None
    known_header: Header | None = None
    details: Details | None = None
    error: BaseException | None = None

    def open(self) -> Source:
        """Return the image; the caller closes it."""
        if self.source is None:
            raise self.error or AssertionError
        return self.source

    @property
    def header(self) -> Header | None:
        """The header, where it has been read."""
        if self.error:
            raise self.error
        return self.known_header


ImageLike: TypeAlias = Locator | Prefetched
Request: TypeAlias = tuple[ImageLike, PropertySet]
"""An image, and the properties to compute."""


class Locators(Protocol):
    """Locators by number, each made on demand."""

    def __len__(self) -> int:
        """The number of locators."""

    def __getitem__(self, number: int, /) -> Locator:
        """One locator."""


class Requests:
    """Requests for distinct images, each made on demand.

    Args:
        images: The images.
        wanted: The properties to compute of each.
    """

    __slots__ = ("_images", "_wanted")

    def __init__(self, images: Locators, wanted: Sequence[PropertySet]) -> None:
        self._images = images
        self._wanted = wanted

    def __len__(self) -> int:
        """The number of requests."""
        return len(self._wanted)

    def __getitem__(self, number: int) -> Request:
        """One request."""
        return self._images[number], self._wanted[number]


def open_source(image: ImageLike, storage: Storage) -> Source:
    """Open an image for one reading; the caller closes it.

    Raises:
        ImageError: If it cannot be reached.
    """
    if isinstance(image, Prefetched):
        return image.open()
    return locators.open_local(image, storage.access)


@dataclass(frozen=True, slots=True)
class ImagePrefetcher:
    """Fetches images from servers: whole, or as much as their headers need.

    Attributes:
        storage: How to reach them.
        remote: The numbers of the requests for such images.
        reads_headers: Whether to read headers, where nothing else is wanted.
        runtime: Whose budget of bytes and clients are used.
    """

    storage: Storage
    remote: Sequence[int] = field(repr=False)
    reads_headers: bool = True
    runtime: Runtime = DEFAULT

    @classmethod
    def of(cls, reading: Reading, remote: Sequence[int]) -> Self:
        """Return the prefetcher of a call; a sandbox reads headers itself."""
        return cls(reading.storage, remote, reads_headers=reading.sandbox is None)

    @property
    def concurrency(self) -> int:
        """How many are fetched at once."""
        return self.storage.access.concurrency

    def fetch(self, request: Request, cancelled: threading.Event) -> Request:
        """Fetch the image of one request; a failure becomes that of its row."""
        url, wanted = request
        transfer = Transfer(self.storage.access, cancelled, self.runtime)
        try:
            source = open_remote(str(url), self.storage, transfer, whole=wanted.whole)
        except BaseException as failure:
            transfer.release()  # otherwise its memory would be lost to all later images
            if not isinstance(failure, FAILURES):
                raise
            return Prefetched(error=from_failure(failure)), wanted
        try:
            header = details = None
            ahead = self.reads_headers and not wanted.whole
            if ahead and (wanted.of_header or wanted.of_details):
                header = headers.read_header(source)
            if header and wanted.of_details:
                details = Details(source, header)
                details.fetch(one.name for one in wanted.of_details)
        except BaseException as failure:
            if is_of_decoder(failure):
                return Prefetched(source, error=failure.with_traceback(None)), wanted
            source.close()
            raise
        return Prefetched(source, header, details), wanted

    def discard(self, request: Request) -> None:
        """Release an image that will not be measured."""
        image = request[0]
        if isinstance(image, Prefetched) and image.source:
            image.source.close()
