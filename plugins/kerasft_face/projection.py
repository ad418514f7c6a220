"""The face of the generator that looks like a given picture."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from kerasft.errors import ConfigError, DataError
from kerasft.metrics import Perceptual, perceptual
from kerasft_face.wspace import middle

if TYPE_CHECKING:
    from kerasft_face.task import Face

_RATE = 0.1
_RAMP_UP, _RAMP_DOWN = 0.05, 0.25
_JITTER, _JITTERED = 0.05, 0.75
_LEAST_SIDE = 8
_BEYOND = 0.1  # weight of what lies outside of -1 to 1, or the search gets lost there


@dataclasses.dataclass(frozen=True, kw_only=True)
class Projection:
    """What `project` found.

    Attributes:
        styles: float32 `[styles, w]`; what mixes, morphs and directions take.
        target: The picture, uint8 `[side, side, 3]`.
        picture: The face of the styles, with the noise that the generator always has.
        fitted: The same with the noise that was fitted to the picture.
        losses: Perceptual distance plus weighted error of pixels at each step, float32 `[steps]`.
        extractor: Name and hash of the perceptual distance.
    """

    styles: np.ndarray
    target: np.ndarray
    picture: np.ndarray
    fitted: np.ndarray
    losses: np.ndarray
    extractor: str


def project(
    task: Face,
    picture: np.ndarray,
    *,
    steps: int = 1000,
    extractor: str | keras.Model | Perceptual = "vgg16",
    pixels: float = 1.0,
    noise_weight: float = 1e5,
    each_style: bool = False,
    label: str | None = None,
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Projection:
    """Looks for the w whose face is like a picture.

    Adam starts at the mean w with a rate that rises to 0.1 in the first twentieth and falls along a cosine in
    the last quarter. In the first three quarters w is shaken by `N(0, 0.05 s t^2)`, where s is how far faces
    usually lie from the mean and t falls from 1 to 0. The noise is fitted too, kept at mean 0 and variance 1,
    and penalised where neighbours correlate, in all its halvings down to 8x8.
    Source: Karras et al., 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix D.

    Args:
        task: A built task; its weights stay as they are.
        picture: uint8 `[side, side, 3]` of the task's resolution.
        steps: Steps of the optimizer.
        extractor: The perceptual distance, see `kerasft.metrics.perceptual`.
        pixels: Weight of the mean squared error of pixels (-1 to 1), which the paper has not: it makes
            extractors that are blind to brightness see it.
        noise_weight: Weight of the penalty of the noise.
        each_style: Look for one w for each style instead of one for all: nearer, and harder to edit.
        label: The class to start from, if there are classes; the first, if None.
        seed: Of the first noise and of the shaking; the same one gives the same result.
        progress: Called with the number of steps done.

    Raises:
        ConfigError: An unknown extractor, no steps, or a task without styles.
        DataError: The picture has another size or dtype.

    Example:
        >>> found = project(task, photo)                                       # doctest: +SKIP
        >>> found.picture.shape                                                # doctest: +SKIP
        (256, 256, 3)
    """
    if steps < 1:
        raise ConfigError(f"steps is {steps}; it must be at least 1")
    side = task.config.resolution
    if picture.dtype != np.uint8 or picture.shape != (side, side, 3):
        raise DataError(
            f"the picture is {picture.dtype} {picture.shape}, but the network makes uint8 {(side, side, 3)}; "
            "bring it to this size, for example with kerasft_face.data.read_picture"
        )
    distance = extractor if isinstance(extractor, Perceptual) else perceptual(extractor)
    mean, spread = middle(task, label=label)
    search = _Search(
        task,
        picture,
        mean,
        distance=distance,
        pixels=pixels,
        noise_weight=noise_weight,
        each_style=each_style,
        seed=seed,
    )
    losses = []
    for step in range(steps):
        share = step / steps
        rate = _RATE * min(1.0, (step + 1) / (_RAMP_UP * steps)) * _fall((1.0 - share) / _RAMP_DOWN)
        shake = spread * _JITTER * max(0.0, 1.0 - share / _JITTERED) ** 2
        losses.append(
            search.step(tf.constant(step), tf.constant(rate, tf.float32), tf.constant(shake, tf.float32))
        )
        progress(step + 1)
    return Projection(
        styles=search.styles().numpy()[0],
        target=picture,
        picture=search.picture(fitted=False),
        fitted=search.picture(fitted=True),
        losses=np.array([float(loss) for loss in losses], np.float32),
        extractor=distance.identity,
    )


def _fall(left: float) -> float:
    return 0.5 - 0.5 * math.cos(math.pi * min(1.0, left))


def noise_penalty(noise: Any) -> tf.Tensor:
    """Returns how much the neighbours in a noise picture correlate, squared, summed over its halvings.

    Args:
        noise: float `[1, side, side, 1]`; below a side of 8 it says nothing.

    Example:
        >>> float(noise_penalty(tf.ones([1, 8, 8, 1])))
        2.0
    """
    total = tf.zeros([])
    while noise.shape[1] >= _LEAST_SIDE:
        for axis in (1, 2):
            total += tf.square(tf.reduce_mean(noise * tf.roll(noise, 1, axis)))
        # Twice the mean of four keeps the variance of white noise.
        noise = 2.0 * tf.nn.avg_pool2d(noise, 2, 2, "VALID")
    return total


def _shown(made: Any) -> Any:
    # A picture holds -1 to 1; beyond, the gradient stays that of a picture that could hold more.
    return made + tf.stop_gradient(tf.clip_by_value(made, -1.0, 1.0) - made)


class _Search:
    """The variables of a search and its compiled step."""

    def __init__(
        self,
        task: Face,
        picture: np.ndarray,
        mean: np.ndarray,
        *,
        distance: Perceptual,
        pixels: float,
        noise_weight: float,
        each_style: bool,
        seed: int,
    ) -> None:
        self._generator = task.models["generator"]
        self._synthesis = self._generator.synthesis
        self._target = tf.constant(picture[None], tf.float32)
        self._distance = distance.towards(self._target)
        self._pixels, self._noise_weight, self._seed = pixels, noise_weight, seed
        start = np.repeat(mean[None, None], self._generator.styles if each_style else 1, axis=1)
        self._w = keras.Variable(start)
        random = np.random.default_rng(seed)
        self._noise = {
            place: keras.Variable(random.standard_normal(variable.shape).astype(np.float32))
            for place, variable in enumerate(self._synthesis.non_trainable_variables)
            if variable.path.endswith("noise/stored")
        }
        self._optimizer = keras.optimizers.Adam(_RATE, beta_1=0.9, beta_2=0.999, epsilon=1e-8)
        self._optimizer.build(self._variables)
        self.step = tf.function(self._step, autograph=False)

    @property
    def _variables(self) -> list[Any]:
        return [self._w, *self._noise.values()]

    def styles(self) -> Any:
        """Returns `[1, styles, w]`."""
        return tf.broadcast_to(self._w.value, [1, self._generator.styles, self._w.shape[2]])

    def _step(self, step: Any, rate: Any, shake: Any) -> Any:
        with tf.GradientTape() as tape:
            shaking = tf.random.stateless_normal(self._w.shape, [self._seed, step], alg="philox")
            ws = self.styles() + shake * shaking
            whole = self._made(ws, fitted=True)
            made = _shown(whole)
            loss = self._distance((made + 1.0) * 127.5)[0]
            loss += self._pixels * tf.reduce_mean(tf.square(made - (self._target / 127.5 - 1.0)))
            penalty = tf.add_n(
                [tf.zeros([]), *(noise_penalty(noise.value) for noise in self._noise.values())]
            )
            beyond = tf.reduce_mean(tf.square(whole - tf.clip_by_value(whole, -1.0, 1.0)))
            total = loss + self._noise_weight * penalty + _BEYOND * beyond
        gradients = tape.gradient(total, [v.value for v in self._variables], unconnected_gradients="zero")
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply(gradients, self._variables)
        for noise in self._noise.values():
            centred = noise.value - tf.reduce_mean(noise.value)
            noise.assign(centred * tf.math.rsqrt(tf.reduce_mean(tf.square(centred)) + 1e-8))
        return loss

    def _made(self, ws: Any, *, fitted: bool) -> Any:
        """Returns pictures `[1, side, side, 3]`, -1 to 1, without touching the generator's own noise."""
        if not fitted:
            return self._synthesis(ws, training=False)
        fixed = [
            self._noise[place].value if place in self._noise else variable.value
            for place, variable in enumerate(self._synthesis.non_trainable_variables)
        ]
        trainable = [variable.value for variable in self._synthesis.trainable_variables]
        made, _ = self._synthesis.stateless_call(trainable, fixed, ws, training=False)
        return made

    def picture(self, *, fitted: bool) -> np.ndarray:
        """Returns the face, uint8 `[side, side, 3]`."""
        made = self._made(self.styles(), fitted=fitted)[0]
        return np.asarray(tf.cast(tf.clip_by_value(tf.round((made + 1.0) * 127.5), 0.0, 255.0), tf.uint8))
