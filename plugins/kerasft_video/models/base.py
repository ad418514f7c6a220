"""What every builder of a network gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A network with random weights.

    Attributes:
        model: From its input to features, float `[batch, channels]`.
        groups: Its layer groups, input to output.
        head: Layers behind the backbone, which belong to the head: no weights exist for them.
        load: Fills it with pretrained weights; None if there are none.
    """

    model: keras.Model
    groups: dict[str, list[keras.Layer]]
    head: list[keras.Layer] = dataclasses.field(default_factory=list)
    load: Callable[[], object] | None = None
