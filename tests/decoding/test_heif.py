"""Headers of AVIF and HEIF, against their decoders, of files that are built box by box."""

from __future__ import annotations

import io
import itertools
import struct
import sys
from collections.abc import Sequence

import pytest
from heif_files import (
    CODINGS,
    TILE,
    Item,
    box,
    child,
    derived,
    file_of,
    full,
    reference,
    tile,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import AvifImagePlugin, Image, ImageOps

import polars_imgmeta as im
from polars_imgmeta.decoding.formats import coded, heif
from polars_imgmeta.decoding.formats.bounded import LongHeaderError
from polars_imgmeta.decoding.headers import read_header
from polars_imgmeta.decoding.pictures import read_picture
from polars_imgmeta.io.sources import BytesSource
from polars_imgmeta.measuring.measurement import measure

pillow_heif = pytest.importorskip("pillow_heif", reason="pip install pillow-heif")
pillow_heif.register_heif_opener()

_PLUGINS = {
    "AVIF": AvifImagePlugin.AvifImageFile,
    "HEIF": pillow_heif.HeifImageFile,
}


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Build a file with a picture or a grid, transformations and metadata."""
    coding = draw(st.sampled_from(sorted(CODINGS)))
    kind, _, brand = CODINGS[coding]
    configuration, pixels = tile(coding)
    wide = draw(st.booleans())
    ispe = full(b"ispe", struct.pack(">II", TILE, TILE))
    properties = [configuration, ispe]
    transformations = []
    size: tuple[int, ...] = (TILE, TILE)
    grid = draw(st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)))
    if grid:
        size = tuple(TILE * count - draw(st.sampled_from([0, 2, 20])) for count in grid)
    if coding == "HEIF" and draw(st.booleans()):
        aperture = [draw(st.integers(size[axis] // 2, size[axis] - 2)) for axis in (0, 1)]
        fields = (
            aperture[0],
            1,
            aperture[1],
            1,
            *draw(st.sampled_from([(0, 1, 0, 1), (1, 2, -1, 2)])),
        )
        transformations.append(box(b"clap", struct.pack(">IIIIiIiI", *fields)))
    if (angle := draw(st.none() | st.integers(0, 3))) is not None:
        transformations.append(box(b"irot", bytes([angle])))
    if (axis := draw(st.none() | st.integers(0, 1))) is not None:
        transformations.append(box(b"imir", bytes([axis])))
    items, references = [], b""
    if grid:
        shape = struct.pack(">BBBBHH", 0, 0, grid[1] - 1, grid[0] - 1, *size)
        whole = full(b"ispe", struct.pack(">II", *size))
        items.append(Item(b"grid", shape, [whole, *transformations]))
        tiles = range(2, 2 + grid[0] * grid[1])
        items += [Item(kind, pixels, properties)] * len(tiles)
        references += reference(b"dimg", 1, *tiles, wide=wide)
    else:
        items.append(Item(kind, pixels, [*properties, *transformations]))
    if orientation := draw(st.none() | st.integers(1, 8)):
        exif = Image.Exif()
        exif[draw(st.sampled_from([274, 271]))] = orientation
        items.append(Item(b"Exif", bytes(4) + exif.tobytes().removeprefix(b"Exif\0\0")))
        references += reference(b"cdsc", len(items), 1, wide=wide)
    if told := draw(st.none() | st.integers(0, 9)):
        items.append(Item(b"mime application/rdf+xml", b'<x tiff:Orientation="%d"/>' % told))
        references += reference(b"cdsc", len(items), 1, wide=wide)
    brands = draw(st.sampled_from([brand, b"mif1" + brand])) + b"miaf"
    inside, behind = draw(st.booleans()), draw(st.booleans())
    return file_of(brands, items, references, wide=wide, inside=inside, behind=behind)


@given(data=files())
def test_geometry_is_that_of_the_decoder(data: bytes) -> None:
    """The header is read without the decoder, and gives what the decoder and Pillow give."""
    found = heif.read_geometry(io.BytesIO(data))
    assert found
    opened = _PLUGINS[found.name](io.BytesIO(data))
    shown = ImageOps.exif_transpose(opened)
    header = read_header(BytesSource(data))
    assert header.shape == shown.size[::-1]
    assert read_picture(data, header).shape[:2] == header.shape


def animation(*properties: bytes) -> bytes:
    """Return an AVIF of three frames, with boxes at the end of its sample entries."""
    frames = [Image.new("RGB", (16, 12), (shade, 0, 0)) for shade in (0, 99, 200)]
    file = io.BytesIO()
    frames[0].save(file, "AVIF", save_all=True, append_images=frames[1:])
    more = b"".join(properties)
    data = bytearray(file.getvalue())
    position = data.index(b"moov") - 4
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"av01"):
        start = data.index(name, position) - 4
        length = int.from_bytes(data[start : start + 4])
        data[start : start + 4] = struct.pack(">I", length + len(more))
        position = start + 8
    end = start + length
    data[end:end] = more
    return bytes(data)


@pytest.mark.parametrize("angle", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_first_picture_of_a_sequence(angle: int | None, axis: int | None) -> None:
    """Geometry is that of the track of colours, with its rotation and mirroring."""
    properties = [] if angle is None else [box(b"irot", bytes([angle]))]
    properties += [] if axis is None else [box(b"imir", bytes([axis]))]
    data = animation(*properties)
    found = heif.read_geometry(io.BytesIO(data))
    opened = AvifImagePlugin.AvifImageFile(io.BytesIO(data))
    assert found == ("AVIF", opened.size, opened.getexif().get(274, 1), 16 * 12)


def require_agreement(file: bytes) -> None:
    """Check that what is read of a header is what the decoder gives, if it opens the file."""
    try:
        found = heif.read_geometry(io.BytesIO(file))
    except LongHeaderError:  # by a count that was damaged
        return
    if found is None:
        return
    try:
        opened = _PLUGINS[found.name](io.BytesIO(file))
        shown = ImageOps.exif_transpose(opened)
    except Exception:  # noqa: BLE001 - of any kind
        return
    assert read_header(BytesSource(file)).shape == shown.size[::-1]


@given(data=files(), damage=st.data())
def test_damaged_files(data: bytes, damage: st.DataObject) -> None:
    """Whatever is read of a damaged file is what the decoder gives, if it still opens it."""
    position = st.integers(0, min(len(data), 800) - 1)
    changed = bytearray(data)
    for at, value in damage.draw(
        st.lists(st.tuples(position, st.sampled_from([0, 1, 2, 0x40, 0x80, 0xFF])), max_size=4)
    ):
        changed[at] = value
    require_agreement(bytes(changed[: damage.draw(st.sampled_from([len(data), 60, 200, 300]))]))


def aperture(*fields: int) -> bytes:
    """Return a clean aperture: fractions of width, height and both offsets."""
    return box(b"clap", struct.pack(">8I", *(field % (1 << 32) for field in fields)))


@pytest.mark.parametrize("field", range(8))
@pytest.mark.parametrize("factor", [0, 1, 3, 1 << 11, 1 << 16, 0xFFFF, (1 << 31) - 1, 1 << 31, -1])
def test_apertures_of_odd_numbers(field: int, factor: int) -> None:
    """The decoder ignores an aperture of very large numbers, and rounds one of large numbers."""
    fields = [32, 1, 40, 1, 0, 1, 0, 1]
    fields[field] = factor
    require_agreement(file_of(b"heic", one_picture("HEIF", aperture(*fields))))
    pair = field & ~1  # with a whole quotient
    fields[pair : pair + 2] = [32 * factor, factor]
    require_agreement(file_of(b"heic", one_picture("HEIF", aperture(*fields))))


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
def test_properties_in_any_order(order: Sequence[int]) -> None:
    """Transformations apply one after the other, and a size after them overrules them."""
    configuration, pixels = tile("HEIF")
    ispe = full(b"ispe", struct.pack(">II", TILE, TILE))
    turned, mirrored = box(b"irot", b"\1"), box(b"imir", b"\0")
    parts = [ispe, aperture(32, 1, 40, 1, 0, 1, 0, 1), turned, mirrored]
    item = Item(b"hvc1", pixels, [configuration, *(parts[index] for index in order)])
    require_agreement(file_of(b"heic", [item]))


def one_picture(coding: str, *properties: bytes, size: int = TILE) -> list[Item]:
    """Return a picture that declares a size."""
    configuration, pixels = tile(coding)
    ispe = full(b"ispe", struct.pack(">II", size, size))
    return [Item(CODINGS[coding][0], pixels, [configuration, ispe, *properties])]


@pytest.mark.parametrize("coding", sorted(CODINGS))
@pytest.mark.parametrize("behind", [False, True])
def test_little_is_read_of_a_large_file(coding: str, *, behind: bool) -> None:
    """Of megabytes of pixels nothing is read, wherever the header is."""
    (item,) = one_picture(coding)
    item = item._replace(content=item.content + bytes(64 << 20))
    data = file_of(CODINGS[coding][2], [item], behind=behind)
    stream = Counting(data)
    assert heif.read_geometry(stream) == (coding, (TILE, TILE), 1, TILE**2)
    assert stream.bytes_read < 4096
    assert stream.reads < 64


class Counting(io.BytesIO):
    """A stream that counts what is read of it."""

    reads = 0
    bytes_read = 0

    def read(self, size: int | None = -1) -> bytes:
        """Count and read."""
        data = super().read(size)
        self.reads += 1
        self.bytes_read += len(data)
        return data


def test_geometry_needs_no_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, a HEIC has its geometry, and the error of its pixels names the extra."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF")
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    data = file_of(b"heic", one_picture("HEIF"))
    assert measure(data, "geometry", max_pixels=1 << 20).error is None
    measurement = measure(data, "standard", max_pixels=1 << 20)
    assert measurement.values["width"] == TILE
    assert isinstance(measurement.error, im.UnsupportedError)
    assert "extra `formats`" in str(measurement.error)


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_truncated_files_keep_their_geometry(coding: str) -> None:
    """A file that ends within its pixels is corrupt, but the header has told its size."""
    data = file_of(CODINGS[coding][2], one_picture(coding))
    measurement = measure(data[:-500], "standard", max_pixels=1 << 20)
    assert isinstance(measurement.error, im.CorruptError)
    assert measurement.values["width"] == TILE
    assert "brightness" not in measurement.values


def many_boxes() -> bytes:
    """Return an AVIF whose boxes never end."""
    return box(b"ftyp", b"avif" + bytes(4)) + box(b"free") * 200_000


def many_items(coding: str, count: int) -> bytes:
    """Return a file with very many items of metadata."""
    picture = one_picture(coding)
    return file_of(CODINGS[coding][2], [*picture, *[Item(b"Exif", b"")] * count], wide=True)


def many_pieces() -> bytes:
    """Return an AVIF of metadata in pieces of no bytes, which need no room in the file."""
    items = [*one_picture("AVIF"), Item(b"mime application/rdf+xml", b"<x/>")]
    data = bytearray(file_of(b"avif", items, reference(b"cdsc", 2, 1, wide=False)))
    places = struct.pack(">BBH", 0, 0, 2000) + struct.pack(">HHHH", 9, 0, 0, 9) * 2000
    location = full(b"iloc", places, version=1)
    start, meta = data.index(b"iloc") - 4, data.index(b"meta") - 4
    old = int.from_bytes(data[start : start + 4])
    data[start : start + old] = location
    length = int.from_bytes(data[meta : meta + 4]) + len(location) - old
    data[meta : meta + 4] = struct.pack(">I", length)
    return bytes(data)


LIMITS = {
    "boxes": (many_boxes, "a file of more than 4096 boxes"),
    "items": (lambda: many_items("HEIF", 20_000), "more than 16384 items"),
    "pieces": (many_pieces, "more than 16384 items"),
    "a long box": (
        lambda: file_of(b"heic", [*one_picture("HEIF"), Item(b"mime " + b"a" * 2_000_000, b"")]),
        "a box of 2000049 bytes, more than 1048576",
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_named(name: str) -> None:
    """A header beyond a limit is `too_large`, and the message tells the limit."""
    make, message = LIMITS[name]
    measurement = measure(make(), "geometry", max_pixels=1 << 20)
    assert isinstance(measurement.error, im.TooLargeError)
    assert str(measurement.error) == message


def declared_as(coding: str, size: int, *properties: bytes) -> bytes:
    """Return a picture of which the container declares a size."""
    return file_of(CODINGS[coding][2], one_picture(coding, *properties, size=size))


def large_tile(coding: str) -> tuple[bytes, bytes]:
    """Return the configuration of the decoder and the pixels of a plain picture of 512 x 512."""
    file = io.BytesIO()
    Image.new("RGB", (512, 512)).save(file, coding)
    return child(file.getvalue(), CODINGS[coding][1]), child(file.getvalue(), b"mdat")[8:]


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_a_coded_picture_has_the_size_that_is_declared(coding: str) -> None:
    """Its decoder would decode all of it, for a picture of few pixels."""
    kind, _, brand = CODINGS[coding]
    configuration, pixels = large_tile(coding)
    for declared, right in ((64, False), (400, True), (512, True)):
        ispe = full(b"ispe", struct.pack(">II", declared, declared))
        data = file_of(brand, [Item(kind, pixels, [configuration, ispe])])
        if right:
            heif.require_declared_sizes(data)
            continue
        measurement = measure(data, "standard", max_pixels=1 << 20)
        assert measurement.values["width"] == declared
        assert isinstance(measurement.error, im.TooLargeError)
        message = "a coded picture of 512 x 512 pixels, declared as 64 x 64"
        assert str(measurement.error) == message


def test_the_first_picture_of_a_sequence_has_the_size_that_is_declared() -> None:
    """That of its track."""
    frames = [Image.new("RGB", (512, 512), (shade, 0, 0)) for shade in (0, 99)]
    file = io.BytesIO()
    frames[0].save(file, "AVIF", save_all=True, append_images=frames[1:])
    data = bytearray(file.getvalue())
    assert measure(bytes(data), "standard", max_pixels=1 << 20).error is None
    sizes = struct.pack(">HHHH", 512, 0, 512, 0)
    assert data.count(sizes) >= 1
    lying = bytes(data).replace(sizes, struct.pack(">HHHH", 32, 0, 32, 0))
    error = measure(lying, "standard", max_pixels=1 << 20).error
    assert isinstance(error, im.TooLargeError)
    assert str(error) == "a coded picture of 512 x 512 pixels, declared as 32 x 32"


def test_tiles_count_that_a_grid_repeats() -> None:
    """A grid may name a tile very often, and show little of it."""
    kind, _, brand = CODINGS["HEIF"]
    configuration, pixels = tile("HEIF")
    ispe = full(b"ispe", struct.pack(">II", TILE, TILE))
    whole = full(b"ispe", struct.pack(">II", TILE, TILE))
    shape = struct.pack(">BBBBHH", 0, 0, 99, 99, TILE, TILE)
    items = [Item(b"grid", shape, [whole]), Item(kind, pixels, [configuration, ispe])]
    data = file_of(brand, items, reference(b"dimg", 1, *[2] * 10_000, wide=False))
    assert read_header(BytesSource(data)).weight == 10_000
    error = measure(data, "brightness", max_pixels=1 << 20).error
    assert isinstance(error, im.TooLargeError)
    assert "64 x 64 pixels, which count 10000 times" in str(error)


def test_pixels_count_that_an_aperture_hides() -> None:
    """They are decoded."""
    data = declared_as("HEIF", TILE, aperture(8, 1, 4, 1, 0, 1, 0, 1))
    header = read_header(BytesSource(data))
    assert (header.shape, header.weight) == ((4, 8), TILE**2 // 32)


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_sizes_in_coded_data(coding: str) -> None:
    """They are found among other units, and damaged ones are no size."""
    configuration, pixels = large_tile(coding)
    if coding == "AVIF":
        found = [size for size in coded.av1_sizes(b"\x12\0" + pixels + pixels) if size]
        assert found == [(512, 512)] * 2
        with pytest.raises(coded.BrokenUnitError):
            list(coded.av1_sizes(b"\x0a\1\0"))
        with pytest.raises(coded.BrokenUnitError):
            list(coded.av1_sizes(b"\x0a\xff"))
    else:
        length, units = coded.hevc_configuration(configuration[8:])
        assert length == 4
        assert [size for size in coded.hevc_sizes(units) if size] == [(512, 512)]
        with pytest.raises(coded.BrokenUnitError):
            coded.hevc_configuration(configuration[8:40])
        assert len([*coded.hevc_units(pixels, length)]) >= 1


def test_units_are_limited() -> None:
    """Of coded data in very many tiny units, few are looked at."""
    picture = one_picture("AVIF")
    picture[0] = picture[0]._replace(content=b"\x12\0" * (heif.MAX_UNITS + 1))
    error = measure(file_of(b"avif", picture), "standard", max_pixels=1 << 20).error
    assert str(error) == f"coded pictures of more than {heif.MAX_UNITS} units"


def test_a_grid_that_cannot_be_read() -> None:
    """The decoder gives it no transformations, wherever its place is wrong."""
    configuration, pixels = tile("HEIF")
    ispe = full(b"ispe", struct.pack(">II", TILE, TILE))
    shape = struct.pack(">BBBBHH", 0, 0, 0, 0, TILE, TILE)
    grid = Item(b"grid", shape, [ispe, aperture(32, 1, 32, 1, 0, 1, 0, 1)])
    items = [grid, Item(b"hvc1", pixels, [configuration, ispe])]
    data = file_of(b"heic", items, reference(b"dimg", 1, 2, wide=False))
    start = data.index(b"iloc")
    for place in range(start + 4, start + 44):
        require_agreement(data[:place] + b"\1" + data[place + 1 :])


@pytest.mark.parametrize(
    ("kind", "levels", "times"),
    [(b"iden", 1, 1), (b"iden", 8, 1), (b"iovl", 1, 1), (b"iovl", 2, 20), (b"grid", 3, 4)],
)
def test_derived_pictures_are_read(kind: bytes, levels: int, times: int) -> None:
    """Where their images are few, and small."""
    data = derived(kind, levels, times)
    heif.require_declared_sizes(data)
    measurement = measure(data, "standard", max_pixels=1 << 20)
    if times > 1 and "double references" in str(measurement.error):
        return  # older decoders take no image twice
    assert measurement.error is None
    assert measurement.values["width"] == TILE


@pytest.mark.parametrize(
    ("kind", "levels", "times", "side"),
    [
        (b"grid", 2, 30, 2000),
        (b"grid", 4, 20, TILE),
        (b"iovl", 1, 20, 1000),
        (b"iovl", 3, 30, TILE),
    ],
)
def test_what_a_picture_is_derived_from_is_decoded_few_times(
    kind: bytes, levels: int, times: int, side: int
) -> None:
    """Each level multiplies the work, and no number of pixels in the file tells it."""
    decoded = side**2 * times**levels + sum(TILE**2 * times**level for level in range(levels))
    message = f"a picture of {TILE**2} pixels, derived from {decoded} pixels"
    with pytest.raises(im.TooLargeError, match=f"^{message}$"):
        heif.require_declared_sizes(derived(kind, levels, times, side))


@pytest.mark.parametrize("kind", [b"grid", b"iden", b"iovl"])
def test_long_chains_of_derived_images_are_not_opened(kind: bytes) -> None:
    """The decoder takes quadratic time to open them, and doubles the work with each level."""
    error = measure(derived(kind, 9, 2), "geometry", max_pixels=1 << 20).error
    assert isinstance(error, LongHeaderError)
    assert str(error) == "images that are derived from others more than 8 times"


def test_alpha_counts_with_its_picture() -> None:
    """It may be a grid of very many tiles."""
    configuration, pixels = tile("HEIF")
    whole = full(b"ispe", struct.pack(">II", TILE, TILE))
    kind = box(b"auxC", bytes(4) + b"urn:mpeg:hevc:2015:auxid:1\0")
    shape = struct.pack(">BBBBHH", 0, 0, 99, 99, TILE, TILE)
    items = [Item(b"hvc1", pixels, [configuration, whole]), Item(b"grid", shape, [whole, kind])]
    items.append(Item(b"hvc1", pixels, [configuration, whole]))
    references = reference(b"auxl", 2, 1, wide=False)
    references += reference(b"dimg", 2, *[3] * 10_000, wide=False)
    error = measure(file_of(b"heic", items, references), "standard", max_pixels=1 << 20).error
    assert isinstance(error, im.TooLargeError)
    decoded = TILE**2 * 10_002
    assert str(error) == f"a picture of {TILE**2} pixels, derived from {decoded} pixels"


def test_derived_images_of_an_unusual_structure_are_not_decoded() -> None:
    """What they cost cannot be told."""
    unusual = derived(b"grid", 2, 30, 2000).replace(b"infe", b"what", 1)
    with pytest.raises(im.UnsupportedError, match="derived images in an unusual structure"):
        heif.require_declared_sizes(unusual)
    heif.require_declared_sizes(file_of(b"heic", one_picture("HEIF")).replace(b"infe", b"what", 1))
