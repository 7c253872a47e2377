"""The sandbox: an image that ends its process costs its own row, and nothing else changes."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import harmful_properties as harmful
import numpy as np
import own_properties
import polars as pl
import pytest
from faults import Response, serving
from hypothesis import given
from hypothesis import strategies as st
from interpreters import run_python
from PIL import Image
from polars.testing import assert_frame_equal
from strategies import damaged_encodings, encodings

import polars_imgmeta as im
from polars_imgmeta.catalogue.registry import PropertySet
from polars_imgmeta.display import thumbnails
from polars_imgmeta.execution.budget import Budget
from polars_imgmeta.execution.runtime import DEFAULT, PIXELS_PER_THREAD, Runtime
from polars_imgmeta.measuring.options import Reading, ReadOptions
from polars_imgmeta.sandbox import children, measurement
from polars_imgmeta.sandbox.children import CHILDREN, Child, Children

TESTS = Path(__file__).parents[1]
WAIT_SECONDS = 60
HARMFUL = 12
NO_MEMORY = "do not fit into memory, of which the sandbox has"
KILLED = "ended its process with SIGKILL, which the system sends when memory runs out"


def png(level: int, side: int = 30) -> bytes:
    """Encode a picture of one level of grey."""
    file = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


def frame_with(harm: bytes, images: int = 30) -> pl.DataFrame:
    """Return images, of which one does harm."""
    data = [png(1 + number) for number in range(images)]
    data[HARMFUL] = harm
    return pl.DataFrame({"image": data})


def extract(frame: pl.DataFrame, *properties: Any, **options: Any) -> pl.DataFrame:  # noqa: ANN401 - as the verb
    """Extract in a sandbox, and return the structs as a frame."""
    options.setdefault("sandbox", True)
    column = frame.columns[0]
    return im.extract(frame, column, properties, **options)[f"{column}_imgmeta"].struct.unnest()


def wait_until_gone(process: int) -> None:
    """Wait until a process has ended."""
    until = time.monotonic() + WAIT_SECONDS
    while Path(f"/proc/{process}").exists():
        status = Path(f"/proc/{process}/stat")
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":  # init reaps it, or nothing
                return
        except OSError:
            return
        assert time.monotonic() < until
        time.sleep(0.01)


# --- Harm


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (harmful.segfaults, "ended its process with SIGSEGV"),
        (harmful.aborts, "ended its process with SIGABRT"),
        (harmful.exits, "ended its process with exit status 3"),
        (harmful.leaves, "ended its process with exit status 4"),
        (harmful.grows, "raised MemoryError: MemoryError"),
        (harmful.grows_in_c, "ended its process with SIGABRT"),
        (harmful.lies, "made its process send what it never should"),
        (harmful.killed, KILLED),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_property_that_does_harm_fails_alone(harm: im.Property, cause: str) -> None:
    """Its row has the other properties; no other row is hurt."""
    frame = frame_with(png(0))
    found = extract(frame, "standard", harm, harmful.mean, sandbox=im.Sandbox(max_memory=1 << 29))
    expected = extract(frame, "standard", harmful.mean, sandbox=False)
    assert_frame_equal(
        found.select(expected.drop("error", "auto_extracted").columns),
        expected.drop("error", "auto_extracted"),
    )
    errors: list[str | None] = [None] * len(frame)
    errors[HARMFUL] = f"property_failed: {harm.name} {cause}"
    assert found["error"].to_list() == errors
    assert found[harm.name].to_list() == [None if error else 1 for error in errors]


@pytest.mark.slow
@pytest.mark.parametrize(
    "harm", [harmful.hangs, harmful.hangs_in_c, harmful.stops], ids=lambda one: one.name
)
def test_a_property_that_hangs_is_ended(harm: im.Property) -> None:
    """Also one that keeps the interpreter's lock, or stops its process; its row names the limit."""
    frame = frame_with(png(0), 14)
    found = extract(frame, "width", harm, harmful.mean, sandbox=im.Sandbox(timeout=3))
    assert found["error"][HARMFUL] == (
        f"property_failed: {harm.name} took longer than `timeout` of the sandbox, which is"
        " 3 seconds"
    )
    assert found["mean"].null_count() == 0
    assert found["error"].null_count() == len(frame) - 1


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (harmful.asks, "made its process send what it never should"),
        (harmful.stalls, "took longer than `timeout` of the sandbox, which is 4 seconds"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_child_that_was_taken_over_gains_nothing(
    harm: im.Property, cause: str, tmp_path: Path
) -> None:
    """It can neither read what the parent has closed, nor keep it waiting for ever."""
    (tmp_path / "a.png").write_bytes(png(0))
    frame = pl.DataFrame({"path": [str(tmp_path / "a.png")]})
    found = extract(frame, "width", harm, sandbox=im.Sandbox(timeout=4))
    assert found["error"].to_list() == [f"property_failed: {harm.name} {cause}"]
    assert found["width"].to_list() == [30]


@pytest.mark.slow
def test_a_row_has_nothing_of_the_image_before() -> None:
    """One that hangs at its header, behind one that is measured alone."""
    large = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    Image.fromarray(noise).save(large, "PNG")
    hanging = harmful.harmful_image("header", "hangs") + bytes(1 << 18)
    frame = pl.DataFrame({"image": [large.getvalue(), hanging, large.getvalue()]})
    found = extract(
        frame, "width", "brightness", harmful.with_harmful_format, sandbox=im.Sandbox(timeout=4)
    )
    assert found["width"].to_list() == [400, None, 400]
    cause = "took longer than `timeout` of the sandbox, which is 4 seconds"
    assert found["error"].to_list() == [None, f"too_large: the reader of headers {cause}", None]


def test_floods_of_output_go_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    """What a property prints is dropped, and delays nothing."""
    found = extract(frame_with(png(0)), harmful.floods)
    assert found["floods"].to_list() == [1] * 30
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("part", "harm", "error"),
    [
        ("header", "segfaults", "corrupt: the reader of headers ended its process with SIGSEGV"),
        ("pixels", "segfaults", "corrupt: {} ended its process with SIGSEGV"),
        ("pixels", "exits", "corrupt: {} ended its process with exit status 3"),
        (
            "pixels",
            "killed",
            f"too_large: {{}} {KILLED}",
        ),
        (
            "pixels",
            "grows",
            f"too_large: the pixels {NO_MEMORY} {1 << 32} bytes",
        ),
        ("pixels", "grows_in_c", "corrupt: {} ended its process with SIGABRT"),
        (
            "pixels",
            "hangs",
            "too_large: {} took longer than `timeout` of the sandbox, which is 3 seconds",
        ),
    ],
)
def test_a_decoder_that_does_harm_fails_alone(part: str, harm: str, error: str) -> None:
    """The row keeps its geometry where the header was read; no other row is hurt."""
    frame = frame_with(harmful.harmful_image(part, harm))
    sandbox = im.Sandbox(timeout=3 if harm == "hangs" else 60)
    found = extract(frame, "standard", harmful.with_harmful_format, sandbox=sandbox)
    row = found.row(HARMFUL, named=True)
    assert row["error"] == error.format("the HARM decoder of Pillow")
    assert (row["width"], row["height"]) == ((None, None) if part == "header" else (30, 20))
    assert row["brightness"] is None
    others = found.filter(pl.int_range(pl.len()) != HARMFUL)
    assert others["error"].null_count() == len(others)
    assert others["brightness"].to_list() == pytest.approx(
        [(1 + n) / 255 for n in range(30) if n != HARMFUL]
    )


