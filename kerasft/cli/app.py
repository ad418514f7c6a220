"""The command tree."""

from __future__ import annotations

import typer

from kerasft.cli import deploying, remote, serving, shipping, tasks, training, using, weights
from kerasft.cli.plugged import CONTEXT, Commands
from kerasft.cli.values import TakesValues

app = typer.Typer(
    cls=Commands,
    help="Fine-tune any Keras model and serve it with TensorFlow Serving.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True),
) -> None:
    if version:
        from kerasft import __version__

        typer.echo(__version__)
        raise typer.Exit


app.command("list")(tasks.list_tasks)
app.command("describe", cls=TakesValues)(tasks.describe)
app.command("finetune", cls=TakesValues)(training.finetune)
app.command("evaluate", cls=TakesValues)(using.evaluate)
app.command("predict")(using.predict)
app.command("average")(shipping.average)
app.command("export", cls=TakesValues)(shipping.export)
app.command("verify")(shipping.verify)
app.command("serve")(serving.serve)
app.command("ask")(remote.ask)
app.command("deploy")(deploying.deploy)
app.command("check", cls=TakesValues)(tasks.check)
app.command("new")(tasks.new)
app.command("fetch")(weights.fetch)
