"""What can go wrong between a client and a server: one exception for each gRPC status code."""

from __future__ import annotations

from typing import ClassVar

from kerasft.errors import KerasftError


class ServingError(KerasftError):
    """A request failed, or a server could not start.

    Args:
        message: One sentence.
        code: Name of the gRPC status code, such as `"NOT_FOUND"`; None takes that of the class.
        details: The server's own message, without the client's framing.

    Attributes:
        code: Name of the status code.
        details: The server's own message.
    """

    status: ClassVar[str] = "UNKNOWN"

    def __init__(self, message: str, *, code: str | None = None, details: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.status
        self.details = message if details is None else details


class CancelledError(ServingError):
    """The call was cancelled, or the client is closed."""

    status = "CANCELLED"


class UnknownError(ServingError):
    """The server failed and says no more."""


class InvalidArgumentError(ServingError):
    """The request is wrong, whatever the state of the server."""

    status = "INVALID_ARGUMENT"


class DeadlineExceededError(ServingError):
    """There was no answer in time."""

    status = "DEADLINE_EXCEEDED"


class NotFoundError(ServingError):
    """There is no such model or version."""

    status = "NOT_FOUND"


class AlreadyExistsError(ServingError):
    """What was to be made exists."""

    status = "ALREADY_EXISTS"


class PermissionDeniedError(ServingError):
    """The caller may not do this."""

    status = "PERMISSION_DENIED"


class ResourceExhaustedError(ServingError):
    """A quota or the memory is used up, or a message is too large."""

    status = "RESOURCE_EXHAUSTED"


class FailedPreconditionError(ServingError):
    """The model is not fit for the request; of TensorFlow Serving: it has no such signature."""

    status = "FAILED_PRECONDITION"


class AbortedError(ServingError):
    """The call was aborted by another."""

    status = "ABORTED"


class OutOfRangeError(ServingError):
    """A value lies beyond what there is."""

    status = "OUT_OF_RANGE"


class UnimplementedError(ServingError):
    """The server does not know the method."""

    status = "UNIMPLEMENTED"


class InternalError(ServingError):
    """The server broke, or its answer makes no sense."""

    status = "INTERNAL"


class UnavailableError(ServingError):
    """No server answers, or it is too busy: worth another try later."""

    status = "UNAVAILABLE"


class DataLossError(ServingError):
    """Data was lost or is corrupt."""

    status = "DATA_LOSS"


class UnauthenticatedError(ServingError):
    """The caller did not say who it is."""

    status = "UNAUTHENTICATED"


ERRORS: dict[str, type[ServingError]] = {kind.status: kind for kind in ServingError.__subclasses__()}
"""The exception of each status code; see also `error_of`."""
ERRORS["UNKNOWN"] = UnknownError


def error_of(code: str) -> type[ServingError]:
    """Returns the exception of a status code.

    Example:
        >>> error_of("NOT_FOUND").__name__, error_of("NEWER_THAN_THIS").__name__
        ('NotFoundError', 'UnknownError')
    """
    return ERRORS.get(code, UnknownError)
