"""What every builder of a backbone gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras

from kerasft.vision.backbones.stages import stages


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """A backbone with random weights.

    Attributes:
        model: From pictures to features.
        groups: Its layer groups, input to output.
        load: Fills it with pretrained weights; None if there are none.
    """

    model: keras.Model
    groups: dict[str, list[keras.Layer]]
    load: Callable[[], object] | None = None

    @classmethod
    def of(cls, model: keras.Model, load: Callable[[], object] | None = None) -> Backbone:
        """Groups the layers of a model by stage."""
        return cls(model=model, groups=stages(model), load=load)
