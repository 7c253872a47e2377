"""The options of the verbs that read images: declared, documented and checked once.

A verb takes them as `**options: Unpack[ExtractOptions]`, is decorated with
`takes(ExtractOptions)`, and hands `Reading.of(ExtractOptions, options)` on.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, Final, Self, TypedDict, TypeVar, get_args

from polars_imgmeta.catalogue.registry import CATALOGUE, Catalogue
from polars_imgmeta.decoding.pictures import DEFAULT_MAX_PIXELS
from polars_imgmeta.exceptions import hint, require_positive
from polars_imgmeta.execution.progress import Progress, Wanted
from polars_imgmeta.io.access import Access, paths, require_seconds
from polars_imgmeta.io.remote import Storage, make_storage
from polars_imgmeta.measuring.computing import require_outside
from polars_imgmeta.typing import OnError

Verb = TypeVar("Verb", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The limits of the processes in which images are decoded and measured.

    Decoders are C code, and a crash in one of them ends its process. So under
    `sandbox=True`, which stands for the limits below, images are decoded and properties of
    one's own computed in child processes, as many as there are threads. They get encoded
    bytes and return values. The row of an image that ends its process, takes too long or
    needs too much memory gets an error that says so, and no other row is affected.

    Children run without credentials in their environment, write no file, and read those from
    which Python imports and no others; they have no network. On systems that cannot enforce
    this, [`sandbox_gaps`][polars_imgmeta.sandbox_gaps] returns what is missing.

    Attributes:
        timeout: The time limit for decoding and measuring an image, in seconds.
        max_memory: How many bytes a process may allocate for an image.
        readable: Files and folders that properties of one's own read, such as the weights of
            a model.

    Raises:
        ValueError: If an attribute has an invalid value.

    Examples:
        >>> df = pl.DataFrame({"path": ["photos/dusk.png"]})
        >>> df = im.extract(df, "path", "width", sandbox=im.Sandbox(timeout=10))
        >>> df["path_imgmeta"].struct.field("width").to_list()
        [320]
    """

    timeout: float = 60.0
    max_memory: int = 1 << 32
    readable: Collection[str | os.PathLike[str]] = ()

    def __post_init__(self) -> None:
        """Validate and normalize the attributes."""
        require_seconds("timeout", self.timeout)
        require_positive("max_memory", self.max_memory)
        object.__setattr__(self, "readable", tuple(sorted(paths("readable", self.readable) or ())))


class StorageOptions(TypedDict, total=False):
    """How images are reached.

    Attributes:
        storage_options: How to reach cloud storage, with the keys that `polars.scan_parquet`
            takes. Credentials that are missing come from the environment, from profiles, or
            from the machine.
        access: What locators may name, and what reading an image may cost: see
            [`Access`][polars_imgmeta.Access].
    """

    storage_options: Mapping[str, str] | None
    access: Access | None


class StatusOptions(StorageOptions, total=False):
    """How rows are judged.

    Attributes:
        catalogue: The properties that names mean, where a caller's own ones are among them: a
            [`Catalogue`][polars_imgmeta.Catalogue].
    """

    catalogue: Catalogue | None


class ReadOptions(StorageOptions, total=False):
    """How pictures are decoded.

    Attributes:
        max_pixels: Pictures of more pixels are not decoded: rows become `too_large`, with
            their geometry, and no picture is shown.
        sandbox: Whether to decode images in processes of their own, so that none of them can
            harm this one: True, or a [`Sandbox`][polars_imgmeta.Sandbox] with other limits.
    """

    max_pixels: int
    sandbox: bool | Sandbox


class EngineOptions(ReadOptions, StatusOptions, total=False):
    """How properties are extracted, wherever that is done.

    Attributes:
        on_error: What an image that cannot be read does: `"null"` leaves nulls and an
            `error` in its row, `"raise"` ends the extraction.
    """

    on_error: OnError


class ExtractOptions(EngineOptions, total=False):
    """How properties are extracted.

    Attributes:
        progress: Whether to show a progress bar, on the standard error stream or in the
            notebook. By default it is shown on a terminal and in a notebook, for work that
            takes longer than a second; elsewhere, the logger `polars_imgmeta` gets a line each
            half minute. Or a function, which is called with a
            [`Progress`][polars_imgmeta.Progress] about once a second and at the end, instead
            of a bar. Expressions have none of these.
    """

    progress: bool | Callable[[Progress], object] | None


_DEFAULTS: Final[dict[str, object]] = {
    "on_error": "null",
    "max_pixels": DEFAULT_MAX_PIXELS,
    "sandbox": False,
    "storage_options": None,
    "access": None,
    "catalogue": None,
    "progress": None,
}


