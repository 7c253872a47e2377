"""Calls that must fail, and what their errors must say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

Mistake: TypeAlias = tuple[Callable[[], object], type[Exception], str]
"""A call, the class of its error, and the whole message."""


def check(call: Callable[[], object], kind: type[Exception], message: str) -> None:
    """Check that a call raises exactly this: what was expected, what came, and what to do."""
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value) == message
