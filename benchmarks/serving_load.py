"""Load for servers, and what it costs them: many calls at a time from one process, CPU by process tree."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import grpc

LARGEST = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass(frozen=True)
class Load:
    """What a number of clients saw.

    Attributes:
        seconds: How long they called.
        latencies: Seconds of every call that was answered, in order of the answers.
        failures: How often each status came that is not OK.
        cpu: CPU seconds of the server meanwhile.
    """

    seconds: float
    latencies: Sequence[float]
    failures: Mapping[str, int]
    cpu: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    @property
    def cpu_each(self) -> float:
        """CPU seconds of the server for each answer."""
        return self.cpu / len(self.latencies)

    def percentile(self, percent: int) -> float:
        """Returns a percentile of the latencies, in seconds."""
        return statistics.quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


class ServerUnderLoad:
    """A server in a process of its own, started by a command.

    Args:
        command: Starts it.
        log: File for what it prints.
        cores: The cores that it and its children may use; None for all.
        environment: Variables to add.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        cores: set[int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        own = os.sched_getaffinity(0)
        self.log = log
        with log.open("w", encoding="utf-8") as output:
            os.sched_setaffinity(0, cores or own)  # What is started inherits it.
            try:
                self.process = subprocess.Popen(
                    command,
                    env={**os.environ, **(environment or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            finally:
                os.sched_setaffinity(0, own)

    def wait(self, address: str, method: str, request: bytes, *, seconds: float = 180.0) -> None:
        """Waits until it answers a request.

        Raises:
            RuntimeError: It ended, or did not answer in time.
        """
        error, end = "it ended", time.monotonic() + seconds
        with grpc.insecure_channel(address, options=LARGEST) as channel:
            while self.process.poll() is None and time.monotonic() < end:
                try:
                    channel.unary_unary(method)(request, timeout=60, wait_for_ready=True)
                    return
                except grpc.RpcError as failure:
                    error = str(failure.details())
                    time.sleep(0.5)
        raise RuntimeError(f"the server never answered ({error}); {self.log} says why")

    def cpu(self) -> float:
        """Returns the CPU seconds of the server and of all that it started."""
        return sum(_stat(pid)[1] for pid in self._tree())

    def memory(self) -> int:
        """Returns the bytes that the server and what it started hold in memory."""
        return sum(_resident(pid) for pid in self._tree())

    def stop(self) -> int:
        """Ends it and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            code = self.process.wait()
        return code

    def _tree(self) -> list[int]:
        parents = {int(entry.name): _stat(int(entry.name))[0] for entry in _processes()}
        tree, found = [], [self.process.pid]
        while found:
            tree += found
            found = [pid for pid, parent in parents.items() if parent in found]
        return tree


def put_load(
    address: str,
    method: str,
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float,
    cpu: Callable[[], float] = lambda: 0.0,
    seen: Callable[[bytes], None] = lambda answer: None,
    timeout: float = 60.0,
) -> Load:
    """Calls a method as fast as its answers come.

    Args:
        address: `"host:port"`.
        method: `"/package.Service/Method"`.
        requests: Serialized; the clients send them in turn.
        clients: Calls that are under way at any time.
        seconds: How long.
        cpu: Returns the server's CPU seconds so far.
        seen: Called with every answer.
        timeout: Seconds that a call may take.
    """
    return asyncio.run(
        _put_load(address, method, requests, clients, seconds, cpu=cpu, seen=seen, timeout=timeout)
    )


async def _put_load(
    address: str,
    method: str,
    requests: Sequence[bytes],
    clients: int,
    seconds: float,
    *,
    cpu: Callable[[], float],
    seen: Callable[[bytes], None],
    timeout: float,
) -> Load:
    latencies: list[float] = []
    failures: dict[str, int] = {}
    async with grpc.aio.insecure_channel(address, options=LARGEST) as channel:
        await asyncio.wait_for(channel.channel_ready(), timeout)
        call = channel.unary_unary(method)
        spent, began = cpu(), time.perf_counter()

        async def client(number: int) -> None:
            turn = number
            while (sent := time.perf_counter()) < began + seconds:
                try:
                    answer = await call(requests[turn % len(requests)], timeout=timeout)
                except grpc.aio.AioRpcError as error:
                    failures[error.code().name] = failures.get(error.code().name, 0) + 1
                else:
                    latencies.append(time.perf_counter() - sent)
                    seen(answer)
                turn += clients

        await asyncio.gather(*(client(number) for number in range(clients)))
        return Load(time.perf_counter() - began, latencies, failures, cpu() - spent)


def _processes() -> list[Path]:
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _stat(pid: int) -> tuple[int, float]:
    """Returns a process's parent, and its CPU seconds."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0.0
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICK


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError):
        return 0


def free_ports(count: int) -> list[int]:
    """Returns ports of this machine that nobody listens on."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
