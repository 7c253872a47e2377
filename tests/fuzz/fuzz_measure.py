"""Coverage-guided fuzzing of an image's way through the package, run by hand.

    pip install atheris
    python tests/fuzz/fuzz_measure.py [CORPUS] [-max_total_time=600]

CORPUS is a folder of images to begin with; libFuzzer's options follow. A finding
is whatever is not a value or an error of a row: another exception, a value out
of range, geometry that comes and goes, a message with an address in it.
"""

from __future__ import annotations

import sys
import tempfile

import polars_imgmeta as im
from polars_imgmeta.measuring.measurement import measure

_MAX_PIXELS = 1 << 22
_LONGEST_MESSAGE = 250


def check(data: bytes) -> None:
    """Measure one image and hold the result to its promises."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        measurement = measure(file.name, im.GROUPS["standard"], max_pixels=_MAX_PIXELS)
    geometry = [name for name in im.GROUPS["geometry"] if name in measurement.values]
    assert geometry in ([], list(im.GROUPS["geometry"])), geometry
    for name, value in measurement.values.items():
        row = im.CATALOGUE[name]
        assert row.minimum <= value, (name, value)
        assert row.maximum is None or value <= row.maximum, (name, value)
    if measurement.error is None:
        assert len(measurement.values) == len(im.GROUPS["standard"]), measurement
    else:
        assert " at 0x" not in str(measurement.error), measurement.error
        assert len(str(measurement.error)) < _LONGEST_MESSAGE, measurement.error
        assert "\n" not in str(measurement.error), measurement.error


def main() -> None:
    """Hand over to libFuzzer."""
    import atheris  # noqa: PLC0415 - is not among the dependencies

    atheris.instrument_all()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
