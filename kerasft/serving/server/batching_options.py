"""How requests are joined into batches."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from kerasft.serving.errors import ServingError


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchingOptions:
    """How requests are joined.

    Attributes:
        max_batch_size: The most rows that run together; 1 runs every request alone.
        max_enqueued_batches: How many batches may wait; a request that finds the queue full is refused.
        threads: How many batches of one kind may run at a time.
        timeout: Seconds that the first request of a batch waits for others although the model is free.
        gather: A batch waits for as many requests as were under way when the last ended (its own and those
            that had queued), now and then for one more, at most this share of the time that the last took,
            or what a server needs to receive as many requests (a millisecond for eight) if that is more; 0
            never waits. Clients that wait for answers ask again at about the same time; without this the
            first of them would run alone. A lone client never waits.
        allowed_sizes: If given, batches are padded to the next of these sizes; the last is `max_batch_size`.
        refuse_larger: Refuse a request of more rows than `max_batch_size`, as TensorFlow Serving does when
            its batching is on; otherwise such a request runs alone.
        pad: Join requests whose inputs differ in sizes beyond the first, too: each is padded at its ends to
            the largest in the batch, with its own first element. For models that know lengths otherwise.
    """

    max_batch_size: int = 32
    max_enqueued_batches: int = 100
    threads: int = 1
    timeout: float = 0.0
    gather: float = 0.25
    allowed_sizes: tuple[int, ...] = ()
    refuse_larger: bool = False
    pad: bool = False

    @classmethod
    def from_parameters(cls, parameters: Any) -> BatchingOptions:
        """Takes the options from TensorFlow Serving's BatchingParameters, with its defaults.

        Raises:
            ServingError: If they contradict each other.
        """

        def value(name: str, default: int) -> int:
            return int(getattr(parameters, name).value) if parameters.HasField(name) else default

        options = cls(
            max_batch_size=value("max_batch_size", 1000),
            max_enqueued_batches=value("max_enqueued_batches", 10),
            threads=value("num_batch_threads", os.cpu_count() or 1),
            timeout=value("batch_timeout_micros", 0) / 1e6,
            gather=0.0,
            allowed_sizes=tuple(parameters.allowed_batch_sizes),
            refuse_larger=True,
            pad=parameters.pad_variable_length_inputs,
        )
        for name in ("max_batch_size", "max_enqueued_batches", "threads"):
            if getattr(options, name) < 1:
                raise ServingError(f"the batching parameters want at least 1 for {name}")
        sizes = options.allowed_sizes
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != options.max_batch_size):
            raise ServingError(
                "allowed_batch_sizes must increase and end with max_batch_size, "
                f"{options.max_batch_size}, and are {list(sizes)}"
            )
        return options
