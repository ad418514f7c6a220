"""Requests that wait run together, and each gets what it would have got alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft.serving import ServingError, protos
from kerasft.serving.server import batching
from kerasft.serving.server.batching import Batcher, BatchingOptions

FETCH = ("y",)


class Machine:
    """A model that doubles numbers, refuses negative ones, and can be held up."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.started = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()

    def run(self, feeds: Mapping[str, Any], fetches: Sequence[str]) -> list[Any]:
        self.sizes.append(len(feeds["x"]))
        self.started.release()
        self.go.wait()
        if (feeds["x"] < 0).any():
            raise ServingError("negative", code="OUT_OF_RANGE")
        return [feeds["x"] * 2]


def rows(*values: float) -> dict[str, Any]:
    return {"x": np.array(values, np.float32)}


def with_batcher(work: Callable[[Batcher, Machine], Awaitable[None]], **options: Any) -> list[int]:
    """Runs `work` in an event loop and returns the sizes of the batches that ran."""
    machine = Machine()
    batcher = Batcher(machine.run, options=BatchingOptions(**options))

    async def main() -> None:
        try:
            await asyncio.wait_for(work(batcher, machine), 30)
        finally:
            machine.go.set()
            batcher.close()

    asyncio.run(main())
    return machine.sizes


async def held(batcher: Batcher, machine: Machine) -> asyncio.Future[list[Any]]:
    """A request that is running and stays so until `machine.go` is set."""
    machine.go.clear()
    first = batcher.submit(rows(0.0), FETCH, joinable=True)
    await asyncio.to_thread(machine.started.acquire)
    return first


def test_a_lone_request_runs_at_once() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        (answer,) = await batcher.submit(rows(1.0, 2.0), FETCH, joinable=True)
        assert answer.tolist() == [2.0, 4.0]

    assert with_batcher(work) == [2]


def test_what_queued_meanwhile_is_the_next_batch() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        first = await held(batcher, machine)
        others = [batcher.submit(rows(*[float(i)] * i), FETCH, joinable=True) for i in range(1, 5)]
        machine.go.set()
        answers = [answer.tolist() for (answer,) in await asyncio.gather(first, *others)]
        assert answers == [[0.0], [2.0], [4.0] * 2, [6.0] * 3, [8.0] * 4]

    assert with_batcher(work) == [1, 10]


def test_clients_that_ask_again_and_again_fall_into_step() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        first = await held(batcher, machine)
        others = [batcher.submit(rows(1.0), FETCH, joinable=True) for _ in range(3)]
        machine.go.set()
        await first
        again = batcher.submit(rows(1.0), FETCH, joinable=True)
        await asyncio.gather(again, *others)
        await asyncio.gather(*(batcher.submit(rows(1.0), FETCH, joinable=True) for _ in range(4)))

    assert with_batcher(work, gather=1e9) == [1, 4, 4]


def test_no_batch_waits_for_ever_for_clients_that_left() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        first = await held(batcher, machine)
        others = [batcher.submit(rows(1.0), FETCH, joinable=True) for _ in range(3)]
        machine.go.set()
        await asyncio.gather(first, *others)
        await batcher.submit(rows(1.0), FETCH, joinable=True)
        assert not batcher._last
        await batcher.submit(rows(1.0), FETCH, joinable=True)

    assert with_batcher(work, gather=1.0) == [1, 3, 1, 1]


def test_a_lone_client_never_waits() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        for _ in range(3):
            await batcher.submit(rows(1.0, 2.0), FETCH, joinable=True)

    assert with_batcher(work, gather=1e9) == [2, 2, 2]


def test_what_is_remembered_of_batches_is_bounded() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        for width in range(1, 70):
            first = await held(batcher, machine)
            x = np.ones((1, width), np.float32)
            others = [batcher.submit({"x": x}, FETCH, joinable=True) for _ in range(2)]
            machine.go.set()
            await asyncio.gather(first, *others)
        assert len(batcher._last) == 64

    with_batcher(work, gather=1e6)


def test_batches_have_a_largest_size() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        first = await held(batcher, machine)
        others = [batcher.submit(rows(1.0, 1.0), FETCH, joinable=True) for _ in range(5)]
        machine.go.set()
        await asyncio.gather(first, *others)

    assert with_batcher(work, max_batch_size=4) == [1, 4, 4, 2]


