"""`python -m kerasft_face`: pictures of a run that the five verbs do not make."""

from __future__ import annotations

import os


def main() -> None:
    """Runs the command line; the exit codes are those of `kerasft`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from kerasft.cli import run
    from kerasft_face.commands import app

    run(app, name="python -m kerasft_face")


if __name__ == "__main__":
    main()
