"""How a channel is made: addresses, TLS, retries, balancing, keepalive; and its errors in one sentence."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from kerasft.serving.errors import InvalidArgumentError, ServingError, UnavailableError, error_of

_SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
_KEEPALIVE_MS, _KEEPALIVE_TIMEOUT_MS = 30_000, 10_000
_MOST_ATTEMPTS = 5  # gRPC's own limit


@dataclass(frozen=True, kw_only=True)
class TLS:
    """How to reach a server that encrypts.

    Args:
        ca: File of the certificates to trust (PEM); None trusts those of the system.
        cert: File of the client's own certificate (PEM), for servers that ask for one (mutual TLS).
        key: File of its private key (PEM).
        server_name: The name in the server's certificate, where it differs from the address.

    Example:
        >>> TLS(ca="ca.pem", cert="client.pem", key="client.key").server_name is None
        True
    """

    ca: str | PathLike[str] | None = None
    cert: str | PathLike[str] | None = None
    key: str | PathLike[str] | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise InvalidArgumentError(
                "a client's certificate needs its key and the other way round: give both"
            )


def as_list(addresses: str | Sequence[str]) -> list[str]:
    """Returns the addresses, at least one.

    Raises:
        InvalidArgumentError: If one has no port.
    """
    found = [addresses] if isinstance(addresses, str) else list(addresses)
    if not found:
        raise InvalidArgumentError("a client needs an address, such as 'localhost:8500'")
    return found


def target(addresses: Sequence[str]) -> str:
    """Returns gRPC's name for one address, all of whose hosts gRPC finds itself, or for several.

    Example:
        >>> target(["reviews:8500"]), target(["10.0.0.1:8500", "10.0.0.2:8500"])
        ('reviews:8500', 'ipv4:10.0.0.1:8500,10.0.0.2:8500')
    """
    if len(addresses) == 1:
        return addresses[0]
    split = [_host_and_port(address) for address in addresses]
    try:
        return "ipv4:" + ",".join(_resolved(*one, socket.AF_INET) for one in split)
    except OSError:
        pass
    try:
        # IPv4 hosts among them get addresses that stand for theirs.
        return "ipv6:" + ",".join(_resolved(*one, socket.AF_INET6) for one in split)
    except OSError as error:
        raise UnavailableError(
            f"one of {', '.join(addresses)} cannot be found: check the names ({error.strerror})"
        ) from error


def _host_and_port(address: str) -> tuple[str, str]:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise InvalidArgumentError(f"{address!r} is not an address: write it as HOST:PORT")
    return host.strip("[]"), port


def _resolved(host: str, port: str, family: socket.AddressFamily) -> str:
    flags = socket.AI_V4MAPPED if family == socket.AF_INET6 else 0
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=flags)
    # A name of several machines, such as a headless service of Kubernetes, stands for all of them.
    hosts = dict.fromkeys(str(item[4][0]) for item in found)
    brackets = "[{}]:{}" if family == socket.AF_INET6 else "{}:{}"
    return ",".join(brackets.format(one, port) for one in hosts)


def options(
    addresses: Sequence[str], tls: TLS | None, *, attempts: int, backoff: float
) -> list[tuple[str, Any]]:
    """Returns the options of a channel.

    Args:
        addresses: Of the servers.
        tls: How they encrypt.
        attempts: How often a call is tried while servers are unavailable.
        backoff: Seconds before the second try; they double with each, and vary so that clients do not all
            come back at once.
    """
    if not 1 <= attempts <= _MOST_ATTEMPTS:
        raise InvalidArgumentError(f"attempts is {attempts}; it must be 1 to {_MOST_ATTEMPTS}")
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if attempts > 1:
        policy = {
            "maxAttempts": attempts,
            "initialBackoff": f"{backoff:.3f}s",
            "maxBackoff": f"{16 * backoff:.3f}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        names = [{"service": service} for service in _SERVICES]
        config["methodConfig"] = [{"name": names, "retryPolicy": policy}]
    chosen: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.enable_retries", 1),
        # A request that is larger than this buffer is not tried again; by default it holds 256 kB.
        ("grpc.per_rpc_retry_buffer_size", 2**31 - 1),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # A server that starts again is found within seconds; by default it may take two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5000),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ]
    if tls is not None and (tls.server_name or len(addresses) > 1):
        name = tls.server_name or _host_and_port(addresses[0])[0]
        chosen += [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)]
    return chosen


def credentials(tls: TLS) -> Any:
    """Returns gRPC's credentials.

    Raises:
        InvalidArgumentError: If a file cannot be read.
    """
    import grpc

    try:
        ca, key, cert = (Path(path).read_bytes() if path else None for path in (tls.ca, tls.key, tls.cert))
    except OSError as error:
        raise InvalidArgumentError(f"{error.filename} cannot be read: {error.strerror}") from error
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


def failure(where: str, code: str, details: str | None, *, timeout: float) -> ServingError:
    """Returns the exception of a call that failed, in one sentence."""
    told = " ".join((details or "").split())
    if code == "DEADLINE_EXCEEDED":
        message = f"{where} did not answer within {timeout:g} s"
    elif code == "UNAVAILABLE":
        message = f"no server answers at {where}: start one, check the address, or try later ({told})"
    else:
        message = f"{where} refused the request: {told}"
    return error_of(code)(f"{message} [{code}]", code=code, details=told)


def senseless(where: str, error: Exception) -> ServingError:
    """Returns the exception of an answer that cannot be read."""
    return error_of("INTERNAL")(
        f"the answer of {where} cannot be read: {error} [INTERNAL]", details=str(error)
    )
