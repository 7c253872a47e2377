"""Engines in processes of their own, as tests see them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import engine_host
import polars as pl
from own_properties import MARKER_FILE

import polars_imgmeta as im

TESTS = Path(__file__).parent


class EngineError(Exception):
    """What an engine raised, with its traceback."""


@dataclass
class Host:
    """A process that runs an engine: see `engine_host`.

    Attributes:
        name: The engine.
        folder: A folder for what is read and written.
        marker: The file by which properties know that they have killed a process.
    """

    name: str
    folder: Path
    process: subprocess.Popen[str]
    marker: Path
    _count: int = field(default=0, init=False)

    def extract(
        self, frame: pl.DataFrame, options: dict[str, Any] | None = None, **extractor: Any
    ) -> tuple[pl.DataFrame, im.Digest]:
        """Extract from a frame; `options` are the engine's. The rows come in any order."""
        source = self._write(frame)
        target = source.with_suffix("")
        request = {"source": str(source), "target": str(target), "options": options or {}}
        digest = self._ask("extract", **request, extractor=extractor)
        return pl.read_parquet(target / "**" / "*.parquet"), im.Digest.parse(digest)

    def names(self, frame: pl.DataFrame, **extractor: Any) -> list[str]:
        """Return the names of the columns of a result that is not computed."""
        names: list[str] = self._ask("names", source=str(self._write(frame)), extractor=extractor)
        return names

    def _write(self, frame: pl.DataFrame) -> Path:
        self._count += 1
        source = self.folder / f"{self._count}.parquet"
        frame.write_parquet(source)
        return source

    def _ask(self, verb: str, **request: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request["extractor"] = {"locator": "path", **request["extractor"]}
        print(json.dumps({"verb": verb, **request}), file=self.process.stdin, flush=True)
        reply = json.loads(self.process.stdout.readline())
        if "error" in reply:
            raise EngineError(reply["error"])
        return reply["value"]


@contextmanager
def host_of(name: str, python: str, folder: Path) -> Iterator[Host]:
    """Run an engine."""
    log, marker = folder / "log", folder / "marker"
    environment = {
        **os.environ,
        MARKER_FILE: str(marker),
        "PYTHONPATH": str(TESTS),
        # None of them needs more than loopback.
        "NO_PROXY": "*",
    }
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [python, engine_host.__file__, name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env=environment,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n", log.read_text(errors="replace")
        yield Host(name, folder, process, marker)
        process.stdin.close()
        process.wait(60)
