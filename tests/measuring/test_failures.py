"""Whatever a decoder raises, foreseen or not, is the error of its row alone."""

from __future__ import annotations

import binascii
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageFile

import polars_imgmeta as im
from polars_imgmeta.catalogue.registry import CATALOGUE, PropertySet
from polars_imgmeta.decoding import headers, pictures
from polars_imgmeta.measuring.measurement import measure_all
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.measuring.prefetching import Request


class PanicException(BaseException):
    """What a decoder in Rust raises that panics: no `Exception`."""


def opencv_error(code: int) -> Callable[[], BaseException]:
    """Return a maker of OpenCV's exception with one of its codes."""

    def make() -> BaseException:
        error = cv2.error("OpenCV(5.0.0) made for a test")
        error.code = code
        return error

    return make


class UnprintableError(Exception):
    """An exception whose message cannot be had."""

    def __str__(self) -> str:
        raise ValueError


KINDS: dict[str, Callable[[], BaseException]] = {
    "ArithmeticError": ArithmeticError,
    "AssertionError": AssertionError,
    "AttributeError": lambda: AttributeError("no attribute"),
    "binascii.Error": lambda: binascii.Error("padding"),
    "BufferError": BufferError,
    "EOFError": EOFError,
    "ImportError": lambda: ImportError("a codec"),
    "IndexError": IndexError,
    "KeyError": lambda: KeyError("mode"),
    "LookupError": LookupError,
    "MemoryError": MemoryError,
    "NotImplementedError": NotImplementedError,
    "OSError": lambda: OSError("broken data stream"),
    "OverflowError": OverflowError,
    "PanicException": lambda: PanicException("index out of bounds"),
    "RecursionError": RecursionError,
    "RuntimeError": RuntimeError,
    "StopIteration": StopIteration,
    "SyntaxError": lambda: SyntaxError("not this format"),
    "SystemError": lambda: SystemError("tile cannot extend outside image"),
    "TypeError": lambda: TypeError("ord"),
    "UnicodeDecodeError": lambda: UnicodeDecodeError("ascii", b"\xff", 0, 1, "ordinal"),
    "UnprintableError": UnprintableError,
    "ValueError": ValueError,
    "Warning": lambda: Warning("as an error"),
    "ZeroDivisionError": ZeroDivisionError,
    "cv2.error": opencv_error(-215),
    "cv2.error out of memory": opencv_error(-4),
    "struct.error": lambda: struct.error("unpack requires 4 bytes"),
    "zlib.error": lambda: zlib.error("incorrect data check"),
}


def make(kind: str) -> BaseException:
    """Return a new exception of a kind."""
    return KINDS[kind]()


def good_image() -> bytes:
    """Return a small PNG."""
    file = io.BytesIO()
    Image.new("L", (4, 3), 7).save(file, "PNG")
    return file.getvalue()


GOOD = good_image()
BAD = b"RAISES in a decoder"


