"""Many pictures at once: to the last bit what each is alone."""

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

OF_PIXELS = [row for row in CATALOGUE.values() if row.need != "shape"]
ROWS = pytest.mark.parametrize("row", OF_PIXELS, ids=lambda row: row.name)


@st.composite
def stacks(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Pictures of one size, of shape (n, rows, columns, 3)."""
    rows, columns = draw(shapes(24))
    return np.stack(draw(st.lists(samples(rows, columns, 3), min_size=1, max_size=5)))


@ROWS
@given(stack=stacks())
def test_a_stack_is_its_pictures(row: Property, stack: NDArray[np.uint8]) -> None:
    """Each picture of a stack has the value that it has alone."""
    pixels = stack if row.need == "colours" else intensity_of(stack)
    before = pixels.copy()
    assert list(row.measure_batch(pixels)) == [row.kernel(picture) for picture in pixels]
    np.testing.assert_array_equal(pixels, before)


@ROWS
def test_neighbours_do_not_touch(row: Property) -> None:
    """Edges end at the edge of a picture, however strong the next one's are."""
    shape = (7, 9)
    board = (np.indices(shape).sum(0) % 2 * 255).astype(np.uint8)
    half = np.full(shape, 255, np.uint8)
    half[:, 4:] = 0
    grey = np.stack([np.zeros(shape, np.uint8), half, board, half[:, ::-1], 255 - board, half])
    pixels = np.stack([grey] * 3, axis=-1) if row.need == "colours" else grey
    assert list(row.measure_batch(pixels)) == [row.kernel(picture) for picture in pixels]


def test_intensities_of_a_stack() -> None:
    """The intensity of a stack is that of its pictures."""
    stack = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(intensity_of(stack), [intensity_of(one) for one in stack])


def test_large_stack() -> None:
    """Sums of a stack are exact beyond 32 bits."""
    stack = np.full((2, 300, 300), 255, np.uint8)
    stack[1, :, :150] = 0
    assert [CATALOGUE["contrast"].measure_batch(stack)] == [[0.0, 0.6375]]
    assert CATALOGUE["brightness"].measure_batch(stack) == [1.0, 0.5]


@pytest.mark.parametrize("count", [1, 127, 300])
def test_tiny_pictures_in_a_frame(tmp_path: Path, count: int) -> None:
    """Of hundreds of tiny pictures of a few sizes each row has its own values."""
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
    backwards = im.extract(frame.reverse(), "path", ["symmetry", "sharpness"]).reverse()
    assert im.unnest(backwards)["sharpness"].equals(im.unnest(together)["sharpness"])


def test_without_memory_for_many_they_are_measured_singly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack that does not fit into memory is no loss; a picture that does not is an error."""
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    frame = im.scan_images(tmp_path).collect()
    expected = im.extract(frame, "path")
    genuine = np.stack

    def stack(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        if len(pictures) > most:
            raise MemoryError
        return genuine(pictures)

    monkeypatch.setattr(np, "stack", stack)
    most = 1
    assert im.extract(frame, "path").equals(expected)
    most = 0
    failed = im.extract(frame, "path")
    assert im.errors(failed)["kind"].to_list() == ["too_large"] * 6
    assert im.unnest(failed)["width"].to_list() == [8] * 6
