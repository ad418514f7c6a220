"""The loop gives the losses of `model.fit`: same model, data, seed and optimizer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from tasks import Points, Words, points, words

from kerasft.data import open_source
from kerasft.training.examples import Examples

STEPS = 20
BATCH = 8


class Losses(keras.callbacks.Callback):
    """Records the running loss after every step."""

    def __init__(self):
        super().__init__()
        self.values = []

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(logs["loss"])


def losses_of_fit(task, rows, optimizer, **fit):
    task.build()
    examples = Examples(task=task, source=open_source(rows, fields=task.fields()), targets=True)
    whole = examples.batch(np.arange(len(examples)))
    record = Losses()
    task.model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    (features,), (targets,) = whole.features.values(), whole.targets.values()
    task.model.fit(features, targets, batch_size=BATCH, shuffle=False, callbacks=[record], verbose=0, **fit)
    return record.values


def losses_of_loop(task, rows, optimizer, **training):
    record = Losses()
    task.finetune(
        rows,
        batch_size=BATCH,
        shuffle=False,
        bucket=False,
        optimizer=optimizer,
        callbacks=[record],
        verbose="quiet",
        **{"epochs": 1} | training,
    )
    return record.values


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.01, global_clipnorm=0.5),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("task", "rows"),
    # Strings of one length: `fit` pads all data alike, and dropout draws a number for each position.
    [(Points, points(STEPS * BATCH)), (Words, words(STEPS * BATCH, shortest=12))],
    ids=["dense", "lstm"],
)
def test_loop_gives_the_losses_of_fit(task, rows, optimizer):
    expected = losses_of_fit(task(seed=3, dropout=0.3), rows, OPTIMIZERS[optimizer]())
    actual = losses_of_loop(task(seed=3, dropout=0.3), rows, OPTIMIZERS[optimizer]())
    assert len(actual) == STEPS
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert expected[0] != pytest.approx(expected[-1], abs=1e-3)


class Head(Points):
    """Dropout and batch normalisation behind the layer that is frozen, none before."""

    def build_model(self):
        inputs = keras.Input((2,), name="point")
        hidden = keras.layers.Dense(8, activation="relu", name="first")(inputs)
        head = [keras.layers.Dropout(0.5), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
        self.head = keras.Sequential([keras.Input((8,)), *head], name="head")
        return keras.Model(inputs, self.head(hidden))

    def layer_groups(self, model):
        return {"first": [model.get_layer("first")], "head": [self.head]}


@pytest.mark.parametrize("feature_cache", [True, False])
def test_what_trains_behind_a_frozen_prefix_behaves_as_in_fit(feature_cache):
    frozen, rows = Head(seed=3), points(STEPS * BATCH)
    frozen.build()
    frozen.model.get_layer("first").trainable = False
    expected = losses_of_fit(frozen, rows, "sgd")
    options = {"freeze": "first", "learning_rate": 0.01, "feature_cache": feature_cache}
    # Two epochs, because one is not worth a cache; the first is compared.
    actual = losses_of_loop(Head(seed=3), rows, "sgd", epochs=2, **options)[:STEPS]
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_loss_and_validation_loss_hold_the_losses_of_the_model_as_in_fit():
    class Regularized(Points):
        def build_model(self):
            model = super().build_model()
            model.get_layer("second").kernel.regularizer = keras.regularizers.L2(0.1)
            return model

    rows, held_out = points(32), points(16, seed=9)
    task = Regularized(seed=3)
    task.build()
    features, targets = (
        [np.stack([data["x"], data["y"]], axis=-1), np.array(data["label"], int)] for data in (rows, held_out)
    )
    task.model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected = task.model.fit(*features, validation_data=targets, batch_size=BATCH, shuffle=False, verbose=0)
    options = {"epochs": 1, "batch_size": BATCH, "shuffle": False, "optimizer": "sgd", "learning_rate": 0.01}
    actual = Regularized(seed=3).finetune(rows, validation_data=held_out, verbose="quiet", **options)
    for name, values in expected.history.items():
        assert actual.history[name] == pytest.approx(values, abs=1e-5)
    plain = Points(seed=3).finetune(rows, validation_data=held_out, verbose="quiet", **options)
    assert plain.history["val_loss"][0] < actual.history["val_loss"][0] - 0.1


def test_class_weights_are_those_of_fit():
    weights = {"0": 0.5, "1": 2.0, "2": 1.0}
    rows = points(STEPS * BATCH)
    expected = losses_of_fit(
        Points(seed=3), rows, "sgd", class_weight={int(k): v for k, v in weights.items()}
    )
    actual = losses_of_loop(Points(seed=3), rows, "sgd", class_weight=weights, learning_rate=0.01)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    unweighted = losses_of_loop(Points(seed=3), rows, "sgd", learning_rate=0.01)
    assert not np.allclose(actual, unweighted, atol=1e-3)
