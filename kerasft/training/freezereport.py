"""What trains and what does not, as a table."""

from __future__ import annotations

import dataclasses

from rich.table import Table
from rich.text import Text


@dataclasses.dataclass(frozen=True)
class GroupRow:
    """One line of a `FreezeReport`.

    Attributes:
        group: Name of the layer group.
        layers: Layers with weights in it.
        parameters: Numbers that training could move.
        trainable: Numbers that training moves.
        rate_factor: What the group's learning rate is multiplied by.
    """

    group: str
    layers: int
    parameters: int
    trainable: int
    rate_factor: float


@dataclasses.dataclass(frozen=True)
class FreezeReport:
    """What trains and what does not, by layer group from input to head.

    Example:
        >>> print(FreezeReport((GroupRow("body", 2, 1200, 0, 1.0), GroupRow("head", 1, 30, 30, 1.0))))
        group  layers    parameters     trainable  rate factor
        body        2         1,200             0            -
        head        1            30            30            1
    """

    rows: tuple[GroupRow, ...]

    @property
    def parameters(self) -> int:
        """All parameters that training could move."""
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self) -> int:
        """Parameters that training moves."""
        return sum(row.trainable for row in self.rows)

    def __rich__(self) -> Table:
        table = Table(title=f"{self.trainable:,} of {self.parameters:,} parameters train")
        table.add_column("group")
        for heading in ("layers", "parameters", "trainable", "rate factor"):
            table.add_column(heading, justify="right")
        for row in self.rows:
            factor = f"{row.rate_factor:g}" if row.trainable else "-"
            numbers = (str(row.layers), f"{row.parameters:,}", f"{row.trainable:,}", factor)
            table.add_row(Text(row.group), *numbers)
        return table

    def __str__(self) -> str:
        width = max(len("group"), *(len(row.group) for row in self.rows))
        lines = [f"{'group':<{width}}{'layers':>8}{'parameters':>14}{'trainable':>14}{'rate factor':>13}"]
        for row in self.rows:
            factor = f"{row.rate_factor:g}" if row.trainable else "-"
            lines.append(
                f"{row.group:<{width}}{row.layers:>8}{row.parameters:>14,}{row.trainable:>14,}{factor:>13}"
            )
        return "\n".join(lines)
