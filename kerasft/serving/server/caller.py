"""Who waits for an answer."""

from __future__ import annotations

import queue
import time

from kerasft.serving.errors import ServingError

_LONGEST_WAIT = 3600.0  # gRPC may give deadlines that no clock can wait for.


class Caller:
    """Who waits for an answer, in a thread of its own.

    Args:
        deadline: When the answer is no longer wanted, on the clock of `time.monotonic`.
    """

    def __init__(self, *, deadline: float | None = None) -> None:
        self.deadline = deadline
        self._left = False
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()

    def leave(self) -> None:
        """Says, from any thread, that the answer is no longer wanted."""
        self._left = True
        self.wake()

    def gone(self) -> ServingError | None:
        """Returns why the answer is no longer wanted, or None if it is."""
        if self._left:
            return ServingError("the client did not wait for the answer", code="CANCELLED")
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return ServingError("the deadline passed before the answer was there", code="DEADLINE_EXCEEDED")
        return None

    def wake(self) -> None:
        """Ends a wait, this one or the next."""
        self._calls.put(None)

    def wait(self, until: float | None) -> None:
        """Sleeps until `wake`, `leave`, the deadline or that time, or for less."""
        now = time.monotonic()
        end = now + _LONGEST_WAIT
        if self.deadline is not None:
            end = min(end, self.deadline)
        if until is not None:
            end = min(end, until)
        try:
            self._calls.get(timeout=max(0.0, end - now))
        except queue.Empty:
            return
