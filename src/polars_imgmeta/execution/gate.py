"""Threads that take turns at short work.

Opening a file, reading its header and decoding a tiny picture are dozens of calls
of a few microseconds. Threads that make them at the same time hand the
interpreter's lock to each other at every one, and two are slower than one. So only
the thread that has the turn does short work; it gives the turn away before it
decodes or measures a larger picture, which holds no lock.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Self

# A holder that makes fewer steps than this waits for a disk or the network, and threads
# that do so side by side are faster.
_FEWEST_STEPS_A_SECOND = 4000
# Whoever waits looks up after the first of these, then ever more rarely.
_SHORTEST_LOOK, _LONGEST_LOOK = 0.002, 0.032
_SLOW_SECONDS = 0.02


class Turns:
    """One turn, for any number of threads.

    Attributes:
        steps: How many the holders have made, by which those who wait see them get ahead.
    """

    def __init__(self) -> None:
        self._forget_holder()
        if hasattr(os, "register_at_fork"):  # not on Windows
            # In a forked child no other thread is left to give the turn away.
            os.register_at_fork(after_in_child=self._forget_holder)

    def _forget_holder(self) -> None:
        self._free = threading.Lock()
        self._first_waiting = threading.Lock()
        self.steps = 0
        self._slow_until = 0.0

    def take(self) -> bool:
        """Wait for the turn; return False where it is better to go without it."""
        if self._free.acquire(blocking=False):
            return True
        with self._first_waiting:
            look = _SHORTEST_LOOK
            while time.monotonic() >= self._slow_until:
                before = self.steps
                if self._free.acquire(timeout=look):
                    return True
                if self.steps - before < _FEWEST_STEPS_A_SECOND * look:
                    self._slow_until = time.monotonic() + _SLOW_SECONDS
                look = min(2 * look, _LONGEST_LOOK)
        return False

    def give(self) -> None:
        """Give the turn away."""
        self._free.release()


class Turn:
    """What one thread has of the turns."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._has = False

    def step(self) -> None:
        """Begin a piece of short work: with the turn, if it can be had soon."""
        if self._has or self._take():
            self._turns.steps += 1

    def _take(self) -> bool:
        self._has = self._turns.take()
        return self._has

    def give(self) -> None:
        """Give the turn away, if this thread has it, until the next step."""
        if self._has:
            self._has = False
            self._turns.give()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give()
