"""Any history of verbs, frame operations and changing files, against plain rows.

The model is naive: one dictionary a row, one rule a row, and the values that each picture has
when it is measured by itself. It says which files each verb opens, and what each row then is.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl
from engines import ENGINES, run
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from PIL import Image
from reads import count_reads

import polars_imgmeta as im


def _warmth(version: int) -> im.Property:
    @im.custom_property(needs="picture", dtype=pl.Float64, version=version, name="warmth")
    def warmth(picture: Any) -> float:  # noqa: ANN401 - a picture
        return float(picture[..., 2].mean()) + version

    return warmth


@im.custom_property(needs="header", dtype=pl.Int64)
def picky(header: Any) -> int:  # noqa: ANN401 - a header
    """Refuses a picture."""
    if header.width == WIDTHS["wide"]:
        msg = "too wide"
        raise ValueError(msg)
    return int(header.width)


@im.custom_property(needs="bytes", dtype=pl.String, nullable=True)
def comment(data: bytes) -> str | None:
    """Has nothing to say of some pictures."""
    return None if len(data) % 2 else str(len(data))


WIDTHS = {"small": 20, "other": 21, "wide": 90}
PICKY = "property_failed: picky raised ValueError: too wide"
WARMTHS = (_warmth(1), _warmth(2))
OWN = {1: im.Catalogue([WARMTHS[0], picky, comment]), 2: im.Catalogue([WARMTHS[1], picky, comment])}
MEASURED = ("width", "size", "brightness", "sharpness")
NAMES = (*MEASURED, "file_size", "modified", "etag", "warmth", "picky", "comment")
NEEDS = {
    **dict.fromkeys(["width", "size", "picky"], "header"),
    **dict.fromkeys(["file_size", "modified", "etag"], "source"),
    **dict.fromkeys(["brightness", "sharpness", "warmth"], "picture"),
    "comment": "bytes",
}
FACTS = {name for name, needs in NEEDS.items() if needs in {"header", "source"}}
some_names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)

# Two folders with files of the same names, so that a relative path means either.
FOLDERS = ("one", "two")
FILES = ("a.png", "b.png")
STATES = (*WIDTHS, "truncated", "text", "gone")
LOCATORS = [None, "", *FILES, *(f"{folder}/{file}" for folder in FOLDERS for file in FILES)]
some_locators = st.lists(st.sampled_from(LOCATORS), min_size=1, max_size=3)
ERRORS = {
    "gone": "not_found: no such file",
    "text": "unsupported: not an image of a known format",
    "truncated": "corrupt: the pixels cannot be decoded: image file is truncated",
}
NO_LOCATOR = "invalid_locator: an empty string"


def draw_pictures() -> dict[str, bytes]:
    """Return the encoded form of each state; no two have the same size in bytes."""
    data = {"text": b"no image, whatever its name says\n" * 200}
    for seed, (state, width) in enumerate(WIDTHS.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, (40 + seed, width, 3), dtype=np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "png")
        data[state] = encoded.getvalue()
    data["truncated"] = data["other"][:-900]
    assert len({len(one) for one in data.values()}) == len(data)
    return data


PICTURES = draw_pictures()


def draw_truth() -> dict[str, dict[tuple[str, int], Any]]:
    """Return the values of sound pictures, computed from their pixels by themselves."""
    truth: dict[str, dict[tuple[str, int], Any]] = {}
    for state in WIDTHS:
        pixels = np.asarray(Image.open(io.BytesIO(PICTURES[state])))
        values = im.extract_series(pl.Series("p", [PICTURES[state]]), ["brightness", "sharpness"])
        truth[state] = {(name, 1): values[0][name] for name in ("brightness", "sharpness")}
        red = float(pixels[..., 0].mean())
        truth[state] |= {("warmth", 1): red + 1, ("warmth", 2): red + 2}
    return truth


TRUTH = draw_truth()


@dataclass
class File:
    """A file of the model: what it holds, and since when."""

    state: str
    modified: datetime


@dataclass
class Row:
    """A row of the model; it is a null struct without `digest`."""

    locator: str | None
    column: str = ""
    digest: str | None = None
    size: int | None = None
    values: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    error: str | None = None

    def clear(self) -> None:
        """Make the struct null."""
        self.digest, self.size, self.error = None, None, None
        self.values, self.versions, self.failed = {}, {}, set()

    @property
    def marker(self) -> str:
        """The text of the marker, by its documented format."""
        listed = [
            f" {name}={version}{'!' * (name in self.failed)}"
            for name, version in sorted(self.versions.items())
            if version != 1 or self.values[name] is None
        ]
        size = "" if self.size is None else f":{self.size}"
        return f"{self.column}@{self.digest}{size}{''.join(listed)}"

    def struct(self, names: list[str]) -> dict[str, Any] | None:
        """The struct as Polars returns it."""
        if self.digest is None:
            return None
        values = {name: self.values.get(name) for name in names}
        return {**values, "error": self.error, "auto_extracted": self.marker}

    def explain(self, error: str | None) -> None:
        """Keep an error only where it explains a failure."""
        self.error = error if self.failed else None


class Model:
    """The frame as plain rows, the files, and what is read of them."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.folder = FOLDERS[0]
        self.rows: list[Row] = []
        self.names: set[str] | None = None
        self.column = "path"
        self.warmth = 1
        self.reads: set[tuple[str, bool]] = set()

    def path_of(self, locator: str) -> str:
        """Return which file a locator means now."""
        return locator if "/" in locator else f"{self.folder}/{locator}"

    def version(self, name: str) -> int:
        """Return the present version of a property."""
        return self.warmth if name == "warmth" else 1

    def measure(
        self, locator: str, names: set[str], *, again: bool = False
    ) -> tuple[dict[str, Any], str | None, Any]:
        """Return values, error and size of an image as it is now; what failed has no value."""
        if not locator:
            return {}, NO_LOCATOR, None
        path = self.path_of(locator)
        file = self.files[path]
        if file.state == "gone":
            return {}, ERRORS["gone"], None
        self.reads.add((locator, again))
        size = len(PICTURES[file.state])
        error = None
        sound = "other" if file.state == "truncated" else file.state
        found: dict[str, Any] = {"file_size": size, "modified": file.modified, "etag": None}
        if "comment" in names:
            found["comment"] = None if size % 2 else str(size)
        if file.state == "text":
            if any(NEEDS[name] in {"header", "picture"} for name in names):
                error = ERRORS["text"]
        else:
            found["width"] = WIDTHS[sound]
            found["size"] = WIDTHS[sound] * (40 + list(WIDTHS).index(sound))
            if sound != "wide":
                found["picky"] = WIDTHS[sound]
            elif "picky" in names:
                error = PICKY
            if file.state != "truncated":
                found |= {
                    name: value
                    for (name, version), value in TRUTH[sound].items()
                    if version == self.version(name)
                }
            elif any(NEEDS[name] == "picture" for name in names):
                error = ERRORS["truncated"]
        return {name: found[name] for name in names & found.keys()}, error, size

    def read_anew(self, row: Row, *, again: bool = False) -> None:
        """Read a row as a whole; `again` if its image contradicted it in the same call."""
        assert row.locator is not None
        assert self.names is not None
        found, error, row.size = self.measure(row.locator, self.names, again=again)
        row.values = {name: found.get(name) for name in self.names}
        row.failed = self.names - found.keys()
        row.versions = {name: self.version(name) for name in self.names}
        self.sign(row)
        row.explain(error)

    def sign(self, row: Row) -> None:
        """Record the locator."""
        assert row.locator is not None
        row.column, row.digest = self.column, digest_of(row.locator)

    def is_current(self, row: Row) -> bool:
        """Whether the struct is of the image that the locator names."""
        return row.locator is not None and row.digest == digest_of(row.locator)

    def lacks(self, row: Row) -> set[str]:
        """Return the properties that are missing or stale."""
        assert self.names is not None
        return {name for name in self.names if row.versions.get(name) != self.version(name)}

    def extract(self, names: set[str], force: set[int] | None = None) -> None:
        """Have these properties beside the ones that are there."""
        self.reads = set()
        fresh = self.names is None
        self.names = (self.names or set()) | names
        for number, row in enumerate(self.rows):
            if row.locator is None:
                row.clear()
                continue
            lacking = self.lacks(row)
            forced = bool(force) and not fresh and number in (force or ())
            if not self.is_current(row) or forced or (row.error is not None and lacking):
                self.read_anew(row)
                continue
            self.sign(row)
            for name in self.names:
                row.values.setdefault(name, None)
            if lacking:
                self.read_partly(row, lacking)

    def read_partly(self, row: Row, lacking: set[str]) -> None:
        """Read what a row lacks, unless the image turns out to be another one."""
        assert row.locator is not None
        assert self.names is not None
        old = {name: row.values[name] for name in FACTS & self.names}
        values, error, size = self.measure(row.locator, lacking | (FACTS & self.names))
        contradicted = size is not None and size != row.size
        for name, value in old.items():
            contradicted |= None not in (value, values.get(name)) and value != values[name]
        if contradicted:
            self.read_anew(row, again=True)
            return
        for name in lacking:
            row.values[name], row.versions[name] = values.get(name), self.version(name)
        row.failed = (row.failed - lacking) | (lacking - values.keys())
        row.explain(error)

    def remove(self, names: set[str]) -> None:
        """Drop properties, and the column with the last one."""
        assert self.names is not None
        self.reads = set()
        self.names -= names
        for row in self.rows:
            for name in names:
                row.values.pop(name, None)
                row.versions.pop(name, None)
            row.failed -= names
            row.explain(row.error)
        if not self.names:
            self.names = None
            for row in self.rows:
                row.clear()

    def states(self, *, check_sources: bool) -> list[str | None]:
        """Return the state of each row."""
        return [self.state(row, check_sources=check_sources) for row in self.rows]

    def state(self, row: Row, *, check_sources: bool) -> str | None:
        """Return the first state that applies."""
        if row.locator is None:
            return None
        lacking = self.lacks(row)
        if row.digest is None or (self.is_current(row) and lacking - row.versions.keys()):
            return "missing"
        if not self.is_current(row) or lacking:
            return "stale"
        if check_sources and (found := self.at_the_source(row)):
            return found
        return "ok" if row.error is None else "failed"

    def at_the_source(self, row: Row) -> str | None:
        """Compare a current row with what is there now."""
        assert row.locator is not None
        absent = (row.error or "").startswith("not_found")
        if not row.locator:
            return None
        file = self.files[self.path_of(row.locator)]
        if file.state == "gone":
            return None if absent else "gone"
        changed = row.size != len(PICTURES[file.state])
        if (modified := row.values.get("modified")) is not None:
            changed |= modified != file.modified
        return "changed" if changed or absent else None


