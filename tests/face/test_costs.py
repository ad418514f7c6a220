"""The estimate of a training against networks that are built."""

from __future__ import annotations

import math

import numpy as np
import pytest

import kerasft
from kerasft_face.config import FaceConfig
from kerasft_face.costs import discriminator_cost, estimate, generator_cost
from kerasft_face.layers import EqualizedConv2D, EqualizedDense, ModulatedConv2D
from kerasft_face.networks.plan import Plan


def products(layer, shape) -> int:
    """Multiplications of a layer and of those inside, from its kernels and the shape of its output."""
    if isinstance(layer, EqualizedDense):
        return math.prod(layer.kernel.shape)
    if isinstance(layer, EqualizedConv2D):
        return math.prod(layer.kernel.shape) * shape[1] ** 2
    convolution = layer.convolution
    assert isinstance(convolution, ModulatedConv2D)
    side = shape[1] // 2 if convolution.upsample else shape[1]
    return math.prod(convolution.kernel.shape) * side**2 + math.prod(convolution.affine.kernel.shape)


@pytest.mark.parametrize("noise", [True, False])
def test_the_costs_are_those_of_the_built_networks(noise):
    network = {"base": 64, "max_channels": 12, "z_dim": 6, "w_dim": 10, "mapping_depth": 3, "noise": noise}
    models = kerasft.create("face", resolution=32, network=network).build()
    plan = Plan(resolution=32, base=64, max_channels=12)
    made = generator_cost(plan, z_dim=6, w_dim=10, depth=3, noise=noise)
    judged = discriminator_cost(plan)
    for cost, model in ((made, models["generator"]), (judged, models["discriminator"])):
        assert cost.weights == sum(v.numpy().size for v in model.trainable_variables)
    layers = models["generator"].synthesis.layers
    found = sum(products(layer, layer.output.shape) for layer in layers if hasattr(layer, "convolution"))
    found += sum(products(layer, None) for layer in models["generator"].mapping.hidden)
    assert made.products.total() == found
    layers = [
        layer
        for layer in models["discriminator"].body.layers
        if isinstance(layer, (EqualizedConv2D, EqualizedDense))
    ]
    found = sum(products(layer, layer.output.shape) for layer in layers)
    assert judged.products.total() == found + products(models["discriminator"].head, None)
    values = sum(np.prod(layer.output.shape[1:]) for layer in layers) + 1
    assert judged.values == values


def test_an_estimate_grows_with_resolution_and_batch_and_says_how(monkeypatch):
    monkeypatch.setattr("kerasft_face.costs._speed", lambda side, channels: 1e12)
    small, large = (estimate(FaceConfig(preset="paper256", resolution=side)) for side in (256, 1024))
    plan = Plan(resolution=256, base=16_384, max_channels=512)
    made = generator_cost(plan, z_dim=512, w_dim=512, depth=8, noise=True)
    judged = discriminator_cost(plan)
    assert small["weights"] == f"generator {made.weights:,}, discriminator {judged.weights:,}"
    operations = 2000 * (8.375 * judged.products.total() + 4.75 * made.products.total())
    assert (
        f"about {1.5 * operations / 1e12 / 60:.2g} minutes per kimg here: {operations / 1e12:.3g} TFLOP"
        in small["time"]
    )
    held = 24 * 64 * (2 * judged.values + made.values)
    state = 20 * made.weights + 16 * judged.weights
    assert small["memory"].startswith(f"about {(held + state) / 1e9:.3g} GB")
    assert "hours per kimg here" in large["time"] or "minutes per kimg here" in large["time"]
    without = estimate(FaceConfig(game={"gamma": 0, "path_weight": 0}))
    assert "(8 x " in without["time"]
    assert "+ 4 x " in without["time"]


def test_describe_prints_it():
    found = kerasft.describe("face", resolution=16).estimate
    assert list(found) == ["weights", "memory", "time"]
    assert "per kimg here" in found["time"]
    assert kerasft.describe("text", encoder="mlp").estimate == {}
