"""JupyterLab, marimo and VS Code, headless, with a notebook to look at in a browser."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import quote

from browser import Browser
from code_server import CodeServer
from servers import LOOPBACK, run_server

Scheme: TypeAlias = Literal["light", "dark"]
Cells: TypeAlias = Sequence[str]

_SECONDS = 90
_THEMES = {scheme: {"theme": f"JupyterLab {scheme.title()}"} for scheme in get_args(Scheme)}
_NO_NEWS = {"fetchNews": "false", "checkForUpdates": False}
_VSCODE = {
    "security.workspace.trust.enabled": False,
    "telemetry.telemetryLevel": "off",
    "workbench.editorAssociations": {"*.ipynb": "jupyter-notebook"},
    "workbench.secondarySideBar.defaultVisibility": "hidden",
    "workbench.startupEditor": "none",
}
# VS Code draws the cells that are in view.
_TALL = 2_400
# Neither the settings nor the notebooks of the user who runs the tests.
_HOMES = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")


@contextmanager
def open_jupyterlab(
    python: str, folder: Path, cells: Cells, browser: Browser, scheme: Scheme
) -> Iterator[None]:
    """Run JupyterLab in a folder, run the cells of a notebook in it, and show it in a browser."""
    _write_notebook(folder, cells)
    settings = folder / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    for name, values in {"themes": _THEMES[scheme], "notification": _NO_NEWS}.items():
        (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
    port = _free_port()
    # The application is exposed for its commands, as by the menus.
    command = [
        *(python, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        "--expose-app-in-browser",
        f"--ServerApp.ip={LOOPBACK}",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
        "--IdentityProvider.token=",
    ]
    listening = rf"http://{LOOPBACK}:{port}/lab"
    with run_server(command, folder / "jupyterlab.log", listening, env=_environment(folder)) as url:
        browser.open(f"{url}/tree/notebook.ipynb", scheme=scheme)
        browser.wait(
            "return Boolean(window.jupyterapp?.shell.currentWidget?.content?.model)", _SECONDS
        )
        browser.wait(
            "return window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status"
            " === 'idle'",
            _SECONDS,
        )
        browser.run("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        _wait_for_previews(browser, cells)
        yield


@contextmanager
def open_marimo(
    python: str, folder: Path, cells: Cells, browser: Browser, scheme: Scheme
) -> Iterator[None]:
    """Run marimo in a folder, and show an application of the cells in a browser."""
    head = f'# /// script\n# [tool.marimo.display]\n# theme = "{scheme}"\n# ///\n'
    lines = [head, "import marimo", 'app = marimo.App(width="medium")']
    bodies = (textwrap.indent(cell, "    ") for cell in cells)
    lines += [f"@app.cell\ndef _():\n{body}\n    return" for body in bodies]
    page = folder / "notebook.py"
    page.write_text("\n\n".join(lines) + "\n")
    port = _free_port()
    command = [
        *(python, "-m", "marimo", "run", str(page), "--headless", "--no-token"),
        *("--host", LOOPBACK, "--port", str(port)),
    ]
    url = f"http://{LOOPBACK}:{port}"
    with run_server(
        command, folder / "marimo.log", rf"http://localhost:{port}", env=_environment(folder)
    ):
        browser.open(url, scheme=scheme)
        _wait_for_previews(browser, cells)
        yield


@contextmanager
def open_vscode(
    python: str,
    folder: Path,
    cells: Cells,
    browser: Browser,
    scheme: Scheme,
    *,
    server: CodeServer,
) -> Iterator[None]:
    """Run the cells of a notebook, run VS Code in its folder, and show the outputs in a browser.

    The scripts of the browser then run in the frame of the outputs.
    """
    notebook, environment = _write_notebook(folder, cells), _environment(folder)
    execute = (python, "-m", "jupyter", "nbconvert", "--to=notebook", "--execute", "--inplace")
    subprocess.run([*execute, str(notebook)], check=True, capture_output=True, env=environment)
    settings = folder / "data" / "User" / "settings.json"
    settings.parent.mkdir(parents=True)
    theme = {"workbench.colorTheme": f"Default {scheme.title()} Modern"}
    settings.write_text(json.dumps(_VSCODE | theme))
    command = [
        *server.command,
        *(
            "--auth",
            "none",
            "--bind-addr",
            f"{LOOPBACK}:0",
            "--user-data-dir",
            str(folder / "data"),
        ),
        *("--disable-telemetry", "--disable-update-check"),
    ]
    listening = rf"(?<=listening on )http://{LOOPBACK}:\d+"
    log = folder / "code-server.log"
    with run_server(command, log, listening, env=environment) as url:
        address = f"vscode-remote://{url.removeprefix('http://')}{notebook}"
        opened = quote(json.dumps([["openFile", address]]))
        page = f"{url}/?folder={quote(str(folder))}&payload={opened}"
        browser.open(page, height=_TALL, scheme=scheme)
        for frame in ("iframe.webview.ready", "#active-frame"):
            browser.enter(frame, _SECONDS)
        _wait_for_previews(browser, cells)
        yield


def _write_notebook(folder: Path, cells: Cells) -> Path:
    empty: dict[str, Any] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
    }
    notebook = {
        "cells": [
            {**empty, "id": f"cell-{number}", "source": cell} for number, cell in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    file = folder / "notebook.ipynb"
    file.write_text(json.dumps(notebook))
    return file


def _wait_for_previews(browser: Browser, cells: Cells) -> None:
    script = "return document.querySelectorAll('.imgmeta-show').length === arguments[0]"
    browser.wait(script, _SECONDS, len(cells))
    browser.settle()


def _environment(folder: Path) -> dict[str, str]:
    homes = dict.fromkeys(_HOMES, str(folder / "home"))
    return {
        **os.environ,
        **homes,
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "NO_PROXY": "*",
        "PYTHONUNBUFFERED": "1",
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        port: int = found.getsockname()[1]
        return port


HOSTS: dict[str, Callable[..., AbstractContextManager[None]]] = {
    "jupyterlab": open_jupyterlab,
    "marimo": open_marimo,
    "vscode": open_vscode,
}
