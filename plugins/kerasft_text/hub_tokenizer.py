"""Tokenizers of KerasHub, as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kerasft.errors import ConfigError
from kerasft_text.ragged import frame
from kerasft_text.tokenization import Encoding, Tokenizer

_FOLDER, _CONFIG = "keras_hub", "config.json"


class HubTokenizer(Tokenizer):
    """Any other tokenizer of KerasHub (byte pairs, SentencePiece), for labels of whole texts only.

    Args:
        tokenizer: a `keras_hub.tokenizers.Tokenizer`.
        max_length: most tokens of a text, start and end included.

    Raises:
        ConfigError: the tokenizer does not run inside a graph.
    """

    kind = "keras_hub"
    splits_words = False

    def __init__(self, tokenizer: Any, *, max_length: int):
        super().__init__()
        self.tokenizer = tokenizer
        self.vocabulary_size = tokenizer.vocabulary_size()
        self.padding_id = getattr(tokenizer, "pad_token_id", None) or 0
        self._max_length = max_length
        self._start = getattr(tokenizer, "start_token_id", None)
        self._end = getattr(tokenizer, "end_token_id", None)
        self._check()

    def _encode(self, text: tf.Tensor) -> Encoding:
        tokens = self.tokenizer.tokenize(text)
        token_ids = frame(
            tf.cast(tokens, tf.int32), limit=self._max_length, start=self._start, end=self._end, empty=0
        )
        return Encoding(token_ids + 1 if self.padding_id else token_ids, None, None)

    def settings(self) -> dict[str, Any]:
        return {"max_length": self._max_length}

    def save(self, folder: Path) -> None:
        super().save(folder)
        place = folder / _FOLDER
        place.mkdir(exist_ok=True)
        config = json.dumps(keras.saving.serialize_keras_object(self.tokenizer), indent=1)
        (place / _CONFIG).write_text(config + "\n", encoding="utf-8")
        self.tokenizer.save_assets(str(place))

    @classmethod
    def load(cls, folder: Path, **settings: Any) -> HubTokenizer:
        """Reads what `save` wrote."""
        import keras_hub  # noqa: F401  (registers the classes)

        place = folder / _FOLDER
        tokenizer = keras.saving.deserialize_keras_object(json.loads((place / _CONFIG).read_text("utf-8")))
        tokenizer.load_assets(str(place))
        return cls(tokenizer, **settings)

    def _check(self) -> None:
        name = type(self.tokenizer).__name__
        try:
            concrete = self._traced.function.get_concrete_function()
        except Exception as error:  # each tokenizer fails in its own way
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ConfigError(
                f"{name} does not run inside a graph ({first}), so it could not be served; choose another "
                "encoder."
            ) from error
        graph = concrete.graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        if any("PyFunc" in node.op for node in nodes):
            raise ConfigError(
                f"{name} calls Python from its graph and could not be served; choose another encoder."
            )
