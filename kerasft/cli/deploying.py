"""`kerasft deploy`: files that serve exports in production."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kerasft.errors import ConfigError


def deploy(
    models: Annotated[list[Path], typer.Argument(help="Folders of exported models, named as these.")],
    kind: Annotated[str, typer.Option("--for", metavar="compose|kubernetes|kserve", help="What runs them.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path("deploy"),
    name: Annotated[str, typer.Option("--name", help="Name of the server.")] = "tensorflow-serving",
    replicas: Annotated[int, typer.Option("--replicas", min=1, help="Least number; compose has one.")] = 2,
    cpus: Annotated[int, typer.Option("--cpus", min=1, help="Cores of a server.")] = 2,
    memory: Annotated[int, typer.Option("--memory", min=1, metavar="MB", help="Memory of a server.")] = 4096,
    batch: Annotated[
        int | None,
        typer.Option("--batch", min=1, metavar="ROWS", help="Let the server batch requests, up to ROWS."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="PEM", help="Private key of the gRPC port.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="PEM", help="Certificate of the gRPC port.")
    ] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option("--tls-client-ca", metavar="PEM", help="Let only its clients in.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that differ.")] = False,
) -> None:
    """Write files that serve exported models with TensorFlow Serving."""
    from kerasft.serving.deploy import Deployment, Tls, render, write

    if (tls_key is None) != (tls_cert is None) or (tls_client_ca is not None and tls_key is None):
        raise ConfigError("TLS needs both --tls-key and --tls-cert; --tls-client-ca goes with them")
    tls = None
    if tls_key is not None and tls_cert is not None:
        tls = Tls(
            key=_pem(tls_key),
            certificate=_pem(tls_cert),
            client_ca=_pem(tls_client_ca) if tls_client_ca is not None else None,
        )
    deployment = Deployment(
        models=models,
        name=name,
        replicas=replicas,
        cpus=cpus,
        memory_mb=memory,
        batch_rows=batch,
        tls=tls,
    )
    for path in write(render(deployment, kind, folder=out), out, force=force):
        typer.echo(str(path))


def _pem(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as PEM ({error})") from error
    if "-----BEGIN" not in text:
        raise ConfigError(f"{path} is no PEM file: it has no line -----BEGIN ...")
    return text
