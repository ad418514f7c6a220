"""Keras callbacks under the loop: which read the logs of batches, and what they know after a resume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kerasft.errors import ConfigError


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


class CallbackStates:
    """Saves and restores what callbacks count: numbers and lists of arrays (patience left, best weights).

    Callbacks are matched by class and order. A setting that the caller changed between two halves of a
    training (a longer patience) keeps its new value.

    Args:
        callbacks: As constructed, before training resets or changes them.
    """

    def __init__(self, callbacks: Iterable[keras.callbacks.Callback]) -> None:
        self._callbacks: dict[str, keras.callbacks.Callback] = {}
        for callback in callbacks:
            kind = type(callback).__name__
            same = sum(name.startswith(f"{kind}:") for name in self._callbacks)
            self._callbacks[f"{kind}:{same}"] = callback
        self._fresh = {name: _numbers(callback) for name, callback in self._callbacks.items()}

    def save(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns a JSON-able state and arrays by name."""
        state: dict[str, Any] = {}
        arrays: dict[str, np.ndarray] = {}
        for name, callback in self._callbacks.items():
            state[name] = {"fresh": self._fresh[name], "now": _numbers(callback)}
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


def _numbers(callback: keras.callbacks.Callback) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for name, value in vars(callback).items():
        plain = value.item() if isinstance(value, np.generic) else value
        if plain is None or isinstance(plain, (bool, int, float)):
            numbers[name] = plain
    return numbers


def _is_list_of_arrays(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, np.ndarray) for part in value)


def _grouped(arrays: Mapping[str, np.ndarray], prefix: str) -> Iterator[tuple[str, list[np.ndarray]]]:
    names = [name.removeprefix(prefix).rsplit("/", 1) for name in arrays if name.startswith(prefix)]
    for attribute in dict.fromkeys(attribute for attribute, _ in names):
        count = sum(other == attribute for other, _ in names)
        yield attribute, [arrays[f"{prefix}{attribute}/{i}"] for i in range(count)]
