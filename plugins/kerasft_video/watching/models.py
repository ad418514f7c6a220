"""The model that is asked: of a run, of an export, or on a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kerasft.errors import ConfigError
from kerasft_video.config import VideoConfig

Shape = tuple[int | None, ...]

CLIP = "serving_default"
START, NEXT = "stream_start", "stream_next"


class Model(Protocol):
    """Something that answers signatures.

    Attributes:
        name: What people call it.
        shapes: Signature to input to shape, the batch first.
        config: What it was trained with, if that is known.
    """

    name: str
    shapes: Mapping[str, Mapping[str, Shape]]
    config: VideoConfig | None

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Asks a signature."""
        ...

    def close(self) -> None:
        """Lets go of it."""
        ...


def _videos(config: Any, task: Any, name: str) -> VideoConfig:
    if task != "video":
        raise ConfigError(
            f"{name} is of the task {task!r}, and only videos can be watched; name a run of 'video'"
        )
    return config if isinstance(config, VideoConfig) else VideoConfig(**config)


class OfRun:
    """The model of a run.

    Args:
        path: Folder of the run.
        checkpoint: "best" or "latest".

    Raises:
        ConfigError: It is not of the task video.
        TrainingError: It is no run.
    """

    def __init__(self, path: Path, *, checkpoint: str = "best") -> None:
        import kerasft

        self.name = str(path)
        self._task = kerasft.load(path, checkpoint=checkpoint)
        self.config: VideoConfig | None = _videos(self._task.config, self._task.name, self.name)
        self.shapes: Mapping[str, Mapping[str, Shape]] = {
            name: {key: tuple(spec.shape) for key, spec in inputs.items()}
            for name, inputs in self._task.signatures().items()
        }
        self._traced: dict[str, Any] = {}

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import tensorflow as tf

        from kerasft.prediction import trace

        if signature not in self._traced:
            self._traced[signature] = trace(self._task, signature)
        answer = self._traced[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: tensor.numpy() for name, tensor in answer.items()}

    def close(self) -> None:
        self._traced.clear()


class OfExport:
    """An exported model in TensorFlow's C++ runtime.

    Args:
        path: Folder of the model or of a version.
        threads: Of TensorFlow; None lets it take all cores.

    Raises:
        ConfigError: It is not of the task video.
        ExportError: It is no export.
    """

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        from kerasft.export.layout import version_folder
        from kerasft.export.manifest import read_manifest
        from kerasft.export.runtime import Model as Loaded

        folder = version_folder(path)
        manifest = read_manifest(folder) or {}
        self.name = str(folder)
        self.config: VideoConfig | None = _videos(manifest.get("config", {}), manifest.get("task"), self.name)
        self._model = Loaded(folder, threads=threads)
        self.shapes: Mapping[str, Mapping[str, Shape]] = {
            name: {key: _of_proto(info.tensor_shape) for key, info in definition.inputs.items()}
            for name, definition in self._model.signatures.items()
        }

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._model.call(signature, inputs)

    def close(self) -> None:
        self._model.close()


class OnServer:
    """A model on a server that speaks TensorFlow Serving's gRPC.

    Args:
        address: "host:port".
        model: Its name there.
        config: What it was trained with, if that is known.
        timeout: Seconds that an answer may take.

    Raises:
        ServingError: The server cannot be reached, or has no such model.
    """

    def __init__(
        self, address: str, *, model: str, config: VideoConfig | None = None, timeout: float = 10.0
    ) -> None:
        from kerasft.serving.client import Client

        self.name = f"{model} at {address}"
        self.config = config
        self._client = Client(address, model=model, timeout=timeout)
        self.shapes: Mapping[str, Mapping[str, Shape]] = {
            name: {
                key: tuple(tensor.shape or ()) for key, tensor in self._client.signature(name).inputs.items()
            }
            for name in self._client.metadata()
        }

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._client.predict(inputs, signature=signature)

    def close(self) -> None:
        self._client.close()


def open_model(path: str | Path, *, checkpoint: str = "best", threads: int | None = None) -> Model:
    """Returns the model of a folder, whatever it is of.

    Raises:
        ConfigError: It is neither a run nor an export of the task video.
    """
    from kerasft.export.layout import holds_model

    path = Path(path)
    if not path.exists():
        raise ConfigError(f"{path} does not exist; give the folder of a run or of an exported model")
    return OfExport(path, threads=threads) if holds_model(path) else OfRun(path, checkpoint=checkpoint)


def config_of(path: Path) -> VideoConfig:
    """Returns what a run or an export was trained with, without loading its weights.

    Raises:
        ConfigError: It is neither, or of another task.
    """
    from kerasft.export.layout import holds_model, version_folder
    from kerasft.export.manifest import read_manifest
    from kerasft.training.run import Run

    manifest = (read_manifest(version_folder(path)) or {}) if holds_model(path) else Run(path).read()
    return _videos(manifest.get("config", {}), manifest.get("task"), str(path))


def _of_proto(shape: Any) -> Shape:
    return tuple(None if dim.size < 0 else dim.size for dim in shape.dim)
