"""What `kerasft describe TASK` shows: config fields, columns, signatures and, once built, layer groups."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kerasft import registry
from kerasft.errors import ConfigError
from kerasft.schema import ConfigField, config_fields

if TYPE_CHECKING:
    from kerasft.data import Field
    from kerasft.task import Task


@dataclass(frozen=True, kw_only=True)
class TaskDescription:
    """Everything about a task that shows without training it.

    Attributes:
        name: The registered name.
        summary: First line of the class docstring.
        doc: The whole docstring.
        where: `module:line` of the class.
        config: The config's leaves; their defaults are those that the given config leaves in place.
        columns: What it reads: dictionaries of name, kind, target, read_for, aliases.
        signatures: Signature to input to "dtype[shape]".
        groups: Layer groups, input to head; empty unless built.
        monitor: The metric that decides which checkpoint is the best.
        estimate: What a training costs, name to sentence, if the task says so.
    """

    name: str
    summary: str
    doc: str
    where: str
    config: tuple[ConfigField, ...]
    columns: tuple[dict[str, Any], ...]
    signatures: dict[str, dict[str, str]]
    groups: tuple[str, ...]
    monitor: str
    estimate: dict[str, str]


def describe(name: str, *, build: bool = False, **config: Any) -> TaskDescription:
    """Describes a task by name.

    Args:
        name: A name from `list_tasks`.
        build: Build the model too, to list its layer groups (may fetch weights).
        **config: Config values to describe it with; the signatures may depend on them.

    Raises:
        RegistryError: No such task.
        ConfigError: A given config value is wrong.
    """
    cls = registry.get(name)
    doc = inspect.cleandoc(cls.__doc__ or "")
    columns: tuple[dict[str, Any], ...] = ()
    signatures: dict[str, dict[str, str]] = {}
    groups: tuple[str, ...] = ()
    estimate: dict[str, str] = {}
    fields: Sequence[ConfigField] = config_fields(cls.config_class)
    monitor = cls.monitor if isinstance(cls.monitor, str) else ""  # a task may decide by its config
    try:
        task = cls(**config)
    except ConfigError:
        # A task may have fields without defaults: its config can still be described.
        if config or build:
            raise
    else:
        monitor = task.monitor
        estimate = task.estimate()
        fields = [_as_configured(field, task.dump_config()) for field in fields]
        columns = tuple(
            {
                "name": field.name,
                "kind": field.kind,
                "target": field.target,
                "read_for": _purposes(field, task),
                "aliases": list(field.aliases),
            }
            for field in task.fields()
        )
        signatures = {
            signature: {key: f"{spec.dtype.name}{_shape(spec)}" for key, spec in inputs.items()}
            for signature, inputs in task.signatures().items()
        }
        if build:
            task.build()
            groups = tuple(task.freezing.groups)
    return TaskDescription(
        name=name,
        summary=doc.splitlines()[0] if doc else "",
        doc=doc,
        where=registry.where(name),
        config=tuple(fields),
        columns=columns,
        signatures=signatures,
        groups=groups,
        monitor=monitor,
        estimate=estimate,
    )


def _as_configured(field: ConfigField, values: Any) -> ConfigField:
    """Returns the field with its value in `values`: defaults may depend on other fields."""
    for part in field.key.split("."):
        if not isinstance(values, dict) or part not in values:
            return field
        values = values[part]
    return replace(field, default=values)


def _purposes(field: Field, task: Task) -> list[str]:
    asked = any(field.name in inputs for inputs in task.signatures().values())
    default = f" (default {field.default})" if field.request and field.default is not None else ""
    return ["training"] * (not field.request) + [f"requests{default}"] * (asked and not field.target)


def _shape(spec: Any) -> str:
    if spec.shape.rank is None:
        return "[...]"
    return "[" + ", ".join("None" if size is None else str(size) for size in spec.shape) + "]"
