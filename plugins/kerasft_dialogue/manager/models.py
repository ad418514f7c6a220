"""Models as functions from named values to named arrays, wherever they run: a run, an export, a server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.errors import ConfigError

if TYPE_CHECKING:
    import kerasft

_ADDRESS = re.compile(r"(?P<rest>https?://)?(?P<server>[^/\s]+:\d+)(?:/(?P<model>[^/\s]+))?/?")


class Model:
    """Something that answers signatures.

    Attributes:
        name: What errors call it.
        inputs: Signature to the names of its inputs.
        outputs: Signature to the names of its outputs.
    """

    name: str
    inputs: Mapping[str, frozenset[str]]
    outputs: Mapping[str, frozenset[str]]

    def ask(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: Its name.
            inputs: A value for each input. Numbers take the type of the input.

        Returns:
            An array for each output.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Frees what the model holds."""

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class TaskModel(Model):
    """A task in this process, such as `kerasft.load` gives.

    Args:
        task: It has a model.
        name: What errors call it.
    """

    def __init__(self, task: kerasft.Task, *, name: str) -> None:
        self.name = name
        self._task = task
        self._specs = task.signatures()
        self._functions: dict[str, Any] = {}
        self.inputs = {signature: frozenset(specs) for signature, specs in self._specs.items()}
        self.outputs = _Outputs(self)

    def function(self, signature: str) -> Any:
        """Returns the graph of a signature, traced when it is first asked for."""
        if signature not in self._functions:
            from kerasft.prediction import trace

            self._functions[signature] = trace(self._task, signature)
        return self._functions[signature]

    def ask(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        import tensorflow as tf

        specs = self._specs[signature]
        tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        try:
            answer = self.function(signature)(**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise ConfigError(f"{self.name} refuses a request to {signature!r}: {error.message}") from error
        return {name: tensor.numpy() for name, tensor in answer.items()}


class _Outputs(Mapping[str, frozenset[str]]):
    """Outputs by signature of a task, whose graphs are traced only when they are looked at."""

    def __init__(self, model: TaskModel) -> None:
        self._model = model

    def __getitem__(self, signature: str) -> frozenset[str]:
        if signature not in self._model.inputs:
            raise KeyError(signature)
        return frozenset(self._model.function(signature).structured_outputs)

    def __iter__(self) -> Any:
        return iter(self._model.inputs)

    def __len__(self) -> int:
        return len(self._model.inputs)


class ExportModel(Model):
    """An exported SavedModel in this process, in TensorFlow's C++ runtime and without its Python.

    Args:
        folder: Of a model, whose newest version is taken, or of a version.
    """

    def __init__(self, folder: str | Path) -> None:
        from kerasft.export.layout import version_folder
        from kerasft.export.runtime import Model as Loaded

        self.name = str(folder)
        self._loaded = Loaded(version_folder(Path(folder)))
        signatures = self._loaded.signatures.items()
        self.inputs = {name: frozenset(signature.inputs) for name, signature in signatures}
        self.outputs = {name: frozenset(signature.outputs) for name, signature in signatures}

    def ask(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        from kerasft.export.runtime import RuntimeFailure

        try:
            return self._loaded.call(signature, inputs)
        except RuntimeFailure as error:
            raise ConfigError(f"{self.name} refuses a request to {signature!r}: {error}") from error

    def close(self) -> None:
        self._loaded.close()


class ServedModel(Model):
    """A model on a server.

    Args:
        client: A `kerasft.serving.client.Client` or `RestClient`; it is closed with the model.
        name: What errors call it.

    Raises:
        ServingError: The server cannot be reached, or has no such model.
    """

    def __init__(self, client: Any, *, name: str) -> None:
        self.name = name
        self._client = client
        known = client.metadata()
        self.inputs = {signature: frozenset(told["inputs"]) for signature, told in known.items()}
        self.outputs = {signature: frozenset(told["outputs"]) for signature, told in known.items()}

    def ask(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        answer: dict[str, np.ndarray] = self._client.predict(inputs, signature=signature)
        return answer

    def close(self) -> None:
        self._client.close()


def connect(source: Any, *, checkpoint: str = "best", timeout: float = 300.0) -> Model:
    """Makes a model of whatever stands for one.

    Args:
        source: Folder of a run, folder of an export, `"host:port/name"` of a server's gRPC,
            `"http://host:port/name"` of its REST, a task that was built, a client, or a `Model` as it is.
            Without a name the server's `default` is meant.
        checkpoint: Of a run: "best" or "latest".
        timeout: Seconds to wait for a server's answer.

    Raises:
        ConfigError: It stands for none.

    Example:
        >>> connect("saved_models/nothing")
        Traceback (most recent call last):
        ...
        kerasft.errors.ConfigError: 'saved_models/nothing' is no model: give the folder of a run or of an \
export, or the address of a server, such as localhost:8500/chat
    """
    if isinstance(source, Model):
        return source
    if hasattr(source, "predict") and hasattr(source, "metadata"):
        return ServedModel(source, name=f"{source.model} at {source.where}")
    if hasattr(source, "signatures") and hasattr(source, "serve"):
        return TaskModel(source, name=f"the task {source.name!r}")
    if isinstance(source, Path) or Path(source).exists():
        return _from_folder(Path(source), checkpoint)
    address = _ADDRESS.fullmatch(source)
    if address is None:
        raise ConfigError(
            f"{source!r} is no model: give the folder of a run or of an export, or the address of a server, "
            "such as localhost:8500/chat"
        )
    return _from_server(source, address, timeout)


def texts(array: Any) -> list[str]:
    """Returns the strings of an output as str; what is not UTF-8 is replaced."""
    values = np.asarray(array, object).reshape(-1)
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]


def _from_folder(folder: Path, checkpoint: str) -> Model:
    from kerasft.export.layout import holds_model

    if (folder / "run.json").is_file():
        import kerasft

        return TaskModel(kerasft.load(folder, checkpoint=checkpoint), name=str(folder))
    if holds_model(folder):
        return ExportModel(folder)
    raise ConfigError(f"{folder} is neither the folder of a run nor that of an exported model")


def _from_server(source: str, address: re.Match[str], timeout: float) -> Model:
    from kerasft.serving.client import Client, RestClient

    make: Any = RestClient if address["rest"] else Client
    where = (address["rest"] or "") + address["server"]
    client = make(where, model=address["model"] or "default", timeout=timeout)
    try:
        return ServedModel(client, name=source)
    except BaseException:
        client.close()
        raise
