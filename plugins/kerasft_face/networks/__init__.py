"""The two networks, at any resolution."""

from __future__ import annotations

from kerasft_face.networks.discriminator import Discriminator
from kerasft_face.networks.generator import Generator

__all__ = ["Discriminator", "Generator"]