def test_memory_is_limited() -> None:
    """A picture that does not fit is too large, and its row names the limit."""
    frame = pl.DataFrame({"image": [png(9, 6000), png(9)]})
    found = extract(frame, "standard", sandbox=im.Sandbox(max_memory=1 << 24))
    large, small = found["error"]
    assert large.startswith("too_large: the ")
    assert large.endswith(f" {NO_MEMORY} 16777216 bytes")
    assert small is None
    assert found["width"].to_list() == [6000, 30]


def test_many_that_do_harm() -> None:
    """Each is found, wherever they are."""
    data = [png(0 if number % 7 == 3 else 9) for number in range(60)]
    found = extract(
        pl.DataFrame({"image": [d + bytes([n]) for n, d in enumerate(data)]}),
        "width",
        harmful.segfaults,
    )
    failed = [number % 7 == 3 for number in range(60)]
    assert found["error"].is_not_null().to_list() == failed
    assert found["width"].null_count() == 0


def test_two_extractions_at_once_hurt_neither() -> None:
    """Nor do they have more processes than threads."""

    def run(harm: im.Property) -> tuple[list[bool], int]:
        found = extract(frame_with(png(0)), harm)
        return found["error"].is_not_null().to_list(), found[harm.name].null_count()

    expected = [number == HARMFUL for number in range(30)]
    with ThreadPoolExecutor(3) as pool:
        for failed, nulls in pool.map(run, [harmful.segfaults, harmful.exits, harmful.aborts] * 2):
            assert (failed, nulls) == (expected, 1)
    assert len(CHILDREN.living) <= im.thread_count()


