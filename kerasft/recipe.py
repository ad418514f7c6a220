"""YAML recipes and `--set KEY=VALUE`: plain values in, plain values out, errors with file and line."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kerasft._suggest import suggestion
from kerasft.errors import ConfigError

RECIPE_KEYS = (
    "task",
    "data",
    "validation",
    "test",
    "run",
    "columns",
    "on_error",
    "freeze",
    "unfreeze",
    "resume",
    "config",
)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: `no` stays a word, `1e-4` is a number, a date stays text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (so PyYAML declares it)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, (str, int, float, bool)) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'key "{key}" is given twice, first in line {seen[key]}', key_node.start_mark
                )
            if isinstance(key, (str, int, float, bool)):
                seen[key] = line
        return super().construct_mapping(node, deep=deep)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+[eE][-+]?[0-9]+)"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)))


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def scalar(text: str, *, where: str) -> Any:
    """Reads one YAML value, as given after `=` on the command line.

    Example:
        >>> [scalar(text, where="--set") for text in ("1e-4", "no", "[a, b]", "null")]
        [0.0001, 'no', ['a', 'b'], None]
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: {text!r} is not a YAML value: {_yaml_reason(error)}") from error


def merge(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Returns a copy of nested values with `a.b=1` overrides applied; the values are YAML scalars.

    Args:
        values: Nested plain values; not changed.
        overrides: Strings of the form `dotted.key=value`; later ones win.

    Raises:
        ConfigError: An override has no `=`, or its key goes through a value that is not a mapping.

    Example:
        >>> merge({"training": {"epochs": 3}}, ["training.epochs=5", "seed=1"])
        {'training': {'epochs': 5}, 'seed': 1}
    """
    result = copy.deepcopy(dict(values))
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            raise ConfigError(f"--set {override!r}: write it as KEY=VALUE, for example training.epochs=5")
        holder = result
        for depth, part in enumerate(parts[:-1], start=1):
            inner = holder.setdefault(part, {})
            if not isinstance(inner, dict):
                path = ".".join(parts[:depth])
                raise ConfigError(
                    f'--set {override!r}: "{path}" is {inner!r}, it has no key "{parts[depth]}"'
                )
            holder = inner
        holder[parts[-1]] = scalar(text, where=f"--set {key}")
    return result


def load_recipe(path: str | Path) -> dict[str, Any]:
    """Reads a YAML recipe: `task`, `data`, `validation`, `test`, `run`, `freeze`, `unfreeze`, `config` ...

    Raises:
        ConfigError: The file cannot be read, is not YAML, or has an unknown top-level key.
    """
    return recipe_with_lines(path)[0]


def recipe_with_lines(path: str | Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Like `load_recipe`, with the line of every dotted key inside `config`."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"{path}: the recipe cannot be read: {reason}") from error
    try:
        node = yaml.compose(text, Loader=_Loader)
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_yaml_line(error)}: {_yaml_reason(error)}") from error
    if values is None:
        return {}, {}
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}, line 1: a recipe is a mapping with keys such as task, data and config")
    lines = _lines(node)
    for key in values:
        if key not in RECIPE_KEYS:
            hint = suggestion(str(key), RECIPE_KEYS, noun="keys")
            raise ConfigError(f'{path}, line {lines.get(str(key), 1)}: unknown key "{key}": {hint}')
    for key in ("config", "columns"):
        if values.get(key) is not None and not isinstance(values[key], dict):
            raise ConfigError(f'{path}, line {lines[key]}: "{key}" must be a mapping, not {values[key]!r}')
    inner = {key.removeprefix("config."): line for key, line in lines.items() if key.startswith("config.")}
    return values, inner


def _lines(node: yaml.MappingNode, prefix: str = "") -> dict[str, int]:
    found: dict[str, int] = {}
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        found[key] = key_node.start_mark.line + 1
        if isinstance(value_node, yaml.MappingNode):
            found.update(_lines(value_node, f"{key}."))
    return found


def _yaml_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark is not None else ""


def _yaml_reason(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]
