"""The image task: labels for encoded pictures."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

import kerasft
from kerasft.data import Field, Source, open_source
from kerasft.errors import ConfigError, DataError
from kerasft.training import Augmentation, Batch, Update
from kerasft.training.checkpoint import write_atomically
from kerasft.training.examples import raw_tensors
from kerasft.vision.backbones import Backbone, architecture, build_backbone
from kerasft.vision.resizing import resize
from kerasft_image.augment import augmentation
from kerasft_image.config import ImageConfig
from kerasft_image.data import DIGITS, encode, open_data
from kerasft_image.decoding import decode
from kerasft_image.drawn import shapes
from kerasft_image.explain import Explanations
from kerasft_image.kinds import KINDS, Kind, Recognition
from kerasft_image.model import Built, build_model
from kerasft_image.pairs import Verification, verification
from kerasft_image.sizes import encoded_if_sizes_differ

_LEARNED = "image.json"
_GALLERY = "gallery.npz"
_EXAMPLES = 8
_SEEN = 6


@kerasft.register("image")
class Image(kerasft.Task):
    """One label or several for pictures, or the name of a person.

    Attributes:
        seen: Some of the training pictures as the model sees them, uint8 `[pictures, side, side, 3]`.

    Example:
        >>> task = kerasft.create("image", backbone="resnet20", labels=["cat", "dog"])
        >>> [field.name for field in task.fields()]
        ['image_bytes', 'image', 'other_bytes', 'label']
    """

    config_class = ImageConfig

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.kind: Kind = KINDS[self.config.kind](self.config)
        self._built: Built | None = None
        self.seen: np.ndarray | None = None
        self._backbone: Backbone | None = None
        self._architecture: dict[str, Any] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels.

        Raises:
            OrderError: they are not known before the training data is.
        """
        return self.kind.known_names

    @property
    def built(self) -> Built:
        """The model with its parts.

        Raises:
            OrderError: before `build`.
        """
        _ = self.model
        assert self._built is not None
        return self._built

    @property
    def monitor(self) -> str:  # type: ignore[override]
        """The metric that says which checkpoint is the best."""
        return self.kind.monitor

    def fields(self) -> tuple[Field, ...]:
        return (
            Field(name="image_bytes", kind="bytes", required=False, aliases=("encoded", "content")),
            Field(name="image", kind="any", required=False, aliases=("picture", "images", "pixels", "x")),
            Field(name="other_bytes", kind="bytes", request=True),
            self.kind.field(),
        )

    def open_data(self, data: Any) -> Any:
        return open_data(data, target=self.kind.target)

    def default_data(self, split: Literal["train", "test"]) -> Any:
        return f"{DIGITS}{split}" if self.config.kind == "classification" else None

    def adapt(self, source: Source) -> None:
        _check_pictures(source)
        self.kind.adapt(source)
        source = self.arrange(source, training=True)
        places = np.linspace(0, len(source) - 1, min(len(source), _SEEN)).astype(int)
        columns = [name for name in ("image_bytes", "image") if name in source.columns]
        fields = [field for field in self.fields() if field.name in columns]
        raw = raw_tensors(source.take(places, columns), fields)
        self.seen = self.preprocess(raw)["image"].numpy()

    def arrange(self, source: Source, *, training: bool) -> Source:
        return encoded_if_sizes_differ(source)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        return [Explanations(self)]

    def save_assets(self, folder: Path) -> None:
        learned = {"labels": self.labels, "architecture": self._architecture}
        (folder / _LEARNED).write_text(
            json.dumps(learned, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    def load_assets(self, folder: Path) -> None:
        learned = json.loads((folder / _LEARNED).read_text(encoding="utf-8"))
        self.kind.names = tuple(learned["labels"])
        self._architecture = learned["architecture"]
        if isinstance(self.kind, Recognition) and (folder / _GALLERY).is_file():
            with np.load(folder / _GALLERY, allow_pickle=False) as kept:
                self.kind.restore_gallery(kept["persons"].tolist(), kept["templates"])

    def build_model(self) -> keras.Model:
        _ = self.labels
        if self._architecture is None:
            self._architecture = architecture(self.config.backbone)
        self._backbone = build_backbone(
            self.config.backbone,
            filters=self.config.network.filters,
            side=self.config.network.scale or self.config.side,
            architecture=self._architecture,
        )
        self._built = build_model(self.config, self._backbone, self.kind)
        return self._built.model

    def load_pretrained(self, model: keras.Model | dict[str, keras.Model]) -> None:
        assert self._backbone is not None
        if self.config.network.pretrained and self._backbone.load is not None:
            self._backbone.load()

    def layer_groups(self, model: keras.Model | dict[str, keras.Model]) -> dict[str, list[keras.Layer]]:
        assert self._built is not None
        return self._built.groups

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        config = self.config
        settings = {"size": config.side, "fit": config.fit, "crop": config.crop}
        if "image_bytes" in raw:
            return {
                "image": tf.map_fn(
                    lambda content: resize(decode(content), **settings),
                    raw["image_bytes"],
                    fn_output_signature=tf.TensorSpec([config.side, config.side, 3], tf.uint8),
                )
            }
        if "image" not in raw:
            raise DataError(_NO_PICTURES)
        return {"image": resize(_three_channels(raw["image"]), **settings)}

    def targets(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {self.kind.target: self.kind.targets(raw)}

    def augmentation(self) -> Augmentation | None:
        return augmentation(self.config.augment, target=self.kind.target, hot=self.kind.hot)

    def loss(self, batch: Batch, outputs: Any) -> tf.Tensor:
        return self.kind.loss(batch, outputs)

    def updates(self, make_optimizer: Callable[..., keras.optimizers.Optimizer]) -> list[Update]:
        if self.config.training.optimizer == "sgd":
            make_optimizer = partial(make_optimizer, momentum=self.config.training.momentum)
        return super().updates(make_optimizer)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        return self.kind.metrics()

    def score(self, batch: Batch, outputs: Any) -> tuple[Any, ...]:
        return self.kind.score(batch, outputs)

    def postprocess(self, outputs: Any, features: dict[str, Any]) -> dict[str, Any]:
        return self.kind.answer(outputs)

    def serve(self, inputs: dict[str, Any], *, signature: str) -> dict[str, Any]:
        if signature != "verify":
            return super().serve(inputs, signature=signature)
        vectors = [self._embed(inputs[name]) for name in ("image_bytes", "other_bytes")]
        return self._recognition("verify").compare(*vectors)

    def _embed(self, contents: tf.Tensor) -> tf.Tensor:
        batch = Batch(self.preprocess({"image_bytes": contents}), {})
        assert self.forward is not None
        return self.forward(batch, training=False)["embedding"]

    def _recognition(self, verb: str) -> Recognition:
        if not isinstance(self.kind, Recognition):
            raise ConfigError(f"{verb} is of the kind recognition only; this task does {self.config.kind}.")
        return self.kind

    def enroll(self, data: Any) -> tuple[str, ...]:
        """Makes persons known without training; a name that is known already gets the new pictures.

        They are kept in the run folder, if there is one, and go into exports made afterwards.

        Args:
            data: What `finetune` takes, with labels; one picture of a person is enough, more are better.

        Returns:
            Everybody who was enrolled.

        Raises:
            ConfigError: The task is not of the kind recognition.
            OrderError: It is not built yet.
        """
        kind = self._recognition("enroll")
        kind.enroll(*self._embedded(data))
        if self.run is not None:
            kept: dict[str, Any] = {"persons": np.array(kind.persons), "templates": kind.templates.numpy()}
            write_atomically(self.run.assets / _GALLERY, lambda file: np.savez(file, **kept))
        return kind.persons

    def verification(self, data: Any) -> Verification:
        """Compares all pictures of persons, who need not be in the training data, in pairs.

        Args:
            data: What `finetune` takes, with labels.

        Raises:
            ConfigError: The task is not of the kind recognition.
            OrderError: It is not built yet.
        """
        self._recognition("verification")
        names, embeddings = self._embedded(data)
        return verification(embeddings, names)

    def _embedded(self, data: Any) -> tuple[list[str], np.ndarray]:
        fields = [field for field in self.fields() if not (field.target or field.request)]
        anybody = Field(name=self.kind.target, kind="label", target=True)
        source = open_source(self.open_data(data), fields=[*fields, anybody])
        rows = source.take(np.arange(len(source)))
        names = list(rows.pop(self.kind.target))
        signature = "serving_default" if "image_bytes" in rows else "image"
        return names, self.predict(rows, signature=signature, verbose="quiet")["embedding"]

    def resources(self) -> list[Any]:
        return self.kind.resources()

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        inputs = super().request(rows, signature=signature)
        if signature == "serving_default" and not inputs and "image" in rows:
            return {"image_bytes": [encode(np.asarray(picture)) for picture in rows["image"]]}
        return inputs

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        contents = tf.TensorSpec([None], tf.string)
        signatures = {
            "serving_default": {"image_bytes": contents},
            "image": {"image": tf.TensorSpec([None, None, None, 3], tf.float32)},
        }
        if isinstance(self.kind, Recognition):
            signatures["verify"] = {"image_bytes": contents, "other_bytes": contents}
        return signatures

    def calls(self) -> dict[str, str]:
        if isinstance(self.kind, Recognition):
            return {"recognize": "serving_default", "recognize_array": "image", "verify": "verify"}
        return {"classify": "serving_default", "classify_array": "image"}

    def example(self) -> dict[str, list[Any]]:
        pictures = shapes(_EXAMPLES, self.config.side)
        contents = [encode(picture) for picture in pictures]
        return {
            "image_bytes": contents,
            "image": list(pictures.astype(np.float32)),
            "other_bytes": contents[1:] + contents[:1],
            self.kind.target: self.kind.example(_EXAMPLES),
        }


_NO_PICTURES = (
    "The data has no pictures: give a folder or .zip of them, a table with a column of paths, or a column "
    "image_bytes (contents of files) or image (arrays)."
)


def _three_channels(picture: Any) -> Any:
    if picture.shape.rank == 3:
        picture = picture[..., None]
    if picture.shape.rank != 4 or picture.shape[-1] not in (1, 3):
        raise DataError(
            f"The values of 'image' have the shape {tuple(picture.shape[1:])}; a picture is an array "
            "[height, width], [height, width, 1] or [height, width, 3]."
        )
    return tf.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture


def _check_pictures(source: Source) -> None:
    if "image_bytes" in source.columns:
        return
    if "image" not in source.columns:
        raise DataError(f"{source.name}: {_NO_PICTURES[0].lower()}{_NO_PICTURES[1:]}")
    some = source.take(np.arange(min(len(source), 64)), ["image"])["image"]
    values = [np.asarray(picture) for picture in some]
    largest = max((float(value.max()) for value in values if value.size), default=0.0)
    if all(value.dtype.kind == "f" for value in values) and largest <= 1.0:
        raise DataError(
            f"{source.name}: the values of 'image' go up to {largest:g} only, but white is 255; multiply "
            "them by 255."
        )
