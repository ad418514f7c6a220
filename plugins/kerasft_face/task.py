"""The face task: two networks that play, and a SavedModel that answers a seed with a face."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

import kerasft
from kerasft import Update
from kerasft.data import Field, Source
from kerasft.errors import DataError, OrderError
from kerasft.pretrained import resolve
from kerasft.pretrained.converters import dcgan
from kerasft.training.examples import Examples
from kerasft_face import costs, evaluation, freezing, reference, synthetic
from kerasft_face.config import FaceConfig
from kerasft_face.data import FittedPictures, pictures
from kerasft_face.drawn import PREFIX, cartoons, from_address
from kerasft_face.game import Game
from kerasft_face.latents import latents
from kerasft_face.networks import Discriminator, Generator, PlainDiscriminator, PlainGenerator
from kerasft_face.networks.plan import Plan
from kerasft_face.samples import Samples

_SEEN = 36
_LEARNED = "face.json"
_TRUNCATION = "truncation must be between 0 (the average face) and 1 (no truncation)"


@kerasft.register("face")
class Face(kerasft.Task):
    """Faces like those of the training pictures, one for every seed.

    Attributes:
        seen: The first training pictures, uint8 `[pictures, side, side, 3]`, as the networks see them.

    Example:
        >>> task = kerasft.create("face", resolution=16)
        >>> list(task.signatures()["serving_default"])
        ['seed', 'truncation']
    """

    config_class = FaceConfig

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._labels: tuple[str, ...] = self.config.labels or ()
        self.seen: np.ndarray | None = None
        self._reference: reference.Reference | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes; none unless `config.conditional`.

        Raises:
            OrderError: they are not known before the training data is.
        """
        if self.config.conditional and not self._labels:
            raise OrderError(
                "The classes are those of the training data: call finetune(data), or set labels=."
            )
        return self._labels

    def fields(self) -> tuple[Field, ...]:
        fields = [
            Field(name="picture", kind="any", aliases=("image",)),
            Field(name="seed", kind="integer", request=True),
            Field(name="z", kind="any", request=True),
            Field(name="truncation", kind="number", request=True, default=1.0),
        ]
        if self._has_styles:
            fields.append(Field(name="w", kind="any", request=True))
        if self.config.conditional:
            fields.append(Field(name="label", kind="label", classes=self._labels or None))
        return tuple(fields)

    def open_data(self, data: Any) -> Any:
        if isinstance(data, str) and data.startswith(PREFIX):
            return from_address(data, resolution=self.config.resolution)
        if synthetic.is_address(data):
            return synthetic.from_address(data, resolution=self.config.resolution)
        if isinstance(data, (str, os.PathLike)) and (Path(data).is_dir() or Path(data).suffix == ".zip"):
            return pictures(data, resolution=self.config.resolution)
        return data

    def default_data(self, split: Literal["train", "test"]) -> Any:
        if self.config.conditional:
            return None
        return PREFIX + ("people" if split == "train" else "people?count=1000&seed=1")

    def arrange(self, source: Source, *, training: bool) -> Source:
        return FittedPictures(source, resolution=self.config.resolution)

    def adapt(self, source: Source) -> None:
        if len(source) < 2:
            raise DataError(f"{source.name} has one picture; give at least two, or there is nothing to vary")
        first = self.arrange(source, training=True).take(np.arange(min(len(source), _SEEN)), ["picture"])
        self.seen = np.asarray(first["picture"])
        if self.config.conditional and not self._labels:
            self._labels = source.classes("label")

    def save_assets(self, folder: Path) -> None:
        (folder / _LEARNED).write_text(json.dumps({"labels": self._labels}) + "\n", encoding="utf-8")

    def load_assets(self, folder: Path) -> None:
        self._labels = tuple(json.loads((folder / _LEARNED).read_text(encoding="utf-8"))["labels"])

    @property
    def _plan(self) -> Plan:
        network = self.config.network
        return Plan(
            resolution=self.config.resolution,
            base=network.base,
            max_channels=network.max_channels,
            mixed_blocks=network.mixed_blocks,
        )

    def build_model(self) -> dict[str, keras.Model]:
        config, network, plan = self.config, self.config.network, self._plan
        judging = {
            "augment": "" if config.game.augment == "none" else config.game.augment_kinds,
            "adaptive": config.game.controller,
            "mirror": config.mirror,
            "name": "discriminator",
        }
        if not self._has_styles:
            return {
                "generator": PlainGenerator(plan, z_dim=network.z_dim, name="generator"),
                "discriminator": PlainDiscriminator(plan, **judging),
            }
        generator = Generator(
            plan,
            z_dim=network.z_dim,
            w_dim=network.w_dim,
            depth=network.mapping_depth,
            mapping_rate=network.mapping_rate,
            classes=len(self.labels),
            noise=network.noise,
            path_decay=config.game.path_decay,
            name="generator",
        )
        discriminator = Discriminator(
            plan,
            group=network.group,
            classes=len(self.labels),
            depth=network.mapping_depth if network.label_depth is None else network.label_depth,
            **judging,
        )
        return {"generator": generator, "discriminator": discriminator}

    @property
    def _has_styles(self) -> bool:
        return self.config.architecture == "stylegan2"

    @classmethod
    def import_file(cls, path: Path) -> Face | None:
        """Reads the networks of a pickle of the reference StyleGAN2 or StyleGAN2-ADA."""
        if path.suffix.lower() not in reference.EXTENSIONS:
            return None
        found = reference.read(path)
        task = cls(**found.config())
        task._reference, task.notice = found, reference.NOTICE
        return task

    def load_pretrained(self, model: keras.Model | dict[str, keras.Model]) -> None:
        assert isinstance(model, dict)
        if self._reference is not None:
            reference.fill(self._reference, **model)
        if self.config.pretrained is not None:
            dcgan.load_weights(model["generator"].body, resolve(self.config.pretrained))

    def layer_groups(self, model: keras.Model | dict[str, keras.Model]) -> dict[str, list[keras.Layer]]:
        assert isinstance(model, dict)
        generator, discriminator = model["generator"], model["discriminator"]
        groups: dict[str, list[keras.Layer]] = {"mapping": [generator.mapping]} if self._has_styles else {}
        groups |= {f"generator_{side}": layers for side, layers in generator.blocks().items()}
        judged = reversed(discriminator.blocks().items())
        groups |= {f"discriminator_{side}": layers for side, layers in judged}
        if self._has_styles:
            parts = discriminator.mapping, discriminator.head
            groups["discriminator_4"] += [layer for layer in parts if layer is not None]
        return groups

    def freeze_policy(self, policy: Any) -> Any:
        return freezing.policy(policy, list(self.freezing.groups))

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        features = {"picture": raw["picture"]}
        if self.config.conditional:
            features["label"] = self._one_hot(raw["label"])
        return features

    def updates(self, make_optimizer: Any) -> list[Update]:
        game = Game(
            generator=self.models["generator"], discriminator=self.models["discriminator"], config=self.config
        )
        return game.updates(make_optimizer)

    def measure(
        self, examples: Examples, *, batch_size: int, progress: Callable[[int], None]
    ) -> dict[str, float]:
        return evaluation.measure(self, examples, batch_size=batch_size, progress=progress)

    def measure_note(self) -> str:
        return evaluation.caution(self.config.metrics.extractor)

    @property
    def monitor(self) -> str:  # type: ignore[override]
        """The relative Fréchet distance."""
        return f"val_fidr_{evaluation.suffix(self.config.metrics.extractor)}"

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        if self.config.game.augment == "none":
            return {}
        return {"real_sign": keras.metrics.Mean(), "augment_probability": keras.metrics.Mean()}

    def update_metrics(self, metrics: Any, batch: Any, outputs: Any, *, training: bool) -> None:
        for name, metric in metrics.items():
            metric.update_state(outputs[name])

    def callbacks(self) -> list[keras.callbacks.Callback]:
        samples = self.config.samples
        if not samples.count:
            return []
        return [Samples(self, count=samples.count, every=samples.every)]

    def averaged(self) -> tuple[str, ...]:
        return ("generator",)

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        common = {"truncation": tf.TensorSpec([None], tf.float32)}
        if self.config.conditional:
            common["label"] = tf.TensorSpec([None], tf.string)
        found = {
            "serving_default": {"seed": tf.TensorSpec([None], tf.int64), **common},
            "synthesize_z": {"z": tf.TensorSpec([None, self.config.network.z_dim], tf.float32), **common},
        }
        if self._has_styles:
            shape = [None, self._plan.styles, self.config.network.w_dim]
            found["synthesize_w"] = {"w": tf.TensorSpec(shape, tf.float32)}
        return found

    def calls(self) -> dict[str, str]:
        return {**super().calls(), "generate": "serving_default"}

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        inputs = super().request(rows, signature=signature)
        for value in inputs.get("truncation", ()):
            if not 0.0 <= value <= 1.0:
                raise DataError(f"{_TRUNCATION}, not {value:g}")
        for name in ("z", "w"):
            for row, value in enumerate(inputs.get(name, ()), start=1):
                if not np.isfinite(np.asarray(value, np.float64)).all():
                    raise DataError(f"{name} of row {row} holds NaN or an infinity; give finite numbers")
        return inputs

    def serve(self, inputs: dict[str, Any], *, signature: str) -> dict[str, Any]:
        # One by one, because the last bits of a convolution depend on the size of its batch.
        if signature == "synthesize_w":
            ws = _finite(inputs["w"], "w")
            return _answer(tf.map_fn(self._of_styles, ws, fn_output_signature=self._picture_spec))
        if signature == "synthesize_z":
            z = _finite(inputs["z"], "z")
        else:
            z = latents(inputs["seed"], self.config.network.z_dim)
        truncation = inputs["truncation"]
        inside = tf.reduce_all((truncation >= 0.0) & (truncation <= 1.0))
        with tf.control_dependencies([tf.debugging.Assert(inside, [_TRUNCATION, truncation])]):
            asked = [z, tf.identity(truncation)]
        if self.config.conditional:
            asked.append(self._one_hot(inputs["label"]))
        if not self._has_styles:
            return _answer(tf.map_fn(self._plainly, tuple(asked), fn_output_signature=self._picture_spec))
        w_spec = tf.TensorSpec([self.config.network.w_dim], tf.float32)
        image, w = tf.map_fn(self._of_latents, tuple(asked), fn_output_signature=(self._picture_spec, w_spec))
        return {**_answer(image), "w": w}

    @property
    def _picture_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([self.config.resolution, self.config.resolution, 3], tf.uint8)

    def _of_latents(self, asked: tuple[Any, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        z, truncation, *label = (value[None] for value in asked)
        generator = self.models["generator"]
        w = generator.mapping.truncate(generator.mapping(z, *label or [None], training=False), truncation)
        return self._of_styles(generator.broadcast(w)[0]), w[0]

    def _of_styles(self, ws: Any) -> tf.Tensor:
        return _pixels(self.models["generator"].synthesis(ws[None], training=False)[0])

    def _plainly(self, asked: tuple[Any, ...]) -> tf.Tensor:
        z, truncation = (value[None] for value in asked)
        return _pixels(self.models["generator"](z, truncation=truncation, training=False)[0])

    def _one_hot(self, label: Any) -> tf.Tensor:
        known = tf.equal(label[:, None], tf.constant(self.labels)[None])
        message = f"label must be one of {', '.join(self.labels)}"
        with tf.control_dependencies(
            [tf.debugging.Assert(tf.reduce_all(tf.reduce_any(known, 1)), [message, label])]
        ):
            return tf.cast(known, tf.float32)

    def estimate(self) -> dict[str, str]:
        return costs.estimate(self.config) if self._has_styles else {}

    def example(self) -> dict[str, list[Any]]:
        count, random = 4, np.random.default_rng(0)
        rows: dict[str, list[Any]] = {
            "picture": list(cartoons(count=count, resolution=self.config.resolution)),
            "seed": list(range(count)),
            "truncation": [0.0, 0.5, 0.7, 1.0],
            "z": list(random.standard_normal((count, self.config.network.z_dim)).astype(np.float32)),
        }
        if self._has_styles:
            w_shape = self._plan.styles, self.config.network.w_dim
            rows["w"] = list(random.standard_normal((count, *w_shape)).astype(np.float32))
        if self.config.conditional:
            names = self._labels or ("first", "second")
            rows["label"] = [names[i % len(names)] for i in range(count)]
        return rows


def _finite(values: Any, name: str) -> tf.Tensor:
    finite = tf.reduce_all(tf.math.is_finite(values))
    with tf.control_dependencies([tf.debugging.Assert(finite, [f"{name} holds NaN or an infinity"])]):
        return tf.identity(values)


def _pixels(made: Any) -> tf.Tensor:
    """From about -1 to 1 to uint8."""
    levels = tf.round((tf.cast(made, tf.float32) + 1.0) * 127.5)
    return tf.cast(tf.clip_by_value(levels, 0.0, 255.0), tf.uint8)


def _answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
    encoded = tf.map_fn(tf.io.encode_png, image, fn_output_signature=tf.TensorSpec([], tf.string))
    return {"image": image, "image_bytes": encoded}
