"""Fixtures and options of the whole test session, and the names that doctests use."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environments
import numpy as np
import polars as pl
import pytest
import servers
from browser import MISSING, Browser, find_chromium, launch
from code_server import PACKAGE, CodeServer
from hypothesis import HealthCheck, settings

import polars_imgmeta as im
from polars_imgmeta.cli.samples import make_samples

# The same examples in every run of CI, so that a failure there can be reproduced and has to do
# with the change; new ones in every other run. How long an example takes says nothing.
_COMMON = settings(
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("fast", _COMMON, max_examples=10)
settings.register_profile("ci", _COMMON, max_examples=60)
settings.register_profile("deep", _COMMON, max_examples=2_000)
settings.load_profile("ci")

_PAGE_WITH_SERVER = "locators.md"
_NO_JAVA = "Java is not on PATH: apt-get install default-jre-headless"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the option with which a complete run is enforced."""
    parser.addoption("--no-skips", action="store_true", help="fail the session on any skip")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the page whose doctests read from a server, since Markdown has no `pytestmark`."""
    for item in items:
        if item.name == _PAGE_WITH_SERVER:
            item.add_marker("server")


def _skips(config: pytest.Config) -> Counter[str]:
    """Count the skips by reason, if they are forbidden."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if not reporter or not config.getoption("no_skips"):
        return Counter()
    return Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in reporter.stats.get("skipped", [])
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session if tests were skipped under `--no-skips`."""
    if _skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """List the skips that failed the session."""
    if skips := _skips(config):
        terminalreporter.section("failed because of --no-skips", red=True)
        for reason, count in skips.items():
            terminalreporter.write_line(f"{count} x {reason}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what lacks its program: here, since `-ra` shows skips of fixtures once for each test."""
    if item.get_closest_marker("browser") and not find_chromium():
        pytest.skip(MISSING)
    if item.get_closest_marker("java") and not shutil.which("java"):
        pytest.skip(_NO_JAVA)
    if item.get_closest_marker("daft"):
        _, reason = _provide_daft(item.config)
        if reason:
            pytest.skip(reason)
    if notebook := item.get_closest_marker("notebook"):
        _, reason = _provide_notebooks(item.config)
        if not reason and "vscode" in notebook.args:
            _, reason = _provide_code_server(item.config)
        if reason:
            pytest.skip(reason)
    if "azurite" in getattr(item, "fixturenames", ()):
        _, reason = _provide_azurite(item.config)
        if reason:
            pytest.skip(reason)


def _folder_for(config: pytest.Config, package: str) -> Path:
    name = re.sub("[@=]+", "-", package)
    cache = getattr(config, "cache", None)  # None with `-p no:cacheprovider`
    return Path(cache.mkdir(name)) if cache else config.rootpath / ".venv-tests" / name


def _tell(config: pytest.Config, line: str) -> None:
    plugins = config.pluginmanager
    with plugins.getplugin("capturemanager").global_and_fixture_disabled():
        plugins.getplugin("terminalreporter").write_line(line)


@functools.cache
def _provide_azurite(config: pytest.Config) -> tuple[str, str]:
    """Find or install Azurite; return its path, and the reason if there is none."""
    folder = _folder_for(config, servers.AZURITE)
    if program := servers.find_azurite(folder):
        return program, ""
    npm = shutil.which("npm")
    if not npm:
        return "", "neither Azurite nor npm, which fetches it, is on PATH: apt-get install npm"
    _tell(config, f"npm installs {servers.AZURITE}: {folder}")
    if program := servers.install_azurite(npm, folder):
        return program, ""
    return "", f"npm could not install Azurite: npm install --no-save {servers.AZURITE}"


@functools.cache
def _provide_daft(config: pytest.Config) -> tuple[str, str]:
    """Find or install Daft; return its interpreter, and the reason if there is none."""
    folder = _folder_for(config, environments.DAFT)
    if python := environments.find_daft(folder):
        return python, ""
    return _install(config, folder, environments.DAFT)


