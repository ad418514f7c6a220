"""KerasHub's BERT, with the activation and the epsilon that the checkpoint was trained with."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub

from kerasft.errors import PretrainedError


@keras.saving.register_keras_serializable(package="kerasft")
def gelu_tanh(x: Any) -> Any:
    """The tanh approximation of GELU."""
    return keras.activations.gelu(x, approximate=True)


ACTIVATIONS = {
    "gelu": keras.activations.gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
    "swish": keras.activations.silu,
}
"""Activations by their Hugging Face names. ``"gelu"`` is the exact one."""


@keras.saving.register_keras_serializable(package="kerasft")
class Bert(keras_hub.models.BertBackbone):
    """A ``BertBackbone`` whose activation and layer-norm epsilon are part of its config.

    KerasHub's own class hard-codes the tanh approximation of GELU and 1e-12: a model that was trained with
    exact GELU is then off by 3e-3. Changing the layers afterwards helps only until the model is rebuilt from
    its config, so this subclass builds the same graph, from the same public layers under the same names, with
    both as arguments.

    Args:
        vocabulary_size: Rows of the token table.
        num_layers: Transformer layers.
        num_heads: Attention heads a layer.
        hidden_dim: Width of the model.
        intermediate_dim: Width of the feed-forward layers.
        dropout: Dropout rate, of attention weights too.
        max_sequence_length: Rows of the position table: the longest input, in tokens.
        num_segments: Rows of the segment table.
        hidden_act: Hugging Face name of the activation, see `ACTIVATIONS`.
        layer_norm_epsilon: Epsilon of every layer norm.
        dtype: Keras dtype policy; the global one by default.
        **kwargs: ``name`` and ``trainable``.

    Raises:
        PretrainedError: `hidden_act` is not known, or `hidden_dim` is no multiple of `num_heads`.
    """

    def __init__(
        self,  # not keyword-only: Keras 3.12 then takes the class for a plain Functional when it clones
        vocabulary_size: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        intermediate_dim: int,
        dropout: float = 0.1,
        max_sequence_length: int = 512,
        num_segments: int = 2,
        hidden_act: str = "gelu",
        layer_norm_epsilon: float = 1e-12,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        if hidden_act not in ACTIVATIONS:
            raise PretrainedError(f'unknown activation "{hidden_act}"; known are: {", ".join(ACTIVATIONS)}')
        if hidden_dim % num_heads:
            raise PretrainedError(f"hidden_dim={hidden_dim} is not a multiple of num_heads={num_heads}")

        def initializer() -> keras.initializers.Initializer:
            return keras.initializers.TruncatedNormal(stddev=0.02)

        self.token_embedding = keras_hub.layers.ReversibleEmbedding(
            vocabulary_size,
            hidden_dim,
            embeddings_initializer=initializer(),
            dtype=dtype,
            name="token_embedding",
        )
        self.position_embedding = keras_hub.layers.PositionEmbedding(
            max_sequence_length, initializer=initializer(), dtype=dtype, name="position_embedding"
        )
        self.segment_embedding = keras.layers.Embedding(
            num_segments,
            hidden_dim,
            embeddings_initializer=initializer(),
            dtype=dtype,
            name="segment_embedding",
        )
        self.embeddings_add = keras.layers.Add(dtype=dtype, name="embeddings_add")
        self.embeddings_layer_norm = keras.layers.LayerNormalization(
            epsilon=layer_norm_epsilon, dtype=dtype, name="embeddings_layer_norm"
        )
        self.embeddings_dropout = keras.layers.Dropout(dropout, dtype=dtype, name="embeddings_dropout")
        self.transformer_layers = [
            keras_hub.layers.TransformerEncoder(
                num_heads=num_heads,
                intermediate_dim=intermediate_dim,
                activation=ACTIVATIONS[hidden_act],
                dropout=dropout,
                layer_norm_epsilon=layer_norm_epsilon,
                kernel_initializer=initializer(),
                dtype=dtype,
                name=f"transformer_layer_{index}",
            )
            for index in range(num_layers)
        ]
        self.pooled_dense = keras.layers.Dense(
            hidden_dim, kernel_initializer=initializer(), activation="tanh", dtype=dtype, name="pooled_dense"
        )

        inputs = {
            name: keras.Input(shape=(None,), dtype="int32", name=name)
            for name in ("token_ids", "segment_ids", "padding_mask")
        }
        tokens = self.token_embedding(inputs["token_ids"])
        positions = self.position_embedding(tokens)
        segments = self.segment_embedding(inputs["segment_ids"])
        x = self.embeddings_dropout(
            self.embeddings_layer_norm(self.embeddings_add((tokens, positions, segments)))
        )
        for layer in self.transformer_layers:
            x = layer(x, padding_mask=inputs["padding_mask"])
        outputs = {"sequence_output": x, "pooled_output": self.pooled_dense(x[:, 0, :])}
        # Past BertBackbone, whose constructor would build its own graph.
        super(keras_hub.models.BertBackbone, self).__init__(
            inputs=inputs, outputs=outputs, dtype=dtype, **kwargs
        )

        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.intermediate_dim = intermediate_dim
        self.dropout = dropout
        self.max_sequence_length = max_sequence_length
        self.num_segments = num_segments
        self.hidden_act = hidden_act
        self.layer_norm_epsilon = layer_norm_epsilon
        self.cls_token_index = 0

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config: dict[str, Any] = super().get_config()
        return {**config, "hidden_act": self.hidden_act, "layer_norm_epsilon": self.layer_norm_epsilon}
