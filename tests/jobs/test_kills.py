"""A job that is killed at any moment loses little, and the next run completes its output."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import settings
from killing import Killing, killing
from polars.testing import assert_frame_equal

from polars_imgmeta.cli.samples import make_samples

pytestmark = pytest.mark.slow

# Of the 60 inputs of CI, a third; hundreds before a release.
KILLS = min(400, settings().max_examples // 3)
PROPERTIES = ["geometry", "brightness"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images."""
    folder = tmp_path_factory.mktemp("kills")
    make_samples(folder / "photos")
    make_samples(folder / "photos" / "more")
    return folder


@pytest.fixture(scope="module")
def jobs(home: Path) -> Iterator[Killing]:
    """What runs jobs there."""
    with killing(home) as runs:
        yield runs


@pytest.fixture(scope="module")
def undisturbed(home: Path, jobs: Killing) -> pl.DataFrame:
    """What a job makes that nothing disturbs."""
    output = str(home / "undisturbed")
    assert jobs.run(source="photos", output=output, properties=PROPERTIES) == 0
    return pl.read_parquet(output)


def whole(output: Path) -> int:
    """Check that what is under a final name can be read; return the number of rows."""
    parts = sorted(output.glob("*.parquet")) if output.is_dir() else [output]
    return sum(len(pl.read_parquet(part)) for part in parts if part.exists())


@pytest.mark.parametrize("name", ["folder", "file.parquet"])
def test_killed_anywhere_it_goes_on(
    name: str, home: Path, jobs: Killing, undisturbed: pl.DataFrame
) -> None:
    """SIGKILL before any operation on the output: nothing is unreadable, and the next run ends."""
    moments = random.Random(name).sample(range(1, 75), min(74, KILLS))  # noqa: S311 - repeatable
    killed = 0
    for moment in moments:
        output = home / f"{moment}-{name}"
        status = jobs.run(event=moment, source="photos", output=str(output), properties=PROPERTIES)
        killed += status == -9
        before = whole(output) if output.exists() else 0
        assert before <= len(undisturbed)
        done = jobs.run(source="photos", output=str(output), properties=PROPERTIES)
        assert done == 0, jobs.log.read_text()
        assert_frame_equal(pl.read_parquet(output), undisturbed)
        assert not [one.name for one in home.iterdir() if one.name.endswith((".tmp", ".parts"))]
    assert killed > len(moments) // 2


def test_killed_again_and_again_it_ends(
    home: Path, jobs: Killing, undisturbed: pl.DataFrame
) -> None:
    """Each run gets a little further, whenever it is killed or asked to stop."""
    chance = random.Random(1)  # noqa: S311 - repeatable
    kills = 0
    while kills < KILLS:
        output = home / f"again-{kills}"
        while kills < KILLS and (
            ended := jobs.run(
                seconds=chance.uniform(0, 0.3),
                signal=chance.choice(["SIGKILL", "SIGTERM", "SIGHUP"]),
                source="photos",
                output=str(output),
                properties=PROPERTIES,
            )
        ):
            assert ended in {-9, -15, -1}, jobs.log.read_text()
            kills += 1
            whole(output) if output.exists() else 0
        assert jobs.run(source="photos", output=str(output), properties=PROPERTIES) == 0
        assert_frame_equal(pl.read_parquet(output), undisturbed)


