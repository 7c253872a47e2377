"""Remote images: reads of parts, with and without support for ranges."""

from __future__ import annotations

import io
import struct
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import Encoded, damaged_encodings, encodings
from typical import TYPICAL, encode

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.headers import Header, read_header
from polars_imgmeta.execution.budget import Budget
from polars_imgmeta.execution.runtime import DEFAULT
from polars_imgmeta.io import transfers
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.remote import RangeSource
from polars_imgmeta.io.sources import BytesSource, Source
from polars_imgmeta.io.transfers import Part, Transfer

KILOBYTE = 1 << 10


@dataclass
class Memory:
    """A client of one object in memory, which records its reads."""

    data: bytes
    ranges: bool = True
    facts: list[tuple[datetime | None, str | None]] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)
    tries: int = 0

    def read(self, url: str, transfer: Transfer, extent: tuple[int, int] | None) -> Part:
        """Return the part, or all of the object."""
        assert url == "memory"
        self.tries += 1
        position, length = extent if extent and self.ranges else (0, len(self.data))
        part = self.data[position : position + length]
        transfer.hold(len(part))
        self.asked.append((position, len(part)))
        declared = self.facts[min(self.tries, len(self.facts)) - 1] if self.facts else ()
        return Part(part, position, len(self.data), *declared)

    @property
    def sent(self) -> int:
        """The number of bytes returned."""
        return sum(length for _, length in self.asked)

    def open(self) -> RangeSource:
        """Open the object."""
        return RangeSource(self, "memory", Transfer(Access()))


@given(
    size=st.sampled_from([0, 1, 4096, 32_767, 32_768, 32_769, 200_000]),
    reads=st.lists(st.tuples(st.integers(0, 201_000), st.integers(0, 100_000)), max_size=12),
    ranges=st.booleans(),
)
def test_parts_are_slices(size: int, reads: list[tuple[int, int]], ranges: bool) -> None:  # noqa: FBT001
    """Every part equals a slice, in any order of reads."""
    data = np.random.default_rng(size).bytes(size)
    client = Memory(data, ranges)
    with client.open() as source:
        assert source.size == size
        assert source.start == data[: len(source.start)]
        assert len(source.start) >= min(size, 4096)
        for position, length in reads:
            assert source.read(position, length) == data[position : position + length]
        assert source.whole() == data
        with source.stream() as stream:
            assert stream.seek(-min(size, 5), io.SEEK_END) == max(0, size - 5)
            assert stream.read() == data[max(0, size - 5) :]
            assert stream.seek(3) == 3
            assert stream.read(70_000) == data[3:70_003]
    if not ranges:
        assert len(client.asked) == 1


def header_of(source: Source) -> Header | tuple[str, str]:
    """Return a header, or the kind and message of its error."""
    try:
        with source:
            return read_header(source)
    except exceptions.ImageError as error:
        return error.kind, str(error)


@given(encoded=encodings(), ranges=st.booleans())
def test_headers_are_the_same(encoded: Encoded, ranges: bool) -> None:  # noqa: FBT001
    """Headers of every format are the same for local and remote images.

    All but `plain_start`, which is unknown where parts of a file have not been read.
    """
    remote, local = (
        header_of(Memory(encoded.data, ranges).open()),
        header_of(BytesSource(encoded.data)),
    )
    if isinstance(remote, Header) and isinstance(local, Header):
        assert remote._replace(plain_start=b"") == local._replace(plain_start=b"")
    else:
        assert remote == local


@given(damaged=damaged_encodings())
def test_headers_of_damaged_images_have_the_same_size(damaged: tuple[Encoded, bytes]) -> None:
    """Damage far behind the header may change the orientation, but nothing else."""
    data = damaged[1]
    remote, local = header_of(Memory(data).open()), header_of(BytesSource(data))
    if isinstance(remote, Header) and isinstance(local, Header):
        assert sorted(remote.shape) == sorted(local.shape)
    else:
        assert remote == local


@pytest.mark.parametrize("name", TYPICAL)
def test_a_header_takes_little(name: str) -> None:
    """A header of a common format takes at most 64 KiB in a few requests."""
    data = TYPICAL[name]()
    assert len(data) > 300 * KILOBYTE
    client = Memory(data)
    header = header_of(client.open())
    assert header == header_of(BytesSource(data))
    assert isinstance(header, Header)
    assert client.sent <= 64 * KILOBYTE
    assert len(client.asked) <= 6


def test_a_header_behind_large_metadata() -> None:
    """A header behind large metadata is read in growing parts."""
    profile = b"p" * 600_000
    data = encode("JPEG", icc_profile=profile)
    client = Memory(data)
    header = header_of(client.open())
    assert isinstance(header, Header)
    assert header.shape == (1000, 1000)
    assert client.sent < len(data)
    assert len(client.asked) < 20


def test_an_image_that_changes_is_not_mixed() -> None:
    """An object whose size changes between two reads is an error."""
    client = Memory(bytes(100_000))
    with client.open() as source:
        client.data = bytes(99_999)
        with pytest.raises(exceptions.UnreachableError, match=r"^it changed while it was read$"):
            source.read(90_000, 10)


TIME = datetime(2015, 10, 21, tzinfo=UTC)
Validators = tuple[datetime | None, str | None]


