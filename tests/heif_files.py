"""AVIF and HEIF files that no encoder writes, of real tiles."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

TILE = 64
CODINGS = {"AVIF": (b"av01", b"av1C", b"avif"), "HEIF": (b"hvc1", b"hvcC", b"heic")}
_ESSENTIAL = {b"av1C", b"hvcC", b"clap", b"irot", b"imir"}


def box(name: bytes, *contents: bytes) -> bytes:
    """Return a box."""
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), name) + content


def full(name: bytes, *contents: bytes, version: int = 0, flags: int = 0) -> bytes:
    """Return a box with version and flags."""
    return box(name, struct.pack(">I", version << 24 | flags), *contents)


def child(data: bytes, name: bytes) -> bytes:
    """Return the first box of a name that is anywhere in a file."""
    start = data.index(name) - 4
    return data[start : start + int.from_bytes(data[start : start + 4])]


def encoded(coding: str, **options: object) -> bytes:
    """Return a tile of noise as the encoder writes it."""
    noise = np.random.default_rng(0).integers(0, 256, (TILE, TILE, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, coding, **options)
    return file.getvalue()


@cache
def tile(coding: str) -> tuple[bytes, bytes]:
    """Return the configuration of the decoder, and the coded pixels."""
    data = encoded(coding)
    return child(data, CODINGS[coding][1]), child(data, b"mdat")[8:]


class Item(NamedTuple):
    """An item of a file: type, content, and properties in their order."""

    kind: bytes
    content: bytes
    properties: Sequence[bytes] = ()


def file_of(
    brands: bytes,
    items: Sequence[Item],
    references: bytes = b"",
    *,
    wide: bool = False,
    inside: bool = False,
    behind: bool = False,
) -> bytes:
    """Return a file whose first item is the picture.

    Args:
        brands: The major brand, and compatible ones.
        items: The items, numbered from 1.
        references: The content of `iref`.
        wide: Whether numbers of items have 32 bits, and those of properties 15.
        inside: Whether the contents are within `meta`.
        behind: Whether `meta` comes last.
    """
    number = ">I" if wide else ">H"
    properties = [*dict.fromkeys(one for item in items for one in item.properties)]
    infos, associations = [], []
    for index, item in enumerate(items, 1):
        kind, _, content_type = item.kind.partition(b" ")
        name = b"\0" + (content_type + b"\0" if content_type else b"")
        head = struct.pack(number + "H4s", index, 0, kind)
        infos.append(full(b"infe", head, name, version=3 if wide else 2))
        top = 1 << (15 if wide else 7)
        used = [
            properties.index(one) + 1 | (top if one[4:8] in _ESSENTIAL else 0)
            for one in item.properties
        ]
        form = f"{number}B{len(used)}{'H' if wide else 'B'}"
        associations.append(struct.pack(form, index, len(used), *used))
    ipma = struct.pack(">I", len(items)) + b"".join(associations)
    iprp = box(
        b"iprp",
        box(b"ipco", *properties),
        full(b"ipma", ipma, version=int(wide), flags=int(wide)),
    )
    contents = b"".join(item.content for item in items)

    def meta(start: int) -> bytes:
        locations = []
        for index, item in enumerate(items, 1):
            place = struct.pack(number + "HHHII", index, inside, 0, 1, start, len(item.content))
            locations.append(place)
            start += len(item.content)
        counts = struct.pack(">BB", 0x44, 0), struct.pack(number, len(items))
        return full(
            b"meta",
            full(b"hdlr", bytes(4), b"pict", bytes(13)),
            full(b"pitm", struct.pack(number, 1), version=int(wide)),
            full(b"iloc", *counts, *locations, version=2 if wide else 1),
            full(b"iinf", struct.pack(number, len(items)), *infos, version=int(wide)),
            full(b"iref", references, version=int(wide)) if references else b"",
            iprp,
            box(b"idat", contents) if inside else b"",
        )

    head = box(b"ftyp", brands[:4], bytes(4), brands) + box(b"free", bytes(5))
    data = b"" if inside else box(b"mdat", contents)
    if behind:
        return head + data + meta(0 if inside else len(head) + 8)
    start = 0 if inside else len(head) + len(meta(0)) + 8
    return head + meta(start) + data


def reference(kind: bytes, item: int, *to: int, wide: bool) -> bytes:
    """Return a reference of one item to others."""
    number = "I" if wide else "H"
    return box(kind, struct.pack(f">{number}H{len(to)}{number}", item, len(to), *to))


def derived(kind: bytes, levels: int, times: int, tile_side: int = TILE) -> bytes:
    """Return a picture of 64 x 64 that is derived from an image, which is from another, and so on.

    Args:
        kind: How an image is derived.
        levels: How many there are, above a coded picture.
        times: From how many copies of the next each is derived.
        tile_side: The columns and rows that the coded picture declares.
    """
    configuration, pixels = tile("HEIF")
    whole = full(b"ispe", struct.pack(">II", TILE, TILE))
    content = {
        b"grid": struct.pack(">BBBBHH", 0, 0, 0, times - 1, TILE, TILE),
        b"iovl": struct.pack(">BB4HHH", 0, 0, 0, 0, 0, 0, TILE, TILE) + bytes(4 * times),
        b"iden": b"",
    }[kind]
    coded_size = full(b"ispe", struct.pack(">II", tile_side, tile_side))
    items = [Item(kind, content or b"\0", [whole])] * levels
    items.append(Item(b"hvc1", pixels, [configuration, coded_size]))
    to = [reference(b"dimg", one, *[one + 1] * times, wide=False) for one in range(1, levels + 1)]
    return file_of(b"heicmif1", items, b"".join(to))
