"""Class balance, for the eye and for the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kerasft.data.schema import CLASS_KINDS
from kerasft.data.source import Source
from kerasft.errors import DataError

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN = 20
_BAR = 24


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How often each class of a field occurs; `str()` gives plain lines, `table()` a rich table.

    Args:
        source: Name of the data.
        field: Name of the field.
        rows: Number of rows in the data.
        counts: Class to count.
    """

    source: str
    field: str
    rows: int
    counts: Mapping[str, int]

    @property
    def ratio(self) -> float:
        """The most frequent class over the least frequent one that occurs."""
        present = [count for count in self.counts.values() if count]
        return max(present) / min(present) if present else 1.0

    def table(self) -> Table:
        """Returns a rich table; of many classes only the most and the least frequent."""
        from rich.table import Table
        from rich.text import Text

        # Names of the user are Text: in a string, "[INST]" would be markup.
        table = Table(title=Text(self._title(), style="table.title"))
        table.add_column(Text(self.field))
        table.add_column("rows" if self._is_per_row() else "count", justify="right")
        table.add_column("share", justify="right")
        table.add_column("")
        for name, count, share, bar in self._lines():
            table.add_row(Text(name), count, share, bar)
        return table

    def __str__(self) -> str:
        lines = self._lines()
        widths = [max(len(line[place]) for line in lines) for place in range(3)]
        rows = [
            f"  {name:<{widths[0]}}  {count:>{widths[1]}}  {share:>{widths[2]}}  {bar}".rstrip()
            for name, count, share, bar in lines
        ]
        return "\n".join([self._title(), *rows])

    def _is_per_row(self) -> bool:
        return sum(self.counts.values()) == self.rows

    def _title(self) -> str:
        return f"{self.source}: {self.rows} rows, {len(self.counts)} classes of {self.field!r}"

    def _lines(self) -> list[tuple[str, str, str, str]]:
        total, top = sum(self.counts.values()) or 1, max(self.counts.values(), default=1) or 1
        lines = [
            (name, str(count), f"{count / total:.1%}", "█" * round(_BAR * count / top))
            for name, count in sorted(self.counts.items(), key=lambda item: -item[1])
        ]
        if len(lines) <= _SHOWN:
            return lines
        half, hidden = _SHOWN // 2, len(lines) - _SHOWN
        return [*lines[:half], (f"... {hidden} more", "", "", ""), *lines[-half:]]


def describe_balance(source: Source, name: str | None = None) -> Balance:
    """Counts the classes of a field.

    Args:
        source: The data.
        name: The field; by default the first target that has classes.

    Returns:
        The counts, ready to print.

    Raises:
        DataError: No field has classes.

    Example:
        >>> from kerasft.data import Field, open_source
        >>> fields = [Field(name="text"), Field(name="label", kind="label", target=True)]
        >>> print(describe_balance(open_source({"text": list("abc"), "label": [0, 1, 1]}, fields=fields)))
        the arrays: 3 rows, 2 classes of 'label'
          1  2  66.7%  ████████████████████████
          0  1  33.3%  ████████████
    """
    if name is None:
        fitting = [field.name for field in source.fields if field.kind in CLASS_KINDS and field.target]
        if not fitting:
            raise DataError(
                f"{source.name} has no target with classes; its fields are {', '.join(source.columns)}"
            )
        name = fitting[0]
    return Balance(source=source.name, field=name, rows=len(source), counts=source.class_counts(name))


def balanced_weights(counts: Mapping[str, int]) -> dict[str, float]:
    """Returns weights under which all classes weigh the same: n / (classes * count), as in scikit-learn.

    Args:
        counts: Class to count, as from `Source.class_counts`. A class without rows gets weight 1.

    Example:
        >>> balanced_weights({"bad": 1, "good": 3})
        {'bad': 2.0, 'good': 0.6666666666666666}
    """
    present = [count for count in counts.values() if count]
    return {name: sum(present) / (len(present) * count) if count else 1.0 for name, count in counts.items()}
