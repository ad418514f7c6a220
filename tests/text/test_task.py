"""The task as its users meet it: files in, answers out."""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest

import kerasft
import kerasft_text
from kerasft.data import open_source
from kerasft.errors import ConfigError, DataError, OrderError, PretrainedError
from kerasft.training.update import Batch
from kerasft_text.config import SCRATCH, TextConfig, TextTraining
from kerasft_text.data import snips

from .conftest import tiny

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TRAINING = {"epochs": 30, "batch_size": 4, "learning_rate": 1e-2, "warmup": 0.0}
SCORES = {
    "classification": "accuracy",
    "multilabel": "micro_f1",
    "regression": "pearson",
    "entities": "span_f1",
}


def create(encoder: str = "cnn", **config: Any) -> Any:
    return kerasft.create("text", **{**tiny(encoder), "training": TRAINING, **config})


def flat(answer: dict[str, np.ndarray]) -> dict[str, Any]:
    return {k: v.tolist() if v.dtype == object else np.round(v, 5).tolist() for k, v in answer.items()}


def operations(graph: Any) -> set[str]:
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for f in definition.library.function for node in f.node_def)]
    return {node.op for node in nodes}


@pytest.fixture(scope="module", params=list(SCORES))
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path, Path]:
    """A task of each kind, trained on its own example; the run; the data."""
    folder = tmp_path_factory.mktemp(request.param)
    task = create(kind=request.param)
    rows = task.example()
    data = folder / "data.jsonl"
    lines = [json.dumps(dict(zip(rows, values, strict=True))) for values in zip(*rows.values(), strict=True)]
    data.write_text("\n".join(lines), encoding="utf-8")
    task.finetune(data, validation_data=data, run_dir=folder / "run", verbose="quiet")
    return task, folder / "run", data


def test_it_learns_its_example(trained: tuple[Any, Path, Path]) -> None:
    task, _, data = trained
    assert task.evaluate(data, verbose="quiet")[SCORES[task.config.kind]] > 0.95


def test_a_loaded_run_answers_the_same(trained: tuple[Any, Path, Path]) -> None:
    task, run, _ = trained
    texts = [*task.example()["text"], "something it never saw", "完全不同"]
    assert flat(kerasft.load(run, checkpoint="latest").predict(texts)) == flat(task.predict(texts))


def test_it_answers_the_data_that_it_was_trained_on(trained: tuple[Any, Path, Path]) -> None:
    task, _, data = trained
    assert flat(task.predict(data, verbose="quiet")) == flat(task.predict(task.example()["text"]))


def test_an_answer_does_not_depend_on_its_neighbours(trained: tuple[Any, Path, Path]) -> None:
    task = trained[0]
    texts = task.example()["text"]
    together, alone = task.predict(texts), task.predict([texts[1]])
    if task.config.kind == "entities":
        first, last = together["row_splits"][1:3]
        together = {k: v[first:last] for k, v in together.items() if k != "row_splits"}
    for name in ("label", "scores", "value", "start", "end", "type"):
        if name in alone:
            found = together[name] if task.config.kind == "entities" else together[name][1:2]
            assert flat({name: found}) == flat({name: alone[name]})


def test_the_answers_are_named_and_typed(trained: tuple[Any, Path, Path]) -> None:
    task = trained[0]
    answer = {name: (value.dtype.name, value.shape[1:]) for name, value in task.predict(["a b", "c"]).items()}
    strings, classes = "object", len(task.labels) if task.config.kind != "regression" else 0
    expected = {
        "classification": {
            "label": (strings, ()),
            "scores": ("float32", (classes,)),
            "labels": (strings, ()),
        },
        "regression": {"value": ("float32", ())},
        "entities": {
            **dict.fromkeys(("start", "end", "byte_start", "byte_end"), ("int32", ())),
            "type": (strings, ()),
            "score": ("float32", ()),
            "row_splits": ("int64", ()),
        },
    }
    expected["multilabel"] = expected["classification"]
    assert answer == expected[task.config.kind]


