"""What the networks of a reference pickle are, whichever program wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasft.errors import PretrainedError
from kerasft_face.networks.plan import Plan

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Two networks: tensors under the names and in the layout of the PyTorch implementation.

    Attributes:
        source: What errors call them.
        generator: The averaged one, where the file has an average.
        discriminator: The one it played against.
        mapping_rate: Learning rate of the mapping network relative to the rest.
        label_rate: The same of the layers that map a label in the discriminator.
        group: Pictures over which the minibatch standard deviation is taken.
    """

    source: Any
    generator: Tensors
    discriminator: Tensors
    mapping_rate: float = 0.01
    label_rate: float = 0.01
    group: int = 4

    def __post_init__(self) -> None:
        needed = "synthesis.b4.const", "mapping.fc0.weight", "mapping.w_avg"
        lacking = [name for name in needed if name not in self.generator]
        if lacking:
            raise PretrainedError(
                f"{self.source} holds no StyleGAN2 generator (it lacks {', '.join(lacking)}); only StyleGAN2 "
                "and StyleGAN2-ADA can be imported"
            )

    @property
    def classes(self) -> int:
        """How many classes there are."""
        embedding = self.generator.get("mapping.embed.weight")
        return 0 if embedding is None else embedding.shape[1]

    def config(self) -> dict[str, Any]:
        """Returns what a face task needs to be told to make these networks.

        Raises:
            PretrainedError: It cannot make them.
        """
        plan, w_dim = self._plan(), len(self.generator["mapping.w_avg"])
        inputs = self.generator["mapping.fc0.weight"].shape[1]
        preset = {512: "paper512", 1024: "stylegan2"}.get(plan.resolution, "paper256")
        found: dict[str, Any] = {
            "preset": preset,
            "resolution": plan.resolution,
            "network": {
                "base": plan.base,
                "max_channels": plan.max_channels,
                "z_dim": inputs - (w_dim if self.classes else 0),
                "w_dim": w_dim,
                "mapping_depth": _layers(self.generator),
                "mapping_rate": self.mapping_rate,
                "noise": "synthesis.b4.conv1.noise_const" in self.generator,
                "group": self.group,
            },
        }
        if self.classes:
            found["conditional"] = True
            found["labels"] = tuple(map(str, range(self.classes)))
            found["network"]["label_depth"] = _layers(self.discriminator)
        return found

    def _plan(self) -> Plan:
        """Finds the two numbers that give the channels of all resolutions."""
        channels, side = {4: self.generator["synthesis.b4.const"].shape[0]}, 8
        while f"synthesis.b{side}.conv1.weight" in self.generator:
            channels[side] = self.generator[f"synthesis.b{side}.conv1.weight"].shape[0]
            side *= 2
        most = max(channels.values())
        falling = [count * side for side, count in channels.items() if count < most]
        plan = Plan(
            resolution=max(channels),
            base=falling[0] if falling else most * max(channels),
            max_channels=most,
        )
        if {side: plan.channels(side) for side in plan.sides} != channels:
            raise PretrainedError(
                f"{self.source} has channels that no base and max_channels give: {channels}; it cannot be "
                "imported"
            )
        return plan


def _layers(tensors: Tensors) -> int:
    return sum(re.fullmatch(r"mapping\.fc\d+\.bias", name) is not None for name in tensors)
