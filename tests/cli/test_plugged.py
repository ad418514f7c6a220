"""Commands that plugins add."""

from __future__ import annotations

from importlib import metadata

import pytest
import typer

from kerasft.cli import plugged


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch):
    """Adds entry points, name to what is found there; an exception is what importing it raises."""

    def add(*points: tuple[str, object]) -> None:
        class Point(metadata.EntryPoint):
            def load(self):
                found = dict(zip(places, (value for _, value in points), strict=True))[self.value]
                if isinstance(found, Exception):
                    raise found
                return found

        places = [f"kerasft_greet.commands:part{number}" for number in range(len(points))]
        made = [
            Point(name=name, value=place, group=plugged.GROUP)
            for (name, _), place in zip(points, places, strict=True)
        ]
        monkeypatch.setattr(
            plugged.metadata, "entry_points", lambda *, group: made if group == plugged.GROUP else []
        )

    return add


def greet(name: str, loud: bool = typer.Option(False, "--loud", help="Shout.")) -> None:
    """Say hello."""
    typer.echo(f"hello {name}".upper() if loud else f"hello {name}")


def test_a_function_is_a_command_with_its_options(cli, offer) -> None:
    offer(("greet", greet))
    assert cli("greet", "Ada", "--loud").out == "HELLO ADA\n"
    assert "Say hello." in cli("--help").out
    assert "--loud" in cli("greet", "-h").out
    assert "--lout" in cli("greet", "Ada", "--lout", code=2).err


def test_an_app_is_a_command_with_commands(cli, offer) -> None:
    app = typer.Typer()
    app.command("hello")(greet)
    app.command("bye")(lambda: typer.echo("bye"))
    offer(("greet", app))
    assert cli("greet", "hello", "Ada").out == "hello Ada\n"
    assert cli("greet", "bye").out == "bye\n"


def test_a_broken_command_says_why_and_leaves_the_others_alone(cli, offer) -> None:
    offer(("greet", ImportError("No module named 'cheer'")))
    err = cli("greet", "Ada", "--loud", code=2).err
    assert err == (
        "error: the command 'greet' cannot be used: kerasft_greet.commands:part0 fails with "
        "ImportError: No module named 'cheer'\n"
    )
    assert "greet" in cli("--help").out
    assert cli("list", "--help").out


def test_two_packages_cannot_add_one_command(cli, offer) -> None:
    offer(("greet", greet), ("greet", print))
    assert "uninstall one of the packages" in cli("greet", "Ada", code=2).err


def test_own_commands_cannot_be_taken(cli, offer) -> None:
    offer(("list", greet))
    assert "hello" not in cli("list", "--json").out
