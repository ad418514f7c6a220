"""SIGINT and SIGTERM as a polite request: finish the batch, save, then stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class SignalReceived(Exception):
    """A signal came; raised by `SignalGuard.check`."""


class SignalGuard:
    """Remembers the first SIGINT or SIGTERM inside its context; a second SIGINT interrupts at once.

    Outside the main thread it does nothing, because Python delivers signals to the main thread only.

    Example:
        >>> with SignalGuard() as guard:
        ...     guard.received is None
        True
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> SignalGuard:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises SignalReceived once a signal has come; to be called where the work can stop."""
        if self.received is not None:
            raise SignalReceived(self.received.name)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
