"""`kerasft ask`: a model on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasft.cli.output import print_lines
from kerasft.errors import ConfigError

if TYPE_CHECKING:
    from kerasft.serving.client.signatures import Signature


def ask(
    address: Annotated[str, typer.Argument(help="host:port of the server's gRPC, or of REST with --rest.")],
    model: Annotated[str, typer.Argument(help="Name of the model on the server.")],
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A text to answer; may be repeated.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="NAME=VALUE", help="A value to answer, such as seed=1..16."),
    ] = None,
    signature: Annotated[str, typer.Option("--signature", help="What to ask.")] = "serving_default",
    version: Annotated[int | None, typer.Option("--version", help="Version; the newest by default.")] = None,
    rest: Annotated[bool, typer.Option("--rest", help="Ask over HTTP instead of gRPC.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds to wait.")] = 30.0,
) -> None:
    """Ask a model that TensorFlow Serving, or kerasft serve, serves; prints a JSON object for each row."""
    from kerasft.cli.asking import as_line, split_rows
    from kerasft.serving.client import Client, RestClient

    if bool(text) == bool(inputs):
        raise ConfigError("ask needs either --text or --input, for example --text 'what a film'")
    connect: Any = RestClient if rest else Client
    with connect(address, model=model, timeout=timeout) as client:
        known = client.signature(signature, version=version)
        values: dict[str, Any] = _values(inputs, known) if inputs else {_only(known): text}
        answers = client.predict(values, signature=signature, version=version)
    print_lines(as_line(row) for row in split_rows(answers, _by_row(known)))


def _values(items: list[str], signature: Signature) -> dict[str, list[Any]]:
    from kerasft.cli.asking import read_inputs
    from kerasft.data import Field
    from kerasft.data.parser import converter
    from kerasft.data.values import BadValue
    from kerasft.serving.tensors import dtype_name

    fields: dict[str, Field] = {}
    for name, tensor in signature.inputs.items():
        dtype = dtype_name(tensor.dtype)
        flat = tensor.shape is not None and len(tensor.shape) == 1
        kind: Any = "any"
        if flat:
            kind = {"string": "text", "bool": "boolean"}.get(dtype, "integer" if "int" in dtype else "number")
        fields[name] = Field(name=name, kind=kind)
    found = read_inputs(items, list(fields.values()))
    try:
        return {name: [converter(fields[name])(value) for value in values] for name, values in found.items()}
    except BadValue as error:
        raise ConfigError(f"--input: a value {error.problem}; {error.remedy}") from None


def _by_row(signature: Signature) -> list[str]:
    """Returns the outputs whose first dimension is free; the others stand once for all rows."""
    return [name for name, tensor in signature.outputs.items() if tensor.shape and tensor.shape[0] is None]


def _only(signature: Signature) -> str:
    if len(signature.inputs) != 1:
        raise ConfigError(
            f"--text needs a signature with one input, not {', '.join(signature.inputs)}: give each with "
            "--input"
        )
    return next(iter(signature.inputs))
