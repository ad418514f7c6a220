"""The client for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, TypeVar

import grpc
import grpc.aio

from kerasft.serving.client import channel
from kerasft.serving.client.asks import DEFAULT_SIGNATURE, Array, Classification, Pause, State
from kerasft.serving.client.base import BaseClient, check_concurrency
from kerasft.serving.client.channel import TLS
from kerasft.serving.client.grpc_messages import FORMS, read
from kerasft.serving.client.progress import counting
from kerasft.serving.client.signatures import Signature
from kerasft.serving.client.verbs import Steps
from kerasft.serving.errors import ServingError

T = TypeVar("T")


class AsyncClient(BaseClient):
    """The same as `Client`, with calls to be awaited.

    Make it where an event loop runs.

    Args:
        addresses: As for `Client`, like all that follow.
        model: Name of the model that is meant when a call names none.
        timeout: Seconds that a call may take, retries and all.
        tls: How to reach servers that encrypt.
        check: Whether to hold inputs against the signature before they are sent.
        attempts: How often a call is tried while servers are unavailable, 1 to 5.
        backoff: Seconds before the second try, about.
        manifest: Folder of an export, or its manifest.

    Example:
        >>> async def main():                                                # doctest: +SKIP
        ...     async with AsyncClient("localhost:8500", model="reviews") as client:
        ...         print(await client.predict(text=["what a film"]))
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        model: str = "default",
        timeout: float = 30.0,
        tls: TLS | None = None,
        check: bool = True,
        attempts: int = 4,
        backoff: float = 0.1,
        manifest: str | PathLike[str] | None = None,
    ) -> None:
        listed = channel.as_list(addresses)
        super().__init__(", ".join(listed), model=model, timeout=timeout, check=check, manifest=manifest)
        options = channel.options(listed, tls, attempts=attempts, backoff=backoff)
        target = channel.target(listed)
        if tls is None:
            self._channel = grpc.aio.insecure_channel(target, options=options)
        else:
            self._channel = grpc.aio.secure_channel(target, channel.credentials(tls), options=options)
        self._methods = {kind: self._channel.unary_unary(form.path) for kind, form in FORMS.items()}

    async def predict(
        self,
        inputs: Mapping[str, Any] | None = None,
        /,
        *,
        signature: str = DEFAULT_SIGNATURE,
        output_filter: Sequence[str] = (),
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
        **named: Any,
    ) -> dict[str, Array]:
        """Asks a model; see `Client.predict`."""
        spec = self._verbs.spec(model, version, label)
        given = {**(inputs or {}), **named}
        return await self._run(self._verbs.predict(spec, signature, given, output_filter), timeout)

    async def classify(
        self,
        examples: Sequence[Any],
        /,
        *,
        context: Mapping[str, Any] | None = None,
        signature: str = DEFAULT_SIGNATURE,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Classification:
        """Asks a signature of method `classify`; see `Client.classify`."""
        spec = self._verbs.spec(model, version, label)
        return await self._run(self._verbs.classify(spec, signature, examples, context), timeout)

    async def regress(
        self,
        examples: Sequence[Any],
        /,
        *,
        context: Mapping[str, Any] | None = None,
        signature: str = DEFAULT_SIGNATURE,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Array:
        """Asks a signature of method `regress`; see `Client.regress`."""
        spec = self._verbs.spec(model, version, label)
        return await self._run(self._verbs.regress(spec, signature, examples, context), timeout)

    async def multi_inference(
        self,
        examples: Sequence[Any],
        /,
        *,
        signatures: Sequence[str],
        context: Mapping[str, Any] | None = None,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> dict[str, Classification | Array]:
        """Asks several signatures about the same examples; see `Client.multi_inference`."""
        spec = self._verbs.spec(model, version, label)
        return await self._run(self._verbs.multi_inference(spec, signatures, examples, context), timeout)

    async def predict_many(
        self,
        requests: Iterable[Mapping[str, Any]],
        /,
        *,
        concurrency: int = 8,
        progress: bool = False,
        return_exceptions: bool = False,
        **options: Any,
    ) -> AsyncIterator[dict[str, Array]]:
        """Asks many times, several requests at once, in order; see `Client.predict_many`."""
        check_concurrency(concurrency)
        free = asyncio.Semaphore(concurrency)
        running: deque[asyncio.Task[dict[str, Array]]] = deque()

        async def one(request: Mapping[str, Any]) -> dict[str, Array]:
            async with free:
                return await self.predict(request, **options)

        with counting(requests, show=progress) as count:
            try:
                for request in requests:
                    running.append(asyncio.create_task(one(request)))
                    if len(running) >= 2 * concurrency:
                        yield await _result(running.popleft(), return_exceptions)
                        count()
                while running:
                    yield await _result(running.popleft(), return_exceptions)
                    count()
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)

    async def metadata(
        self,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> dict[str, dict[str, dict[str, str]]]:
        """Returns the signatures; see `Client.metadata`."""
        return await self._run(self._verbs.metadata(self._verbs.spec(model, version, label)), timeout)

    async def signature(
        self,
        name: str = DEFAULT_SIGNATURE,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Signature:
        """Returns one signature; see `Client.signature`."""
        return await self._run(self._verbs.signature(self._verbs.spec(model, version, label), name), timeout)

    async def status(
        self,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> dict[int, State]:
        """Returns the state of each version; see `Client.status`."""
        return await self._run(self._verbs.status(self._verbs.spec(model, version, label)), timeout)

    async def wait_ready(
        self,
        timeout: float = 60.0,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> int:
        """Waits until a version of the model is available; see `Client.wait_ready`."""
        return await self._run(self._verbs.wait_ready(self._verbs.spec(model, version, label)), timeout)

    async def reload_config(
        self,
        config: Mapping[str, str | PathLike[str]] | str | PathLike[str] | Any,
        *,
        timeout: float | None = None,
    ) -> None:
        """Replaces the models that the server serves; see `Client.reload_config`."""
        await self._run(self._verbs.reload_config(config), timeout)

    async def _run(self, steps: Steps[T], timeout: float | None) -> T:
        """Drives a call within `timeout` seconds."""
        allowed = self._allowed(timeout)
        end = time.monotonic() + allowed
        move: Any = steps.send
        value: Any = None
        while True:
            try:
                ask = move(value)
            except StopIteration as stop:
                result: T = stop.value
                return result
            try:
                move, value = steps.send, await self._step(ask, end, allowed)
            except ServingError as error:
                move, value = steps.throw, error

    async def _step(self, ask: Any, end: float, allowed: float) -> Any:
        left = self._left(end, allowed)
        if isinstance(ask, Pause):
            await asyncio.sleep(min(ask.seconds, left))
            return None
        request = FORMS[type(ask)].write(ask)
        try:
            response = await self._methods[type(ask)](request, timeout=left)
        except grpc.aio.AioRpcError as error:
            raise channel.failure(self.where, error.code().name, error.details(), timeout=allowed) from error
        return read(ask, response, where=self.where)

    async def close(self) -> None:
        """Closes the connection; calls under way are cancelled."""
        self._closed = True
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


async def _result(task: asyncio.Task[Any], return_exceptions: bool) -> Any:
    try:
        return await task
    except ServingError as error:
        if return_exceptions:
            return error
        raise
