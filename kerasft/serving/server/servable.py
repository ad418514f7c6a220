"""One version of one model: loaded, warmed up, shared by requests, freed after the last of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from kerasft.errors import ExportError, KerasftError
from kerasft.export import layout, warmup
from kerasft.export.runtime import Model, RuntimeFailure
from kerasft.serving.errors import ServingError
from kerasft.serving.server import examples, predict
from kerasft.serving.server.batching import Batcher
from kerasft.serving.server.batching_options import BatchingOptions
from kerasft.serving.server.caller import Caller
from kerasft.serving.server.calls import Array, Call, Signature
from kerasft.serving.server.dependence import constant_tensors
from kerasft.serving.server.metrics import Metrics

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}  # TensorFlow numbers them alike.
_WARMUPS = {
    "predict_log": predict.prepare,
    "classify_log": examples.classify,
    "regress_log": examples.regress,
    "multi_inference_log": examples.multi_inference,
}

Prepare = Callable[..., Call]


class Servable:
    """A loaded version. `load` makes one; `take` and `release`, or the end of a `with` block, count those who
    use it.

    Args:
        name: What clients call the model.
        version: The version's number.
        model: The loaded model.
        batching: How requests are joined.
        metrics: Where its times are counted.
    """

    def __init__(
        self, *, name: str, version: int, model: Model, batching: BatchingOptions, metrics: Metrics
    ) -> None:
        self.name = name
        self.version = version
        self.model = model
        self._metrics = metrics
        self._signatures = {name: Signature.of(found) for name, found in model.signatures.items()}
        infos = [info for signature in self._signatures.values() for info in signature.inputs.values()]
        self._row_inputs = {info.name for info in infos if _has_rows(info)}
        infos = [info for signature in self._signatures.values() for info in signature.outputs.values()]
        # Only outputs of a fixed size in all but the first dimension: others may depend on the whole batch.
        self._row_outputs = {
            info.name
            for info in infos
            if _has_rows(info) and all(dim.size >= 0 for dim in info.tensor_shape.dim[1:])
        }
        self._constants = frozenset(constant_tensors(model.meta_graph, [info.name for info in infos]))
        self._users = 0
        self._retired = False
        self._idle = threading.Condition()
        self._batcher = Batcher(self._run, options=batching, observe=self._observe)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        name: str,
        version: int,
        threads: int | None,
        batching: BatchingOptions,
        metrics: Metrics,
    ) -> Servable:
        """Loads a version folder and replays its warm-up requests.

        Raises:
            ServingError: If it cannot be loaded, or one of the requests fails.
        """
        try:
            model = Model(folder, threads=threads)
        except KerasftError as error:
            code = _CODES.get(error.code, "UNKNOWN") if isinstance(error, RuntimeFailure) else "UNKNOWN"
            raise ServingError(f"the model at {folder} cannot be served: {error}", code=code) from error
        servable = cls(name=name, version=version, model=model, batching=batching, metrics=metrics)
        try:
            # The loader takes a folder without variables as whole, so that only requests would fail.
            if missing := layout.missing_files(folder, model.meta_graph):
                raise ServingError(f"{missing[0]} is missing", code="NOT_FOUND")
            servable._warm_up()
        except KerasftError as error:
            servable.retire()
            code = error.code if isinstance(error, ServingError) else "UNKNOWN"
            raise ServingError(f"the model at {folder} cannot be served: {error}", code=code) from error
        return servable

    def prepare(self, checked: Prepare, request: Any) -> Call:
        """Checks a request with `predict.prepare` or a function of `examples`."""
        return checked(request, version=self.version, signatures=self._signatures)

    def run(self, call: Call, *, caller: Caller) -> Any:
        """Runs a call, together with others if they come at the same time, and returns its response.

        Raises:
            ServingError: With the code and message of TensorFlow Serving.
        """
        joinable = self._row_inputs.issuperset(call.feeds) and all(
            name in self._row_outputs or name in self._constants for name in call.fetches
        )
        return self._batcher.run(
            call.feeds,
            call.fetches,
            joinable=joinable,
            caller=caller,
            constants=self._constants,
            finish=call.finish,
        )

    def take(self) -> bool:
        """Counts a user; returns whether the version may still be used."""
        with self._idle:
            if not self._retired:
                self._users += 1
            return not self._retired

    def __enter__(self) -> Servable:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Counts a user less."""
        with self._idle:
            self._users -= 1
            if self._retired:
                self._idle.notify_all()

    def retire(self) -> None:
        """Waits for the last user, then frees the model."""
        with self._idle:
            self._retired = True
            self._idle.wait_for(lambda: not self._users)
        self._batcher.close()
        self.model.close()

    def _warm_up(self) -> None:
        path = self.model.path / layout.WARMUP
        if not path.is_file():
            return
        for index, log in enumerate(warmup.read_logs(path)):
            if index == warmup.MAX_WARMUP_RECORDS:
                raise ServingError(f"it has more warm-up requests than the {index} allowed")
            kind = log.WhichOneof("log_type")
            if kind not in _WARMUPS:
                message = f"warm-up request {index} is a {kind}, which this server does not take"
                raise ServingError(message, code="UNIMPLEMENTED")
            try:
                call = self.prepare(_WARMUPS[kind], getattr(log, kind).request)
                call.finish(self._run(call.feeds, call.fetches))
            except ServingError as error:
                raise ServingError(f"warm-up request {index} failed: {error}", code=error.code) from error

    def _run(self, feeds: Mapping[str, Array], fetches: Sequence[str]) -> list[np.ndarray[Any, Any]]:
        try:
            return self.model.run(feeds, fetches)
        except RuntimeFailure as failure:
            raise ServingError(str(failure), code=_CODES.get(failure.code, "UNKNOWN")) from failure
        except ExportError as error:
            raise ServingError(str(error), code="INTERNAL") from error

    def _observe(self, waits: Sequence[float], seconds: float) -> None:
        self._metrics.runtime_latency.add(seconds * 1e6, self.name, "Predict", "TF1")
        for wait in waits:
            self._metrics.queuing_latency.add(wait * 1e6, self.name)


def _has_rows(info: Any) -> bool:
    shape = info.tensor_shape
    return not shape.unknown_rank and bool(shape.dim) and shape.dim[0].size < 0
