"""Charts: valid, small, correct, and rendered."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import polars as pl
import pytest
import vl_convert
from browser import launch
from hypothesis import given
from hypothesis import strategies as st
from interpreters import run_python
from PIL import Image
from reads import count_reads

import polars_imgmeta as im
from polars_imgmeta.column.binning import Bins
from polars_imgmeta.display.aggregation import choose_pictured
from polars_imgmeta.display.charts import GREY, GROUP_COLOURS, OUTLINE, PURPLE, RAMP

UNIT = im.CATALOGUE["brightness"].unit
ROOT = Path(__file__).parents[2]
HOSTILE = """a.b[0]:Q'"\\\n<img src=x onerror=alert(1)>"""


def extracted(count: int, seed: int = 0) -> pl.DataFrame:
    """Return a frame like that of `extract`, with random values; every tenth row failed."""
    rng = np.random.default_rng(seed)
    failed = pl.int_range(pl.len()) % 10 == 9
    sides = np.exp(rng.normal(6.5, 1, count)).astype(np.int32) + 1
    values = pl.DataFrame(
        {
            "width": sides,
            "brightness": rng.beta(4, 4, count),
            "sharpness": rng.beta(1, 9, count),
        }
    )
    error = pl.when(failed).then(pl.lit("corrupt: x")).alias("error")
    marker = pl.lit("path@00000000").alias("auto_extracted")
    fields = [pl.col(name) for name in values.columns]
    return values.with_columns(error, marker).select(
        path=pl.format("photos/{}.png", pl.int_range(pl.len())),
        label=pl.Series(rng.choice(["shirt", "hat", "shoe"], count), dtype=pl.String),
        when=pl.datetime(2026, 1, 1) + pl.duration(hours=pl.int_range(pl.len())),
        path_imgmeta=pl.struct(
            *(pl.when(~failed).then(field).alias(field.meta.output_name()) for field in fields),
            "error",
            "auto_extracted",
        ),
    )


def good(frame: pl.DataFrame, name: str) -> list[float]:
    """Return the values of a property in the rows without an error."""
    return frame["path_imgmeta"].struct.field(name).drop_nulls().to_list()


def parts(chart: Any) -> list[Any]:  # noqa: ANN401 - any chart
    """Return the charts of a concatenation, or the only one."""
    return list(chart.concat) if isinstance(chart, alt.ConcatChart) else [chart]


def rows(chart: Any) -> pl.DataFrame:  # noqa: ANN401 - any chart
    """Return the data of a single chart."""
    data = chart.layer[0].data if isinstance(chart, alt.LayerChart) else chart.data
    assert isinstance(data, pl.DataFrame)
    return data


def subtitle(chart: Any) -> list[str]:  # noqa: ANN401 - any chart
    """Return the lines below the title."""
    return list(chart.to_dict()["title"].get("subtitle", []))


