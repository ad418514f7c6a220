"""From what a file or an array holds to the one form that the rest of the framework sees."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kerasft.data.schema import Field

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_FEW_CLASSES = 8


class _Missing:
    """Stands for a value that the row does not have."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()


class BadValue(Exception):
    """A value cannot be used; whoever catches this knows the file and the line."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def class_name(value: Any) -> str:
    """Returns the name of a class as every source spells it: a stripped `str`, whole numbers without a point.

    Raises:
        BadValue: The value is missing, empty, a fraction, or no single value.

    Example:
        >>> class_name(1), class_name(2.0), class_name(" good "), class_name(True)
        ('1', '2', 'good', 'True')
    """
    if type(value) is str:
        name = value.strip()
        if name and (name.isascii() or check_encodes(name)):
            return name
    elif isinstance(value, (bool, int, np.integer, np.bool_)):
        return str(value)
    elif isinstance(value, (float, np.floating)):
        if float(value).is_integer():
            return str(int(value))
        if not math.isnan(value):
            raise BadValue(
                f"holds {value}, but a class is a word or a whole number",
                "name the classes, or treat the column as a number (regression)",
            )
    elif isinstance(value, np.ndarray) and value.ndim == 0:
        return class_name(value.item())
    name = as_string(value, "a class is one word or whole number").strip()
    if not name:
        raise BadValue("is empty", "give the row a label")
    return name


def show(value: Any, limit: int = 60) -> str:
    """A value as an error quotes it: `repr`, cut when long."""
    text = repr(value) if not isinstance(value, np.ndarray) else f"an array of shape {value.shape}"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, or a column that the row lacks."""
    if isinstance(value, (float, np.floating)):
        return math.isnan(value)
    return value is None or value is MISSING


def check_encodes(text: str) -> bool:
    """Raises for half a character (a lone surrogate), which no UTF-8 can hold; else returns True."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadValue(
            f"holds half a character ({text[error.start]!r} at position {error.start})",
            "write the file again as UTF-8",
        ) from None
    return True


def as_string(value: Any, expected: str) -> str:
    """Reads a string, or bytes in UTF-8; `expected` tells a person what should have been there."""
    if isinstance(value, str):
        text = str(value)
        return text if text.isascii() or check_encodes(text) else ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise BadValue(
                f"holds broken UTF-8 (byte 0x{value[error.start]:02x} at position {error.start})",
                "encode the strings as UTF-8",
            ) from None
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return as_string(value.item(), expected)
    if is_missing(value):
        raise BadValue("has no value" if value is not MISSING else "is missing", "fill it in")
    raise BadValue(f"holds {show(value)} ({type(value).__name__}), but {expected}", "correct the value")


def read_text(value: Any) -> str:
    """Reads a text that is not blank."""
    if type(value) is not str:
        value = as_string(value, "a text is a string")
    if not value or value.isspace():
        raise BadValue("is empty", "fill it in")
    if not value.isascii():
        check_encodes(value)
    return str(value)


def read_id(value: Any) -> str:
    """Reads a name of something; whole numbers count as names."""
    try:
        return class_name(value)
    except BadValue as error:
        raise BadValue(error.problem.replace("a class is", "an id is"), "give the row an id") from None


def read_bytes(value: Any) -> bytes:
    """Reads the content of a file."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if is_missing(value):
        raise BadValue("has no value" if value is not MISSING else "is missing", "fill it in")
    if not isinstance(value, bytes):
        raise BadValue(
            f"holds {show(value)} ({type(value).__name__}), but the bytes of a file are expected",
            "read the file",
        )
    if not value:
        raise BadValue("is empty", "give the content of a file")
    return bytes(value)


def read_any(value: Any) -> Any:
    """Takes any value but a missing one."""
    if is_missing(value):
        raise BadValue("has no value", "fill it in")
    return value


def class_reader(field: Field) -> Callable[[Any], str]:
    """Returns what reads one class of a field; of known classes it refuses others, naming a near one."""
    if field.classes is None:
        return class_name
    classes = field.classes
    known = frozenset(classes)

    def read(value: Any) -> str:
        name = class_name(value)
        if name in known:
            return name
        near = difflib.get_close_matches(name, classes, n=1, cutoff=0.6)
        if near:
            hint = f"did you mean {near[0]!r}?"
        else:
            rest = len(classes) - _FEW_CLASSES
            hint = ", ".join(classes[:_FEW_CLASSES]) + (f" and {rest} more" if rest > 0 else "")
        raise BadValue(
            f"holds {show(name)}, which is not one of the {len(classes)} classes ({hint})",
            "correct the label or add the class",
        )

    return read


def read_integer(value: Any) -> int:
    """Reads a whole number of at most 64 bits."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if is_missing(value):
        raise BadValue("has no value" if value is not MISSING else "is missing", "fill it in")
    if isinstance(value, (str, bytes)):
        text = as_string(value, "a whole number").strip()
        try:
            number = int(text) if "_" not in text else None
        except ValueError:
            number = None
    elif isinstance(value, (bool, np.bool_)):
        number = None
    elif isinstance(value, (int, np.integer)):
        number = int(value)
    else:
        whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
        number = int(value) if whole else None
    if number is None or not -(2**63) <= number < 2**63:
        raise BadValue(f"holds {show(value)}, which is not a whole number of 64 bits", "correct the value")
    return number


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read_boolean(value: Any) -> bool:
    """Reads true or false, in words too.

    Example:
        >>> read_boolean("yes"), read_boolean(0)
        (True, False)
    """
    if is_missing(value):
        raise BadValue("has no value" if value is not MISSING else "is missing", "fill it in")
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    found = _BOOLEANS.get(text.strip().lower())
    if found is None:
        raise BadValue(f"holds {show(value)}, which is neither true nor false", "correct the value")
    return found


def read_number(value: Any) -> float:
    """Reads a finite number that fits into float32."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (str, bytes)):
        text = as_string(value, "a number").strip()
        if not text:
            raise BadValue("is empty", "fill it in")
        try:
            number = float(text) if "_" not in text else math.inf
        except ValueError:
            raise BadValue(f"holds {show(text)}, which is not a number", "correct the value") from None
    elif isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        if is_missing(value):
            raise BadValue("has no value", "fill it in")
        number = float(value)
    else:
        number = float(as_string(value, "a number is expected"))
    if not abs(number) <= _FLOAT32_MAX:
        raise BadValue(f"holds {show(value)}, which is not a finite float32 number", "correct the value")
    return number
