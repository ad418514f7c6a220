"""Causal language models of KerasHub against KerasHub itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import PretrainedError
from kerasft.generation import CausalLM, SentencePieces

keras_hub = pytest.importorskip("keras_hub")
pytest.importorskip("tensorflow_text")

from kerasft.pretrained.converters import causal  # noqa: E402

from . import hub_presets  # noqa: E402

IDS = np.random.default_rng(0).integers(0, 50, (2, 23)).astype(np.int32)


def read(folder: Path) -> tuple[Any, CausalLM]:
    found = causal.open_causal(folder)
    network = CausalLM(found.sizes)
    report = found.load_weights(network)
    assert not report.ignored
    assert len(report.loaded) == len(network.model.weights)
    return found, network


@pytest.mark.parametrize("name", hub_presets.BACKBONES)
def test_logits_are_those_of_kerashub(tmp_path: Path, name: str) -> None:
    theirs = hub_presets.backbone(name)
    theirs.save_to_preset(tmp_path)
    _, network = read(tmp_path)
    wanted = hub_presets.logits(theirs, IDS)
    assert np.abs(wanted).max() > 1.0
    made = network.logits(network.model([IDS, np.ones_like(IDS)]))
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)
    # Read in two parts, as a reply is.
    first, past = network.read(tf.constant(IDS[:, :20]), tf.range(20)[None], (), tf.zeros([2, 20]))
    second, _ = network.read(tf.constant(IDS[:, 20:]), tf.range(20, 23)[None], (past,), tf.zeros([2, 3]))
    made = network.logits(tf.concat([first, second], axis=1))
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4)


def test_a_folder_of_transformers_is_read_by_kerashub(tmp_path: Path) -> None:
    # Its feed-forward layers are four times as wide as its vectors, KerasHub says.
    theirs = hub_presets.backbone("gpt2", vocabulary=len(hub_presets.PIECES) + 4, intermediate_dim=96)
    hub_presets.write_transformers_gpt2(tmp_path, theirs)
    found, network = read(tmp_path)
    made = network.logits(network.model([IDS, np.ones_like(IDS)]))
    np.testing.assert_allclose(made, hub_presets.logits(theirs, IDS), rtol=1e-4, atol=1e-4)
    bpe = found.tokenizer()
    assert [*bpe.special] == ["<|endoftext|>", *(f"<unused {number}>" for number in range(262, 265))]
    assert bpe.decode(bpe.encode(tf.constant(["the theft"]))).numpy()[0] == b"the theft"


def test_smollm3_of_transformers_is_read_by_kerashub(tmp_path: Path) -> None:
    vocabulary = len(hub_presets.PIECES) + len(hub_presets.SPECIAL["SmolLM3"])
    theirs = hub_presets.backbone("smollm3", vocabulary=vocabulary, attention_bias=False)
    hub_presets.write_transformers_smollm3(tmp_path, theirs)
    found, network = read(tmp_path)
    assert found.context == 128
    made = network.logits(network.model([IDS, np.ones_like(IDS)]))
    np.testing.assert_allclose(made, hub_presets.logits(theirs, IDS), rtol=1e-4, atol=1e-4)
    assert [*found.tokenizer().special] == hub_presets.SPECIAL["SmolLM3"]


@pytest.mark.parametrize("name", ["mixtral", "qwen-moe", "qwen3-moe"])
def test_the_loss_of_routers_is_that_of_kerashub(tmp_path: Path, name: str) -> None:
    theirs = hub_presets.backbone(name)
    theirs.save_to_preset(tmp_path)
    _, network = read(tmp_path)
    theirs({"token_ids": IDS, "padding_mask": np.ones_like(IDS)}, training=True)
    for _ in range(2):  # not added up from call to call
        network.model([IDS, np.ones_like(IDS)], training=True)
    assert len(network.model.losses) == 2
    np.testing.assert_allclose(sum(network.model.losses), sum(theirs.losses), rtol=1e-5)
    # Padding is not counted.
    padded, segments = np.pad(IDS, ((0, 0), (0, 9))), np.pad(np.ones_like(IDS), ((0, 0), (0, 9)))
    network.model([padded, segments], training=True)
    np.testing.assert_allclose(sum(network.model.losses), sum(theirs.losses), rtol=1e-5)
    network.model([IDS, np.ones_like(IDS)], training=False)
    assert not network.model.losses


def greedy(network: CausalLM, ids: np.ndarray, length: int) -> np.ndarray:
    """Continues token by token with a kept past."""
    past: list[Any] = []
    given, at = ids, 0
    while True:
        places = tf.range(at, at + given.shape[1])[None]
        vectors, kept = network.read(tf.constant(given), places, tuple(past), tf.zeros(given.shape))
        past.append(kept)
        at += given.shape[1]
        if at == length:
            return ids
        given = np.argmax(network.logits(vectors)[:, -1:], axis=-1).astype(np.int32)
        ids = np.concatenate([ids, given], axis=1)


@pytest.mark.parametrize("name", ["gpt2", "qwen3", "gemma2", "smollm3", "bloom", "mixtral"])
def test_greedy_texts_are_those_of_kerashub(tmp_path: Path, name: str) -> None:
    theirs = hub_presets.backbone(name)
    theirs.save_to_preset(tmp_path)
    _, network = read(tmp_path)
    family = hub_presets.BACKBONES[name][0]
    writer = getattr(keras_hub.models, f"{family}CausalLM")(backbone=theirs, preprocessor=None)
    writer.compile(sampler="greedy", run_eagerly=True)
    ids, mask = np.zeros((2, 2, 14), np.int32)
    ids[:, :4], mask[:, :4] = IDS[:, :4], 1
    made = writer.generate({"token_ids": ids, "padding_mask": mask}, stop_token_ids=None)
    np.testing.assert_array_equal(greedy(network, IDS[:, :4], 14), made["token_ids"])


def test_how_much_can_be_read(tmp_path: Path) -> None:
    contexts = {}
    for name in (
        "gpt2",
        "llama",
        "mistral",
        "qwen",
        "gemma2",
        "opt",
        "gpt-neox",
        "bloom",
        "smollm3",
        "phi3",
        "phi3-long",
    ):
        hub_presets.backbone(name).save_to_preset(tmp_path / name)
        contexts[name] = causal.open_causal(tmp_path / name).context
    assert contexts == {
        **{"gpt2": 96, "llama": None, "mistral": 512, "qwen": None, "gemma2": 64},
        **{"opt": 96, "gpt-neox": 96, "bloom": None, "smollm3": 128, "phi3": 128, "phi3-long": 64},
    }


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("gpt2", "GPT2"),
        ("llama3.1", "Llama3"),
        ("qwen", "Qwen"),
        ("qwen-moe", "QwenMoe"),
        ("qwen3-moe", "Qwen3Moe"),
        ("smollm3", "SmolLM3"),
        ("opt", "OPT"),
        ("gpt-neox", "GPTNeoX"),
        ("bloom", "Bloom"),
        ("falcon", "Falcon"),
    ],
)
def test_tokens_are_those_of_kerashub(tmp_path: Path, name: str, family: str) -> None:
    tokens = hub_presets.write_byte_pairs(tmp_path, name, family)
    bpe = causal.open_causal(tmp_path).tokenizer()
    text = "the theft, it's the é 漢"
    theirs = keras_hub.tokenizers.Tokenizer.from_preset(str(tmp_path))
    ids = bpe.encode(tf.constant([text])).to_list()[0]
    assert ids == np.asarray(theirs(text)).tolist()
    assert bpe.decode(tf.ragged.constant([ids], tf.int32)).numpy()[0].decode() == text
    # The rows of the network that have no token are special too.
    assert bpe.size == len(tokens) + 3
    assert [*bpe.special][:-3] == hub_presets.SPECIAL[family]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("gemma", "Gemma"),
        ("llama", "Llama"),
        ("mistral", "Mistral"),
        ("mixtral", "Mixtral"),
        ("phi3", "Phi3"),
    ],
)
def test_pieces_are_those_of_kerashub(tmp_path: Path, name: str, family: str) -> None:
    count = hub_presets.write_pieces(tmp_path, name, family)
    pieces = causal.open_causal(tmp_path).tokenizer()
    theirs = keras_hub.tokenizers.Tokenizer.from_preset(str(tmp_path))
    texts = ["the user  of\n\nthem", "Ünknown 漢 😀", "", "of the"]
    made = pieces.encode(tf.constant(texts))
    assert made.to_list() == [np.asarray(theirs(text)).tolist() for text in texts]
    assert [text.decode() for text in pieces.decode(made).numpy()] == texts
    assert pieces.size == count + 3
    # Nobody can write a special token.
    marks = [name for name in pieces.special if not name.startswith("<unused")]
    ids = pieces.encode(tf.constant(marks)).to_list()
    assert not {*pieces.special.values()} & {number for row in ids for number in row}
    assert pieces.decode(tf.ragged.constant([[*pieces.special.values()]], tf.int32)).numpy().tolist() == [b""]


def test_pieces_go_into_an_export_though_most_tokens_are_unused(tmp_path: Path) -> None:
    hub_presets.write_pieces(tmp_path, "gemma", "Gemma")
    proto = (tmp_path / "assets" / "tokenizer" / "vocabulary.spm").read_bytes()
    pieces = SentencePieces(proto, size=1000)
    module = tf.Module()
    module.pieces = pieces

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def echo(text: Any) -> dict[str, Any]:
        return {"text": pieces.decode(pieces.encode(text))}

    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"echo": echo.get_concrete_function()})
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    assert loaded.signatures["echo"](text=tf.constant(["the é"]))["text"].numpy().tolist() == [
        "the é".encode()
    ]


def change(folder: Path, file: str, **changes: Any) -> None:
    record = json.loads((folder / file).read_text())
    record["config"] |= changes.pop("config", {})
    (folder / file).write_text(json.dumps(record | changes))


def foreign(folder: Path) -> None:
    change(folder, "config.json", module="os", registered_name="mine>GPT2Backbone")


def nested(folder: Path) -> None:
    inner = {"module": "builtins", "class_name": "function", "config": "x", "registered_name": "function"}
    change(folder, "config.json", config={"dropout": [inner]})


def with_pictures(folder: Path) -> None:
    inner = {"module": "keras_hub", "class_name": "Gemma3VisionEncoder", "config": {}}
    change(folder, "config.json", config={"vision_encoder": inner})


def other_tokenizer(folder: Path) -> None:
    change(folder, "tokenizer.json", class_name="RobertaTokenizer")


def more_tokens(folder: Path) -> None:
    path = folder / "assets" / "tokenizer" / "vocabulary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": 900}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (foreign, "holds a GPT2Backbone of os: .* would run code of the preset"),
        (nested, "holds a function of builtins: only dtype policies"),
        (with_pictures, "with a Gemma3VisionEncoder; only networks of text are converted"),
        (other_tokenizer, "is a RobertaTokenizer; of KerasHub's GPT2Tokenizer, .* are known"),
        (more_tokens, "has 901 tokens and the network 265"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json; save the tokenizer beside"),
        (lambda folder: (folder / "assets/tokenizer/merges.txt").unlink(), "has no assets/tokenizer/merges"),
        (
            lambda folder: change(folder, "config.json", config={"num_heads": None}),
            "does not say what is needed",
        ),
    ],
)
def test_what_is_not_covered_is_refused(tmp_path: Path, spoil: Any, sentence: str) -> None:
    hub_presets.write_byte_pairs(tmp_path, "gpt2", "GPT2")
    spoil(tmp_path)
    with pytest.raises(PretrainedError, match=sentence):
        causal.open_causal(tmp_path).tokenizer()


def test_other_backbones_are_refused_by_name(tmp_path: Path) -> None:
    keras_hub.models.BertBackbone(
        vocabulary_size=9, num_layers=1, num_heads=1, hidden_dim=4, intermediate_dim=4, max_sequence_length=4
    ).save_to_preset(tmp_path)
    with pytest.raises(PretrainedError, match=r"holds a BertBackbone, which is not converted; .* Llama3Back"):
        causal.open_causal(tmp_path)


@pytest.mark.parametrize(
    ("name", "option", "sentence"),
    [
        ("llama", {"rope_position_scaling_factor": 4.0}, "factor=4.0, which KerasHub does not obey"),
        ("gemma", {"query_head_dim_normalize": False}, "query_head_dim_normalize=False"),
        ("smollm3", {"mlp_bias": True}, "mlp_bias=True, which no released model has"),
        ("smollm3", {"partial_rotary_factor": 0.5}, "=0.5, which KerasHub cannot compute"),
        ("phi3", {"rope_scaling_type": "yarn"}, "rope_scaling_type=yarn, which KerasHub does not"),
        ("mixtral", {"router_jitter_noise": 0.1}, "router_jitter_noise=0.1, which KerasHub cannot compute"),
        ("qwen-moe", {"decoder_sparse_step": 2}, "sparse_step=2 and .*, and KerasHub makes all blocks alike"),
        ("gpt-neox", {"rotary_percentage": 0.1}, "rotary_percentage=0.1, so its tokens have no positions"),
        ("falcon", {"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon=1e-06, which KerasHub's blocks do not"),
    ],
)
def test_an_option_that_is_not_covered_is_refused(
    tmp_path: Path, name: str, option: dict[str, Any], sentence: str
) -> None:
    hub_presets.backbone(name).save_to_preset(tmp_path)
    change(tmp_path, "config.json", config=option)
    with pytest.raises(PretrainedError, match=sentence):
        causal.open_causal(tmp_path)
