"""The configuration files of TensorFlow Serving, written by their own messages."""

from __future__ import annotations

from typing import Any

from google.protobuf import text_format

from kerasft.export.batching import Batching
from kerasft.serving import protos
from kerasft.serving.deploy.settings import MODELS, Deployment

METRICS_PATH = "/monitoring/prometheus/metrics"


def models_config(deployment: Deployment) -> str:
    """Returns models.config: the newest version of each model."""
    config = protos.ModelServerConfig()
    for name in deployment.names:
        config.model_config_list.config.add(
            name=name, base_path=f"{MODELS}/{name}", model_platform="tensorflow"
        )
    return _text(config)


def monitoring() -> str:
    """Returns monitoring.pbtxt: metrics for Prometheus on the REST port."""
    config = protos.MonitoringConfig()
    config.prometheus_config.enable = True
    config.prometheus_config.path = METRICS_PATH
    return _text(config)


def batching(rows: int, *, threads: int) -> str:
    """Returns batching.pbtxt: batches of what waits when a thread becomes free, with no added wait.

    Args:
        rows: Most rows in a batch.
        threads: Batches that run side by side.
    """
    parameters = protos.BatchingParameters()
    parameters.max_batch_size.value = rows
    parameters.batch_timeout_micros.value = 0
    parameters.max_enqueued_batches.value = 100
    parameters.num_batch_threads.value = threads
    parameters.allowed_batch_sizes.extend(Batching(max_batch_size=rows).sizes)
    return _text(parameters)


def ssl(deployment: Deployment) -> str:
    """Returns ssl.pbtxt, which holds the private key itself."""
    assert deployment.tls is not None
    tls, config = deployment.tls, protos.SSLConfig()
    config.server_key, config.server_cert = tls.key, tls.certificate
    if tls.client_ca is not None:
        config.client_verify, config.custom_ca = True, tls.client_ca
    return _text(config)


def all_files(deployment: Deployment) -> dict[str, str]:
    """Returns the content of each of `Deployment.files`."""
    writers = {
        "models.config": lambda: models_config(deployment),
        "monitoring.pbtxt": monitoring,
        "batching.pbtxt": lambda: batching(deployment.batch_rows or 1, threads=deployment.cpus),
        "ssl.pbtxt": lambda: ssl(deployment),
    }
    return {name: writers[name]() for name in deployment.files.values()}


def _text(message: Any) -> str:
    return str(text_format.MessageToString(message))
