"""YAML recipes and `--set KEY=VALUE`: plain values in, plain values out, errors with file and line."""

from __future__ import annotations

import copy
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from kerasft.errors import ConfigError
from kerasft.schema import Config, parse

_MERGE = "tag:yaml.org,2002:merge"


class Recipe(Config):
    """What a recipe may say; each key but `config` is a flag of `kerasft finetune` too.

    Example:
        >>> parse(Recipe, {"task": 3}, where="r.yaml")
        Traceback (most recent call last):
        kerasft.errors.ConfigError: r.yaml: "task" is 3: it should be a valid string
    """

    model_config = pydantic.ConfigDict(strict=True, validate_default=False)

    task: str | None = pydantic.Field(None, description="A name from `kerasft list`.")
    data: str | None = pydantic.Field(None, description="Training data.")
    validation: str | int | float | None = pydantic.Field(
        None, description="Validation data, or how much of the training data: a share, or rows."
    )
    test: str | None = pydantic.Field(None, description="Test data.")
    run: str | None = pydantic.Field(None, description="Folder of the run.")
    epochs: int | None = pydantic.Field(None, ge=1, description="Short for config.training.epochs.")
    seed: int | None = pydantic.Field(None, ge=0, description="Short for config.seed.")
    columns: dict[str, str] | None = pydantic.Field(None, description="Which column of the data is which.")
    sample_weight: str | None = pydantic.Field(None, description="Column with the weight of each row.")
    on_error: Literal["raise", "skip"] | None = pydantic.Field(None, description="What to do with a bad row.")
    init_from: str | list[str] | None = pydantic.Field(
        None,
        description="Folder of a run to start from; task and config are taken from it, too. Or a file of "
        "another program that the task reads; or several, where the task can combine them.",
    )
    partial: bool | None = pydantic.Field(
        None, description="Start from those weights of that run that fit, instead of refusing others."
    )
    freeze: str | int | list[str | int] | None = pydantic.Field(None, description="What does not train.")
    unfreeze: str | None = pydantic.Field(None, description="What trains later on.")
    resume: Literal["auto", "must", "never"] | None = pydantic.Field(
        None, description="Whether to go on with an earlier run."
    )
    config: dict[str, Any] | None = pydantic.Field(None, description="Fields of the task's config.")

    @pydantic.field_validator("columns", mode="before")
    @classmethod
    def _check_columns(cls, columns: Any) -> Any:
        pairs = columns.items() if isinstance(columns, dict) else [(columns,)]
        if columns is not None and not all(isinstance(name, str) for pair in pairs for name in pair):
            raise ValueError("it should name the column of each field, such as {text: review}")
        return columns


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: `no` stays a word, `1e-4` is a number, a date stays text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (so PyYAML declares it)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'key "{key}" is given twice, first in line {seen[key]}', key_node.start_mark
                )
            seen[key] = key_node.start_mark.line + 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, KeyError, AttributeError):  # an integer of 5,000 digits, `!!bool maybe`
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{reprlib.repr(node.value)} cannot be read as {kind}", node.start_mark
            ) from None


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
        return _read(text)[0]
    except yaml.YAMLError as error:
        reason = _yaml_reason(error)
        raise ConfigError(f"{where}: {reprlib.repr(text)} is not a YAML value: {reason}") from error


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
        _assign(result, parts, scalar(text, where=f"--set {key}"), where=f"--set {override!r}")
    return result


def updated(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of nested values with changes to some of them.

    Example:
        >>> updated({"training": {"epochs": 3, "ema": 0.9}}, {"training": {"epochs": 5}})
        {'training': {'epochs': 5, 'ema': 0.9}}
    """
    result = dict(values)
    for key, change in changes.items():
        both = isinstance(change, Mapping) and isinstance(values.get(key), Mapping)
        result[key] = updated(values[key], change) if both else change
    return result


def _assign(values: dict[str, Any], parts: Sequence[str], value: Any, *, where: str) -> None:
    for depth, part in enumerate(parts[:-1], start=1):
        inner = values.setdefault(part, {})
        if not isinstance(inner, dict):
            path = ".".join(parts[:depth])
            raise ConfigError(f'{where}: "{path}" is {inner!r}, it has no key "{parts[depth]}"')
        values = inner
    values[parts[-1]] = value


def load_recipe(path: str | Path) -> dict[str, Any]:
    """Reads a YAML recipe: `task`, `data`, `validation`, `test`, `run`, `freeze`, `unfreeze`, `config` ...

    Raises:
        ConfigError: The file cannot be read or is not YAML, or a key or value outside `config` is wrong.
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
        values, lines = _read(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}{_yaml_line(error)}: {_yaml_reason(error)}") from error
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}, line 1: a recipe is a mapping with keys such as task, data and config")
    recipe = parse(Recipe, values, where=str(path), lines=lines)
    found = {key: value for key, value in recipe if value is not None}
    inner = {key.removeprefix("config."): line for key, line in lines.items() if key.startswith("config.")}
    for short, key in (("epochs", "training.epochs"), ("seed", "seed")):
        if short not in found:
            continue
        if key in inner:
            raise ConfigError(
                f'{path}, line {lines[short]}: "{short}" is given twice, also as "config.{key}" in line '
                f"{inner[key]}; keep one of them"
            )
        _assign(
            found.setdefault("config", {}),
            key.split("."),
            found.pop(short),
            where=f"{path}, line {lines[short]}",
        )
        inner[key] = lines[short]
    return found, inner


def _read(text: str) -> tuple[Any, dict[str, int]]:
    """The value of a YAML text, and the line of each dotted key in it."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        value = loader.construct_document(node)
        return value, _lines(node) if isinstance(node, yaml.MappingNode) else {}
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    finally:
        loader.dispose()


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
