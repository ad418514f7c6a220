"""The calls of clients that wait for their answers."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from os import PathLike
from types import TracebackType
from typing import Any, TypeVar

from kerasft.serving.client.asks import DEFAULT_SIGNATURE, Array, Classification, Pause, State
from kerasft.serving.client.base import BaseClient, check_concurrency
from kerasft.serving.client.progress import counting
from kerasft.serving.client.signatures import Signature
from kerasft.serving.client.verbs import Steps
from kerasft.serving.errors import ServingError

T = TypeVar("T")


class BlockingClient(BaseClient):
    """What `Client` and `RestClient` share."""

    def predict(
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
        """Asks a model.

        The first call asks for the model's signatures too; names, types and shapes of inputs are held against
        them before anything is sent.

        Args:
            inputs: The inputs by name, for names that are no keywords or are taken by the options below.
            signature: Which signature to call.
            output_filter: Which outputs to answer with; all of them when empty.
            model: Name of the model; None takes the client's.
            version: Which version; None takes the newest.
            label: Which version, by the label that the server's configuration gives it.
            timeout: Seconds, in place of the client's.
            **named: Inputs by name. Arrays keep their type. Plain Python numbers take the signature's. str is
                sent as UTF-8; Pillow images as PNG where the model takes strings, as uint8 pixels elsewhere.

        Returns:
            An array for each output. Strings come as object arrays of str, or of bytes if the output's name
            ends in `_bytes` or a value is not UTF-8. Numbers come as read-only arrays.

        Raises:
            InvalidArgumentError: If an input does not fit the signature; nothing was sent then.
            ServingError: If the server cannot be reached or refuses the request; its subclasses tell the gRPC
                status codes apart.
        """
        spec = self._verbs.spec(model, version, label)
        given = {**(inputs or {}), **named}
        return self._run(self._verbs.predict(spec, signature, given, output_filter), timeout)

    def classify(
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
        """Asks a signature of method `classify`, which takes tf.Examples.

        Args:
            examples: Mappings of feature name to a value or a list of values, or tf.train.Example messages.
            context: Features that all examples share.
            signature: Which signature to call.
            model: Name of the model; None takes the client's.
            version: Which version; None takes the newest.
            label: Which version, by label.
            timeout: Seconds, in place of the client's.

        Returns:
            Labels and scores, a row for each example.

        Raises:
            ServingError: As for `predict`.
        """
        spec = self._verbs.spec(model, version, label)
        return self._run(self._verbs.classify(spec, signature, examples, context), timeout)

    def regress(
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
        """Asks a signature of method `regress`, which takes tf.Examples; arguments as for `classify`.

        Returns:
            float32 [examples].

        Raises:
            ServingError: As for `predict`.
        """
        spec = self._verbs.spec(model, version, label)
        return self._run(self._verbs.regress(spec, signature, examples, context), timeout)

    def multi_inference(
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
        """Asks several signatures of one model about the same examples in one call.

        Args:
            examples: As for `classify`.
            signatures: Names of signatures of method `classify` or `regress`.
            context: Features that all examples share.
            model: Name of the model; None takes the client's.
            version: Which version; None takes the newest.
            label: Which version, by label.
            timeout: Seconds, in place of the client's.

        Returns:
            Signature to what `classify` or `regress` would have returned.

        Raises:
            ServingError: As for `predict`.
        """
        spec = self._verbs.spec(model, version, label)
        return self._run(self._verbs.multi_inference(spec, signatures, examples, context), timeout)

    def predict_many(
        self,
        requests: Iterable[Mapping[str, Any]],
        /,
        *,
        concurrency: int = 8,
        progress: bool = False,
        return_exceptions: bool = False,
        **options: Any,
    ) -> Iterator[dict[str, Array]]:
        """Asks many times, several requests at once, and yields the answers in the order of the requests.

        Requests are read as they are needed, so they may be more than memory holds.

        Args:
            requests: Each is the inputs by name of one `predict`.
            concurrency: How many requests may be under way at once.
            progress: Show a bar on standard error.
            return_exceptions: Yield the exception of a request that failed in its place; otherwise it is
                raised, and what has not been sent stays unsent.
            **options: As for `predict`.

        Yields:
            What `predict` returns.

        Raises:
            ServingError: As for `predict`.
        """
        check_concurrency(concurrency)
        running: deque[Future[dict[str, Array]]] = deque()
        with (
            counting(requests, show=progress) as count,
            ThreadPoolExecutor(concurrency, thread_name_prefix="kerasft-client") as pool,
        ):
            try:
                for request in requests:
                    running.append(pool.submit(self.predict, request, **options))
                    # Twice as many as may be under way, so that a slow answer does not hold up the others.
                    if len(running) >= 2 * concurrency:
                        yield _result(running.popleft(), count, return_exceptions)
                while running:
                    yield _result(running.popleft(), count, return_exceptions)
            finally:
                for future in running:
                    future.cancel()

    def metadata(
        self,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> dict[str, dict[str, dict[str, str]]]:
        """Returns the signatures: name -> `"inputs"`, `"outputs"` -> name -> type, like `"float32[?,3]"`."""
        return self._run(self._verbs.metadata(self._verbs.spec(model, version, label)), timeout)

    def signature(
        self,
        name: str = DEFAULT_SIGNATURE,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> Signature:
        """Returns one signature: what its tensors are, and which call it is for."""
        return self._run(self._verbs.signature(self._verbs.spec(model, version, label), name), timeout)

    def status(
        self,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
    ) -> dict[int, State]:
        """Returns the state of each version that the server knows, such as `{3: "AVAILABLE"}`.

        A state is a str with an attribute `error`, which says why the version failed if it did.
        """
        return self._run(self._verbs.status(self._verbs.spec(model, version, label)), timeout)

    def wait_ready(
        self,
        timeout: float = 60.0,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
    ) -> int:
        """Waits until the server answers and a version of the model is available.

        Returns:
            The newest version that is.

        Raises:
            DeadlineExceededError: If it takes longer than `timeout` seconds; the error says what was seen.
            FailedPreconditionError: If all versions failed to load.
        """
        return self._run(self._verbs.wait_ready(self._verbs.spec(model, version, label)), timeout)

    def reload_config(
        self,
        config: Mapping[str, str | PathLike[str]] | str | PathLike[str] | Any,
        *,
        timeout: float | None = None,
    ) -> None:
        """Replaces the models that the server serves.

        Args:
            config: Name of each model to its folder on the server; or the file of a ModelServerConfig in text
                form, such as `models.config`; or that message.
            timeout: Seconds, in place of the client's.

        Raises:
            ServingError: If the server refuses it.
        """
        self._run(self._verbs.reload_config(config), timeout)

    @abstractmethod
    def _ask(self, ask: Any, end: float, allowed: float) -> Any:
        """Asks one thing and returns the answer; `end` is the time of the deadline."""

    def _run(self, steps: Steps[T], timeout: float | None) -> T:
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
                move, value = steps.send, self._step(ask, end, allowed)
            except ServingError as error:
                move, value = steps.throw, error

    def _step(self, ask: Any, end: float, allowed: float) -> Any:
        if isinstance(ask, Pause):
            time.sleep(min(ask.seconds, self._left(end, allowed)))
            return None
        return self._ask(ask, end, allowed)

    def close(self) -> None:
        """Closes the connection."""
        self._closed = True

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _result(future: Future[Any], count: Callable[[], None], return_exceptions: bool) -> Any:
    try:
        answer = future.result()
    except ServingError as error:
        if not return_exceptions:
            raise
        answer = error
    count()
    return answer
