"""Checks of preprocess and targets: one graph, the same for every batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kerasft.task import Task
from kerasft.testing.comparing import describe, difference, python_ops, random_ops, relaxed, row, rows_of
from kerasft.testing.outcome import Failed, explain, require
from kerasft.testing.subject import Subject

_EXACT = {"rtol": 1e-5, "atol": 1e-6}


def check_preprocess(subject: Subject) -> str:
    """preprocess is a graph of TensorFlow ops that treats each row alone, with or without targets."""
    task = subject.built
    raw = subject.raw(targets=False)
    features = _check_graph(subject, "preprocess()", task.preprocess, raw)
    require(bool(features), "preprocess() returned no feature: return a dict of name to tensor")
    with subject.doing("preprocess() on rows that have their targets"):
        labelled = _traced(task.preprocess, subject.raw(targets=True))
    _require_same(
        "preprocess()", features, labelled, "when targets are there: training would differ from serving"
    )
    empty = _check_empty(subject, task)
    return f"{', '.join(f'{name} {_words(value)}' for name, value in features.items())}{empty}"


def check_targets(subject: Subject) -> str:
    """targets is a graph of TensorFlow ops that treats each row alone."""
    task = subject.built
    targets = _check_graph(subject, "targets()", task.targets, subject.raw(targets=True))
    names = [field.name for field in task.fields() if field.target and field.required]
    require(
        bool(targets) or not names or type(task).targets is not Task.targets,
        f"targets() returned nothing for the column {', '.join(names)}: override it to return what loss() "
        "compares with (the default only takes numbers)",
    )
    return ", ".join(f"{name} {_words(value)}" for name, value in targets.items()) or "none"


def _words(value: Any) -> str:
    return f"{'ragged ' if isinstance(value, tf.RaggedTensor) else ''}{describe(value)}".replace("None", "?")


def _trace(method: Callable, raw: Mapping[str, Any]) -> Any:
    specs = {name: relaxed(tensor) for name, tensor in raw.items()}
    return tf.function(lambda inputs: method(inputs), autograph=False).get_concrete_function(specs)


def _traced(method: Callable, raw: Mapping[str, Any]) -> dict[str, Any]:
    return _trace(method, raw)(dict(raw))


def _check_graph(subject: Subject, what: str, method: Callable, raw: dict[str, Any]) -> dict[str, Any]:
    with subject.doing(what):
        function = _trace_columns(what, method, raw, subject)
    structure = function.structured_outputs
    require(
        isinstance(structure, dict) and all(isinstance(name, str) for name in structure),
        f"{what} returned {type(structure).__name__}: return a dict of name to tensor",
    )
    python = python_ops(function)
    require(
        not python,
        f"{what} calls Python through {', '.join(python)}: rewrite tf.py_function and tf.numpy_function "
        "with TensorFlow ops, because a server has no Python",
    )
    count = rows_of(next(iter(raw.values()))) or 0
    with subject.doing(f"{what} on {count} rows"):
        whole = function(dict(raw))
    for name, value in whole.items():
        _check_tensor(f"{what} gives {name!r} as", value, count)
    random = random_ops(function)
    cause = (
        f": it draws random numbers ({', '.join(random)}); put augmentation into layers of the model"
        if random
        else (": it must depend on its input only")
    )
    with subject.doing(f"{what} again"):
        _require_same(what, whole, function(dict(raw)), f"on the same rows{cause}")
        _require_same(what, whole, _traced(method, raw), f"when it is traced again{cause}")
    _check_alone(subject, what, function, raw, whole)
    return whole


def _trace_columns(what: str, method: Callable, raw: Mapping[str, Any], subject: Subject) -> Any:
    try:
        return _trace(method, raw)
    except KeyError as error:
        if error.args and error.args[0] in subject.raw(targets=True).keys() - raw.keys():
            raise Failed(
                f"{what} reads the target column {error.args[0]!r}, which is not there when predicting: read "
                f"it in targets() ({explain(error, subject.task_class)})"
            ) from error
        raise


def _check_tensor(what: str, value: Any, count: int) -> None:
    require(
        isinstance(value, (tf.Tensor, tf.RaggedTensor)),
        f"{what} {type(value).__name__}: make it a dense or ragged tensor",
    )
    require(
        value.dtype != tf.string,
        f"{what} string {tuple(value.shape)}, which a model cannot take: return numbers",
    )
    require(
        rows_of(value) == count,
        f"{what} {describe(value)} for {count} rows: its first axis must be the rows",
    )
    if isinstance(value, tf.RaggedTensor):
        require(
            value.ragged_rank == 1,
            f"{what} ragged in {value.ragged_rank} dimensions: only the first after the rows may be, make "
            "the others dense with to_tensor(shape=...)",
        )


def _check_alone(
    subject: Subject, what: str, function: Any, raw: Mapping[str, Any], whole: Mapping[str, Any]
) -> None:
    count = rows_of(next(iter(raw.values()))) or 0
    for index in range(count):
        with subject.doing(f"{what} on row {index} alone"):
            alone = function({name: tensor[index : index + 1] for name, tensor in raw.items()})
        for name, value in whole.items():
            one, other = row(alone[name], 0), row(value, index)
            if one.shape != other.shape:
                raise Failed(
                    f"{what} gives {name!r} as {describe(one)} for row {index} alone, but {describe(other)} "
                    f"within {count} rows: do not pad to the longest row, return a RaggedTensor, which the "
                    "framework pads"
                )
            problem = difference(one, other, **_EXACT)
            require(
                not problem,
                f"{what} gives another {name!r} for row {index} alone than within {count} rows ({problem}): "
                "compute each row from itself, without statistics of the batch",
            )


def _require_same(what: str, one: Mapping[str, Any], other: Mapping[str, Any], when: str) -> None:
    require(one.keys() == other.keys(), f"{what} returns {', '.join(one)} or {', '.join(other)} {when}")
    for name in one:
        first, second = one[name], other[name]
        if isinstance(first, tf.RaggedTensor) and isinstance(second, tf.RaggedTensor):
            problem = difference(first.row_splits.numpy(), second.row_splits.numpy())
            problem = problem or difference(first.flat_values.numpy(), second.flat_values.numpy(), **_EXACT)
        else:
            problem = difference(np.asarray(first), np.asarray(second), **_EXACT)
        require(not problem, f"{what} gives another {name!r} {when} ({problem})")


def _check_empty(subject: Subject, task: Task) -> str:
    raw = {name: tensor[:0] for name, tensor in subject.raw(targets=False).items()}
    try:
        features = _traced(task.preprocess, raw)
    except tf.errors.InvalidArgumentError as error:
        if "assert" in str(error).lower():  # tf.debugging: the author refuses it on purpose
            return "; refuses an empty batch"
        raise Failed(
            f"preprocess() fails on a batch without rows ({explain(error, subject.task_class)}): return "
            "features of 0 rows, or refuse it with tf.debugging.assert_positive and a message"
        ) from error
    for name, value in features.items():
        require(
            rows_of(value) == 0,
            f"preprocess() makes {rows_of(value)} rows of {name!r} from a batch without rows",
        )
    return ""
