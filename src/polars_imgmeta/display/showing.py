"""The verb that shows the first rows of a frame with their pictures, in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from typing import Final, Unpack

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.column import structs
from polars_imgmeta.column.structs import StructColumn
from polars_imgmeta.display import thumbnails
from polars_imgmeta.display.formatting import (
    AUTO_EXTRACTED_COLOURS,
    locator_text,
    python_values,
    text_of,
)
from polars_imgmeta.exceptions import ColumnError, require_positive
from polars_imgmeta.measuring.options import Reading, ReadOptions, takes
from polars_imgmeta.typing import Frame
from polars_imgmeta.verbs import inspection

_LIGHT, _DARK = AUTO_EXTRACTED_COLOURS
# Purple has its own background, as a notebook may not say whether its theme is dark. The
# selectors match the dark themes of JupyterLab, VS Code and the PyData documentation.
_STYLE: Final = f"""
.imgmeta-show {{ overflow-x: auto; }}
.imgmeta-show table {{ border-collapse: collapse; }}
.imgmeta-show th, .imgmeta-show td {{ text-align: left; vertical-align: middle; padding: 4px 8px; }}
.imgmeta-show td {{ max-width: 22em; overflow-wrap: anywhere; }}
.imgmeta-show th {{ font-weight: 600; }}
.imgmeta-show .auto {{ color: {_LIGHT}; background: #f5f0fe; }}
.imgmeta-show td.auto {{ white-space: nowrap; font-variant-numeric: tabular-nums; }}
.imgmeta-show img {{ display: block; max-width: none; }}
[data-jp-theme-light="false"] .imgmeta-show .auto, .vscode-dark .imgmeta-show .auto,
html[theme="dark"] .imgmeta-show .auto {{ color: {_DARK}; background: #2b2440; }}
"""


@takes(ReadOptions)
def show(
    frame: Frame,
    rows: int = 5,
    *,
    column: str | None = None,
    locator: str | None = None,
    **options: Unpack[ReadOptions],
) -> Preview:
    """Show the first rows with their pictures, in a notebook.

    Auto-extracted properties are purple, with their origin as a tooltip. Outside
    notebooks, the rows are printed as a flat frame.

    Args:
        frame: The frame. Of a lazy one, only the first rows are computed.
        rows: The number of rows.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column, where the one on record was renamed.
        options: See `ReadOptions`.

    Returns:
        A preview, which a notebook displays as a table where it is the last value of
        a cell. The images are read when it is displayed.

    Raises:
        ColumnError: If the auto-extracted column is ambiguous, or if the locator
            column is missing.
        ValueError: If `rows` or `max_pixels` is not a positive integer, or if a
            storage option is unknown.

    Examples:
        >>> df = im.scan_images("photos").imgmeta.extract("path", ["width", "brightness"])
        >>> im.show(df.select("path", "path_imgmeta"), 2)
        shape: (2, 4)
        ┌───────────────────┬───────┬────────────┬───────┐
        │ path              ┆ width ┆ brightness ┆ error │
        │ ---               ┆ ---   ┆ ---        ┆ ---   │
        │ str               ┆ i32   ┆ f64        ┆ str   │
        ╞═══════════════════╪═══════╪════════════╪═══════╡
        │ photos/blobs.png  ┆ 320   ┆ 0.483236   ┆ null  │
        │ photos/carpet.png ┆ 320   ┆ 0.5        ┆ null  │
        └───────────────────┴───────┴────────────┴───────┘
    """
    schema = structs.schema_of(frame)
    existing = structs.choose(schema, column)
    source = structs.find_locator(frame, existing, locator)
    require_positive("rows", rows)
    head = frame.head(rows).lazy().collect()
    make_thumbnails = partial(thumbnails.data_uris, reading=Reading.of(ReadOptions, options))
    return Preview(head, existing, source, make_thumbnails)


@dataclass(eq=False, repr=False)
class Preview:
    """The first rows of a frame for display, as `show` returns them.

    Attributes:
        frame: These rows.
    """

    frame: pl.DataFrame
    _existing: StructColumn
    _locator: str | None
    _make_thumbnails: Callable[[pl.Series], Sequence[str | None]]

    def __repr__(self) -> str:
        try:
            return repr(inspection.unnest(self.frame, self._existing.name))
        except ColumnError:  # other columns have the names of properties
            prefix = f"{self._existing.name}."
            return repr(inspection.unnest(self.frame, self._existing.name, prefix=prefix))

    def _repr_html_(self) -> str:
        """Return the table that notebooks display."""
        return self._html

    @cached_property
    def _html(self) -> str:
        frame, existing = self.frame, self._existing
        values = frame[existing.name].struct.unnest()
        if self._locator is None:
            locators = pl.Series([None] * len(frame), dtype=pl.String)
            texts = [""] * len(frame)
        else:
            locators = frame[self._locator]
            texts = [locator_text(locator) for locator in locators]
        pictures = zip(self._make_thumbnails(locators), values[structs.ERROR], strict=True)
        columns = [
            [_format_cell("picture", tag="th"), *(_format_picture(*one) for one in pictures)],
            [_format_cell(self._locator or "", tag="th"), *map(_format_cell, texts)],
        ]
        for name in frame.columns:
            if name not in {existing.name, self._locator}:
                cells = (_format_cell(_format_value(value)) for value in python_values(frame[name]))
                columns.append([_format_cell(text_of(name), tag="th"), *cells])
        for name in existing.properties:
            format_cell = partial(_format_cell, title=self._about(name))
            cells = (
                format_cell(_format_value(value, digits=4)) for value in python_values(values[name])
            )
            columns.append([format_cell(name.replace("_", " "), tag="th"), *cells])
        head, *body = (f"<tr>{''.join(row)}</tr>" for row in zip(*columns, strict=True))
        return (
            f'<div class="imgmeta-show"><style>{_STYLE}</style><table>'
            f"<thead>{head}</thead><tbody>{''.join(body)}</tbody></table></div>"
        )

    def _about(self, name: str) -> str:
        """Return the tooltip of a property."""
        row = CATALOGUE.get(name)
        about = f"{row.description}. " if row else ""
        origin = f" from {self._locator!r}" if self._locator else ""
        return f"{about}Auto-extracted{origin} into {self._existing.name!r}."


def _format_cell(text: str, *, tag: str = "td", title: str | None = None) -> str:
    """Return a table cell; one with a title is styled as auto-extracted."""
    auto = "" if title is None else f' class="auto" title="{escape(title)}"'
    scope = ' scope="col"' if tag == "th" else ""
    return f"<{tag}{scope}{auto}><bdi>{escape(text)}</bdi></{tag}>"


def _format_value(value: object, *, digits: int = 6) -> str:
    return text_of(f"{value:.{digits}g}" if isinstance(value, float) else value)


def _format_picture(uri: str | None, failure: str | None) -> str:
    if uri is None:
        return f"<td><bdi>{escape(text_of(failure or 'no picture'))}</bdi></td>"
    return f'<td><img src="{escape(uri)}" alt=""></td>'
