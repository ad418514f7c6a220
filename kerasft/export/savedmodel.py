"""Writes a version: graph, warm-up requests, expected outputs, manifest; verifies it, then publishes it."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.errors import ExportError
from kerasft.export import layout, lint, warmup
from kerasft.export.manifest import DEFAULT_TOLERANCE, GPU_TOLERANCE, write_manifest
from kerasft.export.publish import publishing
from kerasft.export.report import ExportReport
from kerasft.export.verify import verify as verify_folder
from kerasft.serving.tensors import as_array

if TYPE_CHECKING:
    import tensorflow as tf

Example = tuple[str, Mapping[str, Any]]


def export_savedmodel(
    module: tf.Module,
    signatures: Mapping[str, Any],
    target: str | os.PathLike[str],
    *,
    examples: Sequence[Example],
    manifest: Mapping[str, Any] | None = None,
    version: int | None = None,
    verify: bool = True,
    tolerance: Mapping[str, float] | None = None,
) -> ExportReport:
    """Exports a module as the next version of a model, so that a server sees all of it or nothing.

    The version is written into a hidden folder beside the others: the graph and variables, the examples as
    warm-up requests, the outputs that the functions give for them now, and a manifest with the checksum of
    every file. Then it is verified in a fresh process, and renamed to its number.

    Args:
        module: What tracks the variables and resources (lookup tables) that the functions use. Track the
            weights of a Keras model as `[weight.value for weight in model.weights]`: Keras's own variables
            come back in Python only.
        signatures: Concrete functions by name, one of them `serving_default`; each takes named tensors and
            returns a dict.
        target: The model's folder, which holds its versions.
        examples: Requests as (signature name, input name -> values); warm-up takes the first 1000.
        manifest: What the manifest is to say about the model (task, config, metrics ...), fit for JSON.
        version: The number to publish under; None takes the next one.
        verify: Whether to verify before publishing.
        tolerance: `rtol` and `atol` within which the exported model's floats must agree with memory; 1e-3
            and 1e-4 by default, looser where memory is a GPU's.

    Returns:
        A report with the path, version, size and checks.

    Raises:
        ExportError: If the model cannot be saved or fails a check (nothing is published then), the version
            exists, or the disk is full.

    Example:
        >>> export_savedmodel(module, {"serving_default": function}, "saved_models/double",   # doctest: +SKIP
        ...                   examples=[("serving_default", {"x": [1.0, 2.0]})])
    """
    tolerance = _default_tolerance() if tolerance is None else dict(tolerance)
    name = Path(target).absolute().name
    with publishing(Path(target), version) as publication:
        folder = publication.folder
        logs = [_predict(signatures, *example, model=name) for example in examples]
        _save(module, signatures, folder)
        _write_logs(folder, logs)
        described = {
            name: lint.describe_signature(definition)
            for name, definition in layout.signatures(layout.read_meta_graph(folder)).items()
        }
        entries = {**_provenance(), "signatures": described, "tolerance": tolerance}
        if clash := sorted(entries.keys() & (manifest or {}).keys()):
            raise ExportError(
                f"the manifest's entry {clash[0]!r} is written by the export itself: rename yours"
            )
        write_manifest(folder, {**entries, **(manifest or {})})
        verification = verify_folder(folder) if verify else None
        if verification is not None and not verification.ok:
            problems = "; ".join(f"{check.name}: {check.detail}" for check in verification.failed)
            raise ExportError(f"the export was not published because it failed verification ({problems})")
    path = publication.folder
    if verification is not None:
        verification = verification.at(path)
    return ExportReport(
        path=path,
        version=publication.version,
        size=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        signatures=described,
        verification=verification,
    )


def _default_tolerance() -> dict[str, float]:
    import tensorflow as tf

    # Verification runs on the CPU; GPUs multiply float32 matrices with fewer bits.
    return dict(GPU_TOLERANCE if tf.config.list_physical_devices("GPU") else DEFAULT_TOLERANCE)


def _predict(signatures: Mapping[str, Any], name: str, inputs: Mapping[str, Any], *, model: str) -> Any:
    """Runs one example in memory and returns the log of it."""
    import tensorflow as tf

    if name not in signatures:
        raise ExportError(
            f"an example is for signature {name!r}, but the signatures are {', '.join(signatures)}"
        )
    specs = input_specs(signatures[name])
    if inputs.keys() != specs.keys():
        raise ExportError(
            f"an example for {name!r} has the inputs {sorted(inputs)}, the signature has {sorted(specs)}"
        )
    try:
        arrays = {key: _fit(value, specs[key]) for key, value in inputs.items()}
        outputs = signatures[name](**{key: tf.constant(array) for key, array in arrays.items()})
    except (tf.errors.OpError, TypeError, ValueError) as error:
        raise ExportError(f"signature {name!r} fails on its own example: {error}") from error
    return warmup.predict_log(name, arrays, _named(outputs), model=model)


def input_specs(function: Any) -> dict[str, Any]:
    """Returns the inputs of a concrete function by name."""
    positional, named = function.structured_input_signature
    specs = {spec.name: spec for spec in positional if hasattr(spec, "name")}
    return {**specs, **named}


def _fit(value: Any, spec: Any) -> np.ndarray[Any, Any]:
    array = as_array(value)
    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(
            f"input {spec.name!r} has the shape {list(array.shape)}, the signature wants {spec.shape}"
        )
    return array if array.dtype.hasobject else array.astype(spec.dtype.as_numpy_dtype)


def _named(outputs: Any) -> dict[str, np.ndarray[Any, Any]]:
    # Made-up names, as tf.saved_model gives them: the check of the signatures reports them.
    if not isinstance(outputs, Mapping):
        values = outputs if isinstance(outputs, list | tuple) else [outputs]
        outputs = {f"output_{index}": value for index, value in enumerate(values)}
    return {name: np.asarray(value.numpy()) for name, value in outputs.items()}


def _save(module: tf.Module, signatures: Mapping[str, Any], folder: Path) -> None:
    import tensorflow as tf

    try:
        with _quiet():
            tf.saved_model.save(module, str(folder), signatures=dict(signatures))
    except (tf.errors.ResourceExhaustedError, tf.errors.OpError) as error:
        raise ExportError(
            f"TensorFlow could not write the model to {folder.parent}: {error.message}"
        ) from error
    except (AssertionError, TypeError, ValueError) as error:
        raise ExportError(f"the module cannot be saved: {error}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _write_logs(folder: Path, logs: Sequence[Any]) -> None:
    if not logs:
        return
    warmup.write_logs(folder / layout.EXPECTED, logs)
    requests = [type(log).FromString(log.SerializeToString()) for log in logs[: warmup.MAX_WARMUP_RECORDS]]
    for request in requests:
        request.predict_log.ClearField("response")
    warmup.write_logs(folder / layout.WARMUP, requests)


def _provenance() -> dict[str, Any]:
    import tensorflow as tf

    versions = {"python": platform.python_version(), "tensorflow": tf.__version__}
    for distribution in ("kerasft", "keras"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[distribution] = metadata.version(distribution)
    return {
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": versions,
    }
