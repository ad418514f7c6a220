"""The manifest of an export: where it came from, and the checksums of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasft.errors import ExportError
from kerasft.export import layout
from kerasft.export.report import Check

FORMAT = 1
DEFAULT_TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}
GPU_TOLERANCE = {"rtol": 1e-2, "atol": 1e-2}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_checksums(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file below `folder`, but for the manifest itself, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: _sha256(path) for name, path in named.items() if name != layout.MANIFEST}


def write_manifest(folder: Path, entries: Mapping[str, Any]) -> None:
    """Writes the manifest of a finished version folder: `entries`, and the checksums of all files."""
    path = folder / layout.MANIFEST
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": FORMAT, **entries, "files": file_checksums(folder)}
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ExportError(f"the manifest holds a value that JSON cannot: {error}") from error
    path.write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Returns the manifest of a version folder, or None if it has none.

    Raises:
        ExportError: If there is one that cannot be read.
    """
    path = folder / layout.MANIFEST
    return read_file(path) if path.is_file() else None


def read_file(path: Path) -> dict[str, Any]:
    """Returns the content of a manifest.

    Raises:
        ExportError: If it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise ExportError(f"{path} is not a manifest of kerasft: it lists no files")
    tolerance = content.get("tolerance", DEFAULT_TOLERANCE)
    if not _is_tolerance(tolerance):
        raise ExportError(f"{path} has the tolerance {tolerance!r}; it must hold numbers for rtol and atol")
    return content


def _is_tolerance(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == DEFAULT_TOLERANCE.keys()
        and all(isinstance(number, int | float) and number >= 0 for number in value.values())
    )


def check_checksums(folder: Path) -> Check:
    """The files are those that the manifest lists."""
    try:
        manifest = read_manifest(folder)
    except ExportError as error:
        return Check(name="checksums", ok=False, detail=f"{error}; export the model again")
    if manifest is None:
        return Check(
            name="checksums", ok=None, detail="there is no manifest: the model was not exported by kerasft"
        )
    listed, found = manifest["files"], file_checksums(folder)
    missing = sorted(listed.keys() - found.keys())
    changed = sorted(name for name in listed.keys() & found.keys() if listed[name] != found[name])
    if missing or changed:
        problems = [f"{name} is missing" for name in missing] + [f"{name} has changed" for name in changed]
        return Check(
            name="checksums", ok=False, detail=f"{', '.join(problems)}: copy or export the model again"
        )
    extra = sorted(found.keys() - listed.keys())
    note = f"; not listed: {', '.join(extra)}" if extra else ""
    return Check(name="checksums", ok=True, detail=f"{len(listed)} files match their SHA-256{note}")
