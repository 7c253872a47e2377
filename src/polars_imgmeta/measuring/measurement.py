"""Images: from their locators to the values of their properties.

The one place where a failure of an image turns from an exception into data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from polars_imgmeta import exceptions
from polars_imgmeta.catalogue.registry import CATALOGUE, Property
from polars_imgmeta.decoding import headers, pictures
from polars_imgmeta.decoding.headers import Header
from polars_imgmeta.decoding.isolation import isolated
from polars_imgmeta.decoding.pictures import Picture
from polars_imgmeta.exceptions import FAILURES, from_failure
from polars_imgmeta.execution.budget import Budget
from polars_imgmeta.execution.gate import Turn, Turns
from polars_imgmeta.io.remote import Storage
from polars_imgmeta.io.sources import Source
from polars_imgmeta.measuring.prefetching import Arrived, Image, Request, open_image
from polars_imgmeta.typing import PropertyName

_pixels_in_flight = Budget(pictures.DEFAULT_MAX_PIXELS)
# Of a file that is large for its picture, the bytes count.
_BYTES_OF_A_PIXEL = 16

_turns = Turns()
_LOCAL = Storage()
# Pictures so small that the calls count beside the work. They are kept until there are
# so many pixels or pictures, and those of one size are measured together; the smallest
# are decoded at once, as that takes no longer than to give the turn away.
_SMALL_PIXELS = 1 << 16
_SMALL_BYTES = 1 << 18
_SMALLEST_PIXELS = 1 << 12
_MOST_WAITING_COST = 1 << 18  # in pixels and bytes
_MOST_WAITING = 256


class Measurement(NamedTuple):
    """The properties of one image.

    Attributes:
        values: The property values; those of an unreadable part are missing.
        error: Why some are missing, or None where none is.
    """

    values: dict[PropertyName, float]
    error: exceptions.ImageError | None


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Properties by what they need; of each set there is one."""

    of_shape: tuple[Property, ...]
    of_pixels: tuple[Property, ...]


@dataclass(slots=True)
class _Small:
    """A small picture, of which all but the pixels is measured."""

    plan: _Plan
    header: Header
    data: bytes
    picture: Picture | None = None


class _Waiting(NamedTuple):
    """A small picture that waits for others of its size."""

    number: int
    values: dict[PropertyName, float]
    small: _Small


def measure_all(
    requests: Iterable[tuple[int, Request]], *, max_pixels: int, storage: Storage = _LOCAL
) -> Iterator[tuple[int, Measurement]]:
    """Read images once each and compute their properties.

    Args:
        requests: Numbered; asked for one by one, whenever the last is done.
        max_pixels: Pictures of more pixels are not decoded.
        storage: How files are read; what is far away was fetched before.

    Yields:
        The number of a request, and the values and, where some are missing, the
        reason; not in their order, as small pictures wait for each other. Nothing
        that an image or its place does wrong is raised.
    """
    waiting: list[_Waiting] = []
    cost = 0
    with isolated(), Turn(_turns) as turn:
        turn.step()
        for number, (image, names) in requests:
            values: dict[PropertyName, float] = {}
            small = error = None
            try:
                small = _read(
                    values, image, storage, _plan(names), max_pixels=max_pixels, turn=turn
                )
            except FAILURES as failure:
                error = from_failure(failure)
            if small is None:
                yield number, Measurement(values, error)
            else:
                waiting.append(_Waiting(number, values, small))
                cost += small.header.width * small.header.height + len(small.data)
            if cost >= _MOST_WAITING_COST or len(waiting) >= _MOST_WAITING:
                yield from _measure_waiting(waiting, turn)
                waiting, cost = [], 0
            turn.step()
        yield from _measure_waiting(waiting, turn)


def measure(image: Image, names: Sequence[PropertyName], *, max_pixels: int) -> Measurement:
    """Read one image once and compute its properties, as `measure_all` does."""
    ((_, measurement),) = measure_all([(0, (image, tuple(names)))], max_pixels=max_pixels)
    return measurement


@contextmanager
def open_picture(image: Image, *, max_pixels: int, storage: Storage = _LOCAL) -> Iterator[Picture]:
    """Decode the picture from which properties are computed, to look at it.

    Args:
        image: The image, or where it is.
        max_pixels: A picture of more pixels is not decoded.
        storage: As for `measure_all`.

    Raises:
        ImageError: If it cannot be read; or another of `FAILURES`.
    """
    with isolated(), open_image(image, storage) as source:
        header = headers.read_header(source)
        pixels = _count_pixels(header, max_pixels)
        with _decoded(source, header, pixels) as picture:
            yield picture


