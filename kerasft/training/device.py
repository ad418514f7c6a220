"""What `auto` means on this machine: precision, XLA and GPU memory, and the sentence that says so."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import NamedTuple

import keras
import tensorflow as tf

from kerasft.errors import TrainingError

LENGTH_MULTIPLE = 16
"""Under XLA examples are padded to a multiple of this: few shapes to compile, and little padding in vain."""


class Jit(NamedTuple):
    """Whether steps are compiled with XLA.

    Attributes:
        on: Whether they are.
        why_not: A reason that people may not expect, or "".
    """

    on: bool
    why_not: str

    def __str__(self) -> str:
        return "jit on" if self.on else "jit off" + (f" ({self.why_not})" if self.why_not else "")


@dataclasses.dataclass(frozen=True)
class Device:
    """Where training runs.

    Attributes:
        name: For people, for example "CPU" or "NVIDIA H100".
        is_gpu: Whether it is a GPU.
        bfloat16: Whether it computes bfloat16 natively (NVIDIA compute capability 8.0 and above).
    """

    name: str
    is_gpu: bool
    bfloat16: bool

    def precision(self, wanted: str) -> str:
        """Returns the Keras dtype policy for a config's `precision`."""
        if wanted != "auto":
            return wanted
        if not self.is_gpu:
            return "float32"
        return "mixed_bfloat16" if self.bfloat16 else "mixed_float16"

    def jit_compile(self, wanted: bool | str, *, lengths_vary: bool) -> Jit:
        """Returns whether to compile with XLA.

        Only when asked for on a CPU, where it gained nothing, and for examples of variable length, because
        XLA compiles the step again for every length.
        """
        if wanted != "auto":
            return Jit(bool(wanted), "")
        if self.is_gpu and lengths_vary:
            return Jit(False, "it would compile again for every length")
        return Jit(self.is_gpu, "")


@functools.cache
def current() -> Device:
    """Returns the device that TensorFlow will use; every GPU is told to take memory only as it needs it."""
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            # TensorFlow was initialised before; its memory settings are then the caller's choice.
            break
    if not gpus:
        return Device("CPU", is_gpu=False, bfloat16=False)
    details = tf.config.experimental.get_device_details(gpus[0])
    capability = details.get("compute_capability", (0, 0))
    return Device(str(details.get("device_name", "GPU")), is_gpu=True, bfloat16=capability >= (8, 0))


def check_loss_scale(precision: str, optimizers: Iterable[keras.optimizers.Optimizer]) -> None:
    """Raises when float16 would train without loss scaling, which shrinks updates in silence.

    Raises:
        TrainingError: one of `optimizers` does not scale.
    """
    if precision == "mixed_float16":
        for optimizer in optimizers:
            if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
                raise TrainingError(
                    f"Under mixed_float16 the optimizer {optimizer.name!r} needs loss scaling: wrap it in "
                    "keras.optimizers.LossScaleOptimizer in updates()."
                )
