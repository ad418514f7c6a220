"""A config as rows: what differs from the defaults, and the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pydantic

from kerasft.schema import config_fields

if TYPE_CHECKING:
    from kerasft.task import Task

_MISSING = object()


class Setting(NamedTuple):
    """A field of a config.

    Attributes:
        key: Dotted.
        value: As JSON.
        default: As JSON; empty when the field has none.
        help: One sentence.
        changed: Whether the value differs from the default.
    """

    key: str
    value: str
    default: str
    help: str
    changed: bool


def settings(task: Task, config: Mapping[str, Any]) -> list[Setting]:
    """Returns all fields of a task's config, those that differ from the defaults first.

    Args:
        task: Its `config_class` has the defaults.
        config: The dumped config of a run.
    """
    try:
        defaults = json.loads(task.config_class.model_validate({}).model_dump_json())
    except pydantic.ValidationError:  # a field without a default
        defaults = {}
    rows = []
    for field in config_fields(task.config_class):
        value, default = _at(config, field.key), _at(defaults, field.key)
        if value is _MISSING:
            continue
        if default is _MISSING and not field.required:
            default = field.default
        shown = "" if default is _MISSING else _plain(default)
        rows.append(Setting(field.key, _plain(value), shown, field.help, value != default))
    return sorted(rows, key=lambda row: not row.changed)


def _at(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
