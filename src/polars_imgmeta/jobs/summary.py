"""What a job says at its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class JobSummary:
    """What a job has done, and what its output holds now.

    Attributes:
        output: The folder or file.
        rows: The number of its rows.
        failures: How many of them failed, by the kind of the error.
        new: The number of rows that this run has added.
        changed: The number of rows of earlier runs that this run has computed anew.
        not_in_source: The number of rows that the source does not have any more.
        seconds: How long this run has taken.
    """

    output: str
    rows: int
    failures: Mapping[str, int]
    new: int
    changed: int
    not_in_source: int
    seconds: float

    @property
    def failed(self) -> int:
        """The number of rows of the output that failed."""
        return sum(self.failures.values())

    def to_json(self) -> str:
        """Return all of it as JSON.

        Examples:
            >>> im.run("photos", "images", properties="width").to_json()
            '{"output": "images", "rows": 12, "failed": 2, "failures": {...}, ...}'
        """
        record = asdict(self)
        record["seconds"] = round(self.seconds, 3)
        first = {"output": record.pop("output"), "rows": record.pop("rows"), "failed": self.failed}
        return json.dumps({**first, **record})


@dataclass(frozen=True, slots=True)
class JobEstimate:
    """What a job would do.

    Attributes:
        rows: The number of rows that the output lacks.
        bytes: The size of their images, from the sample; None where none could be opened.
        seconds: How long it would take, from the sample.
        sampled: The number of rows of the sample.
    """

    rows: int
    bytes: int | None
    seconds: float
    sampled: int
