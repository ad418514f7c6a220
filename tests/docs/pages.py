"""Pages of documentation, and a program that runs one: `python pages.py PAGE PORT`, in a user's folder."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
KERASFT = [sys.executable, "-m", "kerasft"]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Returns (language, code) of the fenced blocks."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(code: str) -> list[list[str]]:
    """Returns the commands of a shell block as words."""
    return [words for line in code.splitlines() if (words := shlex.split(line, comments=True))]


def run(page: Path, port: str) -> None:
    """Runs every block where it stands; snippets of a page share their names, those of the README do not."""
    names: dict[str, object] = {}
    with contextlib.ExitStack() as servers:
        for kind, code in blocks(page):
            code = code.replace("8500", port)
            if kind == "python":
                exec(compile(code, page.name, "exec"), {} if page == README else names)
            elif kind == "yaml":
                Path("recipe.yaml").write_text(code, encoding="utf-8")
            elif kind == "sh":
                for words in commands(code):
                    _command(words, servers)


def _command(words: list[str], servers: contextlib.ExitStack) -> None:
    print(*words, flush=True)
    command, *arguments = words
    if command != "kerasft":
        assert command == "make", f"no test runs {command}"
    elif arguments[0] != "serve":
        subprocess.run([*KERASFT, *arguments], check=True)
    else:
        server = subprocess.Popen([*KERASFT, *arguments], stdout=subprocess.PIPE, text=True)
        servers.callback(server.communicate)
        servers.callback(server.terminate)
        assert server.stdout is not None
        assert any("127.0.0.1:" in line for line in iter(server.stdout.readline, ""))


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2])
