"""What tasks that see pictures share."""

from __future__ import annotations

from kerasft.vision.resizing import Fit, resize

__all__ = ["Fit", "resize"]
