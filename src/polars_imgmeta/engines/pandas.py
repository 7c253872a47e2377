"""Frames of pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars_imgmeta.engines.arrow import ArrowExtractor

if TYPE_CHECKING:
    import pandas as pd


def extract(frame: pd.DataFrame, extractor: ArrowExtractor) -> pd.DataFrame:
    """Extract in a frame of pandas.

    Args:
        frame: The frame, which stays as it is.
        extractor: What to extract.

    Returns:
        A copy of the frame with the column, whose dtype is that of Arrow, so that integers
        stay integers beside nulls. Index and other columns are the same.

    Raises:
        ColumnError, ImageError: As for a call of `extractor`.
        TypeError: If the frame is not one of pandas.

    Examples:
        >>> import pandas as pd
        >>> from polars_imgmeta.engines.pandas import extract
        >>> df = pd.DataFrame({"path": ["photos/dusk.png", None]}, index=["a", "b"])
        >>> df = extract(df, im.ArrowExtractor("path", "width"))
        >>> df["path_imgmeta"].struct.field("width")["a"]
        320
    """
    import pandas as pd  # noqa: PLC0415 - only where it is used
    import pyarrow as pa  # noqa: PLC0415 - see above

    if not isinstance(frame, pd.DataFrame):
        module = type(frame).__module__.partition(".")[0]
        msg = f"`frame` must be a pandas DataFrame, got {module}.{type(frame).__name__}"
        raise TypeError(msg)
    used = (extractor.locator, extractor.into)
    columns = {
        name: pa.array(frame[name], from_pandas=True) if name in used else pa.nulls(len(frame))
        for name in frame.columns
    }
    values = extractor(pa.table(columns)).column(extractor.into)
    made = pd.Series(pd.arrays.ArrowExtensionArray(values), index=frame.index)
    return frame.assign(**{extractor.into: made})
