"""The networks of a DCGAN: plain convolutions and batch normalisation.

Source: Radford, Metz and Chintala, 2016, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks".
"""

from __future__ import annotations

from typing import Any

import keras

from kerasft.pretrained.converters import dcgan
from kerasft_face.networks.judge import Judge
from kerasft_face.networks.plan import Plan, blocks


@keras.saving.register_keras_serializable(package="kerasft_face")
class PlainGenerator(keras.Model):
    """A DCGAN's generator.

    Args:
        plan: Sizes of the blocks, a `Plan` or its config.
        z_dim: Length of a latent vector.
        **kwargs: Of `keras.Model`.

    Attributes:
        body: From latents to pictures, see `kerasft.pretrained.converters.dcgan`.

    Example:
        >>> plan = Plan(resolution=8, base=32, max_channels=8)
        >>> PlainGenerator(plan, z_dim=4)(keras.ops.zeros((2, 4))).shape
        TensorShape([2, 8, 8, 3])
    """

    def __init__(self, plan: Plan | dict[str, Any], *, z_dim: int, **kwargs: Any) -> None:
        precise = keras.config.dtype_policy().variable_dtype
        super().__init__(**{"dtype": precise, **kwargs})
        self.plan = plan if isinstance(plan, Plan) else Plan(**plan)
        self.z_dim = z_dim
        channels = [self.plan.channels(side) for side in self.plan.sides[:-1]]
        self.body = dcgan.build(latent=z_dim, filters=channels, name="body")
        self.latent_seed = keras.random.SeedGenerator()
        self.built = True

    def call(self, z: Any, label: Any = None, truncation: Any = None, training: bool = False) -> Any:
        """Makes pictures.

        Args:
            z: float `[batch, z]`.
            label: None, there are no classes.
            truncation: float `[batch]`, a factor of z: 1 leaves it, 0 gives the face in the middle of all.
            training: Normalise by the batch.
        """
        return self.body(z if truncation is None else z * truncation[:, None], training=training)

    def draw(self, count: Any, label: Any = None, *, mixing: float = 0.0) -> Any:
        """Makes pictures of random latents, as training does; there are no styles to mix."""
        z = keras.random.normal((count, self.z_dim), dtype=self.variable_dtype, seed=self.latent_seed)
        return self(z, training=True)

    def blocks(self) -> dict[int, list[keras.Layer]]:
        """Returns the layers of each resolution, 4 first."""
        return blocks(self.body, self.plan)

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "plan": self.plan.get_config(), "z_dim": self.z_dim}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> PlainGenerator:
        return cls(**config)


@keras.saving.register_keras_serializable(package="kerasft_face")
class PlainDiscriminator(Judge):
    """A DCGAN's discriminator.

    Args:
        plan: Sizes of the blocks, a `Plan` or its config.
        **kwargs: Of `Judge`.

    Example:
        >>> plan = Plan(resolution=8, base=32, max_channels=8)
        >>> PlainDiscriminator(plan)(keras.ops.zeros((2, 8, 8, 3))).shape
        TensorShape([2])
    """

    def __init__(self, plan: Plan | dict[str, Any], **kwargs: Any) -> None:
        super().__init__(plan, **kwargs)
        self.body = _body(self.plan)
        self.built = True

    def call(self, picture: Any, label: Any = None, training: bool = False) -> Any:
        """Judges pictures.

        Args:
            picture: float `[batch, side, side, 3]`, about -1 to 1.
            label: None, there are no classes.
            training: Normalise by the batch.

        Returns:
            float `[batch]`, higher for what looks real.
        """
        return self.body(picture, training=training)[:, 0]

    def blocks(self) -> dict[int, list[keras.Layer]]:
        """Returns the layers of each resolution, 4 first."""
        return blocks(self.body, self.plan)


def _body(plan: Plan) -> keras.Model:
    normal = keras.initializers.RandomNormal(0.0, 0.02)
    precise = keras.config.dtype_policy().variable_dtype
    picture = keras.Input((plan.resolution, plan.resolution, 3), dtype=precise, name="picture")
    x = picture
    for side in reversed(plan.sides[1:]):
        first = side == plan.resolution
        x = keras.layers.Conv2D(
            plan.channels(side // 2),
            4,
            strides=2,
            padding="same",
            use_bias=False,
            kernel_initializer=normal,
            name=f"b{side}_conv",
        )(x)
        if not first:
            x = keras.layers.BatchNormalization(
                momentum=0.9,
                epsilon=1e-5,
                gamma_initializer=keras.initializers.RandomNormal(1.0, 0.02),
                name=f"b{side}_norm",
            )(x)
        x = keras.layers.LeakyReLU(0.2, name=f"b{side}_relu")(x)
    x = keras.layers.Conv2D(1, 4, use_bias=False, kernel_initializer=normal, dtype=precise, name="b4_score")(
        x
    )
    return keras.Model(picture, keras.layers.Flatten(dtype=precise, name="score")(x), name="body")
