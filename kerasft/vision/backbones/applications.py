"""Backbones of `keras.applications` by name."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import keras

from kerasft.errors import ConfigError, PretrainedError
from kerasft.vision.backbones.base import Backbone

_OWN_SCALING = "MobileNetV3"


@functools.cache
def names() -> tuple[str, ...]:
    """Returns the names of all of them, in lower case."""
    return tuple(sorted(name.lower() for name in _builders()))


@functools.cache
def _builders() -> dict[str, Callable[..., keras.Model]]:
    found = {name: getattr(keras.applications, name) for name in dir(keras.applications)}
    return {name: value for name, value in found.items() if callable(value) and not isinstance(value, type)}


def name_of(name: str) -> str | None:
    """Returns the name that Keras gives a backbone, whatever the case; None if it has no such one.

    Example:
        >>> name_of("resnet50v2")
        'ResNet50V2'
    """
    return next((known for known in _builders() if known.lower() == name.lower()), None)


def build(name: str, *, side: int) -> Backbone:
    """Builds a backbone; its way to scale pixels is part of it.

    Args:
        name: In any case.
        side: Of the pictures.

    Raises:
        ConfigError: There is no such backbone, or the pictures are too small for it.

    Example:
        >>> build("mobilenetv2", side=64).model.output.shape
        (None, 2, 2, 1280)
    """
    known = name_of(name)
    if known is None:
        raise ConfigError(f"backbone: keras.applications has no {name!r}; it has {', '.join(names())}.")
    make = _builders()[known]
    image = keras.Input((side, side, 3), name="image")
    try:
        model = make(include_top=False, weights=None, input_tensor=_scaled(known, image), name="backbone")
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"backbone: {known} takes no pictures of {side} x {side} ({reason}); raise size or network.scale."
        ) from error

    def load() -> None:
        try:
            model.set_weights(make(include_top=False, input_shape=(side, side, 3)).get_weights())
        except Exception as error:  # the download raises its own
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise PretrainedError(
                f"the ImageNet weights of {known} are neither cached nor could they be downloaded ({first}); "
                "check the network, or start from random weights with network.pretrained=false"
            ) from error

    return Backbone.of(model, load)


def _scaled(known: str, image: Any) -> Any:
    """Does to pixels what the weights expect; Keras has it in the module of each family."""
    if known.startswith(_OWN_SCALING):
        return image
    modules = [part for part in vars(keras.applications).values() if isinstance(part, types.ModuleType)]
    module = next(part for part in modules if hasattr(part, known) and hasattr(part, "preprocess_input"))
    return module.preprocess_input(image)
