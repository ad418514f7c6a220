"""Reference pickles: networks and settings are read, no code of the file runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasft.errors import PretrainedError
from kerasft.pretrained.readers import read_pickle
from kerasft_face.reference import tensorflow
from kerasft_face.reference.networks import Reference

EXTENSIONS = (".pkl", ".pickle")

NOTICE = (
    "Weights of the reference StyleGAN2 come under NVIDIA's licence for research and evaluation: neither "
    "they nor what is trained from them may be used commercially, unless their owner says otherwise."
)

_RECORDS = (
    "torch_utils.persistence._reconstruct_persistent_obj",
    "dnnlib.util.EasyDict",
    "dnnlib.EasyDict",
    tensorflow.NETWORK,
)
_EXPECTED = {"activation": ("lrelu", "linear"), "img_channels": (3,)}


def read(path: Path) -> Reference:
    """Reads a pickle that StyleGAN2-ADA in PyTorch, or StyleGAN2(-ADA) in TensorFlow, wrote.

    Args:
        path: The file.

    Returns:
        Its averaged generator, its discriminator, and their settings.

    Raises:
        PretrainedError: The file is missing, damaged, names code, or holds other networks.

    Example:
        >>> read(Path("ffhq.pkl")).config()["resolution"]                      # doctest: +SKIP
        1024
    """
    found = read_pickle(path, records=_RECORDS)
    if isinstance(found, tuple) and len(found) == 3:
        return tensorflow.reference(found, source=path)
    if not isinstance(found, Mapping) or not isinstance(found.get("D"), Mapping):
        raise PretrainedError(
            f"{path} is a pickle, but none with the networks G, D and G_ema of a reference StyleGAN2"
        )
    generator, discriminator = found.get("G_ema") or found.get("G"), found["D"]
    modules = [*_modules(generator, path), *_modules(discriminator, path)]
    _check(modules, path)
    states = [state for name, state in modules]
    return Reference(
        source=path,
        generator=dict(_tensors(generator, path)),
        discriminator=dict(_tensors(discriminator, path)),
        mapping_rate=_rate(generator, path, 0.01),
        label_rate=_rate(discriminator, path, 0.01),
        group=next((int(state["group_size"]) for state in states if state.get("group_size")), 4),
    )


def _modules(module: Any, path: Path, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name and the attributes of a network and of all that it consists of."""
    if not isinstance(module, Mapping) or not isinstance(module.get("state"), Mapping):
        raise PretrainedError(f"{path} has a network of an unknown layout; only PyTorch modules are read")
    state = dict(module["state"])
    yield name, state
    for part, inner in (state.get("_modules") or {}).items():
        if inner is not None:
            yield from _modules(inner, path, f"{name}{part}.")


def _tensors(module: Any, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    for name, state in _modules(module, path):
        for kind in ("_parameters", "_buffers"):
            for own, value in (state.get(kind) or {}).items():
                if isinstance(value, np.ndarray):
                    yield f"{name}{own}", value


def _rate(module: Any, path: Path, otherwise: float) -> float:
    """Returns the learning rate of the mapping network, by which its layers scale their weights."""
    for name, state in _modules(module, path):
        if name == "mapping.fc0.":
            inputs = state["_parameters"]["weight"].shape[1]
            # As precise as the settings said it.
            return float(f"{float(state['weight_gain']) * np.sqrt(inputs):.6g}")
    return otherwise


def _check(modules: list[tuple[str, dict[str, Any]]], path: Path) -> None:
    for name, state in modules:
        layer = name.rstrip(".") or "a network"
        for key, known in _EXPECTED.items():
            if key in state and state[key] not in known:
                raise PretrainedError(
                    f"{path} cannot be imported: {layer} has {key} {state[key]!r}, the face task knows "
                    f"{known[0]!r} only"
                )
        taps = (state.get("_buffers") or {}).get("resample_filter")
        if isinstance(taps, np.ndarray) and not _is_binomial(taps):
            raise PretrainedError(
                f"{path} cannot be imported: {layer} resamples with another filter than 1, 3, 3, 1"
            )


def _is_binomial(taps: np.ndarray) -> bool:
    row = np.array([1.0, 3.0, 3.0, 1.0]) / 8.0
    return taps.shape == (4, 4) and bool(np.allclose(taps, np.outer(row, row), atol=1e-6))
