"""A test for each private API of Keras in use, so that an upgrade that breaks one is noticed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft import _compat


class Composite(keras.layers.Layer):
    """A layer with a weight, a statistic, random state, a loss, and layers below it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(2, name="inner")
        self.several = [keras.layers.Dropout(0.5, name="drop"), keras.layers.BatchNormalization(name="norm")]
        self.generator = keras.random.SeedGenerator(1)
        self.seen_training = []

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(2,), initializer="ones")
        self.count = self.add_weight(name="count", shape=(), initializer="zeros", trainable=False)
        for layer in (self.inner, *self.several):
            layer.build(shape)

    def call(self, inputs, training=None):
        self.seen_training.append(training)
        self.add_loss(keras.ops.sum(self.scale))
        for layer in (self.inner, *self.several):
            inputs = layer(inputs)
        return inputs * self.scale


@pytest.fixture
def composite():
    layer = Composite(name="composite")
    layer(np.zeros((1, 2), "float32"))
    return layer


def functional():
    a, b = keras.Input((4,), name="a"), keras.Input((1,), name="b")
    hidden = keras.layers.Dense(1, name="dense")(a)
    added = keras.layers.Add(name="add")([hidden, b])
    return keras.Model({"a": a, "b": b}, {"sum": added, "hidden": hidden})


def names(weights):
    return [weight.name for weight in weights]


def test_every_function_has_a_test_here():
    functions = {
        name
        for name, value in vars(_compat).items()
        if inspect.isfunction(value) and value.__module__ == _compat.__name__ and not name.startswith("_")
    }
    tests = {name for name in globals() if name.startswith("test_")}
    assert len(functions) > 15
    assert {name for name in functions if not any(name in test for test in tests)} == set()


