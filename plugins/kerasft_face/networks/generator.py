"""The generator: from latents to pictures."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from kerasft_face.layers import LearnedConstant, Mapping, ModulatedConv2D, Resample, StyledConv2D
from kerasft_face.layers.activation import bounded
from kerasft_face.losses import PathLength
from kerasft_face.networks.plan import Plan, blocks


@keras.saving.register_keras_serializable(package="kerasft_face")
class Generator(keras.Model):
    """StyleGAN2's skip generator: a mapping network, and a picture that is refined from 4x4 on.

    Source: Karras et al., 2020, "Analyzing and Improving the Image Quality of StyleGAN".

    Args:
        plan: Sizes of the blocks, a `Plan` or its config.
        z_dim: Length of a latent vector.
        w_dim: Length of a style vector.
        depth: Layers of the mapping network.
        mapping_rate: Learning rate of the mapping network relative to the rest.
        classes: Number of classes; 0 takes no label.
        noise: Whether synthesis adds noise.
        path_decay: What the average path length forgets in a turn.
        **kwargs: Of `keras.Model`.

    Attributes:
        mapping: From z to w.
        synthesis: From `[batch, styles, w]` to pictures `[batch, side, side, 3]`, about -1 to 1.
        path_length: Regularises path lengths; here, so that its average is state of the model.

    Example:
        >>> plan = Plan(resolution=8, base=32, max_channels=8)
        >>> Generator(plan, z_dim=4, w_dim=4, depth=2)(keras.ops.zeros((2, 4))).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(
        self,
        plan: Plan | dict[str, Any],
        *,
        z_dim: int,
        w_dim: int,
        depth: int,
        mapping_rate: float = 0.01,
        classes: int = 0,
        noise: bool = True,
        path_decay: float = 0.01,
        **kwargs: Any,
    ) -> None:
        precise = keras.config.dtype_policy().variable_dtype
        super().__init__(**{"dtype": precise, **kwargs})
        self.plan = plan if isinstance(plan, Plan) else Plan(**plan)
        self._settings = {
            "z_dim": z_dim,
            "w_dim": w_dim,
            "depth": depth,
            "mapping_rate": mapping_rate,
            "classes": classes,
            "noise": noise,
            "path_decay": path_decay,
        }
        self.z_dim, self.classes = z_dim, classes
        self.mapping = Mapping(
            w_dim, depth=depth, rate=mapping_rate, classes=classes, dtype=precise, name="mapping"
        )
        self.mapping.build((None, z_dim), (None, classes) if classes else None)
        self.styles = self.plan.styles
        self.synthesis = _synthesis(self.plan, styles=self.styles, w_dim=w_dim, noise=noise)
        self.path_length = PathLength(path_decay, dtype=precise, name="path_length")
        self.path_length.build((None,))
        self.latent_seed = keras.random.SeedGenerator()
        self.mixing_seed = keras.random.SeedGenerator()
        self.built = True

    def call(self, z: Any, label: Any = None, truncation: Any = None, training: bool = False) -> Any:
        """Makes pictures.

        Args:
            z: float `[batch, z]`.
            label: One-hot `[batch, classes]`, if there are classes.
            truncation: float `[batch]`, 1 leaves w as it is and 0 makes it the average; None is 1.
            training: Draw noise, and move the average w.
        """
        w = self.mapping(z, label, training=training)
        if truncation is not None:
            w = self.mapping.truncate(w, truncation)
        return self.synthesis(self.broadcast(w), training=training)

    def broadcast(self, w: Any) -> Any:
        """Returns one w for each style: `[batch, w]` becomes `[batch, styles, w]`."""
        return ops.repeat(w[:, None], self.styles, axis=1)

    def draw(self, count: Any, label: Any = None, *, mixing: float = 0.0) -> Any:
        """Makes pictures of random latents, as training does; see `draw_styles`."""
        return self.synthesis(self.draw_styles(count, label, mixing=mixing), training=True)

    def draw_styles(self, count: Any, label: Any = None, *, mixing: float = 0.0) -> Any:
        """Maps random latents, as training does.

        Args:
            count: Rows.
            label: One-hot `[count, classes]`, if there are classes.
            mixing: Chance that all styles from a random one on come from other latents.

        Returns:
            float `[count, styles, w]`.
        """
        styles = self.broadcast(self._draw(count, label))
        if not mixing:
            return styles
        others = self.broadcast(self._draw(count, label))
        cut = keras.random.randint((), 1, self.styles, seed=self.mixing_seed)
        mixed = keras.random.uniform((), seed=self.mixing_seed) < mixing
        keep = ops.arange(self.styles) < tf.where(mixed, cut, self.styles)
        return ops.where(keep[None, :, None], styles, others)

    def _draw(self, count: Any, label: Any) -> Any:
        z = keras.random.normal((count, self.z_dim), dtype=self.mapping.dtype, seed=self.latent_seed)
        return self.mapping(z, label, training=True)

    def blocks(self) -> dict[int, list[keras.Layer]]:
        """Returns the layers of each resolution of synthesis, 4 first."""
        return blocks(self.synthesis, self.plan)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "plan": self.plan.get_config(), **self._settings}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Generator:
        return cls(**config)


def _synthesis(plan: Plan, *, styles: int, w_dim: int, noise: bool) -> keras.Model:
    precise = keras.config.dtype_policy().variable_dtype
    ws = keras.Input((styles, w_dim), dtype=precise, name="styles")
    x = LearnedConstant(plan.channels(4), dtype=precise, name="b4_constant")(ws)
    picture, position = None, 0
    for side in plan.sides:
        policy, filters = plan.policy(side), plan.channels(side)
        for part in ("conv_0", "conv_1") if side > 4 else ("conv_1",):
            layer = StyledConv2D(
                filters, upsample=part == "conv_0", noise=noise, dtype=policy, name=f"b{side}_{part}"
            )
            x = layer(x, ws[:, position])
            position += 1
        # Colour has the style of the next convolution, so that the last style is its own.
        colour = _ToColour(dtype=policy, name=f"b{side}_colour")(x, ws[:, position])
        if picture is not None:
            grown = Resample(2.0, dtype=precise, name=f"b{side}_grown")(picture)
            colour = keras.layers.Add(dtype=precise, name=f"b{side}_sum")([grown, colour])
        picture = colour
    return keras.Model(ws, picture, name="synthesis")


@keras.saving.register_keras_serializable(package="kerasft_face")
class _ToColour(keras.layers.Layer):
    """A modulated 1x1 convolution to red, green and blue in full precision."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "autocast": False})
        self.convolution = ModulatedConv2D(
            3, 1, demodulate=False, dtype=self.dtype_policy, name="convolution"
        )

    def build(self, x_shape: Any, w_shape: Any) -> None:
        self.convolution.build(x_shape, w_shape)
        self.bias = self.add_weight(name="bias", shape=(3,), initializer="zeros")

    def call(self, x: Any, w: Any) -> Any:
        return ops.cast(bounded(self.convolution(x, w)), self.variable_dtype) + self.bias
