"""The retry policy: how often it retries, and how long it pauses before."""

from __future__ import annotations

import pytest

from polars_imgmeta.io.access import Access
from polars_imgmeta.io.cloud.options import parse_options
from polars_imgmeta.io.retries import RetryPolicy, TransientError
from polars_imgmeta.io.transfers import Transfer


class Unhurried(Transfer):
    """A transfer that records its pauses instead of waiting."""

    def __init__(self) -> None:
        super().__init__(Access())
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> bool:
        """Record the pause."""
        self.pauses.append(seconds)
        return True


def pauses_of(policy: RetryPolicy, failure: TransientError) -> list[float]:
    """The pauses between the tries of an attempt that always fails."""

    def attempt() -> None:
        raise failure

    transfer = Unhurried()
    with pytest.raises(TransientError) as caught:
        policy.run(transfer, attempt)
    assert caught.value.tries == len(transfer.pauses) + 1
    return transfer.pauses


def test_backoff() -> None:
    """Pauses are random, and their limits grow by the multiplier up to the longest."""
    policy = RetryPolicy(first_pause=1.0, longest_pause=5.0)
    runs = [pauses_of(policy, TransientError("busy")) for _ in range(20)]
    for limit, pauses in zip([1, 2, 4, 5, 5], zip(*runs, strict=True), strict=True):
        assert 0 <= min(pauses) < limit / 2 < max(pauses) <= limit
        assert len(set(pauses)) == 20


def test_a_failure_limits_its_retries() -> None:
    """The failure may allow fewer retries than the policy, and demand a minimum pause."""
    assert len(pauses_of(RetryPolicy(), TransientError("busy", max_retries=1))) == 1
    assert pauses_of(RetryPolicy(), TransientError("busy", retry_after=30)) == [30] * 5


def test_a_success_ends_the_retries() -> None:
    """The result of the first attempt that succeeds is returned."""
    outcomes = iter([TransientError("busy"), "done"])

    def attempt() -> str:
        if isinstance(outcome := next(outcomes), TransientError):
            raise outcome
        return str(outcome)

    assert RetryPolicy().run(Unhurried(), attempt) == "done"


def test_no_retry_begins_after_the_timeout() -> None:
    """A pause that would end later is not made."""
    assert pauses_of(RetryPolicy(timeout=20), TransientError("busy", retry_after=30)) == []


def test_a_transfer_without_time_is_not_retried() -> None:
    """A pause that the transfer has no time for ends the retries at once."""
    failure = TransientError("busy", retry_after=30)

    def attempt() -> None:
        raise failure

    with pytest.raises(TransientError, match="busy"):
        RetryPolicy().run(Transfer(Access(timeout=1)), attempt)


def test_storage_options_configure_the_policy() -> None:
    """Each option sets its field, in seconds; the others keep their defaults."""
    assert parse_options(None)["s3"].retry_policy == RetryPolicy()
    options = {"max_retries": 3, "retry_timeout_ms": "5000", "retry_init_backoff_ms": 1500}
    options |= {"retry_max_backoff_ms": "2500", "retry_base_multiplier": 1.5}
    expected = RetryPolicy(3, first_pause=1.5, longest_pause=2.5, multiplier=1.5, timeout=5.0)
    for cloud in parse_options(options).values():  # type: ignore[arg-type] # numbers are allowed
        assert cloud.retry_policy == expected
