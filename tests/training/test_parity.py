"""The loop gives the losses of `model.fit`: same model, data, seed and optimizer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from tasks import Points, Words, points, words

from kerasft.training.examples import Examples
from kerasft.data import open_source

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
        epochs=1,
        batch_size=BATCH,
        shuffle=False,
        bucket=False,
        optimizer=optimizer,
        callbacks=[record],
        verbose="quiet",
        **training,
    )
    return record.values


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.01, global_clipnorm=0.5),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("task", "rows"),
    # Strings of one length: `fit` pads all data alike, and dropout draws as many numbers as there are positions.
    [(Points, points(STEPS * BATCH)), (Words, words(STEPS * BATCH, shortest=12))],
    ids=["dense", "lstm"],
)
def test_loop_gives_the_losses_of_fit(task, rows, optimizer):
    expected = losses_of_fit(task(seed=3, dropout=0.3), rows, OPTIMIZERS[optimizer]())
    actual = losses_of_loop(task(seed=3, dropout=0.3), rows, OPTIMIZERS[optimizer]())
    assert len(actual) == STEPS
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert expected[0] != pytest.approx(expected[-1], abs=1e-3)


def test_class_weights_are_those_of_fit():
    weights = {"0": 0.5, "1": 2.0, "2": 1.0}
    rows = points(STEPS * BATCH)
    expected = losses_of_fit(Points(seed=3), rows, "sgd", class_weight={int(k): v for k, v in weights.items()})
    actual = losses_of_loop(Points(seed=3), rows, "sgd", class_weight=weights, learning_rate=0.01)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    unweighted = losses_of_loop(Points(seed=3), rows, "sgd", learning_rate=0.01)
    assert not np.allclose(actual, unweighted, atol=1e-3)
