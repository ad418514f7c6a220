"""Imports TensorFlow without the dozen lines that its libraries log on the way."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_STDERR = 2
_CHATTER = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] |"
    rb"WARNING: All log messages before absl|To enable the following instructions"
)


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Keeps what C++ libraries log from standard error while inside; everything else comes out at the end.

    Only for imports: it holds back all of standard error until it is left. `KERASFT_VERBOSE=1` lets all
    through.
    """
    if os.environ.get("KERASFT_VERBOSE"):
        yield
        return
    try:
        saved = os.dup(_STDERR)
    except OSError:  # closed, as for some daemons
        yield
        return
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, _STDERR)
            os.close(saved)
            held.seek(0)
            kept = [line for line in held if not _CHATTER.match(line)]
            os.write(_STDERR, b"".join(kept))


def import_tensorflow() -> None:
    """Imports what every verb on a model needs, and lets TensorFlow look for devices, quietly."""
    with quiet_import():
        import tensorflow as tf

        import kerasft.task  # noqa: F401

        tf.config.list_physical_devices()
