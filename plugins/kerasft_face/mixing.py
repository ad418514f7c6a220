"""Faces with the coarse styles of one face and the fine ones of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kerasft_face.samples import grid, synthesize
from kerasft_face.wspace import check_stylish, chosen_styles

if TYPE_CHECKING:
    from kerasft_face.task import Face


def mix(task: Face, rows: np.ndarray, columns: np.ndarray, *, styles: str = "coarse") -> np.ndarray:
    """Makes every face of `columns` with some styles of every face of `rows`.

    Source: Karras et al., 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks",
    figure 3.

    Args:
        task: A built task.
        rows: float32 `[rows, styles, w]`, see `face_styles`.
        columns: float32 `[columns, styles, w]`.
        styles: What comes from `rows`, see `chosen_styles`; the rest is of `columns`.

    Returns:
        uint8 `[rows, columns, side, side, 3]`.

    Raises:
        ConfigError: `styles` names no resolution of the generator.

    Example:
        >>> faces = mix(task, face_styles(task, [1, 2]), face_styles(task, [3, 4, 5]))   # doctest: +SKIP
        >>> faces.shape                                                                  # doctest: +SKIP
        (2, 3, 32, 32, 3)
    """
    check_stylish(task)
    chosen = chosen_styles(styles, task.models["generator"].plan.sides)
    mixed = np.repeat(columns[None], len(rows), axis=0)
    mixed[:, :, chosen] = rows[:, None, chosen]
    made = synthesize(task, mixed.reshape(-1, *mixed.shape[2:]))
    return made.reshape(len(rows), len(columns), *made.shape[1:])


def mixing_table(task: Face, rows: np.ndarray, columns: np.ndarray, *, styles: str = "coarse") -> np.ndarray:
    """Lays out what `mix` makes, with `columns` above it and `rows` left of it.

    Args:
        task: A built task.
        rows: As in `mix`.
        columns: As in `mix`.
        styles: As in `mix`.

    Returns:
        uint8 `[(rows + 1) * side, (columns + 1) * side, 3]`.
    """
    mixed = mix(task, rows, columns, styles=styles)
    above, left = synthesize(task, columns), synthesize(task, rows)
    lines = [np.concatenate([np.zeros_like(above[:1]), above])]
    lines += [np.concatenate([first[None], line]) for first, line in zip(left, mixed, strict=True)]
    return grid(np.concatenate(lines), columns=len(columns) + 1)
