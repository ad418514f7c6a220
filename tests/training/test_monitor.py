"""Which metric decides the best checkpoint, and which way it should go."""

from __future__ import annotations

import pytest

from kerasft.training.monitor import Monitor

FALLING = """
val_loss loss val_generator_loss val_binary_crossentropy val_sparse_categorical_crossentropy val_mape val_mae
val_kl_divergence val_hinge val_poisson val_mean_squared_error val_perplexity val_fid val_false_positives
val_word_error_rate val_logcosh
"""
RISING = """
val_accuracy accuracy val_confidence val_f1 val_span_f1 val_auc val_lossless val_fidelity val_terms val_recall
val_cosine_similarity
"""


@pytest.mark.parametrize("name", FALLING.split())
def test_losses_and_errors_should_fall(name):
    assert Monitor.of(name).is_better(0.1, 0.2)
    assert not Monitor.of(name).is_better(0.2, 0.1)


@pytest.mark.parametrize("name", RISING.split())
def test_other_metrics_should_rise(name):
    assert Monitor.of(name).is_better(0.2, 0.1)
    assert not Monitor.of(name).is_better(0.1, 0.2)


def test_a_mode_wins_over_the_name():
    assert Monitor.of("val_accuracy", "min").is_better(0.1, 0.2)
    assert Monitor.of("val_loss", "max").is_better(0.2, 0.1)


def test_the_best_of_a_history_passes_over_what_is_no_number():
    assert Monitor.of("val_loss").best([None, float("nan"), 0.5, 0.2, None, 0.4]) == 0.2
    assert Monitor.of("val_accuracy").best([0.5, "best", 0.7]) == 0.7
    assert Monitor.of("val_accuracy").best([None]) is None
