"""Child processes that are forked when they are needed, reused, and ended with their parent.

Starting Python and importing decoders takes most of a second, and a child that dies has to be
replaced. So children are forked by a template, which starts once. The process of the caller is
not forked: its threads may hold locks.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from polars_imgmeta.exceptions import reason_of
from polars_imgmeta.execution.forking import after_fork_in_child
from polars_imgmeta.execution.runtime import DEFAULT, Runtime
from polars_imgmeta.measuring.options import Sandbox
from polars_imgmeta.sandbox.messages import (
    ANSWER,
    COMMAND,
    FORK,
    LENGTHS,
    WAIT,
    Message,
)

_START_SECONDS = 120.0
# An answer takes milliseconds, unless a process cannot be killed, as it waits for a dead disk.
_ANSWER_SECONDS = 60.0
_RECEIVED_BYTES = 1 << 16
_MOST_UNUSED_TEMPLATES = 2
# More than any answer needs; a child that was taken over could send without end.
_MOST_TEXT = 1 << 28

# Credentials of the parent are none of a child's business.
_ENVIRONMENT = frozenset(
    {"HOME", "LANG", "LANGUAGE", "PATH", "TMPDIR", "TZ", "TZDIR", "VIRTUAL_ENV"}
)
_ENVIRONMENT_PREFIXES = ("DYLD_", "LC_", "LD_", "PYTHON")
# A child has one thread: pictures are spread over processes.
_ONE_THREAD = dict.fromkeys(
    ("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)
_PROGRAM = """\
import sys
sys.path[:] = {path!r}
from polars_imgmeta.sandbox.worker import main
main({socket}, {max_memory}, {readable!r})
"""


class TemplateError(Exception):
    """The process that forks children has ended."""


class EndedError(Exception):
    """A child has ended, or was ended because it took too long or made no sense.

    Args:
        cause: What happened, such as "ended its process with SIGSEGV".
        limited: Whether a limit of time or memory is the cause.
        overdue: Whether it took too long.
    """

    def __init__(self, cause: str, *, limited: bool = False, overdue: bool = False) -> None:
        super().__init__(cause)
        self.cause = cause
        self.limited = limited
        self.overdue = overdue


class Template:
    """A process that has imported everything, and forks children that begin at once.

    It has one thread and has never seen an image, so that forking is safe and children are
    as good as new. It gives up files and the network before it forks the first one.

    Args:
        sandbox: The limits.

    Attributes:
        gaps: What is not restricted.

    Raises:
        RuntimeError: If it cannot be started.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        # Nothing is ever written to it: that its writer is gone ends all of them.
        lifeline, writer = os.pipe()
        self._lifeline = os.fdopen(writer, "wb", 0)
        program = _PROGRAM.format(
            path=sys.path,
            socket=theirs.fileno(),
            max_memory=sandbox.max_memory,
            readable=sandbox.readable,
        )
        with _error_file() as errors:
            try:
                self._popen = subprocess.Popen(  # noqa: S603 - this interpreter
                    [sys.executable, "-c", program],
                    stdin=lifeline,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=_environment(),
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # a terminal sends Ctrl-C to the group of the parent
                )
            except OSError as error:
                self._close()
                msg = f"the sandbox cannot start a process: {reason_of(error)}"
                raise RuntimeError(msg) from None
            finally:
                os.close(lifeline)
                theirs.close()
            self._socket.settimeout(_START_SECONDS)
            try:
                with self._socket.makefile("rb") as answer:
                    ready, *gaps = answer.readline().decode().split() or [""]
            except OSError:
                ready = ""
            except BaseException:
                self.end()
                raise
            if not ready:
                self.end()
                raise RuntimeError(_why_not_started(errors))
        self.gaps = tuple(gaps)
        self._socket.settimeout(_ANSWER_SECONDS)

    @property
    def process(self) -> int:
        """Its number."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it runs; if so, its number and those of its children are of no other process."""
        return self._popen.poll() is None

    def fork(self) -> tuple[int, socket.socket]:
        """Return the number and the socket of a new child.

        Raises:
            TemplateError: If the template does not live any more.
        """
        with self._lock:
            try:
                self._socket.sendall(COMMAND.pack(FORK, 0))
                answer, descriptors, *_ = socket.recv_fds(self._socket, ANSWER.size, 1)
            except OSError:
                raise TemplateError from None
        if len(answer) < ANSWER.size or not descriptors:
            raise TemplateError
        connection = socket.socket(fileno=descriptors[0])
        connection.set_inheritable(False)
        return ANSWER.unpack(answer)[0], connection

    def wait(self, process: int) -> int:
        """Wait for a child that ends, and return its status: negative for a signal.

        Raises:
            TemplateError: If the template does not live any more.
        """
        with self._lock:
            try:
                self._socket.sendall(COMMAND.pack(WAIT, process))
                answer = self._socket.recv(ANSWER.size)
            except OSError:
                raise TemplateError from None
        if len(answer) < ANSWER.size:
            raise TemplateError
        return int(ANSWER.unpack(answer)[0])

    def end(self) -> None:
        """End it and all its children; those of one that has ended lose their lifeline."""
        if self.alive:
            os.killpg(self.process, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(_ANSWER_SECONDS)
        self._close()

    def abandon(self) -> None:
        """Forget the template of the process that this one was forked from."""
        self._popen.returncode = 0  # or it would be waited for
        self._close()

    def _close(self) -> None:
        self._socket.close()
        self._lifeline.close()


class Child:
    """One child process, used by one thread at a time.

    Args:
        template: What forks it.

    Attributes:
        sandbox: Its limits.
        process: Its number.
        used: Whether it has been given any image.
        known: The sets of properties that it was sent, and their numbers.

    Raises:
        TemplateError: If the template does not live any more.
    """

    def __init__(self, template: Template) -> None:
        self._template = template
        self.sandbox = template.sandbox
        self.used = False
        self.known: dict[bytes, int] = {}
        self._received = bytearray()
        self._spent = 0.0
        self._status: int | None = None
        self.process, self._socket = template.fork()
        self._socket.setblocking(False)  # noqa: FBT003 - as the name says

    @property
    def gaps(self) -> tuple[str, ...]:
        """What is not restricted."""
        return self._template.gaps

    def restart_clock(self) -> None:
        """Begin a new measurement of the time that the child takes."""
        self._spent = 0.0

    def send(self, parts: Iterable[bytes]) -> None:
        """Send a frame, within the time that is left.

        Raises:
            EndedError: If the child ends meanwhile.
        """
        for part in parts:
            left = memoryview(part)
            while left:
                try:
                    left = left[self._socket.send(left) :]
                except BlockingIOError:
                    # It may be sending something itself.
                    self._wait(self.sandbox.timeout, select.POLLIN | select.POLLOUT)
                except OSError:
                    raise self._ended() from None

    def receive(self, timeout: float) -> Message:
        """Return the next message.

        Args:
            timeout: For how many seconds to wait in all since the clock was restarted.

        Raises:
            EndedError: If the child ends, or takes too long.
        """
        while (message := self._next()) is None:
            self._wait(timeout, select.POLLIN)
        return message

    def _wait(self, timeout: float, events: int) -> None:
        """Wait until the socket is ready, and take what has come."""
        before = time.monotonic()
        poll = select.poll()
        poll.register(self._socket, events)
        ready = poll.poll(max(0.0, timeout - self._spent) * 1000)
        self._spent += time.monotonic() - before
        if not ready:
            self.end()
            cause = f"took longer than `timeout` of the sandbox, which is {timeout:g} seconds"
            raise EndedError(cause, limited=True, overdue=True)
        if ready[0][1] & ~select.POLLOUT:
            try:
                data = self._socket.recv(_RECEIVED_BYTES)
            except OSError:
                data = b""
            if not data:
                raise self._ended()
            self._received += data

    def _next(self) -> Message | None:
        """Return a message if it has come as a whole."""
        received = self._received
        if len(received) < LENGTHS.size:
            return None
        length, payload = LENGTHS.unpack_from(received)
        if payload or length > _MOST_TEXT:
            raise self.distrusted()
        end = LENGTHS.size + length
        if len(received) < end:
            return None
        try:
            message = json.loads(received[LENGTHS.size : end])
        except (ValueError, RecursionError):
            raise self.distrusted() from None
        if not (isinstance(message, list) and message):
            raise self.distrusted()
        del received[:end]
        return message

    def distrusted(self) -> EndedError:
        """End a child that sends what it never would, and return the exception to raise."""
        self.end()
        return EndedError("made its process send what it never should")

    def _ended(self) -> EndedError:
        """Return how the child ended by itself."""
        status = self.end()
        if status == -signal.SIGKILL:
            cause = "ended its process with SIGKILL, which the system sends when memory runs out"
            return EndedError(cause, limited=True)
        if status < 0:
            with suppress(ValueError):
                return EndedError(f"ended its process with {signal.Signals(-status).name}")
            return EndedError(f"ended its process with signal {-status}")
        return EndedError(f"ended its process with exit status {status}")

    def end(self) -> int:
        """End the child, whatever it does, and return its status.

        One that has ended by itself keeps its own status.
        """
        if self._status is None:
            self._socket.close()
            self._status = -signal.SIGKILL
            if self._template.alive:
                os.kill(self.process, signal.SIGKILL)
                with suppress(TemplateError):
                    self._status = self._template.wait(self.process)
        return self._status

    def abandon(self) -> None:
        """Forget a child that is ended with its template, or is that of another process."""
        self._status = -signal.SIGKILL
        self._socket.close()


def _error_file() -> IO[bytes]:
    """Open a file in which a process may write why it does not start."""
    try:
        return tempfile.TemporaryFile()
    except OSError:  # no folder can be written
        return Path(os.devnull).open("w+b")


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _ENVIRONMENT or name.startswith(_ENVIRONMENT_PREFIXES)
    }
    return {**kept, **_ONE_THREAD}


