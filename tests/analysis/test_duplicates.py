"""Groups of images that are the same or look the same, judged by a comparison of all pairs."""

from __future__ import annotations

import pickle
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

import mistakes
import numpy as np
import polars as pl
import pytest
from engines import ENGINES, run
from hypothesis import given
from hypothesis import strategies as st
from mistakes import Mistake
from PIL import Image
from polars.testing import assert_frame_equal

import polars_imgmeta as im
from polars_imgmeta.analysis.matching import DUPLICATE
from polars_imgmeta.column.structs import struct_dtype
from polars_imgmeta.typing import PropertyName

Row: TypeAlias = dict[str, Any]

EXTRACTED: tuple[PropertyName, ...] = (
    "size",
    "sharpness",
    "file_digest",
    "pixel_digest",
    "perceptual_hash",
)
SCHEMA = {
    "path": pl.String(),
    "path_imgmeta": struct_dtype(im.CATALOGUE[name] for name in EXTRACTED),
    "split": pl.String(),
}
# As of photos: 31 of 63 bits. Neighbours are swaps of two bits, which differ in 2 bits.
PHOTO = sum(1 << bit for bit in range(1, 63, 2))


def swapped(*bits: int) -> int:
    """Return a hash that differs from that of the photo by swaps of neighbouring bits."""
    return PHOTO ^ sum(3 << bit for bit in bits)


def frame_of(rows: list[Row]) -> pl.DataFrame:
    """Return a frame like the result of `extract`; rows without a hash could not be read."""
    struct = [
        None
        if row.get("path") is None
        else {
            **{name: row.get(name) for name in EXTRACTED},
            "error": None if row["perceptual_hash"] is not None else "corrupt: cut off",
            "auto_extracted": "path@00000000",
        }
        for row in rows
    ]
    columns = {"path": [row["path"] for row in rows], "path_imgmeta": struct}
    return pl.DataFrame({**columns, "split": [row["split"] for row in rows]}, schema=SCHEMA)


@st.composite
def image_rows(draw: st.DrawFn, most: int = 14) -> list[Row]:
    """Draw rows: copies of files, other files of the same pixels, similar ones, failures."""
    rows = []
    for number in range(draw(st.integers(0, most))):
        near = draw(st.sampled_from([swapped(), swapped(1), swapped(1, 5), swapped(5, 9)]))
        hashed = draw(st.sampled_from([near, swapped(1, 5, 9, 13, 17, 21), 0, 0b1010, None]))
        pixels = f"{draw(st.integers(0, 1))}{str(hashed)[::-1]}"
        row = {
            "path": draw(st.sampled_from([f"{number}.png", "same.png", None])),
            "size": draw(st.integers(1, 3)),
            "sharpness": draw(st.sampled_from([0.1, 0.2])),
            "split": draw(st.sampled_from(["test", "train"])),
            "perceptual_hash": hashed,
            "pixel_digest": None if hashed is None else pixels,
            "file_digest": f"{pixels}-{draw(st.integers(0, 1))}",
        }
        rows.append(row)
    return rows


def matches(one: Row, other: Row, distance: int | None, *, across: bool = False) -> bool:
    """Whether two rows match, by definition."""
    hashes = (one["perceptual_hash"], other["perceptual_hash"])
    if across and one["split"] == other["split"]:
        return False
    if any(row["path"] is None or row["perceptual_hash"] is None for row in (one, other)):
        return False
    if any(one[name] == other[name] for name in ("file_digest", "pixel_digest")):
        return True
    informative = all(hashed.bit_count() >= 12 for hashed in hashes)
    differing = (hashes[0] ^ hashes[1]).bit_count()
    return distance is not None and informative and differing <= distance


def connected(rows: list[Row], distance: int | None, *, across: bool = False) -> list[set[int]]:
    """Return for each row the set of rows that matches connect, by closure."""
    groups = [{number} for number in range(len(rows))]
    for one, other in combinations(range(len(rows)), 2):
        if matches(rows[one], rows[other], distance, across=across):
            both = groups[one] | groups[other]
            for number in both:
                groups[number] = both
    return groups


def found(frame: pl.DataFrame, **options: Any) -> list[Row | None]:  # noqa: ANN401
    """Return what is found about each row."""
    result: list[Row | None] = im.duplicates(frame, **options)["duplicate"].to_list()
    return result


distances = st.none() | st.integers(0, 12)