def pixels(chart: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:  # noqa: ANN401 - any chart
    """Return the rendered chart."""
    image = Image.open(io.BytesIO(vl_convert.vegalite_to_png(chart.to_json(), scale=1)))
    return np.asarray(image.convert("RGB"))


SMALL = extracted(50)
LARGE = extracted(6_000)
ODD = SMALL.with_columns(pl.col("label").alias(HOSTILE))
NUMBERS = SMALL.with_columns(
    pl.Series("weird", [math.nan, math.inf, -math.inf, None, *range(46)], dtype=pl.Float64),
    flag=pl.int_range(pl.len()) % 2 == 0,
    constant=pl.lit(7),
)

CHARTS: dict[str, Callable[[], Any]] = {
    "every property": lambda: im.plot(SMALL),
    "one": lambda: im.plot(SMALL, "brightness"),
    "several": lambda: im.plot(SMALL, ["width", "label", "when"]),
    "groups": lambda: im.plot(SMALL, ["brightness", "label"], color="label"),
    "groups of one": lambda: im.plot(SMALL, "when", color="label"),
    "two data sets": lambda: im.plot(SMALL, against=LARGE),
    "two data sets of one": lambda: im.plot(SMALL, "label", against=LARGE, names=("a", "b")),
    "points": lambda: im.plot(SMALL, "brightness", "sharpness"),
    "points by number": lambda: im.plot(SMALL, "width", "sharpness", color="brightness"),
    "points by word": lambda: im.plot(SMALL, "when", "sharpness", color="label"),
    "points by time": lambda: im.plot(SMALL, "label", "sharpness", color="when"),
    "many points by word": lambda: im.plot(LARGE, "sharpness", "label", color="label"),
    "heat map": lambda: im.plot(LARGE, "brightness", "width"),
    "heat map of times": lambda: im.plot(LARGE, "when", "brightness", color="sharpness"),
    "heat map of words": lambda: im.plot(SMALL, "label", "label"),
    "hostile": lambda: im.plot(ODD, "sharpness", HOSTILE, color=HOSTILE),
    "hostile groups": lambda: im.plot(ODD, HOSTILE, color=HOSTILE),
    "odd numbers": lambda: im.plot(NUMBERS, "weird", "flag", color="weird"),
    "one value": lambda: im.plot(NUMBERS, ["constant", "flag"]),
}


@pytest.mark.parametrize("name", CHARTS)
def test_charts_are_valid_and_drawn(name: str) -> None:
    """Each chart has a valid schema, is strict JSON, and has visible marks."""
    chart = CHARTS[name]()
    specification = chart.to_dict()
    assert "config" not in specification or set(specification["config"]) == {"view"}
    assert "NaN" not in chart.to_json()
    drawn = pixels(chart)
    background = (drawn == 255).all(axis=2)
    assert 0.01 < 1 - background.mean() < 0.95
    # Marks have colours; text is grey.
    coloured = np.ptp(drawn.astype(int), axis=2) > 20
    assert coloured.sum() > 500


@pytest.mark.parametrize("name", ["every property", "points", "heat map", "two data sets"])
def test_charts_can_be_changed_and_joined(name: str) -> None:
    """Charts are ordinary, without a configuration of their own."""
    chart = CHARTS[name]()
    joined = alt.hconcat(chart, CHARTS["one"]()).configure_axis(grid=False)
    assert len(joined.to_dict()["hconcat"]) == 2
    assert chart.properties(title="mine").to_dict()["title"] == "mine"


@pytest.mark.parametrize("frame", [SMALL.head(0), SMALL[9:10]], ids=["empty", "failed"])
def test_frames_without_rows_give_charts(frame: pl.DataFrame) -> None:
    """Empty frames, and frames in which every image failed, have charts."""
    charts: list[Any] = [
        im.plot(frame),
        im.plot(frame, "width"),
        im.plot(frame, "width", color="label"),
        im.plot(frame, against=frame),
        im.plot(frame, "width", "label"),
        im.plot(frame, "when", "width", color="brightness"),
        im.plot(frame.head(0), "label"),
        im.plot(frame, "brightness", against=SMALL),
    ]
    for chart in charts:
        assert pixels(chart).min() < 255
    assert charts[0].to_dict()["title"]["text"] == "0 images"
    assert subtitle(charts[0]) == ["left out: 1 with an error"] * len(frame)


finite = st.floats(allow_nan=False, allow_infinity=False)
value_lists = st.lists(finite, min_size=1, max_size=40) | st.lists(
    st.floats(1e-6, 1e9), min_size=1, max_size=40
)


@given(values=value_lists, count=st.integers(1, 40))
def test_bins_hold_every_value(values: list[float], count: int) -> None:
    """Edges ascend, enclose all values, and are about as many as requested."""
    series = pl.Series(values, dtype=pl.Float64)
    bins = Bins.readable(series, count=count)
    edges = np.array(bins.edges)
    assert (np.diff(edges) > 0).all()
    assert np.isfinite(edges).all()
    assert edges[0] <= min(values)
    assert max(values) <= edges[-1]
    assert 1 <= len(edges) - 1 <= max(count + 3, 30)  # logarithmic bins are at most a decade wide
    expected, _ = np.histogram(values, edges)
    assert bins.count(series) == expected.tolist()


@given(values=st.lists(st.integers(-1000, 1000), min_size=1, max_size=40))
def test_bins_of_whole_numbers(values: list[int]) -> None:
    """Edges are integers, and each bin holds as many of them."""
    edges = Bins.readable(pl.Series(values, dtype=pl.Float64), whole=True).edges
    assert all(edge.is_integer() for edge in edges)
    assert edges[-1] > max(values)
    assert len(set(np.diff(edges))) == 1


@given(values=st.lists(st.floats(0, 1), max_size=40))
def test_bins_keep_to_the_limits(values: list[float]) -> None:
    """Bins end at the limits of a property."""
    edges = Bins.readable(pl.Series(values, dtype=pl.Float64), limits=(0, 1)).edges
    assert edges[0] >= 0
    assert edges[-1] <= 1


@pytest.mark.parametrize("lazy", [False, True])
def test_histograms_are_those_of_numpy(*, lazy: bool) -> None:
    """Counts equal those of NumPy for the edges of the chart."""
    chart = im.plot(LARGE.lazy() if lazy else LARGE)
    charts = parts(chart)
    assert [part.to_dict()["title"]["text"] for part in charts] == im.properties(LARGE)
    for part, name in zip(charts, im.properties(LARGE), strict=True):
        data = rows(part)
        edges = [*data["start"], data["end"][-1]]
        expected, _ = np.histogram(good(LARGE, name), edges)
        assert data["images"].to_list() == expected.tolist()
    assert chart.to_dict()["title"]["text"] == "5,400 images"
    assert subtitle(chart) == ["left out: 600 with an error"]


def test_wide_ranges_are_logarithmic() -> None:
    """Numbers of pixels over decades have logarithmic bins; bounded properties never."""
    data = im.plot(LARGE, "width")
    spec = data.to_dict()["encoding"]["x"]
    assert spec["scale"]["type"] == "log"
    assert all(float(f"{edge:.3g}") == edge for edge in rows(data)["start"])
    assert spec["axis"]["format"] == "~s"
    ratios = NUMBERS.with_columns(ratio=10.0 ** (pl.int_range(pl.len()) % 7 - 3))
    spec = im.plot(ratios, "ratio").to_dict()["encoding"]["x"]
    assert (spec["scale"]["type"], spec["axis"]["format"]) == ("log", "~g")
    spec = im.plot(LARGE, "brightness").to_dict()["encoding"]["x"]
    assert spec["scale"]["type"] == "linear"
    assert spec["title"] == f"brightness ({UNIT})"


def test_comparisons_are_of_fractions() -> None:
    """Two data sets have the same edges, and the subtitle states their overlap."""
    bright = LARGE.filter(pl.col("path_imgmeta").struct.field("brightness") > 0.4)
    chart = im.plot(LARGE, "brightness", against=bright.lazy(), names=("all", "bright"))
    data = rows(chart)
    edges = [*data.filter(group="all")["start"], data["end"].max()]
    fractions = []
    for name, frame in (("all", LARGE), ("bright", bright)):
        counts, _ = np.histogram(good(frame, "brightness"), edges)
        fractions.append(counts / counts.sum())
        np.testing.assert_allclose(data.filter(group=name)["fraction"], fractions[-1])
    assert subtitle(chart)[:2] == [
        "all: 5,400 images, left out: 600 with an error",
        f"bright: {len(bright):,} images",
    ]


def test_comparisons_say_what_is_in_common() -> None:
    """The numbers are those of `compare`, whatever bins are drawn, and of words those drawn."""
    few, bright = LARGE.head(120), pl.col("path_imgmeta").struct.field("brightness") > 0.4
    for frame, other in ((LARGE, LARGE.filter(bright)), (few, few.tail(50)), (LARGE, LARGE)):
        line = subtitle(im.plot(frame, "brightness", against=other))[-1]
        compared = im.compare(frame, other, properties="brightness").row(0, named=True)
        found = re.fullmatch(r"(\d+)% in common; chance alone: (?:(\d+) to )?(\d+)%", line)
        assert found is not None, line
        share, low, high = found.groups()
        assert float(share) == pytest.approx(100 * compared["overlap"], abs=0.51)
        expected = 100 * compared["overlap_by_chance"]
        assert float(low or high) - 0.51 <= expected <= float(high) + 0.51
    hats = pl.DataFrame({"label": ["hat", "hat", "shoe"] * 100})
    shoes = pl.DataFrame({"label": ["hat", "shoe", "shoe", "shirt"] * 100})
    assert subtitle(im.plot(hats, "label", against=shoes))[-1] == (
        "58% in common; chance alone: 92 to 100%"
    )
    assert not any("common" in line for line in subtitle(im.plot(few, against=few.clear())))


def test_comparisons_are_of_what_both_have() -> None:
    """By default, common properties are drawn, and the title lists the others."""
    dull = im.remove(LARGE, "sharpness")
    for frame, other in ((LARGE, dull), (dull, LARGE), (LARGE, im.unnest(dull))):
        chart = im.plot(frame, against=other)
        drawn = [part.to_dict()["title"]["text"] for part in parts(chart)]
        assert drawn == ["width", "brightness"]
        assert subtitle(chart)[-1] == "not in both: sharpness"
    assert not any("both" in line for line in subtitle(im.plot(LARGE, against=LARGE)))


def test_comparisons_find_a_renamed_column() -> None:
    """The other column is the only one, or among several that of the same name."""
    renamed = SMALL.rename({"path_imgmeta": "props"})
    several = SMALL.with_columns(props="path_imgmeta", brightness=0.5)
    expected = im.plot(SMALL, "brightness", against=SMALL).to_dict()
    for other in (renamed, several):
        for column in (None, "path_imgmeta"):
            chart = im.plot(SMALL, "brightness", against=other, column=column)
            assert chart.to_dict() == expected


def test_properties_are_drawn_beside_columns_of_their_name() -> None:
    """By default, properties are drawn, also where columns have their names."""
    owned = SMALL.with_columns(brightness=pl.lit(7.0))
    assert im.plot(owned).to_dict() == im.plot(SMALL).to_dict()
    assert im.plot(owned, against=owned).to_dict() == im.plot(SMALL, against=SMALL).to_dict()


def test_words_are_counted() -> None:
    """Words are ordered by frequency or as in their Enum; the title says how many are shown."""
    frame = SMALL.with_columns(many=pl.format("word {}", pl.int_range(pl.len()) // 2))
    order = pl.Enum(["shoe", "shirt", "hat", "sock"])
    data = rows(im.plot(SMALL, "label"))
    assert dict(data.select("bin", "images").iter_rows()) == Counter(SMALL["label"].to_list())
    assert data["images"].is_sorted(descending=True)
    assert rows(im.plot(SMALL.cast({"label": order}), "label"))["bin"].to_list() == [
        "shoe",
        "shirt",
        "hat",
    ]
    chart = im.plot(frame, "many")
    assert rows(chart)["images"].to_list() == [2] * 20
    assert rows(chart)["fraction"].to_list() == [2 / 50] * 20
    assert subtitle(chart) == ["many: the 20 most frequent of 25, 80% of the images"]
    compared = rows(im.plot(frame, "many", against=frame))
    assert compared.filter(bin="(others)")["images"].to_list() == [50 - 19 * 2] * 2
    assert subtitle(im.plot(frame, "brightness", "width", color="many"))[0] == (
        "many: the 9 most frequent of 25"
    )


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 40])
def test_images_are_counted_in_whole_numbers(count: int) -> None:
    """Axes and legends of counts have integers only."""
    words = ["a"] * count + ["b"]
    frame = pl.DataFrame({"one": words, "two": words})
    for chart in (im.plot(frame, "one"), im.plot(frame, "one", "two")):
        drawn = vl_convert.vegalite_to_svg(chart.to_json())
        labels = re.findall(r">([\d.]+)</text>", drawn)
        assert labels
        assert all(float(label).is_integer() for label in labels)


def test_no_times_have_no_legend() -> None:
    """Without times, no legend of NaN is drawn."""
    chart = im.plot(SMALL.head(0), "brightness", "width", color="when")
    assert "NaN" not in vl_convert.vegalite_to_svg(chart.to_json())


def grouped(values: pl.Series) -> dict[str, int]:
    """Return the size of each group of a colour, in their order."""
    frame = pl.DataFrame({"color": values, "x": 1})
    data = rows(im.plot(frame, "x", color="color"))
    counts = data.group_by("group", maintain_order=True).agg(pl.col("images").sum())
    return dict(counts.iter_rows())


def test_groups_of_numbers_and_times_are_ranges() -> None:
    """Ranges hold about as many rows each, and have readable names."""
    days = pl.date_range(datetime(2020, 1, 1), datetime(2020, 4, 9), eager=True)  # noqa: DTZ001 - days
    assert grouped(days) == {
        "below 2020-01-21": 20,
        "2020-01-21 to 2020-02-10": 20,
        "2020-02-10 to 2020-03-01": 20,
        "2020-03-01 to 2020-03-21": 20,
        "from 2020-03-21": 20,
    }
    assert grouped(days[:2].append(pl.Series([None], dtype=pl.Date))) == {
        "2020-01-01": 1,
        "2020-01-02": 1,
        "(none)": 1,
    }
    assert next(iter(grouped(SMALL["when"]))) == "below 2026-01-01 10:00"
    assert grouped(pl.Series([3, 1, 3, 2000])) == {"1": 1, "3": 2, "2,000": 1}
    assert grouped(pl.Series([0.1, 0.25, None, math.nan], dtype=pl.Float32)) == {
        "0.1": 1,
        "0.25": 1,
        "(none)": 2,
    }
    assert list(grouped(pl.Series([0] * 900 + list(range(10)) * 10))) == [
        "below 2",
        "2 to 4",
        "4 to 6",
        "6 to 8",
        "from 8",
    ]
    assert im.plot(SMALL, "label", color="brightness").to_dict()["encoding"]["color"]


@given(
    values=st.lists(finite | st.none(), min_size=1, max_size=9)
    | st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=9)
)
def test_groups_hold_every_row(values: list[float | None]) -> None:
    """At most five ranges, none of them empty, and one for those without a value.

    No group is small beside another: all are.
    """
    counts = grouped(pl.Series(values, dtype=pl.Float64))
    assert sum(counts.values()) == len(values)
    assert 0 not in counts.values()
    assert counts.get("(none)", 0) == values.count(None)
    assert len(counts) <= 5 + ("(none)" in counts)


