"""Frames of videos one by one, whatever they come from: files, folders of pictures, cameras, URLs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kerasft.data.pictures import EXTENSIONS as PICTURES
from kerasft.data.pictures import open_picture
from kerasft.errors import DataError

EXTENSIONS = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv")
"""Files that are taken for videos."""

PICTURES_A_SECOND = 25.0
"""How fast a folder of pictures is shown, if nobody says."""


class Frame:
    """One picture of a video.

    Args:
        time: Seconds from the beginning of the video, or from when a camera was opened.
        render: Gives its pixels; called when they are asked for, since most frames are only passed by.
    """

    def __init__(self, time: float, render: Callable[[], np.ndarray]) -> None:
        self.time = time
        self._render = render

    @property
    def pixels(self) -> np.ndarray:
        """RGB, upright, uint8 `[height, width, 3]`."""
        return self._render()


def frames(source: str | int | os.PathLike[str], *, fps: float | None = None) -> Iterator[Frame]:
    """Reads a video frame by frame; nothing but the present frame is held.

    Args:
        source: A file (mp4, avi, gif, ...), a folder of pictures in the order of their names, the number of a
            camera (also as a string of digits), or a URL that FFmpeg can read (http, rtsp, udp, ...).
        fps: Pictures a second of a folder; rate to ask of a camera.

    Yields:
        Frames in the order in which they are shown.

    Raises:
        DataError: It does not exist, is no video, or breaks off in the middle.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for number in range(3):
        ...         Image.new("RGB", (4, 2)).save(f"{folder}/{number}.png")
        ...     [(round(frame.time, 2), frame.pixels.shape) for frame in frames(folder)]
        [(0.0, (2, 4, 3)), (0.04, (2, 4, 3)), (0.08, (2, 4, 3))]
    """
    if isinstance(source, (str, os.PathLike)) and Path(source).expanduser().is_dir():
        yield from _pictures(Path(source).expanduser(), fps or PICTURES_A_SECOND)
        return
    with _opened(source, fps) as container:
        yield from _decoded(container, source)


def count(source: str | os.PathLike[str]) -> int:
    """Returns how many frames a file or a folder should have, without decoding them.

    A file may have a few less: not every packet need be a frame of its own.

    Raises:
        DataError: It does not exist or is no video.
    """
    if Path(source).expanduser().is_dir():
        return len(picture_names(Path(source).expanduser()))
    with _opened(source, None) as container:
        declared = int(container.streams.video[0].frames)
        if declared:
            return declared
        try:
            return sum(packet.size > 0 for packet in container.demux(video=0))
        except OSError as error:
            raise DataError(unreadable(source, error)) from None


def picture_names(folder: Path) -> list[str]:
    """Returns the names of the pictures that lie directly in a folder, numbers in them by their value."""
    names = [file.name for file in folder.iterdir() if file.suffix.lower() in PICTURES]
    return sorted((name for name in names if not name.startswith(".")), key=_natural)


def unreadable(source: Any, error: Exception) -> str:
    """Returns a sentence about a video that cannot be read."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{source} is no readable video ({reason}); repair or remove it"


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    # "frame2" before "frame10", as whoever numbered them means it.
    parts: list[str] = [""]
    for letter in name.lower():
        if letter.isdigit() != parts[-1][-1:].isdigit():
            parts.append("")
        parts[-1] += letter
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)


def _pictures(folder: Path, fps: float) -> Iterator[Frame]:
    names = picture_names(folder)
    if not names:
        raise DataError(f"{folder} holds no picture; put the frames in it ({', '.join(PICTURES)})")
    for number, name in enumerate(names):
        yield Frame(number / fps, lambda path=folder / name: _picture(path))  # type: ignore[misc]


def _picture(path: Path) -> np.ndarray:
    try:
        return np.asarray(open_picture(path.read_bytes()))
    except Exception as error:  # each decoder fails in its own way
        raise DataError(f"{path} is no readable picture ({error}); repair or remove it") from None


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise DataError(
            f"Reading videos needs PyAV, which cannot be imported ({error}); install it with: "
            "pip install 'kerasft[video]'"
        ) from error
    av.logging.set_level(av.logging.PANIC)  # what is wrong with a file is said by exceptions
    return av


def _opened(source: Any, fps: float | None) -> Any:
    av = _av()
    camera = isinstance(source, int) or (isinstance(source, str) and source.isdigit())
    address = f"/dev/video{source}" if camera else os.fspath(source)
    url = "://" in address
    if not (camera or url):
        address = str(Path(address).expanduser())
        if not Path(address).is_file():
            raise DataError(f"{source} does not exist; name a video, a folder of pictures, a camera or a URL")
        if not Path(address).stat().st_size:
            raise DataError(f"{source} is empty; repair or remove it")
    settings: dict[str, Any] = {"format": "v4l2"} if camera else {}
    if camera and fps:
        settings["options"] = {"framerate": f"{fps:g}"}
    try:
        container = av.open(address, timeout=10.0 if url else None, **settings)
    except (av.FFmpegError, OSError, ValueError) as error:
        if camera or url:
            what = f"the camera {source}" if camera else source
            raise DataError(f"{what} cannot be opened ({error}); see whether it is there") from None
        raise DataError(unreadable(source, error)) from None
    if not container.streams.video:
        container.close()
        raise DataError(f"{source} has no pictures, only sound; name a video")
    return container


def _decoded(container: Any, source: Any) -> Iterator[Frame]:
    stream = container.streams.video[0]
    rate = float(stream.guessed_rate or stream.average_rate or PICTURES_A_SECOND)
    begin: float | None = None
    before = -1 / rate
    try:
        for frame in container.decode(stream):
            stamp = 0.0 if frame.time is None else float(frame.time)
            begin = stamp if begin is None else begin
            # Some files have no times, or the same for all frames: those are shown at the usual rate.
            time = stamp - begin if stamp - begin > before else before + 1 / rate
            before = time
            yield Frame(time, lambda frame=frame: _upright(frame))  # type: ignore[misc]
    except (_av().FFmpegError, OSError, ValueError) as error:
        raise DataError(unreadable(source, error)) from None


def _upright(frame: Any) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24")
    turns = round(float(frame.rotation or 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
