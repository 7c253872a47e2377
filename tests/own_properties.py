"""Properties of a caller's own, at the top level of a module so that they can be pickled."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import polars as pl

import polars_imgmeta as im

DEADLY_WIDTH = 77
MARKER_FILE = "IMGMETA_TEST_MARKER"


@im.custom_property(needs="picture", dtype=pl.Float64, minimum=-1, maximum=1, unit="fraction")
def warmth(picture: Any) -> float:  # noqa: ANN401 - an array
    """Mean of red minus blue, over 255."""
    blue, red = picture[..., 0].mean(), picture[..., 2].mean()
    return float(red - blue) / 255


@im.custom_property(needs="intensity", dtype=pl.Int32)
def darkest(intensity: Any) -> int:  # noqa: ANN401 - an array
    """The minimum of the intensity."""
    return int(intensity.min())


@im.custom_property(needs="bytes", dtype=pl.String)
def digest(data: bytes) -> str:
    """MD5 of the encoded image."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@im.custom_property(needs="header", dtype=pl.String)
def image_format(header: Any) -> str:  # noqa: ANN401 - a header
    """The format of the image."""
    return str(header.format)


@im.custom_property(needs="source", dtype=pl.Boolean)
def is_large(facts: Any) -> bool:  # noqa: ANN401 - facts of the source
    """Whether the file has more than 10,000 bytes."""
    return bool(facts.file_size > 10_000)


@im.custom_property(needs="picture", dtype=pl.Array(pl.Float32, 3))
def mean_colour(picture: Any) -> list[float]:  # noqa: ANN401 - an array
    """The mean of each channel."""
    means: list[float] = picture.reshape(-1, 3).mean(axis=0).tolist()
    return means


@im.custom_property(needs="intensity", dtype=pl.Float64, nullable=True)
def maybe(intensity: Any) -> float | None:  # noqa: ANN401 - an array
    """Null for a picture without contrast."""
    return None if intensity.min() == intensity.max() else 1.0


@im.custom_property(needs="intensity", dtype=pl.Float64)
def fragile(intensity: Any) -> float:  # noqa: ANN401 - an array
    """Fails for a picture without contrast."""
    return 1 / int(intensity.max() - intensity.min())


@im.custom_property(needs="intensity", dtype=pl.Int32)
def mistyped(intensity: Any) -> Any:  # noqa: ANN401 - what is wrong with it
    """Of another dtype than it says."""
    return f"{intensity.mean()}"


@im.custom_property(needs="header", dtype=pl.Int32)
def thread_count(_: Any) -> int:  # noqa: ANN401 - a header
    """The number of threads of the process that computes it."""
    return im.thread_count()


@im.custom_property(needs="header", dtype=pl.Int64)
def process(_: Any) -> int:  # noqa: ANN401 - a header
    """The process that computes it, once two have begun to."""
    folder = Path(os.environ[MARKER_FILE]).with_name("workers")
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()
    until = min(file.stat().st_mtime for file in folder.iterdir()) + 60
    while len(list(folder.iterdir())) < 2 and time.time() < until:
        time.sleep(0.01)
    return os.getpid()


@im.custom_property(needs="header", dtype=pl.Boolean)
def survived(header: Any) -> bool:  # noqa: ANN401 - a header
    """Kills its process at the first image of some width, once for each marker file."""
    if header.width == DEADLY_WIDTH:
        _die(os.getpid())
    return True


@im.custom_property(needs="header", dtype=pl.Boolean)
def executor_survived(header: Any) -> bool:  # noqa: ANN401 - a header
    """The same for the process that started the one which forked its process."""
    if header.width == DEADLY_WIDTH:
        _die(_parent(_parent(os.getpid())))
    return True


def _die(victim: int) -> None:
    try:
        Path(os.environ[MARKER_FILE]).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(victim, signal.SIGKILL)
    time.sleep(60)  # until it is dead


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@im.custom_property(needs="picture", dtype=pl.Int32)
def recursive(_: Any) -> int:  # noqa: ANN401 - an array
    """Calls an extraction, which it must not."""
    return im.extract(pl.DataFrame({"path": ["photos/dusk.png"]}), "path").height


ALL = (warmth, darkest, digest, image_format, is_large, mean_colour, maybe)
