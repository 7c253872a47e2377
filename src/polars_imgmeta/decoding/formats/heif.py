"""The headers of AVIF and HEIF, which their decoders read only from the whole file.

A file is a tree of boxes. The box `meta` lists its items, among them the primary picture, and
their properties: size, rotation, mirroring, and a clean aperture. An image sequence has tracks
with those instead.

Sources:
    ISO/IEC 14496-12, "ISO base media file format"; ISO/IEC 23008-12, "Image File Format";
    AOMedia, "AV1 Image File Format".
"""

from __future__ import annotations

import io
import math
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from itertools import chain
from typing import BinaryIO, NamedTuple

from polars_imgmeta import exceptions
from polars_imgmeta.decoding.formats.bounded import LongHeaderError
from polars_imgmeta.decoding.formats.coded import (
    Size,
    av1_sizes,
    hevc_configuration,
    hevc_sizes,
    hevc_units,
)
from polars_imgmeta.decoding.formats.exif import orientation_of

HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
)
"""The major brands that the decoder of HEIF accepts."""
_AVIF_BRANDS = frozenset({b"avif", b"avis", b"mif1", b"msf1"})
_AVIF_COMPATIBLE = frozenset({b"avif", b"avis"})

MAX_BOXES = 1 << 12
"""Boxes that are looked at. Ordinary files have some dozens."""
MAX_ITEMS = 1 << 14
"""Items, of which the tiles of a grid are some; references among them, or their pieces."""
_MAX_CONTENT_BYTES = 1 << 20
MAX_UNITS = 1 << 17
"""Units of coded data that are looked at, and items."""
# A coded picture is larger than declared by the rest of a block, which is most in a small one.
_CODED_FACTOR, _CODED_PIXELS = 2, 1 << 16
MAX_DERIVATIONS = 8
"""Levels of images that are derived from others. Ordinary files have one: the tiles of a grid."""
# Pixels that are decoded for a derived picture, as a multiple of its own, and of a small one.
_DERIVED_FACTOR, _DERIVED_PIXELS = 16, 1 << 24

_AV1, _HEVC, _GRID, _MIME = b"av01", b"hvc1", b"grid", b"mime"
_CODED, _DERIVED = frozenset({_AV1, _HEVC}), frozenset({_GRID, b"iden", b"iovl"})
_XMP_TYPE = b"application/rdf+xml"
# Those without influence on geometry, of which a decoder must know all that are essential.
_PROPERTIES = frozenset(
    b"ispe irot imir clap pixi colr hvcC av1C pasp auxC clli mdcv cclv amve lsel a1op a1lx".split()
)
_READ_PROPERTIES = frozenset({b"ispe", b"irot", b"imir", b"clap", b"hvcC"})
# The rest of the fixed fields of a sample entry, before its boxes.
_SAMPLE_ENTRY_BYTES = 78
_TRACK_SIZE = {0: 76, 1: 88}  # its position by version

# The decoder shortens fractions of larger numbers, and ignores an aperture of very large ones.
_MAX_FRACTION = 1 << 16

# By quarter turns anticlockwise: the orientation, and those with a mirroring that swaps top
# and bottom, or left and right.
_ORIENTATIONS = ((1, 4, 2), (8, 5, 7), (3, 2, 4), (6, 7, 5))


class Geometry(NamedTuple):
    """What a header declares.

    Attributes:
        name: Pillow's name of the format.
        size: Width and height; of a HEIF those of the picture as it is shown.
        orientation: The orientation to be applied, 1 to 8.
        decoded: The number of pixels that are decoded, which may be cropped.
    """

    name: str
    size: Size
    orientation: int
    decoded: int


class _UnusualError(Exception):
    """The structure is not the ordinary one; the decoder has to judge it."""


def _require(usual: object) -> None:
    if not usual:
        raise _UnusualError


