"""TensorFlow Serving's REST API, and the page that Prometheus scrapes, over HTTP."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from concurrent import futures
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from kerasft.export import layout
from kerasft.serving import protos
from kerasft.serving.errors import ServingError
from kerasft.serving.server import metrics, rest_json
from kerasft.serving.server.caller import Caller
from kerasft.serving.server.calls import invalid
from kerasft.serving.server.services import Services

_STATUSES = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}
_MODEL = r"/v1/models(?:/(?P<name>[^/:]+))"
_CHOICE = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(rf"{_MODEL}{_CHOICE}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(rf"{_MODEL}?{_CHOICE}(?P<metadata>/metadata)?", re.IGNORECASE)

_log = logging.getLogger("kerasft.serving")


class RestApi:
    """Answers HTTP requests.

    Args:
        services: What answers them.
        timeout: Seconds that a request may take.
        max_concurrent: How many requests may be under way; more are refused.
        metrics_path: Path of the page for Prometheus; None for no such page.
    """

    def __init__(
        self, services: Services, *, timeout: float, max_concurrent: int, metrics_path: str | None
    ) -> None:
        self._services = services
        self._timeout = timeout
        self._max_concurrent = max_concurrent
        self._metrics_path = metrics_path
        self._under_way = 0
        self._pool = futures.ThreadPoolExecutor(max_concurrent, "kerasft-rest")

    def application(self, *, max_body_bytes: int) -> web.Application:
        """Returns the application for aiohttp to run."""
        application = web.Application(client_max_size=max_body_bytes)
        application.on_cleanup.append(self._close)
        application.router.add_route("*", "/{path:.*}", self.handle)
        return application

    async def handle(self, request: web.Request) -> web.Response:
        """Answers one request."""
        path = request.rel_url.raw_path
        if path == self._metrics_path and request.method == "GET":
            page = self._services.manager.metrics.page()
            return web.Response(text=page, content_type=metrics.CONTENT_TYPE)
        if not path.lower().startswith("/v1/"):
            return _failure(404, f"there is nothing at {path}; models are at /v1/models/NAME")
        if self._under_way >= self._max_concurrent:
            return _failure(429, f"more than {self._max_concurrent} requests are under way")
        self._under_way += 1
        caller = Caller()
        try:
            body = await asyncio.wait_for(self._answer(request, path, caller), self._timeout)
            return web.Response(body=body, content_type="application/json")
        except ServingError as error:
            return _failure(_STATUSES.get(error.code, 500), error.details)
        except asyncio.TimeoutError:
            return _failure(504, f"the request took longer than {self._timeout:g} s")
        except web.HTTPRequestEntityTooLarge as error:
            return _failure(413, error.text or "the request is too large")
        except (web.HTTPException, asyncio.CancelledError):
            raise
        except Exception:
            _log.exception("a request failed for a reason of the server's own")
            return _failure(500, "the server failed; its log says why")
        finally:
            caller.leave()
            self._under_way -= 1

    async def _close(self, _: web.Application) -> None:
        self._pool.shutdown()

    async def _answer(self, request: web.Request, path: str, caller: Caller) -> bytes:
        content = await request.read() if request.method == "POST" else b""
        answer = functools.partial(self._body, request.method, path, content, caller)
        return await asyncio.get_running_loop().run_in_executor(self._pool, answer)

    def _body(self, method: str, path: str, content: bytes, caller: Caller) -> bytes:
        if method == "POST" and (match := _POST.fullmatch(path)):
            spec = _spec(match)
            document = rest_json.parse(content)
            spec.signature_name = rest_json.signature_of(document)
            if match["method"].lower() == "predict":
                return self._predict(spec, document, caller)
            if match["method"].lower() == "classify":
                message = protos.ClassificationRequest(model_spec=spec)
                rest_json.fill_examples(document, message.input)
                response = self._services.classify(message, caller=caller, entrypoint="REST")
                return rest_json.classify_body(response)
            message = protos.RegressionRequest(model_spec=spec)
            rest_json.fill_examples(document, message.input)
            response = self._services.regress(message, caller=caller, entrypoint="REST")
            return rest_json.regress_body(response)
        if method == "GET" and (match := _GET.fullmatch(path)):
            if not match["name"]:
                raise invalid("Missing model name in request.")
            spec = _spec(match)
            if match["metadata"]:
                asked = protos.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
                return rest_json.metadata_body(self._services.metadata(asked))
            asked = protos.GetModelStatusRequest(model_spec=spec)
            return rest_json.status_body(self._services.status(asked))
        raise invalid(f"Malformed request: {method} {path}")

    def _predict(self, spec: Any, document: dict[str, Any], caller: Caller) -> bytes:
        name = spec.signature_name or layout.DEFAULT_SIGNATURE
        with self._services.manager.use(spec) as servable:
            if name not in servable.model.signatures:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            infos = dict(sorted(servable.model.signatures[name].inputs.items()))
        if not infos:
            raise invalid(f"Failed to get input map for signature: {spec.signature_name or 'DEFAULT'}")
        message = protos.PredictRequest(model_spec=spec)
        rows = rest_json.fill_predict(document, infos, message.inputs)
        response = self._services.predict(message, caller=caller, entrypoint="REST")
        return rest_json.predict_body(response, rows=rows)


def _spec(match: re.Match[str]) -> Any:
    spec = protos.ModelSpec(name=unquote(match["name"], errors="replace"))
    if match["version"]:
        number = int(match["version"]) if len(match["version"]) < 20 else layout.MAX_VERSION + 1
        if number > layout.MAX_VERSION:
            raise invalid(f"Failed to convert version: {match['version']} to numeric.")
        spec.version.value = number
    if match["label"]:
        spec.version_label = unquote(match["label"], errors="replace")
    return spec


def _failure(status: int, message: str) -> web.Response:
    body = rest_json.error_body(message)
    return web.Response(status=status, body=body, content_type="application/json")
