"""What a training of some size costs: computed from the sizes of the layers and the speed of this machine."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from typing import TYPE_CHECKING

import tensorflow as tf

from kerasft_face.networks.plan import Plan

if TYPE_CHECKING:
    from kerasft_face.config import FaceConfig

# Both were measured with the preset micro: training against bare convolutions at 32x32 and 64x64 (1.15 and
# 1.8 times their time), and the growth of memory with the batch at 64x64.
_SLOWER = 1.5
_COPIES = 6
_SECONDS = 0.05


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a part of a network costs for one picture.

    Attributes:
        weights: Trained numbers.
        values: Outputs of convolutions and dense layers.
        products: Multiplications of a forward pass, by the resolution at which they are made.
    """

    weights: int
    values: int = 0
    products: Counter[int] = dataclasses.field(default_factory=Counter)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.weights + other.weights, self.values + other.values, self.products + other.products)


def generator_cost(plan: Plan, *, z_dim: int, w_dim: int, depth: int, noise: bool) -> Cost:
    """Returns what a generator without classes costs.

    Args:
        plan: Sizes of the blocks.
        z_dim: Length of a latent vector.
        w_dim: Length of a style vector.
        depth: Layers of the mapping network.
        noise: Whether synthesis adds noise.
    """
    total = Cost(16 * plan.channels(4))
    for layer in range(depth):
        total += _dense(z_dim if layer == 0 else w_dim, w_dim)
    for side in plan.sides:
        filters = plan.channels(side)
        if side > 4:
            # An upsampling convolution multiplies at the resolution that it comes from.
            total += _convolution(plan.channels(side // 2), filters, side, at=side // 2, extra=int(noise))
            total += _dense(w_dim, plan.channels(side // 2))
        total += _convolution(filters, filters, side, extra=int(noise)) + _dense(w_dim, filters)
        total += _convolution(filters, 3, side, size=1) + _dense(w_dim, filters)
    return total


def discriminator_cost(plan: Plan) -> Cost:
    """Returns what a discriminator without classes costs.

    Args:
        plan: Sizes of the blocks.
    """
    total = _convolution(3, plan.channels(plan.resolution), plan.resolution, size=1)
    for side in plan.sides[:0:-1]:
        narrow, wide = plan.channels(side), plan.channels(side // 2)
        total += _convolution(narrow, narrow, side) + _convolution(narrow, wide, side // 2)
        total += _convolution(narrow, wide, side // 2, size=1, extra=-wide)  # it has no biases
    width = plan.channels(4)
    return total + _convolution(width + 1, width, 4) + _dense(16 * width, width) + _dense(width, 1)


def _dense(inputs: int, outputs: int) -> Cost:
    return Cost((inputs + 1) * outputs, outputs, Counter({4: inputs * outputs}))


def _convolution(
    inputs: int, outputs: int, side: int, *, size: int = 3, at: int | None = None, extra: int = 0
) -> Cost:
    kernel, at = size * size * inputs * outputs, at or side
    return Cost(kernel + outputs + extra, outputs * side**2, Counter({at: kernel * at**2}))


def estimate(config: FaceConfig) -> dict[str, str]:
    """Returns what training costs, with the formulas; after a second of measuring this machine.

    Args:
        config: Of the task; classes and augmentation are not counted.
    """
    network, game, batch = config.network, config.game, config.training.batch_size
    plan = Plan(resolution=config.resolution, base=network.base, max_channels=network.max_channels)
    made = generator_cost(
        plan, z_dim=network.z_dim, w_dim=network.w_dim, depth=network.mapping_depth, noise=network.noise
    )
    judged = discriminator_cost(plan)
    r1 = 6.0 / game.r1_every if config.gamma else 0.0
    path = 3.0 / game.path_every if game.path_weight else 0.0
    speeds = {side: _speed(side, plan.channels(side)) for side in plan.sides}
    operations = {
        side: 2000.0 * ((8.0 + r1) * judged.products[side] + (4.0 + path) * made.products[side])
        for side in plan.sides
    }
    total = sum(operations.values())
    needed = sum(operations[side] / speeds[side] for side in plan.sides)
    state = 4 * (5 * made.weights + 4 * judged.weights)
    held = 4 * _COPIES * batch * (2 * judged.values + made.values)
    return {
        "weights": f"generator {made.weights:,}, discriminator {judged.weights:,}",
        "memory": (
            f"about {(state + held) / 1e9:.3g} GB: {state / 1e9:.2g} GB for weights, gradients, moments and "
            f"average = 4 B x (5 generator + 4 discriminator); {held / 1e9:.3g} GB for values = 4 B x "
            f"{_COPIES} copies x {batch} pictures x (2 x {judged.values:,} in the discriminator + "
            f"{made.values:,} in the generator), up to half as much under mixed precision"
        ),
        "time": (
            f"about {_readable(_SLOWER * needed)} per kimg here: {total / 1e12:.3g} TFLOP per kimg = "
            f"2 x 1000 x ({8 + r1:g} x {_millions(judged)} in the discriminator + {4 + path:g} x "
            f"{_millions(made)} in the generator), at {total / needed / 1e12:.3g} TFLOP/s of bare "
            f"convolutions, measured just now, times {_SLOWER:g} for all else"
        ),
    }


def _millions(cost: Cost) -> str:
    return f"{cost.products.total() / 1e6:,.1f}M"


def _readable(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.2g} minutes" if seconds < 7200 else f"{seconds / 3600:.2g} hours"


def _speed(side: int, channels: int) -> float:
    """Returns how many operations a second a 3x3 convolution of one resolution does here."""
    rows = max(1, 64**2 // side**2)
    x, kernel = tf.ones([rows, side, side, channels]), tf.ones([3, 3, channels, channels])
    tf.nn.conv2d(x, kernel, 1, "SAME").numpy()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < _SECONDS:
        tf.nn.conv2d(x, kernel, 1, "SAME").numpy()
        count += 1
    return count * 18.0 * rows * side**2 * channels**2 / (time.perf_counter() - began)