def read_geometry(stream: BinaryIO) -> Geometry | None:
    """Read the header of an AVIF or HEIF, or return None for what is another one, or unusual.

    Raises:
        LongHeaderError: If there are too many boxes or items, or images derived from each other.
    """
    stream.seek(0)
    length, name = struct.unpack(">I4s", stream.read(8).ljust(8, b"\0"))
    if name != b"ftyp" or not 16 <= length <= _MAX_CONTENT_BYTES:  # noqa: PLR2004 - with a brand
        return None
    content = stream.read(length - 8)
    major, compatible = content[:4], {content[at : at + 4] for at in range(8, len(content), 4)}
    is_avif = major in _AVIF_BRANDS and not _AVIF_COMPATIBLE.isdisjoint({major, *compatible})
    if not is_avif and major not in HEIF_BRANDS:
        return None
    try:
        return _read(_File(stream).box(length), major, is_avif=is_avif)
    except (_UnusualError, struct.error, LookupError, ValueError):  # where parts are missing
        return None


def _read(file: _Box, major: bytes, *, is_avif: bool) -> Geometry:
    if is_avif and major != b"avif":
        if moov := file.find(b"moov"):
            return _read_track(moov)
        _require(major != b"avis")
    items = _Items(file.get(b"meta"))
    items.require_shallow()
    if is_avif and items.coding == _AV1:
        return Geometry("AVIF", items.size, items.orientation, items.decoded)
    _require(major in HEIF_BRANDS and items.coding == _HEVC)
    return Geometry("HEIF", items.shown_size, 1, items.decoded)


def require_declared_sizes(data: bytes) -> None:
    """Check that no more pixels are decoded than the file declares.

    Decoders decode a coded picture in the size of its own header, before they compare it with
    that of the file, or shrink it to that; and one that others are derived from for each of them.

    Raises:
        TooLargeError: If a coded picture has many more, all together have, or there are too many
            units.
        UnsupportedError: If it cannot be determined for derived images.
    """
    units = 0
    file = _File(io.BytesIO(data)).box(0)
    try:
        if meta := file.find(b"meta"):
            _Items(meta).require_few_decoded()
        for declared, sizes in _coded_pictures(file):
            allowed = _CODED_FACTOR * declared[0] * declared[1] + _CODED_PIXELS
            for size in sizes:
                units += 1
                if units > MAX_UNITS:
                    msg = f"coded pictures of more than {MAX_UNITS} units"
                    raise exceptions.TooLargeError(msg)
                if size and size[0] * size[1] > allowed:
                    msg = (
                        f"a coded picture of {size[0]} x {size[1]} pixels, declared as"
                        f" {declared[0]} x {declared[1]}"
                    )
                    raise exceptions.TooLargeError(msg)
    except (_UnusualError, struct.error, LookupError, ValueError):
        if meta and any(kind in data[meta.start : meta.end] for kind in _DERIVED):
            msg = "derived images in an unusual structure"
            raise exceptions.UnsupportedError(msg) from None
        # The decoder has to judge it.


def _coded_pictures(file: _Box) -> Iterator[tuple[Size, Iterator[Size | None]]]:
    """Yield the declared size of each coded picture that may be decoded, and those of its own."""
    if moov := file.find(b"moov"):
        for track in moov.boxes():
            if track.name == b"trak" and (sample := _first_sample(track)):
                yield _track_size(track), av1_sizes(sample)
    if meta := file.find(b"meta"):
        yield from _Items(meta).coded_pictures()


def _first_sample(track: _Box) -> bytes | None:
    """Return the first picture of a track of AV1."""
    table = track.get(b"mdia", b"minf", b"stbl")
    if next(table.get(b"stsd").boxes(8)).name != _AV1:
        return None
    wide = table.find(b"co64")
    offsets = (wide or table.get(b"stco")).start_of_content(16)
    (offset,) = struct.unpack_from(">Q" if wide else ">I", offsets, 8)
    lengths = table.get(b"stsz").start_of_content(16)
    of_all, _, of_first = struct.unpack_from(">III", lengths.ljust(16, b"\0"), 4)
    return table.file.read(offset, of_all or of_first)


