"""Requests that wait for a busy model run together: the next batch is what queued meanwhile."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kerasft.serving.errors import ServingError

Array = np.ndarray[Any, Any]
Run = Callable[[Mapping[str, Array], Sequence[str]], list[Array]]
Observe = Callable[[Sequence[float], float], None]

_KINDS_REMEMBERED = 64
_SHORTEST_WAIT = 1e-3  # To wake a thread costs more than a shorter wait saves.


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchingOptions:
    """How requests are joined.

    Attributes:
        max_batch_size: The most rows that run together; 1 runs every request alone.
        max_enqueued_batches: How many batches may wait; a request that finds the queue full is refused.
        threads: How many batches of one kind may run at a time.
        timeout: Seconds that the first request of a batch waits for others although the model is free.
        gather: A batch waits for as many rows as were under way when the last ended (its own and those that
            had queued), at most this share of the time that the last took. Clients that wait for answers
            ask again at about the same time; without this the first of them would run alone. A lone client
            never waits, and nobody where it would be for less than a millisecond.
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


@dataclasses.dataclass(eq=False, kw_only=True)
class _Job:
    feeds: Mapping[str, Array]
    fetches: Sequence[str]
    constants: Collection[str]
    rows: int
    kind: Any  # What may run together has the same; None runs alone.
    deadline: float | None
    future: asyncio.Future[list[Array]]
    queued: float


class _Last(NamedTuple):
    """Of the last batch of a kind: rows under way at its end, when that was, and the seconds that it took."""

    rows: int
    ended: float
    seconds: float


