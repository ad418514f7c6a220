"""Other releases of TensorFlow's C++ runtime to verify exports in: fetched once, beside the installed one."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from kerasft.errors import ConfigError
from kerasft.export._capi import folder_variable
from kerasft.pretrained import fetch

RELEASES = {"2.20": {"tensorflow": "tensorflow-2.20", "tensorflow_text": "tensorflow-text-2.20"}}
"""Release to package to what is fetched for it; 2.20 is what the newest image of TensorFlow Serving runs."""


def environment(release: str, *, progress: bool = True) -> dict[str, str]:
    """Returns environment variables with which a fresh process loads models in another release.

    Args:
        release: One of `RELEASES`; fetched into the cache the first time.
        progress: Show a progress bar while downloading.

    Raises:
        ConfigError: There is no such release, or none for this machine.
        PretrainedError: It cannot be fetched.
    """
    if release not in RELEASES:
        raise ConfigError(f"runtime: there is no TensorFlow {release!r} to fetch; take {', '.join(RELEASES)}")
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise ConfigError(
            f"runtime: TensorFlow {release} is fetched for x86-64 Linux only, and this is "
            f"{platform.machine()} {sys.platform}; verify in a virtual environment with that release"
        )
    folders: dict[str, Path] = {
        package: fetch(entry, progress=progress) for package, entry in RELEASES[release].items()
    }
    return {folder_variable(package): str(folder) for package, folder in folders.items()}
