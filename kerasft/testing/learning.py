"""Checks of a single step: loss, gradients, metrics, freezing."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kerasft.errors import TrainingError
from kerasft.task import Task
from kerasft.testing.comparing import describe
from kerasft.testing.outcome import Failed, Skipped, require
from kerasft.testing.subject import Subject, arrays, assign_arrays
from kerasft.training.evaluation import read_metrics
from kerasft.training.movement import MovementCheck
from kerasft.training.step import Stepper
from kerasft.training.update import Batch, Update

_COUNT = 5  # of rows; unlike most numbers of classes, so that a wrong axis shows


def check_loss(subject: Subject) -> str:
    """The loss is one finite number for each row, or one for the batch, in training and in evaluation."""
    task = subject.built
    if task.forward is None:
        raise Skipped("the task has several models; the check of its gradients runs their losses")
    with subject.unchanged():
        for training in (True, False):
            step = subject.graph(functools.partial(_loss, subject, training=training))
            for count in (_COUNT, _COUNT - 1):
                found = _check_loss(step(subject.batch(count)), count)
    return found


def _check_loss(value: Any, count: int) -> str:
    shape = tuple(value.shape)
    require(value.dtype.is_floating, f"loss() returned {describe(value)}: cast it to float32")
    require(
        shape in ((), (count,)),
        f"loss() returned shape {shape} for {count} rows: return one loss for each row, shape ({count},), "
        "by taking the mean over the other axes",
    )
    require(
        bool(np.isfinite(value.numpy()).all()),
        f"loss() is {min(value.numpy().reshape(-1), key=np.isfinite)} on the example's rows before any "
        "training: look for log(0), a division by zero, or probabilities where logits are expected",
    )
    kind = "one for each row" if shape else "a scalar: class and sample weights cannot be used"
    return f"{float(np.mean(value.numpy())):.4g} before training, {kind}"


def _loss(subject: Subject, batch: Batch, *, training: bool) -> Any:
    task = subject.built
    assert task.forward is not None
    with subject.doing(f"the model on {', '.join(f'{k} {describe(v)}' for k, v in batch.features.items())}"):
        outputs = task.forward(batch, training=training)
    with subject.doing("loss()"):
        return tf.convert_to_tensor(task.loss(batch, outputs))


def check_gradients(subject: Subject) -> str:
    """The gradient of some update reaches every layer group, and is finite."""
    task = subject.built
    group_of = task.freezing.group_of()
    reached = dict.fromkeys(task.freezing.groups, False)
    with subject.doing("updates()"):
        updates = task.updates(lambda **settings: keras.optimizers.SGD(0.0))
    for update in updates:
        variables = task.freezing.trainable(frozenset(), models=update.models)
        with subject.doing(f"a step of the update {update.name!r}"), subject.unchanged():
            loss, gradients = subject.graph(_gradients(update, variables))(subject.batch(_COUNT))
        require(
            loss.shape.rank == 0 and bool(np.isfinite(loss)),
            f"the loss of the update {update.name!r} is {describe(loss)}, {loss.numpy()}: it must be a "
            "finite scalar",
        )
        for variable, gradient in zip(variables, gradients, strict=True):
            reached[group_of[id(variable)]] |= gradient is not None
            require(
                gradient is None or bool(np.isfinite(gradient.numpy()).all()),
                f"the gradient of {variable.path} is NaN or infinite: look for sqrt(0), log(0) or a "
                "division by zero, also behind tf.where",
            )
    cut_off = [group for group, there in reached.items() if not there]
    require(
        not cut_off,
        f"the loss does not depend on the layer group {', '.join(map(repr, cut_off))}, which would never "
        "train: look for tf.stop_gradient, an integer cast, or an output that is not used",
    )
    return f"reaches {', '.join(reached)}"


def check_devices(subject: Subject) -> str:
    """A step reads no int32 variable, which TensorFlow keeps on the CPU, where XLA on a GPU cannot get it."""
    task = subject.built
    with subject.doing("updates()"):
        updates = task.updates(lambda **settings: keras.optimizers.SGD(0.0))
    read: set[str] = set()
    for update in updates:
        with subject.doing(f"a step of the update {update.name!r}"), subject.unchanged():
            variables = subject.graph(update.loss).variables
            read |= {variable.name for variable in variables if variable.dtype == tf.int32}
    require(
        not read,
        f"a step reads the int32 variable {', '.join(sorted(read))}, which TensorFlow keeps on the CPU, "
        "where XLA on a GPU cannot get it: make it int64",
    )
    return "no int32 variable"


def _gradients(update: Update, variables: list[keras.Variable]) -> Callable[[Batch], tuple[Any, list[Any]]]:
    def step(batch: Batch) -> tuple[Any, list[Any]]:
        values = [variable.value for variable in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            result = update.loss(batch)
            loss = result[0] if isinstance(result, tuple) else result
        return loss, [None if g is None else tf.convert_to_tensor(g) for g in tape.gradient(loss, values)]

    return step


def check_metrics(subject: Subject) -> str:
    """Metrics are fresh, update in the graph, reset, and give what the task monitors."""
    task = subject.built
    with subject.doing("metrics()"):
        metrics, others = task.metrics(), task.metrics()
    require(
        isinstance(metrics, dict),
        f"metrics() returned {type(metrics).__name__}: return a dict of name to metric",
    )
    for name, metric in metrics.items():
        require(
            metric is not others.get(name),
            f"metrics() returned the same object for {name!r} twice: make new metrics in each call, "
            "training and evaluation must not share them",
        )
    if task.forward is None:
        raise Skipped("the task has several models, so what it scores is its own")
    forward = task.forward
    advice = "score() must return (y_true, y_pred) that all metrics take"
    with subject.doing("updating the metrics", advice=advice):
        update = subject.graph(
            lambda batch: task.update_metrics(metrics, batch, forward(batch, training=False), training=False)
        )
        update(subject.batch(_COUNT))
        first = read_metrics(metrics)
    for name, value in first.items():
        require(
            bool(np.isfinite(value)), f"the metric {name!r} is {value} on {_COUNT} rows: guard its divisions"
        )
    for metric in metrics.values():
        metric.reset_state()
    with subject.doing("updating the metrics after a reset", advice=advice):
        update(subject.batch(_COUNT))
        second = read_metrics(metrics)
    for name in first:
        require(
            first[name] == second[name],
            f"the metric {name!r} is {first[name]:.6g} on some rows, but {second[name]:.6g} on the same "
            "after reset_state(): make reset_state() zero all of its variables",
        )
    with subject.doing("measure()"), subject.unchanged():
        measured = task.measure(subject.examples, batch_size=_COUNT, progress=lambda done: None)
    given = [f"val_{name}" for name in ("loss", *first, *measured)]
    require(
        task.monitor in given,
        f"monitor is {task.monitor!r}, but validation gives {', '.join(given)}: name one of these, the best "
        "checkpoint is chosen by it",
    )
    return ", ".join(first) or "none"


def check_freezing(subject: Subject) -> str:
    """The policies mean what they say."""
    task = subject.built
    names = list(task.freezing.groups)
    expected: dict[str | int, list[str]] = {"none": names, "all": [], 1: names[1:]}
    expected["backbone"] = [name for name in names if name in task.freezing.heads]
    expected |= {name: [other for other in names if other != name] for name in names if name not in expected}
    with subject.unchanged():
        for policy, trains in expected.items():
            with subject.doing(f"freeze({policy!r})"):
                report = task.freeze(policy)
            training = [row.group for row in report.rows if row.trainable]
            found, wanted = (", ".join(part) or "none" for part in (training, trains))
            require(
                found == wanted,
                f"after freeze({policy!r}) the groups {found} train, not {wanted}: do not name a layer group "
                "like a policy that means something else",
            )
    return f"none, all, backbone, 1, and each of {', '.join(names)}"


def check_phases(subject: Subject) -> str:
    """Each group, unfrozen alone, moves in one step, and nothing else does."""
    trained, task = subject.reference.task, subject.built
    # Trained weights, because a head that starts from zeros lets no gradient through in the first step.
    after = arrays(trained)
    stepper = Stepper(
        updates=task.updates(lambda **settings: keras.optimizers.Adam(1e-3)),
        freezing=task.freezing,
        observe=lambda batch, outputs: None,
        rate_factors={},
    )
    names = list(task.freezing.groups)
    phases = [(name, [other for other in names if other != name]) for name in names]
    if len(stepper.updates) > 1:  # An update of another model would have nothing to move.
        phases = [("all groups", [])]
    with subject.unchanged():
        for name, frozen in phases:
            assign_arrays(task, after)
            _step(subject, stepper, name, frozen)
    return f"one step each: {', '.join(name for name, _ in phases)}"


def _step(subject: Subject, stepper: Stepper, name: str, others: list[str]) -> None:
    task: Task = subject.built
    task.freeze(others)
    frozen = task.freezing.frozen
    stepper.set_frozen(frozen)
    movement = MovementCheck(freezing=task.freezing, frozen=frozen)
    kind = stepper.kind(step=0, batch=0, last=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stepper.run(subject.batch(_COUNT), kind, spec=subject.examples.spec(), stacked=False)
            sentences = movement.finish(step=1)
    except TrainingError as error:
        raise Failed(
            f"with only {name!r} unfrozen, nothing trains: the loss does not depend on it ({error})"
        ) from error
    require(not sentences, f"with only {name!r} unfrozen: {' '.join(sentences)}")