class Batcher:
    """A queue before a model and the threads that empty it.

    A request that finds the model free runs at once, but for a short wait when others were under way with the
    last one (`BatchingOptions.gather`). One that does not waits, and runs together with all of its kind (the
    same tensors, types and sizes but for the first dimension) that came meanwhile. If a batch fails, its
    requests run one by one, so that each gets its own answer or error.

    Args:
        run: Runs the model: named arrays in, the fetched arrays out.
        options: How requests are joined.
        observe: Told, after each run, how long its requests had waited and how long it took, in seconds.
    """

    def __init__(
        self, run: Run, *, options: BatchingOptions, observe: Observe = lambda waits, seconds: None
    ) -> None:
        self.options = options
        self._run = run
        self._observe = observe
        self._changed = threading.Condition()
        self._queue: collections.deque[_Job] = collections.deque()
        self._queued_rows = 0
        self._running: collections.Counter[Any] = collections.Counter()
        self._alone: set[Any] = set()
        self._last: dict[Any, _Last] = {}
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"kerasft-model-{index}", daemon=True)
            for index in range(max(options.threads, os.cpu_count() or 1))
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        feeds: Mapping[str, Array],
        fetches: Sequence[str],
        *,
        joinable: bool,
        constants: Collection[str] = (),
        deadline: float | None = None,
    ) -> asyncio.Future[list[Array]]:
        """Queues a request. Call it in an event loop, always the same.

        Args:
            feeds: An array for each tensor to feed.
            fetches: The tensors to compute.
            joinable: Whether the first dimension of all of them counts independent rows, `constants` aside.
            constants: Tensors that are the same whatever is fed.
            deadline: When the answer is no longer wanted, on the clock of `time.monotonic`.

        Returns:
            The arrays to come; a request whose future is cancelled in time does not run.

        Raises:
            ServingError: UNAVAILABLE if the queue is full, INVALID_ARGUMENT if the request is too large.
        """
        kind, rows = self._kind(feeds, fetches) if joinable else (None, 1)
        limit, batches = self.options.max_batch_size, self.options.max_enqueued_batches
        if kind is not None and rows > limit:
            if self.options.refuse_larger:
                raise ServingError(f"Task size {rows} is larger than maximum input batch size {limit}",
                                   code="INVALID_ARGUMENT")  # fmt: skip
            kind, rows = None, limit
        job = _Job(
            feeds=feeds,
            fetches=fetches,
            constants=constants,
            rows=rows,
            kind=kind,
            deadline=deadline,
            future=asyncio.get_running_loop().create_future(),
            queued=time.monotonic(),
        )
        with self._changed:
            if self._closed:
                raise ServingError("the server is shutting down", code="UNAVAILABLE")
            if self._queued_rows + rows > limit * batches:
                waiting = -(-self._queued_rows // limit)
                raise ServingError(
                    "The batch scheduling queue to which this task was submitted is full; currently "
                    f"{waiting} batches enqueued and max_enqueued_batches is {batches}",
                    code="UNAVAILABLE",
                )
            self._queue.append(job)
            self._queued_rows += rows
            if self._free(kind):
                self._changed.notify()
        return job.future

    def close(self) -> None:
        """Lets the threads end once the queue is empty; later requests are refused."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _kind(self, feeds: Mapping[str, Array], fetches: Sequence[str]) -> tuple[Any, int]:
        sizes = {array.shape[:1] for array in feeds.values()}
        if self.options.max_batch_size == 1 or len(sizes) != 1 or sizes & {(), (0,)}:
            return None, 1
        # What has no first element cannot be padded.
        pad = self.options.pad and all(array.size for array in feeds.values())
        tensors = tuple(
            (name, array.dtype.char, array.ndim if pad else array.shape[1:]) for name, array in feeds.items()
        )
        kind = (tensors, tuple(fetches))
        return (None, 1) if kind in self._alone else (kind, sizes.pop()[0])

    def _free(self, kind: Any) -> bool:
        return kind is None or self._running[kind] < self.options.threads

    def _work(self) -> None:
        while True:
            with self._changed:
                jobs = self._take()
                while not jobs:
                    if self._closed and not self._queue:
                        return
                    self._changed.wait(self._until_due())
                    jobs = self._take()
                kind = jobs[0].kind
                self._running[kind] += 1
            self._answer(jobs)

    def _until_due(self) -> float | None:
        ends = [self._patience(job)[1] for job in self._queue if self._free(job.kind)]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _patience(self, job: _Job) -> tuple[int, float]:
        """Returns how many rows the batch of a request waits for, and until when."""
        if job.kind is None or self._closed:
            return 1, job.queued
        if self.options.timeout:
            return self.options.max_batch_size, job.queued + self.options.timeout
        last = self._last.get(job.kind)
        if last is None:
            return 1, job.queued
        return last.rows, max(job.queued, last.ended) + self.options.gather * last.seconds

    def _due(self, job: _Job) -> bool:
        wanted, end = self._patience(job)
        return wanted <= 1 or time.monotonic() >= end or self._rows(job.kind) >= wanted

    def _rows(self, kind: Any) -> int:
        return sum(job.rows for job in self._queue if job.kind == kind)

    def _take(self) -> list[_Job]:
        """Takes the first request that may run out of the queue, and all that may run with it."""
        self._drop_unwanted()
        first = next((job for job in self._queue if self._free(job.kind) and self._due(job)), None)
        if first is None:
            return []
        taken, room = [first], self.options.max_batch_size - first.rows
        left: collections.deque[_Job] = collections.deque()
        for job in self._queue:
            if job is first:
                continue
            if job.kind is None or job.kind != first.kind or job.rows > room:
                left.append(job)
            else:
                taken.append(job)
                room -= job.rows
        self._queue = left
        self._queued_rows -= sum(job.rows for job in taken)
        return taken

    def _drop_unwanted(self) -> None:
        now = time.monotonic()
        late = [job for job in self._queue if job.deadline is not None and now >= job.deadline]
        if late:
            _deliver([(job, _late()) for job in late])
        if late or any(job.future.cancelled() for job in self._queue):
            gone = set(late)
            self._queue = collections.deque(
                job for job in self._queue if job not in gone and not job.future.cancelled()
            )
            self._queued_rows = sum(job.rows for job in self._queue)

    def _answer(self, jobs: list[_Job]) -> None:
        kind, began = jobs[0].kind, time.monotonic()
        results = self._together(jobs)
        seconds = time.monotonic() - began
        self._observe([began - job.queued for job in jobs], seconds)
        with self._changed:
            self._running[kind] -= 1
            if not self._running[kind]:
                del self._running[kind]
            self._remember(jobs, began, seconds)
        _deliver(list(zip(jobs, results, strict=True)))

    def _remember(self, jobs: list[_Job], began: float, seconds: float) -> None:
        kind = jobs[0].kind
        rows = min(sum(job.rows for job in jobs) + self._rows(kind), self.options.max_batch_size)
        others = len(jobs) > 1 or any(job.kind == kind for job in self._queue)
        self._last.pop(kind, None)
        if kind is not None and others and self.options.gather * seconds >= _SHORTEST_WAIT:
            self._last[kind] = _Last(rows, began + seconds, seconds)
            if len(self._last) > _KINDS_REMEMBERED:
                del self._last[next(iter(self._last))]

    def _together(self, jobs: list[_Job]) -> list[list[Array] | Exception]:
        rows = sum(job.rows for job in jobs)
        size = next((size for size in self.options.allowed_sizes if size >= rows), rows)
        if jobs[0].kind is None or (len(jobs) == 1 and size == rows):
            return [self._single(job) for job in jobs]
        try:
            values = self._run(_joined(jobs, size), jobs[0].fetches)
        except Exception:
            return [self._single(job) for job in jobs]
        by_row = [name not in jobs[0].constants for name in jobs[0].fetches]
        if any(own and value.shape[:1] != (size,) for own, value in zip(by_row, values, strict=True)):
            self._alone.add(jobs[0].kind)
            return [self._single(job) for job in jobs]
        ends = np.cumsum([job.rows for job in jobs])
        spans = [slice(end - job.rows, end) for job, end in zip(jobs, ends, strict=True)]
        named = list(zip(by_row, values, strict=True))
        return [[value[span] if own else value for own, value in named] for span in spans]

    def _single(self, job: _Job) -> list[Array] | Exception:
        try:
            return self._run(job.feeds, job.fetches)
        except Exception as error:
            return error


def _late() -> ServingError:
    return ServingError("the deadline passed while the request was queued", code="DEADLINE_EXCEEDED")


def _joined(jobs: list[_Job], size: int) -> dict[str, Array]:
    """Stacks the rows of the requests, and pads them to `size` with the first row."""
    joined = {}
    for name in jobs[0].feeds:
        parts = _padded([job.feeds[name] for job in jobs])
        if missing := size - sum(job.rows for job in jobs):
            parts.append(np.repeat(parts[0][:1], missing, axis=0))
        joined[name] = np.concatenate(parts)
    return joined


def _padded(arrays: list[Array]) -> list[Array]:
    """Pads arrays to the largest size of each dimension but the first, each with its first element."""
    if len({array.shape[1:] for array in arrays}) == 1:
        return arrays
    sizes = np.max([array.shape for array in arrays], axis=0)[1:]
    padded = []
    for array in arrays:
        whole = np.full((len(array), *sizes), array.flat[0], array.dtype)
        whole[tuple(slice(size) for size in array.shape)] = array
        padded.append(whole)
    return padded


def _deliver(results: list[tuple[_Job, list[Array] | Exception]]) -> None:
    def settle() -> None:
        for job, result in results:
            if job.future.done():
                continue
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)

    with contextlib.suppress(RuntimeError):  # The server stopped and closed the loop: nobody waits any more.
        results[0][0].future.get_loop().call_soon_threadsafe(settle)
