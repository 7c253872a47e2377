"""Altair charts of aggregated data; the only module that imports Altair.

Fields have fixed names, because Altair interprets names such as `a:b` or `a.b`; the
user's names are in titles, which are plain text. Nothing is set with `configure`,
because configured charts cannot be joined to others. Text has the colour of the theme. Marks
have colours with a contrast of 3 or more on white and on the grounds of the dark themes, as a
chart does not know the theme that it is shown in.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast

import altair as alt
import polars as pl

from polars_imgmeta.display.aggregation import (
    Axis,
    Layout,
    all_small,
    first_digit,
    maximum_of,
    whole_ticks,
)

Distribution: TypeAlias = alt.Chart | alt.LayerChart
_T = TypeVar("_T")

PURPLE: Final = "#9061f9"
"""The colour of auto-extracted values."""
_ORANGE: Final = "#d55e00"
_GREEN: Final = "#009e73"
GREY: Final = "#7a8599"
_FAINT: Final = "rgba(122, 133, 153, 0.5)"
# They differ little in lightness: at most four can be distinguished by it.
GROUP_COLOURS: Final = [PURPLE, _ORANGE, _GREEN, "#cc79a7"]
"""Of groups that are drawn over each other; more groups have a plot each."""
# From dark to bright, and from cold to warm, for readers of any colour vision.
RAMP: Final = ["#6d3fd0", "#c0449a", "#ee7c4b", "#f6bd4f"]
"""The colours of numbers and times, ascending."""
# Around points, whose colour may be near to that of the ground.
OUTLINE: Final = "#8b8b8b"
_NUMBERS_OF_CASES: Final = (
    "value",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
)
_LARGE: Final = 10_000
# Ticks of a narrower range would have the same six digits.
_ABBREVIATED: Final = 1e-4
_SKEWED: Final = 100
# The size of points in square pixels, by their maximum number.
_POINT_SIZES: Final = {300: 60, 2_000: 30, 10_000: 14}

_TWO: Final = 2
# Dark themes that leave the lines below a title black.
_BLACK_LINES: Final = {"carbong90", "carbong100"}
_LINE: Final = 90
"""The characters of a line below a title."""

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
    """Make a left-aligned title with lines below it, broken where they are long."""
    broken = [part for line in lines for part in textwrap.wrap(line, _LINE) or [""]]
    if broken:
        options |= {"subtitle": broken}
        if alt.theme.active in _BLACK_LINES:
            options |= {"subtitleColor": "#c6c6c6"}
    return alt.TitleParams(text, anchor="start", fontSize=13, fontWeight=600, **options)


def distribution(
    counts: pl.DataFrame,
    axis: Axis,
    groups: Sequence[str],
    *,
    common: Sequence[str] | None,
    heading: tuple[str, Sequence[str]] | None,
    layout: Layout,
) -> Distribution:
    """Draw a histogram or bar chart: fractions of groups, or numbers of images without groups.

    `counts` has a row for each bin: its `start` and `end`, or the word `bin`, with `group`,
    `images`, `fraction`, and maybe an example in `locator` and `image`. Two data sets that
    are compared have lines of what is `common` to them, others None. A single chart has a
    `heading`: its title, and lines below it.
    """
    apart = len(groups) > len(GROUP_COLOURS)
    colour = _axis_colour(axis)
    if heading:
        text, lines = layout.head(*heading)
        above = title(text, [*axis.cut, *lines, *(common or [])])
        width, height, x_title = layout.width or 460, 42 if apart else 260, axis.title
    else:
        above = title(axis.quantity.name, [*axis.cut, *(common or [])], frame="group", offset=8)
        width, height, x_title = layout.width or 210, 24 if apart else 110, axis.unit or ""
    tooltips = [_tooltip("images", "images", ",d"), _tooltip("fraction", "fraction", ".1%")]
    color: alt.Color | alt.ColorValue = alt.ColorValue(colour)
    field = label = "images"
    labels: dict[str, Any] = {"format": "~s", **whole_ticks(counts["images"], 0)}
    if groups:
        tooltips.insert(0, _tooltip("group", "group"))
        if not apart:
            color = _group_colours(groups)
        if common is not None or not all_small(counts):
            field, label, labels = "fraction", "fraction of images", {"format": "~%"}
    most = maximum_of(counts[field]) or 1
    if apart:  # there is space for one label
        labels["values"] = [first_digit(most)]
    sides = alt.Axis(tickCount=4, titleFontWeight="normal", **labels)
    # With space above, as a label at the top edge would shift the title.
    top = alt.Scale(domain=[0, 1.08 * most], nice=False)
    encoding: dict[str, Any] = {
        "x": _axis_channel(alt.X, "start" if axis.bins else "bin", axis, x_title),
        "y": alt.Y(f"{field}:Q", title="" if apart else label, stack=None, axis=sides, scale=top),
        "color": color,
    }
    if axis.bins:
        overlaid = bool(groups) and not apart
        opacity: dict[str, Any] = (
            {"opacity": 0.3 if len(groups) <= _TWO else 0.08} if overlaid else {}
        )
        mark = alt.MarkDef("rect", x2Offset=-1, **opacity)
        ends: dict[str, Any] = {"x2": "end:Q", "y2": alt.datum(0)}
        tooltips = [*_bin_tooltips("", axis), *tooltips]
    else:
        mark = alt.MarkDef("bar")
        beside = bool(groups) and not apart
        ends = {"xOffset": alt.XOffset("group:N", sort=list(groups))} if beside else {}
        tooltips.insert(0, _tooltip("bin", axis.quantity.name))
    if apart:
        side = alt.Header(labelAngle=0, labelAlign="left", labelOrient="left", labelLimit=130)
        encoding["row"] = alt.Row(
            "group:N", sort=list(groups), title=None, header=side, spacing=6 if heading else 4
        )
    view = alt.ViewBackground(stroke=None)
    bars = alt.Chart(counts, mark=mark, title=above, view=view, width=width, height=height)
    bars = bars.encode(**encoding, **ends, tooltip=[*tooltips, *_example_tooltips(counts)])
    if not groups or apart or not axis.bins:
        return bars
    # The bars of groups overlap: each group also has an outline.
    steps = counts.select("start", "end", "group", field)
    last = steps.filter(pl.col("end") == axis.bins.edges[-1])
    closed = pl.concat([steps, last.with_columns(start="end")])
    outline = alt.Chart(closed).mark_line(interpolate="step-after", strokeWidth=1.5)
    return alt.LayerChart(layer=[bars, outline.encode(**encoding)], title=above, view=view)


def grid(
    charts: Sequence[Distribution], heading: tuple[str, Sequence[str]], layout: Layout
) -> alt.ConcatChart:
    """Arrange charts in rows."""
    above = title(*layout.head(*heading), offset=14)
    chart = alt.concat(*charts, columns=layout.columns, spacing=24, title=above)
    shared: alt.ConcatChart = chart.resolve_scale(color="shared")
    return shared


def points(
    rows: pl.DataFrame,
    x: Axis,
    y: Axis,
    color: Axis | None,
    *,
    named: str | None,
    layout: Layout,
) -> alt.Chart:
    """Draw a point for each row.

    Rows have `x`, `y` and, for words, `spread`, from 0 to 1; `color`, `locator` and `image`
    where there are any. The locator column is `named` in tooltips.
    """
    spread = alt.Scale(domain=[-0.2, 1.2])
    tooltips = [_tooltip("locator", named)] if named else []
    tooltips += [_value_tooltip("x", x), _value_tooltip("y", y)]
    apart = color is not None and len(color.words) > len(GROUP_COLOURS)
    # The line of an axis would stand alone where the last row has an empty cell.
    axes: dict[str, Any] = {"grid": True} | ({"domain": False} if apart else {})
    encoding: dict[str, Any] = {
        "x": _axis_channel(alt.X, "x", x, x.title, **axes),
        "y": _axis_channel(alt.Y, "y", y, y.title, **axes),
        "color": alt.value(PURPLE if x.quantity.row or y.quantity.row else GREY),
    }
    if x.words:
        encoding["xOffset"] = alt.XOffset("spread:Q", scale=spread)
    if y.words:
        encoding["yOffset"] = alt.YOffset("spread:Q", scale=spread)
    outline: dict[str, Any] = {}
    if color and len(rows):  # an empty scale of times would end at NaN
        tooltips.append(_value_tooltip("color", color))
        if apart:
            head = alt.Header(titleAnchor="start", labelAnchor="start", labelFontWeight="bold")
            encoding["facet"] = alt.Facet(
                "color:N",
                sort=list(color.words),
                title=color.title,
                columns=layout.columns,
                header=head,
            )
        else:
            encoding["color"] = _colour_channel(color, color.title)
            outline = {} if color.words else {"stroke": OUTLINE, "strokeWidth": 0.6}
    size = next(size for most, size in _POINT_SIZES.items() if len(rows) <= most)
    mark = alt.MarkDef("circle", size=size / 2 if apart else size, opacity=0.75, **outline)
    size_of_one = (190, 150) if apart else (460, 340)
    return _draw_marks(rows, mark, encoding, tooltips, layout=layout, default=size_of_one)


def heat(pairs: pl.DataFrame, x: Axis, y: Axis, color: Axis | None, *, layout: Layout) -> alt.Chart:
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
        encoding["color"] = _colour_channel(color, f"mean {color.title}")
        tooltips.append(_value_tooltip("color", color, f"mean {color.title}"))
    else:
        skewed = maximum_of(pairs["images"]) > _SKEWED
        scale = alt.Scale(range=RAMP, type="log" if skewed else "linear")
        whole = alt.Legend(title="images", **whole_ticks(pairs["images"], 1))
        encoding["color"] = alt.Color("images:Q", scale=scale, legend=whole)
    return _draw_marks(pairs, alt.MarkDef("rect"), encoding, tooltips, layout=layout)


def cases(rows: pl.DataFrame, metric: str) -> alt.LayerChart:
    """Draw a metric of each case, its interval, and that of the rest.

    Rows have the text of the `case`, `value`, `low`, `high`, `rest`, `images`, `rated`, the
    difference to the rest with its interval, and the `verdict`.
    """
    names = rows["case"].to_list()
    words = {"lower": _ORANGE, "no difference": GREY, "higher": _GREEN, "too small": _FAINT}
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
        x="rest:Q", color=alt.value(GREY)
    )
    point = base.mark_point(filled=True, size=70, opacity=1).encode(x=x)
    # Text of this style has the colour of the theme.
    count = alt.Chart(rows).mark_text(style="guide-label", align="left", baseline="middle", dx=8)
    count = count.encode(
        x=alt.value("width"), y=encoding["y"], text=alt.Text("images:Q", format=",d")
    )
    return cast("alt.LayerChart", alt.layer(interval, rest, point, count))


def _draw_marks(
    rows: pl.DataFrame,
    mark: alt.MarkDef,
    encoding: dict[str, Any],
    tooltips: list[alt.Tooltip],
    *,
    layout: Layout,
    default: tuple[int, int] = (460, 340),
) -> alt.Chart:
    """Draw a mark for each row."""
    width, height = default
    drawn: alt.Chart = alt.Chart(
        rows,
        mark=mark,
        view=alt.ViewBackground(stroke=None),
        width=layout.width or width,
        height=height,
    ).encode(**encoding, tooltip=[*tooltips, *_pictures(rows)])
    return drawn


def _axis_colour(axis: Axis) -> str:
    return PURPLE if axis.quantity.row else GREY


def _group_colours(groups: Sequence[str]) -> alt.Color:
    legend = alt.Legend(
        orient="top", title=None, symbolType="square", symbolOpacity=1, labelLimit=250
    )
    scale = alt.Scale(domain=list(groups), range=GROUP_COLOURS[: len(groups)])
    return alt.Color("group:N", scale=scale, legend=legend)


def _colour_channel(color: Axis, named: str) -> alt.Color:
    side: dict[str, Any] = {"title": named, "titleLimit": 300}
    if color.words:
        legend = alt.Legend(symbolOpacity=1, labelLimit=250, **side)
        colours = GROUP_COLOURS[: len(color.words)]
        scale = alt.Scale(domain=list(color.words), range=colours)
        return alt.Color("color:N", scale=scale, legend=legend)
    legend = alt.Legend(gradientOpacity=1, **side)
    if color.quantity.kind == "time":
        return alt.Color("color:T", scale=alt.Scale(range=RAMP, type="utc"), legend=legend)
    return alt.Color("color:Q", scale=alt.Scale(range=RAMP), legend=legend)


def _axis_channel(
    channel: Any,  # noqa: ANN401 - X or Y
    key: str,
    axis: Axis,
    named: str,
    *,
    grid: bool = False,
    **options: Any,  # noqa: ANN401 - Altair's
) -> Any:  # noqa: ANN401
    """Encode words in order, or numbers and times from the first edge to the last."""
    side: dict[str, Any] = {"titleLimit": 400, **options}
    if key in {"x", "y"}:  # distributions have their own colour
        side |= {"domainColor": _axis_colour(axis), "tickColor": _axis_colour(axis)}
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


def _example_tooltips(counts: pl.DataFrame) -> list[alt.Tooltip]:
    return [_tooltip("locator", "example"), *pictures] if (pictures := _pictures(counts)) else []


def _pictures(rows: pl.DataFrame) -> list[alt.Tooltip]:
    """Return the tooltip of pictures, which must have exactly this name, if there are any."""
    return [alt.Tooltip("image:N")] if "image" in rows.columns else []


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
