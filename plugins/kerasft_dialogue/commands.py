"""`kerasft chat` and `kerasft history`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasft.errors import ConfigError

if TYPE_CHECKING:
    from kerasft_dialogue.manager import History

history = typer.Typer(
    help="What the SQLite file of kerasft chat --history holds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

HistoryFile = Annotated[Path, typer.Argument(help="The file of --history.")]


def chat(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN|EXPORT|ADDRESS",
            help="Folder of a run, folder of an export, or a served model: host:port/NAME of gRPC, "
            "http://host:port/NAME of REST.",
        ),
    ],
    system: Annotated[str, typer.Option("--system", help="What stands before the conversation.")] = "",
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="0 takes the likeliest words; more is freer.")
    ] = 0.0,
    top_k: Annotated[
        int, typer.Option("--top-k", min=0, help="Draw from so many tokens only; 0: from all.")
    ] = 0,
    top_p: Annotated[
        float, typer.Option("--top-p", help="Draw from the likeliest tokens of this probability, in (0, 1].")
    ] = 1.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Most tokens of a reply.")] = 128,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="A string that ends a reply; may be repeated.")
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option("--history", metavar="FILE", help="SQLite file that keeps all turns and ratings."),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="Whose conversation it is, by an id.")] = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="Of --history: go on with this one.")
    ] = None,
    intents: Annotated[
        str | None,
        typer.Option("--intents", metavar="MODEL", help="A text classification that tells intents."),
    ] = None,
    slots: Annotated[
        str | None, typer.Option("--slots", metavar="MODEL", help="A model of entities that fills slots.")
    ] = None,
) -> None:
    """Talk with a model: a line is a turn, words are shown as they come, Ctrl-C stops a reply.

    /reset starts anew, /rate N rates the last reply from 1 to 5, /quit ends. Works in a pipe too.
    """
    from kerasft_dialogue.manager import DialogueManager, Sampling
    from kerasft_dialogue.terminal import Terminal

    if session is not None and kept is None:
        raise ConfigError("--session names a session of a history; say which with --history FILE")
    sampling = Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        max_tokens=max_tokens,
        seed=seed,
        stop=tuple(stop or ()),
    )
    sources: dict[str, Any] = {"responder": model, "intents": intents, "slots": slots}
    manager = _quietly(
        lambda: DialogueManager(**sources, history=kept, system=system, sampling=sampling), sources
    )
    with manager:
        Terminal(manager=manager, user=user, session=session).run()


@history.command()
def export(
    file: HistoryFile,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="Where to write.")],
    min_rating: Annotated[
        int | None,
        typer.Option("--min-rating", min=1, max=5, help="Only conversations up to replies rated so well."),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="Only this user's.")] = None,
) -> None:
    """Write conversations as data for kerasft finetune dialogue, one JSON object a line."""
    from kerasft.cli.output import print_json

    with _open(file) as opened:
        count = opened.export(out, user=user, min_rating=min_rating)
    print_json({"out": out, "conversations": count})


@history.command("user")
def user_data(
    file: HistoryFile,
    user: Annotated[str, typer.Argument(metavar="USER", help="Id of a user.")],
) -> None:
    """Print all that is stored of a user as a JSON object."""
    from kerasft.cli.output import print_json

    with _open(file) as opened:
        print_json(opened.user_data(user))


@history.command()
def forget(
    file: HistoryFile,
    user: Annotated[str, typer.Argument(metavar="USER", help="Id of a user.")],
) -> None:
    """Delete a user with profile, sessions and turns."""
    from kerasft.cli.output import print_json

    with _open(file) as opened:
        print_json({"user": user, "turns": opened.delete_user(user)})


def _open(file: Path) -> History:
    from kerasft_dialogue.manager import History

    if not file.is_file():
        raise ConfigError(f"{file} does not exist; name the file that kerasft chat --history wrote")
    return History(file)


def _quietly(make: Any, sources: dict[str, Any]) -> Any:
    """Makes a manager without what TensorFlow says meanwhile; exports load without its Python."""
    from kerasft.cli.output import answering
    from kerasft.cli.quiet import import_tensorflow, quiet_import

    with answering(only_json=True):
        if any(source is not None and (Path(source) / "run.json").is_file() for source in sources.values()):
            import_tensorflow()
            return make()
        with quiet_import():
            return make()