_FAST = ("cnn", "bilstm", "transformer")


@pytest.mark.parametrize(
    "encoder", [name if name in _FAST else pytest.param(name, marks=pytest.mark.slow) for name in SCRATCH]
)
def test_every_encoder_learns(encoder: str, write_rows: Callable[..., Path]) -> None:
    task = create(encoder=encoder, training={**TRAINING, "epochs": 20})
    data = write_rows(task.example())
    losses = task.finetune(data, verbose="quiet").history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert task.evaluate(data, verbose="quiet")["accuracy"] == 1.0


def test_labels_are_those_of_the_data_unless_given(write_rows: Callable[..., Path]) -> None:
    data = write_rows([{"text": "a b", "label": 2}, {"text": "c d", "label": 10}])
    task = create(training={**TRAINING, "epochs": 1})
    task.finetune(data, verbose="quiet")
    assert task.labels == ("2", "10")
    given = create(labels=[10, 2, 7], training={**TRAINING, "epochs": 1})
    given.finetune(data, verbose="quiet")
    assert given.labels == ("10", "2", "7")
    assert given.predict(["a"])["labels"].tolist() == [b"10", b"2", b"7"]


def test_an_unknown_label_in_the_test_data(write_rows: Callable[..., Path]) -> None:
    task = create(training={**TRAINING, "epochs": 1})
    task.finetune(write_rows([{"text": "a b", "label": "x"}, {"text": "c d", "label": "y"}]), verbose="quiet")
    with pytest.raises(DataError, match=r"test\.jsonl, line 1.*'z'"):
        task.evaluate(write_rows([{"text": "a", "label": "z"}], "test.jsonl"), verbose="quiet")


def test_one_label_is_not_enough(write_rows: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="only one label, 'x'"):
        create().finetune(write_rows([{"text": t, "label": "x"} for t in "ab"]), verbose="quiet")


def test_building_before_the_data_is_known() -> None:
    with pytest.raises(OrderError, match="labels"):
        create().build()
    with pytest.raises(OrderError, match=r"vocabulary.*finetune"):
        create(labels=["a", "b"]).build()


def test_tokens_and_tags_are_served_as_text(write_rows: Callable[..., Path]) -> None:
    rows = [
        {"tokens": ["Ada", "was", "in", "St-Denis", "."], "tags": ["B-who", "O", "O", "B-where", "O"]},
        {"tokens": ["Bob", "stayed", "away"], "tags": ["B-who", "O", "O"]},
    ]
    task = create(kind="entities", training={**TRAINING, "epochs": 60})
    data = write_rows(rows)
    task.finetune(data, verbose="quiet")
    assert task.labels == ("where", "who")
    assert task.evaluate(data, verbose="quiet")["span_f1"] == 1.0
    text = "Ada was  in St-Denis."
    answer = task.predict([text])
    assert [text[a:b] for a, b in zip(answer["start"], answer["end"], strict=True)] == ["Ada", "St-Denis"]


def test_a_value_keeps_its_unit() -> None:
    import tensorflow as tf

    kind = create(kind="regression").kind
    kind.restore({"labels": None, "mean": 1000.0, "deviation": 100.0})
    assert kind.postprocess(tf.constant([1.0]), {})["value"].numpy().tolist() == [1100.0]
    batch = Batch({}, {"value": tf.constant([1100.0])})
    assert kind.loss(batch, tf.constant([1.0])).numpy().tolist() == [0.0]


def test_chinese_without_spaces(write_rows: Callable[..., Path]) -> None:
    good, bad = ["房间很好", "早餐很好吃", "服务很好"], ["房间不好", "早餐难吃", "服务太差"]
    rows = [{"text": t, "label": label} for texts, label in ((good, "good"), (bad, "bad")) for t in texts]
    task = create(training={**TRAINING, "epochs": 40})
    task.finetune(write_rows(rows), verbose="quiet")
    assert task.predict(["酒店很好", "太差"])["label"].tolist() == [b"good", b"bad"]


