"""Checks of what clients get: named outputs, the same answer alone and in a batch, and the export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kerasft.errors import ConfigError
from kerasft.export import layout, verify, warmup
from kerasft.export.lint import is_made_up
from kerasft.export.runtime import Model
from kerasft.prediction import trace
from kerasft.task import Task
from kerasft.testing.comparing import describe, first_difference, python_ops
from kerasft.testing.outcome import Failed, Skipped, require
from kerasft.testing.subject import Subject
from kerasft.training.examples import Encoder
from kerasft.training.update import Batch


def check_request(subject: Subject) -> str:
    """request turns rows of data, without targets, into the inputs of serving_default, row by row."""
    task = subject.built
    if type(task).predict is not Task.predict:
        raise Skipped("the task brings its own predict(), which may not call request()")
    columns = [field.name for field in subject.example.fields if not field.target]
    rows = subject.example.take(np.arange(len(subject.example)), columns)
    with subject.doing("request()"):
        inputs = task.request(rows, signature="serving_default")
    wanted = task.signatures()["serving_default"]
    require(
        set(inputs) == set(wanted),
        f"request() gives {', '.join(inputs) or 'nothing'} for rows of {', '.join(rows)}: return a value "
        f"a row for each input of serving_default ({', '.join(wanted)})",
    )
    for name, values in inputs.items():
        require(
            len(values) == len(subject.example),
            f"request() gives {len(values)} values of {name!r} for {len(subject.example)} rows: return one a "
            "row, or predict() answers with those of other rows",
        )
    for index in range(len(subject.example)):
        with subject.doing(f"request() on row {index} alone"):
            alone = task.request(
                {name: values[index : index + 1] for name, values in rows.items()},
                signature="serving_default",
            )
        for name, values in inputs.items():
            require(
                repr(alone[name][0]) == repr(values[index]),
                f"request() gives another {name!r} for row {index} alone than among {len(values)} rows: "
                "predict() goes through large data in parts, so treat each row by itself",
            )
    return f"{', '.join(rows)} -> {', '.join(inputs)}"


def check_serve(subject: Subject) -> str:
    """What is served equals training's preprocess, the model and postprocess."""
    task = subject.reference.task
    if task.forward is None:
        raise Skipped("the task has several models, so serve() is its own")
    if type(task).postprocess is Task.postprocess:
        raise Skipped("the task brings its own serve() and no postprocess() to compare with")
    forward = task.forward
    rows = subject.example.take(np.arange(len(subject.example)))
    with subject.doing("preprocess() in training"):
        features, _ = Encoder(task=task, fields=task.fields(), targets=True)(rows)
    dense = {key: v.to_tensor() if isinstance(v, tf.RaggedTensor) else v for key, v in features.items()}

    def direct(inputs: dict[str, Any]) -> Any:
        return task.postprocess(forward(Batch(inputs, {}), training=False), inputs)

    with subject.doing("postprocess()"):
        expected = tf.function(direct, autograph=False)(dense)
    require(
        isinstance(expected, dict) and all(isinstance(name, str) for name in expected),
        f"postprocess() returned {type(expected).__name__}: return a dict of named tensors",
    )
    with subject.doing("predict()"):
        answer = subject.answer
    found = first_difference({name: value.numpy() for name, value in expected.items()}, answer)
    if found:
        raise Failed(
            f"the served {found[0]!r} differs from what the training path gives for the same rows "
            f"({found[1]}): serve() and preprocess() must do the same in training and serving, without flags"
        )
    return "training and serving take the same path"


def check_outputs(subject: Subject) -> str:
    """Every signature answers with named tensors of types that any client knows."""
    task = subject.reference.task
    found = []
    for signature in task.signatures():
        with subject.doing(
            f"tracing serve() for {signature!r}", advice="postprocess() must return a dict of named tensors"
        ):
            function = trace(task, signature)
        outputs = function.structured_outputs
        require(
            isinstance(outputs, dict) and all(isinstance(name, str) for name in outputs),
            f"{signature} answers with {type(outputs).__name__}: return a dict of named tensors from "
            "postprocess()",
        )
        require(
            bool(outputs), f"{signature} has no outputs: return a dict of named tensors from postprocess()"
        )
        for name, tensor in outputs.items():
            _check_output(f"output {name!r} of {signature}", name, tensor)
        python = python_ops(function)
        require(
            not python,
            f"{signature} calls Python through {', '.join(python)}: rewrite tf.py_function and "
            "tf.numpy_function in postprocess() with TensorFlow ops, because a server has no Python",
        )
        found.append(
            f"{signature}({', '.join(f'{name}: {tensor.dtype.name}' for name, tensor in outputs.items())})"
        )
    return ", ".join(found)


def _check_output(what: str, name: str, tensor: Any) -> None:
    require(
        not is_made_up(name),
        f"{what} has a made-up name: call it what it is, such as 'label' or 'scores', in postprocess()",
    )
    require(
        hasattr(tensor, "dtype")
        and not isinstance(tensor, (tf.RaggedTensor, tf.SparseTensor, tf.RaggedTensorSpec)),
        f"{what} is {type(tensor).__name__}: a server answers with dense tensors, return flat values and "
        "row_splits",
    )
    allowed = tensor.dtype in (tf.float32, tf.string, tf.bool) or tensor.dtype.is_integer
    require(
        allowed,
        f"{what} is {tensor.dtype.name}: cast it in postprocess(), clients expect float32, integers or "
        "strings",
    )
    require(
        tensor.shape.rank is not None,
        f"{what} has an unknown rank: use tf.ensure_shape, with None for free sizes",
    )


