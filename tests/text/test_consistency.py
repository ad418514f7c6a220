"""R-Drop: two readings of a text are held together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.training.update import Batch
from kerasft_text.consistency import consistent
from kerasft_text.kinds import KINDS

from .conftest import tiny

READINGS = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
WEIGHTS = np.array([1.0, 0.0, 3.0], np.float32)


def kind_of(name: str) -> Any:
    config = kerasft.create("text", kind=name, **tiny("cnn")).config
    return KINDS[name](config)


def relative_entropy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.sum(p * np.log(p / q), -1)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def both(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (relative_entropy(p, q) + relative_entropy(q, p)) / 2


def yes_and_no(logits: np.ndarray) -> np.ndarray:
    yes = 1 / (1 + np.exp(-logits))
    return np.stack([yes, 1 - yes], -1)


WANTED = {
    "classification": lambda one, other: both(softmax(one), softmax(other)),
    "multilabel": lambda one, other: both(yes_and_no(one), yes_and_no(other)).mean(-1),
    "regression": lambda one, other: (one - other) ** 2,
}


@pytest.mark.parametrize("name", list(WANTED))
def test_the_loss_is_that_of_both_readings_and_their_divergence(name: str) -> None:
    one, other = READINGS if name != "regression" else READINGS[:, :, 0]
    seen = []

    def supervised(batch: Batch, *, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        seen.append((batch, training))
        return tf.constant(7.0), tf.concat([one, other], 0)

    batch = Batch({"token_ids": tf.constant([[1], [2], [3]])}, {"label": tf.constant([0, 1, 2])}, WEIGHTS)
    loss, outputs = consistent(supervised, kind_of(name).divergence, batch, weight=2.0)
    wanted = np.mean(WANTED[name](one.astype(np.float64), other.astype(np.float64)) * WEIGHTS)
    assert float(loss) == pytest.approx(7 + 2 * wanted, rel=1e-5)
    np.testing.assert_array_equal(outputs, one)
    twice, training = seen[0]
    assert training
    assert twice.features["token_ids"].numpy().ravel().tolist() == [1, 2, 3, 1, 2, 3]
    assert twice.targets["label"].numpy().tolist() == [0, 1, 2, 0, 1, 2]
    assert twice.sample_weight.numpy().tolist() == [*WEIGHTS, *WEIGHTS]


def test_entities_count_by_their_words() -> None:
    kind = kind_of("entities")
    first = tf.constant([[1, 3], [2, 0]])  # the first tokens of the words, counted from 1; 0: no word
    one, other = (tf.constant(reading[None].repeat(2, 0)) for reading in READINGS)
    found = kind.divergence(Batch({"first_token": first}, {}), one, other)
    each = both(softmax(READINGS[0]), softmax(READINGS[1]))
    np.testing.assert_allclose(found, [(each[0] + each[2]) / 1.5, each[1] / 1.5], rtol=1e-4)


def trained(**training: Any) -> Any:
    rows = {"text": ["good film", "bad film", "good food", "bad food"] * 4, "label": ["y", "n"] * 8}
    plain = {**tiny("cnn"), "head": {"dropout": 0.0}}
    plain["embedding"] = {**plain.get("embedding", {}), "dropout": 0.0}
    task = kerasft.create("text", **plain, training={"epochs": 3, "batch_size": 4, **training})
    history = task.finetune(rows, verbose="quiet").history
    return task, history


def test_without_dropout_it_changes_nothing() -> None:
    (task, history), (other, without) = trained(consistency=1.0), trained()
    np.testing.assert_allclose(history["loss"], without["loss"], rtol=1e-5)
    assert history["accuracy"] == without["accuracy"]
    for weight, same in zip(task.model.weights, other.model.weights, strict=True):
        np.testing.assert_allclose(weight, same, atol=1e-5)


def fitted(kind: str, consistency: float) -> Any:
    training = {"epochs": 10, "batch_size": 4, "learning_rate": 1e-2, "warmup": 0.0}
    training["consistency"] = consistency
    task = kerasft.create("text", kind=kind, **{**tiny("cnn"), "training": training})
    losses = task.finetune(task.example(), verbose="quiet").history["loss"]
    assert losses[-1] < losses[0]
    return task


@pytest.mark.parametrize("name", list(WANTED))
def test_it_holds_readings_together(name: str) -> None:
    apart = []
    for consistency in (0.0, 20.0):
        task = fitted(name, consistency)
        encoded = task.preprocess({"text": tf.constant(task.example()["text"])})
        batch = Batch({"token_ids": encoded["token_ids"].to_tensor()}, {})
        readings = [task.forward(batch, training=True) for _ in range(2)]
        apart.append(float(tf.reduce_mean(task.kind.divergence(batch, *readings))))
    assert apart[1] < apart[0]


def test_entities_train_with_it() -> None:
    fitted("entities", 1.0)