# Pretrained encoders, as local folders


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """KerasHub presets of random weights: one with WordPiece, one with byte pairs."""
    folder = tmp_path_factory.mktemp("presets")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS)]
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
    keras.utils.set_random_seed(0)
    bert = keras_hub.models.BertBackbone(len(words), max_sequence_length=64, **sizes)
    bert.save_to_preset(str(folder / "bert"))
    keras_hub.models.BertTokenizer(words, lowercase=True).save_to_preset(str(folder / "bert"))
    pairs = {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<mask>", *LETTERS, "Ġ", "Ġa"])}
    roberta = keras_hub.models.RobertaBackbone(len(pairs), max_sequence_length=64, **sizes)
    roberta.save_to_preset(str(folder / "roberta"))
    tokenizer = keras_hub.models.RobertaTokenizer(vocabulary=pairs, merges=["Ġ a"])
    tokenizer.save_to_preset(str(folder / "roberta"))
    return {name: folder / name for name in ("bert", "roberta")}


@pytest.mark.parametrize("name", ["bert", pytest.param("roberta", marks=pytest.mark.slow)])
def test_a_kerashub_preset(name: str, presets: dict[str, Path], write_rows: Any, tmp_path: Path) -> None:
    rows = [{"text": t, "label": t[0]} for t in ("aa bb", "ab", "ba", "bb aa", "a cc", "b cc")]
    settings = {"epochs": 2, "batch_size": 3, "learning_rate": 3e-3}
    task = create(encoder=str(presets[name]), backbone={"max_length": 32, "dropout": 0.0}, training=settings)
    task.finetune(write_rows(rows), run_dir=tmp_path / "run", verbose="quiet")
    texts = ["aa bb", "b", "a " * 40, "zz"]
    assert flat(kerasft.load(tmp_path / "run").predict(texts)) == flat(task.predict(texts))


def test_pretrained_weights_are_loaded_into_a_fresh_task(presets: dict[str, Path]) -> None:
    task = create(encoder=str(presets["bert"]), backbone={"max_length": 32}, labels=["a", "b"])
    task.build()
    source = keras_hub.models.Backbone.from_preset(str(presets["bert"]))
    table = next(w for w in task.model.weights if w.path.endswith("token_embedding/embeddings"))
    np.testing.assert_array_equal(table, source.token_embedding.embeddings)


def test_entities_need_a_tokenizer_that_knows_words(presets: dict[str, Path]) -> None:
    task = create(kind="entities", encoder=str(presets["roberta"]), labels=["a"])
    with pytest.raises(ConfigError, match="BERT family"):
        task.build()


# Serving


def test_the_export_answers_the_same_by_core_operations(
    trained: tuple[Any, Path, Path], tmp_path: Path
) -> None:
    import tensorflow as tf

    task = trained[0]
    task.export(tmp_path / "model", verify=task.config.kind == "entities")
    served = tf.saved_model.load(str(tmp_path / "model" / "1")).signatures["serving_default"]
    texts = [*task.example()["text"], "你好  Ünseen\nwords"]
    found = {name: value.numpy() for name, value in served(text=tf.constant(texts)).items()}
    assert flat(found) == flat(task.predict(texts))
    # What no data file may hold, a client may send.
    empty = served(text=tf.constant(["", " "]))
    assert {len(value) for name, value in empty.items() if name in ("scores", "value")} <= {2}
    assert not {op for op in operations(served.graph) if "Wordpiece" in op or ">" in op or "PyFunc" in op}


def test_order_counts_once_runs_of_words_do(write_rows: Callable[..., Path], tmp_path: Path) -> None:
    rows = [{"text": text, "label": text[0]} for text in ("a b", "b a")] * 16
    for ngrams, accuracy in ((1, 0.5), (2, 1.0)):
        task = create(encoder="mlp", vocabulary={"ngrams": ngrams})
        task.finetune(write_rows(rows), verbose="quiet")
        assert task.evaluate(write_rows(rows), verbose="quiet")["accuracy"] == accuracy
    assert task.export(tmp_path / "model").verification.ok
    assert kerasft.create("text", encoder="mlp", vocabulary={"ngrams": 2}).config.vocabulary.ngrams == 2
    with pytest.raises(
        ConfigError, match=r"vocabulary\.ngrams does nothing for the encoder 'cnn', only for mlp"
    ):
        create(vocabulary={"ngrams": 2})


@pytest.mark.parametrize("encoder", ["bilstm", "gru", "attention"])
def test_an_export_from_a_machine_with_a_gpu_needs_none(
    encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    task = create(encoder=encoder)
    task.adapt(open_source(task.example(), fields=task.fields()))
    task.build()
    # Where Keras looks before it chooses cuDNN.
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: ["GPU:0"])
    task.export(tmp_path / "model", verify=False)
    served = tf.saved_model.load(str(tmp_path / "model" / "1")).signatures["serving_default"]
    assert not {op for op in operations(served.graph) if "Cudnn" in op}
    ids = tf.TensorSpec([None, None], tf.int32)
    trained = tf.function(lambda ids: task.model(ids)).get_concrete_function(ids)
    assert "CudnnRNNV3" in operations(trained.graph)  # Training still takes it.


# Config and data


def test_defaults_depend_on_the_encoder() -> None:
    assert TextConfig().training.learning_rate == 2e-4
    assert TextConfig(encoder="cnn").training.learning_rate == 1e-3
    assert TextConfig(encoder="cnn", training={"learning_rate": 0.5}).training.learning_rate == 0.5
    loaded = TextConfig.model_validate(TextConfig(encoder="bilstm").model_dump(mode="json"))
    assert loaded == TextConfig(encoder="bilstm")
    for section in (TextTraining(epochs=1), kerasft.TrainingConfig(epochs=1)):
        training = TextConfig(encoder="cnn", training=section).training
        assert (training.epochs, training.learning_rate) == (1, 1e-3)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"encoder": "transformer", "embedding": {"dim": 10}}, "multiple of transformer.heads"),
        ({"labels": ["a", "a"]}, "given twice"),
        ({"labels": []}, "at least one label"),
        ({"encoder": ""}, "encoder"),
        ({"encoder": "cnn", "backbone": {"max_length": 16}}, "backbone.*'cnn', only for a pretrained one"),
        ({"embedding": {"dim": 16}}, "embedding.*'minilm', only for cnn, bilstm, gru"),
        ({"encoder": "cnn", "rnn": {"units": 64}}, "rnn.*'cnn', only for bilstm, gru, attention"),
        ({"kind": "multilabel", "head": {"label_smoothing": 0.1}}, r"head\.label_smoothing.*'multilabel'"),
        ({"head": {"threshold": 0.4}}, r"head\.threshold.*'classification', only for multilabel"),
        ({"kind": "regression", "labels": ["a"]}, "labels.*'regression'"),
        ({"kind": "entities", "pooling": "max"}, "pooling.*'entities'"),
        ({"cnn": {"filtres": 3}}, 'cnn.filtres.*did you mean "cnn.filters"'),
    ],
)
def test_wrong_settings(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        kerasft.create("text", **config)


def test_settings_that_do_something_stay_through_a_saved_config() -> None:
    for kind in SCORES:
        for encoder in (*SCRATCH, "minilm"):
            config = TextConfig(**{**tiny(encoder), "kind": kind})
            assert TextConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("encoder", "hint"),
    [
        ("bilstmm", 'did you mean "bilstm"'),
        ("lstm", 'did you mean "bilstm"'),
        ("CNN", 'did you mean "cnn"'),
        ("minilmm", 'did you mean "minilm"'),
        ("zzzz", "valid names: attention, bilstm, cnn, gru, minilm, mlp, transformer, or"),
    ],
)
def test_a_mistyped_encoder(encoder: str, hint: str) -> None:
    with pytest.raises(PretrainedError, match=hint):
        kerasft.create("text", encoder=encoder, labels=["a", "b"]).build()


