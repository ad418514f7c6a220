"""Run folders: what is in them, how training goes on from them, and what happens when something is broken."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import signal

import keras
import numpy as np
import pydantic
import pytest
import tensorflow as tf
from measure import Batches, assert_same, moved, weights_of
from tasks import Points, PointsConfig, points
from variants import AlwaysNoisy, Attention, Nested

import kerasft
from kerasft import ConfigError, Gradual, Interrupted, LoRA, TrainingError
from kerasft.training.checkpoint import load
from kerasft.training.run import Run

ROWS, HELD_OUT = points(32), points(20, seed=9)
OPTIONS = {"epochs": 2, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.1, "verbose": "quiet"}
QUESTIONS = {name: values for name, values in points(16, seed=5).items() if name != "label"}


class Stop(Exception):
    """What a training dies of in these tests."""


def die_at(step: int) -> keras.callbacks.Callback:
    counter = iter(range(1, 1000))

    def count(batch, logs):
        if next(counter) == step:
            raise Stop

    return keras.callbacks.LambdaCallback(on_train_batch_end=count)


def train(run, *, task=None, data=ROWS, **options):
    task = task or Points(seed=1)
    task.finetune(data, run_dir=run, **OPTIONS | options)
    return task


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two epochs with everything; copy it before you change it."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    task = train(run, task=Nested(seed=1), validation_data=HELD_OUT, freeze="low", checkpoint_every=3)
    return task, run


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished[1], tmp_path / "copied")


def test_run_folder_holds_what_it_should(finished):
    _, run = finished
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert {"run.json", "history.json", "history.csv", "report.html", "checkpoints/best.npz"} <= names
    # Four steps an epoch, a checkpoint after every third and at the end of the epoch; the last two are kept.
    assert Run(run).checkpoints.steps() == [7, 8]
    assert any(name.startswith("tensorboard/train/events") for name in names)
    assert any(name.startswith("tensorboard/validation/events") for name in names)
    assert not [name for name in names if name.endswith(".tmp")]
    history = json.loads((run / "history.json").read_text())
    assert history["epoch"] == [1, 2]
    assert set(history) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}
    lines = (run / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2"]
    assert lines[0].split(",") == list(history)


def test_load_rebuilds_the_task_for_any_verb(finished):
    task, run = finished
    loaded = kerasft.load(run, checkpoint="latest")
    assert_same(weights_of(loaded), weights_of(task))
    assert_same(loaded.predict(QUESTIONS), task.predict(QUESTIONS))
    assert loaded.evaluate(HELD_OUT, verbose="quiet") == task.evaluate(HELD_OUT, verbose="quiet")
    assert loaded.freezing.report() == task.freezing.report()
    assert loaded.config.model_dump() == task.config.model_dump()
    assert loaded.model.get_layer("backbone").get_layer("norm").trainable is False


@pytest.mark.parametrize(
    ("values", "mode", "best"),
    [
        ([0.5, 0.2, 0.4], "val_loss", 2),
        ([0.5, 0.2, 0.7], "val_accuracy", 3),
        ([np.nan, 0.2, 0.4], "val_loss", 2),
    ],
)
def test_load_takes_the_best_weights_and_says_of_which_epoch(values, mode, best, tmp_path, monkeypatch):
    from kerasft.training.evaluation import Evaluator

    results, after = iter(values), {}
    monkeypatch.setattr(
        Evaluator, "run", lambda self, *args, **kwargs: dict.fromkeys(("loss", "accuracy"), next(results))
    )
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: after.update({epoch + 1: weights_of(task)})
    )
    task = Points(seed=1)
    train(tmp_path, task=task, validation_data=HELD_OUT, callbacks=[record], monitor=mode, epochs=3)
    loaded = kerasft.load(tmp_path)
    assert_same(weights_of(loaded), after[best])
    assert loaded.last_metrics == {"epoch": best, mode: values[best - 1]}
    assert_same(weights_of(kerasft.load(tmp_path, checkpoint="latest")), after[3])


def test_load_restores_adapters_and_averages(tmp_path):
    task = Attention(seed=1)
    train(tmp_path, task=task, freeze=LoRA(rank=2), ema=0.7)
    loaded = kerasft.load(tmp_path)
    assert_same(weights_of(loaded), weights_of(task))
    assert_same(loaded.predict(QUESTIONS), task.predict(QUESTIONS))
    assert loaded.freezing.lora == LoRA(rank=2)
    assert loaded.freezing.report() == task.freezing.report()


def test_load_needs_a_run_with_a_checkpoint(tmp_path):
    with pytest.raises(TrainingError, match=r"is not a run: there is no run.json"):
        kerasft.load(tmp_path)
    with pytest.raises(Stop):
        train(tmp_path, callbacks=[die_at(1)])
    with pytest.raises(TrainingError, match=r"holds no checkpoint yet"):
        kerasft.load(tmp_path)
    with pytest.raises(ConfigError, match=r"checkpoint: 'newest' is neither 'best' nor 'latest'"):
        kerasft.load(tmp_path, checkpoint="newest")


def test_resume_words(finished, tmp_path):
    _, run = finished
    with pytest.raises(TrainingError, match=r"resume='never', but .*finished already holds a run"):
        train(run, resume="never")
    with pytest.raises(TrainingError, match=r"resume='must', but .*empty holds no run"):
        train(tmp_path / "empty", resume="must")
    with pytest.raises(TrainingError, match=r"resume='must', but there is no run_dir"):
        train(None, resume="must")
    with pytest.raises(ConfigError, match=r"resume: 'maybe' is none of 'auto', 'must', 'never'"):
        train(run, resume="maybe")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 4}, r"was trained with training.batch_size=8, not 4"),
        ({"learning_rate": 0.5}, r"was trained with training.learning_rate=0.1, not 0.5"),
        ({"optimizer": keras.optimizers.SGD()}, r"was trained with training.optimizer='sgd'"),
        ({"task": Nested(seed=2)}, r"was trained with seed=1, not 2"),
        ({"task": Nested(seed=1, width=5)}, r"was trained with width=8, not 5"),
        ({"data": points(31)}, r"was trained on other data"),
        ({"freeze": "high"}, r"was trained with freeze='low', not 'high'"),
        ({"freeze": "none"}, r"was trained with freeze='low', not 'none'"),
        ({"unfreeze": "gradual:1"}, r"was trained with unfreeze=None, not 'gradual:1'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_changed_settings_are_refused_by_name(finished, change, message):
    _, run = finished
    before = (run / "run.json").read_bytes()
    with pytest.raises(TrainingError, match=message):
        train(run, **{"task": Nested(seed=1), "validation_data": HELD_OUT, "checkpoint_every": 3} | change)
    assert (run / "run.json").read_bytes() == before


def test_policy_chosen_by_the_verb_is_compared_too(copied):
    task = Nested(seed=1)
    task.build()
    task.freeze("high")
    with pytest.raises(TrainingError, match=r"was trained with freeze='low', not 'high'"):
        train(copied, task=task, validation_data=HELD_OUT)


def test_more_epochs_and_other_bookkeeping_are_allowed(copied, tmp_path):
    more = {"validation_data": HELD_OUT, "epochs": 3}
    task = train(copied, task=Nested(seed=1), **more, checkpoint_every=1, feature_cache=False)
    whole = train(tmp_path / "whole", task=Nested(seed=1), freeze="low", **more)
    assert_same(weights_of(task), weights_of(whole), rtol=0, atol=1e-5)
    assert Run(copied).read_history()["epoch"] == [1, 2, 3]
    assert len(task.model.history.history["loss"]) == 3


def test_epochs_not_given_are_those_of_the_run(tmp_path, capsys):
    with pytest.raises(Stop):
        train(tmp_path, epochs=5, callbacks=[die_at(10)])
    options = {name: value for name, value in OPTIONS.items() if name != "epochs"}
    for epochs in (5, 5, 7):
        given = {"epochs": epochs} if epochs == 7 else {}
        Points(seed=1).finetune(ROWS, run_dir=tmp_path, **options | given | {"verbose": "line"})
        assert Run(tmp_path).read_history()["epoch"] == list(range(1, epochs + 1))
        assert Run(tmp_path).read()["config"]["training"]["epochs"] == epochs
    assert "learning rate now takes" not in capsys.readouterr().err
    loaded = kerasft.load(tmp_path)
    loaded.finetune(ROWS, run_dir=tmp_path, verbose="quiet")
    assert len(Run(tmp_path).read_history()["epoch"]) == 7


def test_more_epochs_that_stretch_the_schedule_are_announced(tmp_path, capsys):
    train(tmp_path, schedule="linear")
    capsys.readouterr()
    train(tmp_path, schedule="linear", epochs=4, verbose="line")
    assert "the learning rate now takes 4 epochs for its way down, not 2" in capsys.readouterr().err


def test_task_of_another_name_is_refused(copied):
    with pytest.raises(TrainingError, match=r"was trained with task='test-nested', not 'test-attention'"):
        train(copied, task=Attention(seed=1), validation_data=HELD_OUT, checkpoint_every=3)


def test_a_run_in_use_is_refused(tmp_path):
    def intrude(logs):
        with pytest.raises(TrainingError, match=r"is in use by another training: .*another run_dir"):
            train(tmp_path)
        tried.append(True)

    tried = []
    train(tmp_path, callbacks=[keras.callbacks.LambdaCallback(on_train_begin=intrude)])
    assert tried
    train(tmp_path, epochs=3)


def test_a_refused_training_leaves_no_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"callbacks: 'early'"):
        train(tmp_path / "run", callbacks=["early"])
    assert not (tmp_path / "run").exists()


def test_metrics_stay_with_their_epochs(tmp_path):
    late = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs.update(early=epoch) if epoch < 3 else logs.update(late=epoch)
    )
    train(tmp_path, epochs=2, callbacks=[late])
    train(tmp_path, epochs=4, callbacks=[late], validation_data=HELD_OUT)
    history = Run(tmp_path).read_history()
    assert history["early"] == [0, 1, 2, None]
    assert history["late"] == [None, None, None, 3]
    assert [value is None for value in history["val_loss"]] == [True, True, False, False]
    header, *rows = csv.reader((tmp_path / "history.csv").read_text().splitlines())
    assert [row[header.index("early")] for row in rows] == ["0", "1", "2", ""]
    assert [row[header.index("val_loss")] == "" for row in rows] == [True, True, False, False]
    assert "epoch 3, validation" in (tmp_path / "report.html").read_text()
    assert "epoch 1, validation" not in (tmp_path / "report.html").read_text()


def test_another_monitor_goes_on_from_its_own_best(tmp_path, monkeypatch):
    from kerasft.training.evaluation import Evaluator

    results = iter([(0.5, 0.9), (0.4, 0.5), (0.3, 0.8), (0.2, 0.95)])
    monkeypatch.setattr(
        Evaluator, "run", lambda *args, **kwargs: dict(zip(("loss", "accuracy"), next(results), strict=True))
    )
    for epochs, monitor, best in (
        (2, "val_loss", {"epoch": 2, "val_loss": 0.4}),
        (3, "val_accuracy", {"epoch": 2, "val_loss": 0.4}),  # 0.9 in the first epoch was better
        (4, "val_accuracy", {"epoch": 4, "val_accuracy": 0.95}),
    ):
        train(tmp_path, epochs=epochs, validation_data=HELD_OUT, monitor=monitor)
        assert kerasft.load(tmp_path).last_metrics == best


def test_monitor_mode_turns_the_direction(tmp_path, monkeypatch):
    from kerasft.training.evaluation import Evaluator

    values = iter([0.5, 0.2])
    monkeypatch.setattr(Evaluator, "run", lambda *args, **kwargs: {"loss": next(values)})
    train(tmp_path, validation_data=HELD_OUT, monitor="val_loss", monitor_mode="max")
    assert kerasft.load(tmp_path).last_metrics == {"epoch": 1, "val_loss": 0.5}


def test_broken_best_checkpoint_says_what_else_loads(copied):
    best = Run(copied).checkpoints.best_path
    best.write_bytes(best.read_bytes()[:-200])
    with pytest.raises(TrainingError, match=r'best.npz cannot be read .* load with checkpoint="latest"'):
        kerasft.load(copied)
    kerasft.load(copied, checkpoint="latest")


def test_finished_run_is_left_as_it_is(copied):
    before = Run(copied).read_history()
    task = train(copied, task=Nested(seed=1), validation_data=HELD_OUT)
    assert Run(copied).read_history() == before
    assert_same(weights_of(task), weights_of(kerasft.load(copied, checkpoint="latest")))


def test_a_complete_run_says_so(copied, capsys):
    train(copied, task=Nested(seed=1), validation_data=HELD_OUT, verbose="line")
    assert f"{copied} is complete: it has 2 epochs" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_refused_before_anything_else(tmp_path, place):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(TrainingError, match=r"cannot hold a run .*: choose another folder"):
        train(tmp_path / place, data="no such data.jsonl")
    assert (tmp_path / "file").read_text() == "a file"


class LearningConfig(PointsConfig):
    """Leaves open how many hidden units there are."""

    units: int | None = pydantic.Field(None, description="Learned from the data.")


@kerasft.register("test-learning")
class Learning(Points):
    """Learns its width from the data, and starts from pretrained weights."""

    config_class = LearningConfig

    def adapt(self, source):
        if self.config.units is None:
            self.config.units = len(source) // 8

    def build_model(self):
        inputs = keras.Input((2,), name="point")
        hidden = keras.layers.Dense(self.config.units, name="first")(inputs)
        return keras.Model(inputs, keras.layers.Dense(3, name="head")(hidden))

    def layer_groups(self, model):
        return {name: [model.get_layer(name)] for name in ("first", "head")}

    def load_pretrained(self, model):
        model.get_layer("first").kernel.assign(np.full((2, self.config.units), 0.25, "float32"))


def test_what_the_run_learned_is_taken_over(tmp_path):
    with pytest.raises(Stop):
        train(tmp_path, task=Learning(seed=1), callbacks=[die_at(6)])
    task = train(tmp_path, task=Learning(seed=1))
    assert task.config.units == 4
    assert task.config.model_dump() == kerasft.load(tmp_path).config.model_dump()
    with pytest.raises(TrainingError, match=r"was trained with units=4, not 5"):
        train(tmp_path, task=Learning(seed=1, units=5))


def test_held_out_rows_teach_nothing(tmp_path):
    """The width that this task learns is the number of its training rows by eight."""
    task = train(None, task=Learning(seed=1), validation_data=0.25)
    assert task.config.units == 3


def test_run_without_a_checkpoint_starts_anew_with_pretrained_weights_and_any_config(tmp_path):
    with pytest.raises(Stop):
        train(tmp_path, task=Learning(seed=1), callbacks=[die_at(2)])
    kernels = []
    record = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: kernels.append(task.model.get_layer("first").kernel.numpy())
    )
    task = Learning(seed=1)
    train(tmp_path, task=task, learning_rate=0.02, callbacks=[record])
    assert (kernels[0] == 0.25).all()


def test_unfreezing_and_policy_need_not_be_repeated(tmp_path):
    options = {"epochs": 4, "unfreeze": Gradual(every=1), "freeze": ["first", "second"]}
    whole = train(tmp_path / "whole", **options)
    with pytest.raises(Stop):
        train(tmp_path / "half", callbacks=[die_at(6)], **options)
    task = train(tmp_path / "half", epochs=4)
    assert_same(weights_of(task), weights_of(whole))


def test_unfreezing_of_what_was_never_frozen_freezes_nothing(tmp_path):
    options = {"epochs": 2, "freeze": "none"}
    plain = train(tmp_path / "plain", **options)
    whole = train(tmp_path / "whole", unfreeze="gradual:1", **options)
    with pytest.raises(Stop):
        train(tmp_path / "half", unfreeze="gradual:1", callbacks=[die_at(6)], **options)
    half = train(tmp_path / "half", epochs=2)
    for task in (whole, half):
        assert_same(weights_of(task), weights_of(plain))


def test_cache_in_the_last_epoch_of_a_resumed_phase_is_that_of_the_whole(tmp_path, capsys):
    options = {"epochs": 3, "freeze": "backbone", "checkpoint_every": 1}
    whole = train(tmp_path / "whole", task=Nested(seed=1), **options)
    with pytest.raises(Stop):
        train(tmp_path / "half", task=Nested(seed=1), callbacks=[die_at(10)], **options)
    capsys.readouterr()
    task = train(tmp_path / "half", task=Nested(seed=1), **options | {"verbose": "line"})
    said = capsys.readouterr().err
    assert "at epoch 3, batch 2" in said
    assert "feature cache on" in said
    assert_same(weights_of(task), weights_of(whole))


def test_keras_objects_travel_with_the_run(tmp_path):
    schedule = keras.optimizers.schedules.CosineDecay(0.05, decay_steps=8, alpha=0.1)
    options = {"epochs": 2, "batch_size": 8, "verbose": "quiet"}
    whole, half = Points(seed=1), tmp_path / "half"
    whole.finetune(ROWS, optimizer=keras.optimizers.RMSprop(schedule, momentum=0.5), **options)
    with pytest.raises(Stop):
        Points(seed=1).finetune(
            ROWS,
            run_dir=half,
            optimizer=keras.optimizers.RMSprop(schedule, momentum=0.5),
            callbacks=[die_at(6)],
            **options,
        )
    task = kerasft.load(half)  # knows the optimizer without being told
    task.finetune(ROWS, run_dir=half, verbose="quiet")
    assert_same(weights_of(task), weights_of(whole))
    by_rate = tmp_path / "rate"
    train(by_rate, learning_rate=schedule, epochs=1)
    written = json.loads((by_rate / "run.json").read_text())["config"]["training"]["learning_rate"]
    assert written["class_name"] == "CosineDecay"
    read = keras.saving.deserialize_keras_object(kerasft.load(by_rate).config.training.learning_rate)
    assert read.get_config() == schedule.get_config()


def test_patience_survives_and_a_changed_setting_wins(tmp_path):
    class Rising(Points):
        """Its validation loss never falls."""

        def update_metrics(self, metrics, batch, outputs, *, training):
            metrics["accuracy"].update_state([0], [[1.0, 0.0]])

    def stopper(patience):
        return keras.callbacks.EarlyStopping(monitor="accuracy", mode="max", patience=patience)

    with pytest.raises(Stop):
        train(tmp_path, task=Rising(seed=1), epochs=9, callbacks=[die_at(15), stopper(4)])
    resumed = stopper(4)
    # Another callback beside it must not be mistaken for it.
    task = train(tmp_path, task=Rising(seed=1), epochs=9, callbacks=[Batches(), resumed])
    assert task.model.history.epoch == [0, 1, 2, 3, 4]
    assert resumed.patience == 4

    other = tmp_path / "other"
    with pytest.raises(Stop):
        train(other, task=Rising(seed=1), epochs=9, callbacks=[die_at(15), stopper(4)])
    task = train(other, task=Rising(seed=1), epochs=9, callbacks=[stopper(6)])
    assert task.model.history.epoch == list(range(7))


class Diary(keras.callbacks.Callback):
    """Remembers all kinds of things."""

    def __init__(self, page="first"):
        super().__init__()
        self.page = page
        self.counts = {}
        self.plan = (1, 2)

    def on_train_begin(self, logs=None):
        self.losses, self.shown, self.last = [], set(), "nothing"

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(np.float32(logs["loss"]))
        self.counts[f"epoch {epoch}"] = {"seen": [epoch]}
        self.shown.add(epoch)
        self.last = f"epoch {epoch}"


def test_callbacks_remember_plain_values_and_say_what_they_lose(tmp_path):
    whole = Diary()
    with pytest.warns(UserWarning, match=r"Diary remembers shown, which cannot be saved") as warned:
        train(tmp_path / "whole", epochs=3, callbacks=[whole])
    assert sum("cannot be saved" in str(warning.message) for warning in warned) == 1
    with pytest.warns(UserWarning, match="Diary"):
        train(tmp_path / "half", epochs=2, callbacks=[Diary()])
    half = Diary(page="second")
    train(tmp_path / "half", epochs=3, callbacks=[half])
    assert half.losses == whole.losses
    assert half.counts == whole.counts
    assert half.last == "epoch 2"
    assert half.page == "second"
    assert half.params["epochs"] == 3


def test_best_weights_of_early_stopping_survive(tmp_path):
    def run(folder, *more):
        task = Points(seed=1)
        worse = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_loss=epoch))
        stopper = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
        return train(folder, task=task, epochs=9, validation_data=HELD_OUT, callbacks=[worse, stopper, *more])

    whole = run(tmp_path / "whole")
    with pytest.raises(Stop):
        run(tmp_path / "half", die_at(6))
    assert_same(weights_of(run(tmp_path / "half")), weights_of(whole))


def test_logs_with_numpy_and_tensorflow_values_are_saved(tmp_path):
    def add(epoch, logs):
        logs.update(lucky=np.float32(0.5), tensor=tf.constant(2))

    train(tmp_path, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=add)])
    history = Run(tmp_path).read_history()
    assert (history["lucky"], history["tensor"]) == ([0.5, 0.5], [2, 2])


def test_truncated_checkpoint_falls_back_to_the_one_before(copied):
    checkpoints = Run(copied).checkpoints
    newest = checkpoints.path(8)
    newest.write_bytes(newest.read_bytes()[:-200])
    with pytest.warns(
        UserWarning, match=r"step-00000008.npz cannot be read .* Falling back to the one before"
    ):
        task = train(copied, task=Nested(seed=1), validation_data=HELD_OUT, checkpoint_every=3)
    expected = train(
        copied.with_name("whole"),
        task=Nested(seed=1),
        freeze="low",
        validation_data=HELD_OUT,
        checkpoint_every=3,
    )
    assert_same(weights_of(task), weights_of(expected))
    assert load(newest).state["step"] == 8


def test_broken_checkpoint_does_not_count_as_one_that_is_kept(copied):
    checkpoints = Run(copied).checkpoints
    newest = checkpoints.path(8)
    newest.rename(checkpoints.path(99))
    checkpoints.path(99).write_bytes(b"half")
    with pytest.warns(UserWarning, match="Falling back"):
        train(copied, task=Nested(seed=1), validation_data=HELD_OUT, checkpoint_every=3)
    assert checkpoints.steps() == [7, 8]


def test_flipped_bit_that_zip_files_have_no_answer_to_falls_back(copied):
    newest = Run(copied).checkpoints.path(8)
    content = bytearray(newest.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] ^= 1  # the method of compression
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match=r"cannot be read .* Falling back"):
        train(copied, task=Nested(seed=1), validation_data=HELD_OUT, checkpoint_every=3)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nonsense", None])
def test_all_broken_is_one_clear_error(copied, damage):
    for step in Run(copied).checkpoints.steps():
        path = Run(copied).checkpoints.path(step)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF  # a flipped bit in the middle of an array
        path.write_bytes(content if damage is None else damage)
    with (
        pytest.warns(UserWarning, match="Falling back"),
        pytest.raises(
            TrainingError, match=r"None of the checkpoints in .* can be read: .*delete the run folder"
        ),
    ):
        train(copied, task=Nested(seed=1), validation_data=HELD_OUT)


def test_broken_manifest_is_one_clear_error(copied):
    (copied / "run.json").write_text('{"task": ')
    with pytest.raises(TrainingError, match=r"run.json is not valid JSON"):
        train(copied, task=Nested(seed=1))


@pytest.mark.parametrize("content", ["{}", "[]", '{"task": "test-nested"}'])
def test_manifest_of_something_else_is_one_clear_error(copied, content):
    (copied / "run.json").write_text(content)
    with pytest.raises(TrainingError, match=r"run\.json is not the manifest of a run: it has no '"):
        kerasft.load(copied)


def test_checkpoint_of_another_model_is_refused(copied):
    manifest = json.loads((copied / "run.json").read_text())
    manifest["config"]["width"] = 5
    (copied / "run.json").write_text(json.dumps(manifest))

    class Wider(Nested):
        """Reads its width; the run was made with a fixed one."""

        build_model = Points.build_model
        layer_groups = Points.layer_groups

    with pytest.raises(TrainingError, match=r"made from another model or config"):
        train(copied, task=Wider(seed=1, width=5), validation_data=HELD_OUT)


def test_full_disk_keeps_the_checkpoint_before(tmp_path):
    def fill(epoch, logs):
        if epoch == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))

    class Wide(Points):
        name = "test-points"

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    full = keras.callbacks.LambdaCallback(on_epoch_end=fill)
    try:
        with pytest.raises(
            TrainingError, match=r"step-00000008.npz could not be written \(File too large\); .*resume='auto'"
        ):
            train(tmp_path, task=Wide(seed=1, width=40), callbacks=[full])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    checkpoints = Run(tmp_path).checkpoints
    assert checkpoints.steps() == [4]
    assert {path.name for path in checkpoints.folder.iterdir()} == {"step-00000004.npz"}
    assert load(checkpoints.path(4)).state["epoch"] == 1
    task = train(tmp_path, task=Wide(seed=1, width=40))
    whole = train(tmp_path / "whole", task=Wide(seed=1, width=40))
    assert_same(weights_of(task), weights_of(whole))


def test_leftovers_of_a_killed_writer_are_removed(copied):
    leftover = Run(copied).checkpoints.folder / ".step-00000009.npz.4711.tmp"
    leftover.write_bytes(b"half")
    train(copied, task=Nested(seed=1), validation_data=HELD_OUT, epochs=3)
    assert not leftover.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_says_how_to_go_on_and_leaves_the_handlers(number, tmp_path):
    """In this very process; `test_resume` sends signals to others."""
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    counter = iter(range(1, 100))
    send = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: os.kill(os.getpid(), number) if next(counter) == 6 else None
    )
    with pytest.raises(
        Interrupted, match=rf"{number.name} stopped training at step 6 \(epoch 2\).*resume='auto'"
    ):
        train(tmp_path / "half", callbacks=[send])
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert Run(tmp_path / "half").checkpoints.steps() == [4, 6]
    task = train(tmp_path / "half")
    assert_same(weights_of(task), weights_of(train(tmp_path / "whole")))


class Restless(Points):
    """Draws random numbers in validation too."""

    name = "test-points"

    def build_model(self):
        model = super().build_model()
        noise = AlwaysNoisy(name="noise")
        return keras.Model(model.input, model.get_layer("head")(noise(model.get_layer("second").output)))

    def layer_groups(self, model):
        return {name: [model.get_layer(name)] for name in ("first", "second", "noise", "head")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_a_validation_which_is_then_done_again(number, tmp_path):
    options = {"validation_data": HELD_OUT, "ema": 0.5, "checkpoint_every": 3}
    counter = iter(range(1, 100))
    batches = Batches()
    # Three batches in every validation; this is the second one's second.
    send = keras.callbacks.LambdaCallback()
    send.on_test_batch_begin = lambda batch, logs=None: next(counter) == 5 and os.kill(os.getpid(), number)
    with pytest.raises(Interrupted, match=rf"{number.name} stopped training at step 8 \(epoch 2\)"):
        train(tmp_path / "half", task=Restless(seed=1), callbacks=[send, batches], **options)
    assert next(counter) == 6
    task = train(tmp_path / "half", task=Restless(seed=1), callbacks=[batches], **options)
    assert batches.numbers == [0, 1, 2, 3] * 2
    whole = train(tmp_path / "whole", task=Restless(seed=1), **options)
    assert_same(weights_of(task), weights_of(whole))
    assert Run(tmp_path / "half").read_history() == Run(tmp_path / "whole").read_history()
    expected, actual = (load(Run(tmp_path / name).checkpoints.path(8)).arrays for name in ("whole", "half"))
    assert_same(actual, expected)


def test_signal_at_the_end_of_an_epoch_stops_before_the_next(tmp_path):
    batches = Batches()
    send = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: os.kill(os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(Interrupted, match=r"stopped training at step 4 \(epoch 1\)"):
        train(tmp_path, callbacks=[send, batches])
    assert batches.numbers == [0, 1, 2, 3]


def test_signal_without_a_run_says_that_nothing_was_saved():
    send = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: os.kill(os.getpid(), signal.SIGINT)
    )
    task = Points(seed=1)
    with pytest.raises(Interrupted, match=r"stopped training at step 1; nothing was saved"):
        task.finetune(ROWS, callbacks=[send], **OPTIONS)
    assert task.evaluate(HELD_OUT, verbose="quiet")["loss"] > 0


def test_second_interrupt_stops_at_once():
    class Insist(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Points(seed=1).finetune(ROWS, callbacks=[Insist()], **OPTIONS)


def test_training_goes_on_in_the_process_that_began_it(tmp_path):
    task = train(tmp_path / "run", epochs=1)
    train(tmp_path / "run", task=task)
    assert_same(weights_of(task), weights_of(train(tmp_path / "whole")))
    before = weights_of(task)
    train(None, task=task, epochs=1)
    assert moved(before, weights_of(task))
