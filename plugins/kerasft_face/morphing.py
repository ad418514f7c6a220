"""Faces that turn into each other, as a film."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasft.errors import ConfigError
from kerasft.training.checkpoint import write_atomically
from kerasft_face.samples import synthesize

if TYPE_CHECKING:
    from kerasft_face.task import Face

_AT_ONCE = 32
_GIF_CLOCK = 100  # hundredths of a second


def walk(styles: np.ndarray, *, steps: int = 24, loop: bool = True) -> np.ndarray:
    """Returns styles on the way from face to face: straight lines, slow at their ends.

    Args:
        styles: float32 `[faces, styles, w]`, at least two.
        steps: Pictures from one face to the next.
        loop: Go back to the first face at the end.

    Returns:
        float32 `[frames, styles, w]`: `faces * steps` frames with `loop`, else `(faces - 1) * steps + 1`, the
        last face included.

    Raises:
        ConfigError: Fewer than two faces, or no steps.

    Example:
        >>> walk(np.array([[[0.0]], [[4.0]]]), steps=2).ravel().tolist()
        [0.0, 2.0, 4.0, 2.0]
    """
    if len(styles) < 2 or steps < 1:
        raise ConfigError(f"a morph needs at least two faces and one step, not {len(styles)} and {steps}")
    shares = (0.5 - 0.5 * np.cos(np.pi * np.arange(steps) / steps))[:, None, None]
    ends = np.concatenate([styles[1:], styles[:1]]) if loop else styles[1:]
    ways = [a + shares * (b - a) for a, b in zip(styles, ends, strict=False)]
    return np.concatenate(ways if loop else [*ways, styles[-1:]]).astype(np.float32)


def morph(
    task: Face,
    styles: np.ndarray,
    path: Path,
    *,
    steps: int = 24,
    fps: int = 24,
    loop: bool = True,
    zoom: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Writes a film that goes from face to face.

    Args:
        task: A built task.
        styles: float32 `[faces, styles, w]`, see `face_styles`.
        path: Ends in .gif (up to 256 colours, repeats for ever) or .mp4 (H.264).
        steps: Pictures from one face to the next.
        fps: Pictures a second; a .gif rounds its length to hundredths of a second.
        loop: Go back to the first face at the end.
        zoom: Enlarges each pixel so many times; None: until the side is at least 256.
        progress: Called with the number of frames made.

    Returns:
        How many frames there are.

    Raises:
        ConfigError: Another ending, too few faces, or no imageio-ffmpeg for an .mp4.
    """
    write = _writer(path)
    if not 1 <= fps <= _GIF_CLOCK:
        raise ConfigError(f"fps is {fps}; it must be between 1 and {_GIF_CLOCK}")
    way = walk(styles, steps=steps, loop=loop)
    zoom = zoom or max(1, -(-256 // task.config.resolution))

    def frames() -> Iterator[np.ndarray]:
        for start in range(0, len(way), _AT_ONCE):
            for picture in synthesize(task, way[start : start + _AT_ONCE]):
                yield picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
            progress(min(start + _AT_ONCE, len(way)))

    write(frames(), path, fps)
    return len(way)


def _writer(path: Path) -> Callable[[Iterator[np.ndarray], Path, int], None]:
    if path.suffix.lower() == ".gif":
        return save_gif
    if path.suffix.lower() != ".mp4":
        raise ConfigError(f"{path}: a film ends in .gif or .mp4")
    _ffmpeg()
    return save_mp4


def save_gif(frames: Iterator[np.ndarray], path: Path, fps: int) -> None:
    """Writes frames, uint8 `[height, width, 3]` each, as a GIF that repeats for ever.

    Frames that are equal to the one before lengthen it instead, so a GIF may hold fewer.

    Args:
        frames: At least one.
        path: The file.
        fps: Frames a second.
    """
    from PIL import Image

    images = (Image.fromarray(frame) for frame in frames)
    encoded = io.BytesIO()
    next(images).save(
        encoded,
        "GIF",
        save_all=True,
        append_images=images,
        duration=round(1000 / fps),
        loop=0,
        optimize=False,
    )
    write_atomically(path, lambda file: file.write(encoded.getvalue()))


def save_mp4(frames: Iterator[np.ndarray], path: Path, fps: int) -> None:
    """Writes frames, uint8 `[height, width, 3]` of even height and width each, as H.264.

    Args:
        frames: At least one.
        path: The file.
        fps: Frames a second.

    Raises:
        ConfigError: imageio-ffmpeg is not installed.
    """
    ffmpeg = _ffmpeg()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.part.mp4")
    try:
        first = next(frames)
        size = first.shape[1], first.shape[0]
        film = ffmpeg.write_frames(
            str(beside), size, fps=fps, quality=8, macro_block_size=2, ffmpeg_log_level="error"
        )
        film.send(None)
        try:
            film.send(np.ascontiguousarray(first))
            for frame in frames:
                film.send(np.ascontiguousarray(frame))
        finally:
            film.close()
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _ffmpeg() -> Any:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ConfigError(
            f"an .mp4 needs imageio-ffmpeg, which cannot be imported ({error}); install it with pip install "
            "'kerasft[mp4]', or write a .gif"
        ) from error
    return imageio_ffmpeg
