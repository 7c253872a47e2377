"""Altair charts of aggregated data; the only module that imports Altair.

Fields have fixed names, because Altair interprets names such as `a:b` or `a.b`; the
user's names are in titles, which are plain text. Nothing is set with `configure`,
because configured charts cannot be joined to others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import altair as alt
import polars as pl

from polars_imgmeta.display.aggregation import Axis, in_common, maximum_of, whole_ticks
from polars_imgmeta.display.formatting import AUTO_EXTRACTED_COLOURS

Distribution: TypeAlias = alt.Chart | alt.LayerChart
_T = TypeVar("_T")

PURPLE: Final = AUTO_EXTRACTED_COLOURS[0]
"""The colour of auto-extracted values. Its contrast is 5.7 on white, 3.3 on near-black."""
_ORANGE: Final = "#e8710a"
_GREY: Final = "#5b6478"
_QUIET: Final = "#6b7280"
_FAINT: Final = "#b6bcc8"
_TEAL: Final = "#0f766e"
_NUMBERS_OF_CASES: Final = (
    "value",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
)
_HEAT_COLOURS: Final = ["#d6c2f7", PURPLE, "#2a0a57"]
# Single points need more contrast.
_POINT_COLOURS: Final = ["#b794f6", PURPLE, "#2a0a57"]

_LARGE: Final = 10_000
# Ticks of a narrower range would have the same six digits.
_ABBREVIATED: Final = 1e-4
_SKEWED: Final = 100
# The size of points in square pixels, by their maximum number.
_POINT_SIZES: Final = {300: 60, 2_000: 30, 10_000: 14}

_TAG: Final = r"<([/!?A-Za-z])"
_NO_TAG: Final = "<\N{WORD JOINER}"


def disarm(chart: _T) -> _T:
    """Break HTML tags in every text of a chart with an invisible character.

    Altair saves charts unescaped within `<script>`, which the name of a file could close.
    """
    value: Any = chart
    if isinstance(value, str):
        value = re.sub(_TAG, rf"{_NO_TAG}\1", value)
    elif isinstance(value, pl.DataFrame):
        value = value.with_columns(pl.col(pl.String).str.replace_all(_TAG, f"{_NO_TAG}$1"))
    elif isinstance(value, list | tuple):
        value = [disarm(one) for one in value]
    elif isinstance(value, dict):
        value = {key: disarm(one) for key, one in value.items()}
    elif isinstance(value, alt.SchemaBase):
        value._kwds.update(disarm(value._kwds))  # noqa: SLF001 - there is no public access to all
    return cast("_T", value)


def title(text: str, lines: Sequence[str] = (), **options: Any) -> alt.TitleParams:  # noqa: ANN401 - Altair's
    """Make a left-aligned title, with less prominent lines below it."""
    if lines:
        options |= {"subtitle": list(lines), "subtitleColor": _QUIET}
    return alt.TitleParams(text, anchor="start", fontSize=13, fontWeight=600, **options)


def distribution(
    counts: pl.DataFrame,
    axis: Axis,
    groups: Sequence[str],
    *,
    pair: bool,
    heading: tuple[str, Sequence[str]] | None,
) -> Distribution:
    """Draw a histogram or bar chart: fractions of groups, or numbers of images without groups.

    `counts` has a row for each bin: its `start` and `end`, or the word `bin`, with `group`,
    `images` and `fraction`. A `pair` of groups are two data sets that are compared. A single
    chart has a `heading`: its title, and lines below it.
    """
    common = in_common(counts) if pair else []
    colour = _axis_colour(axis)
    if heading:
        above = title(heading[0], [*heading[1], *common])
        width, height, x_title = 460, 260, axis.title
    else:
        above = title(axis.quantity.name, common, color=colour, frame="group", offset=8)
        width, height, x_title = 210, 110, axis.unit or ""
    tooltips = [_tooltip("images", "images", ",d"), _tooltip("fraction", "fraction", ".1%")]
    color: alt.Color | alt.ColorValue = alt.ColorValue(colour)
    field = label = "images"
    labels: dict[str, Any] = {"format": "~s", **whole_ticks(counts["images"], 0)}
    if groups:
        color = _group_colours(groups, pair=pair)
        field, label, labels = "fraction", "fraction of images", {"format": "%"}
        tooltips.insert(0, _tooltip("group", "group"))
    sides = alt.Axis(tickCount=4, titleColor=_QUIET, titleFontWeight="normal", **labels)
    # With space above, as a label at the top edge would shift the title.
    top = alt.Scale(domain=[0, 1.08 * (maximum_of(counts[field]) or 1)], nice=False)
    encoding: dict[str, Any] = {
        "x": _axis_channel(alt.X, "start" if axis.bins else "bin", axis, x_title),
        "y": alt.Y(f"{field}:Q", title=label, stack=None, axis=sides, scale=top),
        "color": color,
    }
    if axis.bins:
        mark = alt.MarkDef("rect", x2Offset=-1)
        if groups:
            mark = alt.MarkDef("rect", opacity=0.6 / max(len(groups), 2))
        ends: dict[str, Any] = {"x2": "end:Q", "y2": alt.datum(0)}
        tooltips = [*_bin_tooltips("", axis), *tooltips]
    else:
        mark = alt.MarkDef("bar")
        ends = {"xOffset": alt.XOffset("group:N", sort=list(groups))} if groups else {}
        tooltips.insert(0, _tooltip("bin", axis.quantity.name))
    view = alt.ViewBackground(stroke=None)
    bars = alt.Chart(counts, mark=mark, title=above, view=view, width=width, height=height)
    bars = bars.encode(**encoding, **ends, tooltip=tooltips)
    if not (groups and axis.bins):
        return bars
    # The bars of groups overlap: each group also has an outline.
    last = counts.filter(pl.col("end") == axis.bins.edges[-1])
    closed = pl.concat([counts, last.with_columns(start="end")])
    outline = alt.Chart(closed).mark_line(interpolate="step-after", strokeWidth=1.5)
    return alt.LayerChart(layer=[bars, outline.encode(**encoding)], title=above, view=view)


def grid(charts: Sequence[Distribution], text: str, lines: Sequence[str]) -> alt.ConcatChart:
    """Arrange charts in rows of three."""
    chart = alt.concat(*charts, columns=3, spacing=24, title=title(text, lines, offset=14))
    shared: alt.ConcatChart = chart.resolve_scale(color="shared")
    return shared


def points(
    rows: pl.DataFrame, x: Axis, y: Axis, color: Axis | None, named: str | None
) -> alt.Chart:
    """Draw a point for each row.

    Rows have `x`, `y` and, for words, `spread`, from 0 to 1; `color`, `locator` and `image`
    where there are any. The locator column is `named` in tooltips.
    """
    spread = alt.Scale(domain=[-0.2, 1.2])
    tooltips = [_tooltip("locator", named)] if named else []
    tooltips += [_value_tooltip("x", x), _value_tooltip("y", y)]
    encoding: dict[str, Any] = {
        "x": _axis_channel(alt.X, "x", x, x.title, grid=True),
        "y": _axis_channel(alt.Y, "y", y, y.title, grid=True),
        "color": alt.value(PURPLE if x.quantity.row or y.quantity.row else _GREY),
    }
    if x.words:
        encoding["xOffset"] = alt.XOffset("spread:Q", scale=spread)
    if y.words:
        encoding["yOffset"] = alt.YOffset("spread:Q", scale=spread)
    if color and len(rows):  # an empty scale of times would end at NaN
        encoding["color"] = _colour_channel(color, color.title, _POINT_COLOURS)
        tooltips.append(_value_tooltip("color", color))
    size = next(size for most, size in _POINT_SIZES.items() if len(rows) <= most)
    mark = alt.MarkDef("circle", size=size, opacity=0.75)
    return _draw_marks(rows, mark, encoding, tooltips)


def heat(pairs: pl.DataFrame, x: Axis, y: Axis, color: Axis | None) -> alt.Chart:
    """Draw a rectangle for each pair of bins, coloured by the mean of `color`, or by images.

    Pairs have `x` and `x_end`, or a word as `x`; the same for y; `images`, and `color` and
    `image` where there are any.
    """
    encoding: dict[str, Any] = {}
    tooltips: list[alt.Tooltip] = []
    for channel, key, axis in ((alt.X, "x", x), (alt.Y, "y", y)):
        encoding[key] = _axis_channel(channel, key, axis, axis.title)
        if axis.bins:
            encoding[f"{key}2"] = f"{key}_end:Q"
            tooltips += _bin_tooltips(key, axis)
        else:
            tooltips.append(_value_tooltip(key, axis))
    tooltips.append(_tooltip("images", "images", ",d"))
    if color:
        encoding["color"] = _colour_channel(color, f"mean {color.title}", _HEAT_COLOURS)
        tooltips.append(_value_tooltip("color", color, f"mean {color.title}"))
    else:
        skewed = maximum_of(pairs["images"]) > _SKEWED
        scale = alt.Scale(range=_HEAT_COLOURS, type="log" if skewed else "linear")
        whole = alt.Legend(title="images", **whole_ticks(pairs["images"], 1))
        encoding["color"] = alt.Color("images:Q", scale=scale, legend=whole)
    return _draw_marks(pairs, alt.MarkDef("rect"), encoding, tooltips)


def cases(rows: pl.DataFrame, metric: str) -> alt.LayerChart:
    """Draw a metric of each case, its interval, and that of the rest.

    Rows have the text of the `case`, `value`, `low`, `high`, `rest`, `images`, `rated`, the
    difference to the rest with its interval, and the `verdict`.
    """
    names = rows["case"].to_list()
    words = {"lower": _ORANGE, "no difference": _GREY, "higher": _TEAL, "too small": _FAINT}
    present = {word: colour for word, colour in words.items() if word in rows["verdict"]}
    legend = alt.Legend(orient="top", title="compared with the other cases", symbolType="circle")
    scale = alt.Scale(domain=list(present), range=list(present.values()))
    x = alt.X("value:Q", title=metric, scale=alt.Scale(zero=False), axis=alt.Axis(titleLimit=400))
    encoding: dict[str, Any] = {
        "y": alt.Y("case:N", sort=names, title=None, axis=alt.Axis(labelLimit=400)),
        "color": alt.Color("verdict:N", scale=scale, legend=legend),
        "tooltip": [
            _tooltip("case", "case"),
            _tooltip("images", "images", ",d"),
            _tooltip("rated", "rated", ",d"),
            *(_tooltip(name, name.replace("_", " "), ",.4~r") for name in _NUMBERS_OF_CASES),
            _tooltip("verdict", "verdict"),
        ],
    }
    base = alt.Chart(rows, width=360, height=alt.Step(24)).encode(**encoding)
    interval = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", scale=alt.Scale(zero=False)), x2="high:Q"
    )
    rest = base.mark_tick(thickness=2, size=14, opacity=0.9).encode(
        x="rest:Q", color=alt.value(_QUIET)
    )
    point = base.mark_point(filled=True, size=70, opacity=1).encode(x=x)
    count = base.mark_text(align="left", dx=8, color=_QUIET).encode(
        x=alt.value("width"), text=alt.Text("images:Q", format=",d"), color=alt.value(_QUIET)
    )
    return cast("alt.LayerChart", alt.layer(interval, rest, point, count))


def _draw_marks(
    rows: pl.DataFrame, mark: alt.MarkDef, encoding: dict[str, Any], tooltips: list[alt.Tooltip]
) -> alt.Chart:
    """Draw a mark for each row; Vega shows a picture for a tooltip named exactly `image`."""
    pictures = [alt.Tooltip("image:N")] if "image" in rows.columns else []
    view = alt.ViewBackground(stroke=None)
    chart = alt.Chart(rows, mark=mark, view=view, width=460, height=340)
    drawn: alt.Chart = chart.encode(**encoding, tooltip=[*tooltips, *pictures])
    return drawn


def _axis_colour(axis: Axis) -> str:
    return PURPLE if axis.quantity.row else _GREY


def _group_colours(groups: Sequence[str], *, pair: bool) -> alt.Color:
    legend = alt.Legend(
        orient="top", title=None, symbolType="square", symbolOpacity=1, labelLimit=250
    )
    colours: dict[str, Any] = {"range": [PURPLE, _ORANGE]} if pair else {"scheme": "tableau10"}
    scale = alt.Scale(domain=list(groups), **colours)
    return alt.Color("group:N", scale=scale, legend=legend)


def _colour_channel(color: Axis, named: str, ramp: list[str]) -> alt.Color:
    side: dict[str, Any] = {"title": named, "titleLimit": 300}
    if color.words:
        legend = alt.Legend(symbolOpacity=1, labelLimit=250, **side)
        scale = alt.Scale(domain=list(color.words), scheme="tableau10")
        return alt.Color("color:N", scale=scale, legend=legend)
    legend = alt.Legend(titleColor=_axis_colour(color), gradientOpacity=1, **side)
    if color.quantity.kind == "time":
        scale = alt.Scale(range=[ramp[0], ramp[-1]], type="utc")
        return alt.Color("color:T", scale=scale, legend=legend)
    return alt.Color("color:Q", scale=alt.Scale(range=ramp), legend=legend)


def _axis_channel(channel: Any, key: str, axis: Axis, named: str, *, grid: bool = False) -> Any:  # noqa: ANN401 - X or Y
    """Encode words in order, or numbers and times from the first edge to the last."""
    side: dict[str, Any] = {"titleColor": _axis_colour(axis), "titleLimit": 400}
    if axis.bins is None:
        words = list(axis.words)
        side |= {"labelLimit": 150, "labelAngle": -35 if channel is alt.X else 0}
        scale = alt.Scale(domain=words)
        return channel(f"{key}:N", title=named, sort=words, scale=scale, axis=alt.Axis(**side))
    first, last = axis.bins.edges[0], axis.bins.edges[-1]
    side |= {"tickCount": 5, "grid": grid}
    if axis.quantity.kind == "time":
        scale = alt.Scale(type="utc", domain=[first, last], nice=False)
        return channel(f"{key}:T", title=named, scale=scale, axis=alt.Axis(**side))
    log = axis.bins.log
    if log or (last >= _LARGE and last - first >= _ABBREVIATED * last):
        # 10k and 1M, but never 10m for a hundredth.
        side["format"] = "~s" if first >= 1 else "~g"
    kind: Literal["log", "linear"] = "log" if log else "linear"
    scale = alt.Scale(type=kind, domain=[first, last], nice=False, zero=False)
    ticks = alt.Axis(labelOverlap=True, **side)
    return channel(f"{key}:Q", title=named, scale=scale, axis=ticks)


def _tooltip(field: str, named: str | None, number_format: str | None = None) -> alt.Tooltip:
    # Vega would load the value of one as a picture, and show the other as a heading.
    named = f"column {named!r}" if named in {"image", "title"} else named
    if number_format is None:
        return alt.Tooltip(f"{field}:N", title=named)
    return alt.Tooltip(f"{field}:Q", title=named, format=number_format)


def _value_tooltip(key: str, axis: Axis, named: str | None = None) -> alt.Tooltip:
    named = named or axis.title
    if axis.words:
        return _tooltip(key, named)
    if axis.quantity.kind == "time":
        return _tooltip(f"{key}_text", named)
    return _tooltip(key, named, ",d" if axis.quantity.dtype.is_integer() else ",.4~r")


def _bin_tooltips(key: str, axis: Axis) -> list[alt.Tooltip]:
    """Return tooltips of both ends of a bin, on the only axis or on one of two."""
    ends = {key: "from", f"{key}_end": "to"} if key else {"start": "from", "end": "to"}
    prefix = f"{axis.quantity.name} " if key else ""
    suffix, number_format = ("_text", None) if axis.quantity.kind == "time" else ("", ",.6~r")
    return [_tooltip(field + suffix, prefix + word, number_format) for field, word in ends.items()]
