"""What clients that block and clients that await have in common."""

from __future__ import annotations

import time
from os import PathLike
from typing import Any

from kerasft.serving.client import calls
from kerasft.serving.client.verbs import Verbs
from kerasft.serving.errors import CancelledError, DeadlineExceededError, InvalidArgumentError


class BaseClient:
    """A client but for its calls.

    Args:
        where: What errors call the server.
        model: Name of the model that is meant when a call names none.
        timeout: Seconds that a call may take, retries and all.
        check: Whether to hold inputs against the signature before they are sent.
        manifest: Folder of an export, or its manifest: adds the task's own calls, see `task`.
    """

    predict: Any

    def __init__(
        self, where: str, *, model: str, timeout: float, check: bool, manifest: str | PathLike[str] | None
    ) -> None:
        self.where = where
        self.model = model
        self.timeout = timeout
        self._verbs = Verbs(model=model, check=check)
        self._task = (
            None if manifest is None else calls.TaskCalls(calls.Manifest.read(manifest), self.predict)
        )
        self._closed = False

    @property
    def task(self) -> calls.TaskCalls:
        """The calls of the task that made the model, by the export's manifest; also there by the task's name.

        Raises:
            InvalidArgumentError: If the client was made without a manifest.
        """
        if self._task is None:
            raise InvalidArgumentError(
                "the client knows no task: make it with manifest=, the folder or manifest.json of the export"
            )
        return self._task

    def __getattr__(self, name: str) -> calls.TaskCalls:
        task: calls.TaskCalls | None = self.__dict__.get("_task")
        if task is not None and name == task.name:
            return task
        known = (
            "it was made without manifest=" if task is None else f"its manifest is of the task {task.name!r}"
        )
        raise AttributeError(
            f"{type(self).__name__} has no attribute {name!r}, and no task of that name: {known}"
        )

    def _allowed(self, timeout: float | None) -> float:
        """Returns the seconds that a call may take.

        Raises:
            CancelledError: If the client is closed.
        """
        if self._closed:
            raise CancelledError(f"the client of {self.where} is closed: make a new one")
        return self.timeout if timeout is None else timeout

    def _left(self, end: float, allowed: float) -> float:
        """Returns the seconds until `end`.

        Raises:
            DeadlineExceededError: If there are none.
        """
        left = end - time.monotonic()
        if left <= 0:
            raise DeadlineExceededError(
                f"{self.where} did not answer within {allowed:g} s [DEADLINE_EXCEEDED]"
            )
        return left


def check_concurrency(concurrency: int) -> None:
    """Refuses a concurrency below 1."""
    if concurrency < 1:
        raise InvalidArgumentError(f"concurrency is {concurrency}; at least 1 request must be under way")