class _File:
    """A file of which a bounded number of boxes is looked at."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = stream.seek(0, io.SEEK_END)
        self._left = MAX_BOXES

    def read(self, position: int, length: int) -> bytes:
        """Return a part of the file."""
        self._stream.seek(position)
        data = self._stream.read(length)
        _require(len(data) == length)
        return data

    def box(self, position: int) -> _Box:
        """Return all boxes from a position on, as the content of one."""
        return _Box(b"", self, position, self.size)

    def boxes(self, position: int, end: int) -> Iterator[_Box]:
        """Yield boxes up to a position.

        Raises:
            LongHeaderError: If they are too many.
        """
        while position + 8 <= end:
            self._left -= 1
            if self._left < 0:
                msg = f"a file of more than {MAX_BOXES} boxes"
                raise LongHeaderError(msg)
            length, name = struct.unpack(">I4s", self.read(position, 8))
            start = position + 8
            if length == 1:  # 64 bits follow
                length = int.from_bytes(self.read(start, 8))
                start += 8
            stop = position + length if length else end
            _require(stop >= start)
            yield _Box(name, self, start, stop)
            position = stop


class _Box(NamedTuple):
    """A box, whose content is in a file from one position to another."""

    name: bytes
    file: _File
    start: int
    end: int

    def content(self) -> bytes:
        """Return the content, which is short."""
        length = self.end - self.start
        _require(self.end <= self.file.size)
        if length > _MAX_CONTENT_BYTES:
            msg = f"a box of {length} bytes, more than {_MAX_CONTENT_BYTES}"
            raise LongHeaderError(msg)
        return self.file.read(self.start, length)

    def start_of_content(self, length: int) -> bytes:
        """Return so many bytes of the content, or all of it."""
        return self.file.read(self.start, min(length, self.end - self.start))

    def boxes(self, skipped: int = 0) -> Iterator[_Box]:
        """Yield the boxes inside, behind some bytes of fields."""
        return self.file.boxes(self.start + skipped, self.end)

    def find(self, name: bytes) -> _Box | None:
        """Return the first box inside of this name."""
        return next((box for box in self.boxes() if box.name == name), None)

    def get(self, *names: bytes) -> _Box:
        """Return a box inside boxes."""
        box = self
        for name in names:
            found = box.find(name)
            if found is None:
                raise _UnusualError
            box = found
        return box


def _orientation(properties: dict[bytes, bytes]) -> int:
    """Return the orientation of a rotation, followed by a mirroring."""
    turns = properties.get(b"irot", b"\0")[0] & 3
    axis = properties[b"imir"][0] & 1 if b"imir" in properties else -1
    return _ORIENTATIONS[turns][axis + 1]


def _read_track(moov: _Box) -> Geometry:
    """Return the geometry of the first track of pictures."""
    for track in moov.boxes():
        if track.name != b"trak":
            continue
        references = track.find(b"tref")
        if references and references.find(b"auxl"):  # alpha
            continue
        samples = track.get(b"mdia", b"minf", b"stbl", b"stsd")
        entry = next(samples.boxes(8))
        if entry.name != _AV1:
            continue
        found = {box.name: box.content() for box in entry.boxes(_SAMPLE_ENTRY_BYTES)}
        width, height = _track_size(track)
        orientation = _orientation(found)
        meta = track.find(b"meta")
        if orientation == 1 and meta:
            orientation = _Items(meta).orientation_of_metadata(None)
        return Geometry("AVIF", (width, height), orientation, width * height)
    raise _UnusualError


def _track_size(track: _Box) -> Size:
    header = track.get(b"tkhd").content()
    width, height = struct.unpack_from(">HxxH", header, _TRACK_SIZE[header[0]])
    return width, height


class _Items:
    """The items of a box `meta`, each part of which is read when it is needed."""

    def __init__(self, meta: _Box) -> None:
        self._boxes: dict[bytes, _Box] = {}
        self._read_properties: dict[int, tuple[bytes, bytes]] = {}
        for box in meta.boxes(4):
            _require(self._boxes.setdefault(box.name, box) is box or box.name == b"free")

    def _full(self, name: bytes) -> tuple[int, bytes]:
        """Return the version of a box, and what follows its flags."""
        content = self._boxes[name].content()
        return content[0], content[4:]

    @cached_property
    def primary(self) -> int:
        """The number of the picture."""
        version, content = self._full(b"pitm")
        (number,) = struct.unpack_from(">I" if version else ">H", content)
        return int(number)

    @cached_property
    def _types(self) -> dict[int, bytes]:
        """The type of each item, for `mime` followed by that of its content."""
        version, content = self._full(b"iinf")
        (count,) = struct.unpack_from(">I" if version else ">H", content)
        _require_few(count)
        position = 4 if version else 2
        types: dict[int, bytes] = {}
        for _ in range(count):
            length, name, kind = struct.unpack_from(">I4sB", content, position)
            _require(name == b"infe" and kind in {2, 3} and length >= 20)  # noqa: PLR2004
            form = ">H2x4s" if kind == 2 else ">I2x4s"  # noqa: PLR2004
            item, type_ = struct.unpack_from(form, content, position + 12)
            if type_ == _MIME:
                rest = content[position + 12 + struct.calcsize(form) : position + length]
                type_ += rest.split(b"\0")[1]
            _require(types.setdefault(item, type_) is type_)
            position += length
        return types

    def _references(self) -> Iterator[tuple[bytes, int, tuple[int, ...]]]:
        """Yield type, item and the items that it refers to."""
        if b"iref" not in self._boxes:
            return
        version, content = self._full(b"iref")
        form = "I" if version else "H"
        step = struct.calcsize(">" + form)
        position = 0
        for _ in range(MAX_ITEMS):
            if position >= len(content):
                return
            length, name = struct.unpack_from(">I4s", content, position)
            item, count = struct.unpack_from(f">{form}H", content, position + 8)
            _require(length == 10 + step * (count + 1))
            yield name, item, struct.unpack_from(f">{count}{form}", content, position + 10 + step)
            position += length
        _require_few(MAX_ITEMS + 1)

    @cached_property
    def coding(self) -> bytes:
        """The type of the picture, or that of the tiles of a grid."""
        if not self._is_grid:
            return self._types[self.primary]
        (kind,) = {self._types[tile] for tile in self._tiles}
        return kind

    @property
    def _is_grid(self) -> bool:
        return self._types[self.primary] == _GRID

    @cached_property
    def _tiles(self) -> tuple[int, ...]:
        """The numbers of the tiles of a grid, in their order."""
        source = (b"dimg", self.primary)
        (tiles,) = (to for name, item, to in self._references() if (name, item) == source)
        return tiles

    @property
    def decoded(self) -> int:
        """The number of pixels that are decoded: those of all tiles, of a grid."""
        width, height = self.size
        if not self._is_grid:
            return width * height
        # To a grid that is damaged the decoder applies no transformations.
        version, flags, rows, columns = (content := self._read_item(self.primary))[:4]
        shape = struct.unpack_from(">II" if flags & 1 else ">HH", content, 4)
        _require(version == 0 and (rows + 1) * (columns + 1) == len(self._tiles))
        _require(shape == self.size)
        for tile in {*self._tiles}:
            self._locate(tile)
        areas = {tile: math.prod(_size(self._properties_of(tile))) for tile in {*self._tiles}}
        return max(width * height, sum(areas[tile] for tile in self._tiles))

    @cached_property
    def _sources(self) -> dict[int, Counter[int]]:
        """From which items each is derived, and how often; its alpha is decoded with it."""
        sources: dict[int, Counter[int]] = defaultdict(Counter)
        for name, item, to in self._references():
            if name == b"dimg":
                sources[item].update(to)
            elif name == b"auxl":
                for master in {*to}:
                    sources[master][item] += 1
        return sources

    def require_shallow(self) -> None:
        """Check how deep the picture is derived: the decoder opens a long chain in quadratic time.

        Raises:
            LongHeaderError: If it is too deep.
        """
        level = {self.primary}
        for _ in range(MAX_DERIVATIONS + 1):
            level = {source for item in level for source in self._sources.get(item, ())}
        if level:
            msg = f"images that are derived from others more than {MAX_DERIVATIONS} times"
            raise LongHeaderError(msg)

    def _count_decoded(self) -> int:
        """Return how many pixels are decoded, those of an item as often as it is."""

        @cache
        def count(item: int) -> int:
            found = self._sources.get(item, Counter())
            return self._area(item) + sum(count(one) * often for one, often in found.items())

        self.require_shallow()
        return count(self.primary)

    def _area(self, item: int) -> int:
        """Return the number of pixels that an item declares, whatever else is associated."""
        numbers = [number for number, _ in self._associations.get(item, ()) if number]
        boxes = [self._all_properties[number - 1] for number in numbers]
        sizes = [_size([(box.name, box.content())]) for box in boxes if box.name == b"ispe"]
        return max(map(math.prod, sizes), default=0)

    def require_few_decoded(self) -> None:
        """Check that not many more pixels are decoded than the picture has, and its tiles.

        Raises:
            TooLargeError: If they are.
        """
        decoded, area = self._count_decoded(), self._area(self.primary)
        # The tiles of a grid count already towards the limit on pixels.
        kinds = {self._types[tile] for tile in self._tiles} if self._is_grid else set()
        known = self.decoded if kinds and kinds <= _CODED else area
        if decoded > max(_DERIVED_FACTOR * known, _DERIVED_PIXELS):
            msg = f"a picture of {area} pixels, derived from {decoded} pixels"
            raise exceptions.TooLargeError(msg)

    def coded_pictures(self) -> Iterator[tuple[Size, Iterator[Size | None]]]:
        """Yield the declared size of each coded picture, and those of its own headers."""
        left = 4 * next(iter(self._boxes.values())).file.size  # items may share bytes
        for item, kind in self._types.items():
            if kind not in _CODED:
                continue
            properties = self._properties_of(item)
            file, extents = self._locate(item)
            left -= sum(length for _, length in extents)
            _require(left >= 0)
            data = b"".join(file.read(start, length) for start, length in extents)
            if kind == _AV1:
                yield _size(properties), av1_sizes(data)
            else:
                length, units = hevc_configuration(dict(properties)[b"hvcC"])
                yield _size(properties), hevc_sizes(chain(units, hevc_units(data, length)))

    @cached_property
    def _properties(self) -> list[tuple[bytes, bytes]]:
        """Name and content of the properties of the picture, in their order."""
        return self._properties_of(self.primary)

    def _properties_of(self, item: int) -> list[tuple[bytes, bytes]]:
        """Return name and content of the properties of an item that matter, in their order."""
        found = []
        for number, essential in self._associations.get(item, ()):
            if not number:
                continue
            box = self._all_properties[number - 1]
            _require(box.name in _PROPERTIES or not essential)
            if box.name in _READ_PROPERTIES:
                if number not in self._read_properties:  # which items share
                    self._read_properties[number] = box.name, box.content()
                found.append(self._read_properties[number])
        names = [name for name, _ in found]
        _require(names.count(b"ispe") == 1 and len(names) == len({*names}))
        return found

    @cached_property
    def _all_properties(self) -> list[_Box]:
        return list(self._boxes[b"iprp"].get(b"ipco").boxes())

    @cached_property
    def _associations(self) -> dict[int, list[tuple[int, bool]]]:
        """The numbers of the properties of each item, and whether each is essential."""
        content = self._boxes[b"iprp"].get(b"ipma").content()
        flags, count = struct.unpack_from(">II", content)
        _require_few(count)
        item_form, wide = (">IB" if flags >> 24 else ">HB"), flags & 1
        form, top = (">%dH", 15) if wide else (">%dB", 7)
        position = 8
        found: dict[int, list[tuple[int, bool]]] = {}
        for _ in range(count):
            item, associated = struct.unpack_from(item_form, content, position)
            position += struct.calcsize(item_form)
            values = struct.unpack_from(form % associated, content, position)
            numbers = [(value & (1 << top) - 1, bool(value >> top)) for value in values]
            found.setdefault(item, numbers)
            position += associated << wide
        return found

    @property
    def size(self) -> Size:
        """Width and height as stored."""
        return _size(self._properties)

    @property
    def shown_size(self) -> Size:
        """Width and height after the transformations, each in its turn."""
        width, height = self.size
        properties = [one for one in self._properties if one[0] != b"hvcC"]
        _require(properties[0][0] == b"ispe")  # or the decoder forgets those before it
        for name, content in properties:
            if name == b"clap":
                width, height = _crop((width, height), content)
            elif name == b"irot" and content[0] & 1:
                width, height = height, width
        return width, height

    @property
    def orientation(self) -> int:
        """The orientation of the picture, for AVIF: of its properties, or else of XMP."""
        stored = _orientation(dict(self._properties))
        return self.orientation_of_metadata(self.primary) if stored == 1 else stored

    def orientation_of_metadata(self, item: int | None) -> int:
        """Return the orientation that XMP declares of an item where Exif declares none.

        One that Exif declares is overruled by the properties.
        """
        described = {of for name, of, to in self._references() if name == b"cdsc" and item in to}
        exif, xmp = b"", b""
        for number, kind in self._types.items():
            if item is not None and number not in described:
                continue
            if kind == b"Exif":
                exif = self._read_item(number)[4:]
            elif kind == _MIME + _XMP_TYPE:
                xmp = self._read_item(number)
        found = orientation_of(exif, xmp)
        return 1 if found == orientation_of(exif) else found

    def _read_item(self, item: int) -> bytes:
        """Return the content of an item, which is short."""
        file, extents = self._locate(item)
        _require(sum(length for _, length in extents) <= _MAX_CONTENT_BYTES)
        return b"".join(file.read(start, length) for start, length in extents)

    def _locate(self, item: int) -> tuple[_File, list[tuple[int, int]]]:
        """Return where the content of an item is: positions and lengths."""
        method, elsewhere, extents = self._locations[item]
        _require(method in {0, 1} and not elsewhere and all(size for _, size in extents))
        box = self._boxes[b"idat" if method else b"iloc"]
        start = box.start if method else 0
        return box.file, [(start + position, length) for position, length in extents]

    @cached_property
    def _locations(self) -> dict[int, tuple[int, int, list[tuple[int, int]]]]:
        """How the content of each item is found, in which file, and its positions and lengths."""
        version, content = self._full(b"iloc")
        sizes, bases = content[0], content[1]
        read = _reader(content, 2)
        wide = 4 if version == 2 else 2  # noqa: PLR2004
        pieces = 0
        found: dict[int, tuple[int, int, list[tuple[int, int]]]] = {}
        for _ in range(read(wide)):
            item = read(wide)
            method = read(2) & 0xF if version else 0
            elsewhere = read(2)
            base = read(bases >> 4)
            count = read(2)
            pieces += 1 + count
            _require_few(pieces)
            extents = []
            for _ in range(count):
                read(bases & 0xF if version else 0)
                extents.append((base + read(sizes >> 4), read(sizes & 0xF)))
            found.setdefault(item, (method, elsewhere, extents))
        return found


def _reader(content: bytes, position: int) -> Callable[[int], int]:
    """Return a function that reads the next number, of so many bytes."""

    def read(length: int) -> int:
        nonlocal position
        position += length
        _require(position <= len(content))
        return int.from_bytes(content[position - length : position])

    return read


def _require_few(count: int) -> None:
    if count > MAX_ITEMS:
        msg = f"more than {MAX_ITEMS} items"
        raise LongHeaderError(msg)


def _size(properties: list[tuple[bytes, bytes]]) -> Size:
    width, height = struct.unpack_from(">4xII", dict(properties)[b"ispe"])
    return width, height


def _crop(size: Size, aperture: bytes) -> Size:
    """Return width and height of a clean aperture, whose sides are whole numbers inside."""
    fields = struct.unpack_from(">IIIIiIiI", aperture)
    _require(max(map(abs, fields)) <= _MAX_FRACTION)
    sides = []
    for side, at in zip(size, (0, 2), strict=True):
        numerator, divisor, offset, offset_divisor = *fields[at : at + 2], *fields[at + 4 : at + 6]
        _require(divisor and offset_divisor and numerator % divisor == 0)
        cropped = numerator // divisor
        first = (2 * offset + (side - cropped) * offset_divisor) // (2 * offset_divisor)
        _require(cropped and 0 <= first <= side - cropped)
        sides.append(cropped)
    return sides[0], sides[1]
