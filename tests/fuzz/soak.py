"""Extractions of damaged files, round after round, which must leave nothing behind.

    python tests/fuzz/soak.py [--rounds 50] [--files 5000] [--sandbox]

Each round makes damaged files of every format and extracts from them in all ways: eager,
lazy into Parquet, from bytes, from a server, geometry alone, and such that it raises. After
it, the threads, open files and processes must be as many as after the first rounds, and
resident memory at most 128 MiB more: the caches and arenas of the allocators fill up that far.
The exit status is 1 if they are not. `--sandbox` decodes in child processes.
"""

from __future__ import annotations

import argparse
import gc
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

import polars_imgmeta as im

WARM_UP_ROUNDS = 3
MARGIN_BYTES = 128 << 20
_LOOPBACK = "127.0.0.1"
_PATIENCE_SECONDS = 30
_REMOTE_FILES = 200


class State(NamedTuple):
    """What a process has."""

    threads: int
    files: int
    children: int
    resident: int

    @classmethod
    def now(cls) -> State:
        """Return the state of this process."""
        gc.collect()
        status = Path("/proc/self/status").read_text()
        resident = re.search(r"VmRSS:\s*(\d+) kB", status)
        assert resident is not None
        files = len(list(Path("/proc/self/fd").iterdir()))
        return cls(threading.active_count(), files, descendants("self"), int(resident[1]) << 10)

    def exceeds(self, other: State) -> bool:
        """Whether it is more than another state and its margin."""
        counts = zip(self[:3], other[:3], strict=True)
        return any(here > there for here, there in counts) or (
            self.resident > other.resident + MARGIN_BYTES
        )


def descendants(process: str) -> int:
    """Return how many processes a process has started that run, and these in turn."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    return len(children) + sum(map(descendants, children))


def damaged(
    originals: Sequence[tuple[str, bytes]], files: int, chance: random.Random
) -> Iterator[tuple[str, bytes]]:
    """Make damaged files of every format, and a few that are whole."""
    for number in range(files):
        name, original = originals[number % len(originals)]
        data = bytearray(original)
        place = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                del data[place:]
            case 1:
                data[place : place + 16] = chance.randbytes(16)
            case 2:
                data[place:place] = bytes(chance.randrange(64))
            case 3:
                for _ in range(8):
                    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        yield f"{number:06}-{name}", bytes(data)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Serve a folder from another process, and yield its URL."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "http.server", "--bind", _LOOPBACK, "-d", str(folder), port]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://{_LOOPBACK}:{port}"
    until = time.monotonic() + _PATIENCE_SECONDS
    try:
        while time.monotonic() < until:
            with suppress(urllib.error.URLError), urllib.request.urlopen(url):
                break
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def extract(folder: Path, url: str, reading: dict[str, Any]) -> int:
    """Extract from the files of a folder in all ways, and return how many failed."""
    paths = sorted(map(str, folder.iterdir()))
    frame = pl.DataFrame({"path": paths})
    done = im.extract(frame, "path", **reading)
    assert done.height == len(paths)
    with tempfile.TemporaryDirectory() as out:
        im.extract(frame.lazy(), "path", **reading).sink_parquet(f"{out}/a.parquet")
        lazily = pl.read_parquet(f"{out}/a.parquet")
    assert im.errors(lazily).equals(im.errors(done))
    im.extract(
        pl.DataFrame({"path": [Path(path).read_bytes() for path in paths]}), "path", **reading
    )
    urls = [f"{url}/{Path(path).name}" for path in [*paths[:_REMOTE_FILES], "gone.png"]]
    remote = pl.DataFrame({"path": urls})
    for properties in ("geometry", "standard"):
        im.extract(remote, "path", properties, **reading)
    im.extract(frame, "path", "geometry", **reading)
    with suppress(im.ImageError):
        im.extract(frame, "path", on_error="raise", **reading)
    return im.errors(done).height


def main() -> int:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--sandbox", action="store_true")
    options = parser.parse_args()
    from seeds import seeds  # noqa: PLC0415 - beside this script, where pytest does not look

    reading = {"access": im.Access(concurrency=8), "sandbox": options.sandbox}
    originals, before = list(seeds()), State(0, 0, 0, 0)
    with tempfile.TemporaryDirectory() as work, server(Path(work)) as url:
        for number in range(WARM_UP_ROUNDS + options.rounds):
            chance = random.Random(number)  # noqa: S311 - the same files in every soak
            for name, data in damaged(originals, options.files, chance):
                Path(work, name).write_bytes(data)
            failed = extract(Path(work), url, reading)
            state = State.now()
            sys.stdout.write(f"round {number}: {failed} of {options.files} failed; {state}\n")
            sys.stdout.flush()
            if number < WARM_UP_ROUNDS:
                before = State(*map(max, state, before))
            elif state.exceeds(before):
                sys.stdout.write(f"more than after the first rounds: {before}\n")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