def check_batches(subject: Subject) -> str:
    """A row gets the same answer alone as among longer and shorter ones."""
    with subject.doing("tracing serve()"):
        function = trace(subject.reference.task, "serving_default")
    request = subject.request
    count = len(subject.example)
    with subject.doing(f"serving {count} rows"):
        whole = _numpy(function(**request))
    alone = []
    for index in range(count):
        with subject.doing(f"serving row {index} alone"):
            alone.append(
                _numpy(function(**{name: tensor[index : index + 1] for name, tensor in request.items()}))
            )
    kinds = {name: _kind(name, array, [one[name] for one in alone], count) for name, array in whole.items()}
    flat = [name for name, kind in kinds.items() if kind == "flat"]
    require(
        not flat or "row_splits" in kinds.values(),
        f"output {', '.join(map(repr, flat))} has as many entries as were found: add an output with the row "
        "splits (int64 [rows + 1]), or clients cannot tell whose they are",
    )
    return ", ".join(f"{name}: {kind}" for name, kind in kinds.items())


def _numpy(outputs: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def _kind(name: str, whole: Any, alone: list[Any], count: int) -> str:
    """Says how an output belongs to rows, or fails."""
    if np.ndim(whole) == 0 or not all(np.ndim(part) for part in alone):
        whole, alone = np.asarray(whole)[None], [np.asarray(part)[None] for part in alone]
    joined = np.concatenate(alone) if len({part.shape[1:] for part in alone}) == 1 else None
    per_row = whole.shape[0] == count and all(part.shape[0] == 1 for part in alone)
    if not per_row and all(_same(whole, part) for part in alone):
        return "constant"
    pairs = whole.shape[0] == count + 1 and all(part.shape == (2,) for part in alone)
    if pairs and _same(whole, np.cumsum([0, *(part[1] for part in alone)]).astype(whole.dtype)):
        return "row_splits"
    if joined is not None and joined.shape == whole.shape and _same(whole, joined):
        return "per row" if per_row else "flat"
    if per_row:
        differing = next(
            (i for i in range(count) if joined is None or not _same(whole[i : i + 1], joined[i : i + 1])), 0
        )
        one, other = whole[differing], alone[differing][0]
        raise Failed(
            f"output {name!r} of row {differing} is {_show(other)} alone and {_show(one)} among {count} "
            "rows: the answer must not depend on the padding or on other rows, so mask padded positions and "
            "keep BatchNormalization in inference mode"
        )
    raise Failed(
        f"output {name!r} is {describe(whole)} for {count} rows and {describe(alone[0])} for one: make its "
        "first axis the rows, or flat entries with row splits beside them"
    )


def _same(one: Any, other: Any) -> bool:
    return first_difference({"": one}, {"": other}) is None


def _show(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_precision(subject: Subject) -> str:
    """Outputs stay float32 when the model computes in half precision, as it does on a GPU."""
    try:
        subject.task_class(**{**subject.values, "precision": "mixed_float16"})
    except ConfigError as error:
        raise Skipped("the task's config does not allow mixed precision") from error
    task = subject.adapted(precision="mixed_float16")
    with subject.doing("tracing serve() in mixed precision"):
        outputs = trace(task, "serving_default").structured_outputs
    half = [name for name, tensor in outputs.items() if tensor.dtype in (tf.float16, tf.bfloat16)]
    require(
        not half,
        f"under mixed precision, the default on a GPU, the output {', '.join(map(repr, half))} is float16: "
        "give the last layer dtype='float32', or cast in postprocess()",
    )
    return "float32 under mixed_float16"


def check_export(subject: Subject) -> str:
    """The task exports, with warm-up requests."""
    try:
        with subject.doing("export()"):
            folder = subject.exported
    except Failed as failure:
        if "untracked" in str(failure):
            raise Failed(
                "export() failed because preprocess() or postprocess() uses a lookup table or variable that "
                f"the SavedModel does not know: return it from resources() ({failure})"
            ) from failure
        raise
    path = folder / layout.WARMUP
    count = len(list(warmup.read_logs(path))) if path.is_file() else 0
    require(
        count > 0,
        "the export has no warm-up request, so the first clients wait: give example() a column for every "
        "input of serving_default",
    )
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return f"{size / 1e6:.1f} MB, {count} warm-up requests"


def check_verify(subject: Subject) -> str:
    """The export passes `kerasft verify`."""
    report = verify(subject.exported)
    problems = "; ".join(f"{check.name}: {check.detail}" for check in report.failed)
    require(report.ok, f"the export is not fit to serve: {problems}")
    return f"{sum(check.ok is True for check in report.checks)} checks of kerasft verify passed"


def check_runtime(subject: Subject) -> str:
    """TensorFlow's C++ runtime answers the example as predict does."""
    request = {name: tensor.numpy() for name, tensor in subject.request.items()}
    with subject.doing("the export in TensorFlow's C++ runtime"), Model(subject.exported) as model:
        served = model.call("serving_default", request)
    found = first_difference(subject.answer, served)
    if found:
        raise Failed(
            f"the SavedModel gives another {found[0]!r} than predict() ({found[1]}): keep all that serve() "
            "uses in the graph, the model's weights or resources(), not in Python state"
        )
    return f"equals predict() on {len(subject.example)} rows"
