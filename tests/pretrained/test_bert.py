"""Hugging Face BERT folders into KerasHub backbones: numerics, names, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasft.errors import PretrainedError
from kerasft.pretrained import cached

from . import numpy_bert

keras = pytest.importorskip("keras")
pytest.importorskip("keras_hub")
safetensors = pytest.importorskip("safetensors.numpy")

from kerasft.pretrained import converters  # noqa: E402
from kerasft.pretrained.converters import bert  # noqa: E402

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 23,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "hidden_size": 12,
    "intermediate_size": 20,
    "max_position_embeddings": 9,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.25,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-3,
    "position_embedding_type": "absolute",
}
INPUTS = {
    "token_ids": np.array([[1, 5, 22, 7, 0], [3, 3, 9, 0, 0]], np.int32),
    "segment_ids": np.array([[0, 0, 1, 1, 0], [0, 1, 1, 0, 0]], np.int32),
    "padding_mask": np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], np.int32),
}


def write(folder: Path, weights: dict[str, Any] | None = None, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    if weights is None:
        weights = numpy_bert.random_weights(CONFIG)
    safetensors.save_file(weights, folder / "model.safetensors")
    return folder


def load(folder: Path) -> Any:
    backbone = bert.build(bert.architecture(folder))
    bert.load_weights(backbone, folder)
    return backbone


def assert_parity(
    backbone: Any, config: dict[str, Any], weights: dict[str, Any], tolerance: float = 2e-5
) -> None:
    sequence, pooled = numpy_bert.forward(config, weights, *INPUTS.values())
    outputs = backbone(INPUTS)
    real = INPUTS["padding_mask"].astype(bool)
    np.testing.assert_allclose(
        np.asarray(outputs["sequence_output"])[real], sequence[real], atol=tolerance, rtol=0
    )
    np.testing.assert_allclose(outputs["pooled_output"], pooled, atol=tolerance, rtol=0)


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new", "relu", "silu"])
def test_outputs_equal_the_definition(tmp_path: Path, hidden_act: str) -> None:
    folder = write(tmp_path / "hf", hidden_act=hidden_act)
    assert_parity(load(folder), {**CONFIG, "hidden_act": hidden_act}, numpy_bert.random_weights(CONFIG))


def test_exact_gelu_survives_every_way_of_rebuilding(tmp_path: Path) -> None:
    backbone = load(write(tmp_path / "hf"))
    backbone.save(tmp_path / "model.keras")
    rebuilt = {
        "from_config": type(backbone).from_config(backbone.get_config()),
        "clone_model": keras.models.clone_model(backbone),
        "architecture": bert.build(json.loads(json.dumps(bert.architecture(tmp_path / "hf")))),
    }
    for model in rebuilt.values():
        model.set_weights(backbone.get_weights())
    rebuilt["saved"] = keras.models.load_model(tmp_path / "model.keras")
    for model in rebuilt.values():
        assert_parity(model, CONFIG, numpy_bert.random_weights(CONFIG))


def test_the_architecture_is_json_and_complete(tmp_path: Path) -> None:
    folder = write(tmp_path / "hf")
    architecture = bert.architecture(folder)
    assert json.loads(json.dumps(architecture)) == architecture
    assert architecture == {
        "kind": "bert",
        "vocabulary_size": 23,
        "num_layers": 2,
        "num_heads": 3,
        "hidden_dim": 12,
        "intermediate_dim": 20,
        "max_sequence_length": 9,
        "num_segments": 2,
        "dropout": 0.25,
        "hidden_act": "gelu",
        "layer_norm_epsilon": 1e-3,
    }
    assert converters.converter_of(folder) is bert
    assert converters.build(architecture, name="encoder").name == "encoder"


def test_dropout_and_precision_can_be_chosen(tmp_path: Path) -> None:
    architecture = bert.architecture(write(tmp_path / "hf"))
    assert bert.build(architecture).dropout == 0.25
    backbone = bert.build(architecture, dropout=0.0, dtype="mixed_float16")
    assert backbone.dropout == 0.0
    outputs = backbone(INPUTS, training=True)
    assert outputs["sequence_output"].dtype == "float16"
    assert backbone.weights[0].dtype == "float32"
    again = backbone(INPUTS, training=True)  # no dropout anywhere: deterministic
    np.testing.assert_array_equal(outputs["sequence_output"], again["sequence_output"])


def test_every_tensor_is_loaded_or_listed(tmp_path: Path) -> None:
    weights = numpy_bert.random_weights(CONFIG)
    # As a checkpoint of a masked language model converted from TensorFlow names them.
    renamed = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in weights.items()
        if not name.startswith("pooler")
    }
    extra = {"cls.predictions.bias": np.zeros(23, np.float32), "bert.embeddings.position_ids": np.arange(9)}
    folder = write(tmp_path / "hf", {**renamed, **extra})
    backbone = bert.build(bert.architecture(folder))
    report = bert.load_weights(backbone, folder)
    assert set(report.loaded) == set(renamed)
    assert set(report.ignored) == set(extra)
    assert report.initialized == ("pooled_dense/bias", "pooled_dense/kernel")
    sequence, _ = numpy_bert.forward(CONFIG, weights, *INPUTS.values())
    real = INPUTS["padding_mask"].astype(bool)
    found = np.asarray(backbone(INPUTS)["sequence_output"])
    np.testing.assert_allclose(found[real], sequence[real], atol=2e-5, rtol=0)


def test_shards(tmp_path: Path) -> None:
    weights = numpy_bert.random_weights(CONFIG)
    folder = write(tmp_path / "hf")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in shards.items():
        safetensors.save_file({name: weights[name] for name in part}, folder / file)
    places = {name: file for file, part in shards.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert_parity(load(folder), CONFIG, weights)
    (folder / "b.safetensors").unlink()
    with pytest.raises(PretrainedError, match=r"b\.safetensors is missing"):
        load(folder)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_files(tmp_path: Path, kind: str) -> None:
    import ml_dtypes

    dtype = np.float16 if kind == "float16" else ml_dtypes.bfloat16
    halves = {name: tensor.astype(dtype) for name, tensor in numpy_bert.random_weights(CONFIG).items()}
    folder = write(tmp_path / "hf", halves)
    assert_parity(load(folder), CONFIG, {name: tensor.astype(np.float32) for name, tensor in halves.items()})


def test_wrong_shapes_are_named_and_change_nothing(tmp_path: Path) -> None:
    weights = numpy_bert.random_weights(CONFIG)
    folder = write(tmp_path / "hf", weights)
    # Same number of values, so that a reshape would have hidden it.
    weights["encoder.layer.1.attention.self.key.weight"] = np.zeros((6, 24), np.float32)
    weights["embeddings.LayerNorm.bias"] = np.zeros(11, np.float32)
    write(folder, weights)
    backbone = bert.build(bert.architecture(folder))
    before = backbone.get_weights()
    with pytest.raises(PretrainedError) as caught:
        bert.load_weights(backbone, folder)
    sentence = str(caught.value)
    assert "encoder.layer.1.attention.self.key.weight has shape (24, 6)" in sentence
    assert "embeddings.LayerNorm.bias has shape (11,), embeddings_layer_norm/beta needs (12,)" in sentence
    for old, new in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    weights = numpy_bert.random_weights(CONFIG)
    del weights["encoder.layer.0.output.dense.bias"]
    with pytest.raises(PretrainedError, match="lack transformer_layer_0/feedforward_output_dense/bias"):
        load(write(tmp_path / "hf", weights))


def test_unreadable_weights(tmp_path: Path) -> None:
    folder = write(tmp_path / "hf")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-5])
    with pytest.raises(
        PretrainedError, match=r"model\.safetensors is not a safetensors file, or is truncated"
    ):
        load(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PretrainedError, match=r"as \.bin \(a pickle\); save them as model\.safetensors"):
        load(folder)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(PretrainedError, match=r"holds neither model\.safetensors nor"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_type": "gpt2"}, 'type "gpt2", not "bert"'),
        ({"is_decoder": True}, "decoder"),
        ({"position_embedding_type": "relative_key"}, 'position embeddings "relative_key"'),
        ({"hidden_act": "mish"}, 'activation "mish"; known are: gelu, '),
        ({"num_attention_heads": 5}, "hidden_dim=12 is not a multiple of num_heads=5"),
    ],
)
def test_variants_that_are_not_covered_are_refused(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    folder = write(tmp_path / "hf", **changes)
    with pytest.raises(PretrainedError, match=sentence):
        bert.build(bert.architecture(folder))


def test_broken_folders(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match=r"needs a config\.json"):
        converters.converter_of(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(PretrainedError, match="is not valid JSON"):
        converters.converter_of(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(PretrainedError, match="lacks vocab_size, num_hidden_layers"):
        bert.architecture(tmp_path)
    with pytest.raises(PretrainedError, match='kind "xyz"; known are: bert, keras_hub'):
        converters.build({"kind": "xyz"})


def test_vocabulary_and_case(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match=r"neither vocab\.txt nor"):
        bert.vocabulary(tmp_path)
    tokenizer = {"model": {"vocab": {"b": 1, "[PAD]": 0, "##é": 2}}, "normalizer": {"lowercase": False}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert bert.vocabulary(tmp_path) == ["[PAD]", "b", "##é"]
    assert (bert.lowercase(tmp_path), bert.strip_accents(tmp_path)) == (False, False)
    (tmp_path / "vocab.txt").write_text("[PAD]\na\n\u2028\n##é\n", encoding="utf-8")
    assert bert.vocabulary(tmp_path) == ["[PAD]", "a", "\u2028", "##é"]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true, "strip_accents": null}')
    assert (bert.lowercase(tmp_path), bert.strip_accents(tmp_path)) == (True, True)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true, "strip_accents": false}')
    assert (bert.lowercase(tmp_path), bert.strip_accents(tmp_path)) == (True, False)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ({"type": "BPE", "vocab": {"[PAD]": 0, "a": 1}, "merges": []}, "tokenizer of type BPE"),
        ({"type": "Unigram", "vocab": [["[PAD]", 0.0], ["a", -1.5]]}, "tokenizer of type Unigram"),
        ({"type": "WordPiece", "vocab": {"[PAD]": 0, "a": 2}}, "without gaps"),
        ({"type": "WordPiece", "vocab": {chr(48 + i): i for i in range(31)}}, "31 pieces, its model only 30"),
    ],
    ids=["bpe", "unigram", "gaps", "longer"],
)
def test_tokenizers_that_do_not_fit_are_refused(tmp_path: Path, model: dict[str, Any], sentence: str) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": model}))
    (tmp_path / "config.json").write_text('{"model_type": "bert", "vocab_size": 30}')
    with pytest.raises(PretrainedError, match=sentence):
        bert.vocabulary(tmp_path)


@pytest.fixture(scope="module")
def minilm() -> Path:
    folder = cached("minilm")
    if folder is None:
        pytest.skip("the MiniLM weights are not cached; run: kerasft fetch minilm")
    return folder


@pytest.mark.minilm
def test_minilm_equals_transformers(minilm: Path) -> None:
    reference = np.load(Path(__file__).parent / "fixtures" / "minilm_parity.npz")
    backbone = bert.build(bert.architecture(minilm))
    report = bert.load_weights(backbone, minilm)
    assert report.ignored == ("embeddings.position_ids",)
    assert report.initialized == ()
    outputs = backbone({name: reference[name] for name in ("token_ids", "segment_ids", "padding_mask")})
    found = np.asarray(outputs["sequence_output"])[reference["rows"], reference["columns"]]
    np.testing.assert_allclose(found, reference["sequence_output"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(outputs["pooled_output"], reference["pooled_output"], atol=1e-5, rtol=0)


@pytest.mark.minilm
def test_minilm_tokenizes_as_transformers_does(minilm: Path) -> None:
    """Vocabulary, case and accent settings give the in-graph tokenizer the reference's ids."""
    keras_hub = pytest.importorskip("keras_hub")
    pytest.importorskip("tensorflow_text")
    reference = np.load(Path(__file__).parent / "fixtures" / "minilm_parity.npz")
    tokenizer = keras_hub.tokenizers.BertTokenizer(
        vocabulary=bert.vocabulary(minilm),
        lowercase=bert.lowercase(minilm),
        strip_accents=bert.strip_accents(minilm),
    )
    for sentence, ids, mask in zip(
        reference["sentences"], reference["token_ids"], reference["padding_mask"], strict=True
    ):
        assert list(np.asarray(tokenizer(str(sentence)))) == list(ids[mask == 1][1:-1])
