"""Coverage-guided fuzzing of the measurement of an image, run by hand.

    pip install atheris
    python tests/fuzz/fuzz_measure.py [CORPUS] [-max_total_time=600]

CORPUS is a folder of seed images; libFuzzer's options follow. A finding is anything
but values or a row's error: another exception, a value out of range, incomplete
geometry, a message that is long or contains an address.
"""

from __future__ import annotations

import sys
import tempfile

import polars_imgmeta as im
from polars_imgmeta.measuring.measurement import measure

_MAX_PIXELS = 1 << 22
# With all that is read of metadata.
_PROPERTIES = (*im.GROUPS["standard"], *im.GROUPS["file"])
_MAX_MESSAGE_LENGTH = 250


def check(data: bytes) -> None:
    """Measure one image and check values, geometry and message."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        measurement = measure(file.name, _PROPERTIES, max_pixels=_MAX_PIXELS)
    geometry = [name for name in im.GROUPS["geometry"] if name in measurement.values]
    assert geometry in ([], list(im.GROUPS["geometry"])), geometry
    for name, value in measurement.values.items():
        row = im.CATALOGUE[name]
        if row.minimum is None or value is None:
            continue
        assert row.minimum <= value, (name, value)
        assert row.maximum is None or value <= row.maximum, (name, value)
    if measurement.error is None:
        assert len(measurement.values) == len(_PROPERTIES), measurement
    else:
        assert " at 0x" not in str(measurement.error), measurement.error
        assert len(str(measurement.error)) < _MAX_MESSAGE_LENGTH, measurement.error
        assert "\n" not in str(measurement.error), measurement.error


def main() -> None:
    """Run libFuzzer."""
    import atheris  # noqa: PLC0415 - not a dependency

    atheris.instrument_all()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
