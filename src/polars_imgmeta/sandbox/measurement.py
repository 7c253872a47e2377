"""Measuring in child processes: what the parent does.

Images go to a child in small batches, the next one while it still measures the last, so that
neither waits for the other. When a child dies or takes too long, the images that it had not
finished are measured again, each alone in a child, and one that is alone in a new child when
that dies is the culprit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, NamedTuple

from polars_imgmeta.catalogue.registry import Property, PropertySet
from polars_imgmeta.exceptions import (
    FAILURES,
    CorruptError,
    ImageError,
    PropertyError,
    PropertyFailedError,
    TooLargeError,
    UnreachableError,
    combined,
    from_failure,
)
from polars_imgmeta.execution.gate import Pass
from polars_imgmeta.execution.runtime import DEFAULT, PIXELS_PER_THREAD, Runtime
from polars_imgmeta.io.sources import EPOCH, Source
from polars_imgmeta.measuring import measurement
from polars_imgmeta.measuring.measurement import Measurement
from polars_imgmeta.measuring.options import Reading, ReadOptions, Sandbox
from polars_imgmeta.measuring.prefetching import ImageLike, Prefetched, Request, open_source
from polars_imgmeta.sandbox.children import CHILDREN, Child, EndedError
from polars_imgmeta.sandbox.messages import (
    FIRST_DECODER,
    Message,
    decode_error,
    decode_values,
    frame,
    pickle_properties,
)

_BATCH_IMAGES, _BATCH_BYTES = 256, 1 << 18
# Images of which only parts were sent stay open.
_BATCH_OPEN = 4
# Larger ones are sent once the child has accepted their header.
_WHOLE_BYTES = 1 << 24
_SMALL_BYTES = 1 << 16
_LONGEST_NAME = 100
_MOST_MESSAGES = 1_000_000
_MICROSECOND: Final = timedelta(microseconds=1)


def measure_all(
    requests: Iterable[tuple[int, Request]], reading: Reading, runtime: Runtime = DEFAULT
) -> Iterator[tuple[int, Measurement]]:
    """Measure images as `measuring.measurement.measure_all` does, in a sandbox if one is wanted.

    Raises:
        PropertyError: If a property of the caller's own cannot reach the sandbox.
        RuntimeError: If a child cannot be started.
    """
    if reading.sandbox is None:
        return measurement.measure_all(requests, reading, runtime)
    return _Session(reading, reading.sandbox, runtime).measure_all(requests)


def sandbox_gaps(sandbox: Sandbox | None = None) -> tuple[str, ...]:
    """Return what this system does not restrict in a sandbox.

    Args:
        sandbox: The sandbox; that of `sandbox=True` unless given.

    Returns:
        None or some of `"memory"`, `"files"`, `"tcp"` and `"udp"`. Crashes and time are always
        taken care of.

    Raises:
        ImportError: If the extra `sandbox` is not installed.
        RuntimeError: If this system can have no sandbox.

    Examples:
        >>> "memory" in im.sandbox_gaps()  # on Linux
        False
    """
    reading = Reading.of(ReadOptions, {"sandbox": sandbox or True})
    child = CHILDREN.take(reading.sandbox or Sandbox())
    CHILDREN.put_back(child)
    return child.gaps


@dataclass(slots=True)
class _Image:
    """An image that a child measures.

    Attributes:
        number: The number of its request.
        wanted: The properties to compute.
        source: The image.
        sent: The bytes to send with the request: all, or the start.
        kept_open: Whether the source is closed with the result, and not before.
        failures: Those of properties of the caller's own, which were left out since.
        result: What came of it.
    """

    number: int
    wanted: PropertySet
    source: Source
    sent: bytes = b""
    kept_open: bool = True
    failures: list[ImageError] = field(default_factory=list)
    result: Measurement | None = None

    @property
    def is_whole(self) -> bool:
        return len(self.sent) == self.source.size

    @property
    def of_child(self) -> bool:
        """Whether there is something for a child to do."""
        return not all(map(_is_fact, self.wanted.properties))

    @property
    def facts(self) -> dict[str, Any]:
        """The properties that need no child."""
        source = self.source
        return {
            one.name: one.kernel(source.facts) for one in self.wanted.properties if _is_fact(one)
        }

    def close(self) -> None:
        if self.kept_open:
            self.kept_open = False
            self.source.close()


def _is_fact(one: Property) -> bool:
    return one.built_in and one.needs == "source"


@dataclass(slots=True)
class _Batch:
    """Images that are sent together."""

    images: list[_Image] = field(default_factory=list)
    bytes: int = 0
    open: int = 0

    def add(self, image: _Image) -> None:
        self.images.append(image)
        self.bytes += len(image.sent)
        self.open += image.kept_open

    @property
    def full(self) -> bool:
        return (
            len(self.images) >= _BATCH_IMAGES
            or self.bytes >= _BATCH_BYTES
            or self.open >= _BATCH_OPEN
        )

    @property
    def is_single(self) -> bool:
        return len(self.images) == 1


class _Note(NamedTuple):
    """How far a child is with an image that is alone.

    Attributes:
        values: What is known of it.
        decoder: What works on it, the subject of a message.
        name: The property of the caller's own that is being computed, if one is.
    """

    values: dict[str, Any]
    decoder: str
    name: str | None


_NOTHING: Final = _Note({}, FIRST_DECODER, None)


class _Session:
    """One thread's use of one child, or of several if some die."""

    def __init__(self, reading: Reading, sandbox: Sandbox, runtime: Runtime) -> None:
        self._reading = reading
        self._sandbox = sandbox
        self._runtime = runtime
        self._child: Child | None = None
        self._must_be_new = False
        self._sets: dict[PropertySet, tuple[bytes, dict[str, Property]]] = {}
        # What the child is decoding: the share of a thread, or what it asked for.
        self._held = 0
        self._note = _NOTHING

    def measure_all(
        self, requests: Iterable[tuple[int, Request]]
    ) -> Iterator[tuple[int, Measurement]]:
        pending: deque[_Batch] = deque()
        batch = _Batch()
        self._hold(PIXELS_PER_THREAD)
        try:
            with Pass(self._runtime.gate) as gate:
                gate.step()
                for number, (image, wanted) in requests:
                    try:
                        opened = self._open(number, image, wanted)
                    except FAILURES as failure:
                        yield number, Measurement({}, from_failure(failure))
                    else:
                        if opened.result:
                            yield number, opened.result
                        else:
                            batch.add(opened)
                    if batch.full:
                        gate.release()
                        self._send_batch(pending, batch)
                        batch = _Batch()
                        yield from self._completed(pending, keep=1)
                    gate.step()
                gate.release()
                if batch.images:
                    self._send_batch(pending, batch)
                    batch = _Batch()
                yield from self._completed(pending, keep=0)
        finally:
            self._hold(0)
            for unfinished in (*pending, batch):
                for opened in unfinished.images:
                    opened.close()
            if self._child:
                (CHILDREN.drop if pending else CHILDREN.put_back)(self._child)

    def _open(self, number: int, image: ImageLike, wanted: PropertySet) -> _Image:
        """Open an image, and read as much as the child will need.

        Raises:
            ImageError: If it cannot be opened, or another one of `FAILURES`.
        """
        opened = _Image(number, wanted, open_source(image, self._reading.storage))
        source = opened.source
        try:
            if not opened.of_child:
                self._finish(opened, {}, None)
                return opened
            opened.sent = source.start
            if source.size <= (_WHOLE_BYTES if wanted.whole else _SMALL_BYTES):
                with suppress(*FAILURES):  # the child will ask, and get the same failure
                    opened.sent = source.whole()
            if opened.is_whole:
                source.require_unchanged()
                if not isinstance(image, Prefetched):  # which count in a budget while they are open
                    opened.close()
        except BaseException:
            opened.close()
            raise
        return opened

    def _finish(self, image: _Image, values: dict[str, Any], error: ImageError | None) -> None:
        """Give an image its result."""
        facts, size = image.facts, image.source.file_size
        try:
            if image.kept_open:
                image.source.require_unchanged()
        except UnreachableError as changed:
            image.result = Measurement({}, from_failure(changed))
        else:
            failed = combined((error, *image.failures))
            image.result = Measurement({**facts, **values}, failed, size)
        finally:
            image.close()

    # --- Batches

    def _send_batch(self, pending: deque[_Batch], batch: _Batch) -> None:
        """Send a batch, whose results come after those of the one before."""
        pending.append(batch)
        try:
            self._send(batch.images, noted=batch.is_single)
        except EndedError as end:
            self._recover(pending, end)

    def _completed(self, pending: deque[_Batch], *, keep: int) -> Iterator[tuple[int, Measurement]]:
        """Receive and yield the results of all batches but the last `keep`."""
        while len(pending) > keep:
            try:
                self._receive(pending[0].images)
            except EndedError as end:
                self._recover(pending, end)
            for image in pending.popleft().images:
                assert image.result is not None  # noqa: S101 - it was received
                yield image.number, image.result

    def _recover(self, pending: deque[_Batch], end: EndedError) -> None:
        """Measure the batch whose child has ended, image by image, and send the next one again."""
        first, *later = pending
        self._drop()
        if end.overdue and first.is_single:
            self._blame(first.images[0], end)
        self._measure_alone(first.images)
        for batch in later:
            try:
                self._send(batch.images, noted=batch.is_single)
            except EndedError:
                self._drop()
                self._measure_alone(batch.images)

    def _measure_alone(self, images: Iterable[_Image]) -> None:
        """Measure images one by one, and find those that end their child."""
        for image in images:
            while image.result is None:
                if not image.of_child:
                    self._finish(image, {}, None)
                    break
                new = self._child is None
                try:
                    self._send([image], noted=True)
                    self._receive([image])
                except EndedError as end:
                    self._drop()
                    # What was measured before may have harmed a child that is not new.
                    if new or end.overdue:
                        self._blame(image, end)

    def _blame(self, image: _Image, end: EndedError) -> None:
        """Give an image the error that it ended its child."""
        values, decoder, name = self._note
        if name is None:
            kind = TooLargeError if end.limited else CorruptError
            self._finish(image, values, kind(f"{decoder} {end.cause}"))
            return
        # A property of the caller's own spares the others: they are measured without it.
        image.failures.append(PropertyFailedError(f"{name} {end.cause}"))
        image.wanted = PropertySet(one for one in image.wanted.properties if one.name != name)

    # --- The child

    def _send(self, images: Sequence[_Image], *, noted: bool) -> None:
        """Send images, each with the number of its place.

        Raises:
            EndedError: If the child ends.
        """
        child = self._child = self._child or CHILDREN.take(self._sandbox, new=self._must_be_new)
        child.used = True
        self._note = _NOTHING
        entries = [
            [
                self._learn(child, image.wanted),
                len(image.source.start),
                len(image.sent),
                image.source.size,
                _facts_of(image.source),
            ]
            for image in images
        ]
        header = ["batch", self._reading.max_pixels, noted, entries]
        child.send(frame(header, *(image.sent for image in images)))

    def _learn(self, child: Child, wanted: PropertySet) -> int:
        """Return the number under which a child knows a set of properties."""
        if wanted not in self._sets:
            measured = [one for one in wanted.properties if not _is_fact(one)]
            by_name = {one.name: one for one in measured}
            self._sets[wanted] = pickle_properties(measured), by_name
        pickled, _ = self._sets[wanted]
        if pickled not in child.known:
            child.known[pickled] = len(child.known)
            child.send(frame(["set", child.known[pickled]], pickled))
        return child.known[pickled]

    def _receive(self, images: Sequence[_Image]) -> None:
        """Receive the results of images, and answer the questions about them.

        Raises:
            EndedError: If the child ends, or takes too long.
            PropertyError: If it cannot import a property.
        """
        self._note = _NOTHING
        messages = 0
        while not all(image.result for image in images):
            assert self._child is not None  # noqa: S101 - the images were sent to it
            message = self._child.receive(self._sandbox.timeout)
            messages += 1
            if messages > _MOST_MESSAGES:  # its time passes only while it is waited for
                raise self._child.distrusted()
            if message[0] == "unloadable":
                raise _unloadable(message)
            try:
                self._react(self._child, message, images)
            except (LookupError, TypeError, ValueError):
                raise self._child.distrusted() from None

    def _react(self, child: Child, message: Message, images: Sequence[_Image]) -> None:
        match message:
            case ["done", list() as results]:
                for number, values, error in results:
                    self._accept(images[number], values, error)
                    child.restart_clock()
            case ["note", values, str() as decoder, name] if len(decoder) <= _LONGEST_NAME:
                image = images[0]
                if name is not None and self._sets[image.wanted][1][name].built_in:
                    raise LookupError(name)
                self._note = _Note(self._decoded(image, values), decoder, name)
            case ["read", int() as number, int() as position, int() as length]:
                # The descriptor of a closed one may be that of another file by now.
                if not images[number].kept_open:
                    raise ValueError(number)
                child.send(_part(images[number].source, position, length))
            case ["hold", int() as pixels] if pixels > 0:
                self._hold(pixels)
                child.send(frame(["granted"]))
            case ["give"]:
                self._hold(PIXELS_PER_THREAD)
            case _:
                raise ValueError(message[0])

    def _accept(self, image: _Image, values: object, error: object) -> None:
        if image.result:
            msg = "a second result"
            raise ValueError(msg)
        self._finish(image, self._decoded(image, values), decode_error(error))

    def _decoded(self, image: _Image, values: object) -> dict[str, Any]:
        return decode_values(values, self._sets[image.wanted][1])

    def _drop(self) -> None:
        """Leave a child that has ended."""
        if self._child:
            CHILDREN.drop(self._child)
        self._child, self._must_be_new = None, True
        self._hold(PIXELS_PER_THREAD)

    def _hold(self, pixels: int) -> None:
        """Let what the child decodes count as so many pixels."""
        if pixels != self._held:
            self._runtime.pixels.give(self._held)
            self._held = 0
            if pixels:
                self._runtime.pixels.take(pixels)
            self._held = pixels


def _unloadable(message: Message) -> PropertyError:
    reason = " ".join(map(str, message[1:]))
    msg = (
        f"the properties must be importable in the sandbox, got {reason}\n\n"
        "Hint: define them in a module that `sys.path` finds, and that reads no file outside of"
        " it and of `Sandbox.readable`"
    )
    return PropertyError(msg)


def _facts_of(source: Source) -> list[Any]:
    size, modified, etag = source.facts
    return [size, None if modified is None else (modified - EPOCH) // _MICROSECOND, etag]


def _part(source: Source, position: int, length: int) -> list[bytes]:
    """Return the part of an image that the child asks for, and what comes next in a file."""
    if position < 0 or length < 0:
        raise ValueError(length)
    try:
        data = source.read(position, length if source.remote else max(length, _SMALL_BYTES))
    except OSError as failure:
        return frame(["failed", None, failure.errno, failure.strerror])
    except FAILURES as failure:
        error = from_failure(failure)
        return frame(["failed", error.kind, str(error)])
    return frame(["data"], data)
