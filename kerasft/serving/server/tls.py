"""Keys and certificates for both ports."""

from __future__ import annotations

import dataclasses
import ssl
import tempfile
from os import PathLike
from pathlib import Path
from typing import Any

import grpc

from kerasft.serving.errors import ServingError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tls:
    """What a server shows to its clients, and asks of them; all in PEM.

    Attributes:
        key: The private key.
        certificate: The certificate, with those between it and its root.
        client_ca: Certificates that sign those of clients; None asks clients for none.
        require_client: Whether a client must show a certificate.
    """

    key: bytes = dataclasses.field(repr=False)
    certificate: bytes
    client_ca: bytes | None = None
    require_client: bool = False

    @classmethod
    def from_files(
        cls,
        *,
        key: str | PathLike[str],
        certificate: str | PathLike[str],
        client_ca: str | PathLike[str] | None = None,
    ) -> Tls:
        """Reads PEM files; with `client_ca`, clients must show a certificate.

        Raises:
            ServingError: If a file cannot be read.
        """
        try:
            return cls(
                key=Path(key).read_bytes(),
                certificate=Path(certificate).read_bytes(),
                client_ca=None if client_ca is None else Path(client_ca).read_bytes(),
                require_client=client_ca is not None,
            )
        except OSError as error:
            raise ServingError(f"{error.filename} cannot be read: {error.strerror}") from error

    @classmethod
    def from_config(cls, config: Any) -> Tls:
        """Takes what TensorFlow Serving's SSLConfig holds.

        Raises:
            ServingError: If it lacks the key or the certificate, or would check clients against nothing.
        """
        if not config.server_key or not config.server_cert:
            raise ServingError("the SSL configuration needs a server_key and a server_cert, as PEM text")
        if config.client_verify and not config.custom_ca:
            raise ServingError("the SSL configuration has client_verify, which needs a custom_ca")
        return cls(
            key=config.server_key.encode(),
            certificate=config.server_cert.encode(),
            client_ca=config.custom_ca.encode() or None,
            require_client=config.client_verify,
        )

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Returns the credentials for a gRPC port."""
        self.context()  # gRPC takes whatever it is given and fails at the first client.
        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)],
            root_certificates=self.client_ca,
            require_client_auth=self.require_client,
        )

    def context(self) -> ssl.SSLContext:
        """Returns the context for an HTTP port.

        Raises:
            ServingError: If the key and the certificates are none, or do not fit each other.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            with tempfile.TemporaryDirectory() as folder:  # The library reads keys from files only.
                key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
                key.touch(mode=0o600)
                key.write_bytes(self.key)
                certificate.write_bytes(self.certificate)
                context.load_cert_chain(certificate, key)
            if self.client_ca is not None:
                context.load_verify_locations(cadata=self.client_ca.decode())
                context.verify_mode = ssl.CERT_REQUIRED if self.require_client else ssl.CERT_OPTIONAL
        except (ssl.SSLError, ValueError) as error:
            raise ServingError(
                f"the key or the certificates for TLS are not PEM or do not fit each other: {error}"
            ) from error
        return context
