"""A small causal network after MoViNet (Kondratyuk et al. 2021), for streams."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from kerasft_video.models.base import Network
from kerasft_video.models.streaming.layers import CausalConv, RunningMean
from kerasft_video.models.streaming.memory import Fresh, Memory, Packed

_BLOCKS = 2
_WIDER = 3
_FRAMES = 3
_SQUEEZED = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stream:
    """A network that takes a frame at a time.

    Attributes:
        first: From the first `frame`, `[batch, side, side, 3]`, to the features, `[batch, channels]`, and the
            state after it, float32 `[batch, size]`. It shares the layers of the network for clips.
        next: The same of each further `frame`, and the `state` after the one before.
        size: Of a state.
    """

    first: keras.Model
    next: keras.Model
    size: int

    def after(self, frame: Any, state: Any = None) -> tuple[Any, Any]:
        """Returns the features and the state after a frame.

        Args:
            frame: float `[batch, side, side, 3]`, 0 to 255.
            state: float32 `[batch, size]`; None if it is the first.
        """
        if state is None:
            return tuple(self.first(frame, training=False))
        return tuple(self.next([frame, state], training=False))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Streaming(Network):
    """A network for clips, of which every output is one of its `stream` too.

    Attributes:
        stream: The same network, a frame at a time.
    """

    stream: Stream


def movinet_stream(frames: int, side: int, *, filters: Sequence[int] = (16, 32, 64)) -> Streaming:
    """Builds a network of inverted bottlenecks whose convolutions over space and time are apart and causal.

    As in MoViNet's streaming models: in each block channels are widened, convolved over space, convolved over
    the frames up to now, weighed by what was seen on the whole up to now (squeeze and excite with a running
    mean), and brought together again. Its features are a running mean too. All that a layer needs of frames
    that have passed fits in a state of fixed size, so a frame costs the same however long the stream is.

    Args:
        frames: Of a clip, and the horizon of running means.
        side: Of a frame.
        filters: Of each stage, two blocks each; each halves space.

    Example:
        >>> network = movinet_stream(8, 32, filters=(4, 8))
        >>> network.model.output.shape, list(network.groups), network.stream.size == state_size(32, (4, 8))
        ((None, 24), ['stem', 'stage_0', 'stage_1', 'top'], True)
    """
    shared = _Shared()
    clip = keras.Input((frames, side, side, 3), name="clip")
    features = _features(shared, clip, Fresh(), filters, horizon=frames)
    model = keras.Model(clip, features, name="movinet_stream")

    frame = keras.Input((side, side, 3), name="frame")
    fresh = Fresh()
    features = _features(shared, ops.expand_dims(frame, 1), fresh, filters, horizon=frames)
    first = keras.Model(frame, [features, fresh.after], name="movinet_stream_first")
    size = sum(math.prod(shape) for shape in fresh.shapes)

    frame = keras.Input((side, side, 3), name="frame")
    state = keras.Input((size,), name="state", dtype="float32")
    packed = Packed(state, fresh.shapes)
    features = _features(shared, ops.expand_dims(frame, 1), packed, filters, horizon=frames)
    after = keras.Model([frame, state], [features, packed.after], name="movinet_stream_next")
    stream = Stream(first=first, next=after, size=size)
    return Streaming(model=model, groups=shared.groups(), stream=stream)


def state_size(side: int, filters: Sequence[int]) -> int:
    """Returns the size of a state of `movinet_stream`, without building it.

    Example:
        >>> state_size(32, (16, 32, 64))
        19927
    """
    total, inner = 0, filters[0]
    side = math.ceil(side / 2)
    for width in filters:
        side = math.ceil(side / 2)
        for _ in range(_BLOCKS):
            wide = _WIDER * inner
            total += (_FRAMES - 1) * side * side * wide + wide + 1
            inner = width
    return total + _WIDER * inner + 1


class _Shared:
    """Layers by name: the second time that one is asked for it is the same."""

    def __init__(self) -> None:
        self._layers: dict[str, layers.Layer] = {}

    def __call__(self, name: str, make: Callable[..., layers.Layer], *arguments: Any, **options: Any) -> Any:
        if name not in self._layers:
            self._layers[name] = make(*arguments, name=name, **options)
        return self._layers[name]

    def groups(self) -> dict[str, list[layers.Layer]]:
        """Returns layers with weights by stage, input to output."""
        found: dict[str, list[layers.Layer]] = {}
        for name, layer in self._layers.items():
            if layer.weights:
                first, second = name.split("_")[:2]
                found.setdefault(f"{first}_{second}" if first == "stage" else first, []).append(layer)
        return found


def _features(shared: _Shared, x: Any, memory: Memory, filters: Sequence[int], *, horizon: int) -> Any:
    x = shared("rescaling", layers.Rescaling, 1 / 127.5, offset=-1.0)(x)
    x = _convolved(shared, "stem", x, filters[0], size=3, strides=2)
    for stage, width in enumerate(filters):
        for block in range(_BLOCKS):
            name = f"stage_{stage}_{block}"
            x = _block(shared, name, x, width, memory, strides=2 if block == 0 else 1, horizon=horizon)
    x = _convolved(shared, "top", x, _WIDER * filters[-1], size=1)
    mean = shared("features", RunningMean, horizon, dtype="float32")
    pooled = memory.through(mean, ops.mean(ops.cast(x, "float32"), axis=(2, 3)), (x.shape[-1] + 1,))
    return pooled[:, -1]


def _block(
    shared: _Shared, name: str, x: Any, width: int, memory: Memory, *, strides: int, horizon: int
) -> Any:
    wide = _WIDER * x.shape[-1]
    y = _convolved(shared, f"{name}_widen", x, wide, size=1)
    y = _convolved(shared, f"{name}_space", y, None, size=3, strides=strides)
    time = shared(f"{name}_time", CausalConv, _FRAMES)
    y = memory.through(time, y, (_FRAMES - 1, *y.shape[2:]))
    y = _normalised(shared, f"{name}_time", y, active=True)
    y = _excited(shared, name, y, memory, horizon=horizon)
    y = _convolved(shared, f"{name}_narrow", y, width, size=1, active=False)
    return ops.add(x, y) if x.shape == y.shape else y


def _excited(shared: _Shared, name: str, x: Any, memory: Memory, *, horizon: int) -> Any:
    channels = x.shape[-1]
    mean = shared(f"{name}_mean", RunningMean, horizon)
    seen = memory.through(mean, ops.mean(x, axis=(2, 3)), (channels + 1,))
    squeeze = shared(f"{name}_squeeze", layers.Dense, max(channels // _SQUEEZED, 4), activation="hard_swish")
    excite = shared(f"{name}_excite", layers.Dense, channels, activation="hard_sigmoid")
    return ops.multiply(x, excite(squeeze(seen))[:, :, None, None, :])


def _convolved(
    shared: _Shared, name: str, x: Any, width: int | None, *, size: int, strides: int = 1, active: bool = True
) -> Any:
    """Convolves each frame; channels each on their own if there is no width."""
    options = {"strides": strides, "padding": "same", "use_bias": False}
    if width is None:
        layer = shared(f"{name}_conv", layers.DepthwiseConv2D, size, **options)
    else:
        layer = shared(f"{name}_conv", layers.Conv2D, width, size, kernel_initializer="he_normal", **options)
    # Frames go through as so many pictures: a convolution of 1 x k x k in three dimensions is far slower.
    y = layer(ops.reshape(x, (-1, *x.shape[2:])))
    y = ops.reshape(y, (-1, x.shape[1], *y.shape[1:]))
    return _normalised(shared, name, y, active=active)


def _normalised(shared: _Shared, name: str, x: Any, *, active: bool) -> Any:
    x = shared(f"{name}_norm", layers.BatchNormalization, momentum=0.9, epsilon=1e-5)(x)
    return shared(f"{name}_active", layers.Activation, "hard_swish")(x) if active else x
