"""What tests look at: weights, and losses step by step."""

from __future__ import annotations

import keras
import numpy as np


def weights_of(task) -> dict[str, np.ndarray]:
    """Returns the weights of a task by model, position and name."""
    return {
        f"{name}.{i}.{weight.path.split('/')[-2]}/{weight.name}": weight.numpy()
        for name, model in task.models.items()
        for i, weight in enumerate(model.weights)
    }


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    """Returns the layer/weight names that differ."""
    return {name.split(".")[-1] for name, array in before.items() if not np.array_equal(array, after[name])}


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray], **tolerance: float) -> None:
    """Asserts equality, bit for bit unless a tolerance is given."""
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        if tolerance:
            np.testing.assert_allclose(actual[name], array, err_msg=name, **tolerance)
        else:
            np.testing.assert_array_equal(actual[name], array, err_msg=name)


class Batches(keras.callbacks.Callback):
    """Records the logs of every batch."""

    def __init__(self):
        super().__init__()
        self.numbers = []
        self.logs = []

    def on_train_batch_end(self, batch, logs=None):
        self.numbers.append(batch)
        self.logs.append(dict(logs))
