"""Images on servers: parts of them, whatever the server makes of ranges."""

from __future__ import annotations

import io
import struct
import threading
import time
from dataclasses import dataclass, field

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
from polars_imgmeta.io.access import Access
from polars_imgmeta.io.remote import RangeSource
from polars_imgmeta.io.sources import BytesSource, Source
from polars_imgmeta.io.transfers import Part, Transfer

KILOBYTE = 1 << 10


@dataclass
class Memory:
    """A client whose one object is in memory, and that counts what it gives."""

    data: bytes
    ranges: bool = True
    asked: list[tuple[int, int]] = field(default_factory=list)
    tries: int = 0

    def read(self, url: str, transfer: Transfer, extent: tuple[int, int] | None) -> Part:
        """Give what is asked for, or all of it."""
        assert url == "memory"
        self.tries += 1
        position, length = extent if extent and self.ranges else (0, len(self.data))
        part = self.data[position : position + length]
        transfer.hold(len(part))
        self.asked.append((position, len(part)))
        return Part(part, position, len(self.data))

    @property
    def sent(self) -> int:
        """How many bytes it gave."""
        return sum(length for _, length in self.asked)

    def open(self) -> RangeSource:
        """Begin to read the object."""
        return RangeSource(self, "memory", Transfer(Access()))


@given(
    size=st.sampled_from([0, 1, 4096, 32_767, 32_768, 32_769, 200_000]),
    reads=st.lists(st.tuples(st.integers(0, 201_000), st.integers(0, 100_000)), max_size=12),
    ranges=st.booleans(),
)
def test_parts_are_slices(size: int, reads: list[tuple[int, int]], ranges: bool) -> None:  # noqa: FBT001
    """Every part is what a slice is, in whichever order parts are read."""
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
    """A header, or why there is none."""
    try:
        with source:
            return read_header(source)
    except exceptions.ImageError as error:
        return error.kind, str(error)


@given(encoded=encodings(), ranges=st.booleans())
def test_headers_are_the_same(encoded: Encoded, ranges: bool) -> None:  # noqa: FBT001
    """Of every format, whether an image is here or far away."""
    assert header_of(Memory(encoded.data, ranges).open()) == header_of(BytesSource(encoded.data))


@given(damaged=damaged_encodings())
def test_headers_of_damaged_images_tell_the_same_size(damaged: tuple[Encoded, bytes]) -> None:
    """What is damaged far behind may turn a picture, but nothing else differs."""
    data = damaged[1]
    far, near = header_of(Memory(data).open()), header_of(BytesSource(data))
    if isinstance(far, Header) and isinstance(near, Header):
        assert sorted(far.shape) == sorted(near.shape)
    else:
        assert far == near


@pytest.mark.parametrize("name", TYPICAL)
def test_a_header_takes_little(name: str) -> None:
    """Of the usual formats at most 64 KiB in a few requests, whatever is behind the pixels."""
    data = TYPICAL[name]()
    assert len(data) > 300 * KILOBYTE
    client = Memory(data)
    header = header_of(client.open())
    assert header == header_of(BytesSource(data))
    assert isinstance(header, Header)
    assert client.sent <= 64 * KILOBYTE
    assert len(client.asked) <= 6


def test_a_header_behind_much_takes_more() -> None:
    """Where the header needs it: in ever larger parts."""
    profile = b"p" * 600_000
    data = encode("JPEG", icc_profile=profile)
    client = Memory(data)
    header = header_of(client.open())
    assert isinstance(header, Header)
    assert header.shape == (1000, 1000)
    assert client.sent < len(data)
    assert len(client.asked) < 20


def test_an_image_that_changes_is_not_mixed() -> None:
    """Two parts of two versions are none of one."""
    client = Memory(bytes(100_000))
    with client.open() as source:
        client.data = bytes(99_999)
        with pytest.raises(exceptions.UnreachableError, match=r"^it changed while it was read$"):
            source.read(90_000, 10)


def test_a_header_in_a_thousand_places_is_fetched_whole() -> None:
    """A trap costs a bounded number of requests, and a few times its size."""
    count, far = 1000, 30 << 20
    places = [12 * count + 14 + number * 7919 % 3947 * 7000 for number in range(count)]
    tags = [(256, 3, 1, 10), (257, 3, 1, 10), (258, 3, 1, 8)]
    tags += [(300 + number, 2, 100, place) for number, place in enumerate(places[3:])]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    data = b"II*\0" + struct.pack("<IH", 8, count) + directory + bytes(far)
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
def test_a_header_of_whatever_is_damaged_takes_a_bounded_number_of_requests(
    encoded: tuple[Encoded, bytes],
) -> None:
    """And no more than a few times the bytes that there are."""
    client = Memory(encoded[1] + bytes(1 << 18))
    with client.open() as source:
        header_of(source)
    assert len(client.asked) < 70
    assert client.sent < 4 * len(client.data)


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> Budget:
    """Room for 100 bytes."""
    small = Budget(100)
    monkeypatch.setattr(DEFAULT, "transfer_bytes", small)
    return small


def waits(transfer: Transfer, size: int) -> threading.Thread:
    """A thread that waits for room."""
    thread = threading.Thread(target=transfer.hold, args=[size], daemon=True)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    return thread


@pytest.mark.usefixtures("budget")
def test_what_does_not_fit_waits() -> None:
    """Until others are done, however large it is; and that time does not count."""
    first, second = Transfer(Access(timeout=1000)), Transfer(Access(timeout=0.05))
    first.hold(60)
    thread = waits(second, 1000)
    first.release()
    thread.join(10)
    assert not thread.is_alive()
    assert second.seconds_left() > 0
    second.release()


@pytest.mark.usefixtures("budget")
def test_those_that_grow_do_not_wait_for_each_other() -> None:
    """One at a time grows beyond the budget, the others go on when it is done."""
    first, second = Transfer(Access()), Transfer(Access())
    first.hold(50)
    second.hold(50)
    first.hold(80)
    thread = waits(second, 70)
    first.release()
    thread.join(10)
    assert not thread.is_alive()
    second.release()


def test_growing_within_the_budget_stops_nobody(budget: Budget) -> None:
    """As long as there is room for all."""
    first, second = Transfer(Access()), Transfer(Access())
    for size in (10, 20, 30):
        first.hold(size)
        second.hold(size)
    for transfer in (first, second):
        transfer.release()
    assert budget._held == 0  # noqa: SLF001


def test_too_many_bytes_are_refused(budget: Budget) -> None:
    """Before any is read, and nothing stays held."""
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
    """Also between two tries."""
    transfer = Transfer(Access(timeout=0.05))
    assert not transfer.pause(1)
    assert transfer.pause(0.01)
    time.sleep(0.05)
    with pytest.raises(exceptions.UnreachableError, match=r"^it took longer than `timeout`"):
        transfer.seconds_left()


def test_what_nobody_wants_stops() -> None:
    """Even while it waits for another try."""
    stopped = threading.Event()
    transfer = Transfer(Access(), stopped)
    threading.Timer(0.05, stopped.set).start()
    with pytest.raises(exceptions.UnreachableError, match=r"^stopped$"):
        transfer.pause(30)
