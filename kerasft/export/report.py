"""What verifying and exporting tell their caller."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

# In the order in which they run; the later ones need the earlier ones.
CHECKS = {
    "graph": "a readable SavedModel graph",
    "files": "variables and assets present",
    "checksums": "files as the manifest lists them",
    "signatures": "inputs and outputs typed and named",
    "python": "no Python functions",
    "xla": "no function that demands XLA",
    "ops": "ops of stock TensorFlow Serving only",
    "kernels": "a CPU kernel for each op",
    "load": "loads in TensorFlow's C++ loader",
    "warmup": "warm-up requests run",
    "agreement": "same outputs as the model in memory",
    "finite": "no NaN or infinity in the outputs",
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of a report.

    Attributes:
        name: A key of `CHECKS`.
        ok: Whether it passed; None when it was skipped.
        detail: What was found and, if it failed, what to do.
    """

    name: str
    ok: bool | None
    detail: str

    @property
    def state(self) -> str:
        """`"ok"`, `"FAILED"` or `"skipped"`."""
        return "skipped" if self.ok is None else "ok" if self.ok else "FAILED"


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """The checks that an exported model was put through.

    Attributes:
        path: The version folder.
        checks: In the order in which they ran.
    """

    path: Path
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed (skipped ones do not count)."""
        return all(check.ok is not False for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.ok is False)

    def __getitem__(self, name: str) -> Check:
        """Returns the check of a name."""
        return next(check for check in self.checks if check.name == name)

    def at(self, path: Path) -> VerifyReport:
        """Returns the same report for a folder that was moved."""
        return replace(self, path=path)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        return {"path": str(self.path), "ok": self.ok, "checks": [asdict(check) for check in self.checks]}

    def to_json(self) -> str:
        """Returns the report as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        lines = [f"{check.state:<8} {check.name:<11} {check.detail}" for check in self.checks]
        return "\n".join([f"{self.path}: {'verified' if self.ok else 'NOT fit to serve'}", *lines])

    def __rich__(self) -> Table:
        from rich.box import SIMPLE
        from rich.table import Table
        from rich.text import Text

        styles = {"ok": "green", "FAILED": "bold red", "skipped": "dim"}
        verdict = "verified" if self.ok else "not fit to serve"
        table = Table(
            title=Text(f"{self.path}: {verdict}", style="table.title"), title_justify="left", box=SIMPLE
        )
        for column in ("", "check", "detail"):
            table.add_column(column, overflow="fold")
        for check in self.checks:
            state = Text(check.state, style=styles[check.state])
            table.add_row(state, CHECKS[check.name], Text(check.detail))
        return table


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        path: The new version folder.
        version: Its number.
        size: Bytes in all of its files.
        signatures: Each signature with its inputs and outputs, in words.
        verification: The checks, or None when verification was switched off.
        facts: What the task says of it, by name, such as what an index reaches.
    """

    path: Path
    version: int
    size: int
    signatures: dict[str, str] = field(default_factory=dict)
    verification: VerifyReport | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks of the verification, empty when it was switched off."""
        return self.verification.checks if self.verification else ()

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, fit for JSON."""
        return {
            "path": str(self.path),
            "version": self.version,
            "size": self.size,
            "signatures": dict(self.signatures),
            "checks": [asdict(check) for check in self.checks],
            "facts": dict(self.facts),
        }

    def to_json(self) -> str:
        """Returns the report as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def __str__(self) -> str:
        passed = sum(check.ok is True for check in self.checks)
        verdict = f"{passed} checks passed" if self.verification else "not verified"
        lines = [f"{self.path}: version {self.version}, {self.size / 1e6:.1f} MB, {verdict}"]
        lines += [f"  {name}{text}" for name, text in self.signatures.items()]
        return "\n".join(lines + [f"  {name}: {_said(fact)}" for name, fact in self.facts.items()])

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        parts: list[RenderableType] = [Text(str(self))]
        return Group(*parts, self.verification) if self.verification else Group(*parts)


def _said(fact: Any) -> str:
    if not isinstance(fact, dict):
        return str(fact)
    return ", ".join(f"{name} {_said(value)}" for name, value in fact.items())
