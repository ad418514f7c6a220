"""Checks that need no model: the class, its config, its example and its signatures."""

from __future__ import annotations

import inspect
import json
from typing import Any

import tensorflow as tf

from kerasft import registry
from kerasft.config import TaskConfig
from kerasft.errors import ConfigError, KerasftError
from kerasft.task import Task
from kerasft.testing.comparing import describe
from kerasft.testing.outcome import Failed, require
from kerasft.testing.subject import Subject

_ABSTRACT = ("fields", "build_model", "preprocess", "signatures", "example")
_ONE_OF = (("loss", "updates"), ("postprocess", "serve"))
_METHODS = (
    *_ABSTRACT,
    "open_data",
    "default_data",
    "hold_out",
    "arrange",
    "adapt",
    "extend",
    "save_assets",
    "load_assets",
    "load_pretrained",
    "layer_groups",
    "freeze_policy",
    "augmentation",
    "measure",
    "callbacks",
    "averaged",
    "calls",
    "targets",
    "loss",
    "updates",
    "metrics",
    "score",
    "update_metrics",
    "postprocess",
    "request",
    "serve",
    "next_request",
    "served_weights",
    "resources",
)


def check_class(subject: Subject) -> str:
    """The class is registered, has a config class, and overrides what it must."""
    cls = subject.task_class
    require(
        bool(cls.name),
        f"{cls.__name__} is not registered: put @kerasft.register('its-name') above the class, so that "
        "load() finds it",
    )
    try:
        owner = registry.get(cls.name)
    except KerasftError as error:
        raise Failed(
            f"{cls.__name__} is called {cls.name!r} but not registered: use @kerasft.register ({error})"
        ) from error
    require(
        (owner.__module__, owner.__qualname__) == (cls.__module__, cls.__qualname__),
        f"the name {cls.name!r} belongs to {owner.__module__}.{owner.__qualname__}: register {cls.__name__} "
        "under a name of its own, or load() will make the other",
    )
    require(
        isinstance(cls.config_class, type) and issubclass(cls.config_class, TaskConfig),
        f"config_class is {cls.config_class!r}: make it a subclass of kerasft.TaskConfig",
    )
    for names in (*((name,) for name in _ABSTRACT), *_ONE_OF):
        require(
            any(getattr(cls, name) is not getattr(Task, name) for name in names),
            f"{cls.__name__} does not override {'() or '.join(names)}(): it has no default",
        )
    for name in _METHODS:
        _check_arguments(cls, name)
    own = [name for name in _METHODS if getattr(cls, name) is not getattr(Task, name)]
    return f"{cls.name!r} overrides {', '.join(own)}"


def _check_arguments(cls: type[Task], name: str) -> None:
    expected = inspect.signature(getattr(Task, name))
    positional = [p.name for p in expected.parameters.values() if p.kind is not p.KEYWORD_ONLY]
    keywords = {p.name: None for p in expected.parameters.values() if p.kind is p.KEYWORD_ONLY}
    found = inspect.signature(getattr(cls, name))
    try:
        found.bind(*positional, **keywords)
    except TypeError:
        raise Failed(f"{cls.__name__}.{name}{found} must take the arguments {name}{expected}") from None


def check_config(subject: Subject) -> str:
    """The config survives being saved and read, and refuses what it does not know."""
    cls = subject.task_class
    task = subject.make()
    with subject.doing(
        "config to JSON", advice="give each config field a type that pydantic can write as JSON"
    ):
        saved = task.dump_config()
    for how, values in (("its own dump", saved), ("its own values", task.config.model_dump())):
        with subject.doing(f"making the task from {how}", advice="let validators accept what they return"):
            again = cls(**values)
        changed = _first_change(saved, again.dump_config())
        require(
            not changed,
            f"the config does not survive saving: {changed} when the task is made from {how}; "
            "validators must leave a valid value as it is",
        )
    try:
        cls(**{**saved, "no_such_key": 1})
    except ConfigError:
        pass
    else:
        raise Failed(
            "the config accepts the unknown key 'no_such_key': leave extra='forbid' of TaskConfig as it is"
        )
    silent = [name for name, field in cls.config_class.model_fields.items() if not field.description]
    note = f"; without a description for users: {', '.join(silent)}" if silent else ""
    return f"{len(cls.config_class.model_fields)} fields, saved and read{note}"


