"""Serving: a client that needs no TensorFlow, and a small server with TensorFlow Serving's gRPC interface."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerasft.serving.client import Client
    from kerasft.serving.errors import ServingError
    from kerasft.serving.server import Server, serve

__all__ = ["Client", "Server", "ServingError", "serve"]

_HOMES = {
    "Client": "kerasft.serving.client",
    "Server": "kerasft.serving.server",
    "ServingError": "kerasft.serving.errors",
    "serve": "kerasft.serving.server",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'kerasft.serving' has no attribute {name!r}")
