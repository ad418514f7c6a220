"""The base of all configs, and the one function that turns wrong values into sentences."""

from __future__ import annotations

import difflib
import reprlib
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic.fields import FieldInfo

from kerasft._suggest import nearest, valid
from kerasft.errors import ConfigError

C = TypeVar("C", bound=pydantic.BaseModel)
_MAX_PROBLEMS = 3
_LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<", "min_length": "length >=", "max_length": "length <="}


class Config(pydantic.BaseModel):
    """Base of every config: unknown keys are errors, and so is a wrong value assigned later.

    Example:
        >>> class Head(Config):
        ...     dropout: float = pydantic.Field(0.1, ge=0, lt=1, description="Rate before the classifier.")
        >>> parse(Head, {"droput": 0.2}, where="head")
        Traceback (most recent call last):
        kerasft.errors.ConfigError: head: unknown key "droput" (value 0.2): did you mean "dropout"?
    """

    model_config = pydantic.ConfigDict(extra="forbid", validate_assignment=True, validate_default=True)


def differs(config: pydantic.BaseModel, setting: str) -> bool:
    """Says whether a setting has another value than its default.

    A saved config holds every setting, so this, and not whether it was given, tells what was asked for.

    Args:
        config: A config.
        setting: Name of a field, dotted into sections.

    Example:
        >>> class Head(Config):
        ...     dropout: float = 0.1
        >>> differs(Head(dropout=0.1), "dropout"), differs(Head(dropout=0.2), "dropout")
        (False, True)
    """
    value: Any = config
    default: Any = None
    for name in setting.split("."):
        default = type(value).model_fields[name].get_default(call_default_factory=True)
        value = getattr(value, name)
    return bool(value != default)


def refuse_idle(
    config: pydantic.BaseModel,
    serves: Mapping[str, tuple[str, Sequence[str]]],
    *,
    chosen: Mapping[str, str] | None = None,
) -> None:
    """Refuses settings that were changed and do nothing for what else was chosen.

    For validators of configs with a choice, such as of an architecture, that only some settings concern.

    Args:
        config: A config.
        serves: A setting, dotted into sections, to the choice that it hangs on and the values of that for
            which it does something.
        chosen: What counts as the value of a choice where it is not the config's.

    Raises:
        ValueError: one does nothing and differs from its default.

    Example:
        >>> class Net(Config):
        ...     kind: str = "cnn"
        ...     kernel: int = 3
        >>> refuse_idle(Net(kind="lstm", kernel=5), {"kernel": ("kind", ("cnn",))})
        Traceback (most recent call last):
        ...
        ValueError: kernel does nothing for the kind 'lstm', only for cnn; leave it out
    """
    for setting, (choice, served) in serves.items():
        given = getattr(config, choice)
        if (chosen or {}).get(choice, given) not in served and differs(config, setting):
            raise ValueError(
                f"{setting} does nothing for the {choice} {given!r}, only for {', '.join(served)}; leave it "
                "out"
            )


def with_defaults(
    values: Any, sections: Mapping[str, Mapping[str, Any]], *, nullable: Collection[str] = ()
) -> Any:
    """Returns what was given for a config, with other defaults in its sections.

    For validators (mode "before") of configs whose defaults depend on a choice.

    Args:
        values: What pydantic passes to such a validator.
        sections: Section to setting to default; a setting given as None counts as left out.
        nullable: Settings, as "section.name", of which None is a value like others.

    Example:
        >>> with_defaults({"head": {"dropout": 0.3}}, {"head": {"dropout": 0.5, "norm": True}})
        {'head': {'dropout': 0.3, 'norm': True}}
    """
    if not isinstance(values, dict):
        return values
    for section, own in sections.items():
        given = values.get(section, {})
        if isinstance(given, pydantic.BaseModel):
            given = {key: getattr(given, key) for key in given.model_fields_set}
        if isinstance(given, dict):
            given = {
                key: value
                for key, value in given.items()
                if value is not None or key not in own or f"{section}.{key}" in nullable
            }
            values = {**values, section: {**own, **given}}
    return values


