"""Held-out rows: deterministic, stratified when asked, and without copying anything."""

from __future__ import annotations

import numpy as np

from kerasft.data.source import Source
from kerasft.errors import DataError


def split(
    source: Source, fraction: float, *, seed: int, stratify: str | None = None
) -> tuple[Source, Source]:
    """Splits a source into rows for training and rows held out.

    Args:
        source: What to split.
        fraction: How much to hold out: a share between 0 and 1, or a number of rows (an `int`).
        seed: Decides which rows; the same seed on the same data gives the same split.
        stratify: A "label" field whose class shares both parts keep (largest remainder). Every class keeps at
            least one row for training.

    Returns:
        The rest, for training, and the rows held out; each in the order of the source.

    Raises:
        DataError: The share is out of range, a part would be empty, or the classes leave no room for it.

    Example:
        >>> from kerasft.data import Field, open_source
        >>> fields = [Field(name="text"), Field(name="label", kind="label", target=True)]
        >>> source = open_source({"text": list("abcdefgh"), "label": [0, 1] * 4}, fields=fields)
        >>> train, held_out = split(source, 0.25, seed=0, stratify="label")
        >>> train.class_counts("label"), held_out.class_counts("label")
        ({'0': 3, '1': 3}, {'0': 1, '1': 1})
    """
    size = _held_out_size(source, fraction)
    order = np.random.default_rng(seed % 2**64).permutation(len(source))
    if stratify is None:
        held_out = order[:size]
    else:
        codes, classes = source.codes(stratify)
        quotas = _quotas(np.bincount(codes, minlength=len(classes)), size, source.name)
        held_out = _first_of_each(codes[order], quotas, order)
    chosen = np.zeros(len(source), bool)
    chosen[held_out] = True
    return source.subset(np.flatnonzero(~chosen)), source.subset(np.flatnonzero(chosen))


def _held_out_size(source: Source, fraction: float) -> int:
    rows = len(source)
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float, np.integer, np.floating)):
        raise DataError(
            f"{source.name}: cannot hold out {fraction!r}; give a share such as 0.1 or a number of rows"
        )
    if rows < 2:
        raise DataError(f"{source.name}: one row cannot be split; give validation data of its own")
    if isinstance(fraction, (int, np.integer)):
        size = int(fraction)
    elif 0 < fraction < 1:
        size = max(1, min(rows - 1, round(rows * float(fraction))))
    else:
        raise DataError(f"{source.name}: the share {fraction} to hold out is not between 0 and 1")
    if not 0 < size < rows:
        raise DataError(f"{source.name}: cannot hold out {size} of {rows} rows; hold out 1 to {rows - 1}")
    return size


def _quotas(counts: np.ndarray, size: int, name: str) -> np.ndarray:
    """Rows to hold out of each class: largest remainder, and one row of a class always stays."""
    room = np.maximum(counts - 1, 0)
    if size > room.sum():
        room = np.where(counts > 1, counts - 1, counts)
    if size > room.sum():
        raise DataError(
            f"{name}: cannot hold out {size} rows and keep one of each of {np.count_nonzero(counts)} "
            f"classes for training; hold out at most {room.sum()} or do not stratify"
        )
    exact = counts * (size / counts.sum())
    quotas = np.minimum(np.floor(exact).astype(np.int64), room)
    while (left := size - int(quotas.sum())) > 0:
        open_classes = np.flatnonzero(quotas < room)
        wanted = np.argsort(-(exact - quotas)[open_classes], kind="stable")[:left]
        quotas[open_classes[wanted]] += 1
    return quotas


def _first_of_each(codes: np.ndarray, quotas: np.ndarray, order: np.ndarray) -> np.ndarray:
    by_class = np.argsort(codes, kind="stable")
    sorted_codes = codes[by_class]
    rank = np.arange(len(codes)) - np.searchsorted(sorted_codes, sorted_codes)
    return order[by_class[rank < quotas[sorted_codes]]]
