"""The files that `kerasft new NAME` writes: a plugin that works, to change into one's own."""

from __future__ import annotations

import importlib.util
import keyword
import string
from importlib import resources
from pathlib import Path

from kerasft import _discovery
from kerasft.errors import ConfigError

_FILES = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "{package}/__init__.py": None,
    "{package}/task.py": "task.py.txt",
    "tests/test_task.py": "test_task.py.txt",
}


class _Template(string.Template):
    # "$ClassConfig" is the name and a suffix: the longest known name wins over the longest identifier.
    idpattern = "(?-i:package|dashed|name|Class)"


def write_plugin(name: str, folder: Path | None = None) -> Path:
    """Writes a plugin package with one task.

    Args:
        name: The task's name: lower-case letters, digits and `_`, a letter first.
        folder: Where to write; `kerasft_NAME` in the current folder if None.

    Returns:
        The folder.

    Raises:
        ConfigError: The name cannot be a Python package or is taken, or the folder is not empty or cannot be
            written.
    """
    package = f"kerasft_{name}"
    _check_name(name, package)
    folder = folder or Path(package)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} exists already: name another folder with --into, or remove it")
        _write(name, package, folder)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written ({error.strerror}): name another folder with --into"
        ) from error
    return folder


def _check_name(name: str, package: str) -> None:
    if not name.isidentifier() or name != name.lower() or not name[0].isalpha():
        raise ConfigError(
            f"{name!r} cannot be a Python package: use lower-case letters, digits and _, a letter first"
        )
    if keyword.iskeyword(name) or keyword.iskeyword(_class_name(name)):
        raise ConfigError(f"{name!r} reads as a word of Python: choose another name")
    for offer in _discovery.offers().get(name, []):
        raise ConfigError(
            f"the installed package {offer.distribution} {offer.version} has a task {name!r} already: choose "
            "another name"
        )
    found = importlib.util.find_spec(package)
    if found is not None and found.origin is not None:
        raise ConfigError(f"there is a package {package} already, at {found.origin}: choose another name")


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_") if part)


def _write(name: str, package: str, folder: Path) -> None:
    words = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "package": package,
        "Class": _class_name(name),
    }
    templates = resources.files("kerasft.cli") / "template"
    for target, template in _FILES.items():
        path = folder / target.format(package=package)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "" if template is None else (templates / template).read_text(encoding="utf-8")
        path.write_text(_Template(text).substitute(words), encoding="utf-8")
