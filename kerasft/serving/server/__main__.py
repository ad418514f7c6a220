"""`python -m kerasft.serving.server TARGET [--port P] [--host H] [--name N]`."""

from __future__ import annotations

import argparse
import sys

from kerasft.errors import KerasftError
from kerasft.serving.server import serve


def main() -> int:
    """Serves a model until it is told to stop."""
    parser = argparse.ArgumentParser(
        prog="kerasft.serving.server", description="Serve one exported model over gRPC."
    )
    parser.add_argument("target", help="a model's folder (its newest version is served) or a version folder")
    parser.add_argument("--port", type=int, default=8500, help="0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--name", default="default", help="what clients call the model")
    options = parser.parse_args()
    try:
        serve(options.target, grpc_port=options.port, host=options.host, model_name=options.name)
    except KerasftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
