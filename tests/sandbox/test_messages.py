"""Messages of a child that a hostile image has taken over are refused, never believed."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polars_imgmeta as im
from polars_imgmeta.sandbox import messages

PROPERTIES = {one.name: one for one in im.CATALOGUE.resolve(["standard", "etag"])}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from([*PROPERTIES, "other"]), JSON) | JSON)
def test_what_is_decoded_is_of_the_dtypes(values: Any) -> None:  # noqa: ANN401 - anything
    """Anything else raises one exception, which ends the child."""
    try:
        found = messages.decode_values(values, PROPERTIES)
    except ValueError:
        return
    for name, value in found.items():
        one = PROPERTIES[name]
        assert pl.Series([value], dtype=one.dtype, strict=True).null_count() == (value is None)
        assert value is not None or one.nullable


@pytest.mark.parametrize(
    "error",
    [
        5,
        [],
        ["corrupt", "\ud800"],
        ["corrupt"],
        ["kind", "message"],
        ["corrupt", 5],
        ["corrupt", "a", "b"],
    ],
)
def test_errors_are_of_the_known_kinds(error: Any) -> None:  # noqa: ANN401 - anything
    """Others are refused."""
    with pytest.raises((TypeError, ValueError)):
        messages.decode_error(error)


@pytest.mark.parametrize("kind", messages.KINDS)
def test_an_error_survives_the_way(kind: str) -> None:
    """With its class and its message."""
    error = messages.KINDS[kind]("ß\n")
    found = messages.decode_error(json.loads(json.dumps(messages.encode_error(error))))
    assert (type(found), str(found)) == (type(error), "ß\n")
