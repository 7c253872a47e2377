"""Any history of edits, appended rows and changing files, against plain sets.

The model knows nothing of structs or batches: for each row it keeps which
properties were asked for, and what a reading gave when it was made.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from engines import ENGINES, run
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.cli.samples import make_samples
from polars_imgmeta.typing import PropertyName

PROPERTIES = list(im.CATALOGUE)
GEOMETRY = set(im.GROUPS["geometry"])
some_properties = st.lists(st.sampled_from(PROPERTIES), min_size=1, max_size=4, unique=True)

# The files of the model, and the states that each can be put into.
FILES = ("a.png", "b.png", "c.png")
SOUND = ("blobs", "dusk", "noise")
STATES = (*SOUND, "truncated", "text", "gone")
ERRORS = {
    "gone": "not_found: no such file",
    "text": "unsupported: not an image of a known format",
    "truncated": "corrupt: the pixels cannot be decoded: image file is truncated",
}


def truth(folder: Path) -> dict[str, dict[str, float]]:
    """The values of the sound pictures, each property extracted by itself."""
    values: dict[str, dict[str, float]] = {}
    for state in SOUND:
        frame = pl.DataFrame({"path": [str(folder / f"{state}.png")]})
        values[state] = {
            name: im.unnest(im.extract(frame, "path", name))[name].item() for name in PROPERTIES
        }
    values["truncated"] = {name: values["noise"][name] for name in GEOMETRY}
    return values


@dataclass
class Row:
    """What the model knows of one row; `values` is None for a null struct."""

    file: str | None
    values: dict[str, float | None] | None = None
    error: str | None = None


@dataclass
class Model:
    """The frame as plain rows and sets, and the reads that it would make."""

    truth: dict[str, dict[str, float]]
    states: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    properties: set[PropertyName] | None = None
    reads: Counter[str] = field(default_factory=Counter)

    def measure(self, row: Row, names: set[PropertyName]) -> None:
        """Read the file of a row as it is now."""
        assert row.file is not None
        if self.states[row.file] != "gone":
            self.reads[row.file] = 1
        known = self.truth.get(self.states[row.file], {})
        row.values = {**(row.values or {}), **{name: known.get(name) for name in names}}
        self.explain(row, ERRORS.get(self.states[row.file]))

    def explain(self, row: Row, error: str | None) -> None:
        """An error stays only where it explains a null."""
        assert row.values is not None
        row.error = error if None in row.values.values() else None

    def extract(self, names: set[PropertyName]) -> None:
        """Have these properties beside the ones that are there."""
        before = self.properties or set()
        new = names - before
        self.properties = before | names
        self.reads = Counter()
        for row in self.rows:
            if row.file is None:
                continue
            if row.values is None:
                self.measure(row, self.properties)
            elif row.error is not None and new:
                row.values = {}
                self.measure(row, self.properties)
            elif row.error is None and new:
                self.measure(row, new)

    def remove(self, names: set[PropertyName]) -> None:
        """Drop properties, and the column with the last one."""
        assert self.properties is not None
        self.reads = Counter()
        self.properties -= names
        for row in self.rows:
            if row.values is not None:
                row.values = {k: v for k, v in row.values.items() if k not in names}
                self.explain(row, row.error)
        if not self.properties:
            self.properties = None
            for row in self.rows:
                row.values, row.error = None, None

    def configure(self, names: set[PropertyName]) -> None:
        """Have exactly these properties."""
        assert self.properties is not None
        self.remove(self.properties - names)
        self.extract(names)

    def retry(self) -> None:
        """Read the failed rows again."""
        self.reads = Counter()
        for row in self.rows:
            if row.error is not None:
                row.values = {}
                self.measure(row, self.properties or set())


class Editing(RuleBasedStateMachine):
    """The verbs on real frames and files beside the model."""

    @initialize(
        engine=st.sampled_from(ENGINES),
        states=st.lists(st.sampled_from(STATES), min_size=3, max_size=3),
    )
    def start(self, engine: str, states: list[str]) -> None:
        """Begin with no rows and with files in any state."""
        self.engine = engine
        self.folder = Path(tempfile.mkdtemp())
        self.originals = Path(tempfile.mkdtemp())
        make_samples(self.originals)
        self.model = Model(truth(self.originals), dict.fromkeys(FILES, "gone"))
        self.frame = pl.DataFrame(schema={"path": pl.String})
        for file, state in zip(FILES, states, strict=True):
            self.put(file, state)

    def teardown(self) -> None:
        """Leave no files behind."""
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)
            shutil.rmtree(self.originals)

    @rule(file=st.sampled_from(FILES), state=st.sampled_from(STATES))
    def put(self, file: str, state: str) -> None:
        """Break, repair, replace or delete a file."""
        path = self.folder / file
        path.unlink(missing_ok=True)
        if state == "text":
            path.write_text("no image")
        elif state != "gone":
            shutil.copyfile(self.originals / f"{state}.png", path)
        self.model.states[file] = state

    @rule(files=st.lists(st.none() | st.sampled_from(FILES), min_size=1, max_size=4))
    def append_rows(self, files: list[str | None]) -> None:
        """Append rows that have no values yet."""
        rows = pl.DataFrame(
            {"path": [file and str(self.folder / file) for file in files]},
            schema={"path": pl.String},
        )
        self.frame = pl.concat([self.frame, rows], how="diagonal")
        self.model.rows.extend(Row(file) for file in files)

    @rule(names=some_properties)
    def extract(self, names: list[PropertyName]) -> None:
        """Extract, whether or not there is a column already."""
        # Rows of null structs are all that Polars keeps of a column that is new.
        self.model.extract(set(names))
        self.apply(lambda frame: im.extract(frame, "path", names))

    @precondition(lambda self: self.model.properties)
    @rule(names=some_properties)
    def add(self, names: list[PropertyName]) -> None:
        """Add properties."""
        self.model.extract(set(names))
        self.apply(lambda frame: im.add(frame, *names))

    @precondition(lambda self: self.model.properties)
    @rule(names=some_properties)
    def remove(self, names: list[PropertyName]) -> None:
        """Remove properties."""
        self.model.remove(set(names))
        self.apply(lambda frame: im.remove(frame, *names))

    @precondition(lambda self: self.model.properties)
    @rule(names=some_properties)
    def configure(self, names: list[PropertyName]) -> None:
        """Configure the set of properties."""
        self.model.configure(set(names))
        self.apply(lambda frame: im.configure(frame, names))

    @precondition(lambda self: self.model.properties)
    @rule()
    def retry(self) -> None:
        """Retry the failed rows."""
        self.model.retry()
        self.apply(im.retry)

    def apply(self, verb: Any) -> None:  # noqa: ANN401 - of either kind of frame
        """Run a verb and compare what it read with the model."""
        with count_reads(self.folder) as opened:
            self.frame = run(self.engine, self.frame, verb)
        missing = {file for file, state in self.model.states.items() if state == "gone"}
        assert {file for file in opened if file not in missing} == set(self.model.reads)
        assert max(opened.values(), default=1) == 1 or self.engine != "eager"

    @invariant()
    def frame_equals_model(self) -> None:
        """Values, errors and nulls are the model's, row by row."""
        if not hasattr(self, "frame"):
            return
        if self.model.properties is None:
            assert im.columns(self.frame) == []
            return
        assert set(im.properties(self.frame)) == self.model.properties
        column = self.frame["path_imgmeta"]
        assert column.is_null().to_list() == [row.values is None for row in self.model.rows]
        for row, struct in zip(self.model.rows, column.to_list(), strict=True):
            if row.values is not None:
                assert struct == {**row.values, "error": row.error, "auto_extracted": True}

    @invariant()
    def frame_equals_a_fresh_extraction(self) -> None:
        """Where files and rows have settled, no history is left in the frame."""
        if not hasattr(self, "frame") or self.model.properties is None:
            return
        settled = [
            row.file is None
            or (
                row.values is not None
                and row.error == self.expected_error(row.file)
                and all(
                    row.values[name]
                    == self.model.truth.get(self.model.states[row.file], {}).get(name)
                    for name in self.model.properties
                )
            )
            for row in self.model.rows
        ]
        rows = self.frame.filter(pl.Series(settled, dtype=pl.Boolean))
        fresh = im.extract(rows.select("path"), "path", self.model.properties)
        assert rows.equals(fresh)
        assert rows.schema == fresh.schema

    def expected_error(self, file: str) -> str | None:
        """The error of a fresh extraction of the model's properties."""
        state = self.model.states[file]
        if (
            state == "truncated"
            and self.model.properties is not None
            and self.model.properties <= GEOMETRY
        ):
            return None
        return ERRORS.get(state)


Editing.TestCase.settings = settings(stateful_step_count=15)
TestEditing = Editing.TestCase