@contextmanager
def _decoded(source: Source, header: Header, pixels: int) -> Iterator[Picture]:
    """Decode a picture that counts as so many pixels, as soon as the budget has room."""
    with _pixels_in_flight.hold(max(pixels, source.size // _BYTES_OF_A_PIXEL)):
        yield pictures.read_picture(source.whole(), header)


@cache
def _plan(names: tuple[PropertyName, ...]) -> _Plan:
    rows = [CATALOGUE[name] for name in names]
    return _Plan(
        tuple(row for row in rows if row.need == "shape"),
        tuple(row for row in rows if row.need != "shape"),
    )


def _read(
    values: dict[PropertyName, float],
    image: Image,
    storage: Storage,
    plan: _Plan,
    *,
    max_pixels: int,
    turn: Turn,
) -> _Small | None:
    """Fill in values one after the other, so that a failure keeps the ones before.

    Returns:
        A small picture whose pixels are still to be measured.
    """
    with open_image(image, storage) as source:
        header = (isinstance(image, Arrived) and image.header) or headers.read_header(source)
        shape = header.shape
        for row in plan.of_shape:
            values[row.name] = row.kernel(shape)
        if not plan.of_pixels:
            return None
        pixels = _count_pixels(header, max_pixels)
        if pixels <= _SMALL_PIXELS and source.size <= _SMALL_BYTES:
            small = _Small(plan, header, source.whole())
            if pixels <= _SMALLEST_PIXELS:
                _decode(small)
            return small
        turn.give()
        with _decoded(source, header, pixels) as picture:
            intensity = pictures.intensity_of(picture)
            for row in plan.of_pixels:
                values[row.name] = row.kernel(intensity if row.need == "intensity" else picture)
    return None


def _count_pixels(header: Header, max_pixels: int) -> int:
    """As how many usual pixels a picture counts, if it is not too large."""
    pixels = header.width * header.height * header.weight
    if pixels > max_pixels:
        counted = f", which count {header.weight} times," if header.weight > 1 else ""
        msg = (
            f"{header.width} x {header.height} pixels{counted} are more than"
            f" `max_pixels`, which is {max_pixels}"
        )
        raise exceptions.TooLargeError(msg)
    return pixels


def _decode(small: _Small) -> Picture:
    if small.picture is None:
        small.picture = pictures.read_picture(small.data, small.header)
        small.data = b""
    return small.picture


def _measure_waiting(waiting: list[_Waiting], turn: Turn) -> Iterator[tuple[int, Measurement]]:
    """Measure the pixels of small pictures, those of one size together."""
    turn.give()
    stacks: dict[tuple[_Plan, tuple[int, ...]], list[tuple[_Waiting, Picture]]] = {}
    for one in waiting:
        try:
            picture = _decode(one.small)
        except FAILURES as failure:
            yield one.number, Measurement(one.values, from_failure(failure))
        else:
            stacks.setdefault((one.small.plan, picture.shape), []).append((one, picture))
    for (plan, _), stack in stacks.items():
        try:
            _fill(plan, stack)
        except MemoryError:
            yield from _measure_singly(plan, stack)
        else:
            yield from ((one.number, Measurement(one.values, None)) for one, _ in stack)


def _fill(plan: _Plan, stack: Sequence[tuple[_Waiting, Picture]]) -> None:
    """Measure the pixels of pictures of one size."""
    colours = np.stack([picture for _, picture in stack])
    intensities = pictures.intensity_of(colours)
    for row in plan.of_pixels:
        pixels = intensities if row.need == "intensity" else colours
        for (one, _), value in zip(stack, row.measure_stack(pixels), strict=True):
            one.values[row.name] = value


def _measure_singly(
    plan: _Plan, stack: Sequence[tuple[_Waiting, Picture]]
) -> Iterator[tuple[int, Measurement]]:
    """Measure pictures for which there is too little memory together."""
    for one, picture in stack:
        error = None
        try:
            _fill(plan, [(one, picture)])
        except MemoryError as failure:
            error = from_failure(failure)
        yield one.number, Measurement(one.values, error)
