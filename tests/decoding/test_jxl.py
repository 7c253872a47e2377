"""The frames of a JPEG XL and what they cost, against the encoder and files written bit by bit."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from jxl_files import REFERENCE, SIDE, frame, head
from PIL import Image, ImageDraw

import polars_imgmeta as im
from polars_imgmeta.decoding.formats import jxl, jxl_frames
from polars_imgmeta.decoding.headers import read_header
from polars_imgmeta.io.sources import BytesSource
from polars_imgmeta.measuring.measurement import measure

pillow_jxl = pytest.importorskip("pillow_jxl", reason="pip install pillow-jxl-plugin")


def text(size: tuple[int, int]) -> Image.Image:
    """Return lines of text, whose letters the encoder stores once."""
    image = Image.new("RGB", size, "white")
    for row in range(0, size[1], 14):
        ImageDraw.Draw(image).text((row % 5, row), "the quick brown fox " * 9, fill="black")
    return image


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Return noise that is smooth enough for a lossy coding."""
    samples = np.random.default_rng(0).integers(0, 256, (size[1] // 8, size[0] // 8, 3), np.uint8)
    return Image.fromarray(samples).resize(size).convert(mode)


@pytest.mark.parametrize("effort", [1, 3, 7])
@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 90}, {"quality": 40}])
@pytest.mark.parametrize(
    "image",
    [text((700, 400)), noise((600, 500)), noise((600, 500), "LA"), noise((64, 8), "L")],
    ids=["text", "colours", "alpha", "small"],
)
def test_the_frames_of_the_encoder_end_with_the_file(
    image: Image.Image, options: dict[str, object], effort: int
) -> None:
    """Headers, tables and numbers are read to their last bit, or the ends would differ."""
    file = io.BytesIO()
    image.save(file, "JXL", effort=effort, **options)
    data = jxl.codestream(file.getvalue())
    frames = [*jxl_frames.read_frames(data)]
    assert frames[-1].end == len(data)
    assert frames[-1].pixels == image.width * image.height
    # Where letters are kept in a frame of their own, they are put at many places.
    counts = [len([*one.patches]) for one in frames]
    assert len(frames) == 1 or counts[-1] > 1
    jxl_frames.require_few_pixels(data)


def test_the_encoder_stores_letters_once() -> None:
    """The test above has patches to read."""
    file = io.BytesIO()
    text((700, 400)).save(file, "JXL", quality=40)
    letters, picture = jxl_frames.read_frames(jxl.codestream(file.getvalue()))
    assert letters.pixels < picture.pixels
    assert len([*picture.patches]) > 100


def test_a_codestream_in_pieces_is_joined() -> None:
    """As in a container."""
    data = head() + frame(last=True)

    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), name) + content

    pieces = box(b"jxlp", bytes(4) + data[:9]) + box(b"jxlp", b"\x80\0\0\1" + data[9:])
    assert jxl.codestream(jxl.CONTAINER + box(b"ftyp", bytes(8)) + pieces) == data
    assert jxl.codestream(jxl.CONTAINER + box(b"jxlc", data)) == data
    assert jxl.codestream(data) == data


