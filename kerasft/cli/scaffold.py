"""The files that `kerasft new NAME` writes: a plugin that works, to change into one's own."""

from __future__ import annotations

import string
from importlib import resources
from pathlib import Path

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
        ConfigError: The name cannot be a Python package, or the folder is not empty.
    """
    if not name.isidentifier() or name != name.lower() or not name[0].isalpha():
        raise ConfigError(
            f"{name!r} cannot be a Python package: use lower-case letters, digits and _, a letter first"
        )
    package = f"kerasft_{name}"
    folder = folder or Path(package)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists already: name another folder with --into, or remove it")
    words = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "package": package,
        "Class": "".join(part.capitalize() for part in name.split("_") if part),
    }
    templates = resources.files("kerasft.cli") / "template"
    for target, template in _FILES.items():
        path = folder / target.format(package=package)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "" if template is None else (templates / template).read_text(encoding="utf-8")
        path.write_text(_Template(text).substitute(words), encoding="utf-8")
    return folder
