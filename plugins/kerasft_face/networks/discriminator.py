"""The discriminator: from pictures to a score."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kerasft_face.layers import EqualizedConv2D, EqualizedDense, Mapping, MinibatchDeviation
from kerasft_face.networks.judge import Judge
from kerasft_face.networks.plan import Plan, blocks


@keras.saving.register_keras_serializable(package="kerasft_face")
class Discriminator(Judge):
    """StyleGAN2's residual discriminator; with classes, it judges a picture together with its label.

    Sources: Karras et al., 2020, "Analyzing and Improving the Image Quality of StyleGAN"; Miyato and Koyama,
    2018, "cGANs with Projection Discriminator".

    Args:
        plan: Sizes of the blocks, a `Plan` or its config.
        group: Pictures over which the minibatch standard deviation is taken.
        classes: Number of classes; 0 takes no label.
        depth: Layers that map a label, with classes.
        **kwargs: Of `Judge`.

    Example:
        >>> plan = Plan(resolution=8, base=32, max_channels=8)
        >>> Discriminator(plan)(keras.ops.zeros((2, 8, 8, 3))).shape
        TensorShape([2])
    """

    def __init__(
        self,
        plan: Plan | dict[str, Any],
        *,
        group: int = 4,
        classes: int = 0,
        depth: int = 8,
        **kwargs: Any,
    ) -> None:
        precise = keras.config.dtype_policy().variable_dtype
        super().__init__(plan, **kwargs)
        self._settings |= {"group": group, "classes": classes, "depth": depth}
        width = self.plan.channels(4)
        self.body = _body(self.plan, group=group)
        self.head = EqualizedDense(width if classes else 1, dtype=precise, name="head")
        self.head.build((None, width))
        self.mapping = None
        if classes:
            self.mapping = Mapping(
                width, depth=depth, classes=classes, track=False, dtype=precise, name="label_mapping"
            )
            self.mapping.build(None, (None, classes))
        self.built = True

    def call(self, picture: Any, label: Any = None, training: bool = False) -> Any:
        """Judges pictures.

        Args:
            picture: float `[batch, side, side, 3]`, about -1 to 1.
            label: One-hot `[batch, classes]`, if there are classes.
            training: Has no effect.

        Returns:
            float `[batch]`, higher for what looks real.
        """
        score = self.head(self.body(picture))
        if self.mapping is None:
            return score[:, 0]
        return ops.sum(score * self.mapping(None, label), axis=1) / math.sqrt(score.shape[1])

    def blocks(self) -> dict[int, list[keras.Layer]]:
        """Returns the layers of each resolution, 4 first, those of score and label apart."""
        return blocks(self.body, self.plan)


def _body(plan: Plan, *, group: int) -> keras.Model:
    precise = keras.config.dtype_policy().variable_dtype
    half = math.sqrt(0.5)  # the sum of two branches keeps its variance
    side = plan.resolution
    picture = keras.Input((side, side, 3), dtype=precise, name="picture")
    x = EqualizedConv2D(plan.channels(side), 1, dtype=plan.policy(side), name=f"b{side}_colour")(picture)
    for side in reversed(plan.sides[1:]):
        policy, narrow, wide = plan.policy(side), plan.channels(side), plan.channels(side // 2)
        skip = EqualizedConv2D(
            wide,
            1,
            downsample=True,
            activate=False,
            use_bias=False,
            gain=half,
            dtype=policy,
            name=f"b{side}_skip",
        )(x)
        x = EqualizedConv2D(narrow, 3, dtype=policy, name=f"b{side}_conv_0")(x)
        x = EqualizedConv2D(wide, 3, downsample=True, gain=half, dtype=policy, name=f"b{side}_conv_1")(x)
        x = keras.layers.Add(dtype=policy, name=f"b{side}_sum")([skip, x])
    width = plan.channels(4)
    x = MinibatchDeviation(group, dtype=precise, name="b4_deviation")(x)
    x = EqualizedConv2D(width, 3, dtype=precise, name="b4_conv")(x)
    x = EqualizedDense(width, activate=True, dtype=precise, name="b4_dense")(keras.layers.Flatten()(x))
    return keras.Model(picture, x, name="body")
