"""Models of conversations: one that repeats what it is told, so that tests see exactly what it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

SETTINGS = {
    "stop": tf.TensorSpec([None, None], tf.string),
    "seed": tf.TensorSpec([None], tf.int64),
    "temperature": tf.TensorSpec([None], tf.float32),
    "top_k": tf.TensorSpec([None], tf.int64),
    "top_p": tf.TensorSpec([None], tf.float32),
    "max_tokens": tf.TensorSpec([None], tf.int64),
}
TURNS = {name: tf.TensorSpec([None, None], tf.string) for name in ("roles", "texts")}


class Echo(tf.Module):
    """Replies with all turns, as in "user=Hello! assistant=... [seed 3]", or counts if the last is "count".

    A token is a word.
    """

    def sample(self, **inputs):
        words = self.chat_start(**inputs)["state_words"]
        size, limit = tf.shape(words, tf.int64)[1], inputs["max_tokens"]
        text = tf.strings.reduce_join(words, axis=1, separator=" ")
        return {"reply": text, "finish": tf.where(size < limit, "end", "length"), "tokens": 0 * limit + size}

    def chat_start(self, *, roles, texts, seed, max_tokens, **others):
        turns = tf.strings.join([roles, "=", texts])
        echoed = tf.strings.reduce_join(turns, axis=1, separator=" ")
        echoed = tf.strings.join([echoed, " [seed ", tf.strings.as_string(seed), "]"])
        words = tf.strings.split(echoed).to_tensor()[:, : max_tokens[0]]
        counts = texts[:, -1] == "count"
        return {
            "state_words": words,
            "state_place": 0 * max_tokens,
            "state_size": tf.where(counts, max_tokens, tf.shape(words, tf.int64)[1]),
            "state_counts": counts,
            "state_limit": tf.identity(max_tokens),
        }

    def chat_next(self, *, steps, **state):
        # Numbers are made when they are shown: a reply that never ends must not fill the memory.
        start = state["state_place"][0]
        end = tf.minimum(start + steps[0], state["state_size"][0])
        numbers = tf.strings.as_string(tf.range(start, end))[None]
        words = tf.cond(state["state_counts"][0], lambda: numbers, lambda: state["state_words"][:, start:end])
        text = tf.strings.reduce_join(words, axis=1, separator=" ")
        last = tf.where(state["state_size"] < state["state_limit"], "end", "length")
        kept = {name: tf.identity(value) for name, value in state.items()}
        return {
            **kept,
            "text": tf.strings.join([tf.where(start > 0, " ", ""), text]),
            "finish": tf.where(end < state["state_size"], "", last),
            "state_place": 0 * state["state_place"] + end,
        }


def save(folder: Path, module: tf.Module, signatures: dict[str, dict[str, tf.TensorSpec]]) -> Path:
    """Writes version 1 of a model and returns the model's folder."""
    functions = {
        name: tf.function(getattr(module, name), autograph=False).get_concrete_function(**specs)
        for name, specs in signatures.items()
    }
    tf.saved_model.save(module, str(folder / "1"), signatures=functions)
    return folder


@pytest.fixture(scope="session")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model with all signatures of a dialogue."""
    state = {
        "state_words": tf.TensorSpec([None, None], tf.string),
        **{f"state_{name}": tf.TensorSpec([None], tf.int64) for name in ("place", "size", "limit")},
        "state_counts": tf.TensorSpec([None], tf.bool),
    }
    signatures = {
        "sample": {**TURNS, **SETTINGS},
        "chat_start": {**TURNS, **SETTINGS},
        "chat_next": {"steps": tf.TensorSpec([None], tf.int64), **state},
    }
    return save(tmp_path_factory.mktemp("models") / "echo", Echo(), signatures)


@pytest.fixture(scope="session")
def echo_whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without a stream."""
    return save(tmp_path_factory.mktemp("models") / "whole", Echo(), {"sample": {**TURNS, **SETTINGS}})