def _first_change(before: Any, after: Any, path: str = "") -> str:
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        found = (_first_change(before[key], after[key], f"{path}.{key}".lstrip(".")) for key in before)
        return next((text for text in found if text), "")
    if json.dumps(before) == json.dumps(after):
        return ""
    return f"{path or 'the whole'} was {before!r} and became {after!r}"


def check_example(subject: Subject) -> str:
    """The example has at least two rows that the task's own fields can read."""
    task = subject.make()
    with subject.doing("fields()"):
        fields = {field.name: field for field in task.fields()}
    rows = subject.rows
    require(
        isinstance(rows, dict) and bool(rows),
        f"example() returned {type(rows).__name__}: return a dict of column to a list of values",
    )
    lengths = {name: len(values) for name, values in rows.items()}
    require(
        len(set(lengths.values())) == 1 and min(lengths.values()) >= 2,
        f"example() has columns of {lengths} rows: give each the same number, at least two",
    )
    inputs = {name for specs in task.signatures().values() for name in specs}
    for name in rows:
        require(
            name in fields or name in inputs,
            f"example() has the column {name!r}, which fields() does not name ({', '.join(fields)}): "
            "use the same name in both",
        )
    missing = [name for name, field in fields.items() if field.required and name not in rows]
    require(
        not missing, f"example() lacks the column {', '.join(missing)} of fields(): add it, targets included"
    )
    source = subject.example
    with subject.doing("example()"):
        again = task.example()
    require(repr(again) == repr(rows), "example() returns other rows when called again: return constants")
    return f"{len(source)} rows of {', '.join(source.columns)}"


def check_signatures(subject: Subject) -> str:
    """Signatures name dense inputs that fit the data."""
    task = subject.make()
    with subject.doing("signatures()"):
        signatures = task.signatures()
    require(
        isinstance(signatures, dict) and "serving_default" in signatures,
        f"signatures() names {', '.join(signatures) or 'nothing'}: call the main one 'serving_default', "
        "which clients ask for when they name none",
    )
    for name, specs in signatures.items():
        require(bool(specs), f"signature {name!r} has no input: give it a dict of name to tf.TensorSpec")
        for key, spec in specs.items():
            _check_spec(f"input {key!r} of signature {name!r}", spec)
    if type(task).predict is Task.predict:
        _check_inputs(subject, signatures["serving_default"])
    warm = [name for name, specs in signatures.items() if set(specs) <= set(subject.rows)]
    cold = [name for name in signatures if name not in warm]
    note = f"; no warm-up for {', '.join(cold)}, whose inputs example() does not have" if cold else ""
    return ", ".join(f"{name}({', '.join(specs)})" for name, specs in signatures.items()) + note


def _check_spec(what: str, spec: Any) -> None:
    require(
        isinstance(spec, tf.TensorSpec),
        f"{what} is {type(spec).__name__}: a server takes dense tensors, use tf.TensorSpec",
    )
    require(
        spec.shape.rank is not None,
        f"{what} has an unknown rank: give its shape, with None for free sizes, as in tf.TensorSpec([None], "
        "tf.string)",
    )
    require(
        spec.dtype not in (tf.float16, tf.bfloat16),
        f"{what} is {spec.dtype.name}: clients send float32; cast it in preprocess()",
    )


def _check_inputs(subject: Subject, specs: dict[str, tf.TensorSpec]) -> None:
    raw = subject.raw(targets=False)
    for name, spec in specs.items():
        require(
            name in raw,
            f"input {name!r} of serving_default is no column that fields() names and example() has as an "
            f"input ({', '.join(raw)}): predict() and warm-up could not fill it",
        )
        if isinstance(raw[name], tf.RaggedTensor):
            require(
                spec.dtype == raw[name].dtype and spec.shape.as_list() == [None, None],
                f"input {name!r} is a list of values in the data, which clients send padded: declare "
                f"tf.TensorSpec([None, None], tf.{raw[name].dtype.name}), or take a text field in "
                "serving_default",
            )
            continue
        free = len(spec.shape) > 0 and spec.shape[0] is None
        require(
            free and spec.dtype == raw[name].dtype and spec.is_compatible_with(raw[name]),
            f"input {name!r} of serving_default is {spec.dtype.name} {spec.shape}, the data gives "
            f"{describe(raw[name])}: declare tf.TensorSpec({[None, *raw[name].shape[1:]]}, "
            f"tf.{raw[name].dtype.name})",
        )
