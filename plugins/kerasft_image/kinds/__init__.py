"""What an image task answers: one class for each kind, from the labels it reads to the tensors it serves."""

from __future__ import annotations

from kerasft_image.kinds.base import Kind
from kerasft_image.kinds.classification import Classification
from kerasft_image.kinds.multilabel import MultiLabel
from kerasft_image.kinds.recognition import Recognition

KINDS: dict[str, type[Kind]] = {
    "classification": Classification,
    "multilabel": MultiLabel,
    "recognition": Recognition,
}

__all__ = ["KINDS", "Kind", "Recognition"]
