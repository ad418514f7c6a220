"""Reads safetensors folders, one tensor at a time."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasft.errors import PretrainedError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@contextlib.contextmanager
def open_tensors(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Opens the weights of a Hugging Face folder, in one file or in shards.

    Args:
        folder: Holds ``model.safetensors``, or ``model.safetensors.index.json`` and the shards that it names.

    Yields:
        A mapping from tensor name to numpy array. A tensor is read when it is asked for; bfloat16 and
        float16 come as float32.

    Raises:
        PretrainedError: The folder has no such file, or one of them cannot be read.
    """
    try:
        import safetensors
    except ImportError as error:
        raise PretrainedError(
            f"reading {folder} needs the package safetensors: pip install safetensors"
        ) from error
    with contextlib.ExitStack() as stack:
        names: dict[str, Any] = {}
        for path in _files(folder):
            try:
                # The TensorFlow reader, unlike numpy's, knows bfloat16.
                file = stack.enter_context(safetensors.safe_open(str(path), framework="tf"))
            except FileNotFoundError as error:
                raise PretrainedError(f"{path} is missing; download the folder again") from error
            except (safetensors.SafetensorError, OSError) as error:
                raise PretrainedError(
                    f"{path} is not a safetensors file, or is truncated ({error})"
                ) from error
            names.update(dict.fromkeys(file.keys(), file))
        yield _Tensors(names)


class _Tensors(Mapping[str, Any]):
    def __init__(self, files: dict[str, Any]) -> None:
        self._files = files

    def __getitem__(self, name: str) -> Any:
        array = np.asarray(self._files[name].get_tensor(name))
        return array.astype(np.float32) if array.dtype.itemsize == 2 else array

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _files(folder: Path) -> list[Path]:
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if (folder / INDEX).is_file():
        try:
            shards = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise PretrainedError(f"{folder / INDEX} cannot be read ({error}); download it again") from error
        return [folder / shard for shard in sorted(shards)]
    if any(folder.glob("*.bin")):
        raise PretrainedError(
            f"{folder} holds weights as .bin (a pickle); save them as {SINGLE} first "
            "(transformers: model.save_pretrained(folder, safe_serialization=True))"
        )
    raise PretrainedError(f"{folder} holds neither {SINGLE} nor {INDEX}")
