"""Adam that moves the touched rows of a table."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft import ConfigError
from kerasft.training.config import TrainingConfig
from kerasft.training.optimizers import make_optimizer
from kerasft.training.sparse_adam import SparseAdam

ROWS, WIDTH = 12, 3


def train(optimizer, batches, *, jit_compile=False, dense_gradient=False):
    """Returns the table, and its moments, after steps towards targets for the rows of each batch."""
    table = keras.Variable(np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype("float32"))
    optimizer.build([table])

    @tf.function(jit_compile=jit_compile, autograph=False)
    def step(rows, targets):
        with tf.GradientTape() as tape:
            tape.watch(table.value)
            loss = tf.reduce_sum(tf.square(tf.gather(table.value, rows) - targets))
        gradient = tape.gradient(loss, table.value)
        optimizer.apply([tf.convert_to_tensor(gradient) if dense_gradient else gradient], [table])

    for rows, targets in batches:
        step(tf.constant(rows, tf.int32), tf.constant(targets, tf.float32))
    return [table.numpy(), *(variable.numpy() for variable in optimizer.variables[2:4])]


def batches(choose, *, steps):
    random = np.random.default_rng(1)
    for _ in range(steps):
        rows = choose(random)
        yield rows, random.standard_normal((len(rows), WIDTH))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("dense_rows", [0, ROWS])
def test_with_every_row_in_every_batch_it_is_adam(dense_rows, jit_compile):
    def choose(random):
        return np.concatenate([random.permutation(ROWS), random.integers(0, ROWS, 9)])

    dense = train(keras.optimizers.Adam(0.05), batches(choose, steps=20), dense_gradient=True)
    sparse = train(
        SparseAdam(0.05, dense_rows=dense_rows), batches(choose, steps=20), jit_compile=jit_compile
    )
    for expected, found in zip(dense, sparse, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def test_small_tables_move_as_a_whole():
    def choose(random):
        return random.integers(0, 4, 5)

    dense = train(keras.optimizers.Adam(0.05), batches(choose, steps=5), dense_gradient=True)
    small = train(SparseAdam(0.05), batches(choose, steps=5))
    for expected, found in zip(dense, small, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def test_rows_that_no_batch_has_stay_bit_for_bit():
    before = train(SparseAdam(0.05, dense_rows=0), [])
    first = train(SparseAdam(0.05, dense_rows=0), batches(lambda random: [1, 1, 3], steps=1))
    later = train(
        SparseAdam(0.05, dense_rows=0),
        [*batches(lambda random: [1, 1, 3], steps=1), *batches(lambda random: [5], steps=3)],
    )
    others = [row for row in range(ROWS) if row not in (1, 3, 5)]
    for old, once, then in zip(before, first, later, strict=True):
        assert np.array_equal(old[others], then[others])
        assert np.array_equal(once[[1, 3]], then[[1, 3]])
        assert not np.array_equal(old[[1, 3, 5]], then[[1, 3, 5]])


def test_a_config_names_it():
    config = TrainingConfig(optimizer="sparseadam", learning_rate=0.25)
    optimizer = make_optimizer(config, undecayed=[], total_steps=1, loss_scale=False)
    assert isinstance(optimizer, SparseAdam)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()


def test_clipping_is_refused():
    config = TrainingConfig(optimizer="sparseadam", clip_norm=1.0)
    with pytest.raises(ConfigError, match="allow no global_clipnorm"):
        make_optimizer(config, undecayed=[], total_steps=1, loss_scale=False)
