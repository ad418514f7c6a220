"""Metrics that Keras lacks: scores of labels, rankings and text, distances of pictures.

`Classification` and `MultiLabel` are Keras metrics: they count inside the compiled step.

A distance means something only beside values of the same extractor, so features carry its name and the
hash of its weights, and features of two extractors are never compared.
"""

from __future__ import annotations

from kerasft.metrics.distance import frechet, frechet_relative, kernel_distance
from kerasft.metrics.distinct import distinct
from kerasft.metrics.extractors import Extractor, extractor
from kerasft.metrics.features import Batches, Features, extract
from kerasft.metrics.labels import Classification, MultiLabel
from kerasft.metrics.manifold import nearest, precision_recall
from kerasft.metrics.path import perceptual_path_length
from kerasft.metrics.perceptual import Perceptual, perceptual
from kerasft.metrics.perplexity import Perplexity
from kerasft.metrics.ranking import grouped_roc_auc, ranking_scores, ranks, roc_auc, variety_scores
from kerasft.metrics.translation import bleu, chrf, sentence_chrf

__all__ = [
    "Batches",
    "Classification",
    "Extractor",
    "Features",
    "MultiLabel",
    "Perceptual",
    "Perplexity",
    "bleu",
    "chrf",
    "distinct",
    "extract",
    "extractor",
    "frechet",
    "frechet_relative",
    "grouped_roc_auc",
    "kernel_distance",
    "nearest",
    "perceptual",
    "perceptual_path_length",
    "precision_recall",
    "ranking_scores",
    "ranks",
    "roc_auc",
    "sentence_chrf",
    "variety_scores",
]
