"""From images to the values of their properties.

This is the one place where the failure of an image turns from an exception into data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from polars_imgmeta import exceptions
from polars_imgmeta.catalogue.registry import CATALOGUE, PropertiesLike, PropertySet
from polars_imgmeta.decoding import headers, pictures
from polars_imgmeta.decoding.details import Details
from polars_imgmeta.decoding.isolation import isolated
from polars_imgmeta.execution.gate import Pass
from polars_imgmeta.execution.runtime import DEFAULT, Runtime
from polars_imgmeta.io.sources import Source
from polars_imgmeta.measuring.batching import (
    COMPUTATION,
    SMALL_BYTES,
    SMALL_PIXELS,
    Job,
    SmallPictures,
)
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.measuring.prefetching import ImageLike, Prefetched, Request, open_source

# A file that is large for its picture counts by its bytes.
_BYTES_PER_PIXEL = 16


class Measurement(NamedTuple):
    """The properties of one image.

    Attributes:
        values: The values by property; those of a part that cannot be read are missing.
        error: Why some are missing, or None where none is.
        size: The number of bytes of the encoded image, where it could be opened.
    """

    values: dict[str, Any]
    error: exceptions.ImageError | None
    size: int | None = None


def measure_all(
    requests: Iterable[tuple[int, Request]],
    reading: Reading,
    runtime: Runtime = DEFAULT,
    make_job: Callable[[int, PropertySet], Job] = Job,
) -> Iterator[tuple[int, Measurement]]:
    """Read images and compute their properties.

    Args:
        requests: Numbered requests; the next one is taken when the last is done.
            Remote images have been prefetched.
        reading: How local files are read, and the limit on pixels.
        runtime: Whose gate and budget of pixels are used.
        make_job: What makes the record of an image that is being measured.

    Yields:
        The number of a request and its measurement, not in the order of the requests, as
        small pictures are measured in batches. No failure of an image is raised.
    """
    batch = SmallPictures()
    with isolated(), Pass(runtime.gate) as gate:
        reader = _Reader(reading, runtime, gate)
        gate.step()
        for number, (image, wanted) in requests:
            job = make_job(number, wanted)
            if job.attempt(reader.read, job, image):
                batch.add(job)
            else:
                yield number, _measurement(job)
            if batch.full:
                yield from _measured(batch, gate)
            gate.step()
        yield from _measured(batch, gate)


def _measured(batch: SmallPictures, gate: Pass) -> Iterator[tuple[int, Measurement]]:
    gate.release()
    for job in batch.measure():
        yield job.number, _measurement(job)


def _measurement(job: Job) -> Measurement:
    error = job.error
    if job.failures:
        error = exceptions.combined((error, *job.failures))
    return Measurement(job.values, error, job.size)


def measure(image: ImageLike, properties: PropertiesLike, *, max_pixels: int) -> Measurement:
    """Read one image and compute its properties, as `measure_all` does."""
    wanted = PropertySet(CATALOGUE.resolve(properties))
    reading = Reading(max_pixels=max_pixels)
    ((_, measurement),) = measure_all([(0, (image, wanted))], reading)
    return measurement


class _Reader(NamedTuple):
    """What reads images in one thread."""

    reading: Reading
    runtime: Runtime
    gate: Pass

    def read(self, job: Job, image: ImageLike) -> bool:
        """Fill in values one after the other, so that a failure keeps the ones before.

        Returns:
            Whether it is a small picture whose pixels are still to be measured.
        """
        with open_source(image, self.reading.storage) as source:
            job.size = source.file_size
            try:
                return self._compute(job, source, image)
            except Exception:
                _require_unchanged(job, source)
                raise

    def _compute(self, job: Job, source: Source, image: ImageLike) -> bool:
        wanted = job.wanted
        if wanted.of_source:
            job.compute(wanted.of_source, source.facts)
        if wanted.of_bytes:
            job.compute(wanted.of_bytes, source.whole())
        header = None
        if wanted.of_header or wanted.of_details or wanted.of_pixels:
            job.decoder = "the reader of headers"
            header = image.header if isinstance(image, Prefetched) else None
            header = header or headers.read_header(source)
            job.decoder = header
            job.compute(wanted.of_header, header)
            if wanted.of_details:
                known = image.details if isinstance(image, Prefetched) else None
                job.compute(wanted.of_details, known or Details(source, header))
        if header is None or not wanted.of_pixels:
            _require_unchanged(job, source)
            return False
        pixels = _count_pixels(header, self.reading.max_pixels)
        if pixels <= SMALL_PIXELS and source.size <= SMALL_BYTES:
            data = source.whole()
            _require_unchanged(job, source)
            job.take(header, data)
            return True
        self.gate.release()
        with self.runtime.pixels.hold(max(pixels, source.size // _BYTES_PER_PIXEL)):
            picture = pictures.read_picture(source.whole(), header)
            _require_unchanged(job, source)
            job.decoder = COMPUTATION
            intensity = pictures.intensity_of(picture)
            for one in wanted.of_pixels:
                job.compute((one,), intensity if one.needs == "intensity" else picture)
        return False


def _require_unchanged(job: Job, source: Source) -> None:
    """Drop what was read of an image that changed meanwhile.

    Raises:
        UnreachableError: If it changed.
    """
    try:
        source.require_unchanged()
    except exceptions.UnreachableError:
        job.values.clear()
        job.failures = ()
        job.size = None
        raise


def _count_pixels(header: headers.Header, max_pixels: int) -> int:
    """Return as how many ordinary pixels a picture counts, if it is not too large."""
    pixels = header.width * header.height * header.weight
    if pixels > max_pixels:
        counted = f", which count {header.weight} times," if header.weight > 1 else ""
        msg = (
            f"{header.width} x {header.height} pixels{counted} are more than"
            f" `max_pixels`, which is {max_pixels}"
        )
        raise exceptions.TooLargeError(msg)
    return pixels
