"""The task: verbs in the wrong order, building, predicting in parts, and what authors are told."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft import ConfigError, DataError, Field, LoRA, OrderError, RegistryError
from kerasft.data import open_source
from kerasft.training.examples import raw_tensors


@kerasft.register("test-lengths")
class Lengths(kerasft.Task):
    """Guesses the length of a text from its bytes; answers with a row for each byte, too."""

    pretrained = 0

    def fields(self):
        return (Field(name="text", kind="text"), Field(name="length", kind="number", target=True))

    def build_model(self):
        inputs = keras.Input((3,), name="counts")
        hidden = keras.layers.Dense(4, activation="relu", name="hidden")(inputs)
        return keras.Model(inputs, keras.layers.Dense(1, name="out", dtype="float32")(hidden))

    def load_pretrained(self, model):
        self.pretrained += 1

    def preprocess(self, raw):
        length = tf.cast(tf.strings.length(raw["text"]), tf.float32)
        vowels = tf.cast(tf.strings.length(tf.strings.regex_replace(raw["text"], "[^aeiou]", "")), tf.float32)
        return {"counts": tf.stack([length, vowels, tf.ones_like(length)], axis=-1)}

    def loss(self, batch, outputs):
        return tf.square(outputs[:, 0] - batch.targets["length"])

    def metrics(self):
        return {"mae": keras.metrics.MeanAbsoluteError(), "all": Several(name="all")}

    def postprocess(self, outputs, features):
        lengths = tf.cast(features["counts"][:, 0], tf.int64)
        bytes_of = tf.RaggedTensor.from_row_lengths(tf.range(tf.reduce_sum(lengths)) * 0 + 7, lengths)
        return {
            "length": outputs[:, 0],
            "bytes": bytes_of.values,
            "row_splits": bytes_of.row_splits,
            "units": tf.constant(["bytes"]),
        }

    def signatures(self):
        return {"serving_default": {"text": tf.TensorSpec([None], tf.string)}}

    def example(self):
        return {"text": ["a", "bcd"], "length": [1.0, 3.0]}


class Several(keras.metrics.Mean):
    """A metric with several results."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, sample_weight)

    def result(self):
        return {"mean_length": super().result(), "shape": tf.zeros([2, 2])}


def rows(count):
    texts = ["abcdefgh"[: 1 + i % 8] for i in range(count)]
    return {"text": texts, "length": [float(len(text)) for text in texts]}


@pytest.fixture
def built():
    task = Lengths(seed=1)
    task.build()
    return task


EARLY = {
    "freeze": lambda task, path: task.freeze("backbone"),
    "evaluate": lambda task, path: task.evaluate(rows(4)),
    "predict": lambda task, path: task.predict(["a"]),
    "export": lambda task, path: task.export(path),
    "save_adapters": lambda task, path: task.save_adapters(path / "a.npz"),
    "load_adapters": lambda task, path: task.load_adapters(path / "a.npz"),
    "model": lambda task, path: task.model,
    "freezing": lambda task, path: task.freezing,
}


@pytest.mark.parametrize("verb", EARLY)
def test_verb_too_early_says_which_comes_first(verb, tmp_path):
    with pytest.raises(
        OrderError, match=r"'test-lengths' has no (model|layers) yet: call build\(\) first, or fine"
    ):
        EARLY[verb](Lengths(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_build_returns_the_same_model_and_loads_pretrained_weights_once(built):
    assert built.build() is built.model is built.models["model"]
    assert built.pretrained == 1
    plain = Lengths()
    plain.build(pretrained=False)
    assert plain.pretrained == 0


def test_seed_decides_the_weights():
    def kernel(seed):
        task = Lengths(seed=seed)
        task.build()
        return task.model.get_layer("hidden").kernel.numpy()

    np.testing.assert_array_equal(kernel(1), kernel(1))
    assert not np.array_equal(kernel(1), kernel(2))


def test_precision_holds_for_the_models_of_the_task_only():
    class Broken(Lengths):
        def build_model(self):
            raise ZeroDivisionError

    task = Lengths(precision="mixed_bfloat16")
    task.build()
    assert task.model.get_layer("hidden").compute_dtype == "bfloat16"
    with pytest.raises(ZeroDivisionError):
        Broken(precision="mixed_bfloat16").build()
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: None, r"build_model\(\) of 'test-lengths' returned NoneType for 'model', not a keras.Model"),
        (lambda: {"generator": 3}, r"returned int for 'generator', not a keras.Model"),
        (
            lambda: keras.Sequential([keras.layers.Dense(1)]),
            r"has no weights yet: call it once in build_model",
        ),
    ],
)
def test_build_model_must_return_built_models(made, message):
    class Wrong(Lengths):
        def build_model(self):
            return made()

    with pytest.raises(ConfigError, match=message):
        Wrong().build()


