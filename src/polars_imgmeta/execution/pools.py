"""Pools of threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

Task = Callable[[], None]


class ThreadStartError(RuntimeError):
    """The system does not let this process start a thread."""


class ThreadPool:
    """Daemon threads that run tasks in the order in which they were submitted.

    Threads are started when they are needed. They are daemons so that a process can end
    while one of them waits for a server that does not answer; `join` waits for the others.

    Args:
        size: The maximum number of threads.
        name: The prefix of their names.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._tasks: deque[tuple[object, Task]] = deque()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._closed = False
        self._changed = threading.Condition()

    def submit(self, task: Task, owner: object = None) -> None:
        """Run a task as soon as a thread is free.

        Args:
            task: The task.
            owner: What it is done for.

        Raises:
            ThreadStartError: If there is no thread, and none can be started.
        """
        with self._changed:
            self._tasks.append((owner, task))
            # The threads of a closed pool may be stuck.
            if self._closed or (self._idle < len(self._tasks) and len(self._threads) < self._size):
                try:
                    self._start_thread()
                except RuntimeError as error:
                    if not self._threads:
                        self._tasks.remove((owner, task))
                        msg = (
                            f"no thread can be started to read images ({error})\n\n"
                            "Hint: the limit on threads or memory of this process or container"
                            " is reached; end others, or raise it"
                        )
                        raise ThreadStartError(msg) from None
            self._changed.notify()

    def is_contended(self, owner: object) -> bool:
        """Whether a long task should make room: there are too many threads, or others wait.

        Args:
            owner: What the task is done for. Its other tasks need no room.
        """
        with self._changed:
            others = any(one is not owner for one, _ in self._tasks)
            return others or len(self._threads) > self._size

    def resize(self, size: int) -> None:
        """Change the maximum number of threads; surplus ones end after their task."""
        with self._changed:
            self._size = size
            self._changed.notify_all()

    def close(self) -> None:
        """Let the threads end once every task that was submitted is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait for the threads to end, at most `timeout` seconds; return whether they have."""
        until = time.monotonic() + timeout
        while (threads := list(self._threads)) and time.monotonic() < until:
            for thread in threads:
                thread.join(max(0.0, until - time.monotonic()))
        return not self._threads

    def _start_thread(self) -> None:
        name = f"{self._name}_{len(self._threads)}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except BaseException:
            self._threads.discard(thread)
            raise

    def _run(self) -> None:
        try:
            while (task := self._next()) is not None:
                task()
                del task  # or its results would live until the next one
        finally:
            with self._changed:
                self._threads.discard(threading.current_thread())

    def _next(self) -> Task | None:
        """Wait for a task; None where this thread should end."""
        with self._changed:
            while not self._tasks or len(self._threads) > self._size:
                if self._closed or len(self._threads) > self._size:
                    self._threads.discard(threading.current_thread())
                    self._changed.notify()
                    return None
                self._idle += 1
                try:
                    self._changed.wait()
                finally:
                    self._idle -= 1
            return self._tasks.popleft()[1]
