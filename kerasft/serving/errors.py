"""What can go wrong between a client and a server."""

from __future__ import annotations

from kerasft.errors import KerasftError


class ServingError(KerasftError):
    """A request failed, or a server could not start.

    Attributes:
        code: Name of the gRPC status code, such as `"NOT_FOUND"`.
        details: The server's own message, without the client's framing.
    """

    def __init__(self, message: str, *, code: str = "UNKNOWN", details: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = message if details is None else details
