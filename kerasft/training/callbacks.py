"""Keras callbacks under the loop: which read the logs of batches, and what they know after a resume."""

from __future__ import annotations

import warnings
from collections.abc import (
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
)
from typing import Any

import keras
import numpy as np

from kerasft import _compat
from kerasft.errors import ConfigError

# What Keras gives every callback: whose it is, and for how long.
_OF_EVERY_CALLBACK = frozenset(vars(keras.callbacks.Callback()))

_RATE_SETTERS = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def flatten(callbacks: Any) -> list[keras.callbacks.Callback]:
    """Returns callbacks as one list: `fit` takes a single one and nested lists too.

    Raises:
        ConfigError: something among them is no callback.
    """
    flat = [callback for callback in keras.tree.flatten(callbacks) if callback is not None]
    for callback in flat:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ConfigError(f"callbacks: {callback!r} is not a keras.callbacks.Callback.")
    return flat


def reads_batches(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback looks at the logs of single batches, which cost a transfer from the device each."""
    if isinstance(callback, (keras.callbacks.TensorBoard, keras.callbacks.ModelCheckpoint)):
        # Both overload the hook, but look at the logs only when they act more often than once an epoch.
        return getattr(callback, "update_freq", getattr(callback, "save_freq", None)) != "epoch"
    hooks = {name: getattr(keras.callbacks.Callback, name) for name in ("on_train_batch_end", "on_batch_end")}
    return any(getattr(getattr(callback, name), "__func__", None) is not hook for name, hook in hooks.items())


def check_rate(callbacks: Iterable[keras.callbacks.Callback], optimizer: keras.optimizers.Optimizer) -> None:
    """Refuses callbacks that set the learning rate of an optimizer that takes it from a schedule.

    Raises:
        ConfigError: there is one.
    """
    for callback in callbacks:
        if isinstance(callback, _RATE_SETTERS) and _compat.rate_schedule(optimizer) is not None:
            raise ConfigError(
                f"callbacks: {type(callback).__name__} sets the learning rate, but here a schedule does: "
                "leave the callback out, or pass schedule='constant', warmup=0 and a number as learning_rate."
            )


def align(history: keras.callbacks.History, known: Collection[str]) -> None:
    """Gives every column of a history one value for each epoch, None where nothing was measured.

    Args:
        history: Was aligned before the latest epoch.
        known: The columns that it had then.

    Example:
        >>> history = keras.callbacks.History()
        >>> history.epoch, history.history = [0, 1], {"loss": [0.5, 0.4], "val_loss": [0.6], "rate": [1.0]}
        >>> align(history, {"loss", "rate"})
        >>> history.history
        {'loss': [0.5, 0.4], 'val_loss': [None, 0.6], 'rate': [1.0, None]}
    """
    for name, column in history.history.items():
        missing = [None] * (len(history.epoch) - len(column))
        history.history[name] = [*column, *missing] if name in known else [*missing, *column]


class Board(keras.callbacks.TensorBoard):
    """Keras's TensorBoard, for logs in which other callbacks left more than numbers."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Writes the numbers among the logs."""
        super().on_epoch_end(epoch, _scalars(logs or {}))

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Writes the numbers among the logs."""
        super().on_test_end(_scalars(logs or {}))


def _scalars(logs: Mapping[str, Any]) -> dict[str, Any]:
    arrays = {name: np.asarray(value) for name, value in logs.items()}
    return {
        name: logs[name] for name, array in arrays.items() if array.size == 1 and array.dtype.kind in "biufV"
    }


class CallbackStates:
    """Saves and restores what callbacks remember: plain values, and lists of arrays such as the best weights.

    Plain values are what JSON keeps as it is: numbers, texts, and lists and dicts of them; of Keras's own
    callbacks, whose state is in numbers, only these. Callbacks are matched by class and order. A setting
    that the caller changed between two halves of a training (a longer patience) keeps its new value.

    Args:
        callbacks: As constructed, before training resets or changes them.
    """

    def __init__(self, callbacks: Iterable[keras.callbacks.Callback]) -> None:
        self._callbacks: dict[str, keras.callbacks.Callback] = {}
        for callback in callbacks:
            kind = type(callback).__name__
            same = sum(name.startswith(f"{kind}:") for name in self._callbacks)
            self._callbacks[f"{kind}:{same}"] = callback
        self._fresh = {name: _plain_values(callback) for name, callback in self._callbacks.items()}
        self._begun: dict[str, dict[str, Any]] = {}

    def began(self) -> None:
        """Notes what the callbacks hold after `on_train_begin`: objects that stay need not be saved."""
        self._begun = {name: dict(vars(callback)) for name, callback in self._callbacks.items()}

    def save(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns a JSON-able state and arrays by name."""
        state: dict[str, Any] = {}
        arrays: dict[str, np.ndarray] = {}
        for name, callback in self._callbacks.items():
            self._warn(name, callback)
            state[name] = {"fresh": self._fresh[name], "now": _plain_values(callback)}
            for attribute, parts in vars(callback).items():
                if _is_list_of_arrays(parts):
                    arrays |= {f"callback/{name}/{attribute}/{i}": part for i, part in enumerate(parts)}
        return state, arrays

    def restore(self, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Gives the callbacks what `save` returned."""
        for name in self._callbacks.keys() & state.keys():
            callback, fresh = self._callbacks[name], self._fresh[name]
            for attribute, value in state[name]["now"].items():
                if attribute in fresh and fresh[attribute] != state[name]["fresh"].get(attribute):
                    continue
                setattr(callback, attribute, value)
            for attribute, parts in _grouped(arrays, f"callback/{name}/"):
                setattr(callback, attribute, parts)

    def _warn(self, name: str, callback: keras.callbacks.Callback) -> None:
        """Says once what of a user's callback would be lost by a resume."""
        begun = self._begun.pop(name, None)
        if begun is None or _is_builtin(callback):
            return
        lost = [
            attribute
            for attribute, value in _attributes(callback)
            if _plain(value) is _NOT_PLAIN
            and not _is_list_of_arrays(value)
            and not callable(value)
            and (value is not begun.get(attribute) or isinstance(value, _CHANGEABLE))
        ]
        if lost:
            warnings.warn(
                f"The callback {type(callback).__name__} remembers {', '.join(lost)}, which cannot be saved: "
                "a resumed run will not know it; keep numbers, texts, and lists and dicts of them there.",
                stacklevel=2,
            )


_NOT_PLAIN = object()
_CHANGEABLE = (MutableSequence, MutableMapping, MutableSet, np.ndarray)


def _is_builtin(callback: keras.callbacks.Callback) -> bool:
    return type(callback).__module__.partition(".")[0] in ("keras", "kerasft")


def _attributes(callback: keras.callbacks.Callback) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in vars(callback).items() if name not in _OF_EVERY_CALLBACK)


def _plain_values(callback: keras.callbacks.Callback) -> dict[str, Any]:
    values = {name: _plain(value) for name, value in _attributes(callback)}
    kinds = (bool, int, float, type(None)) if _is_builtin(callback) else (object,)
    return {
        name: value for name, value in values.items() if value is not _NOT_PLAIN and isinstance(value, kinds)
    }


def _plain(value: Any) -> Any:
    """Returns a copy of a value that JSON keeps as it is, numpy's numbers as Python's; else `_NOT_PLAIN`."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        parts = [_plain(part) for part in value]
        return _NOT_PLAIN if any(part is _NOT_PLAIN for part in parts) else parts
    if type(value) is dict and all(type(key) is str for key in value):
        items = {key: _plain(part) for key, part in value.items()}
        return _NOT_PLAIN if any(part is _NOT_PLAIN for part in items.values()) else items
    return _NOT_PLAIN


def _is_list_of_arrays(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, np.ndarray) for part in value)


def _grouped(arrays: Mapping[str, np.ndarray], prefix: str) -> Iterator[tuple[str, list[np.ndarray]]]:
    names = [name.removeprefix(prefix).rsplit("/", 1) for name in arrays if name.startswith(prefix)]
    for attribute in dict.fromkeys(attribute for attribute, _ in names):
        count = sum(other == attribute for other, _ in names)
        yield attribute, [arrays[f"{prefix}{attribute}/{i}"] for i in range(count)]
