"""Freeze policies in the words of face generation."""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Sequence
from typing import Any

from kerasft.errors import ConfigError

_SIDES = re.compile(r"(generator|discriminator):(<=|>=)(\d+)")
_COMPARE = {"<=": operator.le, ">=": operator.ge}
_FREEZE_D = "freezed:"


@dataclasses.dataclass(frozen=True)
class FreezeD:
    """Freezes the layers of the discriminator that are nearest to the picture.

    Source: Mo et al., 2020, "Freeze the Discriminator: a Simple Baseline for Fine-Tuning GANs".

    Args:
        groups: How many of its layer groups, each a resolution, highest first.

    Example:
        >>> policy(FreezeD(2), ["generator_4", "discriminator_16", "discriminator_8", "discriminator_4"])
        ['discriminator_16', 'discriminator_8']
    """

    groups: int


def policy(words: Any, groups: Sequence[str]) -> Any:
    """Returns what `Task.freeze` shall freeze.

    Args:
        words: `FreezeD(2)` or "freezed:2"; "full", which freezes nothing; "generator:<=16", the layers of
            these resolutions, also with ">=" and of the discriminator; a list of these; anything else is
            returned as it is.
        groups: Names of the layer groups.

    Raises:
        ConfigError: Words that name no layer group.

    Example:
        >>> policy("generator:<=8", ["mapping", "generator_4", "generator_8", "generator_16"])
        ['generator_4', 'generator_8']
    """
    if isinstance(words, (list, tuple)):
        return [policy(word, groups) for word in words]
    if isinstance(words, str) and words.startswith(_FREEZE_D):
        count = words.removeprefix(_FREEZE_D)
        if not count.isdecimal():
            raise ConfigError(f"freeze: {words!r} has no number of layer groups; write {_FREEZE_D}2")
        words = FreezeD(int(count))
    if isinstance(words, FreezeD):
        judging = [group for group in groups if group.startswith("discriminator_")]
        if not 0 <= words.groups < len(judging):
            raise ConfigError(
                f"freeze: {words} is out of range: the discriminator has {len(judging)} layer groups "
                f"({', '.join(judging)}), of which one must train"
            )
        return judging[: words.groups]
    if words == "full":
        return "none"
    match = _SIDES.fullmatch(words) if isinstance(words, str) else None
    if match is None:
        return words
    network, comparison, side = match.groups()
    sides = {group: int(group.rpartition("_")[2]) for group in groups if group.startswith(f"{network}_")}
    chosen = [group for group, at in sides.items() if _COMPARE[comparison](at, int(side))]
    if not chosen:
        raise ConfigError(f"freeze: {words!r} names no layer group; there are {', '.join(groups)}")
    return chosen
