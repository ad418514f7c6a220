"""Data: any source of rows behind one random-access interface, splits, class balance and batch order."""

from __future__ import annotations

from kerasft.data.balance import Balance, balanced_weights, describe_balance
from kerasft.data.bucketing import epoch_batches, padding_waste
from kerasft.data.derived import Derived
from kerasft.data.opening import open_records, open_source
from kerasft.data.records import Broken, Records
from kerasft.data.schema import Field
from kerasft.data.source import Source
from kerasft.data.splits import split

__all__ = [
    "Balance",
    "Broken",
    "Derived",
    "Field",
    "Records",
    "Source",
    "balanced_weights",
    "describe_balance",
    "epoch_batches",
    "open_records",
    "open_source",
    "padding_waste",
    "split",
]
