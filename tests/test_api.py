"""The public surface: complete, documented, consistent, light and well-mannered."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import re
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import cv2
import polars as pl
import pytest
from interpreters import run_python
from PIL import Image, ImageFile
from polars.testing import assert_frame_equal

import polars_imgmeta as im
from polars_imgmeta import namespaces
from polars_imgmeta.column.udf import Extraction
from polars_imgmeta.measuring.options import ExtractOptions, Reading
from polars_imgmeta.typing import PropertyName
from polars_imgmeta.verbs import extraction

ROOT = Path(__file__).parent.parent
PACKAGE = Path(im.__file__).parent
MODULES = [module.name for module in pkgutil.walk_packages(im.__path__, "polars_imgmeta.")]


def test_all_is_sorted_and_complete() -> None:
    """`__all__` has what the package imports for its users, and nothing else."""
    public = {
        name
        for name, value in vars(im).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert set(im.__all__) == public
    assert im.__all__ == sorted(
        im.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )


@pytest.mark.parametrize("name", im.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    """It has a docstring, and a function an example and its options."""
    value = getattr(im, name)
    if isinstance(value, dict):
        return
    documentation = inspect.getdoc(value) or ""
    assert documentation
    if inspect.isfunction(value):
        assert ">>> " in documentation
        for parameter in inspect.signature(value).parameters:
            assert f"\n    {parameter}: " in documentation


NAMESPACES: dict[str, type] = {
    "DataFrame": namespaces.DataFrameNamespace,
    "LazyFrame": namespaces.LazyFrameNamespace,
}
NO_METHODS = {
    "custom_property",
    "extract_expr",
    "extract_series",
    "run",
    "sandbox_gaps",
    "scan_images",
    "set_thread_count",
    "thread_count",
}
VERBS = [
    name for name in im.__all__ if inspect.isfunction(getattr(im, name)) and name not in NO_METHODS
]


@pytest.mark.parametrize("verb", VERBS)
def test_namespaces_have_the_functions(verb: str) -> None:
    """A method takes what the function of its name takes, behind the frame."""
    function = inspect.signature(getattr(im, verb))
    expected = [
        (name, parameter.kind, parameter.default)
        for name, parameter in list(function.parameters.items())[1:]
    ]
    owners = [namespace for namespace in NAMESPACES.values() if hasattr(namespace, verb)]
    assert owners
    assert len(owners) == 1 or verb not in {"write_parquet", "sink_parquet"}
    for namespace in owners:
        method = inspect.signature(getattr(namespace, verb))
        given = [
            (name, parameter.kind, parameter.default)
            for name, parameter in list(method.parameters.items())[1:]
        ]
        assert given == expected


def test_namespaces_have_nothing_else() -> None:
    """Each method is one of the verbs."""
    for namespace in NAMESPACES.values():
        methods = {name for name in dir(namespace) if not name.startswith("_")}
        assert methods <= set(VERBS)


def test_an_accessor_shows_what_the_frame_holds(sample_folder: Path) -> None:
    """Its repr has properties and, of an eager frame, rows; completion offers the verbs alone."""
    paths = [*(str(sample_folder / "photos" / name) for name in ("dusk.png", "gone.png")), None]
    frame = im.extract(pl.DataFrame({"path": paths}), "path", "width", "height")
    assert repr(frame.imgmeta) == (  # type: ignore[attr-defined]
        "path_imgmeta: width, height\n  3 rows, 2 extracted, 1 of them failed"
    )
    assert repr(frame.lazy().imgmeta) == "path_imgmeta: width, height"  # type: ignore[attr-defined]
    bare = frame.select("path").imgmeta  # type: ignore[attr-defined]
    assert repr(bare) == "no auto-extracted column; make one with `extract`"
    assert set(dir(bare)) <= set(VERBS)
    for other in (pl.col("path").imgmeta, frame["path"].imgmeta):  # type: ignore[attr-defined]
        assert repr(other) == "`extract` returns the properties of these images"
    assert repr(im.CATALOGUE) == f"Catalogue({len(im.CATALOGUE)} built-in properties)"


def test_the_reference_lists_the_methods() -> None:
    """The table names each method of a data frame, and what a lazy frame has instead."""
    text = (ROOT / "docs" / "reference.md").read_text()
    eager, lazy = (
        set(re.findall("`([a-z_]+)`", row)) for row in re.findall(r"Frame` \|(.*)", text)
    )
    methods = {name for name in dir(namespaces.DataFrameNamespace) if not name.startswith("_")}
    others = {name for name in dir(namespaces.LazyFrameNamespace) if not name.startswith("_")}
    assert eager == methods
    assert lazy == methods ^ others


@pytest.mark.parametrize(
    ("namespace", "verb"),
    [
        (namespaces.ExprNamespace, extraction.extract_expr),
        (namespaces.SeriesNamespace, extraction.extract_series),
    ],
)
def test_expression_namespaces_take_the_same_options(namespace: Any, verb: Any) -> None:  # noqa: ANN401
    """`extract` behind an expression or a series takes what the function takes."""
    function = list(inspect.signature(verb).parameters.values())[1:]
    method = list(inspect.signature(namespace.extract).parameters.values())[1:]
    assert [(p.name, p.kind, p.default) for p in method] == [
        (p.name, p.kind, p.default) for p in function
    ]


def test_the_catalogue_is_complete() -> None:
    """Names, groups and kernels agree with the table, in its order."""
    assert tuple(im.CATALOGUE) == get_args(PropertyName)
    assert im.GROUPS["standard"] == (
        "width",
        "height",
        "size",
        "aspect_ratio",
        "brightness",
        "contrast",
        "sharpness",
        "pixel_entropy",
        "symmetry",
    )
    in_groups = [name for group in im.GROUPS if group != "geometry" for name in im.GROUPS[group]]
    assert in_groups == list(im.CATALOGUE)[: len(in_groups)]
    assert im.GROUPS["standard"][:4] == im.GROUPS["geometry"]
    assert {im.CATALOGUE[name].needs for name in im.GROUPS["geometry"]} == {"header"}
    assert {im.CATALOGUE[name].needs for name in im.GROUPS["file"]} == {"header", "details"}
    for name, row in im.CATALOGUE.items():
        assert row.name == name
        assert row.built_in
        assert row.version == 1


def row_of(row: im.Property) -> str:
    """The row of the property tables of README and docs."""
    top = "" if row.maximum is None else f"{row.maximum:g}"
    minimum = "" if row.minimum is None else f"{row.minimum:g}"
    bound = f"{minimum} to {top}" if top else f"{minimum} and up" if minimum else ""
    if row.minimum == 0 and not top and row.dtype.is_float():
        bound = "above 0"
    return f"| `{row.name}` | {row.dtype} | {row.unit} | {bound} | {row.description} |"


@pytest.mark.parametrize("page", ["README.md", "docs/catalogue/properties.md"])
def test_the_tables_of_the_docs_are_the_catalogue(page: str) -> None:
    """The docs list each property as the catalogue has it, and README the standard ones."""
    lines = (ROOT / page).read_text().splitlines()
    rows = [row for name, row in im.CATALOGUE.items() if f"| `{name}` |" in "\n".join(lines)]
    expected = im.GROUPS["standard"] if page == "README.md" else tuple(im.CATALOGUE)
    assert tuple(row.name for row in rows) == expected
    for row in rows:
        cells = [
            re.sub(r"\s*\|\s*", " | ", line).strip()
            for line in lines
            if f"| `{row.name}` |" in line
        ]
        assert cells == [row_of(row)]


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    done = run_python(code, ROOT, "-W", "error")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_the_import_is_light() -> None:
    """Neither pyarrow nor anything of an extra is loaded before it is needed."""
    heavy = [
        "pyarrow",
        "pandas",
        "deltalake",
        "altair",
        "hypothesis",
        "pytest",
        "PIL.TiffImagePlugin",
    ]
    code = f"import sys, polars_imgmeta; print([name for name in {heavy} if name in sys.modules])"
    assert fresh(code) == "[]"


def test_global_state_stays_as_the_user_left_it(sample_folder: Path) -> None:
    """OpenCV, Pillow, Polars and the warning filters are found as they were."""
    Image.init()

    def state() -> list[object]:
        return [
            cv2.getNumThreads(),
            cv2.useOptimized(),
            Image.MAX_IMAGE_PIXELS,
            ImageFile.LOAD_TRUNCATED_IMAGES,
            list(Image.ID),
            dict(Image.OPEN),
            pl.Config.state(),
            list(warnings.filters),
            pl.thread_pool_size(),
        ]

    before = state()
    im.extract(im.scan_images(sample_folder / "photos"), "path").collect()
    assert state() == before


def test_the_function_is_plain_data() -> None:
    """What Polars maps is pickled without help, and equal to its copy."""
    access = im.Access(hosts=["example.org"])
    reading = Reading.of(ExtractOptions, {"max_pixels": 10, "access": access})
    function = Extraction("m", "path", im.CATALOGUE.resolve("width"), reading)
    assert pickle.loads(pickle.dumps(function)) == function  # noqa: S301
    with pytest.raises(AttributeError):
        function.column = "x"  # type: ignore[misc]


def test_plans_are_pickled(sample_folder: Path) -> None:
    """A lazy frame crosses to another process, without a pickler of more than data."""
    frame = im.scan_images(sample_folder / "photos").collect()
    plan = im.extract(frame.lazy(), "path", "width")
    copy = pickle.loads(pickle.dumps(plan))  # noqa: S301
    assert_frame_equal(copy.collect(), plan.collect())


def test_threads_share_the_pool(sample_folder: Path) -> None:
    """Extractions from many threads at once give what one gives, on one pool."""
    frame = im.scan_images(sample_folder / "photos").collect()
    expected = im.extract(frame, "path")
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: im.extract(frame, "path"), range(24)))
    assert all(result.equals(expected) for result in results)
    pool = [thread for thread in threading.enumerate() if thread.name.startswith("imgmeta_")]
    assert len(pool) <= pl.thread_pool_size()


@pytest.mark.parametrize(
    "module", [module for module in MODULES if not module.endswith("__main__")]
)
def test_modules_import_alone(module: str) -> None:
    """Each module has a docstring and can be imported."""
    assert importlib.import_module(module).__doc__
