"""The image task: labels for encoded pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

import kerasft
from kerasft.data import Field, Source
from kerasft.errors import DataError
from kerasft.training import Augmentation, Batch
from kerasft_image.augment import augmentation
from kerasft_image.backbones import Backbone, architecture, build_backbone
from kerasft_image.config import ImageConfig
from kerasft_image.data import DIGITS, encode, open_data
from kerasft_image.decoding import decode, resize
from kerasft_image.drawn import shapes
from kerasft_image.kinds import KINDS, Kind
from kerasft_image.model import Built, build_model

_LEARNED = "image.json"
_EXAMPLES = 8


@kerasft.register("image")
class Image(kerasft.Task):
    """One label or several for pictures.

    Example:
        >>> task = kerasft.create("image", backbone="resnet20", labels=["cat", "dog"])
        >>> [field.name for field in task.fields()]
        ['image_bytes', 'image', 'label']
    """

    config_class = ImageConfig

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.kind: Kind = KINDS[self.config.kind](self.config)
        self._built: Built | None = None
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
    def monitor(self) -> str:  # type: ignore[override]
        """The metric that says which checkpoint is the best."""
        return self.kind.monitor

    def fields(self) -> tuple[Field, ...]:
        return (
            Field(name="image_bytes", kind="bytes", required=False, aliases=("encoded", "content")),
            Field(name="image", kind="any", required=False, aliases=("picture", "images", "pixels", "x")),
            self.kind.field(),
        )

    def open_data(self, data: Any) -> Any:
        return open_data(data, target=self.kind.target)

    def default_data(self, split: Literal["train", "test"]) -> Any:
        return f"{DIGITS}{split}" if self.config.kind == "classification" else None

    def adapt(self, source: Source) -> None:
        _check_pictures(source)
        self.kind.adapt(source)

    def save_assets(self, folder: Path) -> None:
        learned = {"labels": self.labels, "architecture": self._architecture}
        (folder / _LEARNED).write_text(
            json.dumps(learned, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    def load_assets(self, folder: Path) -> None:
        learned = json.loads((folder / _LEARNED).read_text(encoding="utf-8"))
        self.kind.names = tuple(learned["labels"])
        self._architecture = learned["architecture"]

    def build_model(self) -> keras.Model:
        outputs = len(self.labels)
        if self._architecture is None:
            self._architecture = architecture(self.config)
        self._backbone = build_backbone(
            self.config,
            side=self.config.network.scale or self.config.side,
            architecture=self._architecture,
        )
        self._built = build_model(self.config, self._backbone, outputs=outputs)
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
        return self.kind.loss(batch, outputs["logits"])

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        return self.kind.metrics()

    def score(self, batch: Batch, outputs: Any) -> tuple[Any, ...]:
        return self.kind.score(batch, outputs["logits"])

    def postprocess(self, outputs: Any, features: dict[str, Any]) -> dict[str, Any]:
        return {**self.kind.answer(outputs["logits"]), "embedding": outputs["embedding"]}

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        inputs = super().request(rows, signature=signature)
        if signature == "serving_default" and not inputs and "image" in rows:
            return {"image_bytes": [encode(np.asarray(picture)) for picture in rows["image"]]}
        return inputs

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        return {
            "serving_default": {"image_bytes": tf.TensorSpec([None], tf.string)},
            "image": {"image": tf.TensorSpec([None, None, None, 3], tf.float32)},
        }

    def calls(self) -> dict[str, str]:
        return {"classify": "serving_default", "classify_array": "image"}

    def example(self) -> dict[str, list[Any]]:
        pictures = shapes(_EXAMPLES, self.config.side)
        return {
            "image_bytes": [encode(picture) for picture in pictures],
            "image": list(pictures.astype(np.float32)),
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
