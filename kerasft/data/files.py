"""From a path to records: the file is found, decompressed and recognised by its extension."""

from __future__ import annotations

import difflib
import gzip
import os
import shutil
import tempfile
import zlib
from pathlib import Path

from kerasft.data.offsets import BLOCK
from kerasft.data.records import Records
from kerasft.data.tables import Quoting, open_table
from kerasft.data.textfiles import JsonLines
from kerasft.errors import DataError

EXTENSIONS = (".jsonl", ".tsv", ".csv")
_KNOWN = ", ".join(EXTENSIONS) + " (each also .gz)"


def file_records(
    path: str | os.PathLike[str], *, delimiter: str | None = None, quoting: Quoting = "auto"
) -> Records:
    """Opens a .jsonl, .tsv or .csv file, plain or with .gz.

    Args:
        path: The file.
        delimiter: Of a table; by default sniffed from the header.
        quoting: Of a table, see `open_source`.

    Raises:
        DataError: The file does not exist, is a folder, is damaged, empty, or of an unknown format.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        inside = sorted(entry.name for entry in file.iterdir() if _extension(entry) in EXTENSIONS)
        hint = f"name one of its files: {', '.join(inside[:8])}" if inside else f"it holds no {_KNOWN}"
        raise DataError(f"{file} is a folder; {hint}")
    if not file.exists():
        raise DataError(f"{file} does not exist; {_nearby(file)}")
    extension = _extension(file)
    if extension not in EXTENSIONS:
        raise DataError(f"{file} has the extension {file.suffix or '(none)'!r}; the known ones are {_KNOWN}")
    try:
        if file.suffix.lower() != ".gz":
            return _open(file, file.name, extension, delimiter, quoting)
        with tempfile.TemporaryDirectory(prefix="kerasft-") as folder:
            # The records keep the file open, so it may lose its name at once and needs no cleaning up.
            plain = Path(folder) / file.stem
            with gzip.open(file, "rb") as packed, plain.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, BLOCK)
            return _open(plain, file.name, extension, delimiter, quoting)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file} is damaged ({error}); copy or compress it again") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error})") from error


def _open(path: Path, name: str, extension: str, delimiter: str | None, quoting: Quoting) -> Records:
    if path.stat().st_size == 0:
        raise DataError(f"{name} is empty; it needs at least one row")
    if extension == ".jsonl":
        return JsonLines(path, name=name)
    default = "\t" if extension == ".tsv" else ","
    return open_table(path, name=name, default_delimiter=default, delimiter=delimiter, quoting=quoting)


def _extension(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _nearby(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        while not folder.is_dir() and folder != folder.parent:
            folder = folder.parent
        return f"the folder {path.parent} is missing; the part that exists is {folder.resolve()}"
    names = sorted(entry.name for entry in folder.iterdir())
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    near = near or [name for name in names if _extension(Path(name)) in EXTENSIONS][:3]
    return f"near it is {', '.join(near)}" if near else f"the folder {folder.resolve()} holds nothing like it"
