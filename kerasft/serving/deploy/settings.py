"""What is deployed, and how large."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kerasft.errors import ConfigError
from kerasft.export import layout

IMAGE = "tensorflow/serving:2.20.0"
GRPC_PORT = 8500
REST_PORT = 8501
CONFIG = "/etc/serving"
"""Where the server finds its configuration files."""

MODELS = "/models"
"""Where the server finds models."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Certificates of the gRPC port; TensorFlow Serving has none for REST.

    Args:
        key: The server's private key, PEM.
        certificate: The server's certificate, PEM.
        client_ca: Certificate authority, PEM, whose clients alone are let in; None lets in all.
    """

    key: str = field(repr=False)
    certificate: str
    client_ca: str | None = None


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A server with its models.

    Args:
        models: Folders of exported models; the name of a folder is the model's.
        name: Of the server.
        image: Container image of TensorFlow Serving.
        replicas: Servers at least; Kubernetes adds more up to four times as many.
        cpus: Cores of one server.
        memory_mb: Memory of one server, in MB (2^20 bytes).
        batch_rows: Most rows of a batch that the server itself makes of requests that arrive side by side;
            None batches nothing.
        tls: Certificates of the gRPC port.

    Raises:
        ConfigError: A name or a number is impossible, or batching does not fit a model.
        ExportError: A folder holds no exported model.
    """

    models: Sequence[Path]
    name: str = "tensorflow-serving"
    image: str = IMAGE
    replicas: int = 2
    cpus: int = 2
    memory_mb: int = 4096
    batch_rows: int | None = None
    tls: Tls | None = None

    def __post_init__(self) -> None:
        for what, name in [("name", self.name), *(("the folder", path.name) for path in self.models)]:
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"deploy: {what} {name!r} is no name for a server; use lower-case letters, digits and -"
                )
        for what in ("replicas", "cpus", "memory_mb"):
            if getattr(self, what) < 1:
                raise ConfigError(f"deploy: {what} must be at least 1, not {getattr(self, what)}")
        if not self.models:
            raise ConfigError("deploy: name at least one folder of an exported model")
        if len(set(self.names)) != len(self.names):
            raise ConfigError(f"deploy: two folders have one name ({', '.join(self.names)}); rename one")
        for path in self.models:
            folder = layout.version_folder(path)
            if folder == path:
                raise ConfigError(
                    f"deploy: {path} is a version; name the folder of all versions, {path.parent}"
                )
            if self.batch_rows is not None:
                _check_batching(path.name, folder)

    @property
    def names(self) -> list[str]:
        """The models' names."""
        return [path.name for path in self.models]

    @property
    def files(self) -> dict[str, str]:
        """Flag of the server to the name of its file in `CONFIG`."""
        found = {"model_config_file": "models.config", "monitoring_config_file": "monitoring.pbtxt"}
        if self.batch_rows is not None:
            found["batching_parameters_file"] = "batching.pbtxt"
        if self.tls is not None:
            found["ssl_config_file"] = "ssl.pbtxt"
        return found

    @property
    def arguments(self) -> list[str]:
        """What the server is started with."""
        flags = {
            "port": GRPC_PORT,
            "rest_api_port": REST_PORT,
            **{flag: f"{CONFIG}/{file}" for flag, file in self.files.items()},
            "model_config_file_poll_wait_seconds": 60,
            "file_system_poll_wait_seconds": 10,
            "enable_grpc_healthcheck_service": "true",
            # Clients that balance by DNS look for new servers when a connection ends.
            "grpc_channel_arguments": "grpc.max_connection_age_ms=300000",
            "tensorflow_inter_op_parallelism": self.cpus,
            "tensorflow_intra_op_parallelism": self.cpus,
        }
        if self.batch_rows is not None:
            flags["enable_batching"] = "true"
        return [f"--{name}={value}" for name, value in flags.items()]


def _check_batching(name: str, folder: Path) -> None:
    """Refuses what the server would refuse at the first request: tensors that are not by rows."""
    for signature, definition in layout.signatures(layout.read_meta_graph(folder)).items():
        for kind, tensors in (("input", definition.inputs), ("output", definition.outputs)):
            for key, info in tensors.items():
                shape = info.tensor_shape
                by_rows = shape.unknown_rank or (shape.dim and shape.dim[0].size == -1)
                if not by_rows:
                    raise ConfigError(
                        f"deploy: the server cannot batch {name!r}, whose {kind} {key!r} of {signature!r} "
                        "has no row for each example; leave out batching, or export with --batch-in-graph"
                    )