@pytest.mark.parametrize("lazy", [False, True])
def test_heat_maps_are_those_of_numpy(*, lazy: bool) -> None:
    """Counts of pairs, and means of a third."""
    frame = LARGE.lazy() if lazy else LARGE
    chart = im.plot(frame, "brightness", "sharpness", color="width", pictures=0)
    data = rows(chart)
    spec = chart.to_dict()["encoding"]
    x, y, width = (np.array(good(LARGE, n)) for n in ("brightness", "sharpness", "width"))
    assert data["images"].sum() == len(x)
    assert min(data["x"]) >= spec["x"]["scale"]["domain"][0]
    assert (data["images"] > 0).all()
    for cell in data.sample(40, seed=0).iter_rows(named=True):
        inside = (x >= cell["x"]) & (x < cell["x_end"]) & (y >= cell["y"]) & (y < cell["y_end"])
        assert cell["images"] == inside.sum()
        assert cell["color"] == pytest.approx(width[inside].mean())


def test_points_are_the_rows() -> None:
    """Points have the values of their rows; rows without values are left out."""
    chart = im.plot(NUMBERS, "brightness", "weird", pictures=0)
    kept = NUMBERS.filter(pl.col("weird").is_finite(), pl.int_range(pl.len()) % 10 != 9)
    data = rows(chart)
    assert data["x"].to_list() == kept["path_imgmeta"].struct.field("brightness").to_list()
    assert data["y"].to_list() == kept["weird"].to_list()
    assert chart.to_dict()["title"]["text"] == "41 images"
    assert subtitle(chart) == ["left out: 5 with an error, 4 without a value"]


