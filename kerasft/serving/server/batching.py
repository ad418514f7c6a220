"""Requests that come at the same time run together, in the thread of one of those who wait for them."""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kerasft.serving.errors import ServingError
from kerasft.serving.server.batching_options import BatchingOptions
from kerasft.serving.server.caller import Caller

Array = np.ndarray[Any, Any]
Run = Callable[[Mapping[str, Array], Sequence[str]], list[Array]]
Observe = Callable[[Sequence[float], float], None]

_KINDS_REMEMBERED = 64
_SHORTEST_WAIT = 1e-3
_RECEIVED = 1.25e-4  # Seconds that a server in Python takes to receive a request.
_BATCHES_PER_TRY = 64


def _as_they_are(values: list[Array]) -> Any:
    return values


class _Alone:
    """The kind of one request that runs alone."""


@dataclasses.dataclass(eq=False, kw_only=True, slots=True)
class _Job:
    """A request; all but what it asks for changes under the batcher's lock until it is done.

    Attributes:
        kind: What may run together has the same.
        batch: What its thread is to run: this request and others.
        until: When its thread is to look whether its batch has waited long enough.
        answer: What it gets, or the error that it gets, once it is done.
    """

    feeds: Mapping[str, Array]
    fetches: Sequence[str]
    constants: Collection[str]
    rows: int
    caller: Caller
    finish: Callable[[list[Array]], Any]
    queued: float
    kind: Any
    batch: list[_Job] | None = None
    until: float | None = None
    answer: Any = None
    done: bool = False

    def settle(self, result: list[Array] | Exception) -> None:
        if not isinstance(result, Exception):
            try:
                self.answer = self.finish(result)
            except Exception as error:
                self.answer = error
        else:
            self.answer = result
        self.done = True


@dataclasses.dataclass(eq=False)
class _Line:
    """Requests of one kind that wait."""

    jobs: list[_Job] = dataclasses.field(default_factory=list)
    rows: int = 0


class _Last(NamedTuple):
    """Of the last batch of a kind: what the next one waits for.

    Attributes:
        requests: How many were under way at its end, or are taken to be.
        wanted: How many requests the next one waits for.
        ended: When it ended.
        patience: Seconds that the next one may wait.
        steady: How many batches in a row brought no fewer requests than the one before.
    """

    requests: int
    wanted: int = 1
    ended: float = 0.0
    patience: float = 0.0
    steady: int = 0


