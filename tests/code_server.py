"""VS Code in a browser: code-server, which the tests install with npm.

It needs Node 24, whatever is on PATH, and a module that is compiled: with make, a C++ compiler and
the headers in the package of Node. All else that npm would compile is not needed here.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "code-server@4.139.1"  # VS Code 1.139, pinned here alone
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}
_NODE = f"node-{sys.platform}-{_MACHINES.get(platform.machine(), platform.machine())}"
_NODE_VERSION = "24.21.0"
_COMPILED = "@vscode/spdlog"  # the log, without which no extension runs
_SECONDS = 300
# Of the session, since tests hide the proxies and the home directory that npm needs.
_ENVIRONMENT = os.environ.copy()


@dataclass(frozen=True)
class CodeServer:
    """code-server in a folder of its own.

    Attributes:
        folder: Where npm puts its packages.
    """

    folder: Path

    @property
    def command(self) -> list[str]:
        """The program and its script."""
        return [str(self._node / "bin" / "node"), str(self._package / "out" / "node" / "entry.js")]

    @property
    def complete(self) -> bool:
        """Whether it was installed."""
        return (self.folder / "complete").exists()

    def install(self, npm: str) -> bool:
        """Install it, and return whether that worked."""
        parts = self._package / "lib" / "vscode"
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts")
        bare = ("--no-save", "--no-package-lock", "--prefix", str(self.folder))
        try:
            self._run(npm, "install", *quiet, *bare, PACKAGE, f"{_NODE}@{_NODE_VERSION}")
            self._run(npm, "install", *quiet, "--omit=dev", cwd=parts)
            self._run(npm, "rebuild", f"--nodedir={self._node}", _COMPILED, cwd=parts)
        except (OSError, subprocess.SubprocessError):
            return False
        (self.folder / "complete").touch()
        return True

    @property
    def _node(self) -> Path:
        return self.folder / "node_modules" / _NODE

    @property
    def _package(self) -> Path:
        return self.folder / "node_modules" / "code-server"

    def _run(self, *command: str, cwd: Path | None = None) -> None:
        path = f"{self._node / 'bin'}{os.pathsep}{_ENVIRONMENT.get('PATH', '')}"
        environment = {**_ENVIRONMENT, "PATH": path}
        subprocess.run(
            command, check=True, capture_output=True, timeout=_SECONDS, cwd=cwd, env=environment
        )
