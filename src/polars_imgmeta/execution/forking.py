"""What a forked child must do before it extracts."""

from __future__ import annotations

import os
from collections.abc import Callable


def after_fork_in_child(function: Callable[[], None]) -> None:
    """Call a function in every child that this process forks.

    A child has only the thread that forked it. Locks that another thread held stay locked,
    and pools have no threads, so both must be made anew.
    """
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=function)
