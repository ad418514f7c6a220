"""How a check ends, and how an author's exception becomes one sentence with a place."""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

import kerasft
from kerasft.errors import KerasftError, SeveralModelsError
from kerasft.task import Task

_CORE = Path(kerasft.__file__).parent
_LONGEST = 300
_PYTHON_ON_TENSORS = re.compile(r"symbolic|SymbolicTensor|has no attribute 'numpy'|not allowed in Graph")


class Failed(Exception):
    """A check failed; the message is one sentence that tells the author what to do."""


class Skipped(Exception):
    """A check does not apply; the message says why."""


def require(condition: bool, sentence: str) -> None:
    """Fails the running check with `sentence` unless `condition` holds.

    Raises:
        Failed: It does not hold.
    """
    if not condition:
        raise Failed(sentence)


@contextlib.contextmanager
def doing(what: str, task_class: type[Task], *, advice: str = "") -> Iterator[None]:
    """Turns any exception inside into a failed check.

    Args:
        what: What fails then, for example "preprocess() on 4 rows".
        task_class: The author's class, to find the place in the author's file.
        advice: What to do, when nothing better can be told from the exception.

    Raises:
        Failed: Something was raised inside.
        Skipped: The task does not have what the check needs, because it has several models.
    """
    try:
        yield
    except (Failed, Skipped):
        raise
    except Exception as error:
        if isinstance(error, SeveralModelsError):
            raise Skipped("the task has several models and brings no such method of its own") from error
        hint = advice
        if _PYTHON_ON_TENSORS.search(str(error)):
            hint = "use TensorFlow ops only: Python and NumPy cannot look into the tensors of a graph"
        raise Failed(
            f"{what} failed: {explain(error, task_class)}" + (f"; {hint}" if hint else "")
        ) from error


def explain(error: Exception, task_class: type[Task]) -> str:
    """Returns an exception as one line, with the place in the author's code where it came from."""
    message = summary(error)
    text = message if isinstance(error, KerasftError) else f"{type(error).__name__}: {message}"
    place = _place(error, task_class)
    return f"{text.rstrip('.')}{f' ({place})' if place else ''}"


def summary(error: Exception) -> str:
    """Returns the message of an exception as one line, without TensorFlow's graph traces.

    Example:
        >>> summary(ValueError("two\\nlines"))
        'two lines'
    """
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    if isinstance(error, tf.errors.OpError):
        text = text.split("\n\n")[-1] if "Detected at node" in text else text
        text = re.sub(r"\{\{.*?\}\}|\[Op:.*?\]|\[\[.*?\]\]|^Graph execution error:", "", text)
    text = " ".join(text.split()) or "no message"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _place(error: BaseException, task_class: type[Task]) -> str:
    roots = {_root(cls) for cls in task_class.__mro__ if issubclass(cls, Task) and cls is not Task}
    found = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if any(root is not None and (path == root or root in path.parents) for root in roots):
            found = f"{path.name}:{frame.lineno} in {frame.name}"
    return found


def _root(cls: type) -> Path | None:
    """The package that a class belongs to, or the file if it is in none; None within kerasft itself."""
    package = sys.modules.get(cls.__module__.partition(".")[0])
    folder = getattr(package, "__file__", None) if hasattr(package, "__path__") else None
    try:
        path = Path(folder).parent if folder else Path(inspect.getfile(cls))
    except (OSError, TypeError):
        return None
    return None if path == _CORE else path
