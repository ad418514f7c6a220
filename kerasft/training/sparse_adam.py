"""Adam for tables of which a batch touches a few rows only."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kerasft import _compat

DENSE_ROWS = 20_000
"""Largest number of rows of a table that is updated as a whole, if not said otherwise."""


@keras.saving.register_keras_serializable(package="kerasft")
class SparseAdam(keras.optimizers.Adam):
    """Adam that moves only the touched rows of large tables, and their moments.

    The gradient of `tf.gather(table, ids)` is known row by row. Keras' own Adam makes a whole table of it,
    and counts a row that the batch has twice as two gradients, each squared on its own. Here the gradients of
    a row are summed first; of a large table the other rows stay where they are, and so do their moments,
    which in Adam would decay. Tables of at most `dense_rows` rows, and all that is no table, move as under
    Adam.
    Source: Kingma and Ba, 2015, "Adam"; the row-wise form is that of `torch.optim.SparseAdam`.

    Args:
        learning_rate: Rate or schedule.
        dense_rows: Largest number of rows of a table that is updated as a whole.
        **arguments: Of `keras.optimizers.Adam`, but no clipping and no amsgrad.

    Raises:
        ValueError: clipping or amsgrad was asked for.

    Example:
        >>> table = keras.Variable(tf.zeros((4, 1)))
        >>> optimizer = SparseAdam(0.1, dense_rows=0)
        >>> optimizer.build([table])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(table.value)
        ...     loss = tf.reduce_sum(tf.gather(table.value, [2, 2]))
        >>> optimizer.apply(tape.gradient(loss, [table.value]), [table])
        >>> [round(float(value), 3) for value in table[:, 0]]
        [0.0, 0.0, -0.1, 0.0]
    """

    def __init__(self, learning_rate: Any = 1e-3, *, dense_rows: int = DENSE_ROWS, **arguments: Any) -> None:
        for name in ("clipnorm", "clipvalue", "global_clipnorm", "amsgrad"):
            if arguments.get(name):
                raise ValueError(f"rows that are updated one by one allow no {name}")
        super().__init__(learning_rate, **arguments)
        self.dense_rows = dense_rows

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Moves variables by gradients, of which some may be `tf.IndexedSlices`."""
        variables = _compat.optimized_variables(self) if trainable_variables is None else trainable_variables
        prepared = [self._prepared(*pair) for pair in zip(grads, variables, strict=True)]
        super().apply(prepared, trainable_variables)

    def _prepared(self, gradient: Any, variable: Any) -> Any:
        if not isinstance(gradient, tf.IndexedSlices):
            return gradient
        if variable.shape[0] <= self.dense_rows:
            return tf.convert_to_tensor(gradient)
        return _summed(gradient)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one variable."""
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        rows, gradient = gradient.indices, tf.cast(gradient.values, variable.dtype)
        momentum, velocity = (slot.value for slot in _compat.adam_slots(self, variable))
        steps = tf.cast(self.iterations.value + 1, variable.dtype)
        rate = tf.cast(learning_rate, variable.dtype)
        rate *= tf.sqrt(1.0 - tf.pow(self.beta_2, steps)) / (1.0 - tf.pow(self.beta_1, steps))
        first = tf.gather(momentum, rows)
        first += (1.0 - self.beta_1) * (gradient - first)
        second = tf.gather(velocity, rows)
        second += (1.0 - self.beta_2) * (tf.square(gradient) - second)
        moved = tf.gather(variable, rows) - rate * first / (tf.sqrt(second) + self.epsilon)
        for target, values in ((momentum, first), (velocity, second), (variable, moved)):
            target.scatter_update(tf.IndexedSlices(values, rows))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "dense_rows": self.dense_rows}


def _summed(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """Gives each occurrence of a row the sum over all of them, in shapes that XLA can know."""
    order = tf.argsort(gradient.indices)
    rows, values = tf.gather(gradient.indices, order), tf.gather(gradient.values, order)
    starts = tf.concat([[0], tf.cast(rows[1:] != rows[:-1], tf.int32)], 0)
    segments = tf.cumsum(starts)
    sums = tf.math.unsorted_segment_sum(values, segments, tf.shape(rows)[0])
    return tf.IndexedSlices(tf.gather(sums, segments), rows, gradient.dense_shape)