def test_wrong_keywords_name_the_nearest_right_one():
    with pytest.raises(
        ConfigError, match=r'test-lengths: unknown key "sed" \(value 3\): did you mean "seed"'
    ):
        Lengths(sed=3)
    with pytest.raises(ConfigError, match=r'"training.epoches" \(value 3\): did you mean "training.epochs"'):
        Lengths().finetune(rows(4), epoches=3)


def test_keywords_of_finetune_replace_those_of_the_config_and_stay():
    task = Lengths(training={"epochs": 1, "batch_size": 4})
    history = task.finetune(rows(8), epochs=2, verbose="quiet")
    assert len(history.history["loss"]) == 2
    assert (task.config.training.epochs, task.config.training.batch_size) == (2, 4)
    assert task.dump_config()["training"]["epochs"] == 2


def test_what_an_author_forgot_is_named():
    class Empty(kerasft.Task):
        name = "empty"

    empty = Empty()
    for call, what in [
        (empty.fields, r"Empty.fields\(\) must return the columns"),
        (empty.build_model, r"Empty.build_model\(\) must return a Keras model"),
        (lambda: empty.preprocess({}), r"Empty.preprocess\(\) must turn raw columns into features"),
        (lambda: empty.loss(None, None), r"Empty.loss\(\) must return one loss per example"),
        (lambda: empty.postprocess(None, {}), r"Empty.postprocess\(\) must return a dict"),
        (empty.signatures, r"Empty.signatures\(\) must name the inputs"),
        (empty.example, r"Empty.example\(\) must return a few raw rows"),
    ]:
        with pytest.raises(NotImplementedError, match=what):
            call()
    assert (empty.metrics(), empty.resources(), empty.export_facts()) == ({}, [], {})


def test_vectors_are_those_of_the_answer_or_none():
    class Embedding(Lengths):
        def postprocess(self, outputs, features):
            return {**super().postprocess(outputs, features), "embedding": tf.reshape(outputs, [-1, 1])}

    for kind in (Lengths, Embedding):
        task = kind()
        task.build()
        texts = ["a", "abc"]
        if kind is Lengths:
            with pytest.raises(ConfigError, match="as it is configured gives no embedding, only"):
                task.embed(texts)
        else:
            assert task.embed(texts).shape == (2, 1)


def test_features_must_fit_the_inputs():
    class Renamed(Lengths):
        def preprocess(self, raw):
            counts = super().preprocess(raw)["counts"]
            return {"numbers": counts, "others": counts}

    with pytest.raises(ConfigError, match=r"inputs \(counts\) match neither .* returns \(numbers, others\)"):
        Renamed().finetune(rows(4), verbose="quiet")


def test_prediction_is_that_of_the_model(built):
    answer = built.predict(["abc", "hello"])
    counts = np.array([[3, 1, 1], [5, 2, 1]], "float32")
    np.testing.assert_allclose(answer["length"], built.model(counts).numpy()[:, 0], rtol=1e-6)
    assert answer["units"].tolist() == [b"bytes"]
    for data in ({"text": ["abc", "hello"]}, [{"text": "abc"}, {"text": "hello"}]):
        np.testing.assert_array_equal(built.predict(data)["length"], answer["length"])


