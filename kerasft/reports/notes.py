"""What a report needs beyond the history: class balance, class scores, time and machine."""

from __future__ import annotations

import contextlib
import datetime
import json
import platform
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import kerasft
from kerasft.reports.classes import class_scores
from kerasft.training.checkpoint import write_atomically

if TYPE_CHECKING:
    from kerasft.data.balance import Balance
    from kerasft.task import Task
    from kerasft.training.run import Run

_FILE = "report.json"


class Notes:
    """The file report.json of a run.

    It holds nothing that training goes on from, so a missing or broken one only makes the report shorter.

    Args:
        run: The run; None notes nothing.
    """

    def __init__(self, run: Run | None) -> None:
        self._path = run.folder / _FILE if run is not None else None

    def read(self) -> dict[str, Any]:
        """Returns what was noted: "balance", "evaluations" by title, and "sessions"."""
        if self._path is None or not self._path.is_file():
            return {}
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def add_balance(self, balance: Balance) -> None:
        """Notes how often each class occurs in the training data."""
        noted = {"field": balance.field, "rows": balance.rows, "counts": dict(balance.counts)}
        self._write({**self.read(), "balance": noted})

    def add_evaluation(
        self,
        title: str,
        values: Mapping[str, float],
        *,
        metrics: Mapping[str, Any],
        task: Task | None = None,
        epoch: int | None = None,
    ) -> None:
        """Notes an evaluation, in place of an earlier one of the same title.

        Args:
            title: For example "validation" or "test".
            values: Loss and metrics.
            metrics: The metrics that computed them, still in the state of that evaluation.
            task: Names the classes, see `class_scores`.
            epoch: After how many epochs, if known.
        """
        noted = self.read()
        scores = class_scores(metrics, task)
        evaluation = {
            "epoch": epoch,
            "values": {name: float(value) for name, value in values.items()},
            "classes": scores.to_json() if scores is not None else None,
        }
        self._write({**noted, "evaluations": {**noted.get("evaluations", {}), title: evaluation}})

    @contextlib.contextmanager
    def session(self, **facts: str) -> Iterator[None]:
        """Notes how long the `with` block ran and with which versions, whether it succeeds or raises.

        Args:
            **facts: More to say, for example device="CPU", precision="float32".
        """
        started, clock = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
        try:
            yield
        finally:
            session = {
                "started": started.isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - clock, 1),
                **facts,
                "versions": _versions(),
            }
            noted = self.read()
            self._write({**noted, "sessions": [*noted.get("sessions", []), session]})

    def _write(self, values: Mapping[str, Any]) -> None:
        if self._path is not None:
            encoded = (json.dumps(values, ensure_ascii=False) + "\n").encode(errors="replace")
            write_atomically(self._path, lambda file: file.write(encoded))


def _versions() -> dict[str, str]:
    versions = {"kerasft": kerasft.__version__, "python": platform.python_version()}
    for distribution in ("tensorflow", "keras", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[distribution] = metadata.version(distribution)
    return versions
