"""Turn pages into executed notebooks: the examples that the tests run are their cells."""

from __future__ import annotations

import doctest
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbclient
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

_EXAMPLES = re.compile(r"^```pycon\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_SECONDS = 600


def write_notebooks(pages: Path, site: Path) -> list[Path]:
    """Write `PAGE.ipynb` beside the HTML of each page that has examples.

    Args:
        pages: The folder of the Markdown pages.
        site: The folder of the built site.

    Returns:
        The notebooks.

    Raises:
        nbclient.exceptions.CellExecutionError: If an example fails that should not.
    """
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(2) as executor:
        demo = Path(work, "demo")
        demo.mkdir()
        command = [sys.executable, "-m", "polars_imgmeta", "demo"]
        subprocess.run(command, cwd=demo, check=True, capture_output=True)  # noqa: S603 - ours

        def write(page: Path) -> Path:
            name = page.relative_to(pages)
            place = Path(work, *name.with_suffix("").parts, "page")
            shutil.copytree(demo, place)
            notebook = _convert(page.read_text("utf-8"))
            resources = {"metadata": {"path": str(place)}}
            nbclient.NotebookClient(notebook, timeout=_SECONDS, resources=resources).execute()
            written = (site / name).with_suffix(".ipynb")
            nbformat.write(notebook, written)
            return written

        with_examples = [page for page in pages.rglob("*.md") if "```pycon" in page.read_text()]
        return list(executor.map(write, sorted(with_examples)))


def _convert(page: str) -> nbformat.NotebookNode:
    """Return a page as a notebook that was not executed."""
    cells = []
    for index, part in enumerate(_EXAMPLES.split(page)):
        if index % 2:
            cells += list(_code_cells(part))
        elif part.strip():
            cells.append(new_markdown_cell(part.strip()))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _code_cells(block: str) -> Iterator[nbformat.NotebookNode]:
    """Yield a cell for each example of a block that shows something, and what precedes it."""
    source = ""
    for example in doctest.DocTestParser().get_examples(block):
        source += example.source
        if example.want:
            yield _code_cell(source, raises=bool(example.exc_msg))
            source = ""
    if source:
        yield _code_cell(source, raises=False)


def _code_cell(source: str, *, raises: bool) -> nbformat.NotebookNode:
    metadata = {"tags": ["raises-exception"]} if raises else {}
    return new_code_cell(source.rstrip(), metadata=metadata)
