"""A causal language model with weights in fewer bits, for exports."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import tensorflow as tf

from kerasft.generation.causal import CausalBlock, CausalLM
from kerasft.generation.experts import Experts

Bits = Literal["bfloat16", "int8"]


class PackedLM(tf.Module):
    """What `CausalLM` is for whoever writes with it; it cannot be trained.

    int8 keeps each column of a kernel, and each row of the token table, as whole numbers from -127 to 127 and
    a scale; it is unpacked where it is used, one matrix at a time, and computed with in float32. bfloat16 is
    what products are made in, which takes a CPU that can (AVX-512) to be fast. What chooses among experts
    stays as it is.

    Args:
        network: Its weights are copied, adapters added in.
        bits: How they are kept.

    Example:
        >>> from kerasft.generation import CausalSizes
        >>> sizes = CausalSizes(vocabulary=10, width=8, layers=1, heads=2, kv_heads=1, size=4, hidden=16)
        >>> packed = PackedLM(CausalLM(sizes), "int8")
        >>> ids = tf.constant([[1, 2, 3]])
        >>> vectors, _ = packed.read(ids, tf.range(3)[None], (), tf.zeros([1, 3]))
        >>> packed.logits(vectors).shape.as_list()
        [1, 3, 10]
    """

    def __init__(self, network: CausalLM, bits: Bits) -> None:
        super().__init__()
        self.sizes = network.sizes
        self.embedding = _Table(network.embedding.table, bits, scaled=network.sizes.scaled)
        self.blocks = [_Block(block, bits) for block in network.blocks]
        self.output_table = self.embedding
        if not network.sizes.tied:
            self.output_table = _Table(network.output_table.table, bits, scaled=False)
        if network.sizes.positions:
            self.places = _Table(network.places.table, bits, scaled=False)
        self.norm = network.norm
        norms = [network.norm]
        if network.sizes.embedding_norm:
            self.embedding_norm = network.embedding_norm
            norms.append(network.embedding_norm)
        norms += [getattr(block, name) for block in network.blocks for name in block.norm_names]
        self.kept = [weight.value for norm in norms for weight in norm.weights]

    read = CausalLM.read
    nothing = CausalLM.nothing
    logits = CausalLM.logits


class _Block(tf.Module):
    """The parts of a `CausalBlock` that its methods use."""

    read = CausalBlock.read
    _feed = CausalBlock._feed
    _feed_densely = CausalBlock._feed_densely
    _attend = CausalBlock._attend
    _split = CausalBlock._split
    compute_dtype = "float32"

    def __init__(self, block: CausalBlock, bits: Bits) -> None:
        super().__init__()
        self.sizes = block.sizes
        for name in block.norm_names:
            setattr(self, name, getattr(block, name))
        self.attention_dropout, self.dropout = block.attention_dropout, block.dropout
        for name in block.dense_names:
            setattr(self, name, _Dense(getattr(block, name), bits))
        self.experts = None if block.experts is None else _Experts(block.experts, bits)


class _Experts(tf.Module):
    """The parts of `Experts` that its methods use."""

    routed = Experts.routed
    mixed = Experts.mixed

    def __init__(self, layer: Experts, bits: Bits) -> None:
        super().__init__()
        self.experts, self.chosen, self.normalised = layer.experts, layer.chosen, layer.normalised
        self.shared = layer.shared
        self.router = tf.Variable(layer.router, trainable=False)
        if layer.shared:
            self.shared_router = tf.Variable(layer.shared_router, trainable=False)
        for name in layer.bank_names:
            setattr(self, name, _Bank(getattr(layer, name), bits))

    def __call__(self, vectors: Any, *, beside: Any = None, **_: Any) -> Any:
        return self.mixed(vectors, self.routed(vectors)[1], beside)


class _Packed(tf.Module):
    """A matrix in fewer bits.

    Args:
        matrix: float [rows, columns].
        bits: How it is kept.
        axis: The axis along which numbers share a scale.
    """

    def __init__(self, matrix: Any, bits: Bits, *, axis: int) -> None:
        super().__init__()
        values = np.asarray(matrix, np.float32)
        if bits == "int8":
            scale = np.maximum(np.abs(values).max(axis=axis), 1e-12) / 127.0
            self.scale = tf.Variable(scale, trainable=False)
            whole = np.rint(values / np.expand_dims(scale, axis)).astype(np.int8)
            self.values = tf.Variable(whole, trainable=False)
        else:
            self.scale = None
            self.values = tf.Variable(tf.cast(values, tf.bfloat16), trainable=False)

    def product(self, inputs: Any, *, transpose: bool = False) -> Any:
        """Returns inputs, float32 [..., rows], times the matrix, float32 [..., columns]."""
        if self.scale is None:
            made = tf.matmul(tf.cast(inputs, tf.bfloat16), self.values, transpose_b=transpose)
            return tf.cast(made, tf.float32)
        # Or TensorFlow would unpack all matrices before a loop and keep them: memory is what is to be spared.
        with tf.control_dependencies([inputs]):
            unpacked = tf.cast(tf.convert_to_tensor(self.values), tf.float32)
        return tf.matmul(inputs, unpacked, transpose_b=transpose) * self.scale


class _Dense(_Packed):
    def __init__(self, dense: Any, bits: Bits) -> None:
        super().__init__(dense.kernel, bits, axis=0)
        self.bias = None if dense.bias is None else tf.Variable(dense.bias, trainable=False)

    def __call__(self, inputs: Any) -> Any:
        made = self.product(inputs)
        return made if self.bias is None else made + self.bias


class _Bank(_Packed):
    """The matrices of all experts, [experts, rows, columns]."""

    def __init__(self, bank: Any, bits: Bits) -> None:
        super().__init__(bank.kernel, bits, axis=1)
        if self.scale is not None:
            self.scale = tf.Variable(self.scale[:, None], trainable=False)

    def __call__(self, inputs: Any) -> Any:
        return self.product(inputs)


class _Table(_Packed):
    def __init__(self, table: Any, bits: Bits, *, scaled: bool) -> None:
        super().__init__(table, bits, axis=1)
        self.factor = float(table.shape[1]) ** 0.5 if scaled else 1.0

    def __call__(self, inputs: Any, reverse: bool = False) -> Any:
        if reverse:
            return self.product(inputs, transpose=True)
        vectors = tf.cast(tf.gather(tf.convert_to_tensor(self.values), inputs), tf.float32) * self.factor
        return vectors if self.scale is None else vectors * tf.gather(self.scale, inputs)[..., None]

    def at(self, positions: Any) -> Any:
        """What `PositionTable.at` returns."""
        return self(tf.minimum(positions, self.values.shape[0] - 1))
