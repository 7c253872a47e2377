"""How many pixels may be in memory at once, over all threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """A number of pixels that pictures share while they are decoded and measured.

    A picture that does not fit waits for others to end; one that is larger than
    the whole budget has it for itself.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self._forget_holders()
        if hasattr(os, "register_at_fork"):  # not on Windows
            # In a forked child no other thread is left to give its share back.
            os.register_at_fork(after_in_child=self._forget_holders)

    def _forget_holders(self) -> None:
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Take a share of the budget as soon as there is room for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + pixels <= self.pixels)
            self._held += pixels
        try:
            yield
        finally:
            with self._changed:
                self._held -= pixels
                self._changed.notify_all()
