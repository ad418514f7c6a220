"""The `kerasft` command: one word a verb. Each command parses, calls the Python interface, and prints."""

from __future__ import annotations

import os
import sys
from typing import Any


def main() -> None:
    """Runs the command line."""
    # What goes wrong comes as an exception; what TensorFlow logs as an error on the way, such as an operation
    # that oneDNN leaves to others, is none to a user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from kerasft.cli.app import app

    run(app, name="kerasft")


def run(app: Any, *, name: str) -> None:
    """Runs a command tree, that of `kerasft` or a plugin's own.

    Exit codes: 0 fine, 1 a check failed, 2 a wrong request (one sentence on standard error), 130 interrupted.

    Args:
        app: A `typer.Typer`.
        name: What the help calls the program.
    """
    from kerasft.errors import Interrupted, KerasftError

    try:
        app(prog_name=name)
    except Interrupted as error:
        print(error, file=sys.stderr)
        sys.exit(130)
    except KerasftError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output (such as `head`) went away; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
