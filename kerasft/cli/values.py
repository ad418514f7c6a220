"""Config values as flags of their own: `--resolution 256` for `--set resolution=256`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from typer.core import TyperCommand

_KEY = re.compile(r"[a-z]\w*(\.\w+)*")


class TakesValues(TyperCommand):
    """A command with an option `--set` that takes config values as options too.

    An option that is not the command's own, nor nearly one of them, is taken for a config value.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the command line."""
        known = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        return super().parse_args(ctx, list(spelled_out(args, known=known)))


def spelled_out(args: Sequence[str], *, known: Collection[str]) -> Iterator[str]:
    """Yields arguments with `--set KEY=VALUE` for `--KEY VALUE` and `--KEY=VALUE`.

    Args:
        args: Of the command line.
        known: Options that stay as they are, and so does what looks like a misspelt one of them.

    Example:
        >>> list(spelled_out(["face", "--network.base=64", "--json"], known=["--json"]))
        ['face', '--set', 'network.base=64', '--json']
    """
    rest = list(args)
    while rest and rest[0] != "--":
        argument = rest.pop(0)
        option, equals, value = argument.partition("=")
        given = equals or (rest and not rest[0].startswith("--"))
        if given and _is_value(option, known):
            yield from ("--set", f"{option.removeprefix('--')}={value if equals else rest.pop(0)}")
        else:
            yield argument
    yield from rest


def _is_value(option: str, known: Collection[str]) -> bool:
    return (
        option.startswith("--")
        and option not in known
        and _KEY.fullmatch(option.removeprefix("--")) is not None
        and not difflib.get_close_matches(option, known, n=1, cutoff=0.8)
    )
