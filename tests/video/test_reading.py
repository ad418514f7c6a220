"""Frames come upright, in order and with their times, from whatever holds them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from kerasft.errors import DataError
from kerasft_video.drawn import draw
from kerasft_video.reading import _decoded, count, frames

Write = Callable[..., Path]


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.gif"])
def test_a_file_gives_its_frames_and_times(video: Write, name: str) -> None:
    path, drawn = video(name), draw(1, frames=12)[0]
    read = list(frames(path))
    assert len(read) == count(path) == 12
    assert [frame.time for frame in read] == pytest.approx(np.arange(12) / 10, abs=0.01)
    for frame, original in zip(read, drawn, strict=True):
        assert frame.pixels.shape == (32, 32, 3)
        assert frame.pixels.dtype == np.uint8
        assert np.abs(frame.pixels.astype(float) - original).mean() < 20


@pytest.mark.parametrize("stamp", [None, 3.0])
def test_frames_without_times_are_shown_at_the_usual_rate(stamp: float | None) -> None:
    stream = SimpleNamespace(guessed_rate=10, average_rate=1325)
    decoded = [SimpleNamespace(time=stamp)] * 4
    container = SimpleNamespace(streams=SimpleNamespace(video=[stream]), decode=lambda stream: iter(decoded))
    assert [frame.time for frame in _decoded(container, "a.mp4")] == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_a_folder_of_pictures_counts_as_people_do(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        Image.new("RGB", (4, 2), (number, 0, 0)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    read = list(frames(tmp_path, fps=5))
    assert [int(frame.pixels[0, 0, 0]) for frame in read] == [1, 2, 10]
    assert [frame.time for frame in read] == [0.0, 0.2, 0.4]
    assert count(tmp_path) == 3


def test_frames_are_read_as_they_are_asked_for(video: Write) -> None:
    whole = video("a.mp4").read_bytes()
    reading = frames(video("b.avi", count=30))
    first = next(reading)
    assert next(reading).time > first.time
    assert whole  # the generator is closed early without an error
    reading.close()


def _empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def test_bad_sources_are_named(video: Write, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video at all")
    (tmp_path / "folder").mkdir()
    cases = [
        (tmp_path / "none.mp4", "none.mp4 does not exist"),
        (text, "text.mp4 is no readable video"),
        (_empty(tmp_path / "empty.mp4"), "empty.mp4 is empty"),
        (tmp_path / "folder", "holds no picture"),
        (97, "the camera 97 cannot be opened"),
        ("97", "the camera 97 cannot be opened"),
        ("http://127.0.0.1:9/live.mp4", "live.mp4 cannot be opened"),
    ]
    for source, message in cases:
        with pytest.raises(DataError, match=message):
            next(frames(source))


def test_sound_is_no_video(tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
    with pytest.raises(DataError, match="no pictures, only sound"):
        next(frames(tmp_path / "sound.wav"))


def test_a_broken_picture_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    with pytest.raises(DataError, match=r"1\.png is no readable picture"):
        _ = next(frames(tmp_path)).pixels
