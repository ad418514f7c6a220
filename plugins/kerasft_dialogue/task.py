"""The dialogue task: conversations in, a SavedModel out that reads turns and writes a reply."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

import kerasft
from kerasft.data import Field
from kerasft_dialogue.config import DialogueConfig

_SETTINGS = {
    "stop": ([None, None], tf.string),
    "seed": ([None], tf.int64),
    "temperature": ([None], tf.float32),
    "top_k": ([None], tf.int64),
    "top_p": ([None], tf.float32),
    "max_tokens": ([None], tf.int64),
}


@kerasft.register("dialogue")
class Dialogue(kerasft.Task):
    """A reply to a conversation.

    Example:
        >>> task = kerasft.create("dialogue")
        >>> list(task.signatures()["serving_default"])
        ['roles', 'texts']
    """

    config_class = DialogueConfig
    monitor = "val_loss"

    def fields(self) -> tuple[Field, ...]:
        decoding = self.config.decoding

        def request(name: str, kind: Any, default: Any) -> Field:
            return Field(name=name, kind=kind, request=True, default=default)

        return (
            Field(name="roles", kind="tokens"),
            Field(name="texts", kind="tokens"),
            request("seed", "integer", decoding.seed),
            request("temperature", "number", decoding.temperature),
            request("top_k", "integer", decoding.top_k),
            request("top_p", "number", decoding.top_p),
            request("max_tokens", "integer", decoding.max_tokens),
        )

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        turns = {name: tf.TensorSpec([None, None], tf.string) for name in ("roles", "texts")}
        settings = {name: tf.TensorSpec(shape, dtype) for name, (shape, dtype) in _SETTINGS.items()}
        return {
            "serving_default": turns,
            "ask": {"text": tf.TensorSpec([None], tf.string)},
            "sample": {**turns, **settings},
        }