@pytest.mark.server
@pytest.mark.parametrize("cloud", ["s3_tables", "azure_tables"])
@pytest.mark.parametrize("name", ["folder", "file.parquet"])
def test_killed_while_it_uploads(
    cloud: str,
    name: str,
    jobs: Killing,
    undisturbed: pl.DataFrame,
    request: pytest.FixtureRequest,
) -> None:
    """What is in cloud storage are completed uploads, and the next run goes on from them."""
    root, options = request.getfixturevalue(cloud)
    chance = random.Random(name)  # noqa: S311 - repeatable
    arguments: dict[str, Any] = {"source": "photos", "properties": PROPERTIES}
    kills = 0
    for attempt in range(max(2, KILLS // 8)):
        arguments |= {"output": f"{root}/{attempt}-{name}", "storage_options": options}
        for _ in range(3):
            kills += jobs.run(seconds=chance.uniform(0.05, 1.0), **arguments) == -9
        assert jobs.run(**arguments) == 0, jobs.log.read_text()
        url = arguments["output"] + ("" if name.endswith(".parquet") else "/*.parquet")
        assert_frame_equal(pl.read_parquet(url, storage_options=options), undisturbed)
    assert kills


@pytest.mark.parametrize(
    "options", [{"retry": True}, {"refresh": True}, {"properties": "symmetry"}]
)
def test_killed_while_it_changes_parts(options: dict[str, Any], home: Path, jobs: Killing) -> None:
    """Parts of an earlier run are replaced as a whole."""
    first, expected = home / f"first-{next(iter(options))}", home / f"then-{next(iter(options))}"
    for output in (first, expected):
        assert jobs.run(source="photos", output=str(output), properties="geometry") == 0
    assert (
        jobs.run(source="photos", output=str(expected), **{"properties": "geometry", **options})
        == 0
    )
    for moment in range(3, 3 + max(4, KILLS // 2), 2):
        output = home / f"{first.name}-{moment}"
        shutil.copytree(first, output)
        arguments = {"source": "photos", "output": str(output), "properties": "geometry"} | options
        jobs.run(event=moment, **arguments)
        whole(output)
        assert jobs.run(**arguments) == 0, jobs.log.read_text()
        assert_frame_equal(pl.read_parquet(output), pl.read_parquet(expected))


@pytest.mark.parametrize(("signal", "number"), [("SIGTERM", 15), ("SIGHUP", 1), ("SIGINT", 2)])
def test_a_signal_stops_it_and_keeps_what_is_done(
    signal: str, number: int, home: Path, jobs: Killing, undisturbed: pl.DataFrame
) -> None:
    """It ends by the signal, after it has written the rows that are done."""
    output = home / signal
    # After the record and before the first part.
    for event in range(6, 40, 4):
        shutil.rmtree(output, ignore_errors=True)
        status = jobs.run(
            event=event,
            signal=signal,
            source="photos",
            output=str(output),
            properties=PROPERTIES,
        )
        # Ctrl-C raises, and its process has no other handler.
        assert status in ({0, 1} if signal == "SIGINT" else {0, -number}), jobs.log.read_text()
        assert not [one for one in output.iterdir() if one.name.endswith(".tmp")]
        if status == 1:
            assert jobs.log.read_text().startswith("KeyboardInterrupt")
        assert jobs.run(source="photos", output=str(output), properties=PROPERTIES) == 0
        assert_frame_equal(pl.read_parquet(output), undisturbed)


STOPPED = """
    import os, signal, sys, threading, time
    import polars as pl
    import polars_imgmeta as im

    # Time as this process has it, which other processes may keep from running.
    ticks = 0

    def tick():
        global ticks
        while True:
            time.sleep(0.01)
            ticks += 1

    def stop():
        started.wait()
        time.sleep(0.3)
        sent.append(ticks)
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))

    def handle(*_):
        raise SystemExit

    @im.custom_property(needs="header", dtype=pl.Int64, version=1)
    def slow(header):
        begun.append(ticks)
        started.set()
        time.sleep(0.05)
        return 1

    started, begun, sent = threading.Event(), [], []
    signal.signal(getattr(signal, sys.argv[1]), handle)
    for function in (tick, stop):
        threading.Thread(target=function, daemon=True).start()
    frame = pl.DataFrame({"path": ["photos/" + "./" * n + "dusk.png" for n in range(800)]})
    lazy = "lazy" in sys.argv[2]
    try:
        if "run" in sys.argv[2]:
            im.run(frame.lazy() if lazy else frame, sys.argv[3], "path", ["width", slow])
        else:
            im.extract(frame, "path", ["width", slow])
    except SystemExit:
        print(ticks - sent[0], sum(one > sent[0] for one in begun))
        print([one.name for one in threading.enumerate() if one.name.startswith("imgmeta")])
"""


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGHUP", "SIGINT"])
@pytest.mark.parametrize("how", ["run", "run lazy", "extract"])
def test_a_signal_is_heard_within_a_second(signal: str, how: str, home: Path) -> None:
    """Whatever else there is to do, its handler is called; no thread of a job goes on."""
    output = home / f"{how} {signal}"
    done = _run([sys.executable, "-c", textwrap.dedent(STOPPED), signal, how, str(output)], home)
    assert done.returncode == 0, done.stderr
    figures, threads = done.stdout.splitlines()
    ticks, images = map(int, figures.split())
    assert ticks < 100
    assert images <= 20 * pl.thread_pool_size()  # as many as take a second
    if "run" in how:
        assert threads == "[]"
        assert len(pl.read_parquet(output)) < 800


@pytest.mark.parametrize("execute", ["collect()", "imgmeta.sink_parquet(sys.argv[1])"])
def test_sigterm_ends_a_lazy_plan_at_once(execute: str, home: Path) -> None:
    """As Polars leaves it to the system; a file that exists stays whole."""
    output = home / "old.parquet"
    pl.DataFrame({"old": [1]}).write_parquet(output)
    code = f"""
        import os, signal, sys, time
        import polars as pl
        import polars_imgmeta as im

        @im.custom_property(needs="header", dtype=pl.Int64, version=1)
        def last(header):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

        paths = ["photos/" + "./" * n + "dusk.png" for n in range(100)]
        pl.LazyFrame({{"path": paths}}).imgmeta.extract("path", last).{execute}
    """
    done = _run([sys.executable, "-c", textwrap.dedent(code), str(output)], home)
    assert done.returncode == -15, done.stderr
    assert pl.read_parquet(output).columns == ["old"]


FULL = """
    import os, resource, signal, subprocess, sys
    from pathlib import Path
    import polars as pl
    import polars_imgmeta as im
    from polars_imgmeta.jobs import parts

    def limit(kind, size):
        if kind == "tmpfs":
            options = f"remount,size={size}"
            subprocess.run(["mount", "-o", options, "tmpfs", "disk"], check=True)
        else:  # of a file, which acts as a disk that is full and needs no rights
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    kind, small = sys.argv[1], int(sys.argv[2])
    parts._PART_ROWS, parts._FIRST_BATCH = 4, 2
    parts._SMALLEST_BATCH = parts._LARGEST_BATCH = 2
    paths = im.scan_images("photos").select("path").collect()
    large = pl.Series("large", [None] * 9 + [os.urandom(300_000) for _ in range(15)])
    frame = paths.with_columns(large)
    expected = im.extract(frame, "path", "width")

    def attempt(function, *arguments):
        try:
            function(*arguments)
        except Exception as error:
            print(type(error).__name__, error, sep="\\n")

    limit(kind, small)
    attempt(im.run, frame, "disk/job", "path", "width")
    assert pl.read_parquet("disk/job").equals(expected.head(8))
    expected.head(1).write_parquet("disk/old.parquet")
    attempt(im.write_parquet, expected, "disk/old.parquet")
    attempt(im.sink_parquet, expected.lazy(), "disk/old.parquet")
    assert pl.read_parquet("disk/old.parquet").equals(expected.head(1))
    attempt(im.run, frame, "disk/job.parquet", "path", "width")
    assert not Path("disk/job.parquet").exists()
    limit(kind, 1 << 28)
    for output in ("disk/job", "disk/job.parquet"):
        assert im.run(frame, output, "path", "width").new == 16
        assert pl.read_parquet(output).equals(expected)
    im.write_parquet(expected, "disk/old.parquet")
    assert not [one for one in Path("disk").rglob("*") if one.name.endswith(".tmp")]
"""

# A disk of its own, for this process alone; it needs no rights where the system allows that.
_OWN_DISK = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
_MOUNT = "mount -t tmpfs tmpfs disk"


@pytest.mark.parametrize(
    ("kind", "small", "message"),
    [("limit", 200_000, "File too large"), ("tmpfs", 400_000, "No space left on device")],
)
def test_a_full_disk_leaves_what_was_written(
    kind: str, small: int, message: str, home: Path
) -> None:
    """Each writer says so, final names have whole files, and the same calls go on from there."""
    (home / "disk").mkdir(exist_ok=True)
    command = [sys.executable, "-c", textwrap.dedent(FULL), kind, str(small)]
    if kind == "tmpfs":
        if shutil.which("unshare") is None or _run([*_OWN_DISK, _MOUNT], home).returncode:
            pytest.skip("`unshare --map-root-user --mount` is not allowed: no disk of its own")
        command = [*_OWN_DISK, f'{_MOUNT} && exec "$0" "$@"', *command]
    done = _run(command, home)
    shutil.rmtree(home / "disk")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(message) == 4, done.stdout
    assert done.stdout.count("OSError") == 4, done.stdout


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
