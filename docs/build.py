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

from llms import page_names, write_llms
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
    (_BUILT / "404.html").unlink()  # servers look for one in the root alone, which has no pages
    write_llms(_BUILT)
    write_notebooks(PAGES, _BUILT)
    if problems := find_problems(_BUILT):
        sys.exit("\n".join(problems))
    name = version("polars-imgmeta")
    shutil.rmtree(site / name, ignore_errors=True)
    shutil.copytree(_BUILT, site / name)
    write_versions(site)


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
            if parts.scheme or parts.netloc or not parts.path:
                continue
            if not (page.parent / urllib.parse.unquote(parts.path)).resolve().exists():
                problems.append(f"{page.relative_to(site)}: nothing at {target}")
    found = {page.relative_to(PAGES).as_posix() for page in PAGES.rglob("*.md")}
    unlisted = found ^ set(page_names())
    return problems + [f"{name}: not in `nav` of mkdocs.yml" for name in unlisted]


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