def test_snips_is_small_balanced_and_aligned() -> None:
    paths = snips()
    assert sum(file.stat().st_size for file in paths.train.parent.iterdir()) < 1_000_000
    assert "CC0" in (paths.train.parent / "LICENSE").read_text(encoding="utf-8")
    for path, rows in ((paths.train, 1400), (paths.test, 700)):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert len(lines) == rows
        counts = collections.Counter(line["label"] for line in lines)
        assert len(counts) == 7
        assert set(counts.values()) == {rows // 7}
        assert all(0 <= a < b <= len(line["text"]) for line in lines for a, b, _ in line["entities"])


@pytest.mark.slow
def test_the_snippet_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    readme = (Path(kerasft_text.__file__).parent / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^```python\n(.*?)^```", readme, flags=re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert names["task"].evaluate(names["data"].test, verbose="quiet")["accuracy"] > 0.9
    assert (tmp_path / "saved_models" / "snips" / "1" / "saved_model.pb").is_file()


@pytest.mark.slow
@pytest.mark.minilm
def test_minilm_separates_meanings_after_a_few_steps(minilm: Path, write_rows: Callable[..., Path]) -> None:
    lines = [json.loads(line) for line in snips().train.read_text(encoding="utf-8").splitlines()]
    chosen = [line for line in lines if line["label"] in ("GetWeather", "PlayMusic", "RateBook")][:96]
    task = kerasft.create("text", encoder="minilm", training={"epochs": 1, "learning_rate": 5e-4})
    task.finetune(write_rows(chosen), verbose="quiet")
    asked = ["will it rain tomorrow in Rome", "i give this novel four stars", "some jazz please"]
    answer = task.predict(asked)
    assert answer["label"].tolist() == [b"GetWeather", b"RateBook", b"PlayMusic"]


def test_texts_have_vectors_that_the_head_stands_on():
    task = kerasft.create("text", **tiny("cnn"))
    example = task.example()
    task.finetune(example, epochs=1, verbose="quiet")
    texts = [*example["text"], "a"]
    vectors = task.embed(texts)
    assert vectors.shape == (len(texts), 24)
    kernel, bias = (weight.numpy() for weight in task.model.get_layer("head").weights)
    scores = np.exp(vectors @ kernel + bias)
    expected = task.predict(texts, verbose="quiet")["scores"]
    np.testing.assert_allclose(scores / scores.sum(1, keepdims=True), expected, atol=1e-5)
    np.testing.assert_allclose(task.embed({"text": texts[:2]}), vectors[:2], atol=1e-5)


def test_vectors_are_of_the_weights_as_they_are_and_traced_once(monkeypatch):
    task = kerasft.create("text", **tiny("transformer"))
    example = task.example()
    task.finetune(example, epochs=1, verbose="quiet")
    before = task.embed(example["text"])
    with monkeypatch.context() as patch:
        patch.setattr(task.tokenizer, "encode", None)
        np.testing.assert_array_equal(task.embed(example["text"]), before)
    task.finetune(example, epochs=1, learning_rate=0.01, verbose="quiet")
    trained = task.embed(example["text"])
    assert np.abs(trained - before).max() > 1e-3
    task.finetune(
        example, epochs=1, learning_rate=0.01, freeze=kerasft.LoRA(rank=2, targets="query"), verbose="quiet"
    )
    assert np.abs(task.embed(example["text"]) - trained).max() > 1e-4


def test_vectors_need_a_vocabulary_and_one_answer_a_text():
    with pytest.raises(OrderError, match="has no vocabulary yet"):
        kerasft.create("text", **tiny("cnn")).embed(["a"])
    with pytest.raises(ConfigError, match="kind=entities gives each word a vector"):
        kerasft.create("text", encoder="cnn", kind="entities").embed(["a"])


def test_a_pretrained_encoder_embeds_without_labels(minilm):
    task = kerasft.create("text", encoder="minilm")
    vectors = task.embed(["a cat sleeps", "the stock market fell today", "a kitten is napping"])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[2] > 0.5 > vectors[0] @ vectors[1]
