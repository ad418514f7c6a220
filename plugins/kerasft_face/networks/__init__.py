"""The two networks, at any resolution."""

from __future__ import annotations

from kerasft_face.networks.dcgan import PlainDiscriminator, PlainGenerator
from kerasft_face.networks.discriminator import Discriminator
from kerasft_face.networks.generator import Generator
from kerasft_face.networks.judge import Judge

__all__ = ["Discriminator", "Generator", "Judge", "PlainDiscriminator", "PlainGenerator"]
