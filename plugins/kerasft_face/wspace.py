"""The space of styles: faces from seeds and files in it, its middle, and which styles mean what."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.errors import ConfigError, DataError, TrainingError
from kerasft.training.checkpoint import load, save
from kerasft_face.samples import mapped, styles

if TYPE_CHECKING:
    from kerasft_face.task import Face

_SAMPLES = 10_000
_SEED = re.compile(r"-?\d+")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)")
_SIDE = re.compile(r"(<=|>=)?(\d+)")
_MOST = 10_000
_NAMED = {"all": (4, 1 << 20), "coarse": (4, 8), "middle": (16, 32), "fine": (64, 1 << 20)}


def check_stylish(task: Face) -> None:
    """Refuses a task whose generator has no styles.

    Raises:
        ConfigError: It has none.
    """
    if not hasattr(task.models.get("generator"), "styles"):
        where = task.run.folder if task.run else f"the task {task.name}"
        raise ConfigError(
            f"{where} has no styles, since it is no StyleGAN2: take a run of the task face whose "
            "generator has a mapping network"
        )


def face_styles(
    task: Face,
    faces: Iterable[int | str | os.PathLike[str]],
    *,
    truncation: float = 1.0,
    label: str | None = None,
) -> np.ndarray:
    """Returns the styles of faces.

    Args:
        task: A built task.
        faces: Seeds (7, "7", "1..4"), or files that `save_styles` wrote.
        truncation: Of seeds: 1 for any face, 0 for the average one.
        label: Of seeds: the class, if there are classes; the first, if None.

    Returns:
        float32 `[faces, styles, w]`.

    Raises:
        DataError: An item is neither, or a file is of another network.
    """
    check_stylish(task)
    found = [_one(task, item, truncation=truncation, label=label) for item in faces]
    if not found:
        raise DataError("there is no face; give seeds (7 or 1..4) or files that project wrote (me.npz)")
    return np.concatenate(found)


def _one(
    task: Face, item: int | str | os.PathLike[str], *, truncation: float, label: str | None
) -> np.ndarray:
    generator = task.models["generator"]
    text = str(item)
    span = _RANGE.fullmatch(text)
    if span or _SEED.fullmatch(text):
        first, last = map(int, span.groups() if span else (text, text))
        if not 0 <= last - first < _MOST:
            raise DataError(f"{text}: a range of seeds must rise, to at most {_MOST:,} of them")
        w = styles(task, range(first, last + 1), truncation=truncation, label=label)
        return np.repeat(w[:, None], generator.styles, axis=1)
    if not text.endswith(".npz"):
        raise DataError(f"{text!r} is no face; write seeds (7 or 1..4) or files that project wrote (me.npz)")
    found = load_styles(Path(text).expanduser())
    expected = (generator.styles, task.config.network.w_dim)
    if found.shape[1:] != expected:
        raise DataError(
            f"{text} has styles {found.shape[1:]}, but this network needs {expected}: it is of another run; "
            "project the picture with this one"
        )
    return found


def save_styles(path: Path, found: np.ndarray, about: dict[str, Any] | None = None) -> None:
    """Writes styles, float32 `[faces, styles, w]` or those of one face, to a .npz file.

    Args:
        path: The file.
        found: The styles.
        about: What else to note, as JSON knows it.
    """
    whole = found[None] if found.ndim == 2 else found
    save(path, {"styles": whole.astype(np.float32)}, {"what": "styles of faces", **(about or {})})


def load_styles(path: Path) -> np.ndarray:
    """Returns what `save_styles` wrote, float32 `[faces, styles, w]`.

    Raises:
        DataError: There is no such file, or it is another one.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; name a file that project wrote, or a seed")
    try:
        return load(path).arrays["styles"]
    except (TrainingError, KeyError) as error:
        raise DataError(f"{path} holds no styles ({error}); name a file that project wrote") from None


def middle(task: Face, *, label: str | None = None) -> tuple[np.ndarray, float]:
    """Returns the mean of w over 10,000 latents, and the root mean squared distance from it.

    Args:
        task: A built task.
        label: The class, if there are classes; the first, if None.

    Returns:
        float32 `[w]`, and the distance at which faces usually lie.
    """
    check_stylish(task)
    z = np.random.default_rng(0).standard_normal((_SAMPLES, task.config.network.z_dim))
    w = mapped(task, z.astype(np.float32), label=label).astype(np.float64)
    mean = w.mean(axis=0)
    return mean.astype(np.float32), float(np.sqrt(np.square(w - mean).sum(axis=1).mean()))


def chosen_styles(words: str, sides: list[int]) -> list[int]:
    """Returns the numbers of the styles of some resolutions.

    A style belongs to the resolution whose convolution it steers, and the last one to the highest.

    Args:
        words: "coarse" (4 and 8: pose, shape of the face), "middle" (16 and 32), "fine" (64 and more:
            colours), "all", "<=16", ">=16" or "16".
        sides: All resolutions of the generator, 4 first.

    Raises:
        ConfigError: The words name no resolution of this generator.

    Example:
        >>> chosen_styles("coarse", [4, 8, 16]), chosen_styles(">=16", [4, 8, 16]), chosen_styles("4", [4, 8])
        ([0, 1, 2], [3, 4, 5], [0])
    """
    match = _SIDE.fullmatch(words)
    if words in _NAMED:
        low, high = _NAMED[words]
    elif match:
        sign, side = match[1], int(match[2])
        low, high = (side if sign != "<=" else 0), (side if sign != ">=" else 1 << 20)
    else:
        low, high = 1, 0
    last = len(sides) - 1
    chosen = [i for i in range(2 * len(sides)) if low <= sides[min((i + 1) // 2, last)] <= high]
    if not chosen:
        raise ConfigError(
            f"styles: {words!r} is no resolution of this network ({', '.join(map(str, sides))}); write "
            "coarse, middle, fine, all, <=8, >=16 or 8"
        )
    return chosen
