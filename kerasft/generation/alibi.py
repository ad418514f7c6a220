"""Attention with linear biases: scores fall with distance, in each head by another slope."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops


def slopes(heads: int) -> np.ndarray:
    """Returns by how much the scores of each head fall a token, float32 [heads].

    Powers of one number; where heads are not a power of two, every second one of twice as many is between.

    Source: Press et al., 2022, "Train Short, Test Long", and its released code for other numbers of heads.

    Example:
        >>> slopes(2).tolist(), slopes(3).tolist()
        ([0.0625, 0.00390625], [0.0625, 0.00390625, 0.25])
    """
    whole = 2 ** int(math.log2(heads))
    own, twice = (2.0 ** (-8.0 / count * np.arange(1, count + 1)) for count in (whole, 2 * whole))
    return np.concatenate([own, twice[::2][: heads - whole]]).astype(np.float32)


def leaning(queries: Any, keys: Any, heads: int) -> Any:
    """Returns what is added to scores, float32 [batch or 1, heads, queries, keys].

    Args:
        queries: Positions, [batch or 1, queries].
        keys: The same, [batch or 1, keys].
        heads: Number of heads.
    """
    queries, keys = (ops.cast(positions, "float32") for positions in (queries, keys))
    return (keys[:, None, None, :] - queries[:, None, :, None]) * slopes(heads)[:, None, None]
