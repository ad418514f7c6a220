"""Metrics against the references: scikit-learn, seqeval, numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score as seqeval_f1
from seqeval.metrics import precision_score as seqeval_precision
from seqeval.metrics import recall_score as seqeval_recall
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from kerasft_text.metrics import Classification, MultiLabel, Regression, SpanF1, tag_spans

TYPES = ("place", "person")
TAGS = ("O", *(f"{prefix}-{name}" for name in TYPES for prefix in "BI"))


def values(metric: keras.metrics.Metric) -> dict[str, float]:
    return {name: float(value) for name, value in metric.result().items()}


_LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(pairs=_LABELS)
def test_classification_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    true, predicted = np.array(pairs).T
    metric = Classification(classes=4)
    # In two batches: what counts is the sum.
    for part in np.array_split(np.arange(len(true)), 2):
        metric.update_state(tf.constant(true[part]), tf.one_hot(predicted[part], 4))
    found = values(metric)
    assert found["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    for average in ("macro", "micro"):
        expected = precision_recall_fscore_support(true, predicted, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            assert found[f"{average}_{name}"] == pytest.approx(value, abs=1e-6)
    np.testing.assert_array_equal(metric.confusion_matrix, confusion_matrix(true, predicted, labels=range(4)))


def test_classification_counts_weights_and_starts_anew() -> None:
    metric = Classification(classes=2, class_names=("no", "yes"))
    metric.update_state([0, 1], [0, 0], sample_weight=[3.0, 1.0])
    assert values(metric)["accuracy"] == 0.75
    metric.reset_state()
    metric.update_state([1], [1])
    assert metric.confusion_matrix.numpy().tolist() == [[0, 0], [0, 1]]
    assert Classification.from_config(metric.get_config()).class_names == ("no", "yes")


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.lists(st.booleans(), min_size=3, max_size=3), st.lists(st.booleans(), min_size=3, max_size=3)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_multilabel_agrees_with_scikit_learn(rows: list[tuple[list[bool], list[bool]]]) -> None:
    true, predicted = (np.array(part, int) for part in zip(*rows, strict=True))
    metric = MultiLabel(classes=3, threshold=0.4)
    metric.update_state(true, np.where(predicted, 0.4, 0.39))
    found = values(metric)
    assert found["exact_match"] == pytest.approx(accuracy_score(true, predicted))
    for average in ("macro", "micro"):
        expected = precision_recall_fscore_support(true, predicted, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            assert found[f"{average}_{name}"] == pytest.approx(value, abs=1e-6)
    by_class = precision_recall_fscore_support(true, predicted, average=None, zero_division=0)
    for ours, theirs in zip(metric.by_class(), by_class, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_regression_agrees_with_numpy_far_from_zero() -> None:
    generator = np.random.default_rng(0)
    true = generator.normal(1e4, 1.0, 500)
    predicted = true + generator.normal(0.2, 0.5, 500)
    true, predicted = true.astype(np.float32), predicted.astype(np.float32)
    metric = Regression()
    for part in np.array_split(np.arange(500), 7):
        metric.update_state(true[part], predicted[part])
    found = values(metric)
    assert found["mse"] == pytest.approx(np.mean((true - predicted) ** 2), rel=1e-3)
    assert found["mae"] == pytest.approx(np.mean(np.abs(true - predicted)), rel=1e-3)
    assert found["pearson"] == pytest.approx(np.corrcoef(true, predicted)[0, 1], abs=1e-3)


def test_correlation_of_a_constant_is_zero() -> None:
    metric = Regression()
    metric.update_state([1.0, 2.0], [3.0, 3.0])
    assert values(metric)["pearson"] == 0.0


_TAG = st.integers(0, len(TAGS) - 1)
_SENTENCES = st.lists(st.lists(st.tuples(_TAG, _TAG), min_size=1, max_size=8), min_size=1, max_size=5)


@settings(max_examples=80, deadline=None)
@given(sentences=_SENTENCES)
def test_spans_agree_with_seqeval_on_any_tags(sentences: list[list[tuple[int, int]]]) -> None:
    # Any order of tags, an I after an O or after another type included.
    length = max(map(len, sentences)) + 1
    padded = np.zeros((2, len(sentences), length), np.int32)
    for i, sentence in enumerate(sentences):
        padded[:, i, : len(sentence)] = np.array(sentence).T
    metric = SpanF1(types=len(TYPES))
    for part in np.array_split(np.arange(len(sentences)), 2):
        metric.update_state(tf.constant(padded[0][part]), tf.constant(padded[1][part]))
    found = values(metric)
    true, predicted = ([[TAGS[pair[k]] for pair in s] for s in sentences] for k in (0, 1))
    for name, reference in (("f1", seqeval_f1), ("precision", seqeval_precision), ("recall", seqeval_recall)):
        for prefix, average in (("", "micro"), ("macro_", "macro")):
            expected = reference(true, predicted, average=average, zero_division=0)
            # Without any span seqeval's macro average is not a number, ours is 0.
            assert found[f"{prefix}span_{name}"] == pytest.approx(np.nan_to_num(expected), abs=1e-6), name


def test_spans_given_as_spans_need_no_order() -> None:
    true = tf.constant([[[0, 4, 1], [9, 12, 2], [0, 0, 0]]])
    predicted = tf.constant([[[9, 12, 2], [0, 4, 2]]])
    metric = SpanF1(types=2)
    metric.update_state(true, predicted)
    assert values(metric)["span_f1"] == 0.5


def test_no_spans_at_all() -> None:
    metric = SpanF1(types=2)
    metric.update_state(tf.zeros([2, 3], tf.int32), tf.zeros([2, 3], tf.int32))
    metric.update_state(tf.zeros([2, 0, 3], tf.int32), tf.zeros([2, 0], tf.int32))
    assert values(metric)["span_f1"] == 0.0


def test_spans_compile_with_xla() -> None:
    tags = tf.constant([[1, 2, 0, 4], [3, 3, 0, 0]])
    compiled = tf.function(tag_spans, jit_compile=True)
    np.testing.assert_array_equal(compiled(tags), tag_spans(tags))
