"""What `check_task` found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kerasft.errors import KerasftError
from kerasft.export.report import Check

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {"ok": "green", "FAILED": "bold red", "skipped": "dim"}


class ConformanceError(KerasftError, AssertionError):
    """A task failed checks; raised by `CheckReport.raise_if_failed`."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The checks that a task was put through.

    Attributes:
        task: The task's name.
        checks: In the order in which they ran; `ok` is None for a skipped one, `detail` says what was found
            and, if the check failed, what to do.
    """

    task: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed (skipped ones do not count)."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.ok is False)

    def __getitem__(self, name: str) -> Check:
        """Returns the check of a name.

        Raises:
            KeyError: It did not run.
        """
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def raise_if_failed(self) -> None:
        """Does nothing if all is well; for tests.

        Raises:
            ConformanceError: A check failed; the message lists those that did.
        """
        if self.failed:
            lines = [f"  {check.name}: {check.detail}" for check in self.failed]
            raise ConformanceError("\n".join([self._verdict(), *lines]))

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        return {"task": self.task, "ok": self.ok, "checks": [asdict(check) for check in self.checks]}

    def to_json(self) -> str:
        """Returns the report as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def _verdict(self) -> str:
        passed = sum(check.ok is True for check in self.checks)
        skipped = sum(check.ok is None for check in self.checks)
        counts = f"{passed} passed, {len(self.failed)} failed" + (f", {skipped} skipped" if skipped else "")
        return f"task {self.task!r}: {counts}"

    def __str__(self) -> str:
        lines = [f"{check.state:<8} {check.name:<10} {check.detail}" for check in self.checks]
        return "\n".join([*lines, self._verdict()])

    def __rich__(self) -> Table:
        from rich.box import SIMPLE
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self._verdict(), style="table.title"), title_justify="left", box=SIMPLE)
        for column in ("", "check", "detail"):
            table.add_column(column, overflow="fold")
        for check in self.checks:
            state = Text(check.state, style=_STYLES[check.state])
            table.add_row(state, Text(check.name), Text(check.detail))
        return table
