"""Draw the pictures of these pages: run `python docs/pictures.py` in the root.

They show generated landscapes, always the same. The script needs the dependencies of the
tests.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
import vl_convert
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import polars_imgmeta as im
from polars_imgmeta.cli.samples import make_samples

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
Pixels = NDArray[np.uint8]


def draw_landscapes(folder: Path, count: int = 240) -> pl.DataFrame:
    """Draw landscapes like photos: some dark, blurred, pale, upright or mirrored.

    Args:
        folder: The folder, which is created.
        count: The number of landscapes.

    Returns:
        A frame of `path` and `season`, which determines the colours.
    """
    folder.mkdir()
    random = np.random.default_rng(7)
    rows: list[tuple[str, str | None]] = []
    for index in range(count):
        season = str(random.choice(["spring", "summer", "autumn", "winter"]))
        picture = _degrade(_landscape(season, random), random)
        path = folder / f"{season}-{index:03}.jpg"
        Image.fromarray(picture).save(path, quality=90)
        rows.append((str(path), season))
    for name, data in (("empty", b""), ("notes", b"no image"), ("cut", path.read_bytes()[:999])):
        (folder / f"{name}.jpg").write_bytes(data)
        rows.append((str(folder / f"{name}.jpg"), None))
    return pl.DataFrame(rows, schema={"path": pl.String, "season": pl.String}, orient="row")


def _landscape(season: str, random: np.random.Generator) -> NDArray[np.float64]:
    """Draw a sky with a sun, hills that fade with the distance, and trees."""
    long, short = int(random.normal(440, 40)), int(random.normal(310, 25))
    height, width = (long, short) if random.random() < 0.3 else (short, long)  # noqa: PLR2004
    ground = {
        "spring": (120, 165, 80),
        "summer": (70, 125, 50),
        "autumn": (185, 110, 45),
        "winter": (225, 230, 240),
    }[season]
    top, low = [
        ((70, 130, 205), (205, 225, 240)),
        ((40, 60, 120), (240, 160, 110)),
        ((150, 160, 175), (215, 215, 220)),
        ((90, 150, 210), (245, 235, 215)),
    ][random.integers(4)]
    rows, columns = np.indices((height, width))
    depth = (rows / height)[..., None]
    picture = np.array(top) * (1 - depth) + np.array(low) * depth
    away = np.hypot(rows - height * random.uniform(0.1, 0.4), columns - width * random.random())
    picture += (np.exp(-((away / random.uniform(14, 30)) ** 2)) * 110)[..., None]
    hills = int(random.integers(3, 6))
    for hill in range(hills):
        near = (hill + 1) / hills
        steps = random.normal(size=width + 400).cumsum()
        ridge = cv2.GaussianBlur(steps[None, :], (0, 0), 22 - 12 * near)[0, 200:-200]
        ridge = (ridge - ridge.mean()) * height * 0.012 + height * (0.4 + 0.4 * near)
        land = rows > ridge
        haze = np.array(ground) * near + np.array(low) * (1 - near)
        shade = cv2.GaussianBlur(random.normal(size=(height, width)), (0, 0), 1.2)
        picture[land] = (haze * 0.9 + (shade * 70 * near)[..., None])[land]
        for _ in range(int(random.integers(0, 14) * near)):
            column, size = int(random.integers(width)), random.uniform(5, 16) * near
            foot = ridge[column] + random.uniform(0, 30)
            crown = np.hypot((rows - foot) / 1.7, columns - column) < size
            picture[crown] = np.array(ground) * random.uniform(0.35, 0.6)
    return picture


def _degrade(picture: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.uint8]:
    """Degrade a picture: too dark, too bright, out of focus, hazy or mirrored."""
    defect = random.random()
    if defect < 0.12:  # noqa: PLR2004 - fractions of all
        picture *= random.uniform(0.1, 0.35)
    elif defect < 0.22:  # noqa: PLR2004
        picture = picture * 1.2 + 50
    elif defect < 0.36:  # noqa: PLR2004
        picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(2, 7)).astype(np.float64)
    elif defect < 0.44:  # noqa: PLR2004
        picture = picture * 0.25 + 150
    elif defect < 0.56:  # noqa: PLR2004
        half = picture[:, : picture.shape[1] // 2]
        picture = np.hstack([half, half[:, ::-1]])
    picture = picture + random.normal(size=picture.shape) * random.uniform(0, 6)
    return picture.clip(0, 255).astype(np.uint8)


@contextlib.contextmanager
def _browser_in_folder() -> Iterator[Any]:
    """Run the browser of the tests, in a working folder that is removed at the end."""
    sys.path.insert(0, str(ROOT / "tests"))
    from browser import launch  # noqa: PLC0415 - see above

    with (
        tempfile.TemporaryDirectory() as work,
        contextlib.chdir(work),
        launch(Path(work, "profile")) as browser,
    ):
        yield browser


def draw_report() -> None:
    """Draw a report, filtered by two ranges, and its extremes."""
    with _browser_in_folder() as browser:
        frame = im.extract(draw_landscapes(Path("landscapes")), "path")
        page = im.report(frame, "landscapes.html", title="Landscapes").resolve()
        browser.open(page, width=1180, height=790)
        browser.run("histograms[4].select([0.3, 0.55]); histograms[5].select([0.15, null])")
        browser.run("byId('distributions').scrollTop = histograms[3].root.offsetTop")
        browser.settle()
        _save(browser.picture(".browse"), "report.png")
        browser.open(page, width=1180, height=940, scheme="dark")
        _save(browser.picture("#extremes"), "report-extremes.png")


def draw_previews() -> None:
    """Draw rows in a notebook: a table, and a grid where the theme is dark."""
    with _browser_in_folder() as browser:
        frame = im.extract(draw_landscapes(Path("landscapes"), 12), "path")
        some = im.configure(frame, ["width", "height", "brightness", "sharpness"])
        page = Path("notebook.html")
        for name, theme, ground, width, shown in (
            ("show.png", "light", "white", 990, im.show(frame, 4)),
            ("show-grid.png", "dark", "#14181e", 1180, im.show(some[4:], 6, layout="grid")),
        ):
            page.write_text(
                f"<!doctype html><html data-theme='{theme}'>"
                f"<body style='font: 13px sans-serif; background: {ground}'>{shown._repr_html_()}"
            )
            browser.open(page.resolve(), width=width)
            _save(browser.picture(".imgmeta-show"), name)


def draw_scales() -> None:
    """Draw one landscape three times for each property: low, middle and high."""
    drawn = _landscape("autumn", np.random.default_rng(19)).clip(0, 255).astype(np.uint8)
    picture = np.asarray(cv2.resize(drawn, (360, 240)), np.uint8)
    for name, change in _SCALES.items():
        variants = [change(picture, step) for step in (0, 1, 2)]
        encoded = [cv2.imencode(".png", variant[..., ::-1])[1].tobytes() for variant in variants]
        values = im.extract_series(pl.Series(encoded), name).struct.field(name)
        if not values.is_sorted():
            msg = f"the pictures of {name} are not ascending: {values.to_list()}"
            raise AssertionError(msg)
        sheet = Image.new("RGB", (3 * 370, 275), "white")
        draw = ImageDraw.Draw(sheet)
        for index, (variant, value) in enumerate(zip(variants, values, strict=True)):
            sheet.paste(Image.fromarray(variant), (370 * index + 5, 5))
            label = f"{name} {value:.3g}"
            draw.text((370 * index + 5, 248), label, "black", ImageFont.load_default(20))
        sheet.save(PICTURES / f"scale-{name}.webp", quality=75)


def _scaled(picture: Pixels, light: float, gain: float) -> Pixels:
    changed: Pixels = (picture.astype(np.float64) * gain + light).clip(0, 255).astype(np.uint8)
    return changed


def _blurred(picture: Pixels, radius: float) -> Pixels:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), radius), np.uint8) if radius else picture


def _coarse(picture: Pixels, levels: int) -> Pixels:
    return (picture // levels * levels).astype(np.uint8)


def _mirrored(picture: Pixels, weight: float) -> Pixels:
    flipped = picture[:, ::-1].astype(np.float64)
    mixed: Pixels = (picture * (1 - weight) + flipped * weight).astype(np.uint8)
    return mixed


def _noisy(picture: Pixels, deviation: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0, deviation, picture.shape)
    noisy: Pixels = (_blurred(picture, 1) + noise).clip(0, 255).astype(np.uint8)
    return noisy


def _compressed(picture: Pixels, quality: int) -> Pixels:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _dark_corners(picture: Pixels, strength: float) -> Pixels:
    rows, columns = np.indices(picture.shape[:2])
    away = np.hypot(rows / picture.shape[0] - 0.5, columns / picture.shape[1] - 0.5) / 0.71
    grey = np.full(picture.shape, 180.0) + picture * 0.2
    dark: Pixels = (grey * (1 - strength * away**2)[..., None]).astype(np.uint8)
    return dark


def _framed(picture: Pixels, width: int) -> Pixels:
    framed = picture.copy()
    if width:
        framed[:width] = framed[-width:] = 0
    return framed


def _coloured(picture: Pixels, saturation: float) -> Pixels:
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float64)[..., None]
    coloured: Pixels = (grey + (picture - grey) * saturation).clip(0, 255).astype(np.uint8)
    return coloured


_SCALES: dict[str, Callable[[Pixels, int], Pixels]] = {
    "brightness": lambda picture, step: _scaled(picture, (-90, 0, 90)[step], 1),
    "contrast": lambda picture, step: _scaled(picture, (95, 40, -60)[step], (0.2, 0.7, 1.5)[step]),
    "sharpness": lambda picture, step: _blurred(picture, (6, 1.2, 0)[step]),
    "pixel_entropy": lambda picture, step: _coarse(picture, (128, 48, 1)[step]),
    "symmetry": lambda picture, step: _mirrored(_scaled(picture, -60, 1.4), (0, 0.2, 0.5)[step]),
    "blur": lambda picture, step: _blurred(picture, (6, 1.2, 0)[step]),
    "noise": lambda picture, step: _noisy(picture, (0, 10, 40)[step]),
    "blockiness": lambda picture, step: _compressed(picture, (90, 20, 4)[step]),
    "shadow_clipping": lambda picture, step: _scaled(picture, (0, -110, -150)[step], 1),
    "highlight_clipping": lambda picture, step: _scaled(picture, (0, 70, 130)[step], 1),
    "vignetting": lambda picture, step: _dark_corners(picture, (0, 0.4, 0.9)[step]),
    "border": lambda picture, step: _framed(picture, (0, 20, 60)[step]),
    "saturation": lambda picture, step: _coloured(picture, (0.1, 1, 2)[step]),
    "colourfulness": lambda picture, step: _coloured(picture, (0, 1, 2)[step]),
}


def draw_front() -> None:
    """Draw what the example of the front page shows in a notebook."""
    with _browser_in_folder() as browser:
        make_samples(Path("photos"))
        names = ["width", "brightness", "sharpness", "pixel_entropy"]
        frame = im.extract(im.scan_images("photos").select("path"), "path", names)
        shown = im.show(frame, 6)
        page = Path("notebook.html")
        page.write_text(f"<!doctype html><body style='font: 15px sans-serif'>{shown._repr_html_()}")
        browser.open(page.resolve(), width=760)
        _save(browser.picture(".imgmeta-show table"), "front.png")


def draw_plots() -> None:
    """Draw distributions, one property against another, and two data sets."""
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        frame = im.extract(draw_landscapes(Path("landscapes")), "path")
        cold = pl.col("season").is_in(["autumn", "winter"])
        names = ("spring, summer", "autumn, winter")
        some = ["brightness", "contrast", "sharpness"]
        charts = {
            "plots": im.plot(frame),
            "plots-points": im.plot(frame, "contrast", "sharpness", color="season"),
            "plots-against": im.plot(
                frame.filter(~cold), some, against=frame.filter(cold), names=names
            ),
            "cases": im.plot_cases(_recognised(frame), "recognised"),
        }
    for name, chart in charts.items():
        specification = chart.to_json()
        _save(vl_convert.vegalite_to_png(specification, scale=1.5), f"{name}.png")


def _recognised(frame: pl.DataFrame) -> pl.DataFrame:
    """Add test cases, and the results of a model that is bad on dark and on blurred images."""
    image = pl.col("path_imgmeta").struct
    dark, blurred = image.field("brightness") < 0.35, image.field("sharpness") < 0.05  # noqa: PLR2004
    chance = 0.95 - 0.3 * dark - 0.25 * blurred
    drawn = pl.Series(np.random.default_rng(1).random(len(frame)))
    frame = frame.filter(image.field("error").is_null(), image.field("width") > 0)
    return im.test_cases(
        frame.with_columns(recognised=drawn.head(len(frame)) < chance),
        {"brightness": [0.35, 0.5], "sharpness": [0.05]},
    )


def _save(data: bytes, name: str) -> None:
    Image.open(io.BytesIO(data)).convert("RGB").save(PICTURES / name, optimize=True)


def main() -> None:
    """Draw all pictures."""
    PICTURES.mkdir(exist_ok=True)
    draw_scales()
    draw_plots()
    draw_report()
    draw_previews()
    draw_front()


if __name__ == "__main__":
    main()