def test_samples_are_declared_and_stay_the_same() -> None:
    """Many points of groups are a reproducible sample, which the title declares."""
    chart = im.plot(LARGE, "brightness", "sharpness", color="label", pictures=0)
    assert len(rows(chart)) == 5_000
    assert subtitle(chart)[0] == "a sample of 5,000 is drawn"
    again = im.plot(LARGE, "brightness", "sharpness", color="label", pictures=0)
    assert again.to_dict() == chart.to_dict()


def test_times_are_shown_as_they_are() -> None:
    """Times are independent of the time zone of the browser: on a UTC axis, and as text."""
    chart = im.plot(SMALL, "when", "brightness", pictures=0)
    assert chart.to_dict()["encoding"]["x"]["scale"]["type"] == "utc"
    first = rows(chart).row(0, named=True)
    assert first["x"] == datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000
    assert first["x_text"] == "2026-01-01 00:00"


@pytest.mark.parametrize(
    "draw",
    [
        im.plot,
        lambda f: im.plot(f, against=f),
        lambda f: im.plot(f, "label"),
        lambda f: im.plot(f, "brightness", "width", pictures=0),
    ],
)
def test_a_million_rows_make_small_charts(draw: Callable[[pl.DataFrame], Any]) -> None:
    """The size of a chart does not grow with the frame."""
    assert len(draw(extracted(1_000_000)).to_json()) < 100_000


