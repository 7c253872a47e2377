"""Previews as JupyterLab, marimo and VS Code show them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import notebook_hosts
import polars as pl
import pytest
from browser import Browser
from notebook_hosts import Scheme

import polars_imgmeta as im

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LONG = "a text of many words that has to be broken, although never inside of one of them"
NAME = "a-file-whose-name-has-no-space-and-is-rather-long.png"
PICTURES = 3

# What there is to see of each preview, in CSS pixels. The ground of text is the nearest one that
# is not transparent.
LOOK = """
const ground = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (!/, 0\\)$|^transparent$/.test(colour)) return colour;
  }
  const frame = node.ownerDocument.defaultView.frameElement;
  return frame ? ground(frame) : "rgb(255, 255, 255)";
};
const numbers = (colour) => {
  const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const wider = (node) => {
  const found = [];
  for (let at = node.parentElement; at; at = at.parentElement)
    if (at.clientWidth && at.scrollWidth > at.clientWidth + 1) found.push(at.className);
  return found;
};
const broken = (node) => {
  const text = node.firstChild, found = [];
  for (const {0: word, index} of text.data.matchAll(/\\S+/g)) {
    const range = document.createRange();
    range.setStart(text, index);
    range.setEnd(text, index + word.length);
    const tops = [...range.getClientRects()].map((box) => Math.round(box.top));
    if (new Set(tops).size > 1) found.push(word);
  }
  return found;
};
const hit = (node) => {
  node.scrollIntoView({block: "center", behavior: "instant"});
  const {left, top, height} = node.getBoundingClientRect();
  return document.elementFromPoint(left + 9, top + height / 2);
};
const top = (node) => node.getBoundingClientRect().top;
const boxes = [...document.querySelectorAll(".imgmeta-show")];
return boxes.sort((one, other) => top(one) - top(other)).map((box) => {
  const texts = [...box.querySelectorAll("bdi")];
  const name = texts.find((text) => text.textContent === arguments[0]);
  const shown = {
    images: [...box.querySelectorAll("img")].map((image) => image.naturalWidth),
    wider: wider(box),
    scrolls: box.scrollWidth - box.clientWidth,
    broken: texts.flatMap(broken),
    folder: hit(name).closest("[title]")?.title,
    ground: numbers(ground(box)),
    texts: texts.map((text) => [
      text.textContent, numbers(getComputedStyle(text).color), numbers(ground(text)),
    ]),
  };
  box.scrollLeft = box.scrollWidth;
  const [picture] = box.querySelectorAll("img");
  const cell = picture.closest(".picture");
  const [left, edge] = [cell ?? picture, box].map((node) => node.getBoundingClientRect().left);
  shown.stays = Math.abs(left - edge);
  shown.above = hit(picture) === picture;
  shown.patch = cell && numbers(ground(cell));
  box.scrollLeft = 0;
  return shown;
});
"""


@dataclass(frozen=True)
class Shown:
    """What there is to see of two previews."""

    scheme: Scheme
    table: dict[str, Any]
    grid: dict[str, Any]

    @property
    def both(self) -> list[dict[str, Any]]:
        """The table and the grid."""
        return [self.table, self.grid]


@pytest.fixture(scope="module")
def frame(sample_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """Three pictures and a failure, with a text that is broken, and more columns than fit."""
    folder = tmp_path_factory.mktemp("pictures")
    photos = sample_folder / "photos"
    names = {"dusk.png": NAME, "portrait.jpg": "portrait.jpg", "fog.png": "fog.png"}
    for name, copy in names.items():
        (folder / copy).write_bytes((photos / name).read_bytes())
    paths = [str(folder / name) for name in (*names.values(), "gone.png")]
    labels = [LONG, None, "b", "c"]
    return im.extract(pl.DataFrame({"path": paths, "label": labels}), "path")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((host, scheme), id=f"{host} {scheme}", marks=pytest.mark.notebook(host))
        for host in notebook_hosts.HOSTS
        for scheme in get_args(Scheme)
    ],
)
def shown(
    request: pytest.FixtureRequest,
    frame: pl.DataFrame,
    browser: Browser,
    tmp_path_factory: pytest.TempPathFactory,
) -> Shown:
    """What a host shows of a table and of a grid."""
    host, scheme = request.param
    folder = tmp_path_factory.mktemp(host)
    frame.write_parquet(folder / "frame.parquet")
    read = f"_pl.read_parquet({str(folder / 'frame.parquet')!r})"
    calls = [f"_im.show({read})", f"_im.show({read}, layout='grid')"]
    # Names with an underscore are those of a cell alone in marimo.
    cells = [f"import polars as _pl, polars_imgmeta as _im\n{call}" for call in calls]
    python = request.getfixturevalue("notebook_python")
    more = {"server": request.getfixturevalue("code_server")} if host == "vscode" else {}
    with notebook_hosts.HOSTS[host](python, folder, cells, browser, scheme, **more):
        table, grid = browser.run(LOOK, NAME)
    return Shown(scheme, table, grid)


def luminance(colour: list[int]) -> float:
    """Return the relative luminance that the Web Content Accessibility Guidelines define."""
    parts = [part / 255 for part in colour]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: list[int], other: list[int]) -> float:
    """Return the contrast ratio of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_pictures_load(shown: Shown) -> None:
    """Each image that can be read is shown, and none is an empty frame."""
    for one in shown.both:
        assert len(one["images"]) == PICTURES
        assert min(one["images"]) > 0


def test_only_the_table_scrolls(shown: Shown) -> None:
    """A wide table scrolls in its own box; the page around it gets no wider."""
    assert shown.table["scrolls"] > 0
    assert shown.grid["scrolls"] == 0
    assert [one["wider"] for one in shown.both] == [[], []]


def test_words_stay_whole(shown: Shown) -> None:
    """No name and no word of a longer text goes on in a second line."""
    assert [one["broken"] for one in shown.both] == [[], []]


def test_the_folder_is_a_tooltip(shown: Shown, frame: pl.DataFrame) -> None:
    """The element under the pointer, over the name of a file, has the whole path."""
    assert [one["folder"] for one in shown.both] == [frame["path"][0]] * 2


def test_pictures_stay_in_place(shown: Shown) -> None:
    """In a table that was scrolled to its end, they are on its left, with nothing above."""
    assert shown.table["stays"] <= 1
    assert shown.table["above"]
    assert shown.grid["above"]
    assert shown.table["patch"] == shown.table["ground"]


def test_text_can_be_read(shown: Shown) -> None:
    """The ground is that of the theme, and purple; all text has a contrast of 4.5 or more to it."""
    for one in shown.both:
        light = luminance(one["ground"])
        assert light > 0.8 if shown.scheme == "light" else light < 0.1
        low = [text for text in one["texts"] if contrast(text[1], text[2]) < 4.5]
        assert low == []
    purple = {text[0]: text[2] != shown.table["ground"] for text in shown.table["texts"]}
    assert {name for name in (NAME, "b", "c", "brightness") if purple[name]} == {"brightness"}
