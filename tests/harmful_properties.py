"""Properties that harm the process that computes them, as a faulty decoder does.

In a module of their own, so that a sandbox can import them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image, ImageFile

import polars_imgmeta as im
from polars_imgmeta.sandbox.messages import frame

_SECONDS = 600.0


def _on_dark(harm: Callable[[], object]) -> Callable[[Any], int]:
    """Return a function that does harm on black pictures, and returns 1 for others."""

    def function(intensity: Any) -> int:  # noqa: ANN401 - an array
        if not intensity.any():
            harm()
        return 1

    return function


def _property(name: str, harm: Callable[[], object]) -> im.Property:
    make = im.custom_property(needs="intensity", dtype=pl.Int64, name=name, description=name)
    return make(_on_dark(harm))


def _read_null() -> None:
    ctypes.string_at(0)


def _hang_in_c() -> None:
    ctypes.PyDLL(None).sleep(int(_SECONDS))  # and keeps the interpreter's lock


def _allocate() -> None:
    blocks = []
    while True:
        blocks.append(bytes(1 << 26))


def _allocate_in_c() -> None:
    allocate = ctypes.CDLL(None).malloc
    allocate.restype = ctypes.c_void_p
    while allocate(1 << 26):
        pass
    os.abort()  # as C++ does where memory runs out


def _flood() -> None:
    for _ in range(1000):
        print("x" * 10_000)  # noqa: T201 - that is the harm
        os.write(1, b"y" * 10_000)
        os.write(2, b"z" * 10_000)


def _lie() -> None:
    """Write into every descriptor, as a decoder could that was taken over."""
    for number in range(3, 30):
        try:
            os.write(number, b"\x00" * 64)
        except OSError:
            continue
    time.sleep(_SECONDS)


def _send(message: list[object]) -> None:
    """Send a message as the sandbox itself does, to any descriptor that may lead to the parent."""
    for number in range(3, 30):
        try:
            os.write(number, b"".join(frame(message)))
        except OSError:
            continue


def _ask() -> None:
    """Ask for a part of an image that the parent has closed."""
    _send(["read", 0, 0, 100])
    time.sleep(_SECONDS)


def _stall() -> None:
    """Pretend without end that something is done."""
    while True:
        _send(["done", []])


segfaults = _property("segfaults", _read_null)
aborts = _property("aborts", os.abort)
exits = _property("exits", lambda: os._exit(3))
leaves = _property("leaves", lambda: sys.exit(4))
hangs = _property("hangs", lambda: time.sleep(_SECONDS))
hangs_in_c = _property("hangs_in_c", _hang_in_c)
grows = _property("grows", _allocate)
grows_in_c = _property("grows_in_c", _allocate_in_c)
floods = _property("floods", _flood)
lies = _property("lies", _lie)
asks = _property("asks", _ask)
stalls = _property("stalls", _stall)
stops = _property("stops", lambda: os.kill(os.getpid(), signal.SIGSTOP))
killed = _property("killed", lambda: os.kill(os.getpid(), signal.SIGKILL))


@im.custom_property(needs="picture", dtype=pl.Float64)
def mean(picture: Any) -> float:  # noqa: ANN401 - an array
    """The mean of all samples."""
    return float(picture.mean())


@im.custom_property(needs="header", dtype=pl.Int64)
def raises(header: Any) -> int:  # noqa: ANN401 - a header
    """Fails."""
    raise ZeroDivisionError(header.format)


@im.custom_property(needs="header", dtype=pl.Int64)
def process(_: Any) -> int:  # noqa: ANN401 - a header
    """The process in which it is computed."""
    return os.getpid()


@im.custom_property(needs="bytes", dtype=pl.List(pl.String))
def reach(data: bytes) -> list[str]:
    """What can be reached from the process, of the files that the image names."""
    reached = []
    for path in data.partition(b"names:")[2].decode().split(","):
        try:
            Path(path).read_bytes()
            reached.append("read")
        except OSError:
            pass
        try:
            Path(path).with_name("new").write_bytes(b"")
            reached.append("written")
        except OSError:
            pass
    with socket.socket() as connection:
        try:
            connection.connect(("127.0.0.1", 9))
            reached.append("connected")
        except ConnectionRefusedError:  # there is a network, and nothing listens
            reached.append("connected")
        except OSError:
            pass
    reached += [name for name in os.environ if "SECRET" in name]
    return reached


HARM_MAGIC = b"HARM:"


class _HarmfulImage(ImageFile.ImageFile):
    """A format whose decoder does the harm that the file names."""

    format = "HARM"

    def _open(self) -> None:
        assert self.fp is not None
        part, harm = self.fp.read(64).removeprefix(HARM_MAGIC).decode().split(",")[:2]
        self._harm = _HARMS[harm]
        self._mode, self._size = "RGB", (30, 20)
        if part == "header":
            self._harm()

    def load(self) -> Any:  # noqa: ANN401 - as in Pillow
        """Do harm."""
        self._harm()
        raise OSError


_HARMS: dict[str, Callable[[], object]] = {
    "segfaults": _read_null,
    "exits": lambda: os._exit(3),
    "hangs": _hang_in_c,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "grows": _allocate,
    "grows_in_c": _allocate_in_c,
}


def harmful_image(part: str, harm: str) -> bytes:
    """Return an image whose decoder does harm, with its header or with its pixels."""
    return HARM_MAGIC + f"{part},{harm},".encode()


@im.custom_property(needs="source", dtype=pl.Int64)
def with_harmful_format(_: Any) -> int:  # noqa: ANN401 - facts
    """Makes the process that imports this module know the harmful format."""
    Image.register_open("HARM", _HarmfulImage, lambda prefix: prefix.startswith(HARM_MAGIC))
    return 0
