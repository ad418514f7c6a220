"""The translation task: pairs of texts in, a SavedModel out that takes text and gives text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

import kerasft
from kerasft.data import Field, Source
from kerasft.errors import ConfigError, OrderError
from kerasft.generation import (
    END,
    UNKNOWN,
    Found,
    Subwords,
    beam_search,
    sample,
    sequence_losses,
    smoothed_losses,
    token_losses,
)
from kerasft.metrics import Perplexity
from kerasft.training.examples import Examples
from kerasft.training.update import Batch
from kerasft_translation import evaluation
from kerasft_translation.back import SYNTHETIC, mixed
from kerasft_translation.config import TranslationConfig
from kerasft_translation.data import PREFIX, from_address
from kerasft_translation.models import ARCHITECTURES, Sizes, Translator

_SOURCE, _TARGET = "source.model", "target.model"
_WIDEST = 32
_BEAM = f"beam must be 1 (greedy) to {_WIDEST}"
_MAX_LENGTH = "max_length must be at least 1"
_SPARE = 16
_EXAMPLE = {
    "text": [
        "The dog sleeps.",
        "A cat drinks milk.",
        "The man reads a book.",
        "A woman buys bread.",
        "The child plays outside.",
    ],
    "translation": [
        "Der Hund schläft.",
        "Eine Katze trinkt Milch.",
        "Der Mann liest ein Buch.",
        "Eine Frau kauft Brot.",
        "Das Kind spielt draußen.",
    ],
}


@kerasft.register("translation")
class Translation(kerasft.Task):
    """Text of one language from text of another.

    Example:
        >>> task = kerasft.create("translation", source="en", target="de")
        >>> [field.aliases for field in task.fields() if not field.request]
        [('en',), ('de',)]
    """

    config_class = TranslationConfig
    monitor = "val_loss"

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._units: tuple[Subwords, Subwords] | None = None
        self._network: Translator | None = None

    @property
    def units(self) -> tuple[Subwords, Subwords]:
        """The subword units of text and translation, one object if they share them.

        Raises:
            OrderError: they are not known before the training data is.
        """
        if self._units is None:
            raise OrderError(
                "The vocabulary is learned from the training data: call finetune(data) first, or set "
                "vocabulary.run."
            )
        return self._units

    @property
    def network(self) -> Translator:
        """The network.

        Raises:
            OrderError: before `build`.
        """
        if self._network is None:
            raise OrderError("The translation task has no network yet: call build() or finetune() first.")
        return self._network

    def fields(self) -> tuple[Field, ...]:
        decoding = self.config.decoding

        def request(name: str, kind: Any, default: Any) -> Field:
            return Field(name=name, kind=kind, request=True, default=default)

        return (
            Field(name="text", aliases=(self.config.source,)),
            Field(name="translation", aliases=(self.config.target,), target=True),
            request("beam", "integer", decoding.beam),
            request("max_length", "integer", decoding.max_length),
            request("seed", "integer", 0),
            request("temperature", "number", 1.0),
            request("top_k", "integer", 0),
            request("top_p", "number", 1.0),
        )

    def open_data(self, data: Any) -> Any:
        return from_address(data) if isinstance(data, str) and data.startswith(PREFIX) else data

    def adapt(self, source: Source) -> None:
        vocabulary = self.config.vocabulary
        if vocabulary.run is not None:
            self._units = _load_units(Path(vocabulary.run).expanduser() / "assets")
            if (self._units[0] is self._units[1]) != vocabulary.joint:
                kind = "one for each language" if vocabulary.joint else "a joint one"
                raise ConfigError(
                    f"vocabulary.run: the vocabulary of {vocabulary.run} is {kind}; set "
                    f"vocabulary.joint={not vocabulary.joint}."
                )
            return

        def train(*columns: str) -> Subwords:
            return Subwords.train(
                _texts(source, columns),
                size=vocabulary.size,
                kind=vocabulary.kind,
                coverage=vocabulary.coverage,
            )

        if vocabulary.joint:
            units = train("text", "translation")
            self._units = units, units
        else:
            self._units = train("text"), train("translation")

    def arrange(self, source: Source, *, training: bool) -> Source:
        if not training or self.config.back_translation.texts is None:
            return source
        return mixed(source, config=self.config, open_data=self.open_data)

    def save_assets(self, folder: Path) -> None:
        source, target = self.units
        source.save(folder / _SOURCE)
        if target is not source:
            target.save(folder / _TARGET)

    def load_assets(self, folder: Path) -> None:
        self._units = _load_units(folder)

    def build_model(self) -> keras.Model:
        source, target = self.units
        sizes = Sizes(source.size, None if target is source else target.size)
        self._network = ARCHITECTURES[self.config.architecture](self.config, sizes)
        return self._network.model

    def layer_groups(self, model: keras.Model | dict[str, keras.Model]) -> dict[str, list[keras.Layer]]:
        return self.network.groups

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        limit = self.config.lengths.source
        if SYNTHETIC not in raw or not self.config.back_translation.tagged:
            return {"source_ids": _ended(self.units[0], raw["text"], limit)}
        ids = _ended(self.units[0], raw["text"], limit - 1)
        # No text has the unknown, because bytes spell what the vocabulary lacks.
        tags = tf.fill([ids.nrows(), 1], UNKNOWN)
        return {"source_ids": tf.concat([tf.ragged.boolean_mask(tags, raw[SYNTHETIC][:, None]), ids], axis=1)}

    def targets(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {"target_ids": _ended(self.units[1], raw["translation"], self.config.lengths.target)}

    def loss(self, batch: Batch, outputs: Any) -> tf.Tensor:
        wanted = batch.targets["target_ids"]
        losses = smoothed_losses(outputs, wanted, smoothing=self.config.label_smoothing)
        return sequence_losses(losses, token_losses(outputs, wanted)[1])

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        return {"perplexity": Perplexity()}

    def score(self, batch: Batch, outputs: Any) -> tuple[Any, ...]:
        return token_losses(outputs, batch.targets["target_ids"])

    def measure(
        self, examples: Examples, *, batch_size: int, progress: Callable[[int], None]
    ) -> dict[str, float]:
        if not self.config.evaluation.translate:
            return {}
        return evaluation.measure(self, examples, batch_size=batch_size, progress=progress)

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        def specs(**types: tf.DType) -> dict[str, tf.TensorSpec]:
            return {name: tf.TensorSpec([None], dtype) for name, dtype in types.items()}

        return {
            "serving_default": specs(text=tf.string),
            "search": specs(text=tf.string, beam=tf.int64, max_length=tf.int64),
            "sample": specs(
                text=tf.string,
                seed=tf.int64,
                temperature=tf.float32,
                top_k=tf.int64,
                top_p=tf.float32,
                max_length=tf.int64,
            ),
        }

    def calls(self) -> dict[str, str]:
        return {"translate": "serving_default", "search": "search", "sample": "sample"}

    def serve(self, inputs: dict[str, Any], *, signature: str) -> dict[str, Any]:
        decoding, text = self.config.decoding, inputs["text"]
        ids = self.preprocess({"text": text})["source_ids"]
        rows = tf.shape(text)[:1]
        most = inputs.get("max_length", tf.fill(rows, tf.constant(decoding.max_length, tf.int64)))
        most = tf.minimum(_checked(most, most >= 1, _MAX_LENGTH), tf.int32.max)
        limit = tf.minimum(tf.cast(most, tf.int32), 2 * tf.cast(ids.row_lengths(), tf.int32) + _SPARE)
        if signature == "sample":
            found = self._sample(_dense(ids), limit, inputs)
        else:
            beam = inputs.get("beam", tf.fill(rows, tf.constant(decoding.beam, tf.int64)))
            beam = _checked(beam, (beam >= 1) & (beam <= _WIDEST), _BEAM)
            found = self.search(_dense(ids), beam=tf.cast(beam, tf.int32), limit=limit)
        # Of nothing there is nothing to translate, whatever the network would say.
        blank = ids.row_lengths() <= 1
        return {
            "translation": tf.where(blank, "", self.units[1].decode(found.tokens)),
            "score": tf.where(blank, 0.0, found.scores),
        }

    def search(self, source_ids: Any, *, beam: Any, limit: Any) -> Found:
        """Translates encoded texts, in the graph.

        Args:
            source_ids: int32 [batch, length], padded with zeros, an end behind each text.
            beam: int32 [batch].
            limit: int32 [batch]. Most subword units of a translation.
        """
        network = self.network
        memory = network.remember(source_ids)
        state, shapes = network.start(memory, tf.reduce_max(tf.concat([beam, [1]], 0)))

        def step(tokens: Any, position: Any, state: Any) -> tuple[Any, Any]:
            return network.step(tokens, position, state, memory)

        return beam_search(
            step, state, shapes, beam=beam, limit=limit, length_penalty=self.config.decoding.length_penalty
        )

    def _sample(self, source_ids: Any, limit: Any, inputs: dict[str, Any]) -> Found:
        network = self.network
        memory = network.remember(source_ids)
        state, shapes = network.start(memory, 1)
        return sample(
            lambda tokens, position, state: network.step(tokens, position, state, memory),
            state,
            shapes,
            limit=limit,
            seed=inputs["seed"],
            temperature=inputs["temperature"],
            top_k=tf.cast(tf.minimum(inputs["top_k"], self.units[1].size), tf.int32),
            top_p=inputs["top_p"],
        )

    def example(self) -> dict[str, list[Any]]:
        count = len(_EXAMPLE["text"])
        return {
            **_EXAMPLE,
            "beam": [1, 2, 4, 4, 1],
            "max_length": [12] * count,
            "seed": list(range(count)),
            "temperature": [0.0, 0.5, 0.7, 1.0, 1.0],
            "top_k": [0, 0, 10, 10, 0],
            "top_p": [1.0, 1.0, 0.9, 0.9, 1.0],
        }

    def resources(self) -> list[Any]:
        return list(dict.fromkeys(self.units))


def _ended(units: Subwords, text: Any, limit: int) -> tf.RaggedTensor:
    ids = units.encode(text, limit=limit - 1)
    ends = tf.fill(tf.stack([ids.nrows(out_type=tf.int32), 1]), END)
    return tf.concat([ids, tf.RaggedTensor.from_tensor(ends, row_splits_dtype=ids.row_splits.dtype)], axis=1)


def _dense(ids: tf.RaggedTensor) -> tf.Tensor:
    """Returns padded ids; those of no texts have a column too, for a recurrence needs a step."""
    dense = ids.to_tensor()
    return tf.pad(dense, [[0, 0], [0, tf.cast(tf.shape(dense)[1] < 1, tf.int32)]])


def _checked(values: Any, right: Any, message: str) -> Any:
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(right), [message, values])]):
        return tf.identity(values)


def _texts(source: Source, columns: tuple[str, ...]) -> Iterator[str]:
    for column in columns:
        yield from source.iterate(column)


def _load_units(folder: Path) -> tuple[Subwords, Subwords]:
    source = Subwords.load(folder / _SOURCE)
    return source, Subwords.load(folder / _TARGET) if (folder / _TARGET).is_file() else source
