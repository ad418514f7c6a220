"""Low-rank adapters: train a small pair of matrices beside each kernel instead of the kernel."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np

from kerasft import _compat
from kerasft.errors import ConfigError

_ADAPTABLE = (keras.layers.Dense, keras.layers.EinsumDense)


@dataclasses.dataclass(frozen=True)
class LoRA:
    """A freeze policy: everything is frozen but low-rank adapters, the biases beside them, and the head.

    Of several models, those with a target train adapters only, without a head, and the others all of theirs.

    Source: Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models".

    Args:
        rank: Rank of the update of each kernel.
        alpha: The update is scaled by alpha / rank; None means alpha = rank.
        targets: Pattern searched for in layer paths, for example "query|value"; None takes every Dense and
            EinsumDense outside the head.

    Example:
        >>> LoRA(rank=4, targets="query|value").rank
        4
    """

    rank: int = 8
    alpha: float | None = None
    targets: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.rank, int) or self.rank < 1:
            raise ConfigError(f"LoRA: rank must be a whole number of at least 1, not {self.rank!r}.")
        if not isinstance(self.targets, (str, type(None))):
            raise ConfigError(
                f'LoRA: targets must be one pattern, such as "query|value", not {self.targets!r}.'
            )
        if self.targets is not None:
            try:
                re.compile(self.targets)
            except re.error as error:
                raise ConfigError(
                    f"LoRA: targets {self.targets!r} is not a valid pattern ({error})."
                ) from None

    def enable(self, layers: Iterable[keras.Layer], *, seed: int) -> None:
        """Adds adapters, drawn by `seed`, to the targets among `layers` and the layers below them."""
        inside = [inner for layer in layers for inner in _compat.flatten_layers(layer)]
        adaptable = [layer for layer in dict.fromkeys(inside) if isinstance(layer, _ADAPTABLE)]
        chosen = [layer for layer in adaptable if self.targets is None or re.search(self.targets, layer.path)]
        if not chosen:
            examples = ", ".join(layer.path for layer in adaptable[:3]) or "none at all"
            raise ConfigError(
                f"LoRA: no Dense or EinsumDense below the head matches {self.targets!r}; "
                f"there are {examples}."
            )
        seeds = np.random.default_rng(seed).integers(1 << 31, size=len(chosen)).tolist()
        for layer, own in zip(chosen, seeds, strict=True):
            _compat.enable_lora(layer, self.rank, self.alpha, seed=own)

    def trains(self, layer: keras.Layer, variable: keras.Variable) -> bool:
        """Whether `variable` of `layer` is moved: adapters, and the bias beside them."""
        return is_adapted(layer) and variable is not _compat.frozen_kernel(layer)

    def get_config(self) -> dict[str, object]:
        """Returns the constructor's arguments."""
        return dataclasses.asdict(self)


def is_adapted(layer: keras.Layer) -> bool:
    """Whether a layer carries an adapter."""
    return bool(getattr(layer, "lora_enabled", False))


@contextlib.contextmanager
def merged(models: Sequence[keras.Model]) -> Iterator[None]:
    """Adds every adapter into its kernel inside the context, so that a plain model is traced there."""
    adapted = [layer for model in models for layer in _compat.flatten_layers(model) if is_adapted(layer)]
    base = [keras.ops.convert_to_numpy(_compat.frozen_kernel(layer)) for layer in adapted]
    full = [keras.ops.convert_to_numpy(layer.kernel) for layer in adapted]
    try:
        for layer, kernel in zip(adapted, full, strict=True):
            _compat.frozen_kernel(layer).assign(kernel)
            layer.lora_enabled = False
        yield
    finally:
        for layer, kernel in zip(adapted, base, strict=True):
            _compat.frozen_kernel(layer).assign(kernel)
            layer.lora_enabled = True
