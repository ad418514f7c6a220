"""Publishing a version folder so that a server never sees half of it.

A version is written into a hidden sibling, flushed to disk, and renamed to its number: rename is atomic, and
a name that is not a number is invisible to TensorFlow Serving. The writer holds a lock on its hidden folder;
the kernel drops it when the process dies, so the next writer knows which leftovers it may delete.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import re
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kerasft.errors import ExportError
from kerasft.export import layout

_HIDDEN = re.compile(r"\.tmp-\d+-\d+-(?P<host>.+)-\d+")
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY}


@dataclass(kw_only=True)
class Publication:
    """A version being written.

    Attributes:
        folder: Where to write it; afterwards, where it is.
        version: The number that it is to get; afterwards, the one that it got, higher if someone else was
            faster.
    """

    folder: Path
    version: int
    _lock: int = field(repr=False)


@contextlib.contextmanager
def publishing(target: Path, version: int | None = None) -> Iterator[Publication]:
    """Publishes what the `with` block writes, or nothing if the block raises.

    Args:
        target: The model's folder, which holds its versions; made if need be.
        version: The number to publish under; None takes the next one.

    Yields:
        The publication: write into its `folder`.

    Raises:
        ExportError: If the version exists, the folder cannot be written, or the disk is full.
    """
    if version is not None and not _is_number(version):
        raise ExportError(
            f"version {version!r} is not a version number: give an integer from 0 to 2**63 - 1, or none for "
            "the next"
        )
    with _clear_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        _refuse(target, version)
        remove_leftovers(target)
        publication = _start(target, _next(target) if version is None else version)
    hidden = publication.folder
    try:
        with _clear_errors(target):
            yield publication
            _flush(hidden)
            _rename(publication, target, exact=version is not None)
            _flush_folder(target)
    except BaseException:
        if publication.folder == hidden:
            shutil.rmtree(hidden, ignore_errors=True)
        raise
    finally:
        os.close(publication._lock)


@contextlib.contextmanager
def _clear_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ExportError(
                f"no space left to write a model to {target}: free some and export again"
            ) from error
        raise ExportError(f"a model cannot be written to {target}: {error.strerror or error}") from error


def _is_number(version: Any) -> bool:
    is_integer = isinstance(version, int) and not isinstance(version, bool)
    return is_integer and 0 <= version <= layout.MAX_VERSION


def _next(target: Path) -> int:
    return max(layout.versions(target), default=0) + 1


def _refuse(target: Path, version: int | None) -> None:
    if version is not None and (version in layout.versions(target) or (target / str(version)).exists()):
        newest = _next(target)
        raise ExportError(
            f"version {version} of {target} exists: pass another one ({newest} is free), or none"
        )


def _start(target: Path, version: int) -> Publication:
    for attempt in itertools.count():
        folder = target / f".tmp-{version}-{os.getpid()}-{_host()}-{attempt}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        # Someone who cleans up may take the folder for a leftover before it is locked.
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if _try_lock(lock) and folder.exists():
            return Publication(folder=folder, version=version, _lock=lock)
        os.close(lock)
    raise AssertionError


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname()) or "host"


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def remove_leftovers(target: Path) -> list[Path]:
    """Deletes the hidden folders of writers on this machine that died, and returns them."""
    removed = []
    for folder in sorted(target.glob(".tmp-*")):
        match = _HIDDEN.fullmatch(folder.name)
        if match is None or match["host"] != _host():  # Locks of other machines may not be visible here.
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                # Its writer may have renamed what was opened here, and another begun under the same name.
                if _try_lock(descriptor) and os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                    shutil.rmtree(folder, ignore_errors=True)
                    removed.append(folder)
            finally:
                os.close(descriptor)
    return removed


def _rename(publication: Publication, target: Path, *, exact: bool) -> None:
    version = publication.version
    while True:
        final = target / str(version)
        try:
            if final.exists():  # An empty folder would be replaced without an error.
                raise FileExistsError(errno.EEXIST, "exists", str(final))
            os.rename(publication.folder, final)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            if exact:
                _refuse(target, version)
                raise
            version = max(version + 1, _next(target))
        else:
            publication.folder, publication.version = final, version
            return


def _flush(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _flush_folder(Path(root))


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