@given(rows=image_rows(), distance=distances, across=st.booleans())
def test_groups_are_what_matches_connect(
    rows: list[Row],
    distance: int | None,
    across: bool,  # noqa: FBT001
) -> None:
    """Rows are in one group exactly if a chain of pairs that match leads from one to the other."""
    groups = connected(rows, distance, across=across)
    result = found(frame_of(rows), distance=distance, across="split" if across else None)
    for row, one in zip(rows, result, strict=True):
        assert (one is None) == (row["path"] is None or row["perceptual_hash"] is None)
    by_id = {number: one["group"] for number, one in enumerate(result) if one}
    for number, one in enumerate(result):
        if one is None:
            continue
        members = groups[number]
        assert one["images"] == len(members)
        if one["images"] > 1:
            assert all(by_id[member] == one["group"] for member in members)
    if not across:  # images of the same digest can be in no or in one group across splits
        for first, second in combinations(by_id, 2):
            assert (by_id[first] == by_id[second]) == (second in groups[first])


@given(rows=image_rows(), distance=distances, across=st.booleans())
def test_what_is_kept_has_no_match_and_every_copy_has_one(
    rows: list[Row],
    distance: int | None,
    across: bool,  # noqa: FBT001
) -> None:
    """No two kept rows match. A copy matches a kept row, which is named, and is at least as good.

    The reason and the distance are those of this pair.
    """
    result = found(frame_of(rows), distance=distance, across="split" if across else None)
    kept = [row for row, one in zip(rows, result, strict=True) if one and one["keep"]]
    for first, second in combinations(kept, 2):
        assert not matches(first, second, distance, across=across)
    for row, one in zip(rows, result, strict=True):
        if one is None:
            continue
        if one["keep"]:
            assert one["copy_of"] is one["reason"] is one["distance"] is None
            continue
        originals = [
            best
            for best in kept
            if best["path"] == one["copy_of"] and matches(row, best, distance, across=across)
        ]
        assert originals
        assert any(
            (best["size"], best["sharpness"]) >= (row["size"], row["sharpness"])
            and one["distance"] == (best["perceptual_hash"] ^ row["perceptual_hash"]).bit_count()
            and one["reason"]
            == (
                "same file"
                if best["file_digest"] == row["file_digest"]
                else "same pixels"
                if best["pixel_digest"] == row["pixel_digest"]
                else "similar"
            )
            for best in originals
        )
    groups: dict[str, list[tuple[tuple[int, float], bool]]] = {}
    for row, one in zip(rows, result, strict=True):
        if one:
            quality = (row["size"], row["sharpness"])
            groups.setdefault(one["group"], []).append((quality, one["keep"]))
    for members in groups.values():
        assert any(keep for quality, keep in members if quality == max(members)[0])


@given(rows=image_rows(), distance=distances, data=st.data())
def test_the_order_of_rows_changes_nothing(
    rows: list[Row], distance: int | None, data: st.DataObject
) -> None:
    """Each row has the same group and the same role, wherever it is in the frame."""
    rows = [{**row, "path": row["path"] and str(number)} for number, row in enumerate(rows)]
    order = data.draw(st.permutations(range(len(rows))))
    result = found(frame_of(rows), distance=distance)
    mixed = found(frame_of([rows[number] for number in order]), distance=distance)
    assert mixed == [result[number] for number in order]


@given(rows=image_rows(20), distance=distances, cut=st.integers(0, 20), earlier=st.booleans())
def test_new_rows_are_grouped_as_if_all_were(
    rows: list[Row],
    distance: int | None,
    cut: int,
    earlier: bool,  # noqa: FBT001
) -> None:
    """New rows are together with each other and with old ones exactly where they match.

    Two old groups that a new row connects are the exception: it has the id of one of them.
    """
    old, new = rows[:cut], rows[cut:]
    known = frame_of(old)
    if earlier:
        known = im.duplicates(known, distance)
    result = found(frame_of(new), distance=distance, against=known)
    known_ids = [one and one["group"] for one in known["duplicate"]] if earlier else []
    groups = connected(rows, distance)
    for number, (row, one) in enumerate(zip(new, result, strict=True), cut):
        assert (one is None) == (row["path"] is None or row["perceptual_hash"] is None)
        if one is None:
            continue
        # An old image is kept, so that what matches it is a copy.
        if any(matches(row, known_row, distance) for known_row in old):
            assert not one["keep"]
        ids = {known_ids[member] for member in groups[number] if member < len(known_ids)}
        assert not ids or one["group"] in ids
        for other_number, two in enumerate(result, cut):
            if two and other_number in groups[number]:
                assert one["group"] == two["group"]


