"""Encoders: the same answer however far a text is padded, and every weight in one group."""

from __future__ import annotations

from typing import Any

import keras
import keras_hub
import numpy as np
import pytest

from kerasft.errors import ConfigError
from kerasft.pretrained.converters import bert, hub
from kerasft_text.config import SCRATCH, TextConfig
from kerasft_text.encoders import Encoder, build_model, pretrained_encoder, scratch_encoder
from kerasft_text.encoders.base import pool
from kerasft_text.encoders.scratch import WordDropout

from .conftest import tiny

IDS = np.array([[3, 4, 5, 6, 7], [8, 0, 0, 0, 0]], np.int32)
LONGER = np.pad(IDS, ((0, 0), (0, 7)))
BERT = {
    "kind": "bert",
    "vocabulary_size": 30,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "max_sequence_length": 16,
    "num_segments": 2,
    "dropout": 0.1,
    "hidden_act": "gelu",
    "layer_norm_epsilon": 1e-12,
}


def roberta() -> dict[str, Any]:
    backbone = keras_hub.models.RobertaBackbone(
        vocabulary_size=30,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=32,
    )
    record = keras.saving.serialize_keras_object(backbone)
    record["config"] = {k: v for k, v in record["config"].items() if k not in ("dtype", "name")}
    return {
        "kind": hub.KIND,
        "backbone": {k: record[k] for k in ("module", "class_name", "registered_name", "config")},
    }


def encode(name: str, **config: Any) -> tuple[TextConfig, Encoder]:
    if name in SCRATCH:
        made = TextConfig(**{**tiny(name), **config})
        return made, scratch_encoder(made, vocabulary_size=30)
    made = TextConfig(**{**tiny(name), "backbone": {"max_length": 16}, **config})
    if name == "bert":
        return made, pretrained_encoder(made, BERT)
    return made, pretrained_encoder(made, roberta(), padding_id=1)


@pytest.mark.parametrize("name", [*SCRATCH, "bert", "roberta"])
@pytest.mark.parametrize("kind", ["classification", "entities"])
def test_padding_changes_nothing(name: str, kind: str) -> None:
    model, _ = build_model(*encode(name, kind=kind), outputs=3)
    short, long = np.array(model(IDS)), np.array(model(LONGER))
    if kind == "entities":
        assert short.shape == (2, 5, 3)
        short, long = short[IDS > 0], long[LONGER > 0]
    else:
        assert short.shape == (2, 3)
    np.testing.assert_allclose(short, long, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "sqrt", "max", "first"])
def test_padding_changes_nothing_for_any_pooling(pooling: str) -> None:
    model, _ = build_model(*encode("mlp", pooling=pooling), outputs=3)
    np.testing.assert_allclose(model(IDS), model(LONGER), atol=1e-6)


def test_the_root_pooling_lets_long_texts_count_for_more() -> None:
    sequence = np.random.default_rng(0).normal(size=(3, 9, 4)).astype(np.float32)
    mask = np.arange(9) < np.array([[9], [4], [0]])
    mean, root = (np.array(pool(sequence, mask, how)[0]) for how in ("mean", "sqrt"))
    np.testing.assert_allclose(root, mean * np.sqrt([[9], [4], [0]]), atol=1e-6)


def test_order_matters_to_encoders_that_see_it() -> None:
    for name in set(SCRATCH) - {"mlp"}:
        model, _ = build_model(*encode(name), outputs=2)
        assert np.abs(np.array(model(IDS[:1]) - model(IDS[:1, ::-1]))).max() > 1e-6, name


@pytest.mark.parametrize("name", [*SCRATCH, "bert", "roberta"])
def test_every_weight_is_in_one_group_and_trains(name: str) -> None:
    dropped = {"embedding": {"dim": 16, "word_dropout": 0.1}} if name in SCRATCH else {}
    model, groups = build_model(*encode(name, **dropped), outputs=2)
    assert next(iter(groups)) == "embeddings"
    assert list(groups)[-1] == "head"
    grouped = [id(weight) for layers in groups.values() for layer in layers for weight in layer.weights]
    assert sorted(grouped) == sorted(id(weight) for weight in model.weights)
    random = {type(layer).__name__ for layers in groups.values() for layer in layers}
    assert "Dropout" in random
    with_gradient = _gradient_paths(model)
    # The second segment of BERT's table is never used.
    assert {v.path for v in model.trainable_variables} == with_gradient


