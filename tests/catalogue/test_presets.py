"""Definitions of other tools, value by value against these tools.

They are installed into environments of their own in the cache of pytest, so that what they
depend on does not mix with what is tested. Encord Active is not among them: no package of it is
published for the versions of Python that are supported here. Its metrics are compared with their
published definition instead, executed by NumPy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import conformance
import numpy as np
import other_tools
import polars as pl
import pytest
from hypothesis import given
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from strategies import pictures

import polars_imgmeta as im
from polars_imgmeta.catalogue.presets import cleanvision, deepchecks, encord, fastdup, skimage

BLUE, GREEN, RED = range(3)
# fastdup refuses pictures of fewer rows or columns.
FASTDUP_MIN_SIDE = 10
THRESHOLDS = {
    "dark": 0.32,
    "light": 0.05,
    "low_information": 0.3,
    "blurry": 0.29,
    "odd_aspect_ratio": 0.35,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures."""
    root = tmp_path_factory.mktemp("pictures")
    for name, picture in drawn().items():
        Image.fromarray(picture).save(root / f"{name}.png")
    return root


def drawn() -> dict[str, NDArray[np.uint8]]:
    """Return pictures by name: of many shapes, dark, light, plain, noisy and blurred."""
    rng = np.random.default_rng(0)
    shown = {}
    shapes = [(64, 64), (9, 200), (300, 40), (131, 97), (480, 640), (7, 5), (3, 50), (224, 225)]
    for number, shape in enumerate(shapes):
        noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        shown[f"noise-{number}"] = noise
        shown[f"dark-{number}"] = noise // 8
        shown[f"light-{number}"] = 255 - noise // 60
        slope = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 256
        shown[f"slope-{number}"] = np.dstack([slope, slope // 2, 255 - slope]).astype(np.uint8)
        shown[f"plain-{number}"] = np.full((*shape, 3), (7, 99, 180), np.uint8)
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("peer", other_tools.PRESETS, ids=lambda peer: peer.packages[0])
def test_values_of_the_tools(
    peer: other_tools.Peer,
    folder: Path,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Every preset has the value of its tool, in every picture that the tool accepts."""
    python = other_tools.python_of(peer, pytestconfig, tmp_path_factory)
    _, found = peer.run(python, folder)
    refused = {name for name, row in found.items() if other_tools.ERROR in row}
    small = {
        f"{name}.png" for name, one in drawn().items() if min(one.shape[:2]) < FASTDUP_MIN_SIDE
    }
    assert refused == (small if peer is other_tools.FASTDUP else set())
    assert peer.group
    names = {name for row in found.values() for name in row if name in im.CATALOGUE}
    assert set(im.GROUPS[peer.group]) <= names
    frame = im.scan_images(folder).collect()
    rows = im.unnest(im.extract(frame, "path", sorted(names), on_error="raise"))
    assert len(rows) == len(found) == len(drawn())
    for row in rows.iter_rows(named=True):
        theirs = found[Path(row["path"]).name]
        for name in names & theirs.keys():
            assert other_tools.agrees(row[name], theirs[name], peer.tolerance), (row["path"], name)
    if peer is other_tools.CLEANVISION:
        check_verdicts(rows, found)


def check_verdicts(rows: pl.DataFrame, found: dict[str, dict[str, Any]]) -> None:
    """By CleanVision's thresholds its scores lead to its verdicts, of which there are both."""
    verdicts = set()
    for row in rows.iter_rows(named=True):
        theirs = found[Path(row["path"]).name]["verdicts"]
        for issue, threshold in THRESHOLDS.items():
            verdict = row[f"cleanvision_{issue}"] < threshold
            assert verdict == theirs[issue], (row["path"], issue)
            verdicts.add((issue, verdict))
    assert len(verdicts) == 2 * len(THRESHOLDS)


@given(pictures())
def test_percentiles(picture: NDArray[np.uint8]) -> None:
    """Dark and light are percentiles of NumPy's."""
    blue, green, red = np.moveaxis(picture.astype(np.float64), 2, 0)
    brightness = np.sqrt(0.241 * red**2 + 0.691 * green**2 + 0.068 * blue**2) / 255
    low, high = np.percentile(brightness, [5, 99])
    assert cleanvision.cleanvision_dark(picture) == pytest.approx(high, abs=1e-12)
    assert cleanvision.cleanvision_light(picture) == pytest.approx(1 - low, abs=1e-12)


def test_odd_sizes(tmp_path: Path) -> None:
    """The rule of CleanVision for odd sizes is an expression over the column."""
    names = conformance.write_pictures(tmp_path)
    frame = pl.DataFrame({"path": [str(tmp_path / name) for name in names]})
    size = pl.col("cleanvision_size")
    low, high = (size.quantile(part, "linear") for part in (0.25, 0.75))
    odd = (size < low - 3 * (high - low)) | (size > high + 3 * (high - low))
    rows = im.unnest(im.extract(frame, "path", "cleanvision")).filter(odd)
    assert [Path(path).name for path in rows["path"]] == ["noise.png", "large.png"]


@given(pictures())
def test_deepchecks(picture: NDArray[np.uint8]) -> None:
    """Luminance and relative intensities are those of NumPy in floats."""
    luminance = picture.astype(np.float64) @ [0.0721, 0.7154, 0.2125]
    assert deepchecks.deepchecks_brightness(picture) == pytest.approx(luminance.mean(), abs=1e-9)
    assert deepchecks.deepchecks_rms_contrast(picture) == pytest.approx(luminance.std(), abs=1e-6)
    sums = picture.sum(axis=2, dtype=np.float64)
    ratios = picture / np.where(sums, sums, 1)[..., np.newaxis]
    found = [
        deepchecks.deepchecks_mean_blue_relative_intensity(picture),
        deepchecks.deepchecks_mean_green_relative_intensity(picture),
        deepchecks.deepchecks_mean_red_relative_intensity(picture),
    ]
    assert found == pytest.approx(ratios.mean(axis=(0, 1)).tolist(), abs=1e-9)


def laplacian(samples: NDArray[Any]) -> NDArray[Any]:
    """Return four neighbours minus four times each sample, mirrored about the outermost ones."""
    for axis in (0, 1):
        if samples.shape[axis] == 1:  # its own neighbour
            samples = samples.repeat(3, axis)
        else:
            padding = [(1, 1) if one == axis else (0, 0) for one in range(samples.ndim)]
            samples = np.pad(samples, padding, "reflect")
    middle = samples[1:-1, 1:-1]
    sides = samples[:-2, 1:-1], samples[2:, 1:-1], samples[1:-1, :-2], samples[1:-1, 2:]
    return np.asarray(sum(sides) - 4 * middle)


@given(pictures())
def test_encord(picture: NDArray[np.uint8]) -> None:
    """They are what Encord's documentation says, of all channels together."""
    samples = picture.astype(np.float64)
    assert encord.encord_brightness(picture) == pytest.approx(samples.mean() / 255, abs=1e-9)
    assert encord.encord_contrast(picture) == pytest.approx(samples.std() / 255, abs=1e-9)
    expected = laplacian(samples).var()
    assert encord.encord_sharpness(picture) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(pictures(longest=300))
def test_fastdup(picture: NDArray[np.uint8]) -> None:
    """Statistics are those of NumPy, of the pixels at the centres of the cells of a grid."""
    if max(picture.shape[:2]) > 224:
        down, across = (
            [(2 * cell + 1) * side // 448 for cell in range(224)] for side in picture.shape[:2]
        )
        picture_seen = picture[np.ix_(down, across)]
    else:
        picture_seen = picture
    samples = picture_seen.astype(np.float64)
    deviations = samples.reshape(-1, 3).std(axis=0)
    low, high = samples.min(), samples.max()
    assert fastdup.fastdup_mean(picture) == pytest.approx(samples.mean(), abs=1e-9)
    assert fastdup.fastdup_stdv(picture) == pytest.approx(deviations.mean(), abs=1e-6)
    assert (fastdup.fastdup_min(picture), fastdup.fastdup_max(picture)) == (low, high)
    contrast = (high - low) / (high + low) if high else 0
    assert fastdup.fastdup_contrast(picture) == pytest.approx(contrast, abs=1e-9)
    assert fastdup.fastdup_unique(picture) == len(np.unique(samples))
    blur = laplacian(samples[..., BLUE]).var()
    assert fastdup.fastdup_blur(picture) == pytest.approx(blur, rel=1e-9, abs=1e-6)


@given(pictures())
def test_blur_effect(picture: NDArray[np.uint8]) -> None:
    """It is the definition, with a window of the mean that is mirrored beyond the border."""
    rows, columns = picture.shape[:2]
    found = skimage.skimage_blur_effect(picture)
    if min(rows, columns) < 4:
        assert found is None
        return
    weights = [721, 7154, 2125]
    luminance = picture.astype(np.int64) @ weights
    effects = []
    for values in (luminance, luminance.T):
        length = values.shape[0]
        mirrored = [
            min(at % (2 * length), 2 * length - 1 - at % (2 * length))
            for at in range(-5, length + 5)
        ]
        window = sum(values[mirrored[part : part + length]] for part in range(11))

        def gradient(of: NDArray[Any]) -> NDArray[Any]:
            steps = of[2:] - of[:-2]
            smooth = steps[:, :-2] + 2 * steps[:, 1:-1] + steps[:, 2:]
            return np.asarray(np.abs(smooth)[1:, 1:])  # from the third pixel to the last but one

        sharp, blurred = 11 * gradient(values), gradient(np.asarray(window))
        left = np.maximum(0, sharp - blurred).sum() / sharp.sum() if sharp.any() else 0
        effects.append(1 - left)
    assert found == pytest.approx(max(effects), abs=1e-9)


def test_blur_effect_of_blocks() -> None:
    """Pictures of many rows, which are read in blocks, have the values of small ones."""
    tile = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    short, long = (np.tile(tile, (count, 40, 1)) for count in (40, 400))
    blurred = np.asarray(Image.fromarray(short).filter(ImageFilter.GaussianBlur(4)))
    values = [skimage.skimage_blur_effect(picture) or 0 for picture in (short, long, blurred)]
    assert values[0] == pytest.approx(values[1], abs=0.01)
    assert values[2] > values[0] + 0.2
