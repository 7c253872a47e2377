"""The images of a report that are the same or look the same, by groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from polars_imgmeta.analysis.duplicates import duplicates
from polars_imgmeta.analysis.matching import DUPLICATE, FILE, HASH, PIXELS
from polars_imgmeta.display.formatting import locator_text
from polars_imgmeta.display.report.distinct import ROW, distinct_images
from polars_imgmeta.display.report.drift import pictures_of
from polars_imgmeta.measuring.options import Reading

_GROUPS_SHOWN: Final = 20
_IMAGES_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Group:
    """Images that match, directly or by way of others: first those to keep, then the copies.

    Attributes:
        group: The id of the group.
        images: How many images of this data set are in it.
        copies: How many of these are copies.
        rows: The rows of the first ones.
        reasons: Why each of these is a copy, or None for one to keep.
        distances: In how many bits its hash differs from that of the one to keep.
        originals: The locators of those that the copies match.
    """

    group: str
    images: int
    copies: int
    rows: list[int]
    reasons: list[str | None]
    distances: list[int | None]
    originals: list[str]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The groups of a data set.

    Attributes:
        column: The column of `duplicates` that says so, or None if there was none.
        groups: How many groups there are.
        copies: How many images are copies.
        largest: The groups of most images.
    """

    column: str | None
    groups: int
    copies: int
    largest: list[Group]


def find_earlier(schema: pl.Schema) -> str | None:
    """Return the column that a call of `duplicates` has made, if there is one."""
    return next((name for name, dtype in schema.items() if dtype == DUPLICATE), None)


def find_groups(
    structs: pl.Series, images: pl.Series, earlier: pl.Series | None
) -> Duplicates | None:
    """Find the images that match, by the column of an earlier call or else by the default.

    Args:
        structs: The auto-extracted column.
        images: What is equal for rows of the same image, each of which counts once.
        earlier: What `duplicates` has found before.

    Returns:
        The groups; None if there is nothing by which to compare images.
    """
    found = _compared(structs, images) if earlier is None else earlier
    if found is None:
        return None
    table = pl.DataFrame([images, found.alias("found")]).with_row_index(ROW).unnest("found")
    matched = table.filter(pl.col("images") > 1, pl.col(images.name).is_not_null())
    # Of rows of one image the kept one stays, so that no image is a copy of itself.
    first = matched.sort("keep", "distance", ROW, descending=[True, False, False])
    distinct = first.unique(images.name, keep="first", maintain_order=True)
    groups = distinct.group_by("group", maintain_order=True).agg(
        images=pl.len(),
        copies=(~pl.col("keep")).sum(),
        rows=pl.col(ROW).head(_IMAGES_SHOWN),
        reasons=pl.col("reason").head(_IMAGES_SHOWN),
        distances=pl.col("distance").head(_IMAGES_SHOWN),
        originals=pl.col("copy_of").drop_nulls().unique(maintain_order=True).head(_IMAGES_SHOWN),
    )
    # What is alone in its group is a copy of an image that is not in this data set.
    groups = groups.filter((pl.col("images") > 1) | (pl.col("copies") > 0))
    largest = groups.sort("images", "group", descending=[True, False]).head(_GROUPS_SHOWN)
    return Duplicates(
        earlier.name if earlier is not None else None,
        len(groups),
        int(groups["copies"].sum()),
        [Group(**row) for row in largest.iter_rows(named=True)],
    )


def describe_groups(
    found: Duplicates,
    number_of: Mapping[int, int],
    texts: pl.Series,
    side: int,
    reading: Reading,
    *,
    thumbnails: bool,
) -> dict[str, Any]:
    """Return the groups as data for JSON, with rows as the page numbers them.

    Args:
        found: The groups.
        number_of: The number in the page of each row that is shown.
        texts: The locators of these rows.
        side: The maximum width and height of thumbnails.
        reading: How images are read.
        thumbnails: Whether to show images that copies match and that are not in the data set.
    """
    largest = []
    for group in found.largest:
        rows = [number_of[row] for row in group.rows]
        here = {texts[row] for row in rows}
        # Of a group that is not shown as a whole, the rest may have them.
        whole = len(rows) == group.images
        elsewhere = [one for one in group.originals if whole and locator_text(one) not in here]
        pictures = pictures_of(elsewhere, side, reading, thumbnails=thumbnails)
        largest.append(asdict(group) | {"rows": rows, "originals": pictures})
    return asdict(found) | {"largest": largest}


def _compared(structs: pl.Series, images: pl.Series) -> pl.Series | None:
    """Compare the images of an auto-extracted column, each once; null for other rows."""
    names = {field.name for field in structs.dtype.fields}  # type: ignore[attr-defined] # a Struct
    if not names & {FILE, PIXELS, HASH}:
        return None
    options: dict[str, Any] = {} if HASH in names else {"distance": None}
    found = duplicates(distinct_images(structs, images), into="found", **options)
    rows = pl.select(pl.int_range(len(structs), dtype=pl.get_index_type()).alias(ROW))
    return rows.join(found, on=ROW, how="left", maintain_order="left")["found"]
