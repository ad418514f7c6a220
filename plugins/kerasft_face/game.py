"""The turns of a training step: two networks, four updates, two optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from kerasft import Update
from kerasft.training.update import Batch
from kerasft_face import losses
from kerasft_face.config import FaceConfig
from kerasft_face.networks import Generator, Judge, PlainGenerator


class Game:
    """Binds the losses to the networks.

    A step in pseudocode:

        discriminator: tell real pictures from fake ones
        every 16 steps, R1: flatten the discriminator around real pictures
        generator: pass for real
        every 4 steps, path length: let equal steps in w move the picture equally

    Args:
        generator: Of one with styles, the attribute `path_length` keeps the average path length.
        discriminator: The other network.
        config: Weights and intervals.
    """

    def __init__(
        self, *, generator: Generator | PlainGenerator, discriminator: Judge, config: FaceConfig
    ) -> None:
        self._generator, self._discriminator = generator, discriminator
        self._config = config

    def updates(self, make_optimizer: Callable[..., keras.optimizers.Optimizer]) -> list[Update]:
        """Returns the updates; a regulariser of weight 0 is left out."""
        game = self._config.game
        judged = {"models": [self._discriminator], "optimizer": self._optimizer(make_optimizer)}
        made = {"models": [self._generator], "optimizer": self._optimizer(make_optimizer)}
        turns = [Update(name="discriminator", loss=self.tell, **judged)]
        if self._config.gamma:
            turns.append(Update(name="r1", loss=self.r1, every=game.r1_every, lazy=True, **judged))
        turns.append(Update(name="generator", loss=self.pass_for_real, **made))
        if game.path_weight and isinstance(self._generator, Generator):
            turns.append(
                Update(name="path_length", loss=self.path_length, every=game.path_every, lazy=True, **made)
            )
        return turns

    def _optimizer(
        self, make_optimizer: Callable[..., keras.optimizers.Optimizer]
    ) -> keras.optimizers.Optimizer:
        is_adam = self._config.training.optimizer == "adam"
        return make_optimizer(**(self._config.adam.model_dump() if is_adam else {}))

    def tell(self, batch: Batch) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The discriminator's loss, and what `metrics` of an augmented training measure."""
        real, label = self._real(batch), batch.features.get("label")
        fake = self._judge(self._fake(tf.shape(real)[0], label), label)
        real = self._judge(real, label)
        loss = losses.discriminator_loss(real, fake)
        if self._discriminator.adaptive is None:
            return loss
        probability = self._discriminator.adaptive(real)
        return loss, {"real_sign": tf.sign(real), "augment_probability": probability}

    def r1(self, batch: Batch) -> tf.Tensor:
        """The weighted gradient penalty."""
        label = batch.features.get("label")
        penalty = losses.r1_penalty(lambda pictures: self._judge(pictures, label), self._real(batch))
        return penalty * self._config.gamma

    def pass_for_real(self, batch: Batch) -> tf.Tensor:
        """The generator's loss."""
        label = batch.features.get("label")
        fake = self._fake(tf.shape(batch.features["picture"])[0], label)
        return losses.generator_loss(self._judge(fake, label))

    def path_length(self, batch: Batch) -> tf.Tensor:
        """Weighted path length regularisation on half a batch."""
        generator = self._generator
        assert isinstance(generator, Generator)
        pictures, label = batch.features["picture"], batch.features.get("label")
        half = (tf.shape(pictures)[0] + 1) // 2
        label = None if label is None else label[:half]
        styles = generator.draw_styles(half, label, mixing=self._config.game.style_mixing)
        noise = keras.random.normal((half, *pictures.shape[1:]), seed=generator.latent_seed)
        lengths = losses.path_lengths(lambda ws: generator.synthesis(ws, training=True), styles, noise)
        return generator.path_length(lengths) * self._config.game.path_weight

    def _fake(self, count: Any, label: Any) -> Any:
        return self._generator.draw(count, label, mixing=self._config.game.style_mixing)

    def _real(self, batch: Batch) -> tf.Tensor:
        """Returns the pictures of a batch, -1 to 1."""
        pictures = tf.cast(batch.features["picture"], tf.float32) / 127.5 - 1.0
        return pictures if self._discriminator.mirror is None else self._discriminator.mirror(pictures)

    def _judge(self, pictures: Any, label: Any) -> Any:
        judge = self._discriminator
        if judge.augment is not None and judge.adaptive is not None:
            pictures = judge.augment(pictures, p=judge.adaptive.probability)
        return judge(pictures, label, training=True)