def tooltips(chart: Any) -> dict[str, str]:  # noqa: ANN401 - any chart
    """Return the fields of a tooltip and their titles."""
    encoding = chart.to_dict()["encoding"]
    return {one["field"]: one.get("title", one["field"]) for one in encoding["tooltip"]}


def test_tooltips_have_pictures(sample_folder: Path) -> None:
    """At most as many points as requested have a picture, spread evenly."""
    photos = im.scan_images(sample_folder / "photos").select("path")
    frame = im.extract(photos, "path").collect()
    chart = im.plot(frame, "brightness", "sharpness")
    assert tooltips(chart) == {
        "locator": "path",
        "x": f"brightness ({UNIT})",
        "y": f"sharpness ({UNIT})",
        "image": "image",
    }
    assert rows(chart)["image"].str.starts_with("data:image/").all()
    bounded = rows(im.plot(frame, "brightness", "sharpness", pictures=3))["image"]
    assert bounded.str.starts_with("data:image/").sum() == 3
    assert (bounded == "").sum() == 6
    gone = rows(im.plot(SMALL, "brightness", "sharpness"))
    assert (gone["image"] == "").all()
    assert "image" not in rows(im.plot(frame, "brightness", "sharpness", pictures=0)).columns


def test_pictures_need_the_locator() -> None:
    """Without the locator column there are no pictures; a renamed one can be named."""
    without = SMALL.drop("path")
    chart = im.plot(without, "brightness", "sharpness")
    assert "image" not in rows(chart).columns
    assert subtitle(chart)[-1] == "no pictures: the column 'path' is not in the frame"
    assert len(subtitle(im.plot(without, "brightness", "sharpness", pictures=0))) == 1
    numbered = im.plot(SMALL.with_columns(path=1), "brightness", "sharpness")
    assert subtitle(numbered)[-1] == "no pictures: the column 'path' is of dtype Int32"
    renamed = SMALL.rename({"path": "file"})
    chart = im.plot(renamed, "brightness", "sharpness", locator="file")
    assert tooltips(chart)["locator"] == "file"


def test_long_names_are_cut_at_the_front() -> None:
    """Long paths keep their end, which has more information."""
    frame = SMALL.head(1).with_columns(path=pl.lit("a" * 60 + "/dusk.png"))
    (name,) = rows(im.plot(frame, "brightness", "sharpness"))["locator"]
    assert name == "…" + "a" * 38 + "/dusk.png"


def test_columns_cannot_pass_for_pictures() -> None:
    """Vega loads the values of a field titled `image`; columns of the user get another title."""
    frame = SMALL.with_columns(image=pl.lit("https://example.org/x.png"), title=pl.lit("t"))
    chart = im.plot(frame, "image", "brightness", color="title")
    assert tooltips(chart)["x"] == "column 'image'"
    assert tooltips(chart)["color"] == "column 'title'"


def test_hostile_names_are_titles() -> None:
    """Names of the user are titles only, with tags broken."""
    encoding = im.plot(ODD, "sharpness", HOSTILE).to_dict()["encoding"]
    disarmed = HOSTILE.replace("<img", "<\N{WORD JOINER}img")
    assert encoding["y"]["field"] == "y"
    assert encoding["y"]["title"] == disarmed
    assert tooltips(im.plot(ODD, "sharpness", HOSTILE))["y"] == disarmed


SCRIPT = "xss/</sCript><img src=x onerror=alert(7)><!--<script>.jpg"
SCRIPTED = SMALL.select(
    pl.lit(SCRIPT).alias(SCRIPT + "path"),
    pl.lit(SCRIPT).alias(SCRIPT),
    pl.col("when").alias("<!-- when"),
    "path_imgmeta",
)


