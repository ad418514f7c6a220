"""Writes constraints.txt: what `pip install '.[all,dev]'` resolves to, for each supported Python.

Usage: python tools/lock.py PYTHON3.10 PYTHON3.11 PYTHON3.12 (paths of interpreters, oldest first)
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# What `make install` installs, so that it is the same next year. Written by `make lock`; do not edit.
"""


def resolve(python: str, pins: dict[str, str]) -> dict[str, str]:
    """Returns name to version of everything that an interpreter would install, near the given pins."""
    with tempfile.TemporaryDirectory() as folder:
        environment, report = Path(folder, "venv"), Path(folder, "report.json")
        subprocess.run([python, "-m", "venv", environment], check=True)
        pip = [environment / "bin" / "python", "-m", "pip", "--quiet"]
        # Older resolvers search for hours where newer ones need a minute.
        subprocess.run([*pip, "install", "--upgrade", "pip"], check=True)
        wanted = Path(folder, "pins.txt")
        command = [*pip, "install", "--dry-run", "--ignore-installed", "--report", report, "-c", wanted]
        target = f"{ROOT}[all,dev]"
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in pins.items()))
        if subprocess.run([*command, target]).returncode:
            wanted.write_text("")
            subprocess.run([*command, target], check=True)
        found = {}
        for item in json.loads(report.read_text())["install"]:
            name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
            found[name] = item["metadata"]["version"]
        del found["kerasft"]
        return found


def version_of(python: str) -> str:
    """Returns "3.11" for an interpreter."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def main(pythons: list[str]) -> None:
    """Resolves for each interpreter and writes the file."""
    found: dict[str, dict[str, str]] = {}
    for python in pythons:
        # Newer Pythons take the pins of the one before where they can: less that differs.
        before = found[list(found)[-1]] if len(found) > 1 else {}
        found[version_of(python)] = resolve(python, before)
    lines = []
    for name in sorted({name for pins in found.values() for name in pins}):
        by_version: dict[str, list[str]] = {}
        for python_version, pins in found.items():
            if name in pins:
                by_version.setdefault(pins[name], []).append(python_version)
        for pin, python_versions in by_version.items():
            marker = " or ".join(f'python_version == "{one}"' for one in python_versions)
            lines.append(f"{name}=={pin}" + ("" if len(by_version) == 1 else f" ; {marker}"))
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
