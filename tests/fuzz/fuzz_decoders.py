"""Mutating fuzzer over every decoder, in child processes that may die; run by hand.

    python tests/fuzz/fuzz_decoders.py [--target crash|cost] [--seconds 600] [--seed 0]
        [--only 'AVIF|HEIF'] [CORPUS] [FINDINGS]

CORPUS is a folder of further seed images, FINDINGS one for the files that were found. `--only`
leaves the seeds whose names begin so. Under `LD_PRELOAD=libc_malloc_debug.so.0` and
`GLIBC_TUNABLES=glibc.malloc.check=3` a child also dies where memory behind a block was changed.
Two targets:

- `crash`: a death of the child, any exception, or anything but values in range or an error.
- `cost`: more time or memory than a picture of that size may take. What costs most for its
  bytes and pixels is mutated further. Seconds are those of the processor, and memory is the
  peak of the child while it measured this one file.

The child keeps running from one file to the next. When it dies or hangs, the file that it had
is saved, and another one is started.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import select
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

_MAX_PIXELS = 1 << 22
# Of the processor; and waiting, where the machine has other things to do or nothing happens.
_HANG_SECONDS, _LONGEST_WAIT_SECONDS = 60, 1200
_MAX_SEED_BYTES = 1 << 16
_MAX_POOL = 4000
_LENGTH = struct.Struct("<I")
_COST = struct.Struct("<dIdIQ")
_NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 4095, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1)

# What a file may cost. Geometry: a tenth of a second and 32 MiB. Pixels: as much for the call,
# and more for each pixel and byte.
_GEOMETRY_SECONDS, _GEOMETRY_KIB = 0.1, 32 << 10
_NANOSECONDS_PER_PIXEL, _BYTES_PER_PIXEL = 1500, 24


class Cost(NamedTuple):
    """What it took to measure one file.

    Attributes:
        geometry_seconds: Processor time of the header alone.
        geometry_kib: Memory of the header alone.
        seconds: Processor time of all properties.
        kib: Memory of all properties.
        pixels: The number of pixels, as often as they count; 0 if it is not known.
    """

    geometry_seconds: float
    geometry_kib: int
    seconds: float
    kib: int
    pixels: int

    def excess(self, size: int) -> float:
        """Return the cost as a multiple of what a file of this size may cost."""
        seconds = 0.1 + _NANOSECONDS_PER_PIXEL * 1e-9 * min(self.pixels, _MAX_PIXELS)
        kib = (32 << 10) + (_BYTES_PER_PIXEL * min(self.pixels, _MAX_PIXELS) + 4 * size) / 1024
        return max(
            self.geometry_seconds / _GEOMETRY_SECONDS,
            self.geometry_kib / _GEOMETRY_KIB,
            self.seconds / seconds,
            self.kib / kib,
        )


# --- the child


def serve() -> None:
    """Measure the files that arrive on the standard input, and answer with their cost."""
    import resource  # noqa: PLC0415 - not on Windows

    from fuzz_measure import check  # noqa: PLC0415

    import polars_imgmeta as im  # noqa: PLC0415 - the parent needs none of this
    from polars_imgmeta.decoding.headers import read_header  # noqa: PLC0415
    from polars_imgmeta.io.sources import BytesSource  # noqa: PLC0415
    from polars_imgmeta.measuring.measurement import measure  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    replies = sys.stdout.buffer
    measure(b"", ["width"], max_pixels=_MAX_PIXELS)  # imports, and Pillow's plug-ins
    while head := sys.stdin.buffer.read(_LENGTH.size):
        data = sys.stdin.buffer.read(*_LENGTH.unpack(head))
        geometry, geometry_seconds, geometry_kib = _cost_of(
            lambda: measure(data, im.GROUPS["geometry"], max_pixels=_MAX_PIXELS)  # noqa: B023
        )
        _, seconds, kib = _cost_of(lambda: check(data))  # noqa: B023
        pixels = geometry.values.get("size", 0) and read_header(BytesSource(data)).weight
        pixels = min(pixels * geometry.values.get("size", 0), (1 << 64) - 1)
        replies.write(_COST.pack(geometry_seconds, geometry_kib, seconds, kib, pixels))
        replies.flush()


def _cost_of(work: Any) -> tuple[Any, float, int]:  # noqa: ANN401 - whatever it returns
    """Return the result of a call, its processor time, and by how many KiB it raised the peak."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is used now
    before = _status("VmRSS")
    started = time.process_time()
    result = work()
    return result, time.process_time() - started, max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0


# --- the parent


