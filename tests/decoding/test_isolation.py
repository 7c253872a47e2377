"""Isolation: decoders are silent, other threads and libraries are unaffected."""

from __future__ import annotations

import ctypes
import io
import struct
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageFile, UnidentifiedImageError

import polars_imgmeta as im
from polars_imgmeta.decoding.headers import read_header
from polars_imgmeta.decoding.isolation import isolated
from polars_imgmeta.decoding.opencv import cv2, get_log_level, set_log_level
from polars_imgmeta.io.sources import BytesSource

LIBC = ctypes.CDLL(None)
LIBC.fputs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]


def write_to_stderr(text: str) -> None:
    """Write to C's `stderr`, as C libraries do."""
    LIBC.fputs(text.encode() + b"\n", ctypes.c_void_p.in_dll(LIBC, "stderr").value)
    LIBC.fflush(None)


def noisy_images(folder: Path) -> list[str]:
    """Write images about which libpng, libjpeg, libtiff, OpenCV and Pillow print warnings."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    paths = []
    encodings: dict[str, dict[str, Any]] = {
        "png": {},
        "jpeg": {"progressive": True},
        "tiff": {"compression": "tiff_adobe_deflate"},
        "webp": {"lossless": True},
        "gif": {},
    }
    for name, options in encodings.items():
        file = io.BytesIO()
        image.save(file, name, **options)
        data = file.getvalue()
        half = len(data) // 2
        for number, damaged in enumerate(
            (data[:half], data[:half] + b"\0" * 9 + data[half:], data[:half] + data[half + 40 :])
        ):
            path = folder / f"{number}.{name}"
            path.write_bytes(damaged)
            paths.append(str(path))
    file = io.BytesIO()
    image.convert("1").save(file, "TIFF", compression="group4")
    data = file.getvalue()
    path = folder / "fax.tiff"
    path.write_bytes(data[:200] + b"\xff" * 99 + data[299:])
    return [*paths, str(path)]


def test_nothing_is_written_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Damaged images give rows with errors, and no output."""
    frame = pl.DataFrame({"path": noisy_images(tmp_path)})
    result = im.extract(frame, "path")
    assert len(im.errors(result)) > 8
    assert capfd.readouterr() == ("", "")


def test_the_images_print_without_isolation(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Outside isolation the same images print warnings, also once they have been silent."""
    paths = noisy_images(tmp_path)
    im.extract(pl.DataFrame({"path": paths}), "path")
    assert capfd.readouterr().err == ""
    for path in paths:
        cv2.imread(path)
    Image.open(paths[-1]).load()
    LIBC.fflush(None)
    printed = capfd.readouterr().err
    assert "libpng" in printed
    assert "Corrupt JPEG" in printed
    assert "Fax4Decode" in printed  # libtiff within Pillow


@pytest.mark.slow
def test_an_extension_that_prints_under_the_interpreters_lock_cannot_deadlock(
    tmp_path: Path,
) -> None:
    """It waits for the lock of its stream, which no decoder holds."""
    code = (
        "import ctypes, sys, threading\n"
        "import polars_imgmeta\n"
        "from polars_imgmeta.decoding.isolation import isolated\n"
        "from polars_imgmeta.decoding.opencv import cv2\n"
        "libc = ctypes.PyDLL(None)  # holds the lock\n"
        "libc.fputs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]\n"
        "stderr = ctypes.c_void_p.in_dll(libc, 'stderr')\n"
        "done, decoded = threading.Event(), threading.Semaphore(0)\n"
        "def decode():\n"
        "    with isolated():\n"
        "        while not done.is_set():\n"
        "            for path in sys.argv[1:]: cv2.imread(path)\n"
        "            decoded.release()\n"
        "threads = [threading.Thread(target=decode, daemon=True) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "for _ in range(20):\n"
        "    for _ in range(500): libc.fputs(b'of another extension\\n', stderr.value)\n"
        "    decoded.acquire()\n"
        "done.set()\n"
        "for thread in threads: thread.join()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *noisy_images(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stderr == "of another extension\n" * 10_000


def test_pillow_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A TIFF of too many samples, about which Pillow logs an error, is silent too."""
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "TIFF")
    tag = struct.pack("<HHIHH", 277, 3, 1, 3, 0)
    data = file.getvalue()
    assert tag in data
    data = data.replace(tag, struct.pack("<HHIHH", 277, 3, 1, 9999, 0))
    assert read_header(BytesSource(data)).shape == (2, 2)
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(data))
    assert [record.message for record in caplog.records] == [
        "More samples per pixel than can be decoded: 9999"
    ]