def digest_of(locator: str) -> str:
    """Return the digest of a file's name, as the marker documents it."""
    return f"{crc32(Path(locator).name.encode()):08x}"


has_column = precondition(lambda self: self.model.names)
has_rows = precondition(lambda self: self.model.rows)


class Editing(RuleBasedStateMachine):
    """The verbs on real frames and files beside the model."""

    @initialize(
        engine=st.sampled_from(ENGINES),
        states=st.lists(st.sampled_from(STATES), min_size=4, max_size=4),
        locators=some_locators,
    )
    def start(self, engine: str, states: list[str], locators: list[str | None]) -> None:
        """Begin with files in any state and rows without values."""
        self.engine = engine
        self.before = Path.cwd()
        self.root = Path(tempfile.mkdtemp()).resolve()
        self.clock = datetime(2020, 1, 1, tzinfo=UTC)
        self.model = Model()
        self.frame = pl.DataFrame(schema={"id": pl.Int64, "path": pl.String})
        self.into = "path_imgmeta"
        for folder in FOLDERS:
            (self.root / folder).mkdir()
        os.chdir(self.root / FOLDERS[0])
        for number, state in enumerate(states):
            self.put(FOLDERS[number // 2], FILES[number % 2], state)
        self.append_rows(locators)

    def teardown(self) -> None:
        """Leave no files behind."""
        if hasattr(self, "root"):
            os.chdir(self.before)
            shutil.rmtree(self.root)

    # The world

    @rule(
        folder=st.sampled_from(FOLDERS), file=st.sampled_from(FILES), state=st.sampled_from(STATES)
    )
    def put(self, folder: str, file: str, state: str) -> None:
        """Break, repair, replace or delete a file."""
        path = self.root / folder / file
        path.unlink(missing_ok=True)
        if state != "gone":
            path.write_bytes(PICTURES[state])
        self.model.files[f"{folder}/{file}"] = File(state, self.clock)
        self.touch(folder, file)

    @rule(folder=st.sampled_from(FOLDERS), file=st.sampled_from(FILES))
    def touch(self, folder: str, file: str) -> None:
        """Give a file another modification time."""
        known = self.model.files[f"{folder}/{file}"]
        self.clock = known.modified = self.clock + timedelta(seconds=1)
        if known.state != "gone":
            os.utime(self.root / folder / file, (self.clock.timestamp(),) * 2)

    @rule(folder=st.sampled_from(FOLDERS))
    def change_directory(self, folder: str) -> None:
        """Let relative paths mean other files."""
        os.chdir(self.root / folder)
        self.model.folder = folder

    @rule()
    def change_formula(self) -> None:
        """Let another release of a property be installed."""
        self.model.warmth = 3 - self.model.warmth

    # The frame

    def spell(self, locator: str | None) -> str | None:
        """Return a locator of the model as it stands in the frame."""
        return str(self.root / locator) if locator and "/" in locator else locator

    @rule(locators=some_locators)
    def append_rows(self, locators: list[str | None]) -> None:
        """Append rows that have no values yet."""
        ids = range(len(self.model.rows), len(self.model.rows) + len(locators))
        spelled = [self.spell(locator) for locator in locators]
        schema = {"id": pl.Int64, self.model.column: pl.String}
        rows = pl.DataFrame({"id": ids, self.model.column: spelled}, schema=schema)
        self.frame = pl.concat([self.frame, rows], how="diagonal")
        self.model.rows.extend(Row(locator) for locator in locators)

    @has_column
    @rule(locators=some_locators, names=some_names, how=st.sampled_from(["vertical", "diagonal"]))
    def append_another_frame(self, locators: list[str | None], names: list[str], how: str) -> None:
        """Concatenate a frame with other properties, failed rows among them."""
        model = self.model
        ids = range(len(model.rows), len(model.rows) + len(locators))
        spelled = [self.spell(locator) for locator in locators]
        schema = {"id": pl.Int64, model.column: pl.String}
        rows = pl.DataFrame({"id": ids, model.column: spelled}, schema=schema)
        rows = im.extract(rows, model.column, self.resolve(names), into=self.into)
        other = Model()
        other.files, other.folder, other.column = model.files, model.folder, model.column
        other.warmth, other.rows = model.warmth, [Row(locator) for locator in locators]
        other.extract(set(names))
        rows = rows.select(self.frame.columns)
        self.frame = pl.concat([self.frame, rows], how=f"{how}_relaxed")  # type: ignore[arg-type] # of the literals
        assert model.names is not None
        model.names |= set(names)
        model.rows += other.rows
        for row in model.rows:
            if row.digest is not None:
                row.values = {name: row.values.get(name) for name in model.names}

    @has_rows
    @rule(
        data=st.data(), locator=st.sampled_from(LOCATORS), how=st.sampled_from(["update", "join"])
    )
    def overwrite_a_locator(self, data: st.DataObject, locator: str | None, how: str) -> None:
        """Let a row name another image, or none."""
        number = data.draw(st.integers(0, len(self.model.rows) - 1))
        column, spelled = self.model.column, self.spell(locator)
        if how == "update":
            schema = {"id": pl.Int64, column: pl.String}
            other = pl.DataFrame({"id": [number], column: [spelled]}, schema=schema)
            self.frame = self.frame.update(other, on="id", include_nulls=True)
        else:
            paths = self.frame.select("id", column).with_columns(
                pl.when(pl.col("id") == number)
                .then(pl.lit(spelled))
                .otherwise(column)
                .alias(column)
            )
            joined = self.frame.drop(column).join(paths, on="id", how="left", maintain_order="left")
            self.frame = joined.select(self.frame.columns)
        self.model.rows[number].locator = locator

    @rule(column=st.sampled_from(["path", "image"]), into=st.sampled_from(["path_imgmeta", "meta"]))
    def rename(self, column: str, into: str) -> None:
        """Rename the locator column and the struct column."""
        names = {self.model.column: column, self.into: into}
        self.frame = self.frame.rename(names, strict=False)
        self.model.column, self.into = column, into

    @has_column
    @has_rows
    @rule(form=st.sampled_from(["parquet", "ipc", "ndjson", "pickle"]))
    def store(self, form: str) -> None:
        """Write the frame and read it again."""
        buffer = io.BytesIO()
        if form == "parquet":
            self.frame.imgmeta.write_parquet(buffer)  # type: ignore[attr-defined]
            self.frame = pl.read_parquet(buffer.getvalue())
        elif form == "ipc":
            self.frame.write_ipc(buffer)
            self.frame = pl.read_ipc(buffer.getvalue())
        elif form == "ndjson":
            # A column without any value has no dtype in JSON.
            assume(self.frame[self.model.column].null_count() < len(self.frame))
            assume(self.frame[self.into].null_count() < len(self.frame))
            assume("modified" not in (self.model.names or ()))
            self.frame.write_ndjson(buffer)
            read = pl.read_ndjson(io.BytesIO(buffer.getvalue()), infer_schema_length=None)
            self.frame = read.select(self.frame.columns)
        else:
            self.frame = pl.DataFrame.deserialize(io.BytesIO(self.frame.serialize()))

    # The verbs

    def resolve(self, names: list[str]) -> list[str | im.Property]:
        """Return what a caller passes: names, and own properties."""
        catalogue = OWN[self.model.warmth]
        return [catalogue[name] for name in names]

    @property
    def options(self) -> dict[str, Any]:
        """The options that every reading verb takes."""
        return {
            "column": self.into,
            "locator": self.model.column,
            "catalogue": OWN[self.model.warmth],
        }

    @rule(names=some_names, data=st.data(), forced=st.booleans())
    def extract(self, names: list[str], data: st.DataObject, forced: bool) -> None:  # noqa: FBT001 - drawn
        """Extract, whether or not there is a column already."""
        rows = st.integers(0, max(len(self.model.rows) - 1, 0))
        force = data.draw(st.sets(rows, max_size=2)) if forced else set()
        where = pl.col("id").is_in(list(force)) if forced else None
        self.model.extract(set(names), force)
        self.apply(
            lambda frame: im.extract(
                frame,
                self.model.column,
                self.resolve(names),
                into=self.into,
                where=where,
                catalogue=OWN[self.model.warmth],
            )
        )

    @has_column
    @rule(names=some_names)
    def add(self, names: list[str]) -> None:
        """Add properties."""
        self.model.extract(set(names))
        self.apply(lambda frame: im.add(frame, *self.resolve(names), **self.options))

    @has_column
    @rule(names=some_names)
    def remove(self, names: list[str]) -> None:
        """Remove properties."""
        self.model.remove(set(names))
        self.apply(
            lambda frame: im.remove(frame, *self.resolve(names), column=self.into), reads=False
        )

    @has_column
    @rule(names=some_names)
    def configure(self, names: list[str]) -> None:
        """Configure the set of properties."""
        assert self.model.names is not None
        self.model.remove(self.model.names - set(names))
        self.model.extract(set(names))
        self.apply(lambda frame: im.configure(frame, self.resolve(names), **self.options))

    @has_column
    @rule(kind=st.sampled_from([None, "not_found", "corrupt", "property_failed"]))
    def retry(self, kind: Any) -> None:  # noqa: ANN401 - of the literals
        """Retry the failed rows."""
        self.model.reads = set()
        for row in self.model.rows:
            if row.locator is None:
                row.clear()
            elif row.error is not None and row.error.startswith(kind or ""):
                self.model.read_anew(row)
        self.apply(lambda frame: im.retry(frame, kinds=kind, **self.options))

    @has_column
    @rule()
    def refresh(self) -> None:
        """Read again what has changed at its source."""
        model = self.model
        model.reads = set()
        states = model.states(check_sources=True)
        for row, state in zip(model.rows, states, strict=True):
            if row.locator is None:
                row.clear()
            elif state in {"gone", "changed"}:
                model.read_anew(row)
        self.apply(lambda frame: im.refresh(frame, **self.options))

    @has_column
    @rule(check_sources=st.booleans())
    def status(self, check_sources: bool) -> None:  # noqa: FBT001 - drawn
        """Ask for the state of each row, which opens nothing."""
        with count_reads(self.root) as opened:
            result = run(
                self.engine,
                self.frame,
                lambda frame: im.status(frame, check_sources=check_sources, **self.options),
            )
        assert not opened
        assert result["state"].to_list() == self.model.states(check_sources=check_sources)

    def apply(self, verb: Any, *, reads: bool = True) -> None:  # noqa: ANN401 - of either kind of frame
        """Run a verb and compare what it read with the model."""
        opened: Counter[str] = Counter()
        with count_reads(self.root / "one") as one, count_reads(self.root / "two") as two:
            self.frame = run(self.engine, self.frame, verb)
        for folder, counts in zip(FOLDERS, (one, two), strict=True):
            opened.update({f"{folder}/{name}": count for name, count in counts.items()})
        there = {path for path, file in self.model.files.items() if file.state != "gone"}
        # An image is read once for each spelling, and again where it contradicts a row.
        expected = Counter(self.model.path_of(locator) for locator, _ in self.model.reads)
        assert opened.keys() & there == expected.keys()
        if self.engine == "eager":
            assert {path: opened[path] for path in expected} == expected
        if self.model.names is not None and reads:
            dtypes = {name: OWN[1][name].dtype for name in self.names}
            flags = {"error": pl.String(), "auto_extracted": pl.String()}
            assert self.frame.schema[self.into] == pl.Struct({**dtypes, **flags})

    @property
    def names(self) -> list[str]:
        """The properties of the column, in its order."""
        return [name for name in OWN[1] if name in (self.model.names or ())]

    @invariant()
    def frame_equals_model(self) -> None:
        """Values, errors and markers are the model's, row by row."""
        if not hasattr(self, "frame"):
            return
        if self.model.names is None:
            assert im.columns(self.frame) == []
            return
        structs = [row.struct(self.names) for row in self.model.rows]
        assert [normalised(one) for one in self.frame[self.into].to_list()] == structs
        if self.frame.schema[self.into] != pl.Null:
            assert im.properties(self.frame, self.into) == self.names
            failed = [row.error for row in self.model.rows if row.error is not None]
            found = im.errors(self.frame, self.into)
            assert [f"{kind}: {text}" for _, kind, text in found.rows()] == failed

    @invariant()
    def settled_rows_equal_a_clean_run(self) -> None:
        """No history is left in a row that is whole, and of the image as it is now."""
        if not hasattr(self, "frame") or self.model.names is None:
            return
        settled = []
        for row in self.model.rows:
            clean = Row(row.locator)
            if row.locator is not None:
                self.model.read_anew(clean)
            clean.column = row.column if row.digest else clean.column
            settled.append(row.struct(self.names) == clean.struct(self.names))
        rows = self.frame.filter(pl.Series(settled, dtype=pl.Boolean))
        names = self.resolve(self.names)
        fresh = im.extract(rows.select(self.model.column), self.model.column, names)
        expected = fresh[f"{self.model.column}_imgmeta"].to_list()
        found = [normalised(one) for one in rows[self.into].to_list()]
        for one in (*expected, *found):
            if one is not None:
                one["auto_extracted"] = one["auto_extracted"].partition("@")[2]
        assert found == expected


def normalised(struct: dict[str, Any] | None) -> dict[str, Any] | None:
    """Take a struct of nulls, which is what NDJSON makes of a null one, for null."""
    if struct is None or struct["auto_extracted"] is None:
        return None
    return struct


Editing.TestCase.settings = settings(stateful_step_count=15)
TestEditing = Editing.TestCase
