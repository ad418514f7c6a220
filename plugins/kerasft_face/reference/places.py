"""Where the tensors of the reference go in the networks of the face task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters.places import Place, some
from kerasft.pretrained.converters.places import fill as fill_places
from kerasft_face.networks import Discriminator, Generator
from kerasft_face.reference.networks import Reference

_UNUSED = ".resample_filter"


def fill(found: Reference, *, generator: Generator, discriminator: Discriminator) -> None:
    """Copies the weights into networks that the config of the reference made.

    Args:
        found: The reference's networks.
        generator: The task's.
        discriminator: The task's.

    Raises:
        PretrainedError: A tensor is missing, has another shape, or no place; nothing is changed then.
    """
    tensors = {f"G.{name}": value for name, value in found.generator.items()}
    tensors |= {f"D.{name}": value for name, value in found.discriminator.items()}
    judged = _discriminator(discriminator, found.label_rate)
    places = [replace(place, tensor=f"G.{place.tensor}") for place in _generator(generator)]
    places += [replace(place, tensor=f"D.{place.tensor}") for place in judged]
    known = {place.tensor for place in places}
    left = sorted(name for name in tensors if name not in known and not name.endswith(_UNUSED))
    if left:
        raise PretrainedError(
            f"{found.source} has tensors for which these networks have no place: {some(left)}; only skip "
            "generators and residual discriminators can be imported"
        )
    fill_places(places, tensors, source=found.source)


def _generator(generator: Generator) -> Iterator[Place]:
    yield from _mapping(generator.mapping, 1.0)
    yield Place(tensor="mapping.w_avg", variable=generator.mapping.average)
    layer = generator.synthesis.get_layer
    constant = layer("b4_constant").constant
    yield Place(tensor="synthesis.b4.const", variable=constant, layout=lambda x: x.transpose(1, 2, 0)[None])
    for side in generator.plan.sides:
        for number in (0, 1) if side > 4 else (1,):
            styled, name = layer(f"b{side}_conv_{number}"), f"synthesis.b{side}.conv{number}"
            yield from _modulated(styled, name)
            if styled.noise is not None:
                stored = styled.noise.stored
                yield Place(
                    tensor=f"{name}.noise_const", variable=stored, layout=lambda x: x[None, ..., None]
                )
                yield Place(tensor=f"{name}.noise_strength", variable=styled.noise.strength)
        yield from _modulated(layer(f"b{side}_colour"), f"synthesis.b{side}.torgb")


def _discriminator(discriminator: Discriminator, rate: float) -> Iterator[Place]:
    layer, sides = discriminator.body.get_layer, discriminator.plan.sides
    yield from _convolution(layer(f"b{sides[-1]}_colour"), f"b{sides[-1]}.fromrgb")
    for side in sides[1:]:
        yield from _convolution(layer(f"b{side}_skip"), f"b{side}.skip")
        for number in (0, 1):
            yield from _convolution(layer(f"b{side}_conv_{number}"), f"b{side}.conv{number}")
    yield from _convolution(layer("b4_conv"), "b4.conv")
    yield from _dense(layer("b4_dense"), "b4.fc", _channels_last)
    yield from _dense(discriminator.head, "b4.out")
    if discriminator.mapping is not None:
        # Stored weights are larger by what a layer's rate makes them smaller.
        yield from _mapping(discriminator.mapping, rate / discriminator.mapping.rate)


def _mapping(mapping: Any, scale: float) -> Iterator[Place]:
    if mapping.embedding is not None:
        yield from _dense(mapping.embedding, "mapping.embed")
    for number, dense in enumerate(mapping.hidden):
        yield from _dense(dense, f"mapping.fc{number}", lambda kernel: kernel.T * scale, scale)


def _dense(
    dense: Any, name: str, layout: Callable[[Any], Any] = np.transpose, scale: float = 1.0
) -> Iterator[Place]:
    yield Place(tensor=f"{name}.weight", variable=dense.kernel, layout=layout)
    yield Place(tensor=f"{name}.bias", variable=dense.bias, layout=lambda bias: bias * scale)


def _convolution(convolution: Any, name: str) -> Iterator[Place]:
    yield Place(tensor=f"{name}.weight", variable=convolution.kernel, layout=_kernel)
    if convolution.bias is not None:
        yield Place(tensor=f"{name}.bias", variable=convolution.bias)


def _modulated(layer: Any, name: str) -> Iterator[Place]:
    yield Place(tensor=f"{name}.weight", variable=layer.convolution.kernel, layout=_kernel)
    yield Place(tensor=f"{name}.bias", variable=layer.bias)
    yield from _dense(layer.convolution.affine, f"{name}.affine")


def _kernel(value: Any) -> Any:
    return value.transpose(2, 3, 1, 0)


def _channels_last(value: Any) -> Any:
    """The reference flattens 4x4 pictures channel by channel."""
    return value.reshape(len(value), -1, 4, 4).transpose(2, 3, 1, 0).reshape(-1, len(value))
