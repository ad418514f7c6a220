"""Metrics that Keras lacks: distances between sets of pictures.

A value means something only beside values of the same extractor, so features carry its name and the hash of
its weights, and features of two extractors are never compared.
"""

from __future__ import annotations

from kerasft.metrics.distance import frechet, frechet_relative, kernel_distance
from kerasft.metrics.extractors import Extractor, extractor
from kerasft.metrics.features import Features, extract
from kerasft.metrics.manifold import nearest, precision_recall
from kerasft.metrics.path import perceptual_path_length

__all__ = [
    "Extractor",
    "Features",
    "extract",
    "extractor",
    "frechet",
    "frechet_relative",
    "kernel_distance",
    "nearest",
    "perceptual_path_length",
    "precision_recall",
]
