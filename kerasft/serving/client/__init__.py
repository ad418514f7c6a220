"""Clients of TensorFlow Serving, and of kerasft's own server, that import neither TensorFlow nor Keras."""

from __future__ import annotations

from kerasft.serving.client.aio import AsyncClient
from kerasft.serving.client.asks import Classification, State
from kerasft.serving.client.channel import TLS
from kerasft.serving.client.client import Client
from kerasft.serving.client.rest import RestClient
from kerasft.serving.errors import (
    AbortedError,
    AlreadyExistsError,
    CancelledError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ServingError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
)

__all__ = [
    "TLS",
    "AbortedError",
    "AlreadyExistsError",
    "AsyncClient",
    "CancelledError",
    "Classification",
    "Client",
    "DataLossError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "OutOfRangeError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "RestClient",
    "ServingError",
    "State",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
]
