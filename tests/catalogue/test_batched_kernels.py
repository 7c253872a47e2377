"""Batched kernels: equal to the kernels, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from strategies import samples, shapes

import polars_imgmeta as im
from polars_imgmeta.catalogue.registry import CATALOGUE, Property
from polars_imgmeta.decoding.pictures import intensity_of

OF_PIXELS = [row for row in CATALOGUE.values() if row.needs in {"intensity", "picture"}]
ROWS = pytest.mark.parametrize("row", OF_PIXELS, ids=lambda row: row.name)


@st.composite
def batches(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Draw pictures of one size, of shape (n, rows, columns, 3)."""
    rows, columns = draw(shapes(24))
    return np.stack(draw(st.lists(samples(rows, columns, 3), min_size=1, max_size=5)))


@ROWS
@given(batch=batches())
def test_batch_equals_its_pictures(row: Property, batch: NDArray[np.uint8]) -> None:
    """Each picture of a batch has the value of its kernel, and the batch is not modified."""
    pixels = batch if row.needs == "picture" else intensity_of(batch)
    before = pixels.copy()
    assert list(row.measure_batch(pixels)) == [row.kernel(picture) for picture in pixels]
    np.testing.assert_array_equal(pixels, before)


@ROWS
def test_edges_end_at_the_picture(row: Property) -> None:
    """Edges of a picture do not continue into its neighbours in the batch."""
    shape = (7, 9)
    board = (np.indices(shape).sum(0) % 2 * 255).astype(np.uint8)
    half = np.full(shape, 255, np.uint8)
    half[:, 4:] = 0
    grey = np.stack([np.zeros(shape, np.uint8), half, board, half[:, ::-1], 255 - board, half])
    pixels = np.stack([grey] * 3, axis=-1) if row.needs == "picture" else grey
    assert list(row.measure_batch(pixels)) == [row.kernel(picture) for picture in pixels]


def test_intensity_of_batch() -> None:
    """The intensity of a batch is that of its pictures."""
    batch = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(intensity_of(batch), [intensity_of(picture) for picture in batch])


def test_large_pictures() -> None:
    """Sums of a batch are exact beyond 32 bits."""
    batch = np.full((2, 300, 300), 255, np.uint8)
    batch[1, :, :150] = 0
    assert [CATALOGUE["contrast"].measure_batch(batch)] == [[0.0, 0.6375]]
    assert CATALOGUE["brightness"].measure_batch(batch) == [1.0, 0.5]


@pytest.mark.parametrize("count", [1, 127, 300])
def test_tiny_pictures_in_a_frame(tmp_path: Path, count: int) -> None:
    """Tiny pictures of several sizes have the same values in a batch and alone."""
    rng = np.random.default_rng(count)
    for number in range(count):
        rows, columns = [(8, 8), (5, 9), (9, 5)][number % 3]
        noise = rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number:03}.png")
        if number % 50 == 7:
            (tmp_path / f"{number:03}.png").write_bytes(b"broken")
    frame = im.scan_images(tmp_path).collect()
    together = im.extract(frame, "path")
    alone = pl.concat([im.extract(frame[i : i + 1], "path") for i in range(count)])
    assert together.equals(alone)
    assert len(im.errors(together)) == len(range(7, count, 50))
    reversed_rows = im.extract(frame.reverse(), "path", ["symmetry", "sharpness"]).reverse()
    assert im.unnest(reversed_rows)["sharpness"].equals(im.unnest(together)["sharpness"])


def test_batch_does_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a batch does not fit into memory, its pictures are measured one by one."""
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    frame = im.scan_images(tmp_path).collect()
    expected = im.extract(frame, "path")
    original = np.stack

    def stack(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        if len(pictures) > limit:
            raise MemoryError
        return original(pictures)

    monkeypatch.setattr(np, "stack", stack)
    limit = 1
    assert im.extract(frame, "path").equals(expected)
    limit = 0
    failed = im.extract(frame, "path")
    assert im.errors(failed)["kind"].to_list() == ["too_large"] * 6
    assert im.unnest(failed)["width"].to_list() == [8] * 6
