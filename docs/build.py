"""Build the site: run `python docs/build.py site` in the root.

Each version of the package gets a folder, between which the header of the pages has a menu:
`site/0.1.0/`, `site/versions.json`, and `site/index.html`, which leads to the newest.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import urllib.parse
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from notebooks import write_notebooks

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs"
_BUILT = ROOT / "build" / "site"  # `site_dir` of mkdocs.yml


def main() -> None:
    """Build the pages, their notebooks and `llms.txt`, and check all links between them."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("site", type=Path, help="the folder of all versions")
    site = parser.parse_args().site
    shutil.rmtree(_BUILT, ignore_errors=True)
    generator = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    subprocess.run(generator, cwd=ROOT, check=True)  # noqa: S603 - our own code
    write_llms(_BUILT)
    write_notebooks(PAGES, _BUILT)
    if problems := find_problems(_BUILT):
        sys.exit("\n".join(problems))
    name = version("polars-imgmeta")
    shutil.rmtree(site / name, ignore_errors=True)
    shutil.copytree(_BUILT, site / name)
    write_versions(site)


def write_llms(site: Path) -> None:
    """Write `llms.txt`, a list of the pages for language models, and the pages as Markdown."""
    lines = ["# polars-imgmeta", "", f"> {_first_paragraph(PAGES / 'index.md')}", "", "## Pages"]
    for name in _names(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]):
        page = PAGES / name
        title = page.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({name}): {_first_paragraph(page)}")
        shutil.copy(page, site / name)
    (site / "llms.txt").write_text("\n".join([*lines, ""]), "utf-8")


def _names(entries: Any) -> list[str]:  # noqa: ANN401 - YAML
    """Return the pages of the navigation in their order."""
    if isinstance(entries, str):
        return [entries]
    inner = entries.values() if isinstance(entries, dict) else entries
    return [name for entry in inner for name in _names(entry)]


def _first_paragraph(page: Path) -> str:
    paragraphs = page.read_text("utf-8").split("\n\n")
    plain = [text for text in paragraphs if re.match(r"[A-Z`*\[]", text)]
    return " ".join(plain[0].split())


class _Links(HTMLParser):
    """The local targets of the links and pictures of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        self.targets += [value for name, value in attrs if name in {"href", "src"} and value]


def find_problems(site: Path) -> list[str]:
    """Return what the generator does not find: missing pictures, notebooks and pages.

    Args:
        site: The folder of a version.

    Returns:
        A line for each problem.
    """
    problems = []
    for page in site.rglob("*.html"):
        links = _Links()
        links.feed(page.read_text("utf-8"))
        for target in links.targets:
            parts = urllib.parse.urlsplit(target)
            if parts.scheme or parts.netloc or not parts.path or page.name == "404.html":
                continue
            if not (page.parent / urllib.parse.unquote(parts.path)).resolve().exists():
                problems.append(f"{page.relative_to(site)}: nothing at {target}")
    listed = set(_names(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]))
    found = {page.relative_to(PAGES).as_posix() for page in PAGES.rglob("*.md")}
    return problems + [f"{name}: not in `nav` of mkdocs.yml" for name in found ^ listed]


def write_versions(site: Path) -> None:
    """List the versions in a folder for the menu, and lead from its root to the newest.

    Args:
        site: The folder of all versions.
    """
    folders = [folder.name for folder in site.iterdir() if (folder / "index.html").exists()]
    folders.sort(key=lambda name: [int(part) for part in re.findall(r"\d+", name)], reverse=True)
    entries = [{"version": name, "title": name, "aliases": []} for name in folders]
    (site / "versions.json").write_text(json.dumps(entries), "utf-8")
    (site / "index.html").write_text(
        f'<!doctype html><meta http-equiv="refresh" content="0; url={folders[0]}/index.html">',
        "utf-8",
    )


if __name__ == "__main__":
    main()