def test_batches_are_padded_to_allowed_sizes() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        (answer,) = await batcher.submit(rows(1.0, 2.0, 3.0), FETCH, joinable=True)
        assert answer.tolist() == [2.0, 4.0, 6.0]

    assert with_batcher(work, max_batch_size=8, allowed_sizes=(1, 4, 8)) == [4]


@pytest.mark.parametrize("pad", [True, False])
def test_inputs_of_other_lengths_are_padded_with_their_first_element_where_asked(pad: bool) -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        first = await held(batcher, machine)
        sent = [np.array([[1.0, 2.0]]), np.array([[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]), np.zeros((1, 0))]
        others = [batcher.submit({"x": x}, FETCH, joinable=True) for x in sent]
        machine.go.set()
        answers = [answer.tolist() for (answer,) in (await asyncio.gather(first, *others))[1:]]
        short = [[2.0, 4.0, 2.0]] if pad else [[2.0, 4.0]]
        assert answers == [short, [[6.0, 8.0, 10.0], [12.0, 14.0, 16.0]], [[]]]

    assert sorted(with_batcher(work, pad=pad)) == ([1, 1, 3] if pad else [1, 1, 1, 2])


def test_strings_are_padded_too() -> None:
    first, second = np.array([[b"a", b"b"]], object), np.array([[b"c"]], object)
    joined = batching._padded([first, second])
    assert [part.tolist() for part in joined] == [[[b"a", b"b"]], [[b"c", b"c"]]]
    assert joined[1].dtype == object


def test_a_full_queue_refuses_in_the_words_of_tensorflow_serving() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        first = await held(batcher, machine)
        second = batcher.submit(rows(1.0, 1.0), FETCH, joinable=True)
        with pytest.raises(ServingError) as caught:
            batcher.submit(rows(1.0), FETCH, joinable=True)
        assert (caught.value.code, caught.value.details) == (
            "UNAVAILABLE",
            "The batch scheduling queue to which this task was submitted is full; currently 1 batches "
            "enqueued and max_enqueued_batches is 1",
        )
        machine.go.set()
        await asyncio.gather(first, second)

    assert with_batcher(work, max_batch_size=2, max_enqueued_batches=1) == [1, 2]


def test_cancelled_requests_leave_the_queue_and_make_room() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        first = await held(batcher, machine)
        gone = batcher.submit(rows(5.0, 5.0, 5.0), FETCH, joinable=True)
        gone.cancel()
        last = batcher.submit(rows(1.0), FETCH, joinable=True)
        machine.go.set()
        await asyncio.gather(first, last)

    assert with_batcher(work) == [1, 1]


def test_requests_whose_deadline_passed_do_not_run() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        first = await held(batcher, machine)
        late = batcher.submit(rows(5.0), FETCH, joinable=True, deadline=time.monotonic())
        machine.go.set()
        await first
        with pytest.raises(ServingError) as caught:
            await late
        assert caught.value.code == "DEADLINE_EXCEEDED"

    assert with_batcher(work) == [1]


def test_one_bad_request_does_not_spoil_the_batch() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        first = await held(batcher, machine)
        good = batcher.submit(rows(1.0), FETCH, joinable=True)
        bad = batcher.submit(rows(-1.0), FETCH, joinable=True)
        machine.go.set()
        assert [answer.tolist() for (answer,) in await asyncio.gather(first, good)] == [[0.0], [2.0]]
        with pytest.raises(ServingError, match="negative"):
            await bad

    assert with_batcher(work) == [1, 2, 1, 1]


def test_constants_are_shared_and_not_split() -> None:
    class Names(Machine):
        def run(self, feeds: Mapping[str, Any], fetches: Sequence[str]) -> list[Any]:
            return [*super().run(feeds, fetches), np.array([b"a", b"b"], object)]

    machine = Names()
    batcher = Batcher(machine.run, options=BatchingOptions())

    async def main() -> None:
        machine.go.clear()
        futures = [
            batcher.submit(rows(*[1.0] * size), ("y", "names"), joinable=True, constants={"names"})
            for size in (1, 2, 2)
        ]
        machine.go.set()
        answers = await asyncio.gather(*futures)
        assert [(y.tolist(), names.tolist()) for y, names in answers] == [
            ([2.0] * size, [b"a", b"b"]) for size in (1, 2, 2)
        ]

    asyncio.run(main())
    batcher.close()
    assert sum(machine.sizes) == 5


def test_requests_of_different_kinds_run_apart() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        first = await held(batcher, machine)
        wide = batcher.submit({"x": np.ones((1, 2), np.float32)}, FETCH, joinable=True)
        whole = batcher.submit({"x": np.ones(1, np.int32)}, FETCH, joinable=True)
        alone = [batcher.submit(rows(1.0), FETCH, joinable=False) for _ in range(2)]
        machine.go.set()
        answers = await asyncio.gather(first, wide, whole, *alone)
        assert [answer.shape for (answer,) in answers] == [(1,), (1, 2), (1,), (1,), (1,)]

    assert with_batcher(work) == [1] * 5


def test_requests_larger_than_a_batch_run_alone_or_are_refused() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        (answer,) = await batcher.submit(rows(1.0, 2.0, 3.0), FETCH, joinable=True)
        assert answer.tolist() == [2.0, 4.0, 6.0]

    assert with_batcher(work, max_batch_size=2) == [3]

    async def refused(batcher: Batcher, machine: Machine) -> None:
        with pytest.raises(ServingError) as caught:
            batcher.submit(rows(1.0, 2.0, 3.0), FETCH, joinable=True)
        assert (caught.value.code, caught.value.details) == (
            "INVALID_ARGUMENT",
            "Task size 3 is larger than maximum input batch size 2",
        )

    assert with_batcher(refused, max_batch_size=2, refuse_larger=True) == []


def test_a_model_that_does_not_keep_rows_apart_is_asked_one_by_one() -> None:
    class Mean(Machine):
        def run(self, feeds: Mapping[str, Any], fetches: Sequence[str]) -> list[Any]:
            super().run(feeds, fetches)
            return [feeds["x"].mean(keepdims=True)]

    machine = Mean()
    batcher = Batcher(machine.run, options=BatchingOptions())

    async def main() -> None:
        for _ in range(2):
            first = await held(batcher, machine)
            others = [batcher.submit(rows(float(i)), FETCH, joinable=True) for i in (1, 2)]
            machine.go.set()
            answers = await asyncio.gather(first, *others)
            assert [answer.tolist() for (answer,) in answers] == [[0.0], [1.0], [2.0]]

    asyncio.run(main())
    batcher.close()
    assert machine.sizes == [1, 2, 1, 1, 1, 1, 1]


@settings(max_examples=20, deadline=None)
@given(
    requests=st.lists(st.lists(st.floats(0, 8, width=16), min_size=1, max_size=5), min_size=1, max_size=30),
    size=st.integers(1, 8),
)
def test_everybody_gets_an_own_answer(requests: list[list[float]], size: int) -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        futures = [batcher.submit(rows(*values), FETCH, joinable=True) for values in requests]
        answers = [answer.tolist() for (answer,) in await asyncio.gather(*futures)]
        assert answers == [[value * 2 for value in values] for values in requests]

    sizes = with_batcher(work, max_batch_size=size)
    assert sum(sizes) == sum(map(len, requests))
    assert all(found <= max(size, 5) for found in sizes)


def test_a_closed_queue_refuses() -> None:
    async def work(batcher: Batcher, machine: Machine) -> None:
        batcher.close()
        with pytest.raises(ServingError, match="shutting down") as caught:
            batcher.submit(rows(1.0), FETCH, joinable=True)
        assert caught.value.code == "UNAVAILABLE"

    assert with_batcher(work) == []


def test_options_come_from_the_batching_parameters() -> None:
    parameters = protos.BatchingParameters(allowed_batch_sizes=[2, 8])
    parameters.max_batch_size.value = 8
    parameters.batch_timeout_micros.value = 1000
    parameters.num_batch_threads.value = 3
    assert BatchingOptions.from_parameters(parameters) == BatchingOptions(
        max_batch_size=8,
        max_enqueued_batches=10,
        threads=3,
        timeout=0.001,
        gather=0.0,
        allowed_sizes=(2, 8),
        refuse_larger=True,
    )
    parameters.allowed_batch_sizes.append(9)
    with pytest.raises(ServingError, match="must increase and end with max_batch_size, 8"):
        BatchingOptions.from_parameters(parameters)
    assert BatchingOptions.from_parameters(protos.BatchingParameters(pad_variable_length_inputs=True)).pad
