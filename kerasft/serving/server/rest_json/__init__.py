"""The JSON of TensorFlow Serving's REST API: requests from it, responses to it."""

from __future__ import annotations

from kerasft.serving.server.rest_json.requests import fill_examples, fill_predict, parse, signature_of
from kerasft.serving.server.rest_json.responses import (
    classify_body,
    error_body,
    metadata_body,
    predict_body,
    regress_body,
    status_body,
)

__all__ = [
    "classify_body",
    "error_body",
    "fill_examples",
    "fill_predict",
    "metadata_body",
    "parse",
    "predict_body",
    "regress_body",
    "signature_of",
    "status_body",
]
