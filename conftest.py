"""What every example and test finds: the usual names, and a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from faults import serving
from hypothesis import settings

import polars_imgmeta as im
from polars_imgmeta.cli.samples import make_samples

settings.register_profile("fast", max_examples=10, deadline=None)
settings.register_profile("ci", max_examples=60, deadline=None)
settings.register_profile("deep", max_examples=2_000, deadline=None)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the sample images, under both names that pages use."""
    folder = tmp_path_factory.mktemp("samples")
    make_samples(folder / "photos")
    make_samples(folder / "imgmeta-samples")
    return folder


@pytest.fixture(autouse=True)
def _doctest_names(
    request: pytest.FixtureRequest, doctest_namespace: dict[str, Any], sample_folder: Path
) -> None:
    """Let the examples of docstrings and pages run as they stand."""
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("monkeypatch").chdir(sample_folder)
        doctest_namespace.update(pl=pl, im=im, np=np)
        if request.node.name == "locators.md":
            doctest_namespace.update(site=request.getfixturevalue("site"))


@pytest.fixture
def site(sample_folder: Path) -> Iterator[str]:
    """A web server of the sample images."""
    files = {f"/{file.name}": file.read_bytes() for file in (sample_folder / "photos").iterdir()}
    with serving(files) as server:
        yield server.url("")