@pytest.mark.parametrize(
    "draw",
    [
        lambda f: im.plot(f, "brightness", SCRIPT, color=SCRIPT, locator=SCRIPT + "path"),
        lambda f: im.plot(f, "brightness", "<!-- when", locator=SCRIPT + "path"),
        lambda f: im.plot(f, SCRIPT, SCRIPT, color="<!-- when", locator=SCRIPT + "path"),
        lambda f: im.plot(f, ["brightness", "<!-- when", SCRIPT], color=SCRIPT),
        lambda f: im.plot(f, [SCRIPT, "brightness"], against=f, names=(SCRIPT, "<!--")),
        lambda f: im.plot(f, SCRIPT, against=f, names=(SCRIPT, "<!--")),
    ],
)
def test_no_text_of_a_chart_is_a_tag(draw: Callable[[pl.DataFrame], Any]) -> None:
    """Charts are saved within `<script>`, which names of files must not close."""
    chart = draw(SCRIPTED)
    text = chart.to_json(ensure_ascii=False)
    assert "onerror" in text
    assert not re.search("<[/!a-z]", text, re.IGNORECASE)
    assert pixels(chart).min() < 255
    ours, bare = (one.to_html().lower() for one in (chart, alt.Chart().mark_bar()))
    for mark in ("</script", "<!--", "<script", "<img"):
        assert ours.count(mark) == bare.count(mark)


def test_text_without_tags_is_unchanged() -> None:
    """Only the start of a tag is broken."""
    frame = SMALL.with_columns(label=pl.lit("1 < 2 <3> & 'a' > \"b\" <")).rename({"label": "a<=b"})
    chart = im.plot(frame, "a<=b")
    assert rows(chart)["bin"].to_list() == ["1 < 2 <3> & 'a' > \"b\" <"]
    assert chart.to_dict()["encoding"]["x"]["title"] == "a<=b"


def test_extracted_properties_are_purple() -> None:
    """Columns of the user have another colour."""
    purple = tuple(bytes.fromhex(PURPLE[1:]))
    assert (pixels(im.plot(SMALL, "brightness")) == purple).all(axis=2).sum() > 1000
    assert not (pixels(im.plot(SMALL, "label")) == purple).all(axis=2).any()


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    levels = [byte / 255 for byte in bytes.fromhex(colour[1:])]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in levels]
    return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("ground", ["#ffffff", "#333333", "#262626", "#161616"])
def test_colours_contrast_with_light_and_dark(ground: str) -> None:
    """Marks meet WCAG for graphics on white and on the dark themes; scales can be seen."""

    def contrast(colour: str) -> float:
        dark, light = sorted([luminance(colour), luminance(ground)])
        return (light + 0.05) / (dark + 0.05)

    assert all(contrast(colour) >= 3 for colour in (*GROUP_COLOURS, GREY, OUTLINE))
    assert all(contrast(colour) >= 1.65 for colour in RAMP)


def test_scales_ascend_in_lightness() -> None:
    """Each step of a colour scale is lighter by a third or more, for readers of any vision."""
    levels = [luminance(colour) + 0.05 for colour in RAMP]
    assert all(after / before > 1.33 for before, after in pairwise(levels))


def test_groups_beyond_four_have_a_plot_each() -> None:
    """They are rows of a ridge, or facets of points; four are drawn over each other."""
    several = extracted(200).with_columns(group=pl.int_range(pl.len()).mod(5).cast(pl.String))
    four = several.with_columns(pl.col("group").replace("4", "0"))
    assert im.plot(several, "brightness", color="group").to_dict()["encoding"]["row"]
    assert "layer" in im.plot(four, "brightness", color="group").to_dict()
    for frame, facets in ((several, True), (four, False)):
        spec = im.plot(frame, "brightness", "width", color="group", columns=2).to_dict()
        assert ("facet" in spec["encoding"]) == facets
        assert not facets or spec["encoding"]["facet"]["columns"] == 2
        # The line below an empty cell would be a stray one.
        lines = [spec["encoding"][side]["axis"].get("domain", True) for side in ("x", "y")]
        assert lines == [not facets] * 2


def test_small_groups_are_left_out() -> None:
    """A group of two is no spike of 100 %: it is named; small groups alone are counted."""
    frame = pl.DataFrame({"x": range(60), "group": ["a"] * 58 + ["b"] * 2})
    chart = im.plot(frame, "x", color="group")
    assert set(rows(chart)["group"]) == {"a"}
    assert subtitle(chart) == ["left out: groups of fewer than 10 images: b (2)"]
    few = im.plot(frame.tail(6), "x", color="group")
    assert set(rows(few)["group"]) == {"a", "b"}
    assert few.to_dict()["layer"][0]["encoding"]["y"]["field"] == "images"


def test_layout_is_chosen() -> None:
    """Title, width and columns."""
    chart = im.plot(SMALL, title="Photos", width=123, columns=2).to_dict()
    assert chart["title"]["text"] == "Photos"
    assert chart["title"]["subtitle"][0] == "45 images"
    assert chart["columns"] == 2
    assert {one["width"] for one in chart["concat"]} == {123}
    assert im.plot(SMALL, "brightness", "width", width=99).to_dict()["width"] == 99


@given(
    values=st.lists(st.integers(0, 50) | st.none(), min_size=1, max_size=80),
    most=st.integers(1, 30),
)
def test_extremes_have_their_pictures_first(values: list[int | None], most: int) -> None:
    """As many rows as allowed are chosen, among them the minimum and the maximum."""
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Int64})
    chosen = choose_pictured(frame, ["x"], most)
    assert chosen.sum() == min(most, len(values))
    known = frame["x"].drop_nulls()
    if most >= 3 and len(known):
        assert {known.min(), known.max()} <= set(frame.filter(chosen)["x"])
    assert choose_pictured(frame, [], most).sum() == min(most, len(values))


