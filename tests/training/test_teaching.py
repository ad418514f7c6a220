"""Models that are given their targets, as a decoder is while it is taught."""

from __future__ import annotations

import keras
import tensorflow as tf
from tasks import Words

import kerasft
from kerasft import Field


class Echo(kerasft.Task):
    """Learns to say a word back, letter by letter, from the word and the letters said so far."""

    name = "test-echo"

    def fields(self):
        return Field(name="text"), Field(name="answer", target=True)

    def build_model(self):
        heard = keras.Input((None,), dtype="int32", name="heard")
        said = keras.Input((None,), dtype="int32", name="said")
        embed = keras.layers.Embedding(257, 16, name="embed")
        summary = keras.layers.GlobalAveragePooling1D()(embed(heard))
        before = keras.layers.ZeroPadding1D((1, 0))(embed(said))[:, :-1]
        hidden = before + keras.ops.expand_dims(summary, 1)
        return keras.Model([heard, said], keras.layers.Dense(257, name="head")(hidden))

    def preprocess(self, raw):
        return {"heard": tf.strings.unicode_decode(raw["text"], "UTF-8") % 256 + 1}

    def targets(self, raw):
        return {"said": tf.strings.unicode_decode(raw["answer"], "UTF-8") % 256 + 1}

    def loss(self, batch, outputs):
        said = batch.targets["said"]
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=said, logits=outputs)
        return tf.reduce_sum(tf.where(said > 0, each, 0.0), axis=1)


def rows(count):
    words = ["a", "bc", "def", "ghij", "klmno"]
    texts = [words[i % len(words)] for i in range(count)]
    return {"text": texts, "answer": [text[::-1] for text in texts]}


def test_an_input_named_like_a_target_takes_it():
    task = Echo(seed=1)
    history = task.finetune(rows(20), epochs=20, learning_rate=0.03, batch_tokens=12, verbose="quiet")
    assert history.history["loss"][-1] < history.history["loss"][0] / 4


def test_a_frozen_prefix_takes_targets_too(capsys):
    losses = []
    for cache in (True, False):
        task = Echo(seed=1)
        task.build()
        task.freeze("embed")
        history = task.finetune(rows(20), epochs=3, batch_size=4, feature_cache=cache, verbose="line")
        losses.append(history.history["loss"])
    assert losses[0] == losses[1]
    assert "feature cache" in capsys.readouterr().err


def test_batches_by_tokens_fill_an_epoch():
    steps: list[int] = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    data = {"text": ["ab"] * 6 + ["abcd"] * 6, "label": ["a", "b"] * 6}
    Words(seed=1).finetune(data, epochs=1, batch_tokens=8, callbacks=[count], verbose="quiet")
    # Two of four letters in a batch, then four of two.
    assert steps == list(range(3 + 2))
