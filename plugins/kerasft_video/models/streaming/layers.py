"""Layers that see a frame and those before it, never one after it."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


class CausalConv(layers.Layer):
    """Convolves over time, each channel and each place on its own, as MoViNet's stream buffers do.

    Frame t becomes `sum_j kernel[j] x[t - (size - 1) + j]`. Before the first frame it is taken to have stood
    still: zeros, as MoViNet has them, would look like a sudden start, which a long stream never shows.

    Args:
        size: Of the kernel, in frames.

    Example:
        >>> keras.utils.set_random_seed(0)
        >>> layer, x = CausalConv(3), keras.random.normal((1, 4, 1, 1, 2))
        >>> whole, _ = layer(x)
        >>> first, past = layer(x[:, :1])
        >>> second, past = layer(x[:, 1:2], past=past)
        >>> bool(ops.all(ops.isclose(second, whole[:, 1:2], atol=1e-6)))
        True
    """

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.size = size

    def build(self, shape: tuple[int | None, ...]) -> None:
        # Of the mean of the frames, so that signals keep their size at first.
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.size, shape[-1]),
            initializer=keras.initializers.VarianceScaling(scale=self.size, mode="fan_in"),
        )

    def call(self, x: Any, past: Any = None) -> tuple[Any, Any]:
        """Convolves.

        Args:
            x: `[batch, frames, height, width, channels]`.
            past: The `size - 1` frames before; the first of x if None.

        Returns:
            The same shape as x, and the past of what comes next.
        """
        before = ops.repeat(x[:, :1], self.size - 1, axis=1) if past is None else past
        frames = ops.concatenate([ops.cast(before, x.dtype), x], axis=1)
        kernel = ops.cast(self.kernel, x.dtype)
        count = x.shape[1]
        y = sum(kernel[at] * frames[:, at : at + count] for at in range(self.size))
        return y, frames[:, count:]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


class RunningMean(layers.Layer):
    """The mean of the frames up to each one, as MoViNet's cumulative pooling takes it.

    In a stream that never ends such a mean would stop to move: once `horizon` frames have passed, each new
    one counts `1 / horizon`, and older ones fade.

    Args:
        horizon: Frames.

    Example:
        >>> x = ops.reshape(ops.arange(4, dtype="float32"), (1, 4, 1))
        >>> means, _ = RunningMean(4)(x)
        >>> means[0, :, 0].numpy().tolist()
        [0.0, 0.5, 1.0, 1.5]
    """

    def __init__(self, horizon: int, **options: Any) -> None:
        super().__init__(**options)
        self.horizon = horizon

    def call(self, x: Any, past: Any = None) -> tuple[Any, Any]:
        """Averages.

        Args:
            x: `[batch, frames, channels]`, at most `horizon` frames; one with a past.
            past: `[batch, channels + 1]`: the mean, and of how many frames it is; none if None.

        Returns:
            The same shape as x, and the past of what comes next.
        """
        count = x.shape[1]
        x = ops.cast(x, "float32")
        if past is None:
            if count > self.horizon:
                raise ValueError(f"{self.name}: {count} frames are more than the horizon, {self.horizon}")
            passed = ops.arange(1, count + 1, dtype="float32")[None, :, None]
            means = ops.cumsum(x, axis=1) / passed
            after = ops.concatenate([means[:, -1], ops.full_like(x[:, 0, :1], count)], axis=1)
            return ops.cast(means, self.compute_dtype), after
        if count != 1:
            raise ValueError(f"{self.name}: with a past there is one frame at a time, not {count}")
        past = ops.cast(past, "float32")
        mean, passed = past[:, :-1], ops.minimum(past[:, -1:] + 1.0, float(self.horizon))
        mean = mean + (x[:, 0] - mean) / passed
        return ops.cast(mean[:, None], self.compute_dtype), ops.concatenate([mean, passed], axis=1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "horizon": self.horizon}
