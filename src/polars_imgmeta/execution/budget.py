"""How much of something may be in use at once, over all threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """An amount, of pixels or bytes, that is shared.

    What does not fit waits for others to end; what is larger than the whole budget
    has it for itself.

    Attributes:
        overdraft: To be had by whoever takes more, having some: several could wait for
            each other's share for ever.
    """

    def __init__(self, amount: int) -> None:
        self.amount = amount
        self._forget_holders()
        if hasattr(os, "register_at_fork"):  # not on Windows
            # In a forked child no other thread is left to give its share back.
            os.register_at_fork(after_in_child=self._forget_holders)

    def _forget_holders(self) -> None:
        self._held = 0
        self._changed = threading.Condition()
        self.overdraft = threading.Lock()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Take a share for the time of the context."""
        self.take(amount)
        try:
            yield
        finally:
            self.give(amount)

    def take(self, amount: int) -> None:
        """Take a share as soon as there is room for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + amount <= self.amount)
            self._held += amount

    def take_at_once(self, amount: int) -> bool:
        """Take a share if there is room for it now."""
        with self._changed:
            room = self._held + amount <= self.amount
            self._held += amount if room else 0
            return room

    def overdraw(self, amount: int) -> None:
        """Take more, whether there is room or not; for who has the `overdraft`."""
        with self._changed:
            self._held += amount

    def give(self, amount: int) -> None:
        """Give a share back."""
        with self._changed:
            self._held -= amount
            self._changed.notify_all()
