"""How often each class occurs, gathered while rows stream by; a label costs four bytes a row."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from kerasft.data.schema import Field


class Tally:
    """Counts the classes of one field.

    Args:
        field: A label, labels, tags or spans field.
    """

    def __init__(self, field: Field) -> None:
        self._field = field
        self._numbers: dict[str, int] = {}
        self._codes = array("i")
        self._counts: Counter[str] = Counter()

    def add(self, value: Any) -> None:
        if self._field.kind == "label":
            self._codes.append(self._numbers.setdefault(value, len(self._numbers)))
        else:
            self._counts.update(class_items(self._field, value))

    def counts(self) -> dict[str, int]:
        if self._field.kind == "label":
            codes, classes = self.codes()
            return dict(zip(classes, np.bincount(codes, minlength=len(classes)).tolist(), strict=True))
        return {name: self._counts[name] for name in self._classes(self._counts)}

    def codes(self) -> tuple[np.ndarray, tuple[str, ...]]:
        classes = self._classes(self._numbers)
        place = {name: number for number, name in enumerate(classes)}
        table = np.array([place[name] for name in self._numbers], np.int32)
        return table[np.frombuffer(self._codes, np.int32)], classes

    def is_mixed(self) -> bool:
        """Whether some classes are whole numbers and some are not, which is mostly a mistake."""
        names = self._numbers or self._counts
        numbers = sum(is_integer(name) for name in names)
        return self._field.classes is None and 0 < numbers < len(names)

    def _classes(self, names: Iterable[str]) -> tuple[str, ...]:
        return self._field.classes if self._field.classes is not None else tuple(sorted_classes(names))


def class_items(field: Field, value: Any) -> Iterable[str]:
    """The classes in one value of a field."""
    if field.kind == "label":
        return (value,)
    return [kind for _, _, kind in value] if field.kind == "spans" else value


def sorted_classes(names: Iterable[str]) -> list[str]:
    """Sorts classes; whole numbers as numbers when all are.

    Example:
        >>> sorted_classes(["10", "9"]), sorted_classes(["10", "9", "a"])
        (['9', '10'], ['10', '9', 'a'])
    """
    names = sorted(names)
    return sorted(names, key=int) if all(map(is_integer, names)) else names


def is_integer(name: str) -> bool:
    """Whether a class is written as a whole number."""
    return name.removeprefix("-").isdecimal()
