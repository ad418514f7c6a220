"""Checks of whole runs: the loss falls, a seed fixes all, a killed run goes on, a saved one comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

import kerasft
from kerasft.task import Task
from kerasft.testing.comparing import difference, first_difference
from kerasft.testing.outcome import Failed, Skipped, require
from kerasft.testing.subject import Stop, Subject, arrays
from kerasft.training.checkpoint import model_variables
from kerasft.training.run import Run


def check_finetune(subject: Subject) -> str:
    """Training on the example lowers its loss."""
    with subject.doing("finetune() on the example"):
        reference = subject.reference
    steps = Run(subject.folder / "reference").checkpoints.steps()[-1]
    before, after = reference.loss_before, reference.loss_after
    if before is None or after is None:
        return f"{steps} steps; the task has several models, so no single loss must fall"
    require(
        bool(np.isfinite(after)) and before - after > 1e-5 * max(1.0, abs(before)),
        f"the loss on the example went from {before:.6g} to {after:.6g} in {steps} steps of its own: look at "
        "training.learning_rate and at loss(), whose labels and outputs may not belong together",
    )
    return f"loss {before:.4g} -> {after:.4g} in {steps} steps"


def check_seed(subject: Subject) -> str:
    """A second run with the same seed takes the same first epoch."""
    again = arrays(subject.again)
    paths = {name: variable.path for name, variable in model_variables(subject.built.models).items()}
    for name, array in arrays(subject.built).items():
        require(
            np.array_equal(array, again[name]),
            f"build() with one seed gives other weights {paths[name]} each time: take random numbers in "
            "build_model() from keras initializers, not from NumPy generators or the clock",
        )
    with subject.doing("a second finetune()"):
        second = subject.interrupted.read_history()
    if not second:
        raise Skipped(
            "with one epoch the second run is killed before there is a whole one to compare; give "
            "training.epochs=2"
        )
    first = Run(subject.folder / "reference").read_history()
    for name, values in second.items():
        for epoch, (expected, found) in enumerate(zip(first[name], values, strict=False), start=1):
            problem = difference(
                np.asarray(expected, np.float64), np.asarray(found, np.float64), **_tolerance()
            )
            require(
                not problem,
                f"two runs with one seed differ: {name} of epoch {epoch} is {expected!r}, then {found!r}; "
                "draw random numbers in layers that hold a keras.random.SeedGenerator, never from NumPy or "
                "tf.random",
            )
    return f"{len(second['epoch'])} epochs are the same in two runs"


def check_resume(subject: Subject) -> str:
    """A run that was killed in the middle of an epoch ends where an uninterrupted one ends."""
    at = subject.interrupted.checkpoints.steps()[-1]
    with subject.doing(
        "going on with a killed run",
        advice="save_assets() and load_assets() must keep all that build_model() needs",
    ):
        task = subject.run("interrupted", resume="must", callbacks=[Stop(None)])
    expected = model_variables(subject.reference.task.models)
    for name, variable in model_variables(task.models).items():
        problem = difference(variable.numpy(), expected[name].numpy(), **_tolerance())
        require(
            not problem,
            f"a run killed after step {at} and resumed ends with other weights in {variable.path} "
            f"({problem}): keep all state in Keras variables of the model (also random seeds, by "
            "keras.random.SeedGenerator), not in Python attributes or tf.random",
        )
    return f"killed after step {at}, resumed, equal to the uninterrupted run"


def _tolerance() -> dict[str, float]:
    exact = not tf.config.list_logical_devices("GPU")
    return {"rtol": 0.0, "atol": 0.0} if exact else {"rtol": 1e-3, "atol": 1e-3}


def check_load(subject: Subject) -> str:
    """kerasft.load gives the same config, groups, signatures and predictions."""
    task = subject.reference.task
    cure = "save_assets() must write, and load_assets() read, all that adapt() learned"
    with subject.doing("predict() of the trained task"):
        answer = subject.answer
    with subject.doing("kerasft.load() of the run", advice=cure):
        loaded = kerasft.load(subject.folder / "reference")
    for what, before, after in (
        ("config", task.dump_config(), loaded.dump_config()),
        ("layer groups", list(task.freezing.groups), list(loaded.freezing.groups)),
        ("signatures", task.signatures(), loaded.signatures()),
        ("fields", _fields(task), _fields(loaded)),
    ):
        require(before == after, f"the loaded task has other {what}: {after!r} instead of {before!r}; {cure}")
    with subject.doing("predict() of the loaded task", advice=cure):
        again = loaded.predict({name: subject.rows[name] for name in task.signatures()["serving_default"]})
    found = first_difference(answer, again, rtol=1e-5, atol=1e-6)
    if found:
        raise Failed(
            f"the loaded task predicts another {found[0]!r} than the trained one ({found[1]}): {cure}"
        )
    assets = sorted(path.name for path in Run(subject.folder / "reference").assets.iterdir())
    return f"same predictions; assets: {', '.join(assets) or 'none'}"


def _fields(task: Task) -> list[Any]:
    return [(field.name, field.kind, field.target, field.classes) for field in task.fields()]