def test_most_extreme_points_are_pictured(sample_folder: Path) -> None:
    """Of many points, each of the ten at the ends of both axes has its picture."""
    photo = str(sample_folder / "photos/dusk.png")
    frame = extracted(400).with_columns(path=pl.lit(photo))
    drawn = rows(im.plot(frame, "brightness", "sharpness", pictures=80))
    assert (drawn["image"] != "").sum() == 80
    for key in "xy":
        ends = drawn.sort(key)
        for end in (ends.head(10), ends.tail(10)):
            assert (end["image"] != "").all()


@pytest.mark.parametrize("lazy", [False, True])
def test_histograms_show_examples(sample_folder: Path, *, lazy: bool) -> None:
    """Each bin with images shows one of its own, the outermost bins first."""
    photos = im.scan_images(sample_folder / "photos").select("path")
    frame = im.extract(photos, "path").collect()
    chart = im.plot(frame.lazy() if lazy else frame, "brightness")
    bins = rows(chart)
    filled = bins.filter(pl.col("images") > 0)
    assert filled["image"].str.starts_with("data:image/").all()
    assert (bins.filter(images=0)["image"] == "").all()
    values = frame.select(pl.col("path_imgmeta").struct.field("brightness"), name="path")
    for one in filled.iter_rows(named=True):
        end = one["locator"].removeprefix("…")
        (value,) = values.filter(pl.col("name").str.ends_with(end))["brightness"]
        assert one["start"] <= value <= one["end"]
    assert tooltips(chart)["locator"] == "example"
    few = rows(im.plot(frame, "brightness", pictures=2)).filter(pl.col("images") > 0)
    assert [uri != "" for uri in few["image"]] == [True, *[False] * (len(few) - 2), True]
    assert "image" not in rows(im.plot(frame, "brightness", pictures=0)).columns


def test_comparisons_show_examples_of_both(sample_folder: Path) -> None:
    """Each data set has the pictures of its own frame."""
    photos = im.scan_images(sample_folder / "photos").select("path")
    frame = im.extract(photos, "path").collect()
    good = frame.filter(pl.col("path_imgmeta").struct.field("error").is_null())
    dark, lit = good.head(3), good.tail(3)
    data = rows(im.plot(dark, "brightness", against=lit.lazy(), names=("dark", "lit")))
    for name, part in (("dark", dark), ("lit", lit)):
        shown = data.filter(pl.col("group") == name, pl.col("images") > 0)
        ends = [path[-30:] for path in part["path"]]
        assert all(text[-30:] in ends for text in shown["locator"])
        assert (shown["image"] != "").all()


@pytest.mark.browser
def test_a_saved_page_works_offline(tmp_path: Path) -> None:
    """With `inline`, a page has all of Vega, and requests nothing."""
    page = tmp_path / "points.html"
    im.plot(SMALL, "brightness", "sharpness", pictures=0).save(page, inline=True)
    with launch(tmp_path / "profile") as browser:
        browser.open(page)
        for _ in range(100):
            if browser.run("return !!document.querySelector('#vis canvas, #vis svg')"):
                break
            browser.settle()
        assert browser.run("return !!document.querySelector('#vis canvas, #vis svg')")
        assert browser.requests() == [page.as_uri()]


def test_a_lazy_frame_is_computed_once(sample_folder: Path) -> None:
    """A pending extraction reads each image once for a chart without pictures."""
    plan = im.extract(im.scan_images(sample_folder / "photos"), "path", "geometry")
    with count_reads(sample_folder / "photos") as opened:
        im.plot(plan, pictures=0)
    assert opened
    assert set(opened.values()) == {1}


def test_flat_columns_are_drawn_by_name() -> None:
    """Unnested properties are columns of the user."""
    flat = im.unnest(SMALL)
    assert rows(im.plot(flat, "brightness"))["images"].sum() == 45


def test_without_altair_the_extra_is_named() -> None:
    """Without Altair, only `plot` fails."""
    code = (
        "import sys; sys.modules['altair'] = None\n"
        "import polars as pl, polars_imgmeta as im\n"
        "df = pl.DataFrame({'path': ['x.png']}).imgmeta.extract('path')\n"
        "try: df.imgmeta.plot()\n"
        "except ImportError as error: print(error)"
    )
    done = run_python(code, ROOT)
    assert done.stdout.startswith(
        "`plot` needs the extra `plot`: pip install 'polars-imgmeta[plot]' ("
    ), done.stderr


@pytest.fixture(autouse=True)
def _no_more_rows() -> Iterator[None]:
    """Check that the row limit of Altair is enabled, as by default."""
    assert alt.data_transformers.active == "default"
    yield
    assert alt.data_transformers.active == "default"


