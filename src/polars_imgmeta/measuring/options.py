"""The options of every verb that reads images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from polars_imgmeta.exceptions import hint, require_positive
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.remote import Storage, make_storage
from polars_imgmeta.typing import OnError


@dataclass(frozen=True, slots=True)
class Reading:
    """How images are read, and what failures do.

    Attributes:
        on_error: What a failing row does.
        max_pixels: Pictures of more pixels are not decoded.
        storage: How images are reached.
        progress: Whether to show a bar; None for: where somebody looks.
    """

    on_error: OnError
    max_pixels: int
    storage: Storage
    progress: bool | None


def make_reading(
    on_error: OnError,
    max_pixels: int,
    storage_options: Mapping[str, str] | None,
    access: Access | None,
    progress: bool | None = False,  # noqa: FBT001, FBT002 - as the verbs take it
) -> Reading:
    """Check the options that all reading verbs share.

    Raises:
        TypeError: If one is of the wrong type.
        ValueError: If one is out of range or unknown.
    """
    choices = get_args(OnError)
    if on_error not in choices:
        listing = ", ".join(map(repr, choices))
        msg = f"`on_error` must be one of {listing}, got {on_error!r}{hint(on_error, choices)}"
        raise ValueError(msg)
    require_positive("max_pixels", max_pixels)
    if progress not in (True, False, None):
        msg = f"`progress` must be True, False or None, got {progress!r}"
        raise ValueError(msg)
    return Reading(on_error, max_pixels, make_storage(storage_options, access), progress)
