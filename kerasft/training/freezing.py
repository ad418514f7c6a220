"""Which weights train: layer groups and freeze policies."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras

from kerasft import _compat
from kerasft._suggest import suggestion
from kerasft.errors import ConfigError
from kerasft.training.adapters import LoRA, is_adapted
from kerasft.training.freezereport import FreezeReport, GroupRow
from kerasft.training.schedules import Layerwise, Unfreeze

Policy = str | int | LoRA | Callable[[keras.Layer], bool] | Sequence[Any]

_NORMALIZATION = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
)

_ONLY = "only:"
_UNDECAYED = ("bias", "beta", "gamma", "scale")


@dataclasses.dataclass(frozen=True)
class _Owner:
    """A layer with weights of its own; `moves` says whether an optimizer may move these.

    Of a layer without any such weight (normalisation without scale and offset) `weights` are its statistics:
    they say whether the layer is frozen.
    """

    model: str
    group: str
    layer: keras.Layer
    weights: tuple[keras.Variable, ...]
    moves: bool


class Freezing:
    """Knows the layer groups of a task's models and which of their variables are frozen.

    Frozen sets are sets of `id(variable)`; what is frozen in an epoch is a pure function of the policy, the
    unfreezing schedule and the epoch, so a resumed run cannot disagree with itself.

    Args:
        models: Name to model.
        groups: Group name to layers, ordered from input to head; every layer with weights in exactly one.
        seed: Draws the initial weights of adapters.

    Attributes:
        policy: What `freeze` was called with last, or None.
        lora: The adapters that the models have, or None.
        frozen: Ids of the frozen variables.

    Raises:
        ConfigError: a layer with weights is in no group or in two, or `groups` is something else.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, keras.Model],
        groups: Mapping[str, Sequence[keras.Layer]],
        seed: int = 0,
    ) -> None:
        if not groups:
            raise ConfigError(
                "layer_groups() returned no group; return at least one, for example {'head': model.layers}."
            )
        _check_groups(groups)
        self.models = dict(models)
        self.groups = {name: list(layers) for name, layers in groups.items()}
        self._seed = seed
        self.policy: Any = None
        self.lora: LoRA | None = None
        self._collect()
        # What the author made untrainable stays so until somebody chooses a policy.
        self.frozen = frozenset(
            id(weight)
            for owner in self._owners
            for weight in owner.weights
            if not owner.layer.trainable or (owner.moves and not weight.trainable)
        )

    def _collect(self) -> None:
        group_of: dict[int, str] = {}
        for group, layers in self.groups.items():
            for layer in layers:
                for inner in _compat.flatten_layers(layer):
                    if _compat.own_variables(inner) and group_of.setdefault(id(inner), group) != group:
                        raise ConfigError(
                            f"Layer {inner.path!r} is in the layer groups {group_of[id(inner)]!r} and "
                            f"{group!r}; put it into one of them."
                        )
        owners: list[_Owner] = []
        seen: set[int] = set()
        for name, model in self.models.items():
            for layer in _compat.flatten_layers(model):
                moving = _compat.own_trainable_variables(layer)
                weights = [w for w in moving or _compat.own_variables(layer) if id(w) not in seen]
                seen.update(id(weight) for weight in weights)
                if not weights:
                    continue
                if id(layer) in group_of:
                    owners.append(_Owner(name, group_of[id(layer)], layer, tuple(weights), bool(moving)))
                elif moving:
                    raise ConfigError(
                        f"Layer {layer.path!r} has weights but is in no layer group; add it to one in "
                        f"layer_groups(), which has {', '.join(self.groups)}."
                    )
        self._owners = owners

    @property
    def heads(self) -> list[str]:
        """The last layer group of each model."""
        order = list(self.groups)
        owners = sorted(self._owners, key=lambda owner: order.index(owner.group))
        last = {owner.model: owner.group for owner in owners}
        return list(dict.fromkeys(last.values()))

    @property
    def variables(self) -> list[keras.Variable]:
        """Everything that training could move, in the order of the models."""
        return [weight for owner in self._owners if owner.moves for weight in owner.weights]

    @property
    def undecayed(self) -> list[keras.Variable]:
        """What weight decay spares: vectors, normalisation layers, and biases and scales of any shape."""
        return [
            weight
            for owner in self._owners
            if owner.moves
            for weight in owner.weights
            if len(weight.shape) <= 1 or weight.name in _UNDECAYED or _is_normalization(owner.layer)
        ]

    def group_of(self) -> dict[int, str]:
        """Returns the group of each variable by its id."""
        return {id(weight): owner.group for owner in self._owners for weight in owner.weights}

    def freeze(self, policy: Policy) -> None:
        """Replaces the frozen set by what `policy` names (see `Task.freeze`)."""
        if isinstance(policy, LoRA):
            if self.lora is not None and policy != self.lora:
                raise ConfigError(
                    f"The model already has adapters {self.lora}; build the task anew to use {policy}."
                )
            heads = self.heads if len(self.models) == 1 else []
            if self.lora is None:
                below = [layer for name in self.groups if name not in heads for layer in self.groups[name]]
                policy.enable(below, seed=self._seed)
                self.lora = policy
                self._collect()
            adapted = {owner.model for owner in self._owners if is_adapted(owner.layer)}
            self.frozen = frozenset(
                id(weight)
                for owner in self._owners
                if owner.model in adapted and owner.group not in heads
                for weight in owner.weights
                if not policy.trains(owner.layer, weight)
            )
        else:
            self.frozen = self._resolve(policy)
        self.policy = policy
        self.apply(self.frozen)

    def restore(self, frozen: Iterable[int], *, policy: Any = None) -> None:
        """Freezes what `positions` named in a model of the same architecture, as `policy` said it once."""
        keys = list(self.group_of())
        self.policy = self.policy if policy is None else policy
        self.frozen = frozenset(keys[i] for i in frozen)
        self.apply(self.frozen)

    def positions(self) -> list[int]:
        """Returns which of the weights are frozen, by their order in the models, for `restore`."""
        return [i for i, key in enumerate(self.group_of()) if key in self.frozen]

    def _resolve(self, policy: Any) -> frozenset[int]:
        names = list(self.groups)
        if isinstance(policy, bool) or policy is None:
            raise ConfigError(
                f"freeze: {policy!r} is not a policy; use 'backbone', 'all', 'none', 'norm', a group or a "
                "number."
            )
        if isinstance(policy, int):
            if not 0 <= policy <= len(names):
                raise ConfigError(
                    f"freeze: {policy} groups from the input were asked for, but there are {len(names)}."
                )
            return self._of_groups(names[:policy])
        if isinstance(policy, (list, tuple, set)):
            return frozenset().union(*(self._resolve(part) for part in policy))
        if callable(policy):
            return self._where(lambda owner: bool(policy(owner.layer)))
        if not isinstance(policy, str):
            raise ConfigError(
                f"freeze: {policy!r} is not a policy; use a name, a group, a pattern, a number or a callable."
            )
        if policy in self.groups:
            return self._of_groups([policy])
        if policy.isdecimal():
            return self._resolve(int(policy))
        if policy in ("none", "all"):
            return self._of_groups(names if policy == "all" else [])
        if policy == "backbone":
            return self._of_groups(set(names) - set(self.heads))
        if policy == "norm":
            return self._where(lambda owner: _is_normalization(owner.layer))
        if policy.startswith(_ONLY):
            return self._all_but(policy.removeprefix(_ONLY))
        return self._matching(policy)

    def _all_but(self, pattern: str) -> frozenset[int]:
        """Freezes what the pattern does not match, in the models where it matches anything."""
        training = self._matching(pattern)
        models = {owner.model for owner in self._owners if any(id(w) in training for w in owner.weights)}
        return self._where(lambda owner: owner.model in models) - training

    def _matching(self, pattern: str) -> frozenset[int]:
        try:
            matches = re.compile(pattern).search
        except re.error as error:
            raise ConfigError(f"freeze: {pattern!r} is no group and not a valid pattern ({error}).") from None
        found = frozenset(
            id(weight)
            for owner in self._owners
            for weight in owner.weights
            if matches(owner.group) or matches(weight.path)
        )
        if not found:
            known = [*self.groups, "backbone", "all", "none", "norm"]
            hint = suggestion(pattern, known, noun="policies and groups")
            raise ConfigError(f"freeze: no layer group or variable matches {pattern!r}; {hint}.")
        return found

    def _of_groups(self, groups: Iterable[str]) -> frozenset[int]:
        chosen = set(groups)
        return self._where(lambda owner: owner.group in chosen)

    def _where(self, test: Callable[[_Owner], bool]) -> frozenset[int]:
        return frozenset(id(weight) for owner in self._owners if test(owner) for weight in owner.weights)

    def frozen_in(self, epoch: int, unfreeze: Unfreeze | None) -> frozenset[int]:
        """Returns the ids of the variables frozen in `epoch`: the policy's, less groups released by then."""
        if unfreeze is None:
            return self.frozen
        if self.lora is not None:
            raise ConfigError(
                "LoRA keeps its base frozen: leave out unfreeze, or freeze('backbone') instead of LoRA."
            )
        frozen = self.frozen
        if self.policy is None and not frozen:
            frozen = self._resolve("backbone")
        affected = [name for name in self.groups if frozen & self._of_groups([name])]
        return frozen - self._of_groups(unfreeze.released(epoch=epoch, frozen=affected))

    def trainable(
        self, frozen: frozenset[int], *, models: Sequence[keras.Model] | None = None
    ) -> list[keras.Variable]:
        """Returns the variables of `models` (all, if None) that are not in `frozen`."""
        inside = None
        if models is not None:
            inside = {id(variable) for model in models for variable in model.variables}
        return [v for v in self.variables if id(v) not in frozen and (inside is None or id(v) in inside)]

    def moving(self) -> list[keras.Variable]:
        """Returns all weights that training changes under the policy, statistics of layers included."""
        fixed = self.frozen_layers(self.frozen)
        statistics = {
            id(weight): weight
            for model in self.models.values()
            for layer in _compat.flatten_layers(model)
            if id(layer) not in fixed
            for weight in _compat.own_statistics(layer)
        }
        return [*self.trainable(self.frozen), *statistics.values()]

    def apply(self, frozen: frozenset[int]) -> None:
        """Sets the layers' `trainable` flags, which keeps a frozen BatchNormalization in inference mode."""
        candidates = self.group_of()
        for model in self.models.values():
            for layer in _compat.flatten_layers(model):
                below = [id(v) for v in layer.variables if id(v) in candidates]
                if below:
                    layer.trainable = any(key not in frozen for key in below)
        for variable in self.variables:
            variable.trainable = id(variable) not in frozen

    def frozen_layers(self, frozen: frozenset[int]) -> set[int]:
        """Returns the ids of the layers that are wholly frozen, with weightless members of frozen groups."""
        result: set[int] = set()
        trainable_owner = {id(o.layer) for o in self._owners if any(id(w) not in frozen for w in o.weights)}
        frozen_owner = {id(o.layer) for o in self._owners} - trainable_owner
        for layers in self.groups.values():
            members = [inner for layer in layers for inner in _compat.flatten_layers(layer)]
            group_frozen = not any(id(inner) in trainable_owner for inner in members)
            for layer in members:
                inner = {id(part) for part in _compat.flatten_layers(layer)}
                if not inner & trainable_owner and (group_frozen or inner & frozen_owner):
                    result |= inner
        return result

    def rate_factors(self, layerwise: Layerwise | None) -> dict[int, float]:
        """Returns the rate factor of each variable (by id) that is not 1."""
        if layerwise is None:
            return {}
        factors = layerwise.factor_of(list(self.groups))
        return {key: factors[group] for key, group in self.group_of().items() if factors[group] != 1.0}

    def report(
        self, frozen: frozenset[int] | None = None, layerwise: Layerwise | None = None
    ) -> FreezeReport:
        """Returns the state as a table."""
        frozen = self.frozen if frozen is None else frozen
        factors = layerwise.factor_of(list(self.groups)) if layerwise else dict.fromkeys(self.groups, 1.0)
        rows = []
        for name in self.groups:
            owners = [owner for owner in self._owners if owner.group == name]
            sizes = {id(v): math.prod(v.shape) for owner in owners if owner.moves for v in owner.weights}
            trainable = sum(size for key, size in sizes.items() if key not in frozen)
            rows.append(GroupRow(name, len(owners), sum(sizes.values()), trainable, factors[name]))
        return FreezeReport(tuple(rows))


def _is_normalization(layer: keras.Layer) -> bool:
    return isinstance(layer, _NORMALIZATION) or "Norm" in type(layer).__name__


def _check_groups(groups: Any) -> None:
    lists = list(groups.values()) if isinstance(groups, Mapping) else [groups]
    wrong = [part for layers in lists for part in ([layers] if isinstance(layers, str) else layers)]
    wrong = [part for part in wrong if not isinstance(part, keras.Layer)]
    if wrong or not isinstance(groups, Mapping):
        raise ConfigError(
            f"layer_groups() must return a dict of lists of Keras layers, not {groups!r}; "
            "for example {'body': [model.get_layer('encoder')], 'head': [model.get_layer('logits')]}."
        )
