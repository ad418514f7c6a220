"""Requests of several clients in one run of the model, batched inside the SavedModel itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from kerasft.errors import ConfigError, ExportError
from kerasft.export.savedmodel import input_specs

# Rows of one request, which is split; that of a run is the last of the allowed sizes.
_LARGEST_REQUEST = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batching:
    """How a SavedModel batches the requests that arrive side by side.

    The graph does it (`tf.nondifferentiable_batch_function`), so any server does, whatever its own settings.

    Args:
        max_batch_size: Most rows in one run; larger requests are split.
        allowed_batch_sizes: Sizes that batches are padded to, ascending to `max_batch_size`; None takes the
            powers of two.
        timeout_micros: How long a batch that is not full waits for more, in microseconds; with 0 the next
            batch is what came while all threads were busy.
        threads: Runs side by side.
        max_enqueued_batches: Batches that may wait; more are refused as UNAVAILABLE.

    Raises:
        ConfigError: The sizes contradict each other.

    Example:
        >>> Batching(max_batch_size=12).sizes
        (1, 2, 4, 8, 12)
    """

    max_batch_size: int = 32
    allowed_batch_sizes: tuple[int, ...] | None = None
    timeout_micros: int = 0
    threads: int = 1
    max_enqueued_batches: int = 100

    def __post_init__(self) -> None:
        for name, least in (
            ("max_batch_size", 1),
            ("timeout_micros", 0),
            ("threads", 1),
            ("max_enqueued_batches", 1),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"batching: {name} must be at least {least}, not {getattr(self, name)}")
        sizes = self.sizes
        if sizes[-1] != self.max_batch_size or sizes[0] < 1 or list(sizes) != sorted(set(sizes)):
            raise ConfigError(
                f"batching: allowed_batch_sizes must ascend to max_batch_size ({self.max_batch_size}), not "
                f"{', '.join(map(str, sizes))}"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that batches are padded to."""
        if self.allowed_batch_sizes is not None:
            return tuple(self.allowed_batch_sizes)
        powers = [1 << n for n in range(self.max_batch_size.bit_length())]
        return (*(power for power in powers if power < self.max_batch_size), self.max_batch_size)


def batch_in_graph(name: str, function: Any, batching: Batching) -> Any:
    """Returns a signature's function with batching around it.

    Args:
        name: Of the signature, for errors.
        function: A concrete function; each input has a value for each row.
        batching: How.

    Raises:
        ExportError: An input is not by rows, or what is answered for each row differs in length.
    """
    import tensorflow as tf

    specs = input_specs(function)
    outputs: Mapping[str, Any] = function.structured_outputs
    names = list(specs)
    whole = [key for key, spec in specs.items() if spec.shape.rank == 0 or spec.shape[0] is not None]
    if whole or "row_splits" in outputs:
        why = f"the input {whole[0]!r} has no row for each example" if whole else "answers differ in length"
        raise ExportError(f"signature {name!r} cannot batch in the graph: {why}; export it without batching")
    by_row = [key for key, tensor in outputs.items() if tensor.shape[:1].as_list() == [None]]

    def rows(*values: Any) -> list[Any]:
        answer = function(**dict(zip(names, values, strict=True)))
        return [answer[key] for key in by_row]

    # Inlined into the body of the batch operation, the model would lose TensorFlow's fused kernels.
    body = tf.function(rows, autograph=False, experimental_attributes={"_noinline": True})

    @tf.nondifferentiable_batch_function(
        num_batch_threads=batching.threads,
        max_batch_size=_LARGEST_REQUEST,
        batch_timeout_micros=batching.timeout_micros,
        allowed_batch_sizes=list(batching.sizes),
        max_enqueued_batches=batching.max_enqueued_batches,
        autograph=False,
        enable_large_batch_splitting=True,
    )
    def batched(*values: Any) -> list[Any]:
        return body(*values)

    def serve(**inputs: Any) -> dict[str, Any]:
        answers = dict(zip(by_row, batched(*(inputs[key] for key in names)), strict=True))
        alone = function(**inputs) if len(by_row) < len(outputs) else {}  # pruned to what stands once
        named = {key: answers[key] if key in answers else alone[key] for key in outputs}
        return {key: tf.ensure_shape(tensor, outputs[key].shape) for key, tensor in named.items()}

    return tf.function(serve, autograph=False).get_concrete_function(**specs)
