"""The program of a child process: it measures what it is given, until its parent is gone.

It uses the code that measures images in the process of a caller, with two differences: the
bytes of images come from the parent, and so does the room in the budget of pixels.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from io import BytesIO
from time import monotonic
from typing import Any, BinaryIO, NoReturn

from polars_imgmeta.catalogue.registry import Property, PropertySet
from polars_imgmeta.exceptions import ImageError, OutOfMemoryError, reason_of
from polars_imgmeta.execution.budget import Budget
from polars_imgmeta.execution.runtime import PIXELS_PER_THREAD, Runtime, keep_freed_memory
from polars_imgmeta.io.remote import stream_of
from polars_imgmeta.io.sources import EPOCH, Source, SourceFacts
from polars_imgmeta.measuring.batching import Job
from polars_imgmeta.measuring.measurement import measure_all
from polars_imgmeta.measuring.options import Reading
from polars_imgmeta.measuring.prefetching import Prefetched
from polars_imgmeta.sandbox import confinement
from polars_imgmeta.sandbox.messages import (
    ANSWER,
    COMMAND,
    FIRST_DECODER,
    FORK,
    KINDS,
    LENGTHS,
    Message,
    encode_error,
    encode_values,
    frame,
    load_properties,
)

_STDIN, _STDOUT, _STDERR = 0, 1, 2
# Results that come faster than this are sent together.
_FLUSH_SECONDS = 0.01


class _Parent:
    """The other end of the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._stream = connection.makefile("rb")
        self._early: deque[tuple[Message, bytes]] = deque()

    def send(self, *message: object) -> None:
        for part in frame(message):
            self._socket.sendall(part)

    def receive(self) -> tuple[Message, bytes]:
        """Return the next message that is no answer."""
        return self._early.popleft() if self._early else self._read()

    def ask(self, *message: object) -> tuple[Message, bytes]:
        """Send a question and return its answer; the next images may come before it."""
        self.send(*message)
        while True:
            answer = self._read()
            if answer[0][0] in {"data", "failed", "granted"}:
                return answer
            self._early.append(answer)

    def _read(self) -> tuple[Message, bytes]:
        lengths = self._stream.read(LENGTHS.size)
        if len(lengths) < LENGTHS.size:  # the parent has left
            os._exit(0)
        length, payload = LENGTHS.unpack(lengths)
        return json.loads(self._stream.read(length)), self._stream.read(payload)


class _HandedSource(Source):
    """An image of which the parent has sent all or the start."""

    __slots__ = ("_facts", "_number", "_parent", "_position", "_window")

    def __init__(
        self,
        parent: _Parent,
        number: int,
        data: bytes,
        *,
        start: int,
        size: int,
        facts: SourceFacts,
    ) -> None:
        self._parent = parent
        self._number = number
        self._facts = facts
        self._position, self._window = 0, data
        self.start = data[:start]
        self.size = size

    @property
    def _is_whole(self) -> bool:
        return self._position == 0 and len(self._window) == self.size

    def read(self, position: int, length: int) -> bytes:
        """Return a part, asking the parent for what it has not sent."""
        begin = position - self._position
        end = min(position + length, self.size) - self._position
        if not (self._is_whole or (begin >= 0 and end <= len(self._window))):
            answer, data = self._parent.ask("read", self._number, position, length)
            if answer[0] == "failed":
                _, kind, *arguments = answer
                raise KINDS[kind](*arguments) if kind else OSError(*arguments)
            self._position, self._window = position, data
            begin, end = 0, length
        return self._window[max(0, begin) : max(0, end)]

    def stream(self) -> BinaryIO:
        """Return a stream of what the parent sends."""
        if self._is_whole:
            return BytesIO(self._window)
        return stream_of(self)

    @property
    def facts(self) -> SourceFacts:
        """The facts that the parent knows."""
        return self._facts

    def close(self) -> None:
        """Do nothing: the parent closes the image."""


