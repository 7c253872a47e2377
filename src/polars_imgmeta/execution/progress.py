"""A progress bar, where somebody looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any, TypeAlias

from tqdm.std import tqdm

Watch: TypeAlias = Callable[[Iterable[bool]], None]
"""Is told of further images that are done: of each, whether it failed."""

# Shorter work needs no bar, unless it is asked for.
_PATIENCE_SECONDS = 1.0
# What a stream that is closed, gone or somebody's own may raise: no reason to end the work.
_UNSHOWABLE = (AttributeError, OSError, ValueError)
_USUAL_SHAPE = {"ncols": 80, "nrows": 24}


@contextmanager
def progress_bar(total: int, wanted: bool | None) -> Iterator[Watch | None]:  # noqa: FBT001 - as users say it
    """Show how many images are done and failed, how fast, and how long it will take.

    Args:
        total: How many images there are.
        wanted: Whether to show it; None for: on a terminal or in a notebook, when
            it takes longer than a second.

    Yields:
        What to call with the images that are done, or None where no bar is shown.
    """
    notebook = _in_notebook()
    seen = wanted or (wanted is None and (notebook or _on_terminal()))
    if not (total and seen and _is_writable()):
        yield None
        return
    bar: Any = None
    failed = 0

    def watch(news: Iterable[bool]) -> None:
        nonlocal failed
        done = list(news)
        failed += sum(done)
        with suppress(*_UNSHOWABLE):
            if failed:
                bar.set_postfix(failed=failed, refresh=False)
            bar.update(len(done))

    with suppress(*_UNSHOWABLE):
        bar = _kind(notebook=notebook)(
            total=total,
            unit=" images",
            delay=0.0 if wanted else _PATIENCE_SECONDS,
            mininterval=0,
            **_shape(),
        )
    try:
        yield None if bar is None else watch
    finally:
        with suppress(*_UNSHOWABLE):
            if bar is not None:
                bar.close()


class _Bar(tqdm):  # type: ignore[misc]  # it has no types
    """A bar on the terminal, without a thread of its own that watches it."""

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
    """Columns and rows of a terminal that does not tell its own; else let the bar find out."""
    try:
        told = os.get_terminal_size(sys.stderr.fileno()).columns
    except _UNSHOWABLE:  # no terminal
        return {}
    return {} if told else _USUAL_SHAPE


def _in_notebook() -> bool:
    """Whether this is a process that serves a notebook, of Jupyter or a kin of it."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    return shell is not None and getattr(shell, "kernel", None) is not None