@dataclass(frozen=True, slots=True)
class Reading:
    """The checked options of one call.

    Attributes:
        on_error: What a row does whose image cannot be read.
        max_pixels: Pictures of more pixels are not decoded.
        sandbox: The limits of the processes that decode; None for: in this one.
        storage: How images are reached.
        progress: Whether to show a bar, None for where it can be seen; or what is called instead.
        catalogue: The properties that names mean.
    """

    on_error: OnError = "null"
    max_pixels: int = DEFAULT_MAX_PIXELS
    sandbox: Sandbox | None = None
    storage: Storage = field(default_factory=Storage)
    progress: Wanted = None
    catalogue: Catalogue = CATALOGUE

    @property
    def portable(self) -> Self:
        """The same without what may not reach another process: the catalogue, and a function."""
        return replace(self, catalogue=CATALOGUE, progress=None)

    @classmethod
    def of(cls, kind: type, options: Mapping[str, Any]) -> Self:
        """Check the options of a call.

        Args:
            kind: The options that the verb takes.
            options: What the caller gave.

        Raises:
            TypeError: If an option is unknown or of the wrong type.
            ValueError: If one is out of range.
            ImportError: If the extra that a sandbox needs is not installed.
            RuntimeError: If the function of a property calls a verb that reads, or if this
                system can have no sandbox.
        """
        require_outside()
        known = kind.__annotations__
        for name in options:
            if name not in known:
                msg = f"unexpected keyword argument {name!r}{hint(name, known)}"
                raise TypeError(msg)
        given: dict[str, Any] = {**_DEFAULTS, **options}
        choices = get_args(OnError)
        if given["on_error"] not in choices:
            listing = ", ".join(map(repr, choices))
            on_error = given["on_error"]
            msg = f"`on_error` must be one of {listing}, got {on_error!r}{hint(on_error, choices)}"
            raise ValueError(msg)
        require_positive("max_pixels", given["max_pixels"])
        if not (given["progress"] in (True, False, None) or callable(given["progress"])):
            msg = f"`progress` must be True, False, None or a function, got {given['progress']!r}"
            raise ValueError(msg)
        sandbox = _sandbox(given["sandbox"])
        storage = make_storage(given["storage_options"], given["access"])
        catalogue = CATALOGUE if given["catalogue"] is None else given["catalogue"]
        if not isinstance(catalogue, Catalogue):
            msg = f"`catalogue` must be a `Catalogue`, got {type(catalogue).__name__}"
            raise TypeError(msg)
        return cls(
            on_error=given["on_error"],
            max_pixels=given["max_pixels"],
            sandbox=sandbox,
            storage=storage,
            progress=given["progress"],
            catalogue=catalogue,
        )


def _sandbox(given: object) -> Sandbox | None:
    """Return the limits that were given, if this system can keep them.

    Raises:
        TypeError: If they are none.
        ImportError: If the extra is not installed.
        RuntimeError: If the system has no processes of the kind.
    """
    if given is False:
        return None
    if given is not True and not isinstance(given, Sandbox):
        msg = f"`sandbox` must be True, False or a `Sandbox`, got {given!r}"
        raise TypeError(msg)
    if os.name != "posix" or not sys.executable or getattr(sys, "frozen", False):
        msg = (
            "`sandbox` needs Linux or macOS, and a Python that is a program of its own"
            "\n\nHint: leave it out"
        )
        raise RuntimeError(msg)
    if sys.platform == "linux" and not find_spec("landlockpy"):
        msg = "`sandbox` needs an extra: pip install 'polars-imgmeta[sandbox]'"
        raise ImportError(msg)
    return Sandbox() if given is True else given


def takes(kind: type) -> Callable[[Verb], Verb]:
    """Complete the signature and the documentation of a verb that takes options.

    In both, `options` becomes one entry for each of them, so that `help` and completion
    show what type checkers see.

    Args:
        kind: The options that it takes.
    """

    def complete(verb: Verb) -> Verb:
        signature = inspect.signature(verb)
        keywords = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_DEFAULTS[name],
                annotation=getattr(annotation, "__forward_arg__", annotation),
            )
            for name, annotation in _ordered(kind)
        ]
        *parameters, options = signature.parameters.values()
        verb.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*parameters, *keywords]
        )
        if verb.__doc__ is not None:  # there is none under `python -OO`
            documented = "\n".join(_DOCUMENTATION[name] for name, _ in _ordered(kind))
            entry = rf"    {options.name}: .*"
            verb.__doc__ = re.sub(entry, lambda _: documented, inspect.cleandoc(verb.__doc__))
        return verb

    return complete


def _ordered(kind: type) -> list[tuple[str, Any]]:
    """Return names and annotations in the order in which they are documented."""
    return [
        (name, kind.__annotations__[name]) for name in _DEFAULTS if name in kind.__annotations__
    ]


def _documentation() -> dict[str, str]:
    """Return the entry of each option, as it stands in the documentation of a verb."""
    entries: dict[str, str] = {}
    for kind in (StorageOptions, StatusOptions, ReadOptions, EngineOptions, ExtractOptions):
        _, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
        for entry in re.split(r"\n(?=    \w)", attributes):
            entries[entry.partition(":")[0].strip()] = entry.rstrip()
    return entries


_DOCUMENTATION: Final = _documentation()
