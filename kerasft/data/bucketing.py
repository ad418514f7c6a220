"""The order of an epoch as a pure function, so that a resumed run needs no saved iterator."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from kerasft.errors import DataError

_POOL_BATCHES = 50


def epoch_batches(
    n: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    lengths: np.ndarray | None = None,
    tokens: int | None = None,
    shuffle: bool = True,
    drop_remainder: bool = False,
) -> list[np.ndarray]:
    """Cuts the rows `0 .. n-1` into the batches of one epoch; the same arguments give the same batches.

    Without lengths the order is a seeded permutation, or `arange(n)` when not shuffled. With lengths, rows of
    similar length meet in a batch: the permutation is cut into pools of 50 batches, each pool is sorted by
    length, and the batches are shuffled. Not shuffled, all rows are sorted, longest first.

    With `tokens`, all rows are sorted by length, those of one length in a random order, and cut where rows
    times the longest of them would exceed `tokens`; then the batches are shuffled. So every epoch has the
    same number of batches.

    Args:
        n: Number of rows.
        batch_size: Rows in a batch. Only the last batch may be smaller. Without meaning beside `tokens`.
        seed: Seed of the run.
        epoch: Number of the epoch; every epoch has its own order.
        lengths: The length of each row, shape `[n]`, in any unit.
        tokens: Most units of length in a batch, padding included; a longer row is a batch of its own. It
            needs `lengths`.
        shuffle: Whether the order is random.
        drop_remainder: Whether to leave out the last batch when it is smaller; not beside `tokens`.

    Returns:
        One int64 array of row numbers a batch; together they hold every row exactly once.

    Raises:
        DataError: `batch_size` is not positive, `lengths` does not have `n` values, or `tokens` has none.

    Example:
        >>> epoch_batches(5, 2, seed=0, epoch=0, shuffle=False)
        [array([0, 1]), array([2, 3]), array([4])]
    """
    if batch_size < 1:
        raise DataError(f"batch_size is {batch_size}; it must be at least 1")
    if lengths is not None and np.shape(lengths) != (n,):
        raise DataError(f"lengths has shape {np.shape(lengths)} for {n} rows; give one length a row")
    if tokens is not None:
        if lengths is None:
            raise DataError("batches by tokens need rows of variable length; leave batch_tokens out")
        return _by_tokens(np.asarray(lengths), tokens, seed=seed, epoch=epoch, shuffle=shuffle)
    whole = n - n % batch_size
    if not shuffle:
        order = (
            np.arange(n) if lengths is None else np.argsort(-np.asarray(lengths, np.float64), kind="stable")
        )
        return _cut(order, batch_size, whole if drop_remainder else n)
    generator = np.random.default_rng([seed % 2**64, epoch])
    order = generator.permutation(n)
    if lengths is None:
        return _cut(order, batch_size, whole if drop_remainder else n)
    lengths = np.asarray(lengths)
    pool = batch_size * _POOL_BATCHES
    for start in range(0, whole, pool):
        rows = order[start : min(start + pool, whole)]
        order[start : start + len(rows)] = rows[np.argsort(lengths[rows], kind="stable")]
    full = order[:whole].reshape(-1, batch_size)
    batches = list(full[generator.permutation(len(full))])
    if whole < n and not drop_remainder:
        batches.append(order[whole:])
    return batches


def padding_waste(batches: Iterable[np.ndarray], lengths: np.ndarray) -> float:
    """Returns the share of padding when every batch is padded to its longest row.

    Args:
        batches: Row numbers, as from `epoch_batches`.
        lengths: The length of each row, shape `[n]`.

    Returns:
        0.0 (no padding at all) up to just under 1.0.

    Example:
        >>> padding_waste([np.array([0, 1])], np.array([1, 2]))
        0.25
    """
    used = padded = 0
    for batch in batches:
        values = lengths[batch]
        used += int(values.sum())
        padded += len(values) * int(values.max())
    return 1.0 - used / padded if padded else 0.0


def _by_tokens(lengths: np.ndarray, tokens: int, *, seed: int, epoch: int, shuffle: bool) -> list[np.ndarray]:
    generator = np.random.default_rng([seed % 2**64, epoch])
    order = generator.permutation(len(lengths)) if shuffle else np.arange(len(lengths))
    order = order[np.argsort(-lengths[order], kind="stable")]
    batches, start = [], 0
    while start < len(order):
        # The first row is the longest one, and an empty row takes a place too.
        count = max(1, tokens // max(1, int(lengths[order[start]])))
        batches.append(order[start : start + count])
        start += count
    return [batches[i] for i in generator.permutation(len(batches))] if shuffle else batches


def _cut(order: np.ndarray, batch_size: int, stop: int) -> list[np.ndarray]:
    return [order[start : min(start + batch_size, stop)] for start in range(0, stop, batch_size)]