HARMLESS = {
    "one frame": head() + frame(last=True),
    "sixteen frames": head() + frame() * 15 + frame(last=True),
    "patches": head() + frame(kind=REFERENCE) + frame(patches=(300, 100), last=True),
    "two channels": head(extra=2) + frame(extra=2, last=True),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_honest_pictures_of_several_frames_are_read(name: str) -> None:
    """Their pixels are those of the decoder, which reads what is written here."""
    data = HARMLESS[name]
    assert [one.end for one in jxl_frames.read_frames(data)][-1] == len(data)
    measurement = measure(data, "standard", max_pixels=1 << 23)
    assert measurement.error is None
    assert measurement.values["brightness"] == 0


TOO_MANY = {
    "frames": head() + frame() * 40 + frame(last=True),
    "small frames": head() + frame(size=(256, 256)) * 40 + frame(last=True),
    "large frames of a small picture": (
        head(256) + frame(kind=REFERENCE, size=(700, 700)) * 40 + frame(last=True)
    ),
    "tiny frames": head(8) + frame() * 5000 + frame(last=True),
    "patches": head() + frame(kind=REFERENCE) + frame(patches=(900, 50), last=True),
    "small patches": head() + frame(kind=REFERENCE) + frame(patches=(2, 32_000), last=True),
    "frames of many channels": head(256, 50) + frame(extra=50) * 40 + frame(extra=50, last=True),
}


@pytest.mark.parametrize("name", TOO_MANY)
def test_very_many_frames_and_patches_are_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes took the decoder minutes."""
    monkeypatch.setattr(pillow_jxl.JpegXLImagePlugin, "Decoder", None)  # nothing is decoded
    measurement = measure(TOO_MANY[name], "standard", max_pixels=1 << 27)
    assert isinstance(measurement.error, im.TooLargeError)
    assert str(measurement.error).startswith("frames or patches of more than ")
    assert "width" in measurement.values


def test_a_frame_is_not_much_larger_than_the_picture() -> None:
    """Its memory is that of its own size."""
    small = head(256) + frame(kind=REFERENCE, size=(700, 700)) + frame(last=True)
    assert measure(small, "standard", max_pixels=1 << 20).error is None
    large = head(256) + frame(kind=REFERENCE, size=(1000, 1000)) + frame(last=True)
    error = measure(large, "standard", max_pixels=1 << 20).error
    assert isinstance(error, im.TooLargeError)
    assert str(error) == "a frame of 1000000 pixels, in a picture of 65536 pixels"


def test_splines_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their geometry is read, and no pixel is decoded."""
    monkeypatch.setattr(pillow_jxl.JpegXLImagePlugin, "Decoder", None)
    data = head() + frame(kind=REFERENCE, splines=True) + frame(last=True)
    for splined in (data, head() + frame(splines=True, last=True)):
        measurement = measure(splined, "standard", max_pixels=1 << 27)
        assert isinstance(measurement.error, im.UnsupportedError)
        assert "splines" in str(measurement.error)
        assert measurement.values["width"] == SIDE


def test_a_packed_jpeg_is_not_restored(tmp_path: Path) -> None:
    """A box that would make the decoder fail is never seen; the pixels are those of the JPEG."""
    path = tmp_path / "a.jpg"
    noise((64, 48)).resize((320, 240)).save(path, quality=95)
    packed = io.BytesIO()
    with Image.open(path) as jpeg:
        jpeg.save(packed, "JXL", lossless_jpeg=True)
    data = packed.getvalue()
    place = data.index(b"jbrd")
    length = int.from_bytes(data[place - 4 : place])
    hostile = data[: place + 4] + b"\xff" * (length - 8) + data[place - 4 + length :]
    cut = hostile + struct.pack(">I4s", 100, b"what")
    honest, *others = (measure(one, "standard", max_pixels=1 << 27) for one in (data, hostile, cut))
    for one in (honest, *others):
        assert (one.error, one.values) == (None, honest.values)
    expected = measure(path.read_bytes(), "standard", max_pixels=1 << 27).values
    for name in ("width", "height", "brightness", "contrast", "symmetry"):
        assert honest.values[name] == pytest.approx(expected[name], abs=0.01)


def test_extra_channels_count() -> None:
    """The decoder keeps all, although none is shown."""
    data = head(extra=200) + frame(extra=200, last=True)
    assert read_header(BytesSource(data)).weight == 200
    error = measure(data, "standard", max_pixels=1 << 27).error
    assert isinstance(error, im.TooLargeError)
    assert "1000 x 1000 pixels, which count 200 times" in str(error)


@pytest.mark.parametrize(
    ("parts", "weight"),
    [
        ([frame(last=True)], 1),
        ([frame(size=(256, 256), last=True)], 1),
        ([frame(splines=True, last=True)], 1),  # which is not decoded
        ([frame(size=(256, 256)), frame(last=True)], 3),
        ([frame(kind=REFERENCE), frame(patches=(9, 5), last=True)], 3),
        ([frame(last=True)[:2]], 3),  # it cannot be seen
    ],
)
def test_frames_that_are_kept_count(parts: list[bytes], weight: int) -> None:
    """The decoder keeps a frame in 12 bytes a pixel, whatever its size, for those that follow."""
    assert read_header(BytesSource(head() + b"".join(parts))).weight == weight
    assert read_header(BytesSource(head(profile=5000) + b"".join(parts))).weight == weight


def test_a_long_profile_is_not_read_for_the_header_alone() -> None:
    """It takes a step for each byte, so that the picture may have any number of frames."""
    assert read_header(BytesSource(head(profile=9000) + frame(last=True))).weight == 3


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"quality": 40}])
def test_pictures_of_one_frame_count_once(options: dict[str, Any]) -> None:
    """As the encoder writes photos."""
    file = io.BytesIO()
    noise((640, 300)).save(file, "JXL", **options)
    assert read_header(BytesSource(file.getvalue())).weight == 1


def test_channels_behind_the_end_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header of a few bytes may declare thousands."""
    counted = mock.Mock(side_effect=jxl._read_extra_channel)  # noqa: SLF001
    monkeypatch.setattr(jxl, "_read_extra_channel", counted)
    data = head(extra=4000)
    assert len(data) > 1000
    assert read_header(BytesSource(data[:40])).shape == (SIDE, SIDE)
    assert counted.call_count < 40


def test_long_colour_profiles_are_refused() -> None:
    """The numbers of one may take no bits at all, so that few bytes are a long one."""
    data = head(profile=600_000) + frame(last=True)
    for more, most in ((0, 8192), (500, 64 * (len(data) + 500)), (9000, 524288)):
        error = measure(data + bytes(more), "standard", max_pixels=1 << 27).error
        assert isinstance(error, im.TooLargeError)
        assert str(error) == f"a colour profile of 600000 bytes, more than {most}"
    (only,) = jxl_frames.read_frames(head(profile=5000) + frame(last=True))
    assert only.pixels == SIDE**2


def test_tables_of_very_many_sections_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame may declare any size, and each of its parts an entry."""
    monkeypatch.setattr(jxl_frames, "MAX_SECTIONS", 6)
    jxl_frames.require_few_pixels(head(256) + frame(last=True))
    file = io.BytesIO()
    noise((1024, 256)).save(file, "JXL")  # in four groups
    error = "a frame of 7 sections, more than 6"
    with pytest.raises(im.TooLargeError, match=error):
        jxl_frames.require_few_pixels(jxl.codestream(file.getvalue()))


def test_damaged_frames_are_left_to_the_decoder() -> None:
    """Whatever is damaged, nothing else is raised."""
    file = io.BytesIO()
    text((200, 90)).save(file, "JXL", quality=40)
    rng = np.random.default_rng(0)
    for original in (jxl.codestream(file.getvalue()), HARMLESS["patches"]):
        for _ in range(300):
            data = bytearray(original)
            data[rng.integers(2, min(len(data), 90))] = rng.integers(0, 256)
            end = len(data) if rng.integers(2) else int(rng.integers(2, len(data)))
            try:
                jxl_frames.require_few_pixels(bytes(data[:end]))
            except (im.TooLargeError, im.UnsupportedError) as error:
                assert re.search("more than|in a picture of|splines", str(error))  # noqa: PT017