@given(rows=image_rows(), cut=st.integers(0, 14))
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree(engine: str, rows: list[Row], cut: int) -> None:
    """Every engine gives the same, of chunks too; all other columns stay as they were."""
    frame = frame_of(rows)
    chunks = pl.concat([frame[:cut], frame[cut:]], rechunk=False)
    result = run(engine, chunks, lambda f: im.duplicates(f, 4))
    assert_frame_equal(result.drop("duplicate"), frame)
    assert result.schema["duplicate"] == DUPLICATE
    assert result["duplicate"].to_list() == found(frame, distance=4)


def test_pictures_without_content_are_no_group() -> None:
    """Thousands of black pictures in different sizes have one hash, and do not match by it."""
    rows: list[Row] = [
        {
            "path": f"{number}.png",
            "split": "train",
            "perceptual_hash": 0b1010 * (number % 2),
            "pixel_digest": f"black-{number // 2}",
            "file_digest": f"file-{number}",
        }
        for number in range(4_000)
    ]
    result = im.duplicates(frame_of(rows)).unnest("duplicate")
    assert result["images"].unique().to_list() == [2]
    assert set(result["reason"].drop_nulls()) == {"same pixels"}


def test_a_placeholder_in_many_rows_is_one_group() -> None:
    """Ten thousand equal images, and one near them, are linked without comparing all pairs."""
    rows: list[Row] = [
        {
            "path": f"{number:05}.png",
            "split": "train",
            "size": 1,
            "perceptual_hash": swapped(1) if number else swapped(),
            "pixel_digest": f"pixels-{number:05}",
            "file_digest": f"file-{number:05}",
        }
        for number in range(10_000)
    ]
    result = im.duplicates(frame_of(rows), 2).unnest("duplicate")
    assert result["group"].unique().to_list() == ["pixels-00000"]
    assert result.filter("keep")["path"].to_list() == ["00000.png"]


def test_copies_of_pictures_are_found(tmp_path: Path) -> None:
    """Copies, other formats, sizes and compressions are found; other pictures are not."""
    random = np.random.default_rng(0)
    for name in ("one", "two"):
        samples = random.integers(0, 256, (9, 12, 3), np.uint8)
        picture = Image.fromarray(samples).resize((320, 240), Image.Resampling.BICUBIC)
        picture.save(tmp_path / f"{name}.png")
        picture.save(tmp_path / f"{name}-copy.png")
        picture.save(tmp_path / f"{name}.bmp")
        picture.save(tmp_path / f"{name}.webp", quality=70)
        picture.resize((160, 120)).save(tmp_path / f"{name}.jpg")
    Image.new("RGB", (320, 240), "black").save(tmp_path / "black.png")
    Image.new("RGB", (320, 200), "red").save(tmp_path / "red.png")
    (tmp_path / "broken.png").write_bytes(b"")
    df = im.extract(im.scan_images(tmp_path), "path", ["identity", "size"]).collect()
    df = im.duplicates(df).unnest("duplicate").sort("path")
    names = df["path"].str.split("/").list.last()
    kinds = dict(zip(names, zip(df["images"], df["reason"], strict=True), strict=True))
    assert kinds["broken.png"] == (None, None)
    assert kinds["black.png"] == kinds["red.png"] == (1, None)
    for name in ("one", "two"):
        lossless = [kinds[f"{name}{rest}"] for rest in (".bmp", ".png", "-copy.png")]
        assert {count for count, _ in lossless} == {5}
        reasons = {reason for _, reason in lossless}
        assert reasons <= {None, "same pixels", "same file"}
        assert None in reasons
        assert kinds[f"{name}.webp"] == kinds[f"{name}.jpg"] == (5, "similar")


@pytest.mark.parametrize(
    "dtype", [pl.Int128(), pl.Boolean(), pl.Duration("us"), pl.Categorical(), pl.Date(), pl.Null()]
)
def test_splits_may_be_of_any_plain_dtype(dtype: pl.DataType) -> None:
    """Rows of equal hashes match across unequal values; null is no side."""
    text = isinstance(dtype, pl.Categorical)
    sides = pl.Series("split", ["a", "b", None] if text else [0, 1, None])
    sides = pl.Series("split", [None] * 3) if dtype == pl.Null else sides
    frame = pl.DataFrame({"perceptual_hash": [swapped()] * 3, "split": sides.cast(dtype)})
    images = im.duplicates(frame, across="split")["duplicate"].struct.field("images")
    assert images.to_list() == ([None] * 3 if dtype == pl.Null else [2, 2, None])


def test_flat_columns_and_hashes_alone_are_enough() -> None:
    """A frame with a column of hashes needs neither digests nor a struct."""
    frame = pl.DataFrame({"perceptual_hash": [swapped(), swapped(1), -swapped(5), None]})
    result = im.duplicates(frame)["duplicate"].struct.field("images").to_list()
    assert result == [2, 2, 1, None]


