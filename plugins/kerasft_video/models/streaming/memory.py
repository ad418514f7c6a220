"""What a causal layer remembers of frames that have passed."""

from __future__ import annotations

import math
from typing import Any, Protocol

from keras import layers, ops

Shape = tuple[int, ...]


class Memory(Protocol):
    """Runs layers with or without a past."""

    def through(self, layer: layers.Layer, x: Any, past: Shape) -> Any:
        """Returns what a layer makes of frames.

        Args:
            layer: Called as `layer(x)` or, with what it remembers, as `layer(x, past=...)`; returns frames,
                and what it will remember.
            x: Frames, `[batch, frames, ...]`.
            past: Shape of what it remembers, without the batch.
        """
        ...


class Fresh:
    """No past: a stream begins.

    Attributes:
        shapes: What each layer will remember, in the order in which they ran.
    """

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self._next: list[Any] = []

    def through(self, layer: layers.Layer, x: Any, past: Shape) -> Any:
        y, after = layer(x)
        self.shapes.append(past)
        self._next.append(after)
        return y

    @property
    def after(self) -> Any:
        """The state after the frames, float32 `[batch, numbers]`: what each layer remembers, end to end."""
        return _packed(self._next, self.shapes)


class Packed:
    """The pasts of all layers in one tensor.

    Args:
        state: What `after` gave.
        shapes: Of the layers, in the order in which they will run.
    """

    def __init__(self, state: Any, shapes: list[Shape]) -> None:
        self._state, self._shapes = state, shapes
        self._begin = 0
        self._number = 0
        self._next: list[Any] = []

    def through(self, layer: layers.Layer, x: Any, past: Shape) -> Any:
        shape = self._shapes[self._number]
        if shape != past:
            raise ValueError(f"{layer.name} remembers {past}, and the state has {shape} for it")
        end = self._begin + math.prod(shape)
        part = ops.reshape(self._state[:, self._begin : end], (-1, *shape))
        y, after = layer(x, past=part)
        self._next.append(after)
        self._begin, self._number = end, self._number + 1
        return y

    @property
    def after(self) -> Any:
        """The state after the frames, in the same layout."""
        return _packed(self._next, self._shapes)


def _packed(parts: list[Any], shapes: list[Shape]) -> Any:
    flat = [
        ops.reshape(ops.cast(part, "float32"), (-1, math.prod(shape)))
        for part, shape in zip(parts, shapes, strict=True)
    ]
    return ops.concatenate(flat, axis=1)
