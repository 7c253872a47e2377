"""Timing in alternation: each contestant in a process of its own, run once in every round."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

_CONTESTANTS = Path(__file__).with_name("contestants.py")


@dataclass(frozen=True)
class Racer:
    """A contestant and how to run it.

    Attributes:
        name: A name in `contestants.py`, and optionally `=` and its argument.
        python: The interpreter, whose environment has the libraries it imports.
        threads: Threads of Polars and of thread pools; all cores if None.
    """

    name: str
    python: Path = Path(sys.executable)
    threads: int | None = None


class _Running:
    """The process of a contestant, which runs once on request."""

    def __init__(self, racer: Racer, paths: Path) -> None:
        environment = dict(os.environ)
        if racer.threads is not None:
            environment["POLARS_MAX_THREADS"] = str(racer.threads)
        self.process = subprocess.Popen(  # noqa: S603 - our own code
            [racer.python, _CONTESTANTS, racer.name, paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.process.args!r} failed with {self.process.wait()}")
        return answer

    def run(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._answer())

    def close(self) -> None:
        self.process.communicate()


def race(paths: Sequence[str], racers: Sequence[Racer], rounds: int, work: Path) -> list[float]:
    """Return the median seconds of each contestant."""
    file = work / "paths.txt"
    file.write_text("\n".join(paths), encoding="utf-8")
    seconds: list[list[float]] = [[] for _ in racers]
    with ExitStack() as stack:
        running = []
        for racer in racers:
            running.append(_Running(racer, file))
            stack.callback(running[-1].close)
        for _ in range(rounds):
            for one, times in zip(running, seconds, strict=True):
                times.append(one.run())
    return [statistics.median(times) for times in seconds]
