"""A limit on how much of something is in use at once, over all threads."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """An amount of pixels or bytes that threads share, first come, first served.

    A request that does not fit waits, and later ones wait behind it, so that small requests
    cannot overtake a large one for ever. A request larger than the whole budget is granted
    once nothing else is held.

    Attributes:
        overdraft: The lock to hold while taking more than the budget has. A holder that
            waits for its own growth could otherwise deadlock with another one.
    """

    def __init__(self, amount: int) -> None:
        self._amount = amount
        self._held = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()
        self.overdraft = threading.Lock()

    @property
    def amount(self) -> int:
        """How much there is in all."""
        return self._amount

    @amount.setter
    def amount(self, amount: int) -> None:
        with self._changed:
            self._amount = amount
            self._changed.notify_all()

    @property
    def held(self) -> int:
        """How much is in use."""
        return self._held

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Take an amount for the duration of the context."""
        self.take(amount)
        try:
            yield
        finally:
            self.give(amount)

    def take(self, amount: int) -> None:
        """Take an amount, after all earlier requests have been granted and it fits."""
        with self._changed:
            if self._queue or not self._fits(amount):
                turn = object()
                self._queue.append(turn)
                try:
                    self._changed.wait_for(lambda: self._queue[0] is turn and self._fits(amount))
                finally:
                    self._queue.remove(turn)
                    self._changed.notify_all()
            self._held += amount

    def take_at_once(self, amount: int) -> bool:
        """Take an amount if it fits now, even if other requests are waiting."""
        with self._changed:
            fits = self._held + amount <= self._amount
            self._held += amount if fits else 0
            return fits

    def overdraw(self, amount: int) -> None:
        """Take an amount even if it does not fit; the caller must hold `overdraft`."""
        with self._changed:
            self._held += amount

    def give(self, amount: int) -> None:
        """Return an amount."""
        with self._changed:
            self._held -= amount
            self._changed.notify_all()

    def _fits(self, amount: int) -> bool:
        return self._held == 0 or self._held + amount <= self._amount
