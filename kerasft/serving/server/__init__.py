"""A server that answers as TensorFlow Serving does, for development, tests and small deployments."""

from __future__ import annotations

from kerasft.serving.server import config as configs
from kerasft.serving.server import logs, metrics
from kerasft.serving.server.batching_options import BatchingOptions
from kerasft.serving.server.server import Server, serve
from kerasft.serving.server.tls import Tls

__all__ = ["BatchingOptions", "Server", "Tls", "configs", "logs", "metrics", "serve"]
