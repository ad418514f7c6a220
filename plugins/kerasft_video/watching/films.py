"""Writes pictures as mp4 files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from kerasft.errors import ConfigError, DataError

_BASE = Fraction(1, 90000)
_RATE = 25
_SETTINGS = {"preset": "veryfast", "crf": "23"}


def write_film(path: str | Path, pictures: Iterable[np.ndarray], *, fps: float = 25.0) -> Path:
    """Writes pictures as an mp4 file.

    Args:
        path: Its name; the folder is made if need be.
        pictures: RGB, uint8 `[height, width, 3]`, all of one size. H.264 wants even ones: others are made so.
        fps: Pictures a second.

    Returns:
        The path.

    Raises:
        ConfigError: This machine cannot encode H.264.
        DataError: There is no picture, or it is too small.

    Example:
        >>> from kerasft_video.drawn import draw
        >>> write_film("shapes.mp4", draw(1, frames=20)[0], fps=10).name
        'shapes.mp4'
    """
    check_encoder()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    count = encode(path, ((number / fps, packed(picture)) for number, picture in enumerate(pictures)))
    if not count:
        path.unlink()
        raise DataError(f"{path}: there are no pictures to write")
    return path


def check_encoder() -> None:
    """Refuses to go on where no film can be written.

    Raises:
        ConfigError: This machine cannot encode H.264.
    """
    import av

    if "libx264" not in av.codecs_available:
        raise ConfigError("films cannot be written: this PyAV has no libx264; install the wheel of av")


def packed(pixels: np.ndarray, *, side: int | None = None) -> np.ndarray:
    """Returns a picture as H.264 wants it: half the bytes, an even size.

    An array and not a frame, because clips that overlap share it, and each sets the time of its frames.

    Args:
        pixels: RGB, uint8 `[height, width, 3]`.
        side: To how many pixels the longer side is brought, if it has more.

    Returns:
        Planes of yuv420p below each other, uint8 `[height * 3 / 2, width]`.

    Raises:
        DataError: It is too small.
    """
    import av

    height, width = pixels.shape[:2]
    if min(height, width) < 2:
        raise DataError(f"pictures of {width} x {height} cannot be written as mp4: give at least 2 x 2")
    scale = min(1.0, side / max(height, width)) if side else 1.0
    even = [max(round(size * scale / 2) * 2, 2) for size in (width, height)]
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return frame.to_ndarray(width=even[0], height=even[1], format="yuv420p")


def encode(path: Path, shots: Iterator[tuple[float, np.ndarray]]) -> int:
    """Writes pictures of `packed` at their times, in seconds; the first is shown at once.

    Returns:
        How many there were.
    """
    import av

    count, first = 0, 0.0
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=_RATE, options=_SETTINGS)
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = _BASE
        for count, (time, planes) in enumerate(shots, start=1):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            if count == 1:
                first = time
                stream.width, stream.height = frame.width, frame.height
            elif (frame.width, frame.height) != (stream.width, stream.height):
                frame = frame.reformat(width=stream.width, height=stream.height)
            frame.pts, frame.time_base = round((time - first) / _BASE), _BASE
            container.mux(stream.encode(frame))
        if count:
            container.mux(stream.encode(None))
    return count