class RaisingImage(ImageFile.ImageFile):
    """A format whose plug-in raises at a step that the test chooses."""

    format = "RAISES"
    format_description = "raises"
    where = ""
    kind: Callable[[], BaseException]

    def fail(self, step: str) -> None:
        """Raise if this is the step."""
        if step == self.where:
            raise type(self).kind()

    def _open(self) -> None:
        self.fail("open")
        self._mode = "L"
        self._size = (4, 3)
        self.tile = [ImageFile._Tile("raw", (0, 0, 4, 3))]  # noqa: SLF001 - no public name

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, which plug-ins may compute."""
        if self._im is None and self.tile:
            self.fail("size")
        return self._size

    def getexif(self) -> Image.Exif:
        """Return no metadata."""
        return Image.Exif()

    def load(self) -> Any:  # noqa: ANN401 - Pillow's own type is not public
        """Decode nothing."""
        self.fail("load")
        self.tile = []
        self.im = Image.new("L", (4, 3)).im


@pytest.fixture
def raising() -> Iterator[type[RaisingImage]]:
    """Register the plug-in for one test."""
    Image.preinit()
    Image.init()
    Image.register_open("RAISES", RaisingImage, lambda prefix: prefix.startswith(b"RAISES"))
    yield RaisingImage
    RaisingImage.where = ""
    Image.ID.remove("RAISES")
    del Image.OPEN["RAISES"]


def messages(images: list[bytes], properties: list[str]) -> list[str | None]:
    """Extract on every engine, compare, and return the errors."""
    frame = pl.DataFrame({"image": images})
    eager = im.extract(frame, "image", properties)
    lazy = im.extract(frame.lazy(), "image", properties)
    assert lazy.collect().equals(eager)
    assert lazy.collect(engine="streaming").equals(eager)
    return eager["image_imgmeta"].struct.field("error").to_list()


@pytest.mark.parametrize("step", ["open", "load"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_plug_in_may_raise_anything(raising: type[RaisingImage], kind: str, step: str) -> None:
    """Its row has an error of one line that names the format or the part; others have none."""
    raising.where, raising.kind = step, KINDS[kind]
    first, error, last = messages([GOOD, BAD, GOOD], ["width", "brightness"])
    assert first is last is None
    assert error is not None
    kinds = {"corrupt", "unsupported", "too_large"}
    assert error.partition(":")[0] in kinds
    assert "\n" not in error
    assert "RAISES" in error or "the pixels" in error


@pytest.mark.parametrize("kind", KINDS)
def test_opencv_may_raise_anything(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Pixels that OpenCV fails on are an error of the row, unless Pillow reads them."""

    def fail(*_: object) -> None:
        raise make(kind)

    noise = np.random.default_rng(0).integers(0, 256, (400, 300, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    other = io.BytesIO()
    Image.fromarray(noise).save(other, "BMP")
    monkeypatch.setattr(cv2, "imdecode", fail)
    first, error, last = messages(
        [other.getvalue(), file.getvalue(), other.getvalue()], ["width", "brightness"]
    )
    assert first is last is None
    expected = {
        "MemoryError": "too_large: the data do not fit into memory",
        "OSError": "corrupt: the PNG decoder of OpenCV raised OSError: broken data stream",
        "PanicException": (
            "corrupt: the PNG decoder of OpenCV raised PanicException: index out of bounds"
        ),
        "SystemError": (
            "corrupt: the PNG decoder of OpenCV raised SystemError:"
            " tile cannot extend outside image"
        ),
        "UnprintableError": (
            "corrupt: the PNG decoder of OpenCV raised UnprintableError: UnprintableError"
        ),
        "cv2.error": None,
        "cv2.error out of memory": None,
    }
    if kind in expected:
        assert error == expected[kind]
    else:
        assert error is not None
        assert error.startswith("corrupt: the PNG decoder of OpenCV raised ")


@pytest.mark.parametrize("side", [4, 400])
@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_may_raise_anything(monkeypatch: pytest.MonkeyPatch, kind: str, side: int) -> None:
    """A small picture in a batch and a large one fail alone when OpenCV does in a kernel."""
    true = pictures.intensity_of

    def fail(colours: pictures.Picture) -> Any:  # noqa: ANN401
        if (colours == 77).all(axis=(-3, -2, -1)).any():
            raise make(kind)
        return true(colours)

    def image(grey: int) -> bytes:
        file = io.BytesIO()
        Image.new("L", (side, side), grey).save(file, "PNG")
        return file.getvalue()

    monkeypatch.setattr(pictures, "intensity_of", fail)
    first, error, last = messages([image(1), image(77), image(2)], ["width", "brightness"])
    assert first is last is None
    assert error is not None
    if "emory" in kind:
        assert error == "too_large: the data do not fit into memory"
    else:
        assert error.startswith("corrupt: the computation of properties raised ")


@pytest.mark.parametrize("kind", KINDS)
def test_the_reader_of_headers_may_raise_anything(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A defect of our own in a header is that row's."""
    true = headers.read_header

    def fail(source: Any) -> headers.Header:  # noqa: ANN401
        if source.start == BAD:
            raise make(kind)
        return true(source)

    monkeypatch.setattr(headers, "read_header", fail)
    first, error, last = messages([GOOD, BAD, GOOD], ["width"])
    assert first is last is None
    assert error is not None


def test_a_request_to_end_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """`SystemExit` and the like end the extraction."""

    def fail(_: object) -> None:
        raise SystemExit(3)

    monkeypatch.setattr(headers, "read_header", fail)
    with pytest.raises(SystemExit):
        im.extract(pl.DataFrame({"image": [GOOD]}), "image", "width")


def test_an_ftex_of_no_width() -> None:
    """Its plug-in closes the stream and then refuses the size."""
    ftex = b"FTEX" + struct.pack("<8i", 1, 0, 0, 1, 1, 0, 32, 0)
    _, error, _ = messages([GOOD, ftex, GOOD], ["width"])
    assert error == (
        "corrupt: the header of this FTEX image cannot be decoded: not identified by this driver"
    )


@pytest.mark.parametrize("own", [False, True])
def test_pictures_wait_for_few_others_where_a_property_is_the_callers_own(*, own: bool) -> None:
    """Its function may take any time, in which nothing is interrupted."""

    @im.custom_property(needs="picture", dtype=pl.Int64)
    def rows(picture: Any) -> int:  # noqa: ANN401 - an array
        """The number of rows."""
        return len(picture)

    data = cv2.imencode(".png", np.zeros((2, 3, 3), np.uint8))[1].tobytes()
    properties = ["brightness", rows] if own else ["brightness"]
    wanted = PropertySet(CATALOGUE.resolve(properties))
    taken = 0

    def requests() -> Iterator[tuple[int, Request]]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number, (data, wanted)

    results = measure_all(requests(), Reading())
    next(iter(results))
    assert taken == (8 if own else 512)