@pytest.mark.slow
def test_children_that_are_killed_from_outside_are_replaced() -> None:
    """Their images are measured by others."""
    frame = pl.DataFrame(
        {"image": [png(number % 250, 400) + bytes([number % 251]) for number in range(400)]}
    )
    expected = extract(frame, "standard", sandbox=False)
    extract(frame.head(2), "width")
    victims = set(CHILDREN.living)

    def kill() -> None:
        """Kill those children once of which one has begun."""
        until = time.monotonic() + WAIT_SECONDS
        while CHILDREN.idle.issuperset(victims) and time.monotonic() < until:
            time.sleep(0.001)
        for child in victims:
            os.kill(child.process, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = extract(frame, "standard")
    killer.join()
    assert victims - CHILDREN.living
    assert_frame_equal(found.drop("auto_extracted"), expected.drop("auto_extracted"))


def test_a_template_that_is_killed_is_replaced() -> None:
    """The next extraction starts another one."""
    frame = pl.DataFrame({"image": [png(9)]})
    sandbox = im.Sandbox(timeout=59)
    first = extract(frame, harmful.process, sandbox=sandbox)["process"][0]
    os.kill(CHILDREN.templates[sandbox].process, signal.SIGKILL)
    os.kill(first, signal.SIGKILL)
    assert extract(frame, harmful.process, sandbox=sandbox)["process"][0] not in {None, first}


# --- Equal in all else


@given(
    cases=st.lists(
        st.one_of(
            encodings().map(lambda one: one.data), damaged_encodings().map(lambda case: case[1])
        ),
        min_size=1,
        max_size=6,
    )
)
def test_values_and_errors_are_those_without_a_sandbox(cases: list[bytes]) -> None:
    """Of images of every format, whole and damaged; to the last bit."""
    frame = pl.DataFrame({"image": cases})
    properties = ("standard", "source", *own_properties.ALL, own_properties.fragile)
    assert_frame_equal(
        extract(frame, *properties), extract(frame, *properties, sandbox=False), check_exact=True
    )


@given(cases=st.lists(encodings(), min_size=1, max_size=4))
def test_details_and_digests_are_those_without_a_sandbox(cases: list[Any]) -> None:
    """Those of the groups that are not standard too: of files, identity and quality."""
    exif = Image.Exif()
    exif[271] = "a maker"
    exif.get_ifd(0x8769)[0x9003] = "2026:11:25 12:30:00"
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (9, 99, 200)).save(file, "JPEG", exif=exif)
    frame = pl.DataFrame({"image": [file.getvalue(), *(case.data for case in cases), b"broken"]})
    properties = ("file", "identity", "quality")
    confined = extract(frame, *properties)
    assert_frame_equal(confined, extract(frame, *properties, sandbox=False), check_exact=True)
    row = confined.row(0, named=True)
    assert row["camera_make"] == "a maker"
    assert row["captured"] == datetime(2026, 11, 25, 12, 30)  # noqa: DTZ001 - of a camera
    assert row["file_digest"] is not None


