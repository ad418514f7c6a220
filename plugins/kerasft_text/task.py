"""The text task: classification, label sets, regression and named entities of raw text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kerasft
from kerasft.data import Field, Source, open_source
from kerasft.errors import ConfigError, OrderError, PretrainedError
from kerasft.pretrained import converters, resolve
from kerasft.training.update import Batch, Update
from kerasft_text.config import PRETRAINED, SCRATCH, TextConfig
from kerasft_text.consistency import consistent
from kerasft_text.embedding import Embedder
from kerasft_text.encoders import Encoder, build_model, pooled, pretrained_encoder, scratch_encoder
from kerasft_text.hub_tokenizer import HubTokenizer
from kerasft_text.kinds import KINDS, Kind
from kerasft_text.kinds.base import TEXT
from kerasft_text.tokenization import Tokenizer, WordPieceTokenizer, WordTokenizer, load_tokenizer

_LEARNED = "text.json"


@kerasft.register("text")
class Text(kerasft.Task):
    """Labels, numbers or named entities for raw text, English, Chinese or any language with spaces.

    Example:
        >>> task = kerasft.create("text", encoder="cnn", labels=["negative", "positive"])
        >>> [field.name for field in task.fields()]
        ['text', 'label']
    """

    config_class = TextConfig

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._kind: Kind | None = None
        self._tokenizer: Tokenizer | None = None
        self._architecture: dict[str, Any] | None = None
        self._backbone: keras.Model | None = None
        self._groups: dict[str, list[keras.Layer]] = {}
        self._embedder: Embedder | None = None

    @property
    def kind(self) -> Kind:
        """What the task answers, by `config.kind`."""
        if self._kind is None:
            self._kind = KINDS[self.config.kind](self.config)
        return self._kind

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, or the entity types.

        Raises:
            OrderError: they are not known before the training data is.
        """
        return self.kind.known_names

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            OrderError: the encoder learns its vocabulary from training data that it has not seen yet.
        """
        if self._tokenizer is None:
            if not self.config.pretrained:
                raise OrderError(
                    f"The encoder {self.config.encoder!r} has no vocabulary yet, it learns it from the "
                    "training data: call finetune(data) first."
                )
            self._tokenizer = self._pretrained_tokenizer()
        return self._tokenizer

    @property
    def monitor(self) -> str:  # type: ignore[override]
        """The metric that says which checkpoint is the best."""
        return self.kind.monitor

    def fields(self) -> tuple[Field, ...]:
        return self.kind.fields()

    def adapt(self, source: Source) -> None:
        self.kind.adapt(source)
        if not self.config.pretrained:
            vocabulary = self.config.vocabulary
            self._tokenizer = WordTokenizer.learn(self.kind.texts(source), **vocabulary.model_dump())
        self.kind.warn(source, lambda text: self.tokenizer.encode(text))

    def save_assets(self, folder: Path) -> None:
        learned = {**self.kind.state(), "architecture": self._architecture}
        (folder / _LEARNED).write_text(
            json.dumps(learned, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        self.tokenizer.save(folder)

    def load_assets(self, folder: Path) -> None:
        learned = json.loads((folder / _LEARNED).read_text(encoding="utf-8"))
        self._architecture = learned.pop("architecture")
        self.kind.restore(learned)
        self._tokenizer = load_tokenizer(folder)

    def build_model(self) -> keras.Model:
        outputs = self.kind.outputs
        model, self._groups = build_model(self.config, self._make_encoder(), outputs=outputs)
        return model

    def _make_encoder(self) -> Encoder:
        tokenizer = self.tokenizer
        if self.config.pretrained:
            if self._architecture is None:
                folder = self._folder()
                self._architecture = converters.converter_of(folder).architecture(folder)
            encoder = pretrained_encoder(self.config, self._architecture, padding_id=tokenizer.padding_id)
            self._backbone = encoder.backbone
            return encoder
        return scratch_encoder(self.config, vocabulary_size=tokenizer.vocabulary_size)

    def embed(self, data: Any) -> np.ndarray:
        """Returns a vector for each text, what the head stands on: float32 `[rows, width]`.

        A pretrained encoder needs no training for it, and no labels.

        Args:
            data: Texts, or anything that `predict` takes.

        Raises:
            ConfigError: kind=entities has a vector for each word, not for each text.
            OrderError: an encoder from scratch that is not trained.
            DataError: a bad file or row.
        """
        if self.config.kind == "entities":
            raise ConfigError("kind=entities gives each word a vector, not each text: take another kind.")
        texts = {"text": list(data)} if isinstance(data, (list, tuple)) else data
        source = open_source(self.open_data(texts), fields=(TEXT,), targets=False)
        if self._embedder is None:
            self._embedder = Embedder(tokenizer=self.tokenizer, model=self._embedding_model())
        return self._embedder.embed(list(source.iterate("text")))

    def forget_answers(self) -> None:
        super().forget_answers()
        self._embedder = None

    def _embedding_model(self) -> keras.Model:
        if self.models:
            return keras.Model(self.model.input, self.model.get_layer("head").input)
        model = pooled(self.config, self._make_encoder())
        self.load_pretrained(model)
        return model

    def load_pretrained(self, model: keras.Model | dict[str, keras.Model]) -> None:
        if self._backbone is not None:
            folder = self._folder()
            converters.converter_of(folder).load_weights(self._backbone, folder)

    def layer_groups(self, model: keras.Model | dict[str, keras.Model]) -> dict[str, list[keras.Layer]]:
        return self._groups

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        encoding = self.tokenizer.encode(self.kind.text(raw))
        return {"token_ids": encoding.token_ids, **self.kind.features(encoding)}

    def targets(self, raw: dict[str, Any]) -> dict[str, Any]:
        return self.kind.targets(raw, self.tokenizer.encode(self.kind.text(raw)))

    def loss(self, batch: Batch, outputs: Any) -> tf.Tensor:
        return self.kind.loss(batch, outputs)

    def updates(self, make_optimizer: Callable[..., keras.optimizers.Optimizer]) -> list[Update]:
        weight = self.config.training.consistency
        if not weight:
            return super().updates(make_optimizer)

        def loss(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
            return consistent(self.supervised, self.kind.divergence, batch, weight=weight)

        return [Update(name="train", loss=loss, models=[self.model], optimizer=make_optimizer())]

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        return self.kind.request(rows)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        return self.kind.metrics()

    def score(self, batch: Batch, outputs: Any) -> tuple[Any, ...]:
        return self.kind.score(batch, outputs)

    def postprocess(self, outputs: Any, features: dict[str, Any]) -> dict[str, Any]:
        return self.kind.postprocess(outputs, features)

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        return {"serving_default": {"text": tf.TensorSpec([None], tf.string)}}

    def calls(self) -> dict[str, str]:
        return {self.kind.call: "serving_default"}

    def example(self) -> dict[str, list[Any]]:
        return self.kind.example()

    def resources(self) -> list[Any]:
        return [self.tokenizer]

    def _folder(self) -> Path:
        return resolve(self.config.encoder, suggest=(*SCRATCH, *PRETRAINED))

    def _pretrained_tokenizer(self) -> Tokenizer:
        folder = self._folder()
        converter = converters.converter_of(folder)
        longest = self.config.backbone.max_length
        try:
            return WordPieceTokenizer(
                converter.vocabulary(folder),
                max_length=longest,
                lowercase=converter.lowercase(folder),
                strip_accents=converter.strip_accents(folder),
            )
        except PretrainedError:
            if converter is not converters.hub:
                raise
            self.kind.check_tokenizer(HubTokenizer)
            return HubTokenizer(converters.hub.tokenizer(folder), max_length=longest)
