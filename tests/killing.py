"""Jobs in processes of their own, which a signal may end at any moment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SECONDS = 120


class Killing:
    """Runs jobs in processes that are forked from one that has imported everything."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self.log = log

    def run(
        self,
        *,
        event: int | None = None,
        seconds: float | None = None,
        signal: str = "SIGKILL",
        part_rows: int = 4,
        batch_rows: int = 2,
        **options: Any,  # noqa: ANN401 - those of `run`
    ) -> int:
        """Run a job, and return how its process ended: minus the signal, 0, or 1 if it raised.

        Args:
            event: Before which of its own looks at its output or changes of it, it gets a signal.
            seconds: After how long it gets a signal.
            signal: The signal.
            part_rows: How many rows make a part.
            batch_rows: How many rows are computed at once.
            options: Those of `im.run`.
        """
        assert self._process.stdin
        assert self._process.stdout
        order = {
            "event": event,
            "seconds": seconds,
            "signal": signal,
            "part_rows": part_rows,
            "batch_rows": batch_rows,
            "log": str(self.log),
            "alarm": _SECONDS,
            "options": options,
        }
        self.log.write_text("")
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))


@contextmanager
def killing(folder: Path) -> Iterator[Killing]:
    """Start the process that is forked; jobs run in the given folder."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("zygote.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
    ) as process:
        try:
            yield Killing(process, folder / "log.txt")
        finally:
            process.kill()
