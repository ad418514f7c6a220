"""Requests that wait run together, and each gets what it would have got alone."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft.serving import ServingError, protos
from kerasft.serving.server import batching
from kerasft.serving.server.batching import Batcher
from kerasft.serving.server.batching_options import BatchingOptions
from kerasft.serving.server.caller import Caller

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


class Client(Caller):
    """A caller that tells when its request is in the queue."""

    def __init__(self, deadline: float | None = None) -> None:
        super().__init__(deadline=deadline)
        self.queued = threading.Event()


class Clients(Batcher):
    """A batcher, and a thread for each of those who ask it."""

    def __init__(self, machine: Machine, **options: Any) -> None:
        super().__init__(machine.run, options=BatchingOptions(**options))
        self._pool = futures.ThreadPoolExecutor(100)

    def _queue(self, job: Any) -> None:
        super()._queue(job)
        job.caller.queued.set()

    def ask(
        self,
        feeds: Mapping[str, Any],
        fetches: Sequence[str] = FETCH,
        *,
        joinable: bool = True,
        constants: Collection[str] = (),
        client: Client | None = None,
        **options: Any,
    ) -> futures.Future[list[Any]]:
        """Returns the answer to come, once the request runs or waits in the queue, or was refused."""
        client = client or Client()
        future = self._pool.submit(
            self.run, feeds, fetches, joinable=joinable, caller=client, constants=constants, **options
        )
        future.add_done_callback(lambda _: client.queued.set())
        client.queued.wait()
        return future

    def hold(self, machine: Machine, x: Any = 0.0) -> futures.Future[list[Any]]:
        """A request that is running and stays so until `machine.go` is set."""
        machine.go.clear()
        first = self.ask({"x": np.array(x, np.float32, ndmin=1)})
        machine.started.acquire()
        return first


def results(*answers: futures.Future[list[Any]]) -> list[list[Any]]:
    return [answer.result(timeout=30) for answer in answers]


def with_batcher(
    work: Callable[[Clients, Machine], None], machine: Machine | None = None, **options: Any
) -> list[int]:
    """Runs `work` and returns the sizes of the batches that ran."""
    machine = machine or Machine()
    batcher = Clients(machine, **options)
    try:
        work(batcher, machine)
    finally:
        machine.go.set()
        batcher.close()
        batcher._pool.shutdown()
    assert not batcher._lines
    assert not batcher._running
    assert not batcher._queued_rows
    return machine.sizes


def test_a_lone_request_runs_at_once() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        ((answer,),) = results(batcher.ask(rows(1.0, 2.0)))
        assert answer.tolist() == [2.0, 4.0]

    assert with_batcher(work) == [2]


def test_what_queued_meanwhile_is_the_next_batch() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        others = [batcher.ask(rows(*[float(i)] * i)) for i in range(1, 5)]
        machine.go.set()
        answers = [answer.tolist() for (answer,) in results(first, *others)]
        assert answers == [[0.0], [2.0], [4.0] * 2, [6.0] * 3, [8.0] * 4]

    assert with_batcher(work) == [1, 10]


def test_clients_that_ask_again_and_again_fall_into_step() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        others = [batcher.ask(rows(1.0)) for _ in range(3)]
        machine.go.set()
        results(first)
        again = batcher.ask(rows(1.0))
        results(again, *others)
        results(*(batcher.ask(rows(1.0)) for _ in range(4)))

    assert with_batcher(work, gather=1e9) == [1, 4, 4]


def test_clients_in_step_in_two_groups_find_each_other() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        other = batcher.ask(rows(1.0))
        machine.go.set()
        results(first)
        results(other, batcher.ask(rows(1.0)))
        for _ in range(batching._BATCHES_PER_TRY - 3):
            results(*(batcher.ask(rows(1.0)) for _ in range(2)))
        for size in (3, 4):  # Now one more is waited for, and again as one came.
            results(*(batcher.ask(rows(1.0)) for _ in range(size)))

    assert with_batcher(work, gather=1e9) == [1] + [2] * (batching._BATCHES_PER_TRY - 2) + [3, 4]


def test_a_client_that_comes_late_once_is_waited_for_again() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        others = [batcher.ask(rows(1.0)) for _ in range(2)]
        machine.go.set()
        results(first)
        results(*others, batcher.ask(rows(1.0)))
        others = [batcher.ask(rows(1.0)) for _ in range(2)]
        gone = Client()
        gone.leave()
        with pytest.raises(ServingError):
            results(batcher.ask(rows(1.0), client=gone))
        results(*others)
        results(*(batcher.ask(rows(1.0)) for _ in range(3)))

    assert with_batcher(work, gather=1e9) == [1, 3, 2, 3]


def test_no_batch_waits_for_ever_for_clients_that_left() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        others = [batcher.ask(rows(1.0)) for _ in range(3)]
        machine.go.set()
        results(first, *others)
        results(batcher.ask(rows(1.0)))
        assert not batcher._last
        results(batcher.ask(rows(1.0)))

    assert with_batcher(work, gather=1.0) == [1, 3, 1, 1]


def test_a_lone_client_never_waits() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        for _ in range(3):
            results(batcher.ask(rows(1.0, 2.0)))

    assert with_batcher(work, gather=1e9) == [2, 2, 2]


def test_what_is_remembered_of_batches_is_bounded() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        for width in range(1, 70):
            x = np.ones((1, width), np.float32)
            first = batcher.hold(machine, x)
            others = [batcher.ask({"x": x}) for _ in range(2)]
            machine.go.set()
            results(first, *others)
        assert len(batcher._last) == 64

    with_batcher(work)


def test_batches_have_a_largest_size() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        others = [batcher.ask(rows(1.0, 1.0)) for _ in range(5)]
        machine.go.set()
        results(first, *others)

    assert with_batcher(work, max_batch_size=4) == [1, 4, 4, 2]


def test_batches_are_padded_to_allowed_sizes() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        ((answer,),) = results(batcher.ask(rows(1.0, 2.0, 3.0)))
        assert answer.tolist() == [2.0, 4.0, 6.0]

    assert with_batcher(work, max_batch_size=8, allowed_sizes=(1, 4, 8)) == [4]


@pytest.mark.parametrize("pad", [True, False])
def test_inputs_of_other_lengths_are_padded_with_their_first_element_where_asked(pad: bool) -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine, np.zeros((1, 3)))
        sent = [[[1.0, 2.0]], [[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]], np.zeros((1, 0))]
        others = [batcher.ask({"x": np.array(x, np.float32)}) for x in sent]
        machine.go.set()
        answers = [answer.tolist() for (answer,) in (results(first, *others))[1:]]
        short = [[2.0, 4.0, 2.0]] if pad else [[2.0, 4.0]]
        assert answers == [short, [[6.0, 8.0, 10.0], [12.0, 14.0, 16.0]], [[]]]

    assert sorted(with_batcher(work, pad=pad)) == ([1, 1, 3] if pad else [1, 1, 1, 2])


def test_strings_are_padded_too() -> None:
    first, second = np.array([[b"a", b"b"]], object), np.array([[b"c"]], object)
    joined = batching._padded([first, second])
    assert [part.tolist() for part in joined] == [[[b"a", b"b"]], [[b"c", b"c"]]]
    assert joined[1].dtype == object


def test_a_full_queue_refuses_in_the_words_of_tensorflow_serving() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        second = batcher.ask(rows(1.0, 1.0))
        with pytest.raises(ServingError) as caught:
            results(batcher.ask(rows(1.0)))
        assert (caught.value.code, caught.value.details) == (
            "UNAVAILABLE",
            "The batch scheduling queue to which this task was submitted is full; currently 1 batches "
            "enqueued and max_enqueued_batches is 1",
        )
        machine.go.set()
        results(first, second)

    assert with_batcher(work, max_batch_size=2, max_enqueued_batches=1) == [1, 2]


def test_cancelled_requests_leave_the_queue_and_make_room() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        client = Client()
        gone = batcher.ask(rows(5.0, 5.0, 5.0), client=client)
        client.leave()
        with pytest.raises(ServingError) as caught:
            results(gone)
        assert caught.value.code == "CANCELLED"
        last = batcher.ask(rows(1.0, 1.0, 1.0))
        machine.go.set()
        results(first, last)

    assert with_batcher(work, max_batch_size=3, max_enqueued_batches=1) == [1, 3]


def test_requests_whose_deadline_passed_do_not_run() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        late = batcher.ask(rows(5.0), client=Client(deadline=time.monotonic()))
        with pytest.raises(ServingError) as caught:
            results(late)
        assert caught.value.code == "DEADLINE_EXCEEDED"
        machine.go.set()
        results(first)

    assert with_batcher(work) == [1]


def test_one_bad_request_does_not_spoil_the_batch() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        good = batcher.ask(rows(1.0))
        bad = batcher.ask(rows(-1.0))
        machine.go.set()
        assert [answer.tolist() for (answer,) in results(first, good)] == [[0.0], [2.0]]
        with pytest.raises(ServingError, match="negative"):
            results(bad)

    assert with_batcher(work) == [1, 2, 1, 1]


def test_a_request_runs_in_the_thread_of_one_that_waits() -> None:
    class Threads(Machine):
        def run(self, feeds: Mapping[str, Any], fetches: Sequence[str]) -> list[Any]:
            threads.append(threading.current_thread().name)
            return super().run(feeds, fetches)

    threads: list[str] = []

    def work(batcher: Clients, machine: Machine) -> None:
        batcher.run(rows(1.0), FETCH, joinable=True, caller=Client())
        assert threads == [threading.current_thread().name]
        first = batcher.hold(machine)
        others = [batcher.ask(rows(1.0)) for _ in range(2)]
        machine.go.set()
        results(first, *others)
        assert {name.partition("-")[0] for name in threads[1:]} == {"ThreadPoolExecutor"}

    with_batcher(work, Threads())


def test_who_leaves_does_not_wait_for_a_batch_that_runs() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        clients = [Client() for _ in range(3)]
        asked = [batcher.ask(rows(float(i)), client=client) for i, client in enumerate(clients)]
        before, machine.go = machine.go, threading.Event()
        before.set()
        results(first)
        machine.started.acquire()
        clients[2].leave()
        with pytest.raises(ServingError) as caught:
            results(asked[2])
        assert caught.value.code == "CANCELLED"
        machine.go.set()
        assert [answer.tolist() for (answer,) in results(*asked[:2])] == [[0.0], [2.0]]

    assert with_batcher(work) == [1, 3]


@pytest.mark.parametrize("part", ["run", "finish"])
def test_a_request_that_fails_leaves_nothing_in_memory(part: str) -> None:
    def fail(*_: Any) -> Any:
        raise ServingError("no", code="INTERNAL")

    def ask() -> weakref.ref[Any]:
        feeds = rows(1.0)
        batcher = Batcher(fail if part == "run" else Machine().run, options=BatchingOptions())
        with pytest.raises(ServingError, match="no"):
            batcher.run(feeds, FETCH, joinable=True, caller=Caller(), finish=fail)
        return weakref.ref(feeds["x"])

    gc.collect()
    gc.disable()
    try:
        assert ask()() is None
    finally:
        gc.enable()


def test_an_answer_that_cannot_be_made_fails_alone() -> None:
    def finish(values: list[Any]) -> Any:
        if values[0][0] == 4:
            raise ServingError("four", code="OUT_OF_RANGE")
        return values[0].tolist()

    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        asked = [batcher.ask(rows(value), finish=finish) for value in (1.0, 2.0, 3.0)]
        machine.go.set()
        assert results(first, asked[0], asked[2])[1:] == [[2.0], [6.0]]
        with pytest.raises(ServingError, match="four"):
            results(asked[1])

    assert with_batcher(work) == [1, 3]


def test_so_many_batches_of_a_kind_run_at_a_time() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        running = [batcher.hold(machine) for _ in range(3)]
        others = [batcher.ask(rows(1.0)) for _ in range(2)]
        machine.go.set()
        results(*running, *others)

    assert with_batcher(work, threads=3) == [1, 1, 1, 2]


def test_a_batch_waits_for_others_for_a_time_and_no_longer() -> None:
    def full(batcher: Clients, machine: Machine) -> None:
        client = Client()
        gone = batcher.ask(rows(1.0), client=client)
        client.leave()
        with pytest.raises(ServingError):
            results(gone)
        results(*(batcher.ask(rows(1.0)) for _ in range(3)))

    assert with_batcher(full, max_batch_size=3, timeout=1e6) == [3]

    def over(batcher: Clients, machine: Machine) -> None:
        client = Client()
        gone = batcher.ask(rows(1.0), client=client)
        other = batcher.ask(rows(2.0))
        client.leave()
        results(other)
        with pytest.raises(ServingError):
            results(gone)

    assert with_batcher(over, max_batch_size=3, timeout=0.2) == [1]

    def closed(batcher: Clients, machine: Machine) -> None:
        waiting = batcher.ask(rows(1.0))
        batcher.close()
        results(waiting)

    assert with_batcher(closed, max_batch_size=3, timeout=1e6) == [1]


@settings(max_examples=20, deadline=None)
@given(
    fates=st.lists(st.sampled_from(["stay", "leave", "late", "wide", "alone"]), min_size=1, max_size=40),
    options=st.sampled_from([{}, {"threads": 2}, {"timeout": 0.001}, {"max_batch_size": 3}]),
)
def test_whoever_leaves_nobody_waits_for_ever(fates: list[str], options: dict[str, Any]) -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        asked = []
        for number, fate in enumerate(fates):
            client = Client(deadline=time.monotonic() if fate == "late" else None)
            x = np.full((1, 2) if fate == "wide" else 1, number, np.float32)
            asked.append(batcher.ask({"x": x}, joinable=fate != "alone", client=client))
            if fate == "leave":
                client.leave()
        for number, (fate, future) in enumerate(zip(fates, asked, strict=True)):
            error = future.exception(timeout=30)
            if error is None:
                assert (future.result()[0] == 2 * number).all()
            else:
                assert fate in ("leave", "late")

    with_batcher(work, **options)


def test_constants_are_shared_and_not_split() -> None:
    class Names(Machine):
        def run(self, feeds: Mapping[str, Any], fetches: Sequence[str]) -> list[Any]:
            return [*super().run(feeds, fetches), np.array([b"a", b"b"], object)]

    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        others = [batcher.ask(rows(*[1.0] * size), ("y", "names"), constants={"names"}) for size in (1, 2, 2)]
        machine.go.set()
        answers = results(first, *others)[1:]
        assert [(y.tolist(), names.tolist()) for y, names in answers] == [
            ([2.0] * size, [b"a", b"b"]) for size in (1, 2, 2)
        ]

    assert sum(with_batcher(work, Names())) == 6


def test_requests_of_different_kinds_run_apart() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        first = batcher.hold(machine)
        wide = batcher.ask({"x": np.ones((1, 2), np.float32)})
        whole = batcher.ask({"x": np.ones(1, np.int32)})
        alone = [batcher.ask(rows(1.0), joinable=False) for _ in range(2)]
        machine.go.set()
        answers = results(first, wide, whole, *alone)
        assert [answer.shape for (answer,) in answers] == [(1,), (1, 2), (1,), (1,), (1,)]

    assert with_batcher(work) == [1] * 5


def test_requests_larger_than_a_batch_run_alone_or_are_refused() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        ((answer,),) = results(batcher.ask(rows(1.0, 2.0, 3.0)))
        assert answer.tolist() == [2.0, 4.0, 6.0]

    assert with_batcher(work, max_batch_size=2) == [3]

    def refused(batcher: Clients, machine: Machine) -> None:
        with pytest.raises(ServingError) as caught:
            results(batcher.ask(rows(1.0, 2.0, 3.0)))
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

    def work(batcher: Clients, machine: Machine) -> None:
        for _ in range(2):
            first = batcher.hold(machine)
            others = [batcher.ask(rows(float(i))) for i in (1, 2)]
            machine.go.set()
            assert [answer.tolist() for (answer,) in results(first, *others)] == [[0.0], [1.0], [2.0]]

    assert with_batcher(work, Mean()) == [1, 2, 1, 1, 1, 1, 1]


@settings(max_examples=20, deadline=None)
@given(
    requests=st.lists(st.lists(st.floats(0, 8, width=16), min_size=1, max_size=5), min_size=1, max_size=30),
    size=st.integers(1, 8),
)
def test_everybody_gets_an_own_answer(requests: list[list[float]], size: int) -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        asked = [batcher.ask(rows(*values)) for values in requests]
        answers = [answer.tolist() for (answer,) in results(*asked)]
        assert answers == [[value * 2 for value in values] for values in requests]

    sizes = with_batcher(work, max_batch_size=size)
    assert sum(sizes) == sum(map(len, requests))
    assert all(found <= max(size, 5) for found in sizes)


def test_a_closed_queue_refuses() -> None:
    def work(batcher: Clients, machine: Machine) -> None:
        batcher.close()
        with pytest.raises(ServingError, match="shutting down") as caught:
            results(batcher.ask(rows(1.0)))
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