class _Shared(Budget):
    """The budget of the parent, of which each child has the share of a thread."""

    def __init__(self, parent: _Parent) -> None:
        super().__init__(PIXELS_PER_THREAD)
        self._parent = parent

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Ask the parent for what exceeds the share."""
        if amount <= self.amount:
            yield
            return
        self._parent.ask("hold", amount)
        try:
            yield
        finally:
            self._parent.send("give")


class _NotedJob(Job):
    """An image that is measured alone, whose progress is reported to the parent."""

    __slots__ = ("_noted", "_parent")

    def __init__(self, parent: _Parent, number: int, wanted: PropertySet) -> None:
        super().__init__(number, wanted)
        self._parent = parent
        self._noted: tuple[str, str | None] = (FIRST_DECODER, None)

    def compute(self, properties: Iterable[Property], value: Any) -> None:  # noqa: ANN401 - as needed
        """Compute properties; report what computes them, and the geometry before it is needed."""
        for one in properties:
            self._note(None if one.built_in else one.name)
            super().compute((one,), value)
        self._note(None, again=properties is self.wanted.of_header)

    def _note(self, name: str | None, *, again: bool = False) -> None:
        now = (self.decoder_name or FIRST_DECODER, name)
        if again or now != self._noted:
            self._noted = now
            values = encode_values(self.values, self.wanted.properties)
            self._parent.send("note", values, *now)


class _Worker:
    """Measures batch after batch."""

    def __init__(self, parent: _Parent, max_memory: int) -> None:
        self._parent = parent
        self._max_memory = max_memory
        self._runtime = Runtime(1)
        self._runtime.pixels = _Shared(parent)
        self._sets: dict[int, PropertySet] = {}
        self._new = True

    def serve(self) -> NoReturn:
        """Do what the parent says, as long as there is one."""
        while True:
            (kind, *arguments), data = self._parent.receive()
            if kind == "set":
                self._learn(arguments[0], data)
            else:
                max_pixels, noted, entries = arguments
                self._measure(max_pixels, noted, entries, data)

    def _learn(self, number: int, data: bytes) -> None:
        try:
            self._sets[number] = PropertySet(load_properties(data))
        except Exception as error:  # noqa: BLE001 - the import of a module may raise anything
            self._parent.send("unloadable", f"{type(error).__name__}: {reason_of(error)}")

    def _measure(
        self,
        max_pixels: int,
        noted: bool,  # noqa: FBT001 - of a message
        entries: Sequence[Sequence[Any]],
        data: bytes,
    ) -> None:
        images = list(self._images(entries, data))
        results: list[object] = []
        flushed = monotonic()
        make_job = partial(_NotedJob, self._parent) if noted else Job
        reading = Reading(max_pixels=max_pixels)
        for number, measurement in measure_all(images, reading, self._runtime, make_job):
            error = measurement.error
            if isinstance(error, OutOfMemoryError):
                if not (self._new and noted):  # the images before may have left too little
                    self._parent.send("done", results)
                    os._exit(1)
                error = self._with_limit(error)
            values = encode_values(measurement.values, images[number][1][1].properties)
            results.append([number, values, encode_error(error)])
            if monotonic() > flushed + _FLUSH_SECONDS:
                self._parent.send("done", results)
                results, flushed = [], monotonic()
        self._parent.send("done", results)
        self._new = False

    def _with_limit(self, error: ImageError) -> ImageError:
        """Name the limit of the sandbox, in the first line: failures of properties follow it."""
        cause, *others = str(error).split("\n")
        cause += f", of which the sandbox has {self._max_memory} bytes"
        return type(error)("\n".join((cause, *others)))

    def _images(
        self, entries: Sequence[Sequence[Any]], data: bytes
    ) -> Iterator[tuple[int, tuple[Prefetched, PropertySet]]]:
        position = 0
        for number, (wanted, start, sent, size, facts) in enumerate(entries):
            part = data[position : position + sent]
            position += sent
            source = _HandedSource(
                self._parent, number, part, start=start, size=size, facts=_facts(*facts)
            )
            yield number, (Prefetched(source), self._sets[wanted])


def _facts(size: int | None, microseconds: int | None, etag: str | None) -> SourceFacts:
    modified = None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)
    return SourceFacts(size, modified, etag)


def main(descriptor: int, max_memory: int, readable: Sequence[str]) -> NoReturn:
    """Run a template, which forks children.

    Args:
        descriptor: Its end of the socket.
        max_memory: How many bytes a child may allocate.
        readable: What it may read.
    """
    confinement.ignore_interrupts()
    _end_with_parent()
    parent = socket.socket(fileno=descriptor)
    keep_freed_memory()
    gaps = confinement.confine(max_memory, readable)
    os.dup2(_STDOUT, _STDERR)  # which leads nowhere
    gc.freeze()  # or collections in children would copy what they share
    parent.sendall(" ".join(["gaps:", *gaps, "\n"]).encode())
    while len(command := parent.recv(COMMAND.size, socket.MSG_WAITALL)) == COMMAND.size:
        action, process = COMMAND.unpack(command)
        if action == FORK:
            _fork(parent, max_memory)
        else:
            _, status = os.waitpid(process, 0)
            parent.sendall(ANSWER.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _fork(parent: socket.socket, max_memory: int) -> None:
    """Fork a child, and send the other end of its socket to the parent."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = os.fork()
        if process == 0:
            parent.close()
            theirs.close()
            _run_child(ours, max_memory)
        socket.send_fds(parent, [ANSWER.pack(process)], [theirs.fileno()])


def _run_child(parent: socket.socket, max_memory: int) -> NoReturn:
    status = 1
    try:
        _Worker(_Parent(parent), max_memory).serve()
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else status
    finally:
        os._exit(status & 0xFF)


def _end_with_parent() -> None:
    """Have the system end all processes of the group with the parent, also inside C code.

    Standard input is a pipe to which nothing is written. When its other end is closed, the
    system sends SIGIO, and nothing here handles it.
    """
    fcntl.fcntl(_STDIN, fcntl.F_SETOWN, -os.getpgrp())
    flags = fcntl.fcntl(_STDIN, fcntl.F_GETFL)
    fcntl.fcntl(_STDIN, fcntl.F_SETFL, flags | os.O_ASYNC)
