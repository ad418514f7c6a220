"""What a client asks of a server, and what it is told, whatever protocol carries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
DEFAULT_SIGNATURE = "serving_default"


class Spec(NamedTuple):
    """Which model: the newest version unless a version or a label says otherwise."""

    name: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        if self.version is not None:
            return f"version {self.version} of {self.name!r}"
        return f"{self.name!r}" if self.label is None else f"the version {self.label!r} of {self.name!r}"


class Classification(NamedTuple):
    """The classes of each example.

    Attributes:
        labels: str [examples, classes], as objects; empty strings if the model names no classes.
        scores: float32 [examples, classes].
    """

    labels: Array
    scores: Array


class State(str):
    """The state of a version: `"START"`, `"LOADING"`, `"AVAILABLE"`, `"UNLOADING"` or `"END"`.

    Attributes:
        error: Why the version failed; empty if it did not.
    """

    error: str

    def __new__(cls, state: str, error: str = "") -> State:
        made = super().__new__(cls, state)
        made.error = error
        return made


@dataclass(frozen=True)
class Predict:
    """Runs a signature; the answer is output name to array, with bytes for strings."""

    spec: Spec
    signature: str
    inputs: Mapping[str, Array]
    output_filter: Sequence[str] = ()
    outputs: Mapping[str, Any] | None = None  # of the signature, where it is known


@dataclass(frozen=True)
class Classify:
    """Runs a signature on examples; the answer is a Classification."""

    spec: Spec
    signature: str
    input: Any


@dataclass(frozen=True)
class Regress:
    """Runs a signature on examples; the answer is float32 [examples]."""

    spec: Spec
    signature: str
    input: Any


@dataclass(frozen=True)
class MultiInference:
    """Runs several signatures on the same examples; the answer is signature to its own answer."""

    spec: Spec
    methods: Mapping[str, str]
    input: Any


@dataclass(frozen=True)
class Metadata:
    """The answer is the SignatureDefs by name."""

    spec: Spec


@dataclass(frozen=True)
class Status:
    """The answer is version to State."""

    spec: Spec


@dataclass(frozen=True)
class Reload:
    """Replaces the server's configuration; there is no answer."""

    config: Any


@dataclass(frozen=True)
class Pause:
    """Asks nothing for some seconds."""

    seconds: float


def classification(result: Any) -> Classification:
    """Reads a ClassificationResult.

    Raises:
        ValueError: If examples differ in their number of classes.
    """
    return classes([[(one.label, one.score) for one in row.classes] for row in result.classifications])


def classes(rows: Sequence[Sequence[tuple[str, float]]]) -> Classification:
    """Turns (label, score) pairs for each example into arrays.

    Raises:
        ValueError: If examples differ in their number of classes.
    """
    if len({len(row) for row in rows}) > 1:
        raise ValueError("its examples differ in their number of classes")
    shape = (len(rows), len(rows[0]) if rows else 0)
    labels = np.empty(shape, dtype=object)
    labels[:] = [[label for label, _ in row] for row in rows]
    scores = np.array([[score for _, score in row] for row in rows], dtype=np.float32).reshape(shape)
    return Classification(labels=labels, scores=scores)


def states(response: Any) -> dict[int, State]:
    """Reads a GetModelStatusResponse."""
    found = {}
    for item in response.model_version_status:
        names = item.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number
        state = names[item.state].name if item.state in names else str(item.state)
        failed = item.status.error_code != 0
        reason = " ".join(item.status.error_message.split()) or f"error {item.status.error_code}"
        found[item.version] = State(state, reason if failed else "")
    return found
