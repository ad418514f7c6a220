"""Which versions of which models are served: looks for new ones, loads them, and retires the old."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc

from kerasft.export import layout
from kerasft.serving import protos
from kerasft.serving.errors import ServingError
from kerasft.serving.server import config
from kerasft.serving.server.batching_options import BatchingOptions
from kerasft.serving.server.metrics import Metrics
from kerasft.serving.server.servable import Servable

_STATES = (
    protos.message("tensorflow.serving.ModelVersionStatus")
    .DESCRIPTOR.enum_types_by_name["State"]
    .values_by_name
)
_GRPC_NUMBERS = {code.name: code.value[0] for code in grpc.StatusCode}
_log = logging.getLogger("kerasft.serving")


@dataclasses.dataclass(kw_only=True)
class _Version:
    """Where a version stands."""

    state: str = "START"
    error: ServingError | None = None
    servable: Servable | None = None
    fingerprint: Any = None  # Of the folder that failed to load: another attempt needs another folder.


class ModelManager:
    """The models of a server. Requests may come from any thread.

    A new version is loaded and warmed up while the old one answers; the old one is retired when the new one
    does. A version that fails is reported in its status, and tried again when its files have changed.

    Args:
        threads: Threads within one op and between ops; None takes all cores.
        batching: How requests are joined.
        metrics: Where times are counted.
        root: Folder within which a request may name base paths; None allows only those of the start.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        batching: BatchingOptions | None = None,
        metrics: Metrics | None = None,
        root: Path | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        self._threads = threads
        self._batching = batching or BatchingOptions()
        self._root = root
        self._config: Any = None
        self._started_with: set[str] = set()
        self._labels: dict[str, dict[str, int]] = {}
        self._versions: dict[str, dict[int, _Version]] = {}
        self._lock = threading.Lock()  # Of the tables above; held for moments.
        self._changing = threading.Lock()  # Held while models load.
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None
        self._retiring: list[threading.Thread] = []

    # What to serve.

    def start(self, configuration: Any) -> None:
        """Loads the models of a ModelServerConfig.

        Raises:
            ServingError: If the configuration is wrong, or a model has no version that can be served.
        """
        config.check(configuration)
        with self._changing:
            self._replace(configuration)
            self._started_with = {model.base_path for model in configuration.model_config_list.config}
            self._settle()
            for model in configuration.model_config_list.config:
                self._require(model)
            self._set_labels(configuration)

    def reload(self, configuration: Any) -> None:
        """Replaces the configuration at the request of a client.

        Raises:
            ServingError: If it is wrong or not allowed, or a model that it adds has no version that can be
                served, with the code and message of TensorFlow Serving.
        """
        with self._changing:
            config.check(configuration, before=self._config)
            known = {model.name: model.base_path for model in self._config.model_config_list.config}
            for model in configuration.model_config_list.config:
                self._check_allowed(model)
            self._replace(configuration)
            self._settle()
            failed = [
                model.name
                for model in configuration.model_config_list.config
                if known.get(model.name) != model.base_path and not self._available(model.name)
            ]
            if failed:
                names = ", ".join(failed)
                raise ServingError(f"Some models did not become available: {{{names}}}", code="UNKNOWN")
            self._set_labels(configuration)

    def poll(self) -> None:
        """Looks once for new versions and for versions that are gone."""
        with self._changing:
            self._settle()

    def watch(self, seconds: float) -> None:
        """Polls in a thread until `close`, with a pause of so many seconds."""

        def work() -> None:
            while not self._stopped.wait(seconds):
                try:
                    self.poll()
                except Exception:
                    _log.exception("looking for new versions failed")

        self._watcher = threading.Thread(target=work, name="kerasft-versions", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Stops to look for versions and frees every model after its last request."""
        self._stopped.set()
        if self._watcher is not None:
            self._watcher.join()
        with self._changing:
            for name in list(self._versions):
                for number in self._numbers(name, "AVAILABLE"):
                    self._retire(name, number)
        for thread in self._retiring:
            thread.join()

    # What is served.

    def use(self, spec: Any) -> Servable:
        """Finds the version that a ModelSpec asks for; the `with` block that it is given to keeps it.

        Raises:
            ServingError: With the code and message of TensorFlow Serving.
        """
        if not spec.name:
            raise ServingError("ModelSpec has no name specified.", code="INVALID_ARGUMENT")
        choice, number = spec.WhichOneof("version_choice"), spec.version.value
        with self._lock:
            if choice == "version_label":
                labels = self._labels.get(spec.name, {})
                if spec.version_label not in labels:
                    raise ServingError(f"Unrecognized servable version label: {spec.version_label}",
                                       code="INVALID_ARGUMENT")  # fmt: skip
                number = labels[spec.version_label]
            versions = self._versions.get(spec.name, {})
            served = [n for n, version in versions.items() if version.servable is not None]
            if choice is None and served:
                number = max(served)
            version = versions.get(number)
            if number in served and version and version.servable and version.servable.take():
                return version.servable
        wanted = f"Specific({spec.name}, {number})" if choice else f"Latest({spec.name})"
        raise ServingError(f"Servable not found for request: {wanted}", code="NOT_FOUND")

    def status(self, spec: Any) -> Any:
        """Returns the GetModelStatusResponse for a ModelSpec.

        Raises:
            ServingError: With the code and message of TensorFlow Serving.
        """
        response = protos.GetModelStatusResponse()
        with self._lock:
            versions = self._versions.get(spec.name, {})
            number = spec.version.value
            if spec.WhichOneof("version_choice") == "version_label":
                number = self._labels.get(spec.name, {}).get(spec.version_label, -1)
                if number < 0:
                    raise ServingError(f"Unrecognized servable version label: {spec.version_label}",
                                       code="INVALID_ARGUMENT")  # fmt: skip
            if spec.WhichOneof("version_choice"):
                if number not in versions:
                    raise ServingError(
                        f"Could not find version {number} of model {spec.name}", code="NOT_FOUND"
                    )
                versions = {number: versions[number]}
            if not versions:
                raise ServingError(f"Could not find any versions of model {spec.name}", code="NOT_FOUND")
            for number, version in sorted(versions.items(), reverse=True):
                status = response.model_version_status.add(
                    version=number, state=_STATES[version.state].number
                )
                status.status.SetInParent()
                if version.error is not None:
                    status.status.error_code = _GRPC_NUMBERS[version.error.code]
                    status.status.error_message = version.error.details
        return response

    def knows(self, name: str) -> bool:
        """Tells whether there is, or was, a model of this name."""
        return name in self._versions

    def served(self) -> dict[str, dict[int, Path]]:
        """Returns the folders of the available versions: name -> number -> folder."""
        with self._lock:
            return {
                name: {
                    number: version.servable.model.path
                    for number, version in sorted(versions.items())
                    if version.servable is not None
                }
                for name, versions in self._versions.items()
            }

    # How one becomes the other; all of this holds `_changing`.

    def _replace(self, configuration: Any) -> None:
        copy = protos.ModelServerConfig()
        copy.CopyFrom(configuration)
        self._config = copy

    def _settle(self) -> None:
        """Loads what the configuration wants and retires what it no longer wants."""
        models = {model.name: model for model in self._config.model_config_list.config}
        for model in models.values():
            try:
                found = config.find_versions(Path(model.base_path))
                readable = Path(model.base_path).is_dir()
            except OSError as error:
                _log.warning("cannot look into %s: %s", model.base_path, error)
                continue
            if not readable:
                continue  # As when a disk is away: what is loaded goes on.
            self._settle_model(model, config.wanted_versions(model.model_version_policy, found))
        for name in list(self._versions):
            if name not in models:
                for number in self._numbers(name, "AVAILABLE"):
                    self._retire(name, number)

    def _settle_model(self, model: Any, wanted: Mapping[int, Path]) -> None:
        for number, folder in wanted.items():
            version = self._versions.get(model.name, {}).get(number)
            moved = version is not None and version.servable and version.servable.model.path != folder
            if version is None or version.state in ("UNLOADING", "END") or moved:
                self._load(model, number, folder)
        available = self._numbers(model.name, "AVAILABLE")
        if not wanted or set(available) & set(wanted):
            for number in available:
                if number not in wanted:
                    self._retire(model.name, number)

    def _load(self, model: Any, number: int, folder: Path) -> None:
        before = self._versions.get(model.name, {}).get(number)
        fingerprint = _fingerprint(folder)
        if before is not None and before.error is not None and before.fingerprint == fingerprint:
            return
        moved = before.servable if before is not None else None
        if moved is None:
            self._set(model.name, number, _Version(state="LOADING"))
        try:
            servable = Servable.load(
                folder,
                name=model.name,
                version=number,
                threads=self._threads,
                batching=self._batching,
                metrics=self.metrics,
            )
        except ServingError as error:
            _log.error("version %d of model %s failed to load", number, model.name,
                       extra={"model": model.name, "version": number, "error": error.details})  # fmt: skip
            if moved is None:
                self._set(model.name, number, _Version(state="END", error=error, fingerprint=fingerprint))
            return
        self._set(model.name, number, _Version(state="AVAILABLE", servable=servable))
        _log.info("version %d of model %s is available", number, model.name,
                  extra={"model": model.name, "version": number, "path": str(folder)})  # fmt: skip
        if moved is not None:
            self._aside(moved.retire)

    def _retire(self, name: str, number: int) -> None:
        version = self._versions[name][number]
        servable = version.servable
        assert servable is not None
        ending = _Version(state="UNLOADING")
        self._set(name, number, ending)

        def work() -> None:
            servable.retire()
            with self._lock:
                ending.state = "END"
            _log.info("version %d of model %s is unloaded", number, name,
                      extra={"model": name, "version": number})  # fmt: skip

        self._aside(work)

    def _aside(self, work: Callable[[], None]) -> None:
        """Runs what waits for the last user of a version in a thread of its own."""
        self._retiring = [thread for thread in self._retiring if thread.is_alive()]
        self._retiring.append(threading.Thread(target=work, name="kerasft-unload", daemon=True))
        self._retiring[-1].start()

    def _set(self, name: str, number: int, version: _Version) -> None:
        with self._lock:
            self._versions.setdefault(name, {})[number] = version

    def _numbers(self, name: str, state: str) -> list[int]:
        return sorted(n for n, version in self._versions.get(name, {}).items() if version.state == state)

    def _available(self, name: str) -> bool:
        return bool(self._numbers(name, "AVAILABLE"))

    def _require(self, model: Any) -> None:
        if self._available(model.name):
            return
        for _, version in sorted(self._versions.get(model.name, {}).items(), reverse=True):
            if version.error is not None:
                raise version.error
        base = Path(model.base_path)
        layout.version_folder(base)
        raise ServingError(f"model '{model.name}' has none of the versions that its policy names in {base}")

    def _check_allowed(self, model: Any) -> None:
        if model.base_path in self._started_with:
            return
        if self._root is None:
            raise ServingError(
                f"the base path {model.base_path} is not one of those that the server was started with: "
                "start it with --model-root to allow others",
                code="PERMISSION_DENIED",
            )
        if not Path(model.base_path).resolve().is_relative_to(self._root.resolve()):
            raise ServingError(
                f"the base path {model.base_path} lies outside the model root", code="PERMISSION_DENIED"
            )

    def _set_labels(self, configuration: Any) -> None:
        labels: dict[str, dict[str, int]] = {}
        for model in configuration.model_config_list.config:
            for label, number in model.version_labels.items():
                if number not in self._numbers(model.name, "AVAILABLE"):
                    raise ServingError(
                        f"Request to assign label to version {number} of model {model.name}, which is not "
                        "currently available for inference",
                        code="FAILED_PRECONDITION",
                    )
                labels.setdefault(model.name, {})[label] = number
        with self._lock:
            self._labels = labels


def _fingerprint(folder: Path) -> Any:
    """What changes when somebody writes to a version folder."""
    found = []
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append((str(path), stat.st_size, stat.st_mtime_ns))
    return found
