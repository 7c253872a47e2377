"""What parent and child say to each other: frames of JSON, and encoded images.

The parent does not trust the child, which a hostile image may have taken over. So what comes
from it is JSON of limited length, whose values are checked against the dtypes that are
expected. The child trusts the parent, and takes properties from it as pickles.

A frame is two lengths, a JSON array whose first item is its kind, and bytes.

To the child:

| Kind | Then | Bytes |
|---|---|---|
| `set` | number of a set of properties | its properties |
| `batch` | `max_pixels`, whether to note each step, images | the images, or their starts |
| `data` | | the part that was asked for |
| `failed` | kind and message of the error in reading it; or null and an error of the system | |
| `granted` | | |

To the parent:

| Kind | Then |
|---|---|
| `ready` | what is not restricted |
| `done` | of images: number in the batch, values, and kind and message of an error |
| `read` | number in the batch, position and length of the part that is needed |
| `hold` | how many pixels are about to be decoded, if they exceed the share of a thread |
| `give` | |
| `note` | values so far, what works on the image now, and the caller's own property if it does |
"""

from __future__ import annotations

import json
import pickle
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, TypeAlias

import polars as pl

from polars_imgmeta.catalogue.registry import Property
from polars_imgmeta.exceptions import ImageError, PropertyError, reason_of

Message: TypeAlias = list[Any]
"""The kind of a message, and what the tables above say."""

LENGTHS: Final = struct.Struct("<IQ")

# To a template: what to do, and with which child; its answer is a number.
COMMAND: Final = struct.Struct("<cq")
ANSWER: Final = struct.Struct("<q")
FORK, WAIT = b"f", b"w"

FIRST_DECODER: Final = "the reader of headers"
"""What works on an image first, for messages."""

# Far more than a decoder is quoted.
_LONGEST_MESSAGE = 10_000

KINDS: Final[dict[str, type[ImageError]]] = {
    kind.kind: kind for kind in ImageError.__subclasses__()
}
"""The exceptions of rows by their kind."""

_EXACT: Final[dict[type[pl.DataType], type]] = {
    pl.Boolean: bool,
    pl.String: str,
    pl.Float32: float,
    pl.Float64: float,
}
_BITS: Final[dict[type[pl.DataType], int]] = {pl.Int8: 8, pl.Int16: 16, pl.Int32: 32, pl.Int64: 64}


def frame(message: Sequence[object], *payload: bytes) -> list[bytes]:
    """Return the parts of a frame, to be sent one after the other."""
    text = json.dumps(message, separators=(",", ":")).encode("ascii")
    return [LENGTHS.pack(len(text), sum(map(len, payload))) + text, *payload]


def encode_values(values: Mapping[str, Any], properties: Iterable[Property]) -> dict[str, Any]:
    """Return values of properties as JSON can hold them."""
    return {
        one.name: _encode(values[one.name], one.dtype) for one in properties if one.name in values
    }


def _encode(value: Any, dtype: pl.DataType) -> Any:  # noqa: ANN401 - of the dtype
    if value is None or type(dtype) in _EXACT or type(dtype) in _BITS:
        return value
    return pl.Series([value], dtype=dtype, strict=True).to_physical().to_list()[0]


def decode_values(values: Any, properties: Mapping[str, Property]) -> dict[str, Any]:  # noqa: ANN401 - whatever came
    """Return the values that a child sent.

    Raises:
        ValueError: If they are not of the properties and their dtypes.
    """
    if not isinstance(values, dict) or not values.keys() <= properties.keys():
        msg = "values of other properties"
        raise ValueError(msg)
    return {name: _decode(value, properties[name]) for name, value in values.items()}


def _decode(value: Any, one: Property) -> Any:  # noqa: ANN401 - of the dtype
    kind = type(one.dtype)
    if value is None:
        valid = one.nullable
    elif kind in _EXACT:
        valid = type(value) is _EXACT[kind]
    elif kind in _BITS:
        half = 1 << _BITS[kind] - 1
        valid = type(value) is int and -half <= value < half
    else:
        physical = pl.Series(dtype=one.dtype).to_physical().dtype
        try:
            return pl.Series([value], dtype=physical, strict=True).cast(one.dtype)[0]
        except Exception as error:
            raise ValueError(one.name) from error
    if not valid:
        raise ValueError(one.name)
    return _encodable(value) if kind is pl.String and value is not None else value


def encode_error(error: ImageError | None) -> list[str] | None:
    """Return kind and message of an error."""
    return None if error is None else [error.kind, str(error)]


def decode_error(error: Any) -> ImageError | None:  # noqa: ANN401 - whatever came
    """Return the exception of a row.

    Raises:
        ValueError: If it is none.
    """
    if error is None:
        return None
    kind, message = error
    if kind not in KINDS or type(message) is not str or len(message) > _LONGEST_MESSAGE:
        msg = "an unknown kind of error"
        raise ValueError(msg)
    return KINDS[kind](_encodable(message))


def _encodable(text: str) -> str:
    """Return a text, unless no column can hold it."""
    text.encode()
    return text


def pickle_properties(properties: Iterable[Property]) -> bytes:
    """Return properties as a child can load them: by name, by import path or, else, by value.

    Raises:
        PropertyError: If one of them cannot reach another process.
    """
    return pickle.dumps([_portable(one) for one in properties])


def load_properties(data: bytes) -> list[Property]:
    """Return properties that `pickle_properties` made portable."""
    return [
        one if isinstance(one, Property) else Property(*pickle.loads(one))  # noqa: S301 - of the parent
        for one in pickle.loads(data)  # noqa: S301 - of the parent
    ]


def _portable(one: Property) -> Property | bytes:
    """Return a property that pickles by reference, or the pickle of its parts."""
    module = getattr(one.kernel, "__module__", None)
    # The main module of another process is another one.
    if one.built_in or (module != "__main__" and _is_importable(one, module)):
        return one
    try:
        from cloudpickle import dumps  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        dumps, advice = pickle.dumps, ", or pip install 'polars-imgmeta[sandbox]'"
    else:
        advice = ""
    try:
        return bytes(dumps([getattr(one, part.name) for part in fields(one)]))
    except Exception as error:  # noqa: BLE001 - of whatever the function refers to
        msg = (
            f"the property {one.name!r} must reach the sandbox, which is another process, and"
            f" cannot be pickled: {reason_of(error)}\n\nHint: define it at the top level of a"
            f" module{advice}"
        )
        raise PropertyError(msg) from None


def _is_importable(one: Property, module: str | None) -> bool:
    found: object = sys.modules.get(module or "")
    for name in getattr(one.kernel, "__qualname__", "<unknown>").split("."):
        found = getattr(found, name, None)
    return found is one
