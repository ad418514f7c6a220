"""Names of backbones; importing them loads neither TensorFlow nor Keras."""

from __future__ import annotations

SCRATCH = ("cnn", "resnet20")
"""Small backbones that start from random weights."""

PRETRAINED = ("efficientnet_lite0",)
"""Image backbones of the catalogue of pretrained weights."""

KNOWN = (*SCRATCH, *PRETRAINED)
"""Backbones that kerasft builds by name itself."""
