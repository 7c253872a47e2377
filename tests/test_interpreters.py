"""The measure of memory that tests of memory rely on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from interpreters import run_python

MEBIBYTE = 1 << 20


def test_the_peak_of_a_child_is_its_own(tmp_path: Path) -> None:
    """A short allocation of a child is seen, however much its parent has used before."""
    np.ones(256 * MEBIBYTE, np.uint8)  # freed at once, and the peak of this process now
    code = (
        "import resource\n"
        "from interpreters import resident_peak\n"
        "inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10\n"
        "bytearray(b'x') * (128 << 20)\n"
        "before = resident_peak(reset=True)\n"
        "bytearray(b'x') * (64 << 20)\n"
        "print(inherited, before, resident_peak() - before)"
    )
    done = run_python(code, tmp_path)
    inherited, before, grown = map(int, done.stdout.split())
    assert inherited > 256 * MEBIBYTE  # by which no growth would have been seen
    assert before < 64 * MEBIBYTE
    assert 63 * MEBIBYTE < grown < 72 * MEBIBYTE
