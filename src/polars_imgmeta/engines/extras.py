"""Engines, each of which is an extra."""

from __future__ import annotations

from importlib import import_module


def require(module: str, extra: str) -> None:
    """Import an engine.

    Raises:
        ImportError: If it is not installed. The message names the extra.
    """
    try:
        import_module(module)
    except ImportError as error:
        msg = f"{module} needs the extra `{extra}`: pip install 'polars-imgmeta[{extra}]' ({error})"
        raise ImportError(msg) from error