class Batcher:
    """A queue before a model, emptied by the threads of those who wait in it.

    A request that finds the model free runs at once, in its own thread, but for a short wait when others were
    under way with the last one (`BatchingOptions.gather`). One that does not waits, and runs together with
    all of its kind (the same tensors, types and sizes but for the first dimension) that came meanwhile: one
    of their threads runs the batch and wakes the others. If a batch fails, its requests run one by one, so
    that each gets its own answer or error.

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
        self._lock = threading.Lock()
        self._lines: dict[Any, _Line] = {}
        self._queued_rows = 0
        self._running: dict[Any, int] = {}
        self._most_running = max(options.threads, os.cpu_count() or 1)
        self._alone: set[Any] = set()
        self._last: dict[Any, _Last] = {}
        self._closed = False

    def run(
        self,
        feeds: Mapping[str, Array],
        fetches: Sequence[str],
        *,
        joinable: bool,
        caller: Caller,
        constants: Collection[str] = (),
        finish: Callable[[list[Array]], Any] = _as_they_are,
    ) -> Any:
        """Runs a request in the calling thread, or waits until another has run it.

        Args:
            feeds: An array for each tensor to feed.
            fetches: The tensors to compute.
            joinable: Whether the first dimension of all of them counts independent rows, `constants` aside.
            caller: Who waits for the answer; a request that nobody waits for does not run.
            constants: Tensors that are the same whatever is fed.
            finish: Makes the answer of the fetched arrays; it may be called in another thread.

        Returns:
            What `finish` returns.

        Raises:
            ServingError: UNAVAILABLE if the queue is full, INVALID_ARGUMENT if the request is too large,
                CANCELLED or DEADLINE_EXCEEDED if the answer is no longer wanted.
        """
        kind, rows = self._kind(feeds, fetches) if joinable else (_Alone(), 1)
        limit = self.options.max_batch_size
        if rows > limit:
            if self.options.refuse_larger:
                raise ServingError(f"Task size {rows} is larger than maximum input batch size {limit}",
                                   code="INVALID_ARGUMENT")  # fmt: skip
            kind, rows = _Alone(), limit
        job = _Job(
            feeds=feeds,
            fetches=fetches,
            constants=constants,
            rows=rows,
            caller=caller,
            finish=finish,
            queued=time.monotonic(),
            kind=kind,
        )
        with self._lock:
            self._queue(job)
            self._start(kind, own=job)
        while not job.done:
            if job.batch is not None:
                self._lead(job)
                continue
            caller.wait(job.until)
            with self._lock:
                if job.batch is None and not job.done:
                    job.until = None
                    self._drop_if_gone(job)
                    self._start(kind, own=job)
        # Read once, as whoever runs the batch may still answer a request that gave up. Not kept, as the
        # traceback of an error holds the request, and the collector comes seldom.
        answer, job.answer = job.answer, None
        if isinstance(answer, Exception):
            try:
                raise answer
            finally:
                del answer
        return answer

    def close(self) -> None:
        """Refuses later requests; those that wait do not wait for others any more."""
        with self._lock:
            self._closed = True
            self._start_all()

    def _kind(self, feeds: Mapping[str, Array], fetches: Sequence[str]) -> tuple[Any, int]:
        sizes = {array.shape[:1] for array in feeds.values()}
        if self.options.max_batch_size == 1 or len(sizes) != 1 or sizes & {(), (0,)}:
            return _Alone(), 1
        # What has no first element cannot be padded.
        pad = self.options.pad and all(array.size for array in feeds.values())
        tensors = tuple(
            (name, array.dtype.char, array.ndim if pad else array.shape[1:]) for name, array in feeds.items()
        )
        kind = (tensors, tuple(fetches))
        return (_Alone(), 1) if kind in self._alone else (kind, sizes.pop()[0])

    # What follows, down to `_remember`, holds the lock.

    def _queue(self, job: _Job) -> None:
        if self._closed:
            raise ServingError("the server is shutting down", code="UNAVAILABLE")
        limit, batches = self.options.max_batch_size, self.options.max_enqueued_batches
        if self._queued_rows + job.rows > limit * batches:
            waiting = -(-self._queued_rows // limit)
            raise ServingError(
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{waiting} batches enqueued and max_enqueued_batches is {batches}",
                code="UNAVAILABLE",
            )
        line = self._lines.setdefault(job.kind, _Line())
        line.jobs.append(job)
        line.rows += job.rows
        self._queued_rows += job.rows

    def _start(self, kind: Any, *, own: _Job | None = None) -> None:
        """Gives the batches of a kind that may run to the calling thread, if its own request is in it, or to
        the thread of another of their requests."""
        while (line := self._lines.get(kind)) and self._free(kind):
            until = self._patience(kind, line)
            if time.monotonic() < until:
                first = line.jobs[0]
                if first.until != until:
                    first.until = until
                    if first is not own:
                        first.caller.wake()
                return
            if batch := self._take(kind):
                self._running[kind] = self._running.get(kind, 0) + 1
                leader = own if own is not None and own in batch else batch[0]
                leader.batch = batch
                if leader is not own:
                    leader.caller.wake()

    def _start_all(self) -> None:
        for kind in list(self._lines):
            if sum(self._running.values()) == self._most_running:
                return
            self._start(kind)

    def _free(self, kind: Any) -> bool:
        running = self._running
        return running.get(kind, 0) < self.options.threads and sum(running.values()) < self._most_running

    def _patience(self, kind: Any, line: _Line) -> float:
        """Returns until when the next batch of a line waits for others, a time in the past if it is whole."""
        queued = line.jobs[0].queued
        if isinstance(kind, _Alone) or self._closed or line.rows >= self.options.max_batch_size:
            return queued
        if self.options.timeout:
            return queued + self.options.timeout
        last = self._last.get(kind)
        if last is None or len(line.jobs) >= last.wanted:
            return queued
        return max(queued, last.ended) + last.patience

    def _take(self, kind: Any) -> list[_Job]:
        """Takes the next batch out of a line; what is left lines up behind the other kinds."""
        line = self._lines.pop(kind)
        taken, left, room = [], [], self.options.max_batch_size
        for job in line.jobs:
            if job.rows > room:
                left.append(job)
                continue
            self._queued_rows -= job.rows
            job.until = None
            if job.caller.gone() is None:  # Otherwise its thread is about to notice.
                taken.append(job)
                room -= job.rows
        if left:
            self._lines[kind] = _Line(left, sum(job.rows for job in left))
        return taken

    def _drop_if_gone(self, job: _Job) -> None:
        error = job.caller.gone()
        if error is None:
            return
        job.settle(error)
        line = self._lines.get(job.kind)
        if line and job in line.jobs:
            line.jobs.remove(job)
            line.rows -= job.rows
            self._queued_rows -= job.rows
            if not line.jobs:
                del self._lines[job.kind]

    def _remember(self, jobs: list[_Job], seconds: float) -> None:
        kind = jobs[0].kind
        requests = len(jobs) + (len(self._lines[kind].jobs) if kind in self._lines else 0)
        before = self._last.pop(kind, _Last(requests))
        found_more = before.requests < before.wanted <= requests
        steady = before.steady + 1 if requests >= before.requests else 0
        if before.steady and not steady:
            requests = before.requests  # Who comes late for once is waited for again.
        if requests == 1 or not self.options.gather:
            return
        # Clients in step in two groups never meet, as each batch is whole without the others: to wait for one
        # more now and then, and again as long as one comes, joins them.
        wanted = requests + (found_more or steady % _BATCHES_PER_TRY == _BATCHES_PER_TRY - 1)
        patience = max(self.options.gather * seconds, _SHORTEST_WAIT, _RECEIVED * wanted)
        self._last[kind] = _Last(requests, wanted, time.monotonic(), patience, steady)
        if len(self._last) > _KINDS_REMEMBERED:
            del self._last[next(iter(self._last))]

    def _lead(self, own: _Job) -> None:
        """Runs the batch that the thread of a request was given."""
        jobs, own.batch = own.batch or [], None
        began = time.monotonic()
        results = self._together(jobs)
        seconds = time.monotonic() - began
        with self._lock:
            if others := self._running.pop(own.kind) - 1:
                self._running[own.kind] = others
            self._remember(jobs, seconds)
            self._start_all()
        for job in jobs:
            job.settle(results.pop(0))  # Not kept: the traceback of an error holds this frame.
            if job is not own:
                job.caller.wake()
        self._observe([began - job.queued for job in jobs], seconds)

    def _together(self, jobs: list[_Job]) -> list[list[Array] | Exception]:
        rows = sum(job.rows for job in jobs)
        size = next((size for size in self.options.allowed_sizes if size >= rows), rows)
        if isinstance(jobs[0].kind, _Alone) or (len(jobs) == 1 and size == rows):
            return [self._single(job) for job in jobs]
        try:
            values = self._run(_joined(jobs, size), jobs[0].fetches)
        except Exception:
            return [self._single(job) for job in jobs]
        by_row = [name not in jobs[0].constants for name in jobs[0].fetches]
        if any(own and value.shape[:1] != (size,) for own, value in zip(by_row, values, strict=True)):
            self._alone.add(jobs[0].kind)
            return [self._single(job) for job in jobs]
        ends = itertools.accumulate(job.rows for job in jobs)
        spans = [slice(end - job.rows, end) for job, end in zip(jobs, ends, strict=True)]
        named = list(zip(by_row, values, strict=True))
        return [[value[span] if own else value for own, value in named] for span in spans]

    def _single(self, job: _Job) -> list[Array] | Exception:
        try:
            return self._run(job.feeds, job.fetches)
        except Exception as error:
            return error


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