@pytest.mark.parametrize("sizes", [(1 << 24, 1 << 16), (0, 0), (5000, 4096)])
@pytest.mark.parametrize(
    "properties", [["geometry"], ["standard", "source", own_properties.digest]]
)
def test_files_are_sent_whole_or_on_demand(
    sizes: tuple[int, int],
    properties: list[Any],
    sample_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Which makes no difference to values and errors."""
    monkeypatch.setattr(measurement, "_WHOLE_BYTES", sizes[0])
    monkeypatch.setattr(measurement, "_SMALL_BYTES", sizes[1])
    for kind in ("tiff", "webp", "bmp", "gif", "jpeg"):
        Image.open(sample_folder / "photos/portrait.jpg").save(tmp_path / f"a.{kind}")
    (tmp_path / "empty").touch()
    paths = [
        *sorted((sample_folder / "photos").iterdir()),
        *sorted(tmp_path.iterdir()),
        Path("gone"),
        tmp_path,
    ]
    frame = pl.DataFrame({"path": list(map(str, paths))})
    found = extract(frame, *properties)
    assert_frame_equal(found, extract(frame, *properties, sandbox=False), check_exact=True)
    assert 3 < found["error"].null_count() < len(frame)


@pytest.mark.server
@pytest.mark.parametrize("properties", [["geometry", "source"], ["standard"]])
def test_remote_images_are_fetched_by_the_parent(
    properties: list[str], sample_folder: Path
) -> None:
    """Whole, or the parts that the header needs; a failing server has the same errors."""
    routes: dict[str, Any] = {
        f"/{path.name}": path.read_bytes() for path in (sample_folder / "photos").iterdir()
    }
    large = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)).save(
        large, "TIFF"
    )
    # Pillow writes the directory of a TIFF first; behind the pixels it needs more requests.
    routes["/late.tiff"] = large.getvalue()
    routes["/broken"] = Response(status=500)
    with serving(routes) as server:
        frame = pl.DataFrame({"url": [server.url(name[1:]) for name in (*routes, "/gone.png")]})
        access = im.Access(timeout=5)
        found = extract(frame, *properties, access=access)
        expected = extract(frame, *properties, access=access, sandbox=False)
    assert_frame_equal(found, expected, check_exact=True)


def test_thumbnails_are_those_without_a_sandbox(sample_folder: Path) -> None:
    """Reports and plots draw the same pictures."""
    paths = pl.Series(sorted(map(str, (sample_folder / "photos").iterdir())))
    reading = Reading.of(ReadOptions, {"sandbox": True})
    assert thumbnails.data_uris(paths, 40, reading=reading) == thumbnails.data_uris(paths, 40)


def test_every_verb_that_reads_takes_it(sample_folder: Path, tmp_path: Path) -> None:
    """And reads nothing in this process."""
    frame = im.scan_images(sample_folder / "photos").select("path").collect()
    frame = im.extract(frame, "path", "width", sandbox=True)
    frame = im.add(frame, "brightness", sandbox=True)
    frame = im.configure(frame, ["height", harmful.process], sandbox=True)
    catalogue = im.Catalogue([harmful.process])
    frame = im.retry(frame, catalogue=catalogue, sandbox=True)
    frame = im.refresh(frame, catalogue=catalogue, sandbox=True)
    processes = set(frame["path_imgmeta"].struct.field("process").drop_nulls())
    assert processes
    assert os.getpid() not in processes
    im.report(frame, tmp_path / "report.html", sandbox=True)
    assert "data:image/webp" in (tmp_path / "report.html").read_text()
    lazy = im.extract(frame.lazy().select("path"), "path", "standard", sandbox=True)
    assert_frame_equal(
        lazy.collect(engine="streaming"),
        im.extract(frame.select("path"), "path", "standard"),
    )


def test_errors_are_raised_under_on_error_raise() -> None:
    """As without a sandbox."""
    with pytest.raises(im.PropertyFailedError, match="SIGSEGV"):
        extract(frame_with(png(0)), harmful.segfaults, on_error="raise")


# --- Properties of one's own


VALUES: list[tuple[pl.DataType, Any]] = [
    (pl.Int8(), -128),
    (pl.Int64(), (1 << 63) - 1),
    (pl.Float32(), 0.1),
    (pl.Float64(), float("nan")),
    (pl.Float64(), -0.0),
    (pl.String(), "ß\ud7ff\U0001f40b\0"),
    (pl.Boolean(), False),
    (pl.Date(), date(1, 1, 1)),
    (pl.Datetime("ns", "Europe/Paris"), datetime(2026, 7, 1, 12, tzinfo=UTC)),
    (pl.Datetime("ms"), datetime(9999, 12, 31, 23)),  # noqa: DTZ001 - without a zone
    (pl.Duration("us"), timedelta(days=-3, microseconds=1)),
    (pl.List(pl.String()), ["a", None]),
    (pl.List(pl.Date()), []),
    (pl.Array(pl.List(pl.Float64()), 2), [[1.5], [float("inf"), None]]),
]


@pytest.mark.parametrize(("dtype", "value"), VALUES, ids=[str(dtype) for dtype, _ in VALUES])
def test_values_of_every_dtype_arrive(dtype: pl.DataType, value: Any) -> None:  # noqa: ANN401 - of the dtype
    """A property is a function of this test, which is pickled by value."""

    @im.custom_property(needs="header", dtype=dtype, nullable=True)
    def constant(header: Any) -> Any:  # noqa: ANN401 - of the dtype
        return value if header.width == 30 else None

    frame = pl.DataFrame({"image": [png(1), png(1, 20)]})
    assert_frame_equal(
        extract(frame, constant), extract(frame, constant, sandbox=False), check_exact=True
    )


def test_properties_run_in_another_process() -> None:
    """What they change in it, is not changed here."""
    found = extract(frame_with(png(9)), harmful.process)
    assert os.getpid() not in found["process"].to_list()


def test_a_property_that_raises_has_the_same_error() -> None:
    """Also one that calls an extraction, which it must not."""
    frame = pl.DataFrame({"image": [png(9)]})
    for one in (harmful.raises, own_properties.mistyped, own_properties.recursive):
        expected = extract(frame, one, sandbox=False)
        assert_frame_equal(extract(frame, one), expected)
        assert expected["error"].null_count() == 0


def test_a_property_that_cannot_travel_is_refused() -> None:
    """The message says why, and what to do."""
    lock = threading.Lock()

    @im.custom_property(needs="header", dtype=pl.Int64)
    def locked(_: Any) -> int:  # noqa: ANN401 - a header
        return int(lock.locked())

    with pytest.raises(
        im.PropertyError, match=r"(?s)'locked' must reach the sandbox.*thread.lock.*Hint"
    ):
        extract(pl.DataFrame({"image": [png(9)]}), locked)


def test_a_module_that_only_this_process_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names it."""
    module = type(sys)("made_here")
    monkeypatch.setitem(sys.modules, "made_here", module)
    code = (
        "import polars as pl, polars_imgmeta as im\n"
        "@im.custom_property(needs='header', dtype=pl.Int64)\n"
        "def one(_):\n    return 1\n"
    )
    exec(code, module.__dict__)  # noqa: S102 - code of this test
    with pytest.raises(im.PropertyError, match=r"(?s)importable in the sandbox.*made_here.*Hint"):
        extract(pl.DataFrame({"image": [png(9)]}), module.one)


def test_scripts_need_no_guard(tmp_path: Path) -> None:
    """Nor modules for their properties."""
    (tmp_path / "a.png").write_bytes(png(0))
    script = tmp_path / "script.py"
    script.write_text(
        "import os, polars as pl, polars_imgmeta as im\n"
        "HERE = os.getpid()\n"
        "@im.custom_property(needs='picture', dtype=pl.Boolean)\n"
        "def elsewhere(picture):\n    return os.getpid() != HERE and not picture.any()\n"
        "frame = pl.DataFrame({'path': ['a.png']})\n"
        "frame = im.extract(frame, 'path', ['width', elsewhere], sandbox=True)\n"
        "print(frame['path_imgmeta'][0]['width'], frame['path_imgmeta'][0]['elsewhere'])\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("30 True\n", "")


# --- Processes


def test_processes_are_reused_and_nothing_leaks() -> None:
    """After many deaths: the same descriptors, one template, and no zombie."""
    frame = frame_with(png(0))

    def state() -> tuple[int, int]:
        path = Path(f"/proc/{os.getpid()}/task")
        found = [task.joinpath("children").read_text().split() for task in path.iterdir()]
        return len(os.listdir("/proc/self/fd")), sum(map(len, found))  # noqa: PTH208 - itself counts

    extract(frame, harmful.segfaults)
    before = state()
    for _ in range(5):
        extract(frame, harmful.segfaults)
    descriptors, processes = state()
    # A child may have been added, as another thread took part: a socket each.
    assert descriptors <= before[0] + im.thread_count()
    assert processes == before[1]
    template = CHILDREN.templates[im.Sandbox()].process
    below = Path(f"/proc/{template}/task/{template}/children").read_text().split()
    assert len(below) <= im.thread_count()


_WORK = (
    "import sys; sys.path.insert(0, {tests!r})\n"
    "import harmful_properties as harmful, polars as pl, polars_imgmeta as im\n"
    "from polars_imgmeta.sandbox.children import CHILDREN\n"
    "import os, threading, time\n"
    "def tell():\n"
    "    while not any(child.used for child in CHILDREN.living):\n        time.sleep(0.01)\n"
    "    time.sleep(0.5)\n"
    "    (child,) = CHILDREN.living\n"
    "    (template,) = CHILDREN.templates.values()\n"
    "    print(template.process, child.process, flush=True)\n"
    "threading.Thread(target=tell, daemon=True).start()\n"
    "frame = pl.DataFrame({{'image': [open('black.png', 'rb').read()]}})\n"
    "try:\n    im.extract(frame, 'image', harmful.hangs_in_c, sandbox=True)\n"
    "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_children_end_with_their_parent(sent: signal.Signals, tmp_path: Path) -> None:
    """However it ends, and whatever they are doing."""
    (tmp_path / "black.png").write_bytes(png(0))
    with subprocess.Popen(
        [sys.executable, "-c", _WORK.format(tests=str(TESTS))],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        processes = list(map(int, parent.stdout.readline().split()))
        assert len(processes) == 2
        parent.send_signal(sent)
        rest = parent.stdout.read()
        status = parent.wait(WAIT_SECONDS)
    assert (rest, status) == (("interrupted\n", 0) if sent == signal.SIGINT else ("", -sent))
    for process in processes:
        wait_until_gone(process)


def test_a_forked_child_has_a_sandbox_of_its_own(tmp_path: Path) -> None:
    """And its parent keeps its own."""
    (tmp_path / "a.png").write_bytes(png(0))
    code = (
        "import os, sys, warnings, polars_imgmeta as im\n"
        f"sys.path.insert(0, {str(TESTS)!r})\n"
        "warnings.simplefilter('ignore')\n"
        "import harmful_properties as harmful\n"
        "from polars_imgmeta.catalogue.registry import PropertySet\n"
        "from polars_imgmeta.measuring.options import Reading, Sandbox\n"
        "from polars_imgmeta.sandbox.measurement import measure_all\n"
        "def process():\n"
        "    wanted = PropertySet([harmful.process])\n"
        "    ((_, one),) = measure_all([(0, ('a.png', wanted))], Reading(sandbox=Sandbox()))\n"
        "    return one.values['process']\n"
        "first = process()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    mine = process()\n"
        "    os._exit(0 if mine != first and mine == process() else 1)\n"
        "status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "print(status, process() == first)"
    )
    done = run_python(code, tmp_path)
    assert (done.stdout, done.stderr) == ("0 True\n", "")


def test_large_pictures_share_the_budget_of_the_parent() -> None:
    """A child asks for what exceeds the share of a thread."""

    class Recorded(Budget):
        taken: list[int] = []  # noqa: RUF012 - of this test

        def take(self, amount: int) -> None:
            self.taken.append(amount)
            super().take(amount)

    runtime = Runtime(1)
    runtime.pixels = Recorded(PIXELS_PER_THREAD)
    file = io.BytesIO()
    Image.new("L", (8192, 4097)).save(file, "PNG", compress_level=1)
    wanted = PropertySet([im.CATALOGUE["brightness"]])
    requests = [(n, (data, wanted)) for n, data in enumerate([png(9), file.getvalue(), png(9)])]
    reading = Reading.of(ReadOptions, {"sandbox": True})
    found = dict(measurement.measure_all(requests, reading, runtime))
    assert [found[n].values["brightness"] for n in range(3)] == pytest.approx([9 / 255, 0, 9 / 255])
    assert runtime.pixels.taken == [PIXELS_PER_THREAD, 8192 * 4097, PIXELS_PER_THREAD]
    assert runtime.pixels.held == 0


def test_an_abandoned_iterator_leaves_nothing_at_work() -> None:
    """Its child is ended or can be used by others; images are closed."""
    wanted = PropertySet([im.CATALOGUE["brightness"]])
    reading = Reading.of(ReadOptions, {"sandbox": True})
    requests = ((n, (png(n % 200, 300), wanted)) for n in range(500))
    before = DEFAULT.pixels.held
    some = iter(measurement.measure_all(requests, reading))
    next(some)
    some.close()  # type: ignore[attr-defined]
    assert DEFAULT.pixels.held == before
    assert extract(pl.DataFrame({"image": [png(9)]}), "width")["width"].to_list() == [30]


@pytest.mark.slow
def test_former_limits_cost_nothing() -> None:
    """Few templates stay, however many limits are tried."""
    pool = Children(Runtime(1))
    try:
        for timeout in range(40, 46):
            pool.drop(pool.take(im.Sandbox(timeout=timeout)))
        assert [sandbox.timeout for sandbox in pool.templates] == [43, 44, 45]
    finally:
        pool.close()


def test_no_more_processes_than_threads() -> None:
    """A child that other limits need replaces an idle one."""
    pool = Children(Runtime(2))
    try:
        first = [pool.take(im.Sandbox(timeout=n)) for n in (50, 51)]
        for child in first:
            pool.put_back(child)
        assert pool.take(im.Sandbox(timeout=51)) is first[1]
        other = pool.take(im.Sandbox(timeout=52))
        assert isinstance(other, Child)
        assert pool.living == {first[1], other}
    finally:
        pool.close()
    with pytest.raises(RuntimeError, match="about to end"):
        pool.take(im.Sandbox(timeout=53))


# --- What it may do


def test_children_reach_neither_files_nor_network_nor_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as the system offers it; what it does not offer is told."""
    monkeypatch.setenv("A_SECRET", "s")
    (tmp_path / "open").mkdir()
    files = [tmp_path / "secret.txt", tmp_path / "open/model.bin"]
    for file in files:
        file.write_text("s")
    frame = pl.DataFrame({"image": [png(9) + b"names:" + ",".join(map(str, files)).encode()]})
    assert set(extract(frame, harmful.reach, sandbox=False)["reach"][0]) == {
        "read",
        "written",
        "connected",
        "A_SECRET",
    }
    sandbox = im.Sandbox(readable=[tmp_path / "open"])
    gaps = im.sandbox_gaps(sandbox)
    reached = extract(frame, harmful.reach, sandbox=sandbox)["reach"][0].to_list()
    expected = ["read", "written"] * 2 if "files" in gaps else ["read"]
    assert reached == expected + ["connected"] * ("tcp" in gaps)


_CONFINED = (
    "import sys\n"
    "import landlockpy\n"
    "from polars_imgmeta.sandbox.confinement import confine\n"
    "def failing(error):\n"
    "    def fail(*_, **__):\n        raise error\n"
    "    return fail\n"
    "{patch}\n"
    "print(*confine(1 << 30, []))\n"
)


@pytest.mark.parametrize(
    ("patch", "gaps"),
    [
        (
            "landlockpy.abi_version = failing(landlockpy.UnsupportedError(38, 'none'))",
            "files tcp udp",
        ),
        (
            "landlockpy.Ruleset.restrict = failing(landlockpy.LandlockError(1, 'no'))",
            "files tcp udp",
        ),
        ("landlockpy.abi_version = lambda: 2", "files tcp udp"),
        ("landlockpy.abi_version = lambda: 3", "tcp udp"),
        ("landlockpy.abi_version = lambda: 4", "udp"),
        ("landlockpy.abi_version = lambda: 10", ""),
        ("sys.platform = 'darwin'", "files tcp udp"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="Landlock is of Linux")
def test_gaps_are_told(patch: str, gaps: str, tmp_path: Path) -> None:
    """Of kernels without Landlock, with an older version of it, and of other systems."""
    done = run_python(_CONFINED.format(patch=patch), tmp_path)
    assert (done.stdout, done.stderr) == (f"{gaps}\n", "")


# --- Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "`timeout` must be a positive number of seconds"),
        ({"max_memory": 1.5}, "`max_memory` must be a positive whole number"),
        ({"readable": "/models"}, "`readable` must be a collection of folders"),
    ],
)
def test_invalid_limits_are_refused(options: dict[str, Any], message: str) -> None:
    """When the sandbox is made."""
    with pytest.raises(ValueError, match=message):
        im.Sandbox(**options)


def test_invalid_sandboxes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the call is made; also where the extra or the system is missing."""
    frame = pl.LazyFrame({"path": ["a.png"]})
    with pytest.raises(TypeError, match="`sandbox` must be True, False or a `Sandbox`, got 5"):
        im.extract(frame, "path", sandbox=5)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.setattr("polars_imgmeta.measuring.options.find_spec", lambda _: None)
        with pytest.raises(ImportError, match=r"pip install 'polars-imgmeta\[sandbox\]'"):
            im.extract(frame, "path", sandbox=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "")
        with pytest.raises(RuntimeError, match="`sandbox` needs Linux or macOS"):
            im.extract(frame, "path", sandbox=True)


def test_no_folder_need_be_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no place for temporary files, a sandbox starts nevertheless."""

    def refuse() -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    pool = Children(Runtime(1))
    pool.put_back(pool.take(im.Sandbox(max_memory=1 << 28)))
    pool.close()


def test_a_python_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the last line that it wrote."""
    pool = Children(Runtime(1))
    monkeypatch.setattr(children, "_PROGRAM", "import gone_module")
    with pytest.raises(RuntimeError, match=r"(?s)cannot start a process.*No module named.*Hint"):
        pool.take(im.Sandbox())
    monkeypatch.setattr(sys, "executable", "/gone/python")
    with pytest.raises(RuntimeError, match=r"cannot start a process: .*No such file"):
        pool.take(im.Sandbox())
