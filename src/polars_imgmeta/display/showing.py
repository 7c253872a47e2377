"""The verb that shows the first rows of a frame with their pictures, in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from typing import Final, Unpack, get_args

import polars as pl

from polars_imgmeta.catalogue.registry import CATALOGUE
from polars_imgmeta.column import structs
from polars_imgmeta.column.structs import StructColumn
from polars_imgmeta.display import thumbnails
from polars_imgmeta.display.formatting import (
    AUTO_EXTRACTED_COLOURS,
    base_name,
    distinct_names,
    locator_text,
    python_values,
    text_of,
)
from polars_imgmeta.exceptions import ColumnError, require_positive
from polars_imgmeta.measuring.options import Reading, ReadOptions, takes
from polars_imgmeta.typing import Frame, PreviewLayout
from polars_imgmeta.verbs import inspection

# The greatest width and height of a picture on the page; displays with small pixels need two
# of its own for each.
_SIDES: Final[dict[PreviewLayout, int]] = {"table": 96, "grid": 160}
_DENSITY: Final = 2
# Longer text that has spaces is broken between words.
_LONG: Final = 40

_LIGHT, _DARK = AUTO_EXTRACTED_COLOURS
# The colours of a page that scrolls below the pictures, as JupyterLab, VS Code and marimo call
# them. Purple has its own ground, as a page may not say whether its theme is dark. The selectors
# match dark themes of these three, of Colab and of the PyData documentation. The class is named
# twice so that the rules of a page for all of its tables and lists give way. Rows have no stripes,
# which would not show below a picture that stays in place.
_STYLE: Final = f"""
.imgmeta-show {{
  --ground: var(--jp-layout-color0, var(--vscode-editor-background, var(--background, Canvas)));
  --ink: var(--jp-content-font-color1,
    var(--vscode-editor-foreground, var(--foreground, CanvasText)));
  --purple: {_LIGHT}; --purple-ground: #f5f0fe;
  max-width: 100%; overflow-x: auto; font-size: 13px; line-height: 1.4; color: var(--ink);
}}
[data-jp-theme-light="false"] .imgmeta-show, .vscode-dark .imgmeta-show,
.vscode-high-contrast:not(.vscode-high-contrast-light) .imgmeta-show, .dark .imgmeta-show,
html[theme="dark"] .imgmeta-show, html[data-theme="dark"] .imgmeta-show {{
  --purple: {_DARK}; --purple-ground: #2b2440;
}}
html[theme="dark"] .imgmeta-show {{ --ground: #383838; --ink: #fff; }}
html[data-theme="dark"] .imgmeta-show {{ --ground: #14181e; --ink: #fff; }}
div.imgmeta-show.imgmeta-show table {{
  width: max-content; margin: 0; table-layout: auto; border-collapse: separate; border-spacing: 0;
  font-size: inherit;
}}
div.imgmeta-show.imgmeta-show :is(thead, tr) {{ background: none; }}
div.imgmeta-show.imgmeta-show th, div.imgmeta-show.imgmeta-show td {{
  max-width: 24em; padding: 4px 8px; overflow: hidden; border: 0;
  border-bottom: 1px solid rgba(127, 127, 127, .25); font-size: inherit;
  text-align: left; text-overflow: ellipsis; vertical-align: middle; white-space: nowrap;
}}
div.imgmeta-show.imgmeta-show th {{ font-weight: 600; }}
div.imgmeta-show.imgmeta-show td.long {{ min-width: 16em; white-space: normal; }}
div.imgmeta-show.imgmeta-show :is(th, td).number {{
  text-align: right; font-variant-numeric: tabular-nums;
}}
div.imgmeta-show.imgmeta-show .picture {{
  position: sticky; left: 0; z-index: 1; background: var(--ground);
}}
div.imgmeta-show.imgmeta-show .auto {{ color: var(--purple); background: var(--purple-ground); }}
div.imgmeta-show.imgmeta-show img {{ display: block; max-width: none; margin: 0; }}
div.imgmeta-show.imgmeta-show .tiny {{ image-rendering: pixelated; }}
div.imgmeta-show.imgmeta-show .failed {{
  display: -webkit-box; width: 96px; max-height: 7em; overflow: hidden;
  -webkit-box-orient: vertical; -webkit-line-clamp: 5; font-size: 11px; white-space: normal;
}}
div.imgmeta-show.imgmeta-show .grid {{
  display: grid; grid-template-columns: repeat(auto-fill, minmax(176px, 1fr)); gap: 16px 12px;
}}
div.imgmeta-show.imgmeta-show figure {{
  display: grid; grid-row: span 2; grid-template-rows: subgrid; row-gap: 0;
  min-width: 0; margin: 0;
}}
div.imgmeta-show.imgmeta-show .frame {{ align-self: end; }}
div.imgmeta-show.imgmeta-show .grid .failed {{ width: auto; }}
div.imgmeta-show.imgmeta-show figcaption {{ margin: 4px 0 0; text-align: left; }}
div.imgmeta-show.imgmeta-show .name {{
  overflow: hidden; font-weight: 600; text-overflow: ellipsis; white-space: nowrap;
}}
div.imgmeta-show.imgmeta-show dl {{
  display: grid; grid-template-columns: minmax(0, auto) minmax(0, 1fr); gap: 0 8px; margin: 2px 0 0;
  font-size: 12px;
}}
div.imgmeta-show.imgmeta-show dt, div.imgmeta-show.imgmeta-show dd {{
  float: none; width: auto; margin: 0; padding: 0; overflow: hidden; font-weight: 400;
  text-overflow: ellipsis; white-space: nowrap;
}}
div.imgmeta-show.imgmeta-show dl .auto {{ background: none; }}
div.imgmeta-show.imgmeta-show dd {{ text-align: left; font-variant-numeric: tabular-nums; }}
"""


@takes(ReadOptions)
def show(
    frame: Frame,
    rows: int = 5,
    *,
    layout: PreviewLayout = "table",
    column: str | None = None,
    locator: str | None = None,
    **options: Unpack[ReadOptions],
) -> Preview:
    """Show the first rows with their pictures, in a notebook.

    Images are named by their file, and by folders where a name occurs twice, with the whole
    locator as a tooltip. Auto-extracted
    properties are purple, with their origin as a tooltip. Outside notebooks, the rows are
    printed as a flat frame.

    Args:
        frame: The frame. Of a lazy one, only the first rows are computed.
        rows: The number of rows.
        layout: A `"table"`, whose pictures stay in place while the rest scrolls, or a
            `"grid"` of larger pictures with captions.
        column: The auto-extracted column; may be left out where there is one.
        locator: The locator column, where the one on record was renamed.
        options: See `ReadOptions`.

    Returns:
        A preview, which a notebook displays where it is the last value of a cell. The
        images are read when it is displayed.

    Raises:
        ColumnError: If the auto-extracted column is ambiguous, or if the locator
            column is missing.
        ValueError: If `rows` or `max_pixels` is not a positive integer, or if a
            storage option is unknown, or if `layout` is neither of the two.

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
    if layout not in _SIDES:
        known = " or ".join(repr(one) for one in get_args(PreviewLayout))
        msg = f"`layout` must be {known}, got {layout!r}"
        raise ValueError(msg)
    head = frame.head(rows).lazy().collect()
    side, reading = _DENSITY * _SIDES[layout], Reading.of(ReadOptions, options)
    make_thumbnails = partial(thumbnails.data_uris, side=side, reading=reading)
    return Preview(head, existing, source, layout, make_thumbnails)


@dataclass(eq=False, repr=False)
class Preview:
    """The first rows of a frame for display, as `show` returns them.

    Attributes:
        frame: These rows.
    """

    frame: pl.DataFrame
    _existing: StructColumn
    _locator: str | None
    _layout: PreviewLayout
    _make_thumbnails: Callable[[pl.Series], Sequence[str | None]]

    def __repr__(self) -> str:
        try:
            return repr(inspection.unnest(self.frame, self._existing.name))
        except ColumnError:  # other columns have the names of properties
            prefix = f"{self._existing.name}."
            return repr(inspection.unnest(self.frame, self._existing.name, prefix=prefix))

    def _repr_html_(self) -> str:
        """Return what notebooks display."""
        return self._html

    @cached_property
    def _html(self) -> str:
        body = _format_table if self._layout == "table" else _format_grid
        fields = [*self._own_fields(), *self._property_fields()]
        content = body(self._pictures(), self._names(), fields)
        return f'<div class="imgmeta-show"><style>{_STYLE}</style>{content}</div>'

    def _pictures(self) -> list[str]:
        """Return the picture of each row, or why there is none."""
        frame = self.frame
        none = pl.Series([None] * len(frame), dtype=pl.String)
        uris = self._make_thumbnails(frame[self._locator] if self._locator else none)
        failures = frame[self._existing.name].struct.field(structs.ERROR)
        side = _SIDES[self._layout]
        return [_format_picture(*one, side) for one in zip(uris, failures, strict=True)]

    def _names(self) -> _Field:
        if self._locator is None:
            return _Field("", [""] * len(self.frame))
        locators = self.frame[self._locator]
        texts = [*map(locator_text, locators)]
        names = distinct_names([*map(base_name, locators)], texts)
        return _Field(text_of(self._locator), names, texts)

    def _own_fields(self) -> list[_Field]:
        frame, skipped = self.frame, {self._existing.name, self._locator}
        return [
            _Field(
                text_of(name), _format_values(frame[name]), number=frame[name].dtype.is_numeric()
            )
            for name in frame.columns
            if name not in skipped
        ]

    def _property_fields(self) -> list[_Field]:
        """Return the properties; one with the name of a column has that of its own before it."""
        values, holder = self.frame[self._existing.name].struct.unnest(), self._existing.name
        origin = f" from {self._locator!r}" if self._locator else ""
        fields = []
        for name in self._existing.properties:
            row = CATALOGUE.get(name)
            about = f"{row.description}. " if row else ""
            about += f"Auto-extracted{origin} into {holder!r}."
            shown = text_of(f"{holder}.{name}" if name in self.frame.columns else name)
            texts = _format_values(values[name], digits=4)
            number = values[name].dtype.is_numeric()
            fields.append(_Field(shown, texts, about=about, number=number))
        return fields


@dataclass(frozen=True)
class _Field:
    """A value of each row, as text.

    Attributes:
        name: Its name.
        texts: The values.
        titles: Their tooltips, if they are longer than the texts.
        about: The tooltip of an auto-extracted property.
        number: Whether the values are numbers.
    """

    name: str
    texts: Sequence[str]
    titles: Sequence[str] | None = None
    about: str | None = None
    number: bool = False

    def format(self, tag: str, row: int | None = None, named: str = "") -> str:
        """Return an element with the value of a row, or with the name, and its tooltip."""
        text = self.name if row is None else self.texts[row]
        title = self.about or text
        if self.titles and row is not None:
            title = self.titles[row]
        long = tag == "td" and len(text) > _LONG and " " in text
        classes = {"auto": bool(self.about), "number": self.number, "long": long, named: named}
        chosen = " ".join(name for name, applies in classes.items() if applies)
        attributes = ' scope="col"' * (tag == "th") + f' class="{chosen}"' * bool(chosen)
        return f'<{tag}{attributes} title="{escape(title)}"><bdi>{escape(text)}</bdi></{tag}>'


def _format_table(pictures: Sequence[str], names: _Field, fields: Sequence[_Field]) -> str:
    shown = [names, *fields]
    head = "".join(field.format("th") for field in shown)
    body = "".join(
        f'<tr><td class="picture">{picture}</td>'
        f"{''.join(field.format('td', row) for field in shown)}</tr>"
        for row, picture in enumerate(pictures)
    )
    corner = '<th scope="col" class="picture">picture</th>'
    return f"<table><thead><tr>{corner}{head}</tr></thead><tbody>{body}</tbody></table>"


def _format_grid(pictures: Sequence[str], names: _Field, fields: Sequence[_Field]) -> str:
    figures = (
        f'<figure><div class="frame">{picture}</div><figcaption>'
        f"{names.format('div', row, 'name')}"
        f"<dl>{''.join(field.format('dt') + field.format('dd', row) for field in fields)}</dl>"
        "</figcaption></figure>"
        for row, picture in enumerate(pictures)
    )
    return f'<div class="grid">{"".join(figures)}</div>'


def _format_values(values: pl.Series, *, digits: int = 6) -> list[str]:
    return [
        text_of(f"{value:.{digits}g}" if isinstance(value, float) else value)
        for value in python_values(values)
    ]


def _format_picture(uri: str | None, failure: str | None, side: int) -> str:
    """Return a picture that fits into a square, one of few pixels enlarged by a whole factor."""
    if uri is None:
        text = escape(text_of(failure or "no picture"))
        return f'<div class="failed" title="{text}"><bdi>{text}</bdi></div>'
    width, height = thumbnails.size_of(uri)
    longest = max(width, height)
    scale = side // longest if 2 * longest <= side else min(1, side / longest)
    tiny = ' class="tiny"' if scale > 1 else ""
    size = f'width="{max(1, round(width * scale))}" height="{max(1, round(height * scale))}"'
    return f'<img src="{escape(uri)}" alt="" {size}{tiny}>'