def _as_words(labels: Any) -> Any:
    # A recipe says `labels: [0, 1]`; data has them as "0" and "1".
    if not isinstance(labels, (list, tuple)):
        return labels
    return [str(label) if isinstance(label, (int, bool)) else label for label in labels]


def _each_once(labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if labels is not None and len(set(labels)) != len(labels):
        raise ValueError("a label is given twice")
    if labels is not None and not labels:
        raise ValueError("give at least one label, or null to take those of the training data")
    return labels


Labels = Annotated[
    tuple[str, ...] | None, pydantic.BeforeValidator(_as_words), pydantic.AfterValidator(_each_once)
]
"""Type of a config's field of labels: names (whole numbers become words), each once, or None."""


@dataclass(frozen=True, kw_only=True)
class ConfigField:
    """One leaf of a config, as `kerasft describe` shows it."""

    key: str
    type: str
    default: Any
    required: bool
    limits: str
    help: str


def parse(
    config_class: type[C], values: Mapping[str, Any], *, where: str, lines: Mapping[str, int] | None = None
) -> C:
    """Validates plain values against a config class.

    Args:
        config_class: A pydantic model class.
        values: Nested plain values, as from keywords or a YAML file.
        where: What the error shall name as the origin, such as `task "text"` or a file name.
        lines: Dotted key to line number, when the values come from a file.

    Returns:
        The validated config.

    Raises:
        ConfigError: A key or a value is wrong; names the dotted key, the value and the nearest valid key.
    """
    try:
        return config_class.model_validate(dict(values))
    except pydantic.ValidationError as error:
        problems = list(_problems(config_class, error, lines or {}))
    shown = "; ".join(problems[:_MAX_PROBLEMS])
    more = len(problems) - _MAX_PROBLEMS
    raise ConfigError(f"{where}: {shown}" + (f"; and {more} more" if more > 0 else ""))


def config_fields(config_class: type[pydantic.BaseModel], prefix: str = "") -> list[ConfigField]:
    """Lists every leaf of a config class with its dotted key, type, default, limits and help."""
    found: list[ConfigField] = []
    for name, field in config_class.model_fields.items():
        key = f"{prefix}{name}"
        nested = _models(field.annotation)
        if nested:
            for model in nested:
                known = {f.key for f in found}
                found.extend(f for f in config_fields(model, f"{key}.") if f.key not in known)
            continue
        found.append(
            ConfigField(
                key=key,
                type=_type_name(field.annotation),
                default=None if field.is_required() else _plain(field.get_default(call_default_factory=True)),
                required=field.is_required(),
                limits=_limits(field),
                help=field.description or "",
            )
        )
    return found


def _problems(
    config_class: type[pydantic.BaseModel], error: pydantic.ValidationError, lines: Mapping[str, int]
) -> Iterator[str]:
    keys = [field.key for field in config_fields(config_class)]
    found: dict[str, list[str]] = {}  # start of a sentence to the reasons that end it
    for problem in error.errors(include_url=False):
        path = [str(part) for part in problem["loc"]]
        owner, known = _resolve(config_class, path)
        key = ".".join(known) or "(whole config)"
        at = f"line {lines[key]}: " if key in lines else ""
        kind, value, context = problem["type"], problem.get("input"), problem.get("ctx", {})
        if kind == "extra_forbidden":
            siblings = [".".join([*known[:-1], sibling]) for sibling in (owner.model_fields if owner else ())]
            hint = _meant(known[-1], siblings, keys)
            found.setdefault(f'{at}unknown key "{key}" (value {reprlib.repr(value)}): {hint}', [])
        elif kind == "missing":
            found.setdefault(f'{at}key "{key}" is missing and has no default', [])
        else:
            reason = problem["msg"]
            for prefix in ("Input should be ", "Value error, ", "Assertion failed, "):
                if reason.startswith(prefix):
                    reason = ("it should be " if prefix == "Input should be " else "") + reason[len(prefix) :]
                    break
            else:
                reason = reason[:1].lower() + reason[1:]
            if kind == "literal_error" and isinstance(value, str):
                choices = str(context.get("expected", "")).replace(" or ", ", ").split(", ")
                near = difflib.get_close_matches(value, [choice.strip("'") for choice in choices], n=1)
                reason += f' (did you mean "{near[0]}"?)' if near else ""
            # The members of a union complain one by one about one value.
            found.setdefault(f'{at}"{key}" is {reprlib.repr(value)}: ', []).append(reason)
    for start, reasons in found.items():
        yield start + ", or ".join(dict.fromkeys(reasons))


def _meant(name: str, siblings: Sequence[str], keys: Sequence[str]) -> str:
    """What an unknown key was meant to be: one beside it, or one elsewhere of the same or a like name."""
    beside = {key.rpartition(".")[2]: key for key in siblings}
    elsewhere: dict[str, list[str]] = {}
    for key in keys:
        if key not in siblings:
            elsewhere.setdefault(key.rpartition(".")[2], []).append(key)
    near = nearest(name, beside)
    far = name if name in elsewhere or near is not None else nearest(name, elsewhere)
    found = [beside[near]] if near is not None else []
    found += elsewhere.get(far or "", [])
    if not found:
        return valid(siblings, noun="keys")
    *others, last = (f'"{key}"' for key in found)
    return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


def _resolve(
    config_class: type[pydantic.BaseModel], path: list[str]
) -> tuple[type[pydantic.BaseModel] | None, list[str]]:
    """Follows an error location; drops the parts that pydantic adds for the members of a union."""
    owner: type[pydantic.BaseModel] | None = config_class
    candidates: list[type[pydantic.BaseModel]] = [config_class]
    known: list[str] = []
    for position, part in enumerate(path):
        last = position == len(path) - 1
        named = [model for model in candidates if part == model.__name__ or part in _tags(model)]
        holder = next((model for model in candidates if part in model.model_fields), None)
        if holder is not None:
            known.append(part)
            owner, candidates = holder, _models(holder.model_fields[part].annotation)
        elif named and not last:
            candidates = named
        elif candidates and last:
            known.append(part)
            owner = candidates[0]
        elif part.isdigit():
            known.append(part)
    return owner, known


def _tags(model: type[pydantic.BaseModel]) -> set[str]:
    """What can stand in a discriminated union's tag field to choose this model."""
    found = [field.annotation for field in model.model_fields.values()]
    return {str(tag) for a in found if typing.get_origin(a) is typing.Literal for tag in typing.get_args(a)}


def _models(annotation: Any) -> list[type[pydantic.BaseModel]]:
    """The config classes that an annotation may hold, directly or in a union (not in a list or dict)."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _models(typing.get_args(annotation)[0])
    if origin is typing.Union or origin is types.UnionType:
        return [model for member in typing.get_args(annotation) for model in _models(member)]
    return []


def _type_name(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _type_name(typing.get_args(annotation)[0])
    if origin is typing.Literal:
        return " | ".join(str(choice) for choice in typing.get_args(annotation))
    if origin is typing.Union or origin is types.UnionType:
        return " | ".join(_type_name(member) for member in typing.get_args(annotation))
    if origin is not None:
        members = ", ".join("..." if a is Ellipsis else _type_name(a) for a in typing.get_args(annotation))
        return f"{getattr(origin, '__name__', origin)}[{members}]"
    return getattr(annotation, "__name__", str(annotation))


def _limits(field: FieldInfo) -> str:
    found = []
    for item in field.metadata:
        for name, sign in _LIMITS.items():
            bound = getattr(item, name, None)
            if bound is not None:
                found.append(f"{sign} {bound}")
        pattern = getattr(item, "pattern", None)
        if pattern:
            found.append(f"matches {pattern}")
    return ", ".join(found)


def _plain(value: Any) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
