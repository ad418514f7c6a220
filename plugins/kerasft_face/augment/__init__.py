"""Augmentation of what a discriminator sees, and the controller that sets its probability."""

from __future__ import annotations

from kerasft_face.augment.controller import Adaptive
from kerasft_face.augment.mirror import Mirror
from kerasft_face.augment.pipeline import Augment

__all__ = ["Adaptive", "Augment", "Mirror"]
