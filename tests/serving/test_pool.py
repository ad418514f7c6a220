"""Threads for calls: each call gets one at once, as long as there may be more of them."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kerasft.serving.server.pool import Started, WarmPool


@pytest.fixture
def pool() -> Iterator[WarmPool]:
    with WarmPool(2, name="test") as pool:
        yield pool


def wait_for(started: Started) -> None:
    ended = threading.Event()
    started.add_done_callback(lambda _: ended.set())
    ended.wait()


def test_work_goes_to_the_thread_that_was_idle_last(pool: WarmPool) -> None:
    names: list[str] = []
    both = threading.Barrier(2)

    def work(*, meet: bool = False) -> None:
        if meet:
            both.wait()
        names.append(threading.current_thread().name)

    for started in [pool.submit(work, meet=True) for _ in range(2)]:
        wait_for(started)
    assert set(names) == {"test-0", "test-1"}
    for _ in range(10):
        wait_for(pool.submit(work))
    assert len(set(names[2:])) == 1


def test_more_work_than_threads_waits(pool: WarmPool) -> None:
    go, running, done = threading.Event(), threading.Semaphore(0), []

    def work(number: int) -> None:
        running.release()
        go.wait()
        done.append(number)

    started = [pool.submit(work, number) for number in range(5)]
    running.acquire()
    running.acquire()
    assert not running.acquire(blocking=False)
    go.set()
    for one in started:
        wait_for(one)
    assert sorted(done) == list(range(5))


def test_who_asks_late_is_told_too(pool: WarmPool) -> None:
    started = pool.submit(int)
    wait_for(started)
    told: list[Any] = []
    started.add_done_callback(told.append)
    assert told == [started]


def test_work_that_fails_is_logged_and_ends(pool: WarmPool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "kerasft.serving"):
        wait_for(pool.submit(int, "x"))
    assert caplog.messages == ["a call failed outside its handler"]
    wait_for(pool.submit(int))


def test_the_end_waits_for_all_work() -> None:
    pool, go, done = WarmPool(1, name="test"), threading.Event(), []
    pool.submit(go.wait)
    for number in range(3):
        pool.submit(done.append, number)
    ending = threading.Thread(target=pool.shutdown)
    ending.start()
    go.set()
    ending.join()
    assert done == [0, 1, 2]
    with pytest.raises(RuntimeError, match="no more work"):
        pool.submit(int)


def test_where_the_system_allows_no_more_threads_work_waits(
    pool: WarmPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    go, done = threading.Event(), []
    first = pool.submit(go.wait)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    second = pool.submit(done.append, 1)
    go.set()
    wait_for(first)
    wait_for(second)
    assert done == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such threads")
def test_a_thread_that_is_woken_lets_others_go_on(pool: WarmPool) -> None:
    found: list[int] = []
    before = os.sched_getscheduler(0)
    wait_for(pool.submit(lambda: found.append(os.sched_getscheduler(0))))
    assert found == [os.SCHED_BATCH]
    assert os.sched_getscheduler(0) == before
