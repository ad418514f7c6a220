"""Data: any source of rows behind one random-access interface, splits, class balance and batch order."""

from __future__ import annotations

from kerasft.data.schema import Field

__all__ = ["Field"]
