"""What one step does: accumulation, averages, clipping, weights, precision, XLA, seeds, steps a call."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from measure import Batches, assert_same, moved, weights_of
from tasks import Points, points, words
from variants import Bags, Unmasked

import kerasft
from kerasft import ConfigError, TrainingError
from kerasft.training import device
from kerasft.training.device import Device


def trained(task, rows, **training):
    history = task.finetune(
        rows,
        verbose="quiet",
        **{"epochs": 2, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.1} | training,
    )
    return weights_of(task), history.history


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_accumulated_batches_equal_the_big_batch(optimizer):
    # 44 rows: 2 groups of 2 batches of 8, then a batch of 8 and one of 4, whose examples must weigh the same.
    rows = points(44)
    options = {"shuffle": False, "optimizer": optimizer, "learning_rate": 0.05}
    expected, _ = trained(Points(seed=1), rows, batch_size=16, **options)
    actual, _ = trained(Points(seed=1), rows, batch_size=8, accumulate=2, **options)
    assert_same(actual, expected, rtol=0, atol=2e-6)
    whole, _ = trained(Points(seed=1), rows, batch_size=44, **options)
    tail_only, _ = trained(Points(seed=1), rows, batch_size=8, accumulate=100, **options)
    assert_same(tail_only, whole, rtol=0, atol=2e-6)
    assert moved(whole, expected)


def test_accumulation_of_sequences_equals_the_big_batch():
    rows = words(24, shortest=12)
    options = {"shuffle": False, "optimizer": "sgd", "learning_rate": 0.1, "epochs": 1}
    expected, _ = trained(Unmasked(seed=1), rows, batch_size=12, **options)
    actual, _ = trained(Unmasked(seed=1), rows, batch_size=4, accumulate=3, **options)
    assert_same(actual, expected, rtol=0, atol=2e-6)


def test_several_steps_a_call_change_nothing():
    rows = points(76)  # 9 batches of 8 and one of 4: calls of 4, 4, 1 and 1 steps
    one, many = Batches(), Batches()
    expected, history = trained(Points(seed=1, dropout=0.3), rows, callbacks=[one])
    actual, grouped = trained(Points(seed=1, dropout=0.3), rows, steps_per_call=4, callbacks=[many])
    assert_same(actual, expected, rtol=0, atol=1e-6)
    assert many.numbers == [3, 7, 8, 9] * 2
    assert grouped["loss"] == pytest.approx(history["loss"], abs=1e-6)
    assert many.logs[0]["loss"] == pytest.approx(one.logs[3]["loss"], abs=1e-6)


def test_several_steps_a_call_and_accumulation_go_together():
    rows = points(72)
    expected, _ = trained(Points(seed=1), rows, accumulate=3)
    actual, _ = trained(Points(seed=1), rows, accumulate=3, steps_per_call=4)
    assert_same(actual, expected, rtol=0, atol=1e-6)


def test_average_weights_follow_the_formula_and_are_what_validation_and_the_result_use():
    class Snapshots(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.after = [weights_of(task)]

        def on_train_batch_end(self, batch, logs=None):
            self.after.append(weights_of(task))

    task, snapshots = Points(seed=1, norm=True), Snapshots()
    held_out = points(30, seed=9)
    result, history = trained(
        task, points(32), validation_data=held_out, ema=0.8, learning_rate=0.05, callbacks=[snapshots]
    )
    average = snapshots.after[0]
    for weights in snapshots.after[1:]:
        average = {name: 0.8 * average[name] + 0.2 * weights[name] for name in average}
    assert_same(result, average, rtol=0, atol=1e-6)
    assert moved(result, snapshots.after[-1])
    assert task.evaluate(held_out, verbose="quiet")["loss"] == pytest.approx(
        history["val_loss"][-1], abs=1e-6
    )


def test_clip_norm_bounds_the_global_norm_of_the_step():
    start = Points(seed=1)
    start.build()
    before = weights_of(start)

    def step_norm(**options):
        after, _ = trained(
            Points(seed=1), points(16), epochs=1, batch_size=16, optimizer="sgd", learning_rate=1.0, **options
        )
        return np.sqrt(sum(np.sum(np.square(after[name] - before[name])) for name in before))

    free = step_norm()
    assert free > 0.2
    assert step_norm(clip_norm=0.1) == pytest.approx(0.1, rel=1e-4)
    assert step_norm(clip_norm=10 * float(free)) == pytest.approx(free, rel=1e-5)


def test_balanced_class_weight_is_the_formula_of_scikit_learn():
    rows = points(60)
    keep = [i for i, label in enumerate(rows["label"]) if label != "2" or i < 20]
    rows = {name: [values[i] for i in keep] for name, values in rows.items()}
    labels = np.array(rows["label"], int)
    weight = len(labels) / (3 * np.bincount(labels))
    assert len(set(np.bincount(labels))) > 1
    expected, losses = trained(
        Points(seed=1), rows, class_weight={str(i): float(w) for i, w in enumerate(weight)}
    )
    actual, balanced = trained(Points(seed=1), rows, class_weight="balanced")
    assert_same(actual, expected)
    assert balanced == losses
    assert moved(trained(Points(seed=1), rows)[0], actual)


def test_class_weights_must_name_classes():
    with pytest.raises(ConfigError, match=r"class_weight: '7' is not a class of the training data"):
        trained(Points(), points(16), class_weight={"7": 2.0})


def test_sample_weight_column_weighs_rows():
    rows = points(48)
    doubled = rows | {"importance": [2.0 if i % 3 == 0 else 1.0 for i in range(48)]}
    ignored = rows | {"importance": [1.0 if i < 32 else 0.0 for i in range(48)]}
    options = {"shuffle": False, "optimizer": "sgd", "learning_rate": 0.1, "epochs": 1}
    plain, _ = trained(Points(seed=1), rows, **options)
    weighted, _ = trained(
        Points(seed=1), doubled, sample_weight="importance", validation_data=points(8), **options
    )
    assert moved(plain, weighted)
    # The last two batches weigh nothing, so training ends where it ends without them.
    first, _ = trained(Points(seed=1), {name: values[:32] for name, values in rows.items()}, **options)
    zeroed, _ = trained(Points(seed=1), ignored, sample_weight="importance", **options)
    assert_same(zeroed, first, rtol=0, atol=1e-7)


def test_weights_need_a_loss_for_each_example():
    class Scalar(Points):
        def loss(self, batch, outputs):
            return tf.reduce_mean(super().loss(batch, outputs))

    with pytest.raises(TrainingError, match=r"per-example losses: return \[batch\] from Task.loss"):
        trained(Scalar(), points(16), class_weight="balanced")
    expected, _ = trained(Points(seed=1), points(16))
    actual, _ = trained(Scalar(seed=1), points(16))
    assert_same(actual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains_on_a_cpu(precision):
    task, rows = Points(seed=1, precision=precision, width=16), points(96)
    options = {"optimizer": "adam", "learning_rate": 0.02, "epochs": 4}
    _, history = trained(task, rows, validation_data=points(24, seed=2), **options)
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    assert history["val_accuracy"][-1] > 0.7
    assert task.model.get_layer("second").compute_dtype == precision.removeprefix("mixed_")
    assert task.model.get_layer("head").compute_dtype == "float32"
    assert {weight.dtype for weight in task.model.weights} == {"float32"}
    optimizer = task.model.optimizer
    if precision == "mixed_float16":
        assert float(optimizer.dynamic_scale.numpy()) > 1
    else:
        assert not isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    _, exact = trained(Points(seed=1, width=16), rows, **options)
    assert history["loss"] == pytest.approx(exact["loss"], abs=0.02)


def test_float16_overflow_skips_the_step_lowers_the_scale_and_goes_on():
    scales, snapshots = [], []

    def record(batch, logs):
        scales.append(float(task.model.optimizer.dynamic_scale.numpy()))
        snapshots.append(weights_of(task))

    task = Points(seed=1, precision="mixed_float16")
    rows = points(40)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.02), initial_scale=2.0**40)
    trained(
        task,
        rows,
        optimizer=optimizer,
        learning_rate=0.02,
        epochs=8,
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=record)],
    )
    assert scales[0] < 2.0**40
    assert not moved(snapshots[0], snapshots[1])
    assert scales[-1] < scales[0]
    assert moved(snapshots[0], snapshots[-1])
    assert all(np.isfinite(weight).all() for weight in snapshots[-1].values())


def test_nan_loss_stops_with_step_update_and_last_good_checkpoint(tmp_path):
    class Diverging(Points):
        def loss(self, batch, outputs):
            return super().loss(batch, outputs) + tf.math.log(10.0 - batch.features["point"][:, 0])

    rows = points(48)
    rows["x"][20] = 11.0
    message = (
        r"update 'train' became nan at step 3 \(epoch 1\); the last good checkpoint is "
        r".*step-00000002\.npz"
    )
    with pytest.raises(TrainingError, match=message):
        trained(Diverging(seed=1), rows, shuffle=False, checkpoint_every=1, run_dir=tmp_path / "run")
    with np.load(tmp_path / "run" / "checkpoints" / "step-00000002.npz") as checkpoint:
        arrays = [array for name, array in checkpoint.items() if array.dtype == np.float32]
        assert len(arrays) > 6
        assert all(np.isfinite(array).all() for array in arrays)
    with pytest.raises(TrainingError, match=r"at step 3 \(epoch 1\); nothing was saved"):
        trained(Diverging(seed=1), rows, shuffle=False, steps_per_call=2)


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    def poison(epoch, logs):
        if epoch == 1:
            kernel = task.model.get_layer("second").kernel
            kernel.assign(kernel.numpy() * np.nan)

    task = Points(seed=1)
    with pytest.raises(
        TrainingError, match=r"second/kernel became NaN or Inf by step 6 \(epoch 2\); .*step-00000003"
    ):
        trained(
            task,
            points(24),
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=poison)],
            run_dir=tmp_path / "run",
        )


class Steep(Points):
    """Its loss is finite and its gradient is not."""

    def loss(self, batch, outputs):
        return super().loss(batch, outputs) + tf.sqrt(0.0 * outputs[:, 0])


@pytest.mark.parametrize("monitor", ["val_accuracy", "val_loss"])
def test_best_checkpoint_is_never_one_of_weights_that_are_not_finite(monitor, tmp_path):
    with pytest.raises(TrainingError, match=r"kernel became NaN or Inf by step 1 .*nothing was saved"):
        trained(
            Steep(seed=1), points(8), validation_data=points(8), monitor=monitor, run_dir=tmp_path / "run"
        )
    assert not list((tmp_path / "run").rglob("*.npz"))


def test_sums_of_gradients_and_moments_that_are_not_finite_are_never_saved(tmp_path):
    with pytest.raises(TrainingError, match=r"gradients.* became NaN or Inf by step 1 .*nothing was saved"):
        trained(Steep(seed=1), points(32), accumulate=4, checkpoint_every=1, run_dir=tmp_path / "sums")
    assert not list((tmp_path / "sums").rglob("*.npz"))

    def poison(epoch, logs):
        moment = next(v for v in task.model.optimizer.variables if "momentum" in v.path)
        moment.assign(moment.numpy() * np.nan)

    task, poisoner = Points(seed=1), keras.callbacks.LambdaCallback(on_epoch_end=poison)
    with pytest.raises(TrainingError, match=r"momentum became NaN or Inf by step 4"):
        trained(task, points(32), optimizer="adam", callbacks=[poisoner], run_dir=tmp_path / "moments")


def test_sums_that_a_loss_scale_overflows_are_no_error(tmp_path):
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.02), initial_scale=2.0**127)
    weights, _ = trained(
        Points(seed=1, precision="mixed_float16"),
        points(32),
        optimizer=optimizer,
        learning_rate=0.02,
        accumulate=2,
        checkpoint_every=1,
        run_dir=tmp_path / "run",
    )
    assert all(np.isfinite(weight).all() for weight in weights.values())


def test_the_way_out_of_a_divergence_works(tmp_path):
    class Cliff(Points):
        """Its loss is NaN where a weight has left the plain, which a high rate does in the second epoch."""

        name = "test-points"

        def loss(self, batch, outputs):
            far = tf.reduce_max(tf.abs(self.model.get_layer("head").bias.value)) > 0.5
            return super().loss(batch, outputs) + tf.where(far, np.nan, 0.0)

    run = tmp_path / "run"
    pull = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epoch and task.model.get_layer("head").bias.assign([9.0, 0.0, 0.0])
    )
    task = Cliff(seed=1)
    with pytest.raises(TrainingError) as caught:
        trained(task, points(24), callbacks=[pull], run_dir=run)
    advice = str(caught.value)
    assert f"the last good checkpoint is {run}/checkpoints/step-00000003.npz" in advice
    assert (
        f"kerasft.load('{run}', checkpoint=\"latest\").finetune(..., run_dir=NEW, learning_rate=LOWER"
        in advice
    )
    again = kerasft.load(run, checkpoint="latest")
    history = again.finetune(points(24), run_dir=tmp_path / "new", learning_rate=0.01, clip_norm=1.0)
    assert np.isfinite(history.history["loss"]).all()


def test_the_checkpoint_named_after_a_divergence_can_be_read(tmp_path):
    def spoil(batch, logs):
        if len(list(folder.glob("step-*"))) == 2:
            newest = max(folder.glob("step-*"))
            newest.write_bytes(newest.read_bytes()[:-100])
            task.model.get_layer("head").bias.assign([np.nan] * 3)

    folder, task = tmp_path / "run" / "checkpoints", Points(seed=1)
    with (
        pytest.warns(UserWarning, match="Falling back"),
        pytest.raises(TrainingError, match=r"the last good checkpoint is .*step-00000001"),
    ):
        trained(
            task,
            points(40),
            callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=spoil)],
            checkpoint_every=1,
            run_dir=tmp_path / "run",
        )


def test_xla_pads_sequences_to_few_lengths_and_trains_the_same():
    rows = words(48)
    expected, _ = trained(Bags(seed=1), rows, bucket=False)
    actual, _ = trained(Bags(seed=1), rows, bucket=False, jit_compile=True, validation_data=words(8))
    assert_same(actual, expected, rtol=0, atol=1e-5)


def test_xla_is_chosen_for_gpus_and_not_for_sequences():
    gpu, cpu = (Device("this one", is_gpu=is_gpu, bfloat16=True) for is_gpu in (True, False))
    assert str(gpu.jit_compile("auto", lengths_vary=False)) == "jit on"
    refused = gpu.jit_compile("auto", lengths_vary=True)
    assert str(refused) == "jit off (it would compile again for every length)"
    assert gpu.jit_compile(True, lengths_vary=True).on
    assert str(cpu.jit_compile("auto", lengths_vary=True)) == "jit off"


def test_how_gpu_memory_is_taken_is_settled_before_a_task_computes(monkeypatch, tmp_path):
    # TensorFlow takes all of it at its first tensor, unless it is told otherwise before.
    order, current = [], device.current
    monkeypatch.setattr("kerasft.loading.create", lambda name, **config: Points(**config))
    monkeypatch.setattr(device, "current", lambda: order.append("device") or current())
    for hook in ("adapt", "load_assets"):
        monkeypatch.setattr(Points, hook, lambda self, given, hook=hook: order.append(hook))
    trained(Points(), points(8), run_dir=tmp_path)
    assert order.index("device") < order.index("adapt")
    order.clear()
    kerasft.load(tmp_path)
    assert order.index("device") < order.index("load_assets")


def test_xla_trains_the_same_dense_model():
    rows = points(40)
    expected, _ = trained(Points(seed=1), rows)
    actual, history = trained(Points(seed=1), rows, jit_compile=True, validation_data=points(12))
    assert_same(actual, expected, rtol=0, atol=1e-5)
    assert len(history["val_accuracy"]) == 2


def test_one_seed_gives_one_training_and_another_seed_another():
    rows = points(40)
    first, second, other = Batches(), Batches(), Batches()
    options = {"batch_size": 8, "learning_rate": 0.01}
    one, _ = trained(Points(seed=7, dropout=0.3), rows, callbacks=[first], **options)
    keras.utils.set_random_seed(123)  # whatever ran before must not matter
    two, _ = trained(Points(seed=7, dropout=0.3), rows, callbacks=[second], **options)
    three, _ = trained(Points(seed=8, dropout=0.3), rows, callbacks=[other], **options)
    assert_same(two, one)
    assert first.logs == second.logs
    assert first.logs != other.logs
    assert moved(one, three)


def test_order_is_a_function_of_seed_and_epoch():
    class Ordered(Points):
        """Its loss is the number of the row."""

        def loss(self, batch, outputs):
            return batch.features["point"][:, 0] + 0.0 * tf.reduce_sum(outputs, axis=-1)

    def orders(seed, **options):
        batches = Batches()
        rows = {"x": [float(i) for i in range(8)], "y": [0.0] * 8, "label": ["0"] * 8}
        trained(
            Ordered(seed=seed),
            rows,
            batch_size=1,
            optimizer="sgd",
            callbacks=[batches],
            bucket=False,
            **options,
        )
        # The running mean of an epoch, times the number of rows, is the sum of the numbers so far.
        sums = np.array([log["loss"] for log in batches.logs]).reshape(2, 8) * np.arange(1, 9)
        return np.diff(sums, axis=1, prepend=0).round().astype(int).tolist()

    first, second = orders(3)
    assert sorted(first) == sorted(second) == list(range(8))
    assert first != second
    assert orders(3) == [first, second]
    assert orders(4) != [first, second]
    assert orders(3, shuffle=False) == [list(range(8))] * 2
