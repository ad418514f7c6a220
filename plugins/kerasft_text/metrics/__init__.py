"""Metrics that Keras lacks, as Keras metrics: they count inside the compiled step and add up over batches."""

from __future__ import annotations

from kerasft.metrics.labels import Classification, MultiLabel
from kerasft_text.metrics.spans import SpanF1, tag_spans
from kerasft_text.metrics.values import Regression

__all__ = ["Classification", "MultiLabel", "Regression", "SpanF1", "tag_spans"]
