"""The gRPC server: one model, its newest version at the time of the start."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import grpc

from kerasft.errors import KerasftError
from kerasft.export import layout, replay
from kerasft.export.runtime import Model
from kerasft.serving import protos
from kerasft.serving.errors import ServingError
from kerasft.serving.server.servable import Servable

_MESSAGE_LIMIT = 1024
_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.so_reuseport", 0),  # Otherwise two servers share a port without a word.
]
_WORKERS = 16


class Server:
    """A Predict server of one model, for development, demos and tests. It does not look for newer versions.

    Args:
        target: A model's folder, of which the newest version is served, or a version folder.
        grpc_port: The port; 0 picks a free one.
        host: The address to listen on.
        model_name: What clients call the model.
        threads: Threads within one op and between ops; None takes all cores.

    Raises:
        KerasftError: If there is no model, or it cannot be loaded, or one of its warm-up requests fails.

    Example:
        >>> with Server("saved_models/reviews", grpc_port=0) as server:      # doctest: +SKIP
        ...     print(server.address)
    """

    def __init__(
        self,
        target: str | PathLike[str],
        *,
        grpc_port: int = 8500,
        host: str = "127.0.0.1",
        model_name: str = "default",
        threads: int | None = None,
    ) -> None:
        _check_port(host, grpc_port)
        folder = layout.version_folder(Path(target)).absolute()
        version = int(folder.name) if layout.is_version(folder.name) else 1
        model = _load(folder, threads)
        self.servable = Servable(name=model_name, version=version, model=model)
        self.host, self.port = host, grpc_port
        self._server: grpc.Server | None = None

    @property
    def address(self) -> str:
        """`"host:port"`, with the port that was picked once the server has started."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def start(self) -> None:
        """Starts to answer.

        Raises:
            ServingError: If the port cannot be had.
        """
        _check_port(self.host, self.port)
        server = grpc.server(
            ThreadPoolExecutor(_WORKERS, thread_name_prefix="kerasft-serving"), options=_OPTIONS
        )
        servable = self.servable
        methods = {
            "PredictionService": {
                "Predict": _method(servable.predict, protos.PredictRequest),
                "GetModelMetadata": _method(servable.metadata, protos.GetModelMetadataRequest),
            },
            "ModelService": {"GetModelStatus": _method(servable.status, protos.GetModelStatusRequest)},
        }
        for service, handlers in methods.items():
            generic = grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", handlers)
            server.add_generic_rpc_handlers((generic,))
        try:
            port = server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise _no_port(self.host, self.port, str(error)) from error
        if not port:
            raise _no_port(self.host, self.port, "the address is in use")
        self.port = port
        server.start()
        self._server = server

    def stop(self, *, grace: float = 5.0) -> None:
        """Stops taking requests, lets those under way end within `grace` seconds, and frees the model."""
        if self._server is not None:
            self._server.stop(grace).wait()
            self._server = None
        self.servable.model.close()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def serve(
    target: str | PathLike[str],
    *,
    grpc_port: int = 8500,
    host: str = "127.0.0.1",
    model_name: str = "default",
    threads: int | None = None,
    on_ready: Callable[[str], None] | None = None,
    while_loading: contextlib.AbstractContextManager[None] | None = None,
) -> None:
    """Serves a model until SIGINT or SIGTERM. Call it from the main thread.

    Args:
        target: A model's folder, of which the newest version is served, or a version folder.
        grpc_port: The port; 0 picks a free one.
        host: The address to listen on.
        model_name: What clients call the model.
        threads: Threads within one op and between ops; None takes all cores.
        on_ready: Called with `"host:port"` once the warm-up has run and the server answers.
        while_loading: Entered while the model loads, to hold back what TensorFlow logs, for one.

    Raises:
        KerasftError: If the model or the port cannot be had.
    """
    stopping = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with while_loading or contextlib.nullcontext():
            server = Server(target, grpc_port=grpc_port, host=host, model_name=model_name, threads=threads)
        with server:
            servable = server.servable
            print(
                f"serving version {servable.version} of {servable.model.path.parent} as '{model_name}' "
                f"at {server.address} (gRPC); stop with Ctrl-C",
                flush=True,
            )
            if on_ready is not None:
                on_ready(server.address)
            stopping.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _load(folder: Path, threads: int | None) -> Model:
    try:
        model = Model(folder, threads=threads)
    except KerasftError as error:
        raise ServingError(f"the model at {folder} cannot be served: {error}") from error
    check = replay.replay_warmup(model, replay.NotFinite())
    if check.ok is False:
        model.close()
        raise ServingError(f"the model at {folder} cannot be served: {check.detail}")
    return model


def _method(answer: Callable[[Any], Any], request: Any) -> grpc.RpcMethodHandler[Any, Any]:
    def guarded(message: Any, context: grpc.ServicerContext) -> Any:
        try:
            return answer(message)
        except ServingError as error:
            text = error.details
            if len(text) > _MESSAGE_LIMIT:
                text = text[:_MESSAGE_LIMIT] + "...TRUNCATED"
            context.abort(grpc.StatusCode[error.code], text)

    return grpc.unary_unary_rpc_method_handler(
        guarded,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


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
