"""The client that speaks gRPC and waits for its answers."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import grpc

from kerasft.serving.client import channel
from kerasft.serving.client.blocking import BlockingClient
from kerasft.serving.client.channel import TLS
from kerasft.serving.client.grpc_messages import FORMS, read
from kerasft.serving.errors import CancelledError


class Client(BlockingClient):
    """A connection to one server, or to several that serve the same models. Threads may share one.

    Calls are spread over the servers in turn. Where one is unavailable or too busy, a call is tried again,
    after a pause that grows. Messages may have any size.

    Args:
        addresses: `"host:port"`; several in a list are resolved once. A name of several machines stands for
            them all.
        model: Name of the model that is meant when a call names none.
        timeout: Seconds that a call may take, retries and all.
        tls: How to reach servers that encrypt; None for those that do not.
        check: Whether to hold inputs against the signature before they are sent. False saves the first call's
            question for the signatures; plain Python floats are sent as float32 then, and integers as int64.
        attempts: How often a call is tried while servers are unavailable, 1 to 5.
        backoff: Seconds before the second try, about; they double with each.
        manifest: Folder of an export, or its manifest: adds the task's own calls, such as
            `client.text.classify(["what a film"])`.

    Raises:
        ServingError: If an argument is wrong, or several addresses cannot be resolved.

    Example:
        >>> with Client("localhost:8500", model="reviews") as client:        # doctest: +SKIP
        ...     client.predict(text=["what a film"])
        {'label': array(['positive'], dtype=object), 'scores': array([[0.01, 0.99]], dtype=float32)}
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
            self._channel = grpc.insecure_channel(target, options=options)
        else:
            self._channel = grpc.secure_channel(target, channel.credentials(tls), options=options)
        self._methods = {kind: self._channel.unary_unary(form.path) for kind, form in FORMS.items()}

    def _ask(self, ask: Any, end: float, allowed: float) -> Any:
        request = FORMS[type(ask)].write(ask)
        try:
            response = self._methods[type(ask)](request, timeout=self._left(end, allowed))
        except grpc.RpcError as error:
            raise channel.failure(self.where, error.code().name, error.details(), timeout=allowed) from error
        except ValueError as error:  # another thread has closed the channel
            raise CancelledError(f"the client of {self.where} was closed under the call") from error
        return read(ask, response, where=self.where)

    def close(self) -> None:
        """Closes the connection; calls under way are cancelled."""
        super().close()
        self._channel.close()