class Child:
    """A process that measures files until it dies."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - of the process, as long as it lives
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )

    def measure(self, data: bytes) -> Cost | str:
        """Return the cost of a file, or how the child died of it."""
        process = self._process
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(_LENGTH.pack(len(data)) + data)
            process.stdin.flush()
        except BrokenPipeError:
            pass
        used, deadline = self._seconds(), time.monotonic() + _LONGEST_WAIT_SECONDS
        while not select.select([process.stdout], [], [], 1)[0]:
            if self._seconds() - used > _HANG_SECONDS or time.monotonic() > deadline:
                self.close()
                return f"took more than {_HANG_SECONDS} s"
        reply = process.stdout.read(_COST.size)
        if len(reply) == _COST.size:
            return Cost._make(_COST.unpack(reply))
        status = process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        return f"ended with {status}: {last}"

    def _seconds(self) -> float:
        """Return the processor time of the process."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._errors.close()


def mutate(data: bytes, other: bytes, chance: random.Random) -> bytes:  # noqa: C901 - a case each
    """Return a file with one to six changes, some of them with parts of another file."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        at = (
            chance.randrange(len(changed) + 1)
            if chance.random() < 0.5
            else chance.randrange(min(len(changed), 128) + 1)
        )
        length = chance.choice((1, 2, 4, 8, 16, 64, 256))
        match chance.randrange(9):
            case 0:
                changed[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                form = chance.choice("BHIQ")
                number = chance.choice(_NUMBERS) % (1 << 8 * struct.calcsize("<" + form))
                lie: bytes = struct.pack(chance.choice("<>") + form, number)
                changed[at : at + len(lie)] = lie
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length] * chance.choice((1, 1, 2, 9, 100))
            case 4:
                start = chance.randrange(len(other) + 1)
                changed[at : at + length] = other[start : start + length]
            case 5:
                start = chance.randrange(len(other) + 1)
                changed[at:at] = other[start : start + length]
            case 6:
                del changed[max(at, 16) :]
            case 7:  # a number of a text, or a bit
                if found := re.search(rb"\d+", bytes(changed[at : at + 80])):
                    digits = str(chance.choice(_NUMBERS)).encode()
                    changed[at + found.start() : at + found.end()] = digits
                elif at < len(changed):
                    changed[at] ^= 1 << chance.randrange(8)
            case _:
                start = chance.randrange(len(changed) + 1)
                changed[at:at] = changed[start : start + length]
    return bytes(changed)


def fuzz(options: argparse.Namespace) -> int:
    """Run until the time is up, and return how many different findings there were."""
    from seeds import seeds  # noqa: PLC0415 - the child needs none of them

    target, corpus, findings = options.target, options.corpus, options.findings
    chance = random.Random(options.seed)  # noqa: S311
    pool = [(0.0, name, data) for name, data in seeds() if re.match(options.only, name)]
    pool += [
        (0.0, path.name, path.read_bytes())
        for path in (sorted(corpus.rglob("*")) if corpus else ())
        if path.is_file() and path.stat().st_size <= _MAX_SEED_BYTES
    ]
    findings.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    child, done, end = Child(), 0, time.monotonic() + options.seconds
    unmutated = list(pool)
    while time.monotonic() < end:
        if unmutated:
            score, name, data = unmutated.pop()
        else:
            # The costliest of a few: what costs much is mutated most.
            picked = chance.choices(pool, k=3 if target == "cost" else 1)
            score, name, data = max(picked, key=lambda one: one[0])
            data = mutate(data, chance.choice(pool)[2], chance)
        found = child.measure(data)
        done += 1
        if isinstance(found, str):
            child.close()
            child = Child()
            _report(found, name, data, findings, seen)
            continue
        excess = found.excess(len(data))
        if target == "cost":
            if excess > 1.2 * score and excess > 0.05 and len(pool) < _MAX_POOL:
                pool.append((excess, name, data))
            if excess > 1:
                again = child.measure(data)  # the first time may have loaded something
                if isinstance(again, Cost) and again.excess(len(data)) > 1:
                    _report(f"cost {excess:.1f} times: {again}", name, data, findings, seen)
    child.close()
    print(f"{done} files, {len(seen)} findings", flush=True)  # noqa: T201 - run by hand
    return len(seen)


def _report(found: str, name: str, data: bytes, findings: Path, seen: set[str]) -> None:
    """Save a file, unless one like it was found."""
    key = name.split(maxsplit=1)[0] + re.sub(r"\d+", "", found)[:60]
    if key in seen:
        return
    seen.add(key)
    path = findings / f"{len(seen):03}-{time.time_ns()}-{re.sub(r'[^A-Za-z0-9]', '_', name)[:30]}"
    path.write_bytes(data)
    print(f"{path} of {len(data)} bytes {found}", flush=True)  # noqa: T201


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=["crash", "cost"], default="crash")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="the seeds whose names match a pattern")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("findings", type=Path, nargs="?", default=Path("findings"))
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    return 1 if fuzz(options) else 0


if __name__ == "__main__":
    sys.exit(main())
