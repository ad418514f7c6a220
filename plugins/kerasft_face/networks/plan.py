"""What both networks are cut into: a block a resolution."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import keras


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of the blocks of a network.

    Args:
        resolution: Side of the pictures, a power of two from 8 on.
        base: Channels times resolution, where that is below `max_channels`.
        max_channels: Most channels.
        mixed_blocks: How many of the highest resolutions compute in the global dtype policy; the others, and
            all that is colour or a style, in float32.

    Example:
        >>> plan = Plan(resolution=32, base=512, max_channels=32)
        >>> [(side, plan.channels(side)) for side in plan.sides]
        [(4, 32), (8, 32), (16, 32), (32, 16)]
    """

    resolution: int
    base: int
    max_channels: int
    mixed_blocks: int = 4

    @property
    def sides(self) -> list[int]:
        """The resolutions, 4 first."""
        return [2**power for power in range(2, self.resolution.bit_length())]

    @property
    def styles(self) -> int:
        """How many styles a picture has: two for each resolution."""
        return 2 * len(self.sides)

    def channels(self, side: int) -> int:
        """Returns the channels at a resolution."""
        return max(1, min(self.base // side, self.max_channels))

    def policy(self, side: int) -> Any:
        """Returns the dtype policy of a block."""
        policy = keras.config.dtype_policy()
        mixed = self.mixed_blocks > 0 and side in self.sides[1:][-self.mixed_blocks :]
        return policy if mixed else policy.variable_dtype

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return asdict(self)


def blocks(network: keras.Model, plan: Plan) -> dict[int, list[keras.Layer]]:
    """Returns the layers with weights of each block, by the resolution that their names begin with."""
    found: dict[int, list[keras.Layer]] = {side: [] for side in plan.sides}
    for layer in network.layers:
        if layer.weights:
            found[int(layer.name.partition("_")[0].removeprefix("b"))].append(layer)
    return found
