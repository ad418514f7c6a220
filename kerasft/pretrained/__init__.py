"""Pretrained weights: pinned downloads, hub presets and local folders behind one resolver.

Importing this package loads neither TensorFlow nor Keras; `kerasft.pretrained.converters` does.
"""

from kerasft.pretrained.catalogue import CATALOGUE, Entry
from kerasft.pretrained.fetch import cached, fetch
from kerasft.pretrained.resolve import resolve

__all__ = ["CATALOGUE", "Entry", "cached", "fetch", "resolve"]