def _gradient_paths(model: keras.Model) -> set[str]:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(IDS) ** 2)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    return {v.path for v, g in zip(model.trainable_variables, gradients, strict=True) if g is not None}


def test_blocks_are_groups() -> None:
    assert list(encode("bert")[1].groups) == ["embeddings", "block_0", "block_1"]
    assert list(encode("transformer")[1].groups) == ["embeddings", "block_0", "block_1"]
    assert list(encode("bilstm", rnn={"units": 4, "layers": 2})[1].groups) == [
        "embeddings",
        "recurrent_0",
        "recurrent_1",
    ]


def test_the_head_keeps_float32_under_mixed_precision() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for name in ("cnn", "transformer", "bert"):
            config, encoder = encode(name)
            model, _ = build_model(config, encoder, outputs=2)
            assert encoder.sequence.dtype == "bfloat16"
            assert model.get_layer("head").compute_dtype == "float32"
            assert model(IDS).dtype == "float32"
    finally:
        keras.config.set_dtype_policy(before)


def test_a_text_longer_than_the_backbone_reads() -> None:
    with pytest.raises(ConfigError, match=r"at most 16.*lower it"):
        pretrained_encoder(TextConfig(encoder="x", backbone={"max_length": 17}), BERT)


def test_a_backbone_that_reads_no_text() -> None:
    image = keras_hub.models.ViTBackbone(
        image_shape=(8, 8, 3), patch_size=4, num_layers=1, num_heads=1, hidden_dim=4, mlp_dim=4
    )
    record = keras.saving.serialize_keras_object(image)
    record["config"] = {k: v for k, v in record["config"].items() if k not in ("dtype", "name")}
    with pytest.raises(ConfigError, match="no text encoder"):
        pretrained_encoder(TextConfig(encoder="vit"), {"kind": hub.KIND, "backbone": record})


def test_dropout_of_the_backbone_is_a_setting() -> None:
    backbone = bert.build(BERT, dropout=None)
    assert backbone.dropout == 0.1
    _, encoder = encode("bert", backbone={"dropout": 0.3, "max_length": 16})
    assert encoder.backbone is not None
    assert encoder.backbone.dropout == 0.3


def test_word_dropout_hides_words_only_while_training() -> None:
    layer = WordDropout(0.5, seed=0)
    ids = np.full((40, 50), 7, np.int32)
    ids[:, 40:] = 0
    hidden = np.array(layer(ids, training=True))
    assert set(np.unique(hidden[:, :40])) == {1, 7}
    assert 0.4 < (hidden[:, :40] == 1).mean() < 0.6
    assert (hidden[:, 40:] == 0).all()
    np.testing.assert_array_equal(layer(ids, training=False), ids)


def test_a_bag_of_words_leaves_hidden_words_out() -> None:
    ids = np.full((200, 4), 7, np.int32)
    for pooling in ("mean", "max"):
        config, encoder = encode(
            "mlp", pooling=pooling, embedding={"dim": 8, "dropout": 0, "word_dropout": 0.6}
        )
        model, _ = build_model(config, encoder, outputs=2)
        expected = np.array(model(ids[:1], training=False))
        model.get_layer("head_dropout").rate = 0.0
        found = np.array(model(ids, training=True))
        nothing = np.array(model(np.zeros((1, 4), np.int32), training=False))
        # Of equal words it does not matter how many are left, as long as one is.
        alike = np.isclose(found, expected, atol=1e-6).all(1) | np.isclose(found, nothing, atol=1e-6).all(1)
        assert alike.all()
        assert 0.8 < np.isclose(found, expected, atol=1e-6).all(1).mean() < 0.94  # 1 - 0.6 ** 4 = 0.87