def _why_not_started(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    reason = lines[-1] if lines else "no answer"
    return (
        f"the sandbox cannot start a process of {sys.executable}: {reason}\n\n"
        "Hint: it starts Python anew, with the same `sys.path`"
    )


class Children:
    """The children of this process: at most one for each thread that measures.

    Args:
        runtime: Whose number of threads is the limit.

    Attributes:
        living: The children, idle ones and those at work.
        templates: What forks them, by their limits.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.templates: dict[Sandbox, Template] = {}
        self.living: set[Child] = set()
        self._idle: deque[Child] = deque()
        self._reset()

    def _reset(self) -> None:
        """Begin anew in a forked child."""
        for child in self.living:
            child.abandon()
        for template in self.templates.values():
            template.abandon()
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._closed = False
        self.templates.clear()
        self.living.clear()
        self._idle.clear()

    @property
    def idle(self) -> set[Child]:
        """The children that wait for images."""
        with self._lock:
            return set(self._idle)

    def take(self, sandbox: Sandbox, *, new: bool = False) -> Child:
        """Return an idle child, or a new one; the caller puts it back or drops it.

        Raises:
            RuntimeError: If none can be started.
        """
        surplus = []
        with self._lock:
            idle = [child for child in self._idle if child.sandbox == sandbox]
            if idle and not new:
                self._idle.remove(idle[-1])
                return idle[-1]
            while self._idle and len(self.living) >= self._runtime.threads:
                surplus.append(self._idle.popleft())
        for child in surplus:
            self.drop(child)
        child = self._fork(sandbox)
        with self._lock:
            self.living.add(child)
        return child

    def _fork(self, sandbox: Sandbox) -> Child:
        with self._starting:
            if self._closed:
                msg = "the process is about to end"
                raise RuntimeError(msg)
            if template := self.templates.get(sandbox):
                try:
                    return Child(template)
                except TemplateError:
                    self.templates.pop(sandbox).end()
            self._end_unused_templates()
            template = self.templates[sandbox] = Template(sandbox)
            try:
                return Child(template)
            except TemplateError:
                self.templates.pop(sandbox).end()
                msg = "the sandbox cannot fork: the limit on processes or memory is reached"
                raise RuntimeError(msg) from None

    def _end_unused_templates(self) -> None:
        """Leave few templates: each takes memory, and a caller may try many limits."""
        with self._lock:
            used = {child.sandbox for child in self.living}
        unused = [sandbox for sandbox in self.templates if sandbox not in used]
        for sandbox in unused[: max(0, len(unused) - _MOST_UNUSED_TEMPLATES)]:
            self.templates.pop(sandbox).end()

    def put_back(self, child: Child) -> None:
        """Let a child wait for its next images."""
        with self._lock:
            surplus = len(self.living) > self._runtime.threads
            if not surplus:
                self._idle.append(child)
        if surplus:
            self.drop(child)

    def drop(self, child: Child) -> None:
        """End a child for good."""
        with self._lock:
            self.living.discard(child)
        child.end()

    def close(self) -> None:
        """End all children: the process is about to end."""
        self._closed = True  # a template that is being started ends with this process
        for template in list(self.templates.values()):
            template.end()
        for child in list(self.living):
            child.abandon()


CHILDREN: Final = Children(DEFAULT)
"""The children of this process."""

after_fork_in_child(CHILDREN._reset)  # noqa: SLF001 - a child begins anew
atexit.register(CHILDREN.close)  # before the threads that wait for them are waited for
