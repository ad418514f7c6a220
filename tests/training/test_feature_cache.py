"""The frozen-feature cache: the same training for less, or a reason why not."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from measure import assert_same, weights_of
from tasks import Points, Words, points, words
from variants import Attention, Bags, Branches, InnerMask, Nested, Noisy, Subclassed, Unmasked, Wrapped

from kerasft import Gradual


def trained(task, rows, held_out, capsys, **options):
    """Returns weights, history and what was said about the cache."""
    options = {"epochs": 3, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.5} | options
    history = task.finetune(rows, validation_data=held_out, verbose="line", **options)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("feature cache")]
    return weights_of(task), history.history, said


CASES = {
    "nested wholly": (Nested, "backbone", {}, "high"),
    "nested partly": (Nested, "low", {}, "norm"),
    "on disk": (Nested, "backbone", {"cache_memory_mb": 0}, "high"),
    "masked": (Bags, "embed", {}, "embed"),
    "masked, then pooled": (Bags, 2, {}, "norm"),
    "mask into a nested model": (InnerMask, "embed", {}, "embed"),
    "masked on disk": (Bags, "embed", {"cache_memory_mb": 0}, "embed"),
    "steps in one call": (Nested, "backbone", {"steps_per_call": 3}, "high"),
    "attention": (Attention, 2, {}, "attention"),
    "branches": (Branches, 2, {}, "body"),
    "branches early": (Branches, 1, {}, "shared"),
    "wrapped": (Wrapped, "inner", {}, "both"),
    "class weights": (Branches, 3, {"class_weight": "balanced", "steps_per_call": 2}, "late"),
}


@pytest.mark.parametrize("case", CASES)
def test_cached_training_equals_uncached(case, capsys):
    task, policy, options, layer = CASES[case]
    rows, held_out = (
        (words(44), words(12, seed=9)) if issubclass(task, Words) else (points(44), points(12, seed=9))
    )
    options = {"freeze": policy} | options
    where = "on disk" if "cache_memory_mb" in options else "in memory"
    one, other = task(seed=1, dropout=0.3), task(seed=1, dropout=0.3)
    cached, losses, said = trained(one, rows, held_out, capsys, **options)
    assert said == [f"feature cache on: outputs up to layer {layer!r} are kept {where}"]
    plain, expected, said = trained(other, rows, held_out, capsys, feature_cache=False, **options)
    assert said == ["feature cache off: feature_cache is false"]
    assert_same(cached, plain, rtol=0, atol=1e-5)
    assert losses.keys() == expected.keys()
    for name, values in expected.items():
        assert losses[name] == pytest.approx(values, abs=1e-5)
    assert len({round(value, 4) for value in expected["loss"]}) == 3
    # The model as a whole, without the prefix taken apart, says the same.
    whole = one.evaluate(held_out, batch_size=8, verbose="quiet")
    assert whole["loss"] == pytest.approx(losses["val_loss"][-1], abs=1e-5)


def test_mask_reaches_a_recurrence_behind_the_cache(capsys):
    rows, held_out, options = words(24), words(8, seed=9), {"freeze": "embed", "epochs": 2}
    cached, _, said = trained(Words(seed=1), rows, held_out, capsys, **options)
    assert said == ["feature cache on: outputs up to layer 'embed' are kept in memory"]
    plain, _, _ = trained(Words(seed=1), rows, held_out, capsys, feature_cache=False, **options)
    assert_same(cached, plain, rtol=0, atol=1e-5)


def test_each_phase_of_unfreezing_has_its_own_cache(capsys):
    options = {"unfreeze": Gradual(every=2), "epochs": 5, "optimizer": "adam", "learning_rate": 0.02}
    task, rows, held_out = Nested, points(40), points(12, seed=9)
    cached, losses, said = trained(task(seed=1, dropout=0.2), rows, held_out, capsys, **options)
    assert said == [
        "feature cache on: outputs up to layer 'high' are kept in memory",
        "feature cache on: outputs up to layer 'norm' are kept in memory",
    ]
    plain, expected, _ = trained(
        task(seed=1, dropout=0.2), rows, held_out, capsys, feature_cache=False, **options
    )
    assert_same(cached, plain, rtol=0, atol=1e-5)
    assert losses["loss"] == pytest.approx(expected["loss"], abs=1e-5)


def test_frozen_layers_are_not_computed_again():
    class Break(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                task.backbone.get_layer("low").kernel.assign(np.full((2, 8), np.nan, "float32"))

    task = Nested(seed=1)
    history = task.finetune(
        points(24), freeze="backbone", epochs=3, batch_size=8, callbacks=[Break()], verbose="quiet"
    )
    assert np.isfinite(history.history["loss"]).all()
    assert history.history["loss"][2] < history.history["loss"][0]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_features_are_kept_in_half_precision(precision, capsys):
    options = {"freeze": "backbone", "cache_memory_mb": 0}
    rows, held_out = points(40), points(12, seed=9)
    cached, _, said = trained(Nested(seed=1, precision=precision), rows, held_out, capsys, **options)
    assert said[0].startswith("feature cache on")
    plain, _, _ = trained(
        Nested(seed=1, precision=precision), rows, held_out, capsys, feature_cache=False, **options
    )
    assert_same(cached, plain, rtol=0, atol=1e-5)


class OneColumn(Points):
    """The model takes `[batch, 1]`, the feature is `[batch]`: Keras adds the dimension."""

    def preprocess(self, raw):
        return {"point": raw["x"]}

    def build_model(self):
        inputs = keras.Input((1,), name="point")
        hidden = keras.layers.Dense(4, name="first")(inputs)
        return keras.Model(inputs, keras.layers.Dense(3, name="head")(hidden))

    def layer_groups(self, model):
        return {name: [model.get_layer(name)] for name in ("first", "head")}


def test_inputs_are_standardized_as_in_a_call_of_the_model(capsys):
    rows, held_out = points(16), points(8)
    cached, _, said = trained(OneColumn(seed=1), rows, held_out, capsys, freeze="first")
    assert said[0].startswith("feature cache on")
    whole, _, _ = trained(OneColumn(seed=1), rows, held_out, capsys, freeze="none")
    assert cached["model.2.head/kernel"].shape == whole["model.2.head/kernel"].shape


REFUSED = {
    "random": (Noisy, "noise", "the frozen layers give different outputs for the same inputs"),
    "padding before": (Unmasked, 2, "the frozen layers read the padding of shorter examples"),
    "padding after": (Unmasked, 1, "the layers after the frozen ones read the padding of shorter examples"),
    "subclassed": (Subclassed, "low", "Network 'network' is not a functional model"),
    "first trains": (
        Points,
        "second",
        "no frozen layer with weights stands before the first layer that trains",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusal_names_the_reason_and_training_goes_on(case, capsys):
    task, policy, reason = REFUSED[case]
    rows, held_out = (words(24), words(8)) if task is Unmasked else (points(24), points(8))
    _, history, said = trained(task(seed=1), rows, held_out, capsys, freeze=policy, epochs=2)
    assert [line.split("'")[::2] for line in said] == [f"feature cache off: {reason}".split("'")[::2]]
    assert len(history["val_loss"]) == 2


def test_one_epoch_is_not_worth_a_cache(capsys):
    _, _, said = trained(Nested(seed=1), points(16), points(8), capsys, freeze="backbone", epochs=1)
    assert said == ["feature cache off: this phase lasts one epoch, in which every output is used once"]


def test_nothing_frozen_is_not_worth_a_word(capsys):
    assert trained(Points(seed=1), points(16), points(8), capsys, epochs=2)[2] == []