@pytest.mark.parametrize("kind", ["bytes", "struct"])
def test_embedded_images_have_no_name_to_be_copies_of(kind: str, sample_folder: Path) -> None:
    """Bytes name nothing; the structs of data sets have a path."""
    data = (sample_folder / "photos" / "noise.png").read_bytes()
    values = [data] * 2 if kind == "bytes" else [{"bytes": data, "path": name} for name in "ab"]
    frame = im.extract(pl.DataFrame({"image": values}), "image", ["identity"])
    result = im.duplicates(frame).unnest("duplicate")
    assert sorted(result["keep"]) == [False, True]
    assert result.filter(~pl.col("keep"))["copy_of"].to_list() == [
        "a" if kind == "struct" else None
    ]


def test_a_lazy_plan_is_plain_data() -> None:
    """It can be pickled for another process, with the images that it is compared against."""
    known = frame_of(
        [
            {
                "path": "x",
                "split": "",
                "perceptual_hash": PHOTO,
                "pixel_digest": "p",
                "file_digest": "f",
            }
        ]
    )
    plan = im.duplicates(known.lazy(), against=known)
    copy = pickle.loads(pickle.dumps(plan))  # noqa: S301
    assert_frame_equal(copy.collect(), plan.collect())
    assert copy.collect()["duplicate"].struct.field("copy_of").to_list() == ["x"]


def test_a_second_call_replaces_the_first() -> None:
    """A call can be repeated, with another distance too."""
    frame = frame_of([])
    assert_frame_equal(im.duplicates(im.duplicates(frame), 9), im.duplicates(frame, 9))


FRAME = frame_of([]).with_columns(other=pl.lit(1), nested=pl.lit([1]))
DIGESTS = FRAME.select("path", pl.col("path_imgmeta").struct.field("file_digest"))
HASHES = FRAME.select(pl.col("path_imgmeta").struct.field("perceptual_hash"))

MISTAKES: dict[str, Mistake] = {
    "distance": (
        lambda: im.duplicates(FRAME, 32),
        ValueError,
        (
            "`distance` must be a whole number of bits from 0 to 31, or None for exact copies only,"
            " got 32"
        ),
    ),
    "no hash": (
        lambda: im.duplicates(DIGESTS),
        im.PropertyError,
        (
            "the frame must have 'perceptual_hash' to compare images by a distance"
            "\n\nHint: extract it with `add('perceptual_hash')`, or give `distance=None` for exact"
            " copies only"
        ),
    ),
    "no digest": (
        lambda: im.duplicates(HASHES, None),
        im.PropertyError,
        (
            "the frame must have 'file_digest' or 'pixel_digest' to find exact copies"
            "\n\nHint: extract them with `add('identity')`"
        ),
    ),
    "no hash in the other frame": (
        lambda: im.duplicates(FRAME, against=DIGESTS),
        im.PropertyError,
        (
            "the frame and `against` must have 'perceptual_hash' to compare images by a distance"
            "\n\nHint: extract it with `add('perceptual_hash')`, or give `distance=None` for exact"
            " copies only"
        ),
    ),
    "text for hashes": (
        lambda: im.duplicates(pl.DataFrame({"perceptual_hash": ["a"]})),
        im.ColumnError,
        "'perceptual_hash' of `frame` must be of dtype Int64, got String",
    ),
    "no frame": (
        lambda: im.duplicates(FRAME, against="train.parquet"),  # type: ignore[arg-type]
        TypeError,
        "`against` must be a polars DataFrame or LazyFrame, got str",
    ),
    "misspelled": (
        lambda: im.duplicates(FRAME, across="spilt"),
        im.ColumnError,
        (
            "`across` must name a column of `frame`, got 'spilt'\n\nHint: did you mean 'split'?"
            "\n\nColumns: 'path', 'path_imgmeta', 'split', 'other', 'nested'"
        ),
    ),
    "nested": (
        lambda: im.duplicates(FRAME, across="nested"),
        im.ColumnError,
        "`across` must name a column of plain values, got 'nested', which is of dtype List(Int64)",
    ),
    "taken": (
        lambda: im.duplicates(FRAME, into="other"),
        im.ColumnError,
        (
            "`into` must name a new column, got 'other', which exists and is no result of"
            " `duplicates`\n\nHint: choose another name with `into=`"
        ),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_explained(mistake: str) -> None:
    """Messages say what was expected, what was given, and what to do."""
    mistakes.check(*MISTAKES[mistake])
