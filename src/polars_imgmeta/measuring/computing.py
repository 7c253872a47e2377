"""One property of one image, computed such that its failure is its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl

from polars_imgmeta.catalogue.registry import Property
from polars_imgmeta.exceptions import PropertyFailedError, reason_of

# The threads that are inside the function of a property.
_computing: set[int] = set()
_INSIDE = (
    "the function of a property must not extract, as it runs on the threads that it"
    " would wait for\n\nHint: compute everything from the value that it is given"
)


def require_outside() -> None:
    """Check that this thread is not inside the function of a property.

    Raises:
        RuntimeError: If it is. An extraction would wait for the threads that it runs on.
    """
    if threading.get_ident() in _computing:
        raise RuntimeError(_INSIDE)


def is_any_computing() -> bool:
    """Return whether some thread is inside the function of a property."""
    return bool(_computing)


def require_progress(threads: int) -> None:
    """Check that not all workers wait for the extraction that waits for them.

    A function may also collect a plan that extracts. Polars runs it on a thread of its own,
    where `require_outside` sees nothing. So this looks where the workers are.

    Args:
        threads: The number of workers.

    Raises:
        RuntimeError: If all of them are in a query of Polars inside the function of a property.
    """
    frames = sys._current_frames()  # noqa: SLF001 - the documented way
    waiting = [
        frames[thread].f_globals.get("__name__", "")
        for thread in list(_computing)
        if thread in frames
    ]
    if len(waiting) >= threads and all(module.startswith("polars.") for module in waiting):
        raise RuntimeError(_INSIDE)


def compute(
    properties: Iterable[Property],
    value: Any,  # noqa: ANN401 - what they need
    values: dict[str, Any],
) -> list[PropertyFailedError]:
    """Compute properties that need the same, and put them into `values`.

    Returns:
        The failures of properties of the caller's own. They spare the other properties.
    """
    failures = []
    for one in properties:
        if one.built_in:
            values[one.name] = one.kernel(value)
            continue
        try:
            values[one.name] = _own(one, value)
        except PropertyFailedError as error:
            failures.append(error)
    return failures


def _own(one: Property, value: Any) -> Any:  # noqa: ANN401 - of the dtype of the property
    """Call a function that is not ours.

    Raises:
        PropertyFailedError: Whatever it does wrong.
    """
    if isinstance(value, np.ndarray):  # which the properties of an image share
        value = value.view()
        value.flags.writeable = False
    _computing.add(threading.get_ident())
    try:
        result = one.kernel(value)
    except Exception as error:  # noqa: BLE001 - it may raise anything
        msg = f"{one.name} raised {type(error).__name__}: {reason_of(error)}"
        raise PropertyFailedError(msg) from None
    finally:
        _computing.discard(threading.get_ident())
    if result is None:
        if one.nullable:
            return None
        msg = f"{one.name} returned None, and is not nullable"
        raise PropertyFailedError(msg)
    try:
        series = pl.Series([result], dtype=one.dtype, strict=True)
    except Exception:  # noqa: BLE001 - as many kinds as there are values
        series = pl.Series()
    if series.dtype != one.dtype or not _is_of_calendar(result, one.dtype):
        msg = f"{one.name} returned {type(result).__name__}, which is no {one.dtype}"
        raise PropertyFailedError(msg)
    return series[0]


def _is_of_calendar(value: object, dtype: pl.DataType) -> bool:
    """Whether a value is of the kind of date or time of a dtype; Polars would convert it."""
    if isinstance(dtype, pl.Date):
        return isinstance(value, date) and not isinstance(value, datetime)
    if isinstance(dtype, pl.Datetime):
        zoned = dtype.time_zone is not None
        return isinstance(value, datetime) and (value.tzinfo is not None) == zoned
    return True
