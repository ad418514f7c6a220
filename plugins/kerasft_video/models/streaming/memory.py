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


class Whole:
    """No past: the clip is all there is.

    Attributes:
        shapes: What each layer would remember, in the order in which they ran.
    """

    def __init__(self) -> None:
        self.shapes: list[Shape] = []

    def through(self, layer: layers.Layer, x: Any, past: Shape) -> Any:
        self.shapes.append(past)
        return layer(x)[0]


class Packed:
    """The pasts of all layers in one tensor.

    Args:
        state: float `[batch, numbers]`, as many as the shapes have.
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
        self._next.append(ops.reshape(ops.cast(after, "float32"), (-1, math.prod(shape))))
        self._begin, self._number = end, self._number + 1
        return y

    @property
    def after(self) -> Any:
        """The state after the frames, in the same layout."""
        return ops.concatenate(self._next, axis=1)
