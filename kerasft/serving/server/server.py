"""The server: models, a gRPC port, and a life from the first load to the last answer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.util
import ipaddress
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from os import PathLike
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import grpc

from kerasft.serving.errors import ServingError
from kerasft.serving.server import config as configs
from kerasft.serving.server import grpc_api, metrics
from kerasft.serving.server.batching_options import BatchingOptions
from kerasft.serving.server.manager import ModelManager
from kerasft.serving.server.pool import WarmPool
from kerasft.serving.server.services import Services
from kerasft.serving.server.tls import Tls

DEFAULT_MESSAGE_BYTES = 256 * 2**20
DEFAULT_CONCURRENCY = 1024

_SIGNAL_SECONDS = 0.2
_OBJECTS_PER_COLLECTION = 50_000  # Python's 700 are made by a few requests.
_log = logging.getLogger("kerasft.serving")


class Server:
    """A server with TensorFlow Serving's interface, for development, tests and small deployments.

    It runs in threads of its own. What it answers, and with which status codes and messages, is what
    TensorFlow Serving would. Versions that appear in a model's folder while it runs are loaded, warmed up and
    served without a pause.

    Args:
        target: A model's folder, of which the newest version is served, or a version folder; None if `config`
            says what to serve.
        config: A ModelServerConfig: several models, other version policies, labels.
        model_name: What clients call the model in `target`.
        host: The address to listen on.
        grpc_port: The port of gRPC; 0 picks a free one.
        rest_port: The port of REST and of the page for Prometheus; 0 picks a free one, None opens none.
        threads: Threads within one op and between ops; None takes all cores.
        batching: How requests that come at the same time are joined.
        poll_seconds: Pause between two looks for new versions; 0 never looks again.
        model_root: Folder within which a HandleReloadConfigRequest may name base paths; None allows only
            those of the start.
        max_message_bytes: The largest request that is taken.
        max_concurrent: How many requests may be under way; more are refused.
        rest_timeout: Seconds that a REST request may take; gRPC clients set their own deadline.
        metrics_path: Path of the page for Prometheus on the REST port; None for no such page.
        reflection: Whether gRPC tells whoever asks which services and messages there are, as grpcurl does.
        tls: Keys and certificates for both ports; None speaks in the clear.
        grace: Seconds that requests under way may take once the server is told to stop.

    Raises:
        KerasftError: If there is no model, or it cannot be loaded, or one of its warm-up requests fails.

    Example:
        >>> with Server("saved_models/reviews", grpc_port=0) as server:      # doctest: +SKIP
        ...     print(server.address)
    """

    def __init__(
        self,
        target: str | PathLike[str] | None = None,
        *,
        config: Any = None,
        model_name: str = "default",
        host: str = "127.0.0.1",
        grpc_port: int = 8500,
        rest_port: int | None = None,
        threads: int | None = None,
        batching: BatchingOptions | None = None,
        poll_seconds: float = 1.0,
        model_root: str | PathLike[str] | None = None,
        max_message_bytes: int = DEFAULT_MESSAGE_BYTES,
        max_concurrent: int = DEFAULT_CONCURRENCY,
        rest_timeout: float = 30.0,
        metrics_path: str | None = metrics.PATH,
        reflection: bool = False,
        tls: Tls | None = None,
        grace: float = 5.0,
    ) -> None:
        if (target is None) == (config is None):
            raise ServingError("give either a folder or a configuration of what to serve")
        if reflection and importlib.util.find_spec("grpc_reflection") is None:
            raise ServingError("reflection needs grpcio-reflection: pip install 'kerasft[reflection]'")
        self.host, self.port, self.rest_port = host, grpc_port, rest_port
        self._poll_seconds = poll_seconds
        self._max_message_bytes, self._max_concurrent = max_message_bytes, max_concurrent
        self._rest_timeout, self._metrics_path = rest_timeout, metrics_path
        self._reflection, self._tls, self._grace = reflection, tls, grace
        self._credentials = tls.grpc_credentials() if tls is not None else None
        self._check_ports()
        self.manager = ModelManager(
            threads=threads, batching=batching, root=None if model_root is None else Path(model_root)
        )
        try:
            self.manager.start(configs.from_folders({model_name: target}) if target is not None else config)
        except BaseException:
            self.manager.close()
            raise
        self._health = grpc_api.Health(max_watches=max(1, max_concurrent // 2))
        # A thread for each request under way: most of them wait for their batch.
        self._pool = WarmPool(max_concurrent, name="kerasft-grpc")
        self._grpc: grpc.Server | None = None
        self._rest: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """`"host:port"` of gRPC, with the port that was picked once the server has started."""
        return _joined(self.host, self.port)

    @property
    def rest_address(self) -> str | None:
        """`"host:port"` of REST, or None if there is none."""
        return None if self.rest_port is None else _joined(self.host, self.rest_port)

    def start(self) -> None:
        """Starts to answer.

        Raises:
            ServingError: If the port cannot be had.
        """
        self._check_ports()
        services = Services(self.manager)
        try:
            self._open_grpc(services)
            if self.rest_port is not None:
                self._start_loop()
                self._do(self._open_rest(services))
        except BaseException:
            self._end(grace=0.0)
            raise
        if self._tls is None and not _is_loopback(self.host):
            _log.warning(
                "the server listens on %s without TLS: whoever reaches that address can read and send "
                "requests; give it a key and a certificate, or listen on 127.0.0.1",
                self.host,
            )
        if self._poll_seconds:
            self.manager.watch(self._poll_seconds)

    def stop(self) -> None:
        """Stops taking requests, lets those under way end, and frees the models."""
        self._health.drain()
        self._end(self._grace)
        self._pool.shutdown()
        self.manager.close()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _check_ports(self) -> None:
        _check_port(self.host, self.port)
        if self.rest_port is not None:
            _check_port(self.host, self.rest_port)
            if importlib.util.find_spec("aiohttp") is None:
                raise ServingError("REST needs aiohttp: pip install 'kerasft[serving]'")

    def _do(self, task: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(task, self._loop).result()

    def _start_loop(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kerasft-rest", daemon=True)
        self._thread.start()

    def _end(self, grace: float) -> None:
        stopped = self._grpc.stop(grace) if self._grpc is not None else None
        if self._loop is not None:
            if self._rest is not None:
                self._do(self._rest.cleanup())
            self._end_loop()
        if stopped is not None:
            stopped.wait()

    def _end_loop(self) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def _open_grpc(self, services: Services) -> None:
        self._grpc = grpc.server(
            self._pool,
            options=[
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", self._max_message_bytes),
                ("grpc.so_reuseport", 0),  # Otherwise two servers share a port without a word.
            ],
            maximum_concurrent_rpcs=self._max_concurrent,
        )
        self._grpc.add_generic_rpc_handlers(grpc_api.handlers(services, self._health))
        if self._reflection:
            grpc_api.add_reflection(self._grpc)
        try:
            if self._credentials is None:
                port = self._grpc.add_insecure_port(self.address)
            else:
                port = self._grpc.add_secure_port(self.address, self._credentials)
        except RuntimeError as error:
            raise _no_port(self.host, self.port, str(error)) from error
        if not port:
            raise _no_port(self.host, self.port, "the address is in use")
        self.port = port
        self._grpc.start()

    async def _open_rest(self, services: Services) -> None:
        from aiohttp import web

        from kerasft.serving.server.rest import RestApi

        api = RestApi(
            services,
            timeout=self._rest_timeout,
            max_concurrent=self._max_concurrent,
            metrics_path=self._metrics_path,
        )
        application = api.application(max_body_bytes=self._max_message_bytes)
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=self._grace
        )
        await runner.setup()
        self._rest = runner
        context = self._tls.context() if self._tls is not None else None
        try:
            await web.TCPSite(runner, self.host, self.rest_port, ssl_context=context).start()
        except OSError as error:
            assert self.rest_port is not None
            raise _no_port(self.host, self.rest_port, error.strerror or str(error)) from error
        self.rest_port = runner.addresses[0][1]


def serve(
    target: str | PathLike[str] | None = None,
    *,
    model_name: str = "default",
    on_ready: Callable[[str], None] | None = None,
    while_loading: contextlib.AbstractContextManager[None] | None = None,
    **options: Any,
) -> None:
    """Serves models until SIGINT or SIGTERM, then drains. Call it from the main thread.

    Args:
        target: As for `Server`.
        model_name: As for `Server`.
        on_ready: Called with `"host:port"` once the warm-up has run and the server answers.
        while_loading: Entered while the models load, to hold back what TensorFlow logs, for one.
        **options: The other arguments of `Server`.

    Raises:
        KerasftError: If a model or the port cannot be had.
    """
    received: list[int] = []
    thresholds = gc.get_threshold()

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with while_loading or contextlib.nullcontext():
            server = Server(target, model_name=model_name, **options)
        try:
            server.start()
            _spare_the_collector()
            rest = f" and {server.rest_address} (REST)" if server.rest_address else ""
            what = _named(server.manager.served())
            print(f"serving {what} at {server.address} (gRPC){rest}; stop with Ctrl-C", flush=True)
            if on_ready is not None:
                on_ready(server.address)
            # No Event: a handler that takes a lock held by the thread it interrupts would wait for ever.
            while not received:
                time.sleep(_SIGNAL_SECONDS)
            _log.info("the server drains: it ends the requests under way")
        finally:
            server.stop()
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        for number, handler in before.items():
            signal.signal(number, handler)


def _spare_the_collector() -> None:
    """Leaves Python's collector what requests make, and seldom: to look through the rest takes it 40 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])


def _named(served: dict[str, dict[int, Path]]) -> str:
    if len(served) > 1:
        return f"{len(served)} models ({', '.join(sorted(served))})"
    ((name, folders),) = served.items()
    numbers = ("versions " if len(folders) > 1 else "version ") + ", ".join(map(str, folders))
    return f"{numbers} of {next(iter(folders.values())).parent} as '{name}'"


def _is_loopback(host: str) -> bool:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_port(host: str, port: int) -> None:
    """Tries the port with a plain socket first: gRPC prints a page of its own when it fails."""
    if not 0 <= port <= 65535:
        raise ServingError(f"port {port} is not a port: pass 1 to 65535, or 0 for a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _no_port(host, port, error.strerror or str(error)) from error


def _no_port(host: str, port: int, why: str) -> ServingError:
    return ServingError(f"cannot listen on {host}:{port}: {why}; pass another port, or 0 for a free one")