@pytest.mark.parametrize("position", [50_000, 0], ids=["range", "whole"])
@pytest.mark.parametrize(
    ("answers", "same"),
    [
        ([(TIME, "a"), (None, None), (TIME, "a")], True),
        ([(None, None), (TIME, "a"), (TIME, "a")], True),
        ([(TIME, "a"), (TIME + timedelta(1), "a")], True),
        ([(TIME, None), (TIME, "a")], True),
        ([(TIME, "a"), (TIME, "b")], False),
        ([(TIME, "a"), (None, "b")], False),
        ([(None, None), (None, "a"), (None, "b")], False),
        ([(TIME, None), (TIME + timedelta(1), None)], False),
        ([(TIME, "a"), (TIME + timedelta(1), None)], False),
    ],
)
def test_only_declared_facts_are_compared(
    position: int, answers: list[Validators], *, same: bool
) -> None:
    """A server may declare facts sometimes; those that contradict are of another version."""
    client = Memory(bytes(200_000), facts=answers)
    with client.open() as source:
        if same:
            for number in range(1, len(answers)):
                assert source.read(position + number * 20_000, 30_000) == bytes(30_000)
            time = next(time for time, _ in answers if time)
            assert source.facts == (200_000, time, "a")
            assert len(client.asked) == len(answers)
            return
        for number in range(1, len(answers) - 1):
            source.read(position + number * 20_000, 30_000)
        with pytest.raises(exceptions.UnreachableError, match=r"^it changed while it was read$"):
            source.read(position and 150_000, 30_000) if position else source.whole()


def test_a_scattered_header_is_fetched_whole() -> None:
    """A malicious header costs a bounded number of requests, and a few times the object's size."""
    count, padding = 1000, 30 << 20
    places = [12 * count + 14 + number * 7919 % 3947 * 7000 for number in range(count)]
    tags = [(256, 3, 1, 10), (257, 3, 1, 10), (258, 3, 1, 8)]
    tags += [(300 + number, 2, 100, place) for number, place in enumerate(places[3:])]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    data = b"II*\0" + struct.pack("<IH", 8, count) + directory + bytes(padding)
    client = Memory(data)
    with client.open() as source:
        assert read_header(source).shape == (10, 10)
    assert len(client.asked) < 70
    assert client.sent < 4 * len(data)
    client = Memory(data)
    with RangeSource(client, "memory", Transfer(Access(max_bytes=1 << 20))) as source:
        assert isinstance(header_of(source), Header)  # these tags do not matter
    assert client.tries < 70
    assert client.sent < 2 << 20


@given(encoded=damaged_encodings())
def test_a_damaged_header_takes_a_bounded_number_of_requests(
    encoded: tuple[Encoded, bytes],
) -> None:
    """The header of a damaged image costs a few times its bytes at most."""
    client = Memory(encoded[1] + bytes(1 << 18))
    with client.open() as source:
        header_of(source)
    assert len(client.asked) < 70
    assert client.sent < 4 * len(client.data)


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Budget:
    """Replace the budget by one of 100 bytes."""
    small = Budget(100)
    monkeypatch.setattr(DEFAULT, "transfer_bytes", small)
    return small


def waits(transfer: Transfer, size: int) -> threading.Thread:
    """Start a thread that blocks in `hold`."""
    thread = threading.Thread(target=transfer.hold, args=[size], daemon=True)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    return thread


def test_a_transfer_beyond_the_budget_waits(
    budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transfer that does not fit waits for others, and its timeout is paused meanwhile."""
    now = 0.0
    monkeypatch.setattr(transfers, "time", SimpleNamespace(monotonic=lambda: now))
    first, second = Transfer(Access()), Transfer(Access(timeout=5))
    first.hold(60)
    thread = waits(second, 1000)
    while not budget._queue:  # noqa: SLF001
        time.sleep(0.001)
    now = 1000.0
    first.release()
    thread.join(30)
    assert not thread.is_alive()
    assert second.seconds_left() == 5
    second.release()


@pytest.mark.usefixtures("budget")
def test_growing_transfers_do_not_deadlock() -> None:
    """One transfer at a time grows beyond the budget; the others continue when it is done."""
    first, second = Transfer(Access()), Transfer(Access())
    first.hold(50)
    second.hold(50)
    first.hold(80)
    thread = waits(second, 70)
    first.release()
    thread.join(30)
    assert not thread.is_alive()
    second.release()


def test_growing_within_the_budget_does_not_wait(budget: Budget) -> None:
    """Transfers that grow within the budget do not wait."""
    first, second = Transfer(Access()), Transfer(Access())
    for size in (10, 20, 30):
        first.hold(size)
        second.hold(size)
    for transfer in (first, second):
        transfer.release()
    assert budget._held == 0  # noqa: SLF001


def test_too_many_bytes_are_refused(budget: Budget) -> None:
    """A size above the maximum is refused, and nothing stays held."""
    transfer = Transfer(Access(max_bytes=10))
    transfer.hold(10)
    with pytest.raises(
        exceptions.TooLargeError, match=r"^more bytes than `max_bytes`, which is 10$"
    ):
        transfer.hold(11)
    transfer.release()
    transfer.release()
    assert budget._held == 0  # noqa: SLF001


def test_time_runs_out() -> None:
    """The time limit includes pauses."""
    transfer = Transfer(Access(timeout=2))
    assert not transfer.pause(3)
    assert transfer.pause(0.01)
    time.sleep(2)
    with pytest.raises(exceptions.UnreachableError, match=r"^it took longer than `timeout`"):
        transfer.seconds_left()


def test_a_stop_ends_a_pause() -> None:
    """A stop ends a pause."""
    stopped = threading.Event()
    transfer = Transfer(Access(), stopped)
    threading.Timer(0.05, stopped.set).start()
    with pytest.raises(exceptions.UnreachableError, match=r"^stopped$"):
        transfer.pause(30)
