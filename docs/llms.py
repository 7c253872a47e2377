"""Write what language models read: `llms.txt`, and each page as Markdown beside its HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
import yaml

_ROOT = Path(__file__).parent.parent
_PAGES = _ROOT / "docs"
_DIRECTIVE = re.compile(r"^::: (\S+)\n((?: {4}.*\n)*)", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\][(\[][^)\]]*[)\]]")


def page_names() -> list[str]:
    """Return the pages in the order of the navigation."""
    return _names(yaml.safe_load((_ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])


def _names(entries: Any) -> list[str]:  # noqa: ANN401 - YAML
    if isinstance(entries, str):
        return [entries]
    inner = entries.values() if isinstance(entries, dict) else entries
    return [name for entry in inner for name in _names(entry)]


def write_llms(site: Path) -> None:
    """Write the list of the pages, and the pages with the signatures that they refer to.

    Args:
        site: The folder of a version.
    """
    extensions = griffe.load_extensions(str(_PAGES / "signatures.py"))
    package = griffe.load("polars_imgmeta", search_paths=[_ROOT / "src"], extensions=extensions)

    def described(match: re.Match[str]) -> str:
        options = (yaml.safe_load(match[2]) or {}).get("options", {})
        filters = options.get("filters", ["^[^_]"])
        name = match[1].removeprefix("polars_imgmeta.")
        return "\n\n".join(_describe(package[name], match[1], filters)) + "\n"

    lines = ["# polars-imgmeta", "", f"> {_summary(_PAGES / 'index.md')}", "", "## Pages", ""]
    for name in page_names():
        text = (_PAGES / name).read_text("utf-8")
        title = text.partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({name}): {_summary(_PAGES / name)}")
        (site / name).write_text(_DIRECTIVE.sub(described, text), "utf-8")
    (site / "llms.txt").write_text("\n".join([*lines, ""]), "utf-8")


def _describe(given: Any, path: str, filters: list[str]) -> Iterator[str]:  # noqa: ANN401 - of griffe
    """Yield heading, signature and docstring of an object, and of the members of a module."""
    one = given.final_target if given.is_alias else given
    code = one.signature() if one.is_function else "\n".join(one.lines) if one.is_attribute else ""
    yield f"### `{path}`"
    if code:
        yield f"```python\n{code}\n```"
    if one.docstring:
        yield one.docstring.value
    if one.is_module:
        for name, member in one.members.items():
            wanted = any(re.search(pattern, name) for pattern in filters)
            if wanted and not member.is_alias and (member.is_function or member.is_class):
                yield from _describe(member, f"{path}.{name}", filters)


def _summary(page: Path) -> str:
    """Return the first paragraph of a page as plain text."""
    paragraphs = page.read_text("utf-8").split("\n\n")
    first = next(text for text in paragraphs if re.match(r"[A-Z`*\[]", text))
    return _LINK.sub(r"\1", " ".join(first.split())).replace("*", "")