def test_no_other_module_uses_private_names():
    package = Path(kerasft.__file__).parent
    private = re.compile(
        r"keras\.src|_keras_mask|_nodes_by_depth|_inbound_nodes|_outputs_struct|_inputs_struct"
    )
    found = [
        str(path)
        for root in (package, package.parent / "plugins")
        for path in root.rglob("*.py")
        if path.name != "_compat.py" and private.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_flatten_layers(composite):
    assert [layer.name for layer in _compat.flatten_layers(composite)] == [
        "composite",
        "inner",
        "drop",
        "norm",
    ]
    model = keras.Sequential([keras.Input((2,)), composite])
    flat = [layer.name for layer in _compat.flatten_layers(model)]
    assert flat[0] == model.name
    assert flat[-4:] == ["composite", "inner", "drop", "norm"]


def test_own_variables_and_own_trainable_variables_and_own_statistics(composite):
    assert names(_compat.own_variables(composite)) == ["scale", "count"]
    assert names(_compat.own_trainable_variables(composite)) == ["scale"]
    assert names(_compat.own_statistics(composite)) == ["count"]
    norm = composite.several[1]
    norm.trainable = False
    assert names(_compat.own_trainable_variables(norm)) == ["gamma", "beta"]
    assert names(_compat.own_statistics(norm)) == ["moving_mean", "moving_variance"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_optimized_variables(composite, wrapped):
    optimizer = keras.optimizers.Adam()
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer
    optimizer.build(composite.inner.trainable_variables)
    assert names(_compat.optimized_variables(optimizer)) == ["kernel", "bias"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_rate_schedule(wrapped):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    for rate, expected in ((schedule, schedule), (0.1, None)):
        optimizer = keras.optimizers.Adam(rate)
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer
        assert _compat.rate_schedule(optimizer) is expected


def test_adam_slots():
    variable = keras.Variable(np.zeros(2, "float32"))
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build([variable])
    optimizer.apply([tf.ones(2)], [variable])
    first, second = _compat.adam_slots(optimizer, variable.value)
    np.testing.assert_allclose(first.numpy(), 0.1, rtol=1e-5)
    np.testing.assert_allclose(second.numpy(), 0.001, rtol=1e-4)


def test_copy_optimizer():
    spared = keras.Variable(np.ones(1))
    adam = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    adam.exclude_from_weight_decay(var_list=[spared], var_names=["never"])
    for optimizer in (adam, keras.optimizers.LossScaleOptimizer(adam, initial_scale=8.0)):
        copy = _compat.copy_optimizer(optimizer, beta_1=0.0)
        inner = getattr(copy, "inner_optimizer", copy)
        assert type(copy) is type(optimizer)
        assert (inner.beta_1, adam.beta_1, inner.weight_decay) == (0.0, 0.9, 0.5)
        inner.apply([tf.zeros(1)], [spared])
        assert spared.numpy().item() == 1.0
    assert copy.initial_scale == 8.0


def test_seed_generators(composite):
    assert _compat.seed_generators(composite) == [composite.generator]
    assert len(_compat.seed_generators(composite.several[0])) == 1
    assert _compat.seed_generators(composite.inner) == []


def test_clear_losses():
    model = keras.Sequential([keras.Input((2,)), Composite()])
    model(np.zeros((1, 2), "float32"))
    assert len(model.losses) == 1
    _compat.clear_losses(model)
    assert model.losses == []


def test_as_functional():
    class Overridden(keras.Model):
        def call(self, inputs, training=None):
            return super().call(inputs, training=training) + 1.0

    class Renamed(keras.Model):
        pass

    inputs = keras.Input((2,))
    outputs = keras.layers.Dense(1)(inputs)
    plain = keras.Model(inputs, outputs)
    assert _compat.as_functional(plain) is plain
    renamed = Renamed(inputs, outputs)
    assert _compat.as_functional(renamed) is renamed
    assert _compat.as_functional(Overridden(inputs, outputs)) is None
    assert _compat.as_functional(keras.layers.Dense(1)) is None
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    assert _compat.as_functional(unbuilt) is None
    built = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    graph = _compat.as_functional(built)
    assert [node.operation.name for node in _compat.graph_nodes(graph)] == [built.layers[0].name]


def test_input_structure_and_output_structure():
    model = functional()
    assert set(_compat.input_structure(model)) == {"a", "b"}
    assert set(_compat.output_structure(model)) == {"sum", "hidden"}
    single = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    flat = keras.tree.flatten(_compat.output_structure(_compat.as_functional(single)))
    assert len(flat) == 1


def test_standardize_inputs():
    model = functional()
    order = [tensor.name for tensor in model.inputs]
    given = {"a": tf.zeros([3, 4], tf.float64), "b": tf.zeros([3])}
    taken = dict(zip(order, _compat.standardize_inputs(model, [given[name] for name in order]), strict=True))
    assert taken["b"].shape == (3, 1)
    assert taken["a"].shape == (3, 4)
    inputs = keras.Input((1,))
    single = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    assert _compat.standardize_inputs(single, [tf.zeros([3])])[0].shape == (3, 1)


def test_graph_nodes_and_node_inputs_and_node_first_argument_and_fill_arguments():
    model = functional()
    nodes = {node.operation.name: node for node in _compat.graph_nodes(model)}
    assert list(nodes) == ["dense", "add"]
    a, b = (next(tensor for tensor in model.inputs if tensor.name == name) for name in "ab")
    assert _compat.node_inputs(nodes["dense"]) == [a]
    assert _compat.node_first_argument(nodes["dense"]) is a
    assert isinstance(_compat.node_first_argument(nodes["add"]), list)
    hidden, other = _compat.node_inputs(nodes["add"])
    assert other is b
    assert hidden is nodes["dense"].outputs[0]
    args, kwargs = _compat.fill_arguments(
        nodes["add"], {id(hidden): tf.constant(1.0), id(b): tf.constant(2.0)}
    )
    assert float(nodes["add"].operation(*args, **kwargs)) == 3.0


@pytest.mark.parametrize("training", [True, False])
def test_call_operation(training):
    inputs = keras.Input((2,))
    outputs = keras.layers.Dropout(0.5, name="drop")(inputs) * 1.0
    drop, times = _compat.graph_nodes(keras.Model(inputs, outputs))
    ones = tf.ones([64, 2])
    args, kwargs = _compat.fill_arguments(drop, {id(inputs): ones})
    dropped = _compat.call_operation(drop, args, kwargs, training=training)
    assert bool(np.any(dropped.numpy() == 0)) == training
    args, kwargs = _compat.fill_arguments(times, {id(_compat.node_inputs(times)[0]): ones})
    np.testing.assert_array_equal(_compat.call_operation(times, args, kwargs, training=training), ones)


def test_call_count():
    dense, inputs = keras.layers.Dense(2), keras.Input((2,))
    once = dense(inputs)
    assert _compat.call_count(dense) == 1
    dense(once)
    assert _compat.call_count(dense) == 2


def test_get_mask_and_set_mask():
    embedded = keras.layers.Embedding(3, 2, mask_zero=True)(np.array([[1, 0]]))
    assert _compat.get_mask(embedded).numpy().tolist() == [[True, False]]
    copied = tf.identity(embedded)
    assert _compat.get_mask(copied) is None
    _compat.set_mask(copied, tf.constant([[True, False]]))
    pooled = keras.layers.GlobalAveragePooling1D()(copied)
    np.testing.assert_allclose(pooled.numpy(), embedded.numpy()[:, 0], rtol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.Dense(3),
        lambda: keras.layers.EinsumDense("ab,bc->ac", 3, bias_axes="c"),
    ],
    ids=["dense", "einsum"],
)
def test_enable_lora_and_frozen_kernel(layer):
    layer, inputs = layer(), np.ones((1, 2), "float32")
    before = layer(inputs)
    kernel = _compat.frozen_kernel(layer)
    assert kernel is layer.kernel
    _compat.enable_lora(layer, 2, 6.0, seed=1)
    assert layer.lora_enabled
    assert _compat.frozen_kernel(layer) is kernel
    np.testing.assert_array_equal(layer(inputs), before)
    layer.lora_kernel_b.assign(np.ones((2, 3), "float32"))
    scaled = kernel.numpy() + 6.0 / 2 * layer.lora_kernel_a.numpy() @ np.ones((2, 3))
    np.testing.assert_allclose(layer.kernel, scaled, rtol=1e-5, atol=1e-6)
    assert set(names(_compat.own_trainable_variables(layer))) == {
        "kernel",
        "bias",
        "lora_kernel_a",
        "lora_kernel_b",
    }


@pytest.mark.parametrize("training", [True, False])
def test_call_context(composite, training):
    model = keras.Sequential([keras.Input((2,)), composite])
    composite.seen_training.clear()
    inputs = np.ones((64, 2), "float32")
    with _compat.call_context(model, training=training):
        composite(inputs)
        dropped = keras.layers.Dropout(0.5)(inputs)
        with _compat.call_context(model, training=not training):
            composite(inputs)
        composite(inputs)
    composite(inputs)
    assert [bool(seen) for seen in composite.seen_training] == [training, not training, training, False]
    assert bool((keras.ops.convert_to_numpy(dropped) == 0).any()) == training
