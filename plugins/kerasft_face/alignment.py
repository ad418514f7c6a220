"""Faces turned, scaled and moved to the same place by five points."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from kerasft.errors import DataError

POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""Order of the points; left and right are those of the picture."""

TEMPLATE = ((0.37, 0.47), (0.63, 0.47), (0.5, 0.6), (0.4, 0.73), (0.6, 0.73))
"""Where the points of an aligned face lie about: x and y as shares of the side."""

LANDMARKS = ("landmarks.csv", "landmarks.json")
"""Names of the files in a folder or .zip of pictures that hold the points."""

Points = tuple[tuple[float, float], ...]


def similarity(points: Any, template: Any = TEMPLATE) -> tuple[complex, complex]:
    """Returns the rotation, scale and shift that bring points nearest to a template.

    With points as complex numbers x + iy, p and their template t, it is `t = a p + b`, where
    `a = sum(conj(p - mean p) (t - mean t)) / sum(|p - mean p|^2)` and `b = mean t - a mean p` have the least
    sum of squared distances. It never mirrors.
    Source: Umeyama, 1991, "Least-Squares Estimation of Transformation Parameters Between Two Point Patterns".

    Args:
        points: `[points, 2]`, x and y.
        template: As many.

    Returns:
        a and b.

    Raises:
        ValueError: The points are one and the same, or not finite.

    Example:
        >>> similarity([(0, 0), (2, 0)], [(1, 1), (1, 5)])  # a quarter turn, twice as large
        (2j, (1+1j))
    """
    p, t = (np.asarray(x, np.float64) @ (1, 1j) for x in (points, template))
    centred = p - p.mean()
    size = float((np.abs(centred) ** 2).sum())
    if not math.isfinite(size) or size < 1e-12:
        raise ValueError("its landmarks are one and the same point, or not finite")
    a = complex((centred.conj() * (t - t.mean())).sum() / size)
    return a, complex(t.mean() - a * p.mean())


def align(image: Any, points: Any, resolution: int) -> np.ndarray:
    """Returns the square of a picture whose face lies as `TEMPLATE` says.

    A picture that has to shrink is resized with anti-aliasing first; then it is turned with a bicubic filter.
    What lies outside of it is mirrored at its edge.

    Args:
        image: A `PIL.Image.Image` in RGB.
        points: The five points of `POINTS`, x and y in pixels from the upper left corner.
        resolution: Side of the result.

    Returns:
        uint8 `[resolution, resolution, 3]`.

    Raises:
        ValueError: The points are one and the same, or not finite.
    """
    from PIL import Image

    a, b = similarity(points)
    shrink = min(1.0, abs(a) * resolution)
    size = tuple(max(1, round(length * shrink)) for length in image.size)
    image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    # From a pixel of the result back to one of the resized picture: p = (t - b) / a.
    step = shrink / (a * resolution)
    start = -b * shrink / a
    corners = [start + step * resolution * corner for corner in (0, 1, 1j, 1 + 1j)]
    room = max(0, *(-int(min(part)) + 2 for part in ([c.real for c in corners], [c.imag for c in corners])))
    room = max(
        room,
        math.ceil(max(c.real for c in corners)) - size[0] + 2,
        math.ceil(max(c.imag for c in corners)) - size[1] + 2,
    )
    if room:
        padded = np.pad(np.asarray(image), ((room, room), (room, room), (0, 0)), mode="symmetric")
        image, start = Image.fromarray(padded), start + room * (1 + 1j)
    rows = (step.real, -step.imag, start.real, step.imag, step.real, start.imag)
    side = (resolution, resolution)
    return np.asarray(image.transform(side, Image.Transform.AFFINE, rows, Image.Resampling.BICUBIC))


def read_landmarks(path: str | os.PathLike[str]) -> dict[str, Points]:
    """Returns what `landmarks` finds in a file.

    Raises:
        DataError: There is no such file, or it holds something else.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"{file} does not exist; name a .csv or .json file of landmarks")
    return landmarks(file.read_bytes(), str(file))


def landmarks(content: bytes, name: str) -> dict[str, Points]:
    """Reads five points a picture.

    Args:
        content: A table whose header is `file,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,
            left_mouth_x,left_mouth_y,right_mouth_x,right_mouth_y`, or a JSON object with a list of five
            `[x, y]` for each file, in pixels of the upright picture.
        name: Ends in .csv or .json; for messages.

    Returns:
        Path of the picture, as from the folder or .zip, to points.

    Raises:
        DataError: It is something else.

    Example:
        >>> landmarks(b'{"a.png": [[1, 2], [3, 2], [2, 3], [1, 4], [3, 4]]}', "landmarks.json")["a.png"][2]
        (2.0, 3.0)
    """
    try:
        text = content.decode("utf-8-sig")
        found: Any = json.loads(text) if name.lower().endswith(".json") else _table(text, name)
        if not isinstance(found, dict):
            raise ValueError("it is no object of files")
    except DataError:
        raise
    except ValueError as error:
        raise DataError(
            f"{name} holds no landmarks ({error}); write an object of five [x, y] a file, or a table"
        ) from None
    return {str(file): _five(points, f"{name}, {file}") for file, points in found.items()}


def _table(text: str, name: str) -> dict[str, list[Any]]:
    columns = ["file", *(f"{point}_{axis}" for point in POINTS for axis in "xy")]
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{name} has no column {missing[0]}; the header must be {','.join(columns)}")
    return {row["file"]: [[row[f"{point}_{axis}"] for axis in "xy"] for point in POINTS] for row in reader}


def _five(points: Any, where: str) -> Points:
    try:
        found = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (len(POINTS), 2) or not np.isfinite(found).all():
        raise DataError(f"{where}: give five points of two finite numbers each, {', '.join(POINTS)}")
    return tuple((float(x), float(y)) for x, y in found)
