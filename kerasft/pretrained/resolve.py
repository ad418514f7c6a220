"""From what a user writes to a folder with weights."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kerasft._suggest import suggestion
from kerasft.errors import PretrainedError
from kerasft.pretrained import catalogue
from kerasft.pretrained.fetch import fetch

_HF, _KAGGLE = "hf://", "kaggle://"
_DETAIL = 160  # characters of a hub's own error that are worth quoting

# What a model folder may hold for us; leaves out the same weights in formats that are not read.
_HF_PATTERNS = (
    "*.json",
    "*.safetensors",
    "*.txt",
    "*.model",
    "*.weights.h5",
    "*.spm",
    "LICENSE*",
    "README.md",
)


def resolve(
    name_or_uri: str | os.PathLike[str], *, progress: bool = True, suggest: Iterable[str] | None = None
) -> Path:
    """Returns the local folder of pretrained weights, downloading them if need be.

    Args:
        name_or_uri: One of

            - a name of the catalogue: ``"minilm"`` (it wins over a folder of that name: write
              ``"./minilm"``);
            - a folder: ``"./my-bert"`` (as Hugging Face or KerasHub save them);
            - ``"hf://org/model"`` or ``"hf://org/model@revision"``;
            - ``"kaggle://org/model/keras/variant[/version]"``;
            - a KerasHub preset name: ``"bert_tiny_en_uncased"``.
        progress: Show download progress.
        suggest: Names to suggest for one that is not known; those of the catalogue by default.

    Returns:
        A folder that exists. `kerasft.pretrained.converters` turns it into a model.

    Raises:
        PretrainedError: Nothing has that name, or it cannot be downloaded.
    """
    name = os.fspath(name_or_uri)
    if name.startswith(_HF):
        return _from_hugging_face(name)
    if name.startswith(_KAGGLE):
        return _from_kaggle(name)
    if "://" in name:
        raise PretrainedError(
            f'"{name}" has a scheme that is not known; use hf:// or kaggle://, or a local folder'
        )
    if name in catalogue.CATALOGUE:
        return fetch(name, progress=progress)
    try:
        folder = Path(name).expanduser()
    except RuntimeError as error:
        raise PretrainedError(f"there is no folder {name} ({str(error).rstrip('.')})") from error
    if folder.is_dir():
        return folder.absolute()
    if folder.exists():
        raise PretrainedError(f"{folder} is a file; give the folder that holds the model")
    if os.sep in name or name.startswith("~"):
        raise PretrainedError(f"there is no folder {folder}")
    presets = _keras_hub_presets()
    weights = (name for name, entry in catalogue.CATALOGUE.items() if not entry.is_runtime)
    names = weights if suggest is None else suggest
    if name in presets:
        return _from_kaggle(presets[name], asked_as=name)
    raise PretrainedError(
        f'no pretrained weights or folder are called "{name}"; {_hint(name, sorted(names), presets)} '
        "(a folder, hf://org/model and kaggle://org/model/keras/variant work too)"
    )


def _hint(name: str, names: Sequence[str], presets: dict[str, str]) -> str:
    hint = suggestion(name, [*names, *presets], noun="names")
    if hint.startswith("did you mean"):
        return hint
    if not presets:
        return f"{hint}, and names of KerasHub presets where it is installed (pip install 'kerasft[text]')"
    shown = ", ".join(names)  # KerasHub has hundreds: no list of them in an error
    return f"valid names: {shown}, or one of {len(presets)} KerasHub presets such as bert_tiny_en_uncased"


def _from_hugging_face(uri: str) -> Path:
    handle, _, revision = uri.removeprefix(_HF).partition("@")
    if handle.count("/") != 1 or not all(handle.split("/")):
        raise PretrainedError(f'"{uri}" is not of the form hf://org/model')
    hub = _import("huggingface_hub", uri)
    try:
        folder = hub.snapshot_download(
            repo_id=handle, revision=revision or None, allow_patterns=list(_HF_PATTERNS)
        )
    except Exception as error:  # the hub raises its own, requests' and OSError's
        raise _unreachable(uri, "Hugging Face", error) from error
    return Path(folder)


def _from_kaggle(uri: str, *, asked_as: str | None = None) -> Path:
    handle = uri.removeprefix(_KAGGLE)
    if handle.count("/") not in (3, 4) or not all(handle.split("/")):
        raise PretrainedError(f'"{uri}" is not of the form kaggle://org/model/keras/variant[/version]')
    hub = _import("kagglehub", uri)
    try:
        folder = hub.model_download(handle)
    except Exception as error:
        raise _unreachable(asked_as or uri, "Kaggle", error) from error
    return Path(folder)


def _import(module: str, uri: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PretrainedError(
            f'"{uri}" needs the package {module} ({error}); install it: pip install {module}'
        ) from error


def _unreachable(uri: str, hub: str, error: Exception) -> PretrainedError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    detail = f"{first[:_DETAIL]}..." if len(first) > _DETAIL else first.rstrip(".")
    return PretrainedError(
        f'"{uri}" is neither cached nor could it be downloaded from {hub} ({detail}); check the name, the '
        "network and your access rights, or download the folder elsewhere and give its path"
    )


def _keras_hub_presets() -> dict[str, str]:
    """Returns the names of KerasHub's presets and where they lie; empty when KerasHub is not installed."""
    if importlib.util.find_spec("keras_hub") is None:
        return {}
    import keras_hub

    presets = keras_hub.models.Backbone.presets
    return {name: record["kaggle_handle"] for name, record in presets.items() if "kaggle_handle" in record}