@functools.cache
def _provide_notebooks(config: pytest.Config) -> tuple[str, str]:
    """Find or install JupyterLab and marimo; return their interpreter, and why there is none."""
    folder = _folder_for(config, "-".join(environments.NOTEBOOKS))
    if python := environments.find(folder):
        return python, ""
    return _install(config, folder, *environments.NOTEBOOKS)


@functools.cache
def _provide_code_server(config: pytest.Config) -> tuple[CodeServer, str]:
    """Find or install VS Code for browsers; return it, and the reason if there is none."""
    server = CodeServer(_folder_for(config, PACKAGE))
    if server.complete:
        return server, ""
    if not (npm := shutil.which("npm")):
        return server, "npm, which fetches code-server, is not on PATH: apt-get install npm"
    _tell(config, f"npm installs {PACKAGE}: {server.folder}")
    if server.install(npm):
        return server, ""
    return server, "npm could not install code-server, which needs: apt-get install make g++"


def _install(config: pytest.Config, folder: Path, *requirements: str) -> tuple[str, str]:
    named = " ".join(requirements)
    _tell(config, f"pip installs {named} into an environment of its own: {folder}")
    if python := environments.install_over(folder, *requirements):
        return python, ""
    return "", f"pip could not install what tests need: pip install {named}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that all tests of a module share; they have the marker `browser`."""
    with launch(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="session")
def notebook_python(pytestconfig: pytest.Config) -> str:
    """The interpreter that has JupyterLab and marimo; tests with it have the marker `notebook`."""
    python, _ = _provide_notebooks(pytestconfig)
    return python


@pytest.fixture(scope="session")
def code_server(pytestconfig: pytest.Config) -> CodeServer:
    """VS Code for browsers; tests with it have the marker `notebook` of `"vscode"`."""
    server, _ = _provide_code_server(pytestconfig)
    return server


@pytest.fixture(scope="session")
def daft_python(pytestconfig: pytest.Config) -> str:
    """The interpreter that has Daft; tests that use it have the marker `daft`."""
    python, _ = _provide_daft(pytestconfig)
    return python


@pytest.fixture(scope="session")
def azurite(pytestconfig: pytest.Config) -> str:
    """The path of Azurite; tests that use it are skipped where it cannot be installed."""
    program, _ = _provide_azurite(pytestconfig)
    return program


@pytest.fixture(scope="module")
def s3_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A bucket, and the options that reach it."""
    import boto3  # noqa: PLC0415 - slow

    with servers.s3_server(tmp_path_factory.mktemp("moto")) as url:
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(
            Bucket="tables"
        )
        yield "s3://tables", {"aws_endpoint_url": url, "aws_region": "us-east-1", **keys}


@pytest.fixture(scope="module")
def azure_tables(
    azurite: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, str]]]:
    """A container, and the options that reach it."""
    with servers.azure_server(azurite, tmp_path_factory.mktemp("azurite")) as url:
        servers.put_azure(url, "tables", None)
        yield (
            "az://tables",
            {
                "account_name": servers.AZURE_ACCOUNT,
                "account_key": servers.AZURE_KEY,
                "endpoint": f"{url}/{servers.AZURE_ACCOUNT}",
            },
        )


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the sample images in `photos/`."""
    folder = tmp_path_factory.mktemp("samples")
    make_samples(folder / "photos")
    return folder


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which only `imgmeta demo` ran."""
    folder = tmp_path_factory.mktemp("demo")
    subprocess.run(
        [sys.executable, "-m", "polars_imgmeta", "demo"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(autouse=True)
def _doctest_place(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> None:
    """Run docstrings with their usual names, and each page alone, as a reader would paste it."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    if request.node.path.suffix == ".md":
        place = request.getfixturevalue("tmp_path") / "page"
        shutil.copytree(request.getfixturevalue("demo_folder"), place)
    else:
        place = request.getfixturevalue("sample_folder")
        doctest_namespace.update(pl=pl, im=im, np=np)
    request.getfixturevalue("monkeypatch").chdir(place)
