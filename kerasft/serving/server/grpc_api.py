"""The services over gRPC: TensorFlow Serving's, and grpc.health.v1."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from kerasft.serving import protos
from kerasft.serving.errors import ServingError
from kerasft.serving.server.caller import Caller
from kerasft.serving.server.services import Services

MESSAGE_LIMIT = 1024
_SERVING, _NOT_SERVING, _UNKNOWN = 1, 2, 3

_log = logging.getLogger("kerasft.serving")


def handlers(services: Services, health: Health) -> list[grpc.GenericRpcHandler[Any, Any]]:
    """Returns what a `grpc.server` is to be given."""
    timed = {
        "Predict": services.predict,
        "Classify": services.classify,
        "Regress": services.regress,
        "MultiInference": services.multi_inference,
    }
    methods: dict[str, dict[str, Callable[[Any, grpc.ServicerContext], Any]]] = {
        protos.PREDICTION_SERVICE: {
            **{name: _timed(answer) for name, answer in timed.items()},
            "GetModelMetadata": _plain(services.metadata),
        },
        protos.MODEL_SERVICE: {
            "GetModelStatus": _plain(services.status),
            "HandleReloadConfigRequest": _plain(services.reload),
        },
        protos.HEALTH_SERVICE: {"Check": _plain(health.check), "List": _plain(health.list)},
    }
    result = []
    for service, answers in methods.items():
        messages = protos.methods(service)
        made = {
            name: grpc.unary_unary_rpc_method_handler(
                _guarded(answer),
                request_deserializer=messages[name][0].FromString,
                response_serializer=_serialize,
            )
            for name, answer in answers.items()
        }
        if service == protos.HEALTH_SERVICE:
            made["Watch"] = grpc.unary_stream_rpc_method_handler(
                health.watch,
                request_deserializer=protos.HealthCheckRequest.FromString,
                response_serializer=_serialize,
            )
        result.append(grpc.method_handlers_generic_handler(service, made))
    return result


def add_reflection(server: grpc.Server) -> None:
    """Lets clients ask a server for its services and messages (`grpc.reflection.v1alpha`)."""
    from grpc_reflection.v1alpha import reflection

    ours = (protos.PREDICTION_SERVICE, protos.MODEL_SERVICE, protos.HEALTH_SERVICE)
    reflection.enable_server_reflection((*ours, reflection.SERVICE_NAME), server, pool=protos.pool())


class Health:
    """grpc.health.v1: serving from the start of the server until it drains.

    Args:
        max_watches: How many streams of `Watch` may be open, each of which takes a thread; more are refused.
    """

    def __init__(self, *, max_watches: int) -> None:
        names = ("", protos.PREDICTION_SERVICE, protos.MODEL_SERVICE)
        self._statuses = dict.fromkeys(names, _SERVING)
        self._draining = False
        self._changed = threading.Condition()
        self._watches = threading.BoundedSemaphore(max_watches)
        self._max_watches = max_watches

    def check(self, request: Any) -> Any:
        """Answers a HealthCheckRequest."""
        if request.service not in self._statuses:
            raise ServingError(f"unknown service {request.service}", code="NOT_FOUND")
        return protos.HealthCheckResponse(status=self._statuses[request.service])

    def list(self, request: Any) -> Any:
        """Answers a HealthListRequest."""
        response = protos.methods(protos.HEALTH_SERVICE)["List"][1]()
        for name, status in self._statuses.items():
            response.statuses[name].status = status
        return response

    def watch(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Streams the status of a service: now, and when the server drains, which ends the stream."""
        if not self._watches.acquire(blocking=False):
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {self._max_watches} clients watch the health"
            )
        try:
            context.add_callback(self._notify)
            first = self._status(request.service)
            yield protos.HealthCheckResponse(status=first)
            with self._changed:
                self._changed.wait_for(lambda: self._draining or not context.is_active())
            if (last := self._status(request.service)) != first:
                yield protos.HealthCheckResponse(status=last)
        finally:
            self._watches.release()

    def drain(self) -> None:
        """Says from now on that nothing is served."""
        with self._changed:
            self._draining = True
            self._statuses = dict.fromkeys(self._statuses, _NOT_SERVING)
            self._changed.notify_all()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _status(self, service: str) -> int:
        return self._statuses.get(service, _UNKNOWN)


def _timed(answer: Callable[..., Any]) -> Any:
    def method(request: Any, context: Any) -> Any:
        remaining = context.time_remaining()
        caller = Caller(deadline=None if remaining is None else time.monotonic() + remaining)
        if not context.add_callback(caller.leave):
            caller.leave()
        return answer(request, caller=caller, entrypoint="GRPC")

    return method


def _plain(answer: Callable[[Any], Any]) -> Any:
    def method(request: Any, context: Any) -> Any:
        return answer(request)

    return method


def _guarded(method: Callable[[Any, Any], Any]) -> Any:
    def guarded(request: Any, context: Any) -> Any:
        try:
            return method(request, context)
        except ServingError as error:
            code, text = error.code, error.details
        except Exception:
            _log.exception("a request failed for a reason of the server's own")
            code, text = "INTERNAL", "the server failed; its log says why"
        if len(text) > MESSAGE_LIMIT:
            text = text[:MESSAGE_LIMIT] + "...TRUNCATED"
        context.abort(grpc.StatusCode[code], text)

    return guarded


def _serialize(response: Any) -> bytes:
    content: bytes = response.SerializeToString()
    return content
