"""Files that serve exports with TensorFlow Serving in production: compose, Kubernetes, KServe.

Nothing here imports TensorFlow.
"""

from __future__ import annotations

from kerasft.serving.deploy.render import KINDS, render, write
from kerasft.serving.deploy.settings import Deployment, Tls

__all__ = ["KINDS", "Deployment", "Tls", "render", "write"]
