"""The images of a report, each once."""

from __future__ import annotations

from typing import Final

import polars as pl

ROW: Final = "\0row"
"""The number of a row, by a name that no column of the user has."""


def distinct_images(structs: pl.Series, images: pl.Series) -> pl.DataFrame:
    """Return the structs of distinct images, with the number of the first row of each in `ROW`.

    Args:
        structs: The auto-extracted column.
        images: What is equal for rows of the same image, and null where there is none.
    """
    numbered = pl.DataFrame([structs, images]).with_row_index(ROW)
    return numbered.drop_nulls(images.name).unique(images.name, keep="first").drop(images.name)
