"""Commands that plugins add to `kerasft`: entry points of group `kerasft.commands`."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from kerasft.errors import RegistryError

GROUP = "kerasft.commands"
CONTEXT = {"help_option_names": ["-h", "--help"]}


class Commands(TyperGroup):
    """The command tree of `kerasft` with what plugins add.

    A command's module is imported when it is called, or when the help of all is asked for. Names of
    kerasft's own commands cannot be taken.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        own = super().list_commands(ctx)
        return [*own, *sorted(_offers().keys() - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        offers = _offers().get(cmd_name)
        if not offers:
            return None
        return _command(cmd_name, offers)


def _offers() -> dict[str, list[metadata.EntryPoint]]:
    found: dict[str, list[metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=GROUP):
        known = found.setdefault(point.name, [])
        if all(point.value != other.value for other in known):  # an editable install may show twice
            known.append(point)
    return found


def _command(name: str, offers: list[metadata.EntryPoint]) -> Any:
    if len(offers) > 1:
        places = " and ".join(point.value for point in offers)
        return _unusable(name, f"it is added by {places}; uninstall one of the packages")
    try:
        found: Any = offers[0].load()
    except Exception as error:  # whatever a stranger's module does, the other commands go on
        return _unusable(name, f"{offers[0].value} fails with {type(error).__name__}: {error}")
    tree = typer.Typer(pretty_exceptions_enable=False, context_settings=CONTEXT)
    if isinstance(found, typer.Typer):
        tree.add_typer(found, name=name)
    else:
        tree.command(name)(found)
    return typer.main.get_group(tree).commands[name]


def _unusable(name: str, reason: str) -> Any:
    def refuse() -> None:
        raise RegistryError(f"the command {name!r} cannot be used: {reason}")

    takes_all = {"ignore_unknown_options": True, "allow_extra_args": True}
    return TyperCommand(name, callback=refuse, short_help=f"({reason})", context_settings=takes_all)
