"""The retry policy that the clients of http and cloud storage share."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom
from typing import TypeVar

from polars_imgmeta.io.transfers import Transfer

Result = TypeVar("Result")

# The seeded generator of `random` would give forked processes the same pauses.
_random = SystemRandom()


class TransientError(Exception):
    """A failure that a retry may overcome.

    Attributes:
        retry_after: The minimum pause that the server asked for, in seconds.
        max_retries: The maximum number of retries worth making for this failure.
        tries: The number of tries made, once the policy has given up.
    """

    def __init__(
        self, message: str, *, retry_after: float = 0.0, max_retries: float = math.inf
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.max_retries = max_retries
        self.tries = 1


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to retry, after exponentially growing pauses with full jitter.

    A pause is drawn uniformly between zero and its limit, so that clients that failed
    together do not retry together.

    Attributes:
        max_retries: The maximum number of retries.
        first_pause: The limit of the first pause, in seconds.
        longest_pause: The limit of any pause, in seconds.
        multiplier: The factor from the limit of one pause to that of the next.
        timeout: The seconds since the first try within which a retry must begin.
    """

    max_retries: float = 5
    first_pause: float = 0.5
    longest_pause: float = 10.0
    multiplier: float = 2.0
    timeout: float = math.inf

    def run(self, transfer: Transfer, attempt: Callable[[], Result]) -> Result:
        """Return what `attempt` returns, retrying it on a `TransientError`.

        Raises:
            TransientError: The last failure, if the retries or their time are used up.
            UnreachableError: If the transfer was stopped or its time is over.
        """
        deadline = time.monotonic() + self.timeout
        limit = self.first_pause
        for tries in itertools.count(1):
            try:
                return attempt()
            except TransientError as error:
                failure = error
            limit = min(limit, self.longest_pause)
            pause = max(_random.uniform(0, limit), failure.retry_after)
            exhausted = tries > min(self.max_retries, failure.max_retries)
            if exhausted or time.monotonic() + pause > deadline or not transfer.pause(pause):
                break
            limit *= self.multiplier
        failure.tries = tries
        raise failure
