"""A table of vectors, one for each id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from kerasft.training.sparse_adam import DENSE_ROWS


@keras.saving.register_keras_serializable(package="kerasft_recommender")
class Table(keras.layers.Layer):
    """Vectors by row, of which a step reads, and moves, only those that it needs.

    `keras.layers.Embedding` reads the whole table at every step; the gradient of this one is known row by row
    (see `kerasft.training.sparse_adam`).

    Args:
        rows: How many; row 0 stands for what is unknown.
        width: Length of a vector.
        deviation: Standard deviation of the normal distribution that vectors start from.

    Example:
        >>> table = Table(4, 2, deviation=0.1)
        >>> table(tf.constant([[1, 1], [3, 0]])).shape
        TensorShape([2, 2, 2])
    """

    def __init__(self, rows: int, width: int, *, deviation: float, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.rows = rows
        self.width = width
        self.deviation = deviation
        self.built = True
        self.table = self.add_weight(
            name="table",
            shape=(rows, width),
            initializer=keras.initializers.RandomNormal(stddev=deviation),
        )

    def call(self, rows: Any) -> tf.Tensor:
        """Returns the vectors of rows: float32 `[..., width]` for int `[...]`."""
        return tf.gather(self.table.value, rows)

    def each(self, function: Callable[[tf.Tensor], Any], rows: tf.Tensor) -> Any:
        """Returns what a function makes of the vectors of rows.

        If more are asked for than the table has, it is computed for the whole table, then looked up, and the
        gradient is a whole table as well; not so in large tables, of which only touched rows should move.

        Args:
            function: Of vectors `[..., width]`, each by itself; returns tensors `[..., any]`.
            rows: int `[...]`. Where a graph does not know their number, they are looked up first.

        Returns:
            As `function(self(rows))`.

        Example:
            >>> table = Table(2, 3, deviation=0.1)
            >>> table.each(lambda vectors: 2.0 * vectors, tf.constant([[0, 1], [1, 1]])).shape
            TensorShape([2, 2, 3])
        """
        if self.rows > DENSE_ROWS or (rows.shape.num_elements() or 0) <= self.rows:
            return function(self(rows))
        made = function(tf.convert_to_tensor(self.table.value))
        return tf.nest.map_structure(lambda values: tf.gather(values, rows), made)

    def put(self, rows: Any, vectors: Any) -> None:
        """Writes vectors `[n, width]` into rows int `[n]`."""
        self.table.assign(tf.tensor_scatter_nd_update(self.table.value, rows[:, None], vectors))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        own = {"rows": self.rows, "width": self.width, "deviation": self.deviation}
        config = super().get_config()
        del config["dtype"]
        return {**config, **own}
