"""Sources: the same bytes from memory and from files."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polars_imgmeta as im
from polars_imgmeta import exceptions
from polars_imgmeta.io import sources
from polars_imgmeta.io.sources import BytesSource, FileSource, Source


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a temporary file."""
    return tmp_path_factory.mktemp("sources") / "file"


@given(
    size=st.sampled_from([0, 1, 4095, 4096, 4097, 10_000]),
    position=st.integers(0, 10_010),
    length=st.integers(0, 10_010),
    at_once=st.sampled_from([7_000, 1 << 30]),
)
def test_parts(file: Path, size: int, position: int, length: int, at_once: int) -> None:
    """Every part of a file and of bytes in memory equals a slice."""
    data = bytes(number * 7 % 251 for number in range(size))
    file.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_MAX_READ_BYTES", at_once)
        for source in (FileSource(str(file)), BytesSource(data)):
            with source:
                check(source, data)
                assert source.read(position, length) == data[position : position + length]
                check(source, data)


def check(source: Source, data: bytes) -> None:
    """Check everything that does not depend on a position."""
    assert source.size == len(data)
    assert source.start == data[:4096]
    assert source.whole() == data
    with source.stream() as stream:
        assert stream.tell() == 0
        assert stream.read() == data
        assert stream.seek(3) == 3
        assert stream.read(5) == data[3:8]


def test_without_pread(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systems without `pread` seek first."""
    file.write_bytes(b"0123456789" * 1000)
    monkeypatch.setattr(sources, "_read_at", sources._seek_and_read)  # noqa: SLF001
    with FileSource(str(file)) as source:
        assert source.read(5003, 4) == b"3456"
        assert source.whole() == file.read_bytes()


@pytest.fixture
def without_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a file system that declares a size of zero."""
    genuine = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        fields = list(genuine(descriptor))
        fields[6] = 0
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", fstat)


@pytest.mark.usefixtures("without_sizes")
@pytest.mark.parametrize("size", [1, 4000, 4096, 9000, 3_000_000])
def test_an_undeclared_size(file: Path, size: int) -> None:
    """The content counts if the declared size is zero."""
    file.write_bytes(b"x" * size)
    with FileSource(str(file)) as source:
        assert source.size == size or (size >= 4096 and source.size > 1 << 40)
        assert source.read(1, 5) == b"x" * min(5, size - 1)
        assert source.whole() == b"x" * size


@pytest.mark.usefixtures("without_sizes")
def test_a_file_of_unknown_size_has_a_read_limit(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of unknown size is decoded only with a valid header, and read up to a limit."""
    monkeypatch.setattr(sources, "_MAX_UNKNOWN_SIZE", 2_000_000)
    file.write_bytes(b"x" * 3_000_000)
    with FileSource(str(file)) as source, pytest.raises(exceptions.TooLargeError):
        source.whole()
    frame = pl.DataFrame({"path": [str(file)]})
    assert im.errors(im.extract(frame, "path", "width"))["kind"].to_list() == ["unsupported"]
    file.write_bytes(cv2.imencode(".png", np.zeros((900, 800, 3), np.uint8))[1].tobytes())
    assert im.errors(im.extract(frame, "path")).is_empty()


def test_an_endless_file_is_not_read() -> None:
    """A file of the kernel that declares a size of zero and is huge is not read."""
    frame = pl.DataFrame({"path": ["/proc/self/pagemap"]})
    assert im.errors(im.extract(frame, "path"))["kind"].to_list() == ["unsupported"]


def test_a_truncated_file(file: Path) -> None:
    """A truncated file yields the bytes that are left."""
    file.write_bytes(b"x" * 9000)
    with FileSource(str(file)) as source:
        file.write_bytes(b"x" * 5000)
        assert source.whole() == b"x" * 5000
        assert source.read(6000, 10) == b""


def test_a_failure_closes_the_file(tmp_path: Path) -> None:
    """A failure after opening, as of a directory, closes the file."""
    before = os.dup(0)
    os.close(before)
    with pytest.raises(IsADirectoryError):
        FileSource(str(tmp_path))
    after = os.dup(0)
    os.close(after)
    assert after == before
