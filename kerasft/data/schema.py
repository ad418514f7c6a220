"""What a task reads: one `Field` a column, whatever the file calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from kerasft.errors import ConfigError

Kind = Literal[
    "text",
    "label",
    "labels",
    "number",
    "integer",
    "boolean",
    "tokens",
    "strings",
    "tags",
    "spans",
    "id",
    "bytes",
    "any",
]

KINDS: tuple[str, ...] = get_args(Kind)
CLASS_KINDS = ("label", "labels", "tags", "spans")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One column that a task reads, under the name that the task uses for it.

    Args:
        name: The task's name for the column; a column of the same name in the data is taken first.
        kind: What a value is, in every format, after reading:

            - `"text"`: a non-empty `str`.
            - `"label"`: one class, as `str` (whole numbers, booleans and class names become `str`).
            - `"labels"`: any number of classes, a `list[str]`; read from a list or from `"a|b"`.
            - `"number"`: a finite `float`; a batch is float32.
            - `"integer"`: an `int` of at most 64 bits; a batch is int64.
            - `"boolean"`: a `bool`; read from true, false, yes, no, 1 and 0 as well; a batch is bool.
            - `"tokens"`: a non-empty `list[str]`; read from a list or from a string with spaces.
            - `"strings"`: a `list[str]` of any length, whose strings may be anything, empty too.
            - `"tags"`: a `list[str]`, one for each token of the field `over`.
            - `"spans"`: a list of `(start, end, type)`, character offsets into the text of the field `over`.
            - `"id"`: a `str` that names something; whole numbers become `str`.
            - `"bytes"`: the content of a file, as non-empty `bytes`.
            - `"any"`: the value as it is.
        aliases: Other names that the column may have in the data.
        target: Whether the model learns to predict it; not read when the source is opened for `predict`.
        request: Whether only requests have it (a seed, how many answers to give): read for `predict` alone,
            never for training and evaluation; `default` stands where the data has no such column.
        classes: The allowed classes of a label, labels, tags or spans field; another value is a bad row.
        required: Whether data without this column is an error.
        default: Replaces a missing value of a row; `None` makes a missing value a bad row.
        separators: For `labels` in one string: the first of these that occurs cuts it.
        over: For `tags` the tokens field, for `spans` the text field; by default the only one of that kind.
        remedy: What to do where the data has no such column, for the error; by default, name one.

    Raises:
        ConfigError: The kind is unknown, or an argument does not fit the kind.

    Example:
        >>> Field(name="label", kind="label", aliases=("stars",), target=True, classes=("bad", "good")).kind
        'label'
    """

    name: str
    kind: Kind = "text"
    aliases: tuple[str, ...] = ()
    target: bool = False
    request: bool = False
    classes: tuple[str, ...] | None = None
    required: bool = True
    default: Any = None
    separators: tuple[str, ...] = ("|", ",")
    over: str | None = None
    remedy: str = ""

    def __post_init__(self) -> None:
        for key in ("aliases", "classes", "separators"):
            value = getattr(self, key)
            if isinstance(value, str):
                raise ConfigError(f"field {self.name!r}: {key} is the string {value!r}; give a tuple")
            if value is not None:
                object.__setattr__(self, key, tuple(value))
        if self.target and self.request:
            raise ConfigError(f"field {self.name!r}: it is either a target or of requests only, not both")
        if self.kind not in KINDS:
            raise ConfigError(f"field {self.name!r}: kind {self.kind!r} is not one of {', '.join(KINDS)}")
        if self.classes is not None and self.kind not in CLASS_KINDS:
            raise ConfigError(
                f"field {self.name!r}: a {self.kind} has no classes, as {', '.join(CLASS_KINDS)} have"
            )
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"field {self.name!r}: the classes {', '.join(self.classes)} repeat a name")
        if self.over is not None and self.kind not in ("tags", "spans"):
            raise ConfigError(f"field {self.name!r}: `over` is for tags and spans, not for {self.kind}")


def check_fields(fields: Sequence[Field]) -> tuple[Field, ...]:
    """Returns the fields as a tuple, after checking that they fit together.

    Raises:
        ConfigError: Two fields have one name, or a tags or spans field does not say what it lies over.
    """
    fields = tuple(fields)
    names = [field.name for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not fields or twice:
        problem = f"more than one is called {', '.join(twice)}" if twice else "there are none"
        raise ConfigError(f"fields: {problem}; give each column that the task reads one field")
    for field in fields:
        partner(field, fields)
    return fields


def partner(field: Field, fields: Sequence[Field]) -> Field | None:
    """Returns the field whose value gives `field` its length or bounds: tokens for tags, text for spans.

    Raises:
        ConfigError: A tags or spans field has no such partner, or more than one without `over`.
    """
    wanted = {"tags": "tokens", "spans": "text"}.get(field.kind)
    if wanted is None:
        return None
    found = [f for f in fields if f.kind == wanted and field.over in (None, f.name)]
    if len(found) != 1:
        raise ConfigError(
            f"field {field.name!r}: {field.kind} lie over exactly one {wanted} field, found {len(found)}; "
            f"say which with over="
        )
    return found[0]
