"""`kerasft serve`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any

import typer

from kerasft.cli.quiet import quiet_import
from kerasft.errors import KerasftError


class LogStyle(str, enum.Enum):
    """How the server writes its log."""

    text = "text"
    json = "json"


class LogLevel(str, enum.Enum):
    """From where on it writes."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def serve(
    target: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of a model (the newest version is served, as `default`) or of a version."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME=FOLDER", help="A model by its name; may be repeated."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help="Text file with a ModelServerConfig: models, version policies, labels."
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    grpc_port: Annotated[
        int, typer.Option("--grpc-port", min=0, max=65535, help="Port of gRPC; 0 picks a free one.")
    ] = 8500,
    rest_port: Annotated[
        int | None,
        typer.Option(
            "--rest-port", min=0, max=65535, help="Port of REST and metrics; none is opened without it."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Threads of TensorFlow; all cores by default.")
    ] = None,
    poll: Annotated[
        float, typer.Option("--poll", min=0, help="Seconds between looks for new versions; 0: never.")
    ] = 1.0,
    model_root: Annotated[
        Path | None,
        typer.Option("--model-root", help="Folder within which a client's reload may name base paths."),
    ] = None,
    batching: Annotated[
        Path | None,
        typer.Option("--batching", help="Text file with BatchingParameters: sizes and limits of batches."),
    ] = None,
    no_batching: Annotated[bool, typer.Option("--no-batching", help="Run every request alone.")] = False,
    monitoring: Annotated[
        Path | None,
        typer.Option("--monitoring", help="Text file with a MonitoringConfig: where metrics are, if at all."),
    ] = None,
    reflection: Annotated[
        bool, typer.Option("--reflection", help="Tell gRPC clients which services and messages there are.")
    ] = False,
    ssl: Annotated[
        Path | None, typer.Option("--ssl", help="Text file with an SSLConfig: keys and certificates.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Private key, PEM.")] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate, PEM.")] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option("--tls-client-ca", help="Certificates, PEM, that must have signed those of clients."),
    ] = None,
    max_message_mb: Annotated[
        int, typer.Option("--max-message-mb", min=1, max=2047, help="Largest request.")
    ] = 256,
    max_concurrent: Annotated[
        int, typer.Option("--max-concurrent", min=1, help="Most requests under way.")
    ] = 1024,
    rest_timeout: Annotated[
        float, typer.Option("--rest-timeout", min=0.001, help="Seconds that a REST request may take.")
    ] = 30.0,
    grace: Annotated[
        float, typer.Option("--grace", min=0, help="Seconds for requests under way when it stops.")
    ] = 5.0,
    log_style: Annotated[LogStyle, typer.Option("--log-style", help="Of the log.")] = LogStyle.text,
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", help="Of the log; debug tells of every request.")
    ] = LogLevel.info,
) -> None:
    """Serve exported models as TensorFlow Serving does, over gRPC and REST; stop with Ctrl-C."""
    from kerasft.serving.server import logs, serve

    logs.configure(style=log_style.value, level=log_level.value)
    options = {
        **_models(target, model, config),
        **_batching(batching, alone=no_batching, most=max_concurrent),
        **_metrics(monitoring),
        **_tls(ssl, key=tls_key, certificate=tls_cert, client_ca=tls_client_ca),
    }
    serve(
        target,
        host=host,
        grpc_port=grpc_port,
        rest_port=rest_port,
        threads=threads,
        poll_seconds=poll,
        model_root=model_root,
        max_message_bytes=max_message_mb * 2**20,
        max_concurrent=max_concurrent,
        rest_timeout=rest_timeout,
        reflection=reflection,
        grace=grace,
        while_loading=quiet_import(),
        **options,
    )


# What follows gives keywords of `kerasft.serving.server.serve`, none where its defaults are right.


def _models(target: Path | None, models: list[str] | None, config: Path | None) -> dict[str, Any]:
    from kerasft.serving import protos
    from kerasft.serving.server import configs

    if [target is not None, bool(models), config is not None].count(True) != 1:
        raise KerasftError("say what to serve: a folder, --model NAME=FOLDER, or --config FILE")
    if config is not None:
        return {"config": configs.read(config, protos.ModelServerConfig)}
    return {"config": configs.from_folders(_pairs(models))} if models else {}


def _batching(file: Path | None, *, alone: bool, most: int) -> dict[str, Any]:
    from kerasft.serving import protos
    from kerasft.serving.server import BatchingOptions, configs

    if alone:
        return {"batching": BatchingOptions(max_batch_size=1, max_enqueued_batches=most)}
    if file is None:
        return {}
    return {"batching": BatchingOptions.from_parameters(configs.read(file, protos.BatchingParameters))}


def _metrics(file: Path | None) -> dict[str, Any]:
    from kerasft.serving import protos
    from kerasft.serving.server import configs, metrics

    if file is None:
        return {}
    prometheus = configs.read(file, protos.MonitoringConfig).prometheus_config
    return {"metrics_path": (prometheus.path or metrics.PATH) if prometheus.enable else None}


def _tls(
    file: Path | None, *, key: Path | None, certificate: Path | None, client_ca: Path | None
) -> dict[str, Any]:
    from kerasft.serving import protos
    from kerasft.serving.server import Tls, configs

    if file is not None:
        return {"tls": Tls.from_config(configs.read(file, protos.SSLConfig))}
    if key is not None and certificate is not None:
        return {"tls": Tls.from_files(key=key, certificate=certificate, client_ca=client_ca)}
    if (key, certificate, client_ca) != (None, None, None):
        raise KerasftError("TLS needs both --tls-key and --tls-cert")
    return {}


def _pairs(models: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in models:
        name, equals, folder = item.partition("=")
        if not equals or not name or not folder:
            raise KerasftError(f"--model {item} is not NAME=FOLDER")
        if name in pairs:
            raise KerasftError(f"--model {name} is given twice")
        pairs[name] = folder
    return pairs
