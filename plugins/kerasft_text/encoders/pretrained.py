"""Encoders that start from pretrained weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kerasft.errors import ConfigError
from kerasft.pretrained.converters import build
from kerasft_text.config import TextConfig
from kerasft_text.encoders.base import Encoder, token_input

_BLOCK = re.compile(r"(?:layer|block|encoder|decoder)_(\d+)$")


def pretrained_encoder(
    config: TextConfig, architecture: Mapping[str, Any], *, padding_id: int = 0
) -> Encoder:
    """Builds a backbone with random weights; whoever builds it afresh loads the pretrained ones.

    Args:
        config: `backbone.dropout` is read.
        architecture: of `kerasft.pretrained.converters`.
        padding_id: the backbone's own id of padding. If not 0, token ids arrive one higher than its own.

    Raises:
        ConfigError: the backbone does not give a vector for each token.
    """
    backbone = build(architecture, dropout=config.backbone.dropout)
    longest = getattr(backbone, "max_sequence_length", None)
    if longest is not None and longest < config.backbone.max_length:
        raise ConfigError(
            f"backbone.max_length is {config.backbone.max_length}, but {config.encoder} reads at most "
            f"{longest} tokens; lower it."
        )
    token_ids, mask = token_input()
    own_ids = ops.where(mask, token_ids - 1, padding_id) if padding_id else token_ids
    offered = {
        "token_ids": own_ids,
        "padding_mask": ops.cast(mask, "int32"),
        "segment_ids": ops.zeros_like(token_ids),
    }
    wanted = [tensor.name for tensor in backbone.inputs]
    outputs = backbone.output
    sequence = outputs.get("sequence_output") if isinstance(outputs, dict) else outputs
    if not set(wanted) <= set(offered) or sequence is None or len(sequence.shape) != 3:
        raise ConfigError(
            f"{config.encoder} is no text encoder: a {type(backbone).__name__} takes {', '.join(wanted)}, "
            "and the text task needs a vector for each of the token_ids."
        )
    # Without the pooler, which no head here uses: a weight that gets no gradient cannot train.
    encoder = keras.Model({t.name: t for t in backbone.inputs}, sequence, name="backbone")
    return Encoder(
        token_ids=token_ids,
        mask=mask,
        sequence=encoder({name: offered[name] for name in wanted}),
        groups=_groups(encoder),
        pooling="mean",
        backbone=backbone,
    )


def _groups(encoder: keras.Model) -> dict[str, list[keras.Layer]]:
    """Embeddings, then one group a block; what stands behind the blocks (a last norm) joins the last one."""
    groups: dict[str, list[keras.Layer]] = {"embeddings": []}
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        match = _BLOCK.search(layer.name)
        if match:
            groups.setdefault(f"block_{match[1]}", []).append(layer)
        else:
            groups[list(groups)[-1]].append(layer)
    return groups