OWNED = SMALL.with_columns(brightness=1)
DULL = im.remove(SMALL, "sharpness")
TWICE = SMALL.select("path", a="path_imgmeta", b="path_imgmeta")
LISTS = SMALL.with_columns(list=pl.lit([1]))
MISTAKES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "y alone": (
        lambda: im.plot(SMALL, y="brightness"),
        ValueError,
        "`x` must be the name of one property or column where `y` is given, got None",
    ),
    "several x and y": (
        lambda: im.plot(SMALL, ["width", "brightness"], "sharpness"),
        ValueError,
        (
            "`x` must be the name of one property or column where `y` is given,"
            " got ['width', 'brightness']"
        ),
    ),
    "against and y": (
        lambda: im.plot(SMALL, "width", "brightness", against=SMALL),
        ValueError,
        "`against` compares distributions, and goes with neither `y` nor `color`",
    ),
    "one name": (
        lambda: im.plot(SMALL, against=SMALL, names=("a", "a")),
        ValueError,
        "`names` must be two different names, got ('a', 'a')",
    ),
    "pictures": (
        lambda: im.plot(SMALL, "width", "brightness", pictures=-1),
        ValueError,
        "`pictures` must be a whole number from 0, got -1",
    ),
    "nothing": (
        lambda: im.plot(SMALL, []),
        im.ColumnError,
        "`x` must name at least one property or column, got none",
    ),
    "lists": (
        lambda: im.plot(LISTS, "list"),
        im.ColumnError,
        (
            "`x` must name numbers, times or words, got 'list', which is of dtype List(Int64)"
            "\n\nHint: draw a column made with `pl.col('list').list.len()`"
        ),
    ),
    "durations": (
        lambda: im.plot(SMALL.with_columns(age=pl.duration(days=1)), "brightness", "age"),
        im.ColumnError,
        (
            "`y` must name numbers, times or words, got 'age', which is of dtype"
            " Duration(time_unit='us')"
            "\n\nHint: draw a column made with `pl.col('age').dt.total_seconds()`"
        ),
    ),
    "a number as x": (
        lambda: im.plot(SMALL, 3),  # type: ignore[arg-type]
        im.ColumnError,
        "`x` must be the name of a property or column, or several names, got 3",
    ),
    "an expression as x": (
        lambda: im.plot(SMALL, pl.col("width")),  # type: ignore[arg-type]
        im.ColumnError,
        '`x` must be the name of a property or column, or several names, got col("width")',
    ),
    "an expression as color": (
        lambda: im.plot(SMALL, "width", color=pl.col("label")),  # type: ignore[arg-type]
        im.ColumnError,
        '`color` must be the name of a property or column, got col("label")',
    ),
    "ambiguous": (
        lambda: im.plot(OWNED, "brightness"),
        im.ColumnError,
        (
            "`x` must say what is meant by 'brightness': it is the column 'brightness' and a"
            " property of 'path_imgmeta'"
            "\n\nHint: `column='path_imgmeta'` means that column's property; rename the column"
            " 'brightness' to draw that"
        ),
    ),
    "not in the other": (
        lambda: im.plot(SMALL, ["width", "sharpness"], against=DULL),
        im.ColumnError,
        (
            "'sharpness' is not in the frame given as `against`, which has: 'width',"
            " 'brightness', 'path', 'label', 'when'"
        ),
    ),
    "nothing in common": (
        lambda: im.plot(SMALL, against=SMALL.select("path")),
        im.ColumnError,
        "'width' is not in the frame given as `against`, which has: 'path'",
    ),
    "no other frame": (
        lambda: im.plot(SMALL, against="x"),  # type: ignore[arg-type]
        TypeError,
        (
            "`against` must be a polars DataFrame or LazyFrame, got str"
            "\n\nHint: `scan_images` lists the images of a folder"
        ),
    ),
    "several in the other": (
        lambda: im.plot(SMALL, against=TWICE, column="path_imgmeta"),
        im.ColumnError,
        (
            "the frame given as `against` must have the auto-extracted column 'path_imgmeta',"
            " as it has several others\n\nAuto-extracted: 'a', 'b'"
        ),
    ),
    "misspelled": (
        lambda: im.plot(SMALL, "brightness", "lable"),
        im.ColumnError,
        (
            "`y` must name a property or a column of the frame, got 'lable'"
            "\n\nHint: did you mean 'label'?"
            "\n\nProperties: 'width', 'brightness', 'sharpness'"
            "\n\nColumns: 'path', 'label', 'when'"
        ),
    ),
    "unlike": (
        lambda: im.plot(SMALL, "label", against=SMALL.with_columns(label=1)),
        im.ColumnError,
        "'label' must have comparable dtypes in both frames, got String and Int32",
    ),
    "not extracted": (
        lambda: im.plot(SMALL.select("label")),
        im.ColumnError,
        (
            "the frame must have an auto-extracted column, its columns are: 'label'"
            "\n\nHint: make one with `extract`"
        ),
    ),
    "no frame": (
        lambda: im.plot("photos"),  # type: ignore[arg-type]
        TypeError,
        (
            "`frame` must be a polars DataFrame or LazyFrame, got str"
            "\n\nHint: `scan_images` lists the images of a folder"
        ),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_explained(mistake: str) -> None:
    """Messages say what was expected, what was given, and what to do."""
    call, kind, message = MISTAKES[mistake]
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == message
