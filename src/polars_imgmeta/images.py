"""Images: from their locators to the values of their properties.

The one place where a failure of an image turns from an exception into data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np

from polars_imgmeta import exceptions, headers, locators, pictures
from polars_imgmeta.budget import PixelBudget
from polars_imgmeta.catalogue import CATALOGUE, Property
from polars_imgmeta.isolation import isolated
from polars_imgmeta.pictures import Picture
from polars_imgmeta.turns import Turn, Turns
from polars_imgmeta.typing import PropertyName

_pixels_in_flight = PixelBudget(pictures.DEFAULT_MAX_PIXELS)
_BYTES_OF_A_PIXEL = 16

_turns = Turns()
# Pictures so small that the calls take longer than the work, and how many of them are
# kept until those of one size are measured together.
_SMALL_PIXELS = 1 << 14
_SMALL_BYTES = 1 << 17
_MOST_WAITING = 128

Request: TypeAlias = tuple[str, tuple[PropertyName, ...]]
"""A locator and the properties to compute."""


class Measurement(NamedTuple):
    """The properties of one image.

    Attributes:
        values: The property values; those of an unreadable part are missing.
        error: Why some are missing, or None where none is.
    """

    values: dict[PropertyName, float]
    error: exceptions.ImageError | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Properties by what they need; of each set there is one."""

    of_shape: tuple[Property, ...]
    of_pixels: tuple[Property, ...]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A small picture whose pixels are still to be measured."""

    number: int
    values: dict[PropertyName, float]
    plan: _Plan
    picture: Picture


def measure_all(
    requests: Iterable[tuple[int, Request]], *, max_pixels: int
) -> Iterator[tuple[int, Measurement]]:
    """Read images once each and compute their properties.

    Args:
        requests: Numbered; asked for one by one, whenever the last is done.
        max_pixels: Pictures of more pixels are not decoded.

    Yields:
        The number of a request, and the values and, where some are missing, the
        reason. Nothing that an image or its place does wrong is raised. An error is
        told before the next request is asked for; small pictures of one size wait
        for each other.
    """
    waiting: list[_Waiting] = []
    with isolated(), Turn(_turns) as turn:
        turn.step()
        for number, (locator, names) in requests:
            values: dict[PropertyName, float] = {}
            plan = _plan(names)
            picture, error = _read(values, locator, plan, max_pixels, turn)
            if picture is None:
                yield number, Measurement(values, error)
            else:
                waiting.append(_Waiting(number, values, plan, picture))
            if len(waiting) == _MOST_WAITING:
                yield from _measure_waiting(waiting, turn)
                waiting = []
            turn.step()
        yield from _measure_waiting(waiting, turn)


def measure(locator: str, names: Sequence[PropertyName], *, max_pixels: int) -> Measurement:
    """Read one image once and compute its properties, as `measure_all` does."""
    ((_, measurement),) = measure_all([(0, (locator, tuple(names)))], max_pixels=max_pixels)
    return measurement


@cache
def _plan(names: tuple[PropertyName, ...]) -> _Plan:
    rows = [CATALOGUE[name] for name in names]
    return _Plan(
        tuple(row for row in rows if row.need == "shape"),
        tuple(row for row in rows if row.need != "shape"),
    )


def _read(
    values: dict[PropertyName, float], locator: str, plan: _Plan, max_pixels: int, turn: Turn
) -> tuple[Picture | None, exceptions.ImageError | None]:
    """Measure all but the pixels of a small picture, which is returned, or say what failed."""
    try:
        return _read_into(values, locator, plan, max_pixels, turn), None
    except exceptions.ImageError as error:
        # The same without a traceback, which would keep the image in memory.
        return None, type(error)(str(error))
    except OSError as error:  # from reading; opening maps its own
        return None, exceptions.from_os_error(error)
    except MemoryError as error:
        return None, exceptions.from_decoder_error(error, what="the data")


def _read_into(
    values: dict[PropertyName, float], locator: str, plan: _Plan, max_pixels: int, turn: Turn
) -> Picture | None:
    """Fill in values one after the other, so that a failure keeps the ones before."""
    with locators.open_image(locator) as source:
        header = headers.read_header(source)
        shape = header.shape
        for row in plan.of_shape:
            values[row.name] = row.kernel(shape)
        if not plan.of_pixels:
            return None
        pixels = header.width * header.height * header.weight
        if pixels > max_pixels:
            counted = f", which count {header.weight} times," if header.weight > 1 else ""
            msg = (
                f"{header.width} x {header.height} pixels{counted} are more than"
                f" `max_pixels`, which is {max_pixels}"
            )
            raise exceptions.TooLargeError(msg)
        if pixels <= _SMALL_PIXELS and source.size <= _SMALL_BYTES:
            return pictures.read_picture(source.whole(), header)
        turn.give()
        # Of a file that is large for its picture, the bytes count.
        with _pixels_in_flight.hold(max(pixels, source.size // _BYTES_OF_A_PIXEL)):
            picture = pictures.read_picture(source.whole(), header)
            intensity = pictures.intensity_of(picture)
            for row in plan.of_pixels:
                values[row.name] = row.kernel(intensity if row.need == "intensity" else picture)
    return None


def _measure_waiting(waiting: list[_Waiting], turn: Turn) -> Iterator[tuple[int, Measurement]]:
    """Measure the pixels of small pictures, those of one size together."""
    stacks: dict[tuple[_Plan, tuple[int, ...]], list[_Waiting]] = {}
    for one in waiting:
        stacks.setdefault((one.plan, one.picture.shape), []).append(one)
    for (plan, _), stack in sorted(stacks.items(), key=lambda item: len(item[1])):
        if len(stack) > 1:
            turn.give()
        colours = np.stack([one.picture for one in stack])
        intensities = pictures.intensity_of(colours)
        for row in plan.of_pixels:
            pixels = intensities if row.need == "intensity" else colours
            for one, value in zip(stack, row.measure_stack(pixels), strict=True):
                one.values[row.name] = value
        yield from ((one.number, Measurement(one.values)) for one in stack)