def test_prediction_takes_an_array_or_a_series_where_it_takes_a_list(built):
    pandas = pytest.importorskip("pandas")
    texts = ["abc", "hello"]
    expected = built.predict(texts)["length"]
    for data in (np.array(texts), pandas.Series(texts, index=[7, 0])):
        np.testing.assert_array_equal(built.predict(data)["length"], expected)


def test_prediction_of_many_rows_joins_parts(built):
    texts = rows(600)["text"]
    answer = built.predict(texts)
    assert answer["length"].shape == (600,)
    lengths = [len(text) for text in texts]
    np.testing.assert_array_equal(answer["row_splits"], np.cumsum([0, *lengths]))
    assert len(answer["bytes"]) == sum(lengths)
    assert answer["units"].tolist() == [b"bytes"]
    some = built.predict(texts[250:260])["length"]
    np.testing.assert_allclose(answer["length"][250:260], some, rtol=1e-6)


def test_prediction_follows_training_and_adapters(built):
    before = built.predict(["abc"])["length"]
    built.finetune(rows(16), epochs=1, verbose="quiet", learning_rate=0.1)
    trained = built.predict(["abc"])["length"]
    assert trained != before
    built.freeze(LoRA(rank=1))
    np.testing.assert_allclose(built.predict(["abc"])["length"], trained, rtol=1e-6)
    built.finetune(rows(16), epochs=2, verbose="quiet", learning_rate=0.1)
    assert built.predict(["abc"])["length"] != trained
    expected = built.model(np.array([[3, 1, 1]], "float32")).numpy()[:, 0]
    np.testing.assert_allclose(built.predict(["abc"])["length"], expected, rtol=1e-6)


@pytest.mark.parametrize("data", [[], {"text": []}, {"a": [1], "b": [2]}, 3], ids=str)
def test_prediction_of_nothing_is_refused(built, data):
    with pytest.raises(DataError):
        built.predict(data)


def test_evaluation_gives_loss_and_every_scalar_of_the_metrics(built):
    data = rows(20)
    results = built.evaluate(data, batch_size=6, verbose="quiet")
    assert set(results) == {"loss", "mae", "mean_length"}
    error = built.predict(data["text"])["length"] - np.array(data["length"])
    assert results["loss"] == pytest.approx(np.mean(error**2), rel=1e-5)
    assert results["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-5)
    assert results["mean_length"] == pytest.approx(np.mean(data["length"]), rel=1e-5)
    assert built.evaluate(data, batch_size=20, verbose="quiet") == pytest.approx(results, rel=1e-5)
    assert float(built.evaluation_metrics["mae"].result()) == pytest.approx(results["mae"], rel=1e-5)


def test_metrics_see_sample_weights():
    data = rows(8) | {"weight": [0.0] * 7 + [1.0]}
    history = Lengths(seed=1).finetune(
        data, sample_weight="weight", epochs=1, batch_size=8, shuffle=False, verbose="quiet"
    )
    assert history.history["mean_length"] == [8.0]


def test_run_of_a_plugin_that_is_gone_names_it(tmp_path):
    Lengths().finetune(rows(8), epochs=1, run_dir=tmp_path, verbose="quiet")
    manifest = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(manifest | {"task": "vanished"}))
    with pytest.raises(RegistryError, match="vanished"):
        kerasft.load(tmp_path)


def test_raw_tensors_are_typed_by_kind():
    fields = (
        Field(name="text", kind="text"),
        Field(name="size", kind="number"),
        Field(name="tokens", kind="tokens"),
        Field(name="spans", kind="spans"),
    )
    data = {
        "text": ["a b", "c"],
        "size": [1, 2.5],
        "tokens": [["a", "b"], ["c"]],
        "spans": [[(0, 1, "X"), (2, 3, "Y")], []],
    }
    source = open_source(data, fields=fields)
    raw = raw_tensors(source.take(np.arange(2)), fields)
    assert raw["text"].numpy().tolist() == [b"a b", b"c"]
    assert raw["size"].numpy().tolist() == [1.0, 2.5]
    assert raw["tokens"].to_list() == [[b"a", b"b"], [b"c"]]
    assert raw["spans_start"].to_list() == [[0, 2], []]
    assert raw["spans_end"].to_list() == [[1, 3], []]
    assert raw["spans_type"].to_list() == [[b"X", b"Y"], []]
    assert (raw["spans_start"].dtype, raw["spans_type"].dtype) == (tf.int64, tf.string)


