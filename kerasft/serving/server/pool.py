"""The threads of a `grpc.server`."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any

_log = logging.getLogger("kerasft.serving")


class Started:
    """Work that was given to a `WarmPool`; to be told of its end is all that gRPC asks of it."""

    def __init__(self, lock: threading.Lock, call: Callable[[], Any]) -> None:
        self.call = call
        self._lock = lock
        self._ended = False
        self._callbacks: list[Callable[[Any], Any]] = []

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        """Calls a function with this object once the work has ended, or now if it has."""
        with self._lock:
            if not self._ended:
                self._callbacks.append(callback)
                return
        callback(self)

    def end(self) -> None:
        """Tells those who want to know that it has ended."""
        with self._lock:
            self._ended = True
        for callback in self._callbacks:
            callback(self)


class WarmPool(futures.Executor):
    """Threads that come and take work: the one first that was idle last, as it is still in the caches.

    A call costs gRPC a tenth less so than with `futures.ThreadPoolExecutor`, which wakes the thread that was
    idle longest and returns whole futures, and another seventh less on Linux, where a thread that is woken
    does not interrupt the one that woke it.

    Args:
        most: How many threads there may be; they are made when they are needed. Further work waits.
        name: What their names start with.

    Example:
        >>> with WarmPool(2, name="adder") as pool:
        ...     started = pool.submit(print, 1 + 2)
        3
    """

    def __init__(self, most: int, *, name: str) -> None:
        self._most, self._name = most, name
        self._lock = threading.Lock()
        self._idle: list[queue.SimpleQueue[Started | None]] = []
        self._waiting: collections.deque[Started] = collections.deque()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Starts work, or lets it wait for a thread.

        Returns:
            A `Started`.

        Raises:
            RuntimeError: After `shutdown`.
        """
        started = Started(self._lock, lambda: function(*args, **kwargs))
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool takes no more work")
            if self._idle:
                self._idle.pop().put(started)
            else:
                self._waiting.append(started)
                if len(self._threads) < self._most:
                    self._add_thread()
        return started

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Lets the threads end once all work has ended."""
        with self._lock:
            self._closed = True
            for inbox in self._idle:
                inbox.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
            return  # The system allows no more: those that there are do the work.
        self._threads.append(thread)

    def _work(self) -> None:
        _be_patient()
        inbox: queue.SimpleQueue[Started | None] = queue.SimpleQueue()
        started = self._next(inbox)
        while started := started or inbox.get():
            try:
                started.call()
            except BaseException:
                _log.exception("a call failed outside its handler")
            following = self._next(inbox)  # Before others learn of the end: they may bring work at once.
            started.end()
            started = following

    def _next(self, inbox: queue.SimpleQueue[Started | None]) -> Started | None:
        """Returns work that waits; if there is none, the next comes into the inbox."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._closed:
                inbox.put(None)
            else:
                self._idle.append(inbox)
        return None


def _be_patient() -> None:
    """Lets whichever thread wakes this one go on first.

    It holds Python's lock, so that this one could only go back to sleep. Threads that packets wake, such as
    gRPC's own, must not be of this kind: beside another busy process they would wait for their turn.
    """
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER:
        with contextlib.suppress(OSError):  # A sandbox may forbid it; all works without.
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
