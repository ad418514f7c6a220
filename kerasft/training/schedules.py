"""What changes over training as pure functions: which groups are released when, and each group's rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeGuard

from kerasft.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layerwise:
    """Discriminative learning rates: the head learns fastest, each group below it slower.

    The optimizer's *step* is scaled, not the gradient (which Adam would normalise away), so weight decay
    scales with it. Source: Howard and Ruder, 2018, "Universal Language Model Fine-tuning".

    Args:
        learning_rate: Rate of the group nearest the output.
        decay: Factor from one group to the one below it, in (0, 1].
        factors: Factor by group name; wins over `decay`.

    Example:
        >>> Layerwise(learning_rate=1e-3, decay=0.5).factor_of(["embeddings", "block", "head"])
        {'embeddings': 0.25, 'block': 0.5, 'head': 1.0}
    """

    marker: ClassVar[str] = "layerwise"

    learning_rate: float
    decay: float = 1.0
    factors: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ConfigError(f"Layerwise: learning_rate must be positive, not {self.learning_rate!r}.")
        if not 0 < self.decay <= 1:
            raise ConfigError(f"Layerwise: decay must be in (0, 1], not {self.decay!r}.")

    def factor_of(self, groups: Sequence[str]) -> dict[str, float]:
        """Returns the rate factor of each group, `groups` being ordered from input to head."""
        unknown = sorted(set(self.factors) - set(groups))
        if unknown:
            raise ConfigError(
                f"Layerwise: no layer group named {unknown[0]!r}; the groups are {', '.join(groups)}."
            )
        top = len(groups) - 1
        return {name: float(self.factors.get(name, self.decay ** (top - i))) for i, name in enumerate(groups)}

    def get_config(self) -> dict[str, Any]:
        """Returns a JSON-able form that `from_config` reads."""
        return {
            self.marker: {
                "learning_rate": self.learning_rate,
                "decay": self.decay,
                "factors": dict(self.factors),
            }
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layerwise:
        """Rebuilds from `get_config`; numbers may be text, as YAML reads 1e-3.

        Raises:
            ConfigError: a wrong key or value.
        """
        values = config[cls.marker]
        try:
            numbers = {key: float(values[key]) for key in values if key != "factors"}
            factors = {group: float(factor) for group, factor in values.get("factors", {}).items()}
            return cls(**numbers, factors=factors)
        except (TypeError, AttributeError) as error:
            raise ConfigError(
                f"Layerwise: {values!r} should have learning_rate, decay and factors ({error})."
            ) from None
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"Layerwise: {error}.") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gradual:
    """Gradual unfreezing: every `every` epochs the frozen group nearest the output is released.

    Source: Howard and Ruder, 2018, "Universal Language Model Fine-tuning".

    Example:
        >>> Gradual(every=2).released(epoch=3, frozen=["embeddings", "block_0", "block_1"])
        ('block_1',)
    """

    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"Gradual: every must be at least 1 epoch, not {self.every!r}.")

    def released(self, *, epoch: int, frozen: Sequence[str]) -> tuple[str, ...]:
        """Returns which of the `frozen` groups (input to head) train in `epoch` (counted from 0)."""
        count = min(epoch // self.every, len(frozen))
        return tuple(frozen[len(frozen) - count :])

    def __str__(self) -> str:
        return f"gradual:{self.every}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Milestones:
    """Unfreezing at given epochs: which of the frozen groups train from then on.

    Args:
        at: Epoch (from 0) to a number of groups, counted from the head, the names of groups in a list, or
            "all".

    Raises:
        ConfigError: an epoch or what it maps to is something else.

    Example:
        >>> Milestones(at={1: 1, 3: "all"}).released(epoch=3, frozen=["embeddings", "block"])
        ('embeddings', 'block')
        >>> Milestones(at={2: ["items"]}).released(epoch=2, frozen=["users", "items", "tower"])
        ('items',)
    """

    at: Mapping[int, int | str | Sequence[str]]

    def __post_init__(self) -> None:
        for epoch, wanted in self.at.items():
            if epoch < 0 or not (wanted == "all" or _is_count(wanted) or _are_names(wanted)):
                raise ConfigError(
                    f"Milestones: epoch {epoch!r} maps to {wanted!r}; give an epoch from 0 and a number of "
                    "groups, a list of their names or 'all'."
                )

    def released(self, *, epoch: int, frozen: Sequence[str]) -> tuple[str, ...]:
        """Returns which of the `frozen` groups (input to head) train in `epoch` (counted from 0).

        Raises:
            ConfigError: a group that `at` names is not among them.
        """
        named = [name for wanted in self.at.values() if _are_names(wanted) for name in wanted]
        unknown = [name for name in named if name not in frozen]
        if unknown:
            raise ConfigError(
                f"Milestones: {unknown[0]!r} is no frozen layer group; those are "
                f"{', '.join(frozen) or 'none'}."
            )
        reached = [self.at[start] for start in sorted(self.at) if start <= epoch]
        wanted = reached[-1] if reached else 0
        if _are_names(wanted):
            return tuple(name for name in frozen if name in wanted)
        count = min(wanted, len(frozen)) if isinstance(wanted, int) else len(frozen)
        return tuple(frozen[len(frozen) - count :])

    def __str__(self) -> str:
        parts = {epoch: "+".join(what) if _are_names(what) else what for epoch, what in self.at.items()}
        return "milestones:" + ",".join(f"{epoch}={parts[epoch]}" for epoch in sorted(parts))


def _is_count(wanted: Any) -> bool:
    return isinstance(wanted, int) and wanted >= 0


def _are_names(wanted: Any) -> TypeGuard[Sequence[str]]:
    return isinstance(wanted, (list, tuple)) and all(isinstance(name, str) and name for name in wanted)


def _milestone(text: str) -> int | str | list[str]:
    if text == "all" or text.isdecimal():
        return text if text == "all" else int(text)
    names = text.split("+")
    if not all(names):
        raise ValueError(text)
    return names


Unfreeze = Gradual | Milestones


def parse_unfreeze(text: str | Unfreeze | None) -> Unfreeze | None:
    """Reads "gradual:EVERY" or "milestones:EPOCH=GROUPS,...": how many, names joined by "+", or "all".

    Raises:
        ConfigError: for any other text.

    Example:
        >>> parse_unfreeze("milestones:1=1,3=all").at
        {1: 1, 3: 'all'}
        >>> str(parse_unfreeze("milestones:2=items+users"))
        'milestones:2=items+users'
    """
    if text is None or isinstance(text, (Gradual, Milestones)):
        return text
    kind, _, rest = str(text).partition(":")
    try:
        if kind == "gradual":
            return Gradual(every=int(rest or 1))
        if kind == "milestones":
            pairs = [part.split("=") for part in rest.split(",")]
            return Milestones(at={int(epoch): _milestone(what) for epoch, what in pairs})
    except ConfigError:
        raise
    except ValueError:
        pass
    raise ConfigError(f"unfreeze: {text!r} is neither 'gradual:EPOCHS' nor 'milestones:EPOCH=GROUPS,...'.")


def serialize(value: Any) -> Any:
    """Returns a JSON-able form of a config value that may be a Layerwise or a Keras object."""
    if isinstance(value, Layerwise):
        return value.get_config()
    if hasattr(value, "get_config"):
        from keras.saving import serialize_keras_object

        return serialize_keras_object(value)
    return value
