"""A small Predict server for development and demos; production is TensorFlow Serving itself."""

from __future__ import annotations

from kerasft.serving.server.server import Server, serve

__all__ = ["Server", "serve"]