class Baskets(kerasft.Task):
    """An example is a buyer, with the number of the rows that name it; new buyers count as they come."""

    seen = frozenset()

    def default_data(self, split):
        return {
            "buyer": list("aabbbc" if split == "train" else "aab"),
            "age": [1] * (6 if split == "train" else 3),
        }

    def fields(self):
        return Field(name="buyer", kind="id"), Field(name="age", kind="number", target=True)

    def hold_out(self, source, share):
        last = np.arange(len(source)) >= len(source) - int(share)
        return source.subset(np.flatnonzero(~last)), source.subset(np.flatnonzero(last))

    def adapt(self, source):
        self.seen = set(source.iterate("buyer"))

    def extend(self, source):
        self.seen |= set(source.iterate("buyer"))

    def arrange(self, source, *, training):
        buyers = list(source.iterate("buyer"))
        counts = {buyer: float(buyers.count(buyer)) for buyer in buyers}
        fields = Field(name="count", kind="number"), Field(name="age", kind="number", target=True)
        return open_source({"count": list(counts.values()), "age": [1] * len(counts)}, fields=fields)

    def build_model(self):
        return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])

    def preprocess(self, raw):
        return {"count": raw["count"][:, None]}

    def loss(self, batch, outputs):
        return tf.square(outputs[:, 0] - batch.targets["age"])

    def metrics(self):
        return {"most": keras.metrics.MeanMetricWrapper(lambda true, value: value, name="most")}

    def score(self, batch, outputs):
        return batch.targets["age"], batch.features["count"]


def test_rows_become_the_examples_that_the_task_arranges():
    task = Baskets()
    task.build()
    assert task.evaluate({"buyer": list("aaab"), "age": [0] * 4}, verbose="quiet")["most"] == 2.0
    history = task.finetune({"buyer": list("aab"), "age": [0] * 3}, epochs=1, verbose="quiet")
    assert history.history["most"] == [1.5]


def test_who_gives_no_data_gets_that_of_the_task():
    task = Baskets()
    history = task.finetune(epochs=1, verbose="quiet")
    assert (task.seen, history.history["most"]) == ({"a", "b", "c"}, [2.0])
    assert task.evaluate(verbose="quiet")["most"] == 1.5
    with pytest.raises(DataError, match="has no train data of its own: give a path or arrays"):
        Lengths().finetune(epochs=1)


def test_the_task_says_what_is_held_out_and_learns_of_the_rest():
    task = Baskets()
    history = task.finetune(validation_data=1, epochs=1, verbose="quiet")
    assert (task.seen, history.history["val_most"]) == ({"a", "b"}, [1.0])


def test_a_built_task_learns_more_from_further_data():
    task = Baskets()
    task.finetune(epochs=1, verbose="quiet")
    task.finetune({"buyer": ["d", "a"], "age": [1, 1]}, epochs=1, verbose="quiet")
    assert task.seen == {"a", "b", "c", "d"}


def test_booleans_are_read_in_words_too():
    field = Field(name="on", kind="boolean")
    source = open_source({"on": [True, "no", 1, "False", b"yes"]}, fields=[field])
    raw = raw_tensors(source.take(np.arange(5)), [field])
    assert raw["on"].dtype == tf.bool
    assert raw["on"].numpy().tolist() == [True, False, True, False, True]
    with pytest.raises(DataError, match=r"row 1: .*holds 'perhaps', which is neither true nor false"):
        open_source({"on": [True, "perhaps"]}, fields=[field])
