"""Feed-forward layers of which each token uses a few: a mixture of experts."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="kerasft")
class ExpertDense(keras.layers.Layer):
    """One dense layer of each expert, without biases.

    Args:
        experts: Their number.
        units: Length of what each returns.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        vectors: float [tokens, length], or [experts, tokens, length]. Returned are [experts, tokens, units].
    """

    def __init__(self, experts: int, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.experts, self.units = experts, units

    def build(self, input_shape: Any) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.experts, input_shape[-1], self.units),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )
        self.built = True

    def call(self, vectors: Any) -> Any:
        return tf.matmul(vectors, ops.convert_to_tensor(self.kernel))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (self.experts, input_shape[-2], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "experts": self.experts, "units": self.units}


@keras.saving.register_keras_serializable(package="kerasft")
class Experts(keras.layers.Layer):
    """Experts with a gate each, and a router that chooses some for each token.

    A token's vector is the sum of what its experts return, weighted by the softmax of the router over all
    experts. Every expert is computed for every token, and those that were not chosen weigh nothing: this
    needs no ragged products, and takes the time and memory of all experts. The router is computed in float32
    and carries no adapter.

    Source: Shazeer et al., 2017, "Outrageously Large Neural Networks"; Fedus et al., 2022, "Switch
    Transformers"; Jiang et al., 2024, "Mixtral of Experts"; Qwen Team, 2024, "Qwen1.5-MoE".

    Args:
        width: Length of a token vector.
        hidden: Width inside an expert.
        experts: Number of experts.
        chosen: How many of them a token uses.
        normalised: Whether the weights of the chosen are made to sum to one.
        shared: Whether something beside them is added for every token, weighted by a sigmoid.
        balance: Factor of the loss that is added in training, the lower the more evenly tokens are spread
            over the experts (one where they are spread evenly); 0 adds none.
        **options: Those of `keras.layers.Layer`.

    Call arguments:
        vectors: float [tokens, width].
        beside: The same, what is added if `shared`.
        counted: bool [tokens], which of them the loss is of; None adds none.
        training: Whether the loss is added.

    Example:
        >>> layer = Experts(width=8, hidden=4, experts=3, chosen=2)
        >>> layer(tf.ones([5, 8])).shape.as_list()
        [5, 8]
    """

    bank_names = ("gate", "up", "down")

    def __init__(
        self,
        *,
        width: int,
        hidden: int,
        experts: int,
        chosen: int,
        normalised: bool = True,
        shared: bool = False,
        balance: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.width, self.hidden, self.experts, self.chosen = width, hidden, experts, chosen
        self.normalised, self.shared, self.balance = normalised, shared, balance
        policy = self.dtype_policy
        self.gate, self.up = (
            ExpertDense(experts, hidden, name=name, dtype=policy) for name in ("gate", "up")
        )
        self.down = ExpertDense(experts, width, name="down", dtype=policy)

    def build(self, input_shape: Any) -> None:
        widths = {"router": self.experts, "shared_router": 1} if self.shared else {"router": self.experts}
        for name, units in widths.items():
            weight = self.add_weight(
                name=name,
                shape=(self.width, units),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                autocast=False,
            )
            setattr(self, name, weight)
        self.gate.build((None, self.width))
        self.up.build((None, self.width))
        self.down.build((None, self.hidden))
        self.built = True

    def call(self, vectors: Any, beside: Any = None, counted: Any = None, training: Any = None) -> Any:
        shares, weights = self.routed(vectors)
        if training and counted is not None and self.balance:
            self.add_loss(self.balance * _imbalance(shares, weights, counted, self.chosen))
        return self.mixed(vectors, weights, beside)

    def routed(self, vectors: Any) -> tuple[Any, Any]:
        """Returns of each token the router's softmax and the weights, float32 [tokens, experts]."""
        scores = tf.matmul(ops.cast(vectors, "float32"), ops.cast(self.router, "float32"))
        shares = tf.nn.softmax(scores)
        best, which = tf.math.top_k(shares, k=self.chosen)
        if self.normalised:
            best = best / tf.reduce_sum(best, axis=-1, keepdims=True)
        return shares, tf.reduce_sum(tf.one_hot(which, self.experts) * best[..., None], axis=1)

    def mixed(self, vectors: Any, weights: Any, beside: Any) -> Any:
        """Returns the weighted sum of what the experts return, and of what is beside them."""
        made = self.down(ops.silu(self.gate(vectors)) * self.up(vectors))
        made = tf.einsum("etw,te->tw", made, ops.cast(weights, made.dtype))
        if not self.shared:
            return made
        scores = tf.matmul(ops.cast(vectors, "float32"), ops.cast(self.shared_router, "float32"))
        return made + ops.cast(tf.sigmoid(scores), made.dtype) * beside

    def compute_output_shape(self, input_shape: Any, *args: Any, **kwargs: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        names = ("width", "hidden", "experts", "chosen", "normalised", "shared", "balance")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _imbalance(shares: Any, weights: Any, counted: Any, chosen: int) -> Any:
    """Returns how unevenly tokens are spread, one at best for shares that follow what is chosen.

    Args:
        shares: float32 [tokens, experts], the router's softmax.
        weights: The same of those chosen, 0 elsewhere.
        counted: bool [tokens].
        chosen: How many experts a token uses.
    """
    count = tf.cast(counted, tf.float32)[:, None]
    number = tf.maximum(tf.reduce_sum(count), 1.0)
    used = tf.reduce_sum(tf.cast(weights > 0, tf.float32) * count, axis=0) / (number * chosen)
    share = tf.reduce_sum(shares * count, axis=0) / number
    return tf.reduce_sum(used * share) * shares.shape[-1]
