"""The one activation of all networks."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

# Far above any healthy activation, far below the largest float16.
_LIMIT = 256.0


def leaky(x: Any) -> Any:
    """Returns the leaky ReLU of slope 0.2, scaled so that the variance of its input is kept."""
    return ops.leaky_relu(x, 0.2) * math.sqrt(2.0)


def bounded(x: Any) -> Any:
    """Returns activations cut to what half precision can hold; float32 ones as they are."""
    return ops.clip(x, -_LIMIT, _LIMIT) if ops.dtype(x) == "float16" else x
