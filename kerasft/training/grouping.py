"""The steps of an epoch: which rows each takes, and which of them one compiled call runs."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from kerasft.data import epoch_batches
from kerasft.training.config import TrainingConfig
from kerasft.training.examples import Examples


def training_batches(
    examples: Examples, config: TrainingConfig, *, seed: int, epoch: int
) -> list[np.ndarray]:
    """Returns the row numbers of each batch of an epoch; the same arguments give the same batches.

    Raises:
        DataError: `batch_tokens` is set, but no feature or target is of variable length.
    """
    return epoch_batches(
        len(examples),
        config.batch_size,
        seed=seed,
        epoch=epoch,
        lengths=examples.lengths if config.bucket or config.batch_tokens else None,
        tokens=config.batch_tokens,
        shuffle=config.shuffle,
    )


def steps_per_epoch(examples: Examples, config: TrainingConfig) -> int:
    """Returns the number of batches of an epoch, which is the same for all epochs."""
    if config.batch_tokens is None:
        return -(-len(examples) // config.batch_size)
    return len(training_batches(examples, config, seed=0, epoch=0))


def group_steps(
    kinds: Sequence[Hashable], sizes: Sequence[int], *, first: int, limit: int
) -> Iterator[range]:
    """Cuts the steps of an epoch into runs that one call can do: of one kind and one batch size.

    Runs end at multiples of `limit` wherever they start, so that a resumed epoch has the same runs, the same
    padding, and the same rounding as an uninterrupted one.

    Args:
        kinds: What each step of the epoch does.
        sizes: The number of examples of each step.
        first: The first step that is not done yet.
        limit: Steps in a run at most.

    Yields:
        Ranges of step numbers that together are `range(first, len(kinds))`.

    Example:
        >>> list(group_steps("aaaaab", [8, 8, 8, 8, 8, 8], first=1, limit=2))
        [range(1, 2), range(2, 4), range(4, 5), range(5, 6)]
    """
    start = first
    for step in range(first, len(kinds)):
        end = step + 1
        if end % limit == 0 or end == len(kinds) or (kinds[end], sizes[end]) != (kinds[step], sizes[step]):
            yield range(start, end)
            start = end
