"""The properties: the one table from which schemas, docs and tests follow.

A property is added by one row here, one kernel and one name in `typing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import polars as pl

from polars_imgmeta.catalogue import batched_kernels, kernels
from polars_imgmeta.exceptions import PropertyError, hint
from polars_imgmeta.typing import GroupName, PropertyName

Need: TypeAlias = Literal["shape", "intensity", "colours"]

EDITION = 1
"""The edition of the formulas. It grows whenever a value of any image changes by more
than rounding, so that values of two editions are never mixed in one column."""


@dataclass(frozen=True, slots=True)
class Property:
    """One row of the catalogue.

    Attributes:
        name: The property and its field.
        dtype: The type of the field; signed, because Delta and Iceberg have no
            unsigned integers.
        need: What the kernel takes; `shape` is answered by the header alone.
        unit: The unit of the value.
        minimum: The least possible value.
        maximum: The greatest possible value, or None without a limit.
        description: One sentence, without the full stop.
        kernel: The formula.
        batched_kernel: The same for a batch of small pictures of one size, equal to the last
            bit, where that is faster.
    """

    name: PropertyName
    dtype: pl.DataType
    need: Need
    unit: str
    minimum: float
    maximum: float | None
    description: str
    kernel: Callable[[Any], float] = field(repr=False)
    batched_kernel: Callable[[Any], Sequence[float]] | None = field(default=None, repr=False)

    def measure_batch(self, batch: Any) -> Sequence[float]:  # noqa: ANN401 - what `need` says
        """Compute the property of each picture of a batch."""
        if self.batched_kernel is None or len(batch) == 1:
            return [self.kernel(picture) for picture in batch]
        return self.batched_kernel(batch)


class PropertySet:
    """Properties that are computed together, by what they need.

    Compared by identity, because sets are keys of batches: make one for each combination.

    Args:
        properties: The properties. None of them means the picture alone, to look at.

    Attributes:
        of_header: The properties that the header answers.
        of_pixels: The properties that need the decoded picture.
        needs_pixels: Whether the whole image has to be read.
    """

    __slots__ = ("needs_pixels", "of_header", "of_pixels")

    def __init__(self, properties: Iterable[Property] = ()) -> None:
        listed = tuple(properties)
        self.of_header = tuple(one for one in listed if one.need == "shape")
        self.of_pixels = tuple(one for one in listed if one.need != "shape")
        self.needs_pixels = bool(self.of_pixels) or not listed


_ROWS = (
    Property("width", pl.Int32(), "shape", "pixels", 1, None, "Columns of the picture", kernels.width),
    Property("height", pl.Int32(), "shape", "pixels", 1, None, "Rows of the picture", kernels.height),
    Property("size", pl.Int64(), "shape", "pixels", 1, None, "Width times height", kernels.size),
    Property("aspect_ratio", pl.Float64(), "shape", "ratio", 0, None, "Width divided by height", kernels.aspect_ratio),
    Property("brightness", pl.Float64(), "intensity", "fraction", 0, 1, "Mean intensity, over 255", kernels.brightness, batched_kernels.brightness),
    Property("contrast", pl.Float64(), "intensity", "fraction", 0, 0.6375, "Standard deviation of the intensity, over 200", kernels.contrast, batched_kernels.contrast),
    Property("sharpness", pl.Float64(), "intensity", "fraction", 0, 1, "Share of pixels that Canny marks as edge", kernels.sharpness, batched_kernels.sharpness),
    Property("pixel_entropy", pl.Float64(), "colours", "bits", 0, 24, "Shannon entropy of the distribution of colours", kernels.pixel_entropy, batched_kernels.pixel_entropy),
    Property("symmetry", pl.Float64(), "intensity", "fraction", 0, 1, "Likeness of the left half and the mirrored right half", kernels.symmetry, batched_kernels.symmetry),
)  # fmt: skip

CATALOGUE: dict[PropertyName, Property] = {row.name: row for row in _ROWS}
"""Every property by name, in the order in which a column holds its fields."""

GROUPS: dict[GroupName, tuple[PropertyName, ...]] = {
    "geometry": ("width", "height", "size", "aspect_ratio"),
    "standard": get_args(PropertyName)[:9],
}
"""Named sets. `standard` stays these nine, whatever the catalogue grows to."""


def resolve(properties: object) -> tuple[PropertyName, ...]:
    """Turn what a caller wrote into property names, once each, in catalogue order.

    Args:
        properties: What the caller wrote: one name of a property or group, or several.

    Returns:
        At least one name.

    Raises:
        PropertyError: If a name is unknown or there is none.

    Examples:
        >>> resolve(["brightness", "width", "brightness"])
        ('width', 'brightness')
        >>> resolve("geometry")
        ('width', 'height', 'size', 'aspect_ratio')
    """
    wanted: set[PropertyName] = set()
    for name in _flatten(properties):
        if isinstance(name, str) and name in CATALOGUE:
            wanted.add(name)
        elif isinstance(name, str) and name in GROUPS:
            wanted.update(GROUPS[name])
        else:
            known = (*CATALOGUE, *GROUPS)
            msg = (
                f"`properties` must name known properties, got {name!r}"
                f"{hint(name, known)}\n\nKnown: {', '.join(known)}"
            )
            raise PropertyError(msg)
    if not wanted:
        msg = (
            "`properties` must name at least one property, got none"
            "\n\nHint: leave it out for all nine of 'standard'"
        )
        raise PropertyError(msg)
    return tuple(name for name in CATALOGUE if name in wanted)


def _flatten(names: object) -> Iterator[object]:
    """Names one by one, whether they came singly or in lists."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        yield names
    else:
        for name in names:
            yield from _flatten(name)
