"""Directions in w that change faces most, found without any training, under names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.errors import ConfigError, DataError, KerasftError
from kerasft.training.checkpoint import load, save
from kerasft_face.layers import ModulatedConv2D
from kerasft_face.samples import grid, synthesize
from kerasft_face.wspace import check_stylish, chosen_styles, middle

if TYPE_CHECKING:
    from kerasft_face.networks import Generator
    from kerasft_face.task import Face

FILE = "directions.npz"
"""Where a run keeps its directions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Direction:
    """A direction in w and the styles that go along it.

    Attributes:
        vector: float32 `[w]`, of length 1.
        unit: The step in w that an amount of 1 makes: how far faces usually lie from the average one.
        styles: Of which resolutions, see `kerasft_face.wspace.chosen_styles`.
    """

    vector: np.ndarray
    unit: float
    styles: str = "all"


def factorize(generator: Generator, *, styles: str = "all") -> tuple[np.ndarray, np.ndarray]:
    """Returns the directions in w that change the styles of the convolutions most.

    The closed form: with the weights `A` of all affine layers, one row a channel, they are the eigenvectors
    of `A^T A`, and the eigenvalues say how much a step of length 1 changes the styles, squared.
    Source: Shen and Zhou, 2021, "Closed-Form Factorization of Latent Semantics in GANs".

    Args:
        generator: Its weights stay as they are.
        styles: Of which resolutions, see `kerasft_face.wspace.chosen_styles`.

    Returns:
        Directions float32 `[w, w]`, one a row, strongest first, whose largest component is positive, and
        eigenvalues float32 `[w]`.

    Raises:
        ConfigError: `styles` names no resolution of the generator.
    """
    chosen = set(chosen_styles(styles, generator.plan.sides))
    weights = [
        affine for style, layers in _affines(generator).items() if style in chosen for affine in layers
    ]
    a = np.concatenate(weights, axis=1)
    values, vectors = np.linalg.eigh(a @ a.T)
    found = vectors.T[::-1]
    strongest = np.abs(found).argmax(axis=1)
    signs = np.sign(found[np.arange(len(found)), strongest])
    return (found * signs[:, None]).astype(np.float32), values[::-1].clip(0.0).astype(np.float32)


def _affines(generator: Generator) -> dict[int, list[np.ndarray]]:
    """Returns, for each style, the matrices float64 `[w, channels]` that turn it into scales of channels."""
    found: dict[int, list[np.ndarray]] = {}
    position = 0
    for side in generator.plan.sides:
        for part in ("conv_0", "conv_1") if side > 4 else ("conv_1",):
            found.setdefault(position, []).append(_matrix(generator, f"b{side}_{part}"))
            position += 1
        found.setdefault(position, []).append(_matrix(generator, f"b{side}_colour"))
    return found


def _matrix(generator: Generator, name: str) -> np.ndarray:
    convolution: ModulatedConv2D = generator.synthesis.get_layer(name).convolution
    assert convolution.affine is not None
    kernel = np.asarray(convolution.affine.kernel, np.float64)
    return kernel * convolution.affine.rate / np.sqrt(len(kernel))


def found_directions(task: Face, *, styles: str = "all", label: str | None = None) -> list[Direction]:
    """Returns the directions of `factorize`, strongest first, ready to be applied or kept.

    Args:
        task: A built task.
        styles: Of which resolutions, see `kerasft_face.wspace.chosen_styles`.
        label: Of the faces whose usual distance is the unit; the first class, if None.
    """
    check_stylish(task)
    vectors, _ = factorize(task.models["generator"], styles=styles)
    _, unit = middle(task, label=label)
    return [Direction(vector=vector, unit=unit, styles=styles) for vector in vectors]


def apply(task: Face, styles: np.ndarray, changes: Sequence[tuple[Direction, float]]) -> np.ndarray:
    """Returns styles moved along directions.

    Args:
        task: A built task.
        styles: float32 `[faces, styles, w]`, see `kerasft_face.wspace.face_styles`.
        changes: Directions with their amounts; 1 is as far as faces usually lie from the average one.

    Raises:
        ConfigError: A direction is of another network.
    """
    moved = styles.copy()
    for direction, amount in changes:
        if direction.vector.shape != styles.shape[2:]:
            raise ConfigError(
                f"a direction has {len(direction.vector)} numbers, but w has {styles.shape[2]}: it is of "
                "another network"
            )
        chosen = chosen_styles(direction.styles, task.models["generator"].plan.sides)
        moved[:, chosen] += amount * direction.unit * direction.vector
    return moved


def direction_table(
    task: Face,
    styles: np.ndarray,
    directions: Sequence[Direction],
    *,
    amounts: Sequence[float] = (-1.0, -0.5, 0.0, 0.5, 1.0),
) -> np.ndarray:
    """Shows what directions do to a face: a line each, from the smallest amount to the largest.

    Args:
        task: A built task.
        styles: Of one face, float32 `[1, styles, w]`.
        directions: At least one.
        amounts: How far to go.

    Returns:
        uint8 `[directions * side, amounts * side, 3]`.
    """
    moved = [apply(task, styles, [(direction, amount)]) for direction in directions for amount in amounts]
    return grid(synthesize(task, np.concatenate(moved)), columns=len(amounts))


def save_directions(path: Path, named: dict[str, Direction]) -> None:
    """Writes directions under their names.

    Args:
        path: A .npz file, such as `directions.npz` of the run.
        named: Name to direction.

    Example:
        >>> direction = Direction(vector=np.array([1.0, 0.0], np.float32), unit=2.0)
        >>> save_directions(Path("directions.npz"), {"smile": direction})
        >>> load_directions(Path("directions.npz"))["smile"].unit
        2.0
    """
    arrays = {f"vector/{name}": direction.vector for name, direction in named.items()}
    about = {name: {"unit": d.unit, "styles": d.styles} for name, d in named.items()}
    save(path, arrays, {"what": "directions in w", "directions": about})


def load_directions(path: Path) -> dict[str, Direction]:
    """Returns what `save_directions` wrote, by name; none, if there is no such file.

    Raises:
        DataError: It is another file.
    """
    if not path.is_file():
        return {}
    try:
        held = load(path)
        about: dict[str, Any] = held.state["directions"]
        return {name: Direction(vector=held.arrays[f"vector/{name}"], **rest) for name, rest in about.items()}
    except (KerasftError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no directions ({error}); remove it, or name another file") from None
