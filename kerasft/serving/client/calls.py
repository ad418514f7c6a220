"""A task's own calls, made from the manifest of an export."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from kerasft.serving.errors import InvalidArgumentError


@dataclass(frozen=True)
class Manifest:
    """What the manifest of an export says to a client.

    Args:
        task: Name of the task.
        calls: Name of a call to `"signature"`, its name, and `"inputs"` and `"outputs"`, name to type.
    """

    task: str
    calls: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Manifest:
        """Reads it.

        Args:
            path: Folder of a model (its newest version is read) or of a version, or the file `manifest.json`.

        Raises:
            InvalidArgumentError: If the manifest names no task.
            ExportError: If there is no manifest, or it cannot be read.
        """
        from kerasft.export import layout, manifest

        file = Path(path)
        if file.suffix != ".json":
            file = layout.version_folder(file) / layout.MANIFEST
        content = manifest.read_file(file)
        try:
            return cls(task=content["task"], calls=content["calls"])
        except KeyError as error:
            raise InvalidArgumentError(
                f"{file} says nothing of {error}: export the model from its task with this release"
            ) from error


class TaskCalls:
    """The calls of a task, one function each, named by the task.

    Example:
        >>> told = {"inputs": {"text": "string[?]"}, "outputs": {"label": "string[?]"}, "signature": "main"}
        >>> manifest = Manifest(task="text", calls={"classify": told})
        >>> calls = TaskCalls(manifest, lambda inputs, **options: (inputs, options))
        >>> calls.classify(["what a film"], version=3)
        ({'text': ['what a film']}, {'signature': 'main', 'version': 3})
        >>> inspect.signature(calls.classify)
        <Signature (text: 'string[?]', **options)>
    """

    def __init__(self, manifest: Manifest, predict: Callable[..., Any]) -> None:
        self.name = manifest.task
        self._calls = {name: _call(name, told, predict) for name, told in manifest.calls.items()}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        calls: dict[str, Callable[..., Any]] = self.__dict__.get("_calls", {})
        if name in calls:
            return calls[name]
        raise AttributeError(f"the task {self.name!r} has no call {name!r}; it has {', '.join(calls)}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._calls]


def _call(name: str, told: Mapping[str, Any], predict: Callable[..., Any]) -> Callable[..., Any]:
    signature, inputs = told["signature"], told["inputs"]
    # Several inputs have no order in a signature.
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if len(inputs) == 1 else inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter(key, kind, annotation=tensor) for key, tensor in inputs.items()]
    options = inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD)
    form = inspect.Signature([*parameters, options])

    def call(*args: Any, **kwargs: Any) -> Any:
        given = form.bind(*args, **kwargs).arguments
        chosen = given.pop("options", {})
        return predict(given, signature=signature, **chosen)

    call.__name__ = call.__qualname__ = name
    call.__signature__ = form  # type: ignore[attr-defined]
    lines = [f"    {key}: {tensor}" for key, tensor in inputs.items()]
    answers = [f"    {key}: {tensor}" for key, tensor in told["outputs"].items()]
    call.__doc__ = "\n".join(
        [
            f"Calls the signature {signature!r}; options are those of `predict`.",
            "",
            "Args:",
            *lines,
            "",
            "Returns:",
            *answers,
        ]
    )
    return call
