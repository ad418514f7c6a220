"""What a text task answers: one class for each kind, from the columns it reads to the tensors it serves."""

from __future__ import annotations

from kerasft_text.kinds.base import Kind
from kerasft_text.kinds.classification import Classification
from kerasft_text.kinds.entities import Entities
from kerasft_text.kinds.multilabel import MultiLabel
from kerasft_text.kinds.regression import Regression

KINDS: dict[str, type[Kind]] = {
    "classification": Classification,
    "multilabel": MultiLabel,
    "regression": Regression,
    "entities": Entities,
}

__all__ = ["KINDS", "Kind"]
