"""Progress: what is told of it, and a bar that shows it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any, Protocol

from tqdm.std import tqdm


class Observer(Protocol):
    """What is told how far an extraction is; called in the thread of the caller."""

    def begin(self, total: int) -> None:
        """Images are about to be read, `total` of them."""

    def advance(self, done: int, failed: int) -> None:
        """`done` more images have been read, `failed` of them without success."""

    def end(self) -> None:
        """Nothing more is read, because all is done or something was raised."""


# Shorter work needs no bar, unless it is asked for.
_PATIENCE_SECONDS = 1.0
# What a stream that is closed, missing or replaced may raise: no reason to end the work.
_UNSHOWABLE = (AttributeError, OSError, ValueError)
_USUAL_SHAPE = {"ncols": 80, "nrows": 24}


class ProgressBar:
    """An observer that shows how many images are done and failed, and the time left.

    Args:
        wanted: Whether to show it; None for: on a terminal or in a notebook, once the work
            has taken longer than a second.
        unit: What is counted.
    """

    def __init__(self, wanted: bool | None = None, unit: str = "images") -> None:  # noqa: FBT001 - as users write it
        self._wanted = wanted
        self._unit = unit
        self._bar: Any = None
        self._failed = 0

    @property
    def shown(self) -> bool:
        """Whether there is a bar."""
        return self._bar is not None

    def begin(self, total: int | None) -> None:
        """Show the bar, where it is wanted and can be seen; None for an unknown total."""
        notebook = _in_notebook()
        seen = self._wanted or (self._wanted is None and (notebook or _on_terminal()))
        if total != 0 and seen and _is_writable():
            with suppress(*_UNSHOWABLE):
                self._bar = _kind(notebook=notebook)(
                    total=total,
                    unit=f" {self._unit}",
                    delay=0.0 if self._wanted else _PATIENCE_SECONDS,
                    mininterval=0,
                    **_shape(),
                )

    def advance(self, done: int, failed: int) -> None:
        """Move the bar."""
        self._failed += failed
        with suppress(*_UNSHOWABLE):
            if self._bar is not None:
                if self._failed:
                    self._bar.set_postfix(failed=self._failed, refresh=False)
                self._bar.update(done)

    def end(self) -> None:
        """Leave the bar as it is."""
        with suppress(*_UNSHOWABLE):
            if self._bar is not None:
                self._bar.close()


_OBSERVER: ContextVar[Observer | None] = ContextVar("observer", default=None)


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Have an observer told of all extractions of this thread, rather than a bar for each."""
    token = _OBSERVER.set(observer)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


def make_observer(wanted: bool | None) -> Observer:  # noqa: FBT001 - as users write it
    """Return who is told of an extraction: a bar, unless a job watches."""
    return _OBSERVER.get() or ProgressBar(wanted)


class _Bar(tqdm):  # type: ignore[misc]  # it has no types
    """A bar on the terminal, without a monitoring thread of its own."""

    monitor_interval = 0


def _kind(*, notebook: bool) -> Any:  # noqa: ANN401 - tqdm has no types
    if notebook and find_spec("ipywidgets"):
        from tqdm.notebook import tqdm as widget  # noqa: PLC0415 - warns without ipywidgets

        return widget
    return _Bar


def _is_writable() -> bool:
    try:
        sys.stderr.write("")
    except _UNSHOWABLE:
        return False
    return True


def _on_terminal() -> bool:
    try:
        return bool(sys.stderr.isatty())
    except _UNSHOWABLE:
        return False


def _shape() -> dict[str, int]:
    """Return columns and rows where the terminal does not know its own size."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except _UNSHOWABLE:  # no terminal
        return {}
    return {} if columns else _USUAL_SHAPE


def _in_notebook() -> bool:
    """Whether this process serves a notebook, in Jupyter or a relative of it."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    return shell is not None and getattr(shell, "kernel", None) is not None
