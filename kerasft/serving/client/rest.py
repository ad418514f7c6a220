"""The client that speaks HTTP and JSON."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import time
from collections.abc import Sequence
from os import PathLike
from typing import Any

from kerasft.serving.client import channel, json_messages
from kerasft.serving.client.blocking import BlockingClient
from kerasft.serving.client.channel import TLS
from kerasft.serving.client.connections import Server
from kerasft.serving.errors import InvalidArgumentError, UnavailableError

_CODES = {
    400: "INVALID_ARGUMENT",  # of TensorFlow Serving: FAILED_PRECONDITION and OUT_OF_RANGE too
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RestClient(BlockingClient):
    """The same as `Client` over TensorFlow Serving's REST API, where gRPC cannot pass. Threads may share one.

    It is slower, most of all for numbers: JSON spells them out. `multi_inference` and `reload_config` are not
    in that API. Bytes travel as base64. Status codes are told by HTTP's, which are fewer: a signature that
    does not exist is an InvalidArgumentError. Inputs are always held against the signature, for JSON knows no
    types.

    Args:
        addresses: `"host:8501"`, or a URL; or several, which are asked in turn.
        model: Name of the model that is meant when a call names none.
        timeout: Seconds that a call may take, retries and all.
        tls: How to reach servers that encrypt; None for those that do not, and for https URLs whose
            certificates the system trusts.
        attempts: How often a call is tried while servers are unavailable.
        backoff: Seconds before the second try, about; they double with each.
        manifest: Folder of an export, or its manifest, as for `Client`.

    Raises:
        InvalidArgumentError: If an argument is wrong.

    Example:
        >>> with RestClient("localhost:8501", model="reviews") as client:    # doctest: +SKIP
        ...     client.predict(text=["what a film"])
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        model: str = "default",
        timeout: float = 30.0,
        tls: TLS | None = None,
        attempts: int = 4,
        backoff: float = 0.1,
        manifest: str | PathLike[str] | None = None,
    ) -> None:
        listed = channel.as_list(addresses)
        super().__init__(", ".join(listed), model=model, timeout=timeout, check=True, manifest=manifest)
        if attempts < 1:
            raise InvalidArgumentError(f"attempts is {attempts}; a call must be tried at least once")
        self._attempts = attempts
        self._backoff = backoff
        self._servers = [Server(address, tls) for address in listed]
        self._turns = itertools.cycle(self._servers)

    def _ask(self, ask: Any, end: float, allowed: float) -> Any:
        path, body = json_messages.write(ask)
        for attempt in itertools.count(1):
            try:
                response = self._once(next(self._turns), path, body, end, allowed)
            except UnavailableError:
                # Varied, so that clients do not all come back at once.
                pause = self._backoff * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)
                if attempt >= self._attempts or pause >= end - time.monotonic():
                    raise
                time.sleep(pause)
            else:
                return json_messages.read(ask, response, where=self.where)
        raise AssertionError("unreachable")

    def _once(self, server: Server, path: str, body: bytes | None, end: float, allowed: float) -> bytes:
        where = server.url.netloc
        try:
            status, content = server.request(path, body, lambda: self._left(end, allowed))
        except TimeoutError as error:
            raise channel.failure(where, "DEADLINE_EXCEEDED", None, timeout=allowed) from error
        except (OSError, http.client.HTTPException) as error:
            raise channel.failure(where, "UNAVAILABLE", str(error), timeout=allowed) from error
        if status == 200:
            return content
        raise channel.failure(where, _CODES.get(status, "UNKNOWN"), _told(status, content), timeout=allowed)

    def close(self) -> None:
        """Closes the connections."""
        super().close()
        for server in self._servers:
            server.close()


def _told(status: int, content: bytes) -> str:
    """The error message of a response, whoever wrote it."""
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {status}: {content[:200].decode(errors='replace')}"
