"""A gate that lets one thread at a time do short work.

Opening a file, reading its header and decoding a tiny picture are dozens of calls of a few
microseconds each. Threads that make such calls in parallel pass the interpreter lock back
and forth at every one, and two threads are slower than one. So only the thread that holds
the gate does short work; it releases the gate before it decodes or measures a larger
picture, which runs without the interpreter lock.
"""

from __future__ import annotations

import threading
import time
from typing import Self

# A holder that makes fewer steps than this is waiting for a disk or the network. Threads that
# wait in parallel are faster, so the gate opens for all of them.
_MIN_STEPS_PER_SECOND = 4000
# Waiting threads look at the holder's progress after the first interval, then less often.
_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.002, 0.032
_OPEN_SECONDS = 0.02


class Gate:
    """A lock that opens for all threads while its holder makes no progress.

    Attributes:
        steps: The number of steps that holders have made, by which waiting threads
            recognise progress.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first_waiting = threading.Lock()
        self.steps = 0
        self._open_until = 0.0

    def acquire(self) -> bool:
        """Wait for the lock; return False if it is better to go on without it."""
        if self._lock.acquire(blocking=False):
            return True
        with self._first_waiting:
            look = _FIRST_LOOK_SECONDS
            while time.monotonic() >= self._open_until:
                before = self.steps
                if self._lock.acquire(timeout=look):
                    return True
                if self.steps - before < _MIN_STEPS_PER_SECOND * look:
                    self._open_until = time.monotonic() + _OPEN_SECONDS
                look = min(2 * look, _LONGEST_LOOK_SECONDS)
        return False

    def release(self) -> None:
        """Let the next thread in."""
        self._lock.release()


class Pass:
    """One thread's hold on a gate; a context at whose end the gate is released."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._held = False

    def step(self) -> None:
        """Begin a piece of short work, holding the gate if it can be had soon."""
        if not self._held:
            self._held = self._gate.acquire()
        if self._held:
            self._gate.steps += 1

    def release(self) -> None:
        """Release the gate until the next step, if this thread holds it."""
        if self._held:
            self._held = False
            self._gate.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
