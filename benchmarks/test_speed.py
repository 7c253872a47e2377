"""Kernels and whole extractions, to compare two versions of the code.

    pytest benchmarks --benchmark-autosave
    pytest benchmarks --benchmark-compare

Not part of the test suite: no time is a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import polars as pl
import pytest
import sets

import polars_imgmeta as im
from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.decoding.pictures import intensity_of
from polars_imgmeta.typing import GroupName

Benchmark: TypeAlias = Callable[..., object]

_SIZES = {"tiny": (32, 32, 400), "photo": (480, 640, 100), "large": (3000, 4000, 4)}
_OF_PIXELS = [name for name, row in CATALOGUE.items() if row.needs in {"intensity", "picture"}]


@pytest.fixture(scope="session", params=_SIZES)
def photos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Write generated JPEG pictures of one size."""
    rows, columns, count = _SIZES[request.param]
    return sets.write(tmp_path_factory.mktemp(request.param), count, rows, columns)


@pytest.mark.benchmark(group="kernels")
@pytest.mark.parametrize("size", _SIZES)
@pytest.mark.parametrize("name", _OF_PIXELS)
def test_kernel(benchmark: Benchmark, name: str, size: str) -> None:
    """Time a kernel on one picture."""
    rows, columns, _ = _SIZES[size]
    colours = sets.draw(rows, columns, np.random.default_rng(0))
    row = im.CATALOGUE[name]
    cv2.setNumThreads(1)
    benchmark(row.kernel, colours if row.needs == "picture" else intensity_of(colours))


@pytest.mark.benchmark(group="batched kernels")
@pytest.mark.parametrize("name", _OF_PIXELS)
def test_batched_kernel(benchmark: Benchmark, name: str) -> None:
    """Time a batched kernel on 100 tiny pictures."""
    generator = np.random.default_rng(0)
    colours = np.stack([sets.draw(32, 32, generator) for _ in range(100)])
    row = im.CATALOGUE[name]
    cv2.setNumThreads(1)
    benchmark(row.measure_batch, colours if row.needs == "picture" else intensity_of(colours))


@pytest.mark.benchmark(group="extractions")
@pytest.mark.parametrize("properties", ["geometry", "standard"])
def test_extract(benchmark: Benchmark, properties: GroupName, photos: list[str]) -> None:
    """Time an extraction of an eager frame."""
    frame = pl.DataFrame({"path": photos})
    benchmark(im.extract, frame, "path", properties)


@pytest.mark.benchmark(group="extractions")
def test_sink(benchmark: Benchmark, photos: list[str], tmp_path: Path) -> None:
    """Time a streamed extraction from Parquet to Parquet."""
    pl.DataFrame({"path": photos}).write_parquet(tmp_path / "in.parquet", row_group_size=100)
    plan = im.extract(pl.scan_parquet(tmp_path / "in.parquet"), "path")
    benchmark(im.sink_parquet, plan, tmp_path / "out.parquet")
