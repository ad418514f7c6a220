"""Connections to HTTP servers that are kept and used again, with one deadline for all of a request."""

from __future__ import annotations

import contextlib
import http.client
import queue
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from kerasft.serving.client.channel import TLS
from kerasft.serving.errors import InvalidArgumentError

_BLOCK = 1 << 20  # bytes that are read before the deadline is looked at again
_GONE = (http.client.RemoteDisconnected, ConnectionError)


class Server:
    """One server.

    Args:
        address: `"host:port"`, or a URL.
        tls: How it encrypts; None, and an address that is no https URL, for one that does not.

    Raises:
        InvalidArgumentError: If the address makes no sense, or a file of `tls` cannot be read.
    """

    def __init__(self, address: str, tls: TLS | None) -> None:
        scheme = "http" if tls is None else "https"
        self.url: SplitResult = urlsplit(address if "://" in address else f"{scheme}://{address}")
        if self.url.scheme not in ("http", "https") or not self.url.hostname:
            raise InvalidArgumentError(f"{address!r} is not an address: write it as HOST:PORT or a URL")
        if self.url.scheme == "http" and tls is not None:
            raise InvalidArgumentError(
                f"{address!r} does not encrypt: begin it with https, or leave tls= out"
            )
        self._tls = (tls or TLS()) if self.url.scheme == "https" else None
        self._context = _context(self._tls) if self._tls else None
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()

    def request(self, path: str, body: bytes | None, left: Callable[[], float]) -> tuple[int, bytes]:
        """Sends a request: POST, or GET without a body.

        Args:
            path: Of the page.
            body: JSON.
            left: Tells the seconds that are left, or raises.

        Returns:
            Status and body of the response.

        Raises:
            OSError: If the server cannot be reached.
            http.client.HTTPException: If what comes back is not HTTP.
        """
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            return self._exchange(self._connection(), path, body, left)
        try:
            return self._exchange(connection, path, body, left)
        except _GONE:
            # The server closes connections that are idle for long.
            return self._exchange(self._connection(), path, body, left)

    def _exchange(
        self, connection: http.client.HTTPConnection, path: str, body: bytes | None, left: Callable[[], float]
    ) -> tuple[int, bytes]:
        with contextlib.ExitStack() as broken:
            broken.callback(connection.close)
            connection.timeout = left()
            if connection.sock is None:
                connection.connect()
            socket = connection.sock
            socket.settimeout(left())
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(
                "GET" if body is None else "POST", self.url.path.rstrip("/") + path, body, headers
            )
            socket.settimeout(left())
            response = connection.getresponse()
            blocks = []
            while block := response.read1(_BLOCK):
                blocks.append(block)
                socket.settimeout(left())
            if response.length:
                raise http.client.IncompleteRead(b"".join(blocks), response.length)
            response.close()
            broken.pop_all()
        if connection.sock is not None:
            self._idle.put(connection)
        return response.status, b"".join(blocks)

    def _connection(self) -> http.client.HTTPConnection:
        assert self.url.hostname is not None
        if self._tls is None or self._context is None:
            return http.client.HTTPConnection(self.url.hostname, self.url.port)
        return _HTTPS(
            self.url.hostname, self.url.port, context=self._context, server_name=self._tls.server_name
        )

    def close(self) -> None:
        """Closes the idle connections."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


class _HTTPS(http.client.HTTPSConnection):
    """A connection that may expect another name in the certificate than that of the host."""

    def __init__(
        self, host: str, port: int | None, *, context: ssl.SSLContext, server_name: str | None
    ) -> None:
        super().__init__(host, port, context=context)
        self._tls: Any = (context, server_name or host)

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        context, name = self._tls
        self.sock = context.wrap_socket(self.sock, server_hostname=name)


def _context(tls: TLS) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:
        files = ", ".join(str(path) for path in (tls.ca, tls.cert, tls.key) if path)
        raise InvalidArgumentError(
            f"one of {files} cannot be read as PEM: {error.strerror or error}"
        ) from error
    return context
