"""Runs recorded requests against a loaded model and judges the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasft.errors import KerasftError
from kerasft.export import layout, warmup
from kerasft.export.manifest import DEFAULT_TOLERANCE, read_manifest
from kerasft.export.report import Check
from kerasft.export.runtime import Model
from kerasft.serving.tensors import to_numpy

Arrays = Mapping[str, np.ndarray[Any, Any]]


class NotFinite:
    """Collects the outputs that held NaN or infinity."""

    def __init__(self) -> None:
        self.requests = 0
        self.found: dict[str, int] = {}

    def look(self, outputs: Arrays) -> None:
        """Takes the outputs of one request."""
        self.requests += 1
        for name, array in outputs.items():
            if array.dtype != object and array.dtype.kind not in "biu":
                values = array if array.dtype.kind == "c" else array.astype(np.float64)
                if bad := int(np.count_nonzero(~np.isfinite(values))):
                    self.found[name] = self.found.get(name, 0) + bad

    def check(self) -> Check:
        """Judges them."""
        if not self.requests:
            return Check(name="finite", ok=None, detail="no request was run")
        if self.found:
            listed = ", ".join(f"'{name}' ({count} values)" for name, count in sorted(self.found.items()))
            cure = "look for a division by zero, a log of zero or a training run that diverged"
            return Check(name="finite", ok=False, detail=f"NaN or infinity in the outputs {listed}: {cure}")
        return Check(name="finite", ok=True, detail=f"in the outputs of {self.requests} requests")


def run_request(model: Model, request: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Runs a PredictRequest."""
    inputs = {name: to_numpy(tensor) for name, tensor in request.inputs.items()}
    signature = request.model_spec.signature_name or layout.DEFAULT_SIGNATURE
    return model.call(signature, inputs, list(request.output_filter) or None)


def replay_warmup(model: Model, seen: NotFinite) -> Check:
    """Every warm-up request runs: a server does the same before it lets the version in."""
    path = model.path / layout.WARMUP
    if not path.is_file():
        return Check(
            name="warmup", ok=None, detail=f"there is no {layout.WARMUP}: the first requests will be slow"
        )
    ran = other = 0
    try:
        for log in warmup.read_logs(path):
            if log.WhichOneof("log_type") != "predict_log":
                other += 1
                continue
            seen.look(run_request(model, log.predict_log.request))
            ran += 1
    except (KerasftError, ValueError) as error:
        cure = "a server would refuse the version"
        return Check(name="warmup", ok=False, detail=f"warm-up request {ran + other} failed: {error}; {cure}")
    if ran + other > warmup.MAX_WARMUP_RECORDS:
        limit = warmup.MAX_WARMUP_RECORDS
        return Check(
            name="warmup", ok=False, detail=f"{ran + other} requests are more than the {limit} allowed"
        )
    note = f", {other} of other kinds than Predict left out" if other else ""
    return Check(name="warmup", ok=True, detail=f"{ran} requests answered{note}")


def compare_expected(model: Model, seen: NotFinite) -> Check:
    """The outputs equal those that the model in memory gave when it was exported."""
    path = model.path / layout.EXPECTED
    if not path.is_file():
        return Check(name="agreement", ok=None, detail="the export recorded no outputs to compare with")
    tolerance = (read_manifest(model.path) or {}).get("tolerance", DEFAULT_TOLERANCE)
    worst, compared = 0.0, 0
    try:
        for log in warmup.read_logs(path):
            request = log.predict_log.request
            outputs = run_request(model, request)
            seen.look(outputs)
            expected = {name: to_numpy(tensor) for name, tensor in log.predict_log.response.outputs.items()}
            problem, distance = compare(outputs, expected, **tolerance)
            if problem:
                signature = request.model_spec.signature_name
                again = compare(run_request(model, request), outputs, rtol=0, atol=0)[0]
                cause = (
                    "two runs of the export differ too: make it deterministic (dropout off, ops seeded)"
                    if again
                    else "preprocessing, variables or the training flag differ between memory and the export"
                )
                detail = f"request {compared} to '{signature}': {problem}; {cause}"
                return Check(name="agreement", ok=False, detail=detail)
            worst, compared = max(worst, distance), compared + 1
    except (KerasftError, ValueError) as error:
        return Check(name="agreement", ok=False, detail=f"request {compared} failed: {error}")
    return Check(name="agreement", ok=True, detail=f"{compared} requests, largest difference {worst:.1e}")


def compare(actual: Arrays, expected: Arrays, *, rtol: float, atol: float) -> tuple[str, float]:
    """Compares named outputs: floats within the tolerance (NaN equals NaN), everything else exactly.

    Returns:
        What differs, in words, or an empty string; and the largest absolute difference between numbers.
    """
    if actual.keys() != expected.keys():
        return f"it answers {sorted(actual)} where memory answers {sorted(expected)}", 0.0
    worst = 0.0
    for name in sorted(expected):
        mine, theirs = actual[name], expected[name]
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            got, wanted = f"{mine.dtype}{list(mine.shape)}", f"{theirs.dtype}{list(theirs.shape)}"
            return f"output '{name}' is {got}, in memory {wanted}", worst
        if mine.dtype == object or mine.dtype.kind in "biu":
            if not np.array_equal(mine, theirs):
                at = tuple(int(i) for i in np.argwhere(mine != theirs)[0])
                return f"output '{name}' is {mine[at]!r} at {list(at)}, in memory {theirs[at]!r}", worst
            continue
        wide = np.complex128 if mine.dtype.kind == "c" else np.float64
        a, b = mine.astype(wide), theirs.astype(wide)
        both_finite = np.isfinite(a) & np.isfinite(b)
        distance = float(np.max(np.abs(a[both_finite] - b[both_finite]), initial=0.0))
        worst = max(worst, distance)
        if not np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True):
            how = (
                f"up to {distance:.1e} away from memory"
                if distance
                else "not finite where memory is, or vice versa"
            )
            return f"output '{name}' is {how}", worst
    return "", worst
