"""Export: a SavedModel that a server sees whole or not at all, and the checks that it is fit to serve.

Importing this package imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

from kerasft.export.batching import Batching
from kerasft.export.report import Check, ExportReport, VerifyReport
from kerasft.export.savedmodel import export_savedmodel
from kerasft.export.verify import verify

__all__ = ["Batching", "Check", "ExportReport", "VerifyReport", "export_savedmodel", "verify"]
