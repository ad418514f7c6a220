"""A client of TensorFlow Serving, and of kerasft's own server, that imports neither TensorFlow nor Keras."""

from __future__ import annotations

from kerasft.serving.client.client import Client
from kerasft.serving.errors import ServingError

__all__ = ["Client", "ServingError"]