def test_other_threads_are_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """While one thread decodes, warnings and output of another thread pass."""
    inside, done = threading.Event(), threading.Event()
    paths = noisy_images(tmp_path)

    def decode() -> None:
        with isolated():
            warnings.warn("of a decoder", UserWarning, stacklevel=1)
            cv2.imread(paths[1])
            inside.set()
            assert done.wait(30)
            cv2.imread(paths[1])

    decoder = threading.Thread(target=decode)
    decoder.start()
    assert inside.wait(30)
    write_to_stderr("of another thread")
    with pytest.warns(UserWarning, match="of another thread"):
        warnings.warn("of another thread", UserWarning, stacklevel=1)
    done.set()
    decoder.join()
    write_to_stderr("afterwards")
    assert capfd.readouterr().err == "of another thread\nafterwards\n"


def test_other_threads_see_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's global settings apply to all threads that do not decode."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "WEBP", lossless=True)
    large = file.getvalue()
    file = io.BytesIO()
    Image.fromarray(noise[:9, :9]).save(file, "PNG")
    truncated = file.getvalue()[:150]

    def use() -> None:
        assert ImageFile.LOAD_TRUNCATED_IMAGES
        Image.open(io.BytesIO(truncated)).load()
        with pytest.raises(Image.DecompressionBombError):
            Image.open(io.BytesIO(large))

    use()
    with isolated(), ThreadPoolExecutor(1) as other:
        assert not ImageFile.LOAD_TRUNCATED_IMAGES
        with pytest.raises(OSError, match="truncated"):
            Image.open(io.BytesIO(truncated)).load()
        assert Image.open(io.BytesIO(large)).size == (40, 30)
        other.submit(use).result()
    with isolated(max_pixels=500), pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(large))
    use()


def test_everything_is_restored() -> None:
    """Warning filters, OpenCV's state and Pillow's settings are restored."""

    def state() -> list[object]:
        settings = [ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS]
        kinds = [type(setting) for setting in settings]
        levels = [get_log_level(), cv2.getNumThreads()]
        return [list(warnings.filters), *levels, settings, kinds]

    before = state()
    with isolated():
        assert (get_log_level(), cv2.getNumThreads()) == (0, 1)
        with isolated():
            pass
        assert (get_log_level(), cv2.getNumThreads()) == (0, 1)
    assert state() == before


def test_settings_made_meanwhile_stay() -> None:
    """A log level or warning filters set by other code while decoding stay set."""
    level = get_log_level()
    with isolated():
        set_log_level(5)
    assert get_log_level() == 5
    set_log_level(level)
    inside, done = threading.Event(), threading.Event()

    def decode() -> None:
        with isolated():
            inside.set()
            assert done.wait(30)

    decoder = threading.Thread(target=decode)
    decoder.start()
    assert inside.wait(30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with isolated():
            warnings.warn("unheard", UserWarning, stacklevel=1)
    done.set()
    decoder.join()
    with pytest.raises(UserWarning, match="heard"):
        warnings.warn("heard", UserWarning, stacklevel=1)


def test_an_exception_passes_through() -> None:
    """Isolation ends with the block, also when it raises."""
    before = list(warnings.filters)
    with pytest.raises(ZeroDivisionError), isolated():
        _ = 1 / 0
    assert list(warnings.filters) == before
