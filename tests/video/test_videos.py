"""Videos are found, decoded once into clips, and named when they cannot be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kerasft
from kerasft.data import Source, open_source
from kerasft.errors import DataError
from kerasft.vision.resizing import resize
from kerasft_video.clips import in_workers, read_clips
from kerasft_video.config import SamplingConfig, VideoConfig
from kerasft_video.drawn import draw
from kerasft_video.reading import frames
from kerasft_video.sampling import clips_of
from kerasft_video.task import Video

Write = Callable[..., Path]
SMALL: dict[str, Any] = {"size": 16, "sampling": {"frames": 4}}


def opened(data: Any, *, on_error: Any = "raise", **config: Any) -> Source:
    task = Video(**{**SMALL, **config})
    return open_source(task.open_data(data), fields=task.fields(), on_error=on_error)


@pytest.fixture
def folder(video: Write, tmp_path: Path) -> Path:
    """Two classes: an mp4, an avi and a gif, and a folder of pictures."""
    video("data/run/a.mp4")
    video("data/run/b.avi", seed=1)
    video("data/walk/c.gif", seed=2)
    for number, picture in enumerate(draw(1, frames=6, side=32, seed=3)[0]):
        path = tmp_path / "data/walk/d" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)
    return tmp_path / "data"


def test_a_folder_for_each_class(folder: Path) -> None:
    source = opened(folder)
    rows = source.take(np.arange(len(source)))
    assert rows["label"] == ["run", "run", "walk", "walk"]
    assert {clips.shape for clips in rows["clip"]} == {(1, 4, 16, 16, 3)}
    assert source.fingerprint() == opened(folder).fingerprint()
    assert source.fingerprint() != opened(folder, sampling={"frames": 2}).fingerprint()


def test_videos_without_classes(folder: Path) -> None:
    for data, count in ((folder / "walk", 2), (folder / "run" / "a.mp4", 1), (folder / "walk" / "d", 1)):
        source = open_source(Video(**SMALL).open_data(data), fields=Video(**SMALL).fields(), targets=False)
        assert len(source) == count


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_table_of_paths(folder: Path, suffix: str) -> None:
    rows = [("run/a.mp4", "one"), ("walk/d", "two")]
    table = folder / f"table{suffix}"
    if suffix == ".jsonl":
        table.write_text("".join(f'{{"video": "{path}", "label": "{label}"}}\n' for path, label in rows))
    else:
        between = "," if suffix == ".csv" else "\t"
        table.write_text("\n".join(between.join(row) for row in [("video", "label"), *rows]) + "\n")
    source = opened(table)
    assert source.take([0, 1])["label"] == ["one", "two"]
    assert source.where(1) == f"table{suffix}, line {2 if suffix == '.jsonl' else 3}"


def test_paths_and_arrays_in_memory(folder: Path) -> None:
    paths = [str(folder / "run/a.mp4"), folder / "walk/d"]
    assert opened({"clip": paths, "label": ["x", "y"]}).take([1])["label"] == ["y"]
    assert len(opened([{"path": path, "label": "x"} for path in paths])) == 2
    arrays = [draw(1, frames=count, side=side)[0] for count, side in ((5, 32), (9, 24))]
    assert len(opened((arrays, ["x", "y"]))) == 2


def test_clips_of_a_file_are_those_of_its_frames(video: Write) -> None:
    path = video("a.mp4", count=13)
    config = VideoConfig(size=16, sampling={"frames": 4, "clips": 3})
    everything = np.stack([frame.pixels for frame in frames(path)])
    fitted = resize(everything, size=16, fit="crop").numpy()
    read = read_clips(path, config)
    assert read.seconds == pytest.approx(1.3, abs=0.01)
    np.testing.assert_array_equal(read.clips, fitted[clips_of(13, config.sampling)])


@pytest.mark.parametrize("mode", ["uniform", "dense"])
@pytest.mark.parametrize("count", [1, 3, 7, 50])
@pytest.mark.parametrize("clips", [1, 3])
def test_sampling_stays_within_the_video_and_goes_forward(mode: Any, count: int, clips: int) -> None:
    sampling = SamplingConfig(frames=6, mode=mode, clips=clips, **({"step": 2} if mode == "dense" else {}))
    numbers = clips_of(count, sampling)
    assert numbers.shape == (clips, 6)
    assert numbers.min() >= 0
    assert numbers.max() <= count - 1
    assert (np.diff(numbers, axis=1) >= 0).all()
    if count == 50:
        assert len(np.unique(numbers)) == clips * 6
        steps = np.diff(numbers, axis=1)
        assert (steps == 2).all() if mode == "dense" else (steps.min() >= 7)


def test_bursts_are_neighbours() -> None:
    numbers = clips_of(40, SamplingConfig(frames=6, burst=2))[0]
    assert (numbers[1::2] - numbers[::2] == 1).all()
    assert (np.diff(numbers[::2]) > 10).all()


def test_workers_keep_the_order_and_run_ahead_by_little() -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def work(number: int) -> int:
        with lock:
            begun.append(number)
        if number == 3:
            raise DataError("no 3")
        return number

    results = in_workers(work, range(100), workers=2)
    first = [next(results) for _ in range(5)]
    assert [r if isinstance(r, int) else str(r) for r in first] == [0, 1, 2, "no 3", 4]
    assert len(begun) <= 5 + 4
    results.close()


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_bad_videos_are_named_and_can_be_skipped(folder: Path, video: Write) -> None:
    (folder / "run" / "text.mp4").write_text("no video")
    (folder / "run" / "void.mp4").write_bytes(b"")
    video("data/walk/still.mp4", count=1)
    _truncated(video("data/walk/cut.mp4", count=40))
    with pytest.raises(DataError, match=r"text\.mp4 is no readable video .*; repair or remove it, or leave"):
        opened(folder)
    source = opened(folder, on_error="skip")
    assert len(source) == 4
    assert source.skipped == 4
    found = "\n".join(source.skip_examples)
    for words in ("text.mp4 is no readable video", "void.mp4 is empty", "breaks off after", "it has 1 frame"):
        assert words in found
    assert source.take([0, 3])["label"] == ["run", "walk"], "the good ones keep their numbers"


def test_bad_arrays_are_named_and_can_be_skipped() -> None:
    good = draw(1, frames=5, side=16)[0]
    bad = [good[0], good[..., :1], good[:1], good / 255.0]
    data = {"clip": [good, *bad], "label": list("aabbb")}
    source = opened(data, on_error="skip")
    assert (len(source), source.skipped) == (1, 4)
    for words in ("(16, 16, 3)", "(5, 16, 16, 1)", "1 frame", "white is 255"):
        assert words in "\n".join(source.skip_examples)
    with pytest.raises(DataError, match=r"the arrays, row 1: the shape of the clip is \(16, 16, 3\)"):
        opened(data)


def test_data_without_videos_is_refused(tmp_path: Path, tiny: dict[str, Any]) -> None:
    (tmp_path / "empty").mkdir()
    task = kerasft.create("video", **tiny)
    for data, message in (
        (tmp_path / "empty", "holds no video; give each class a folder"),
        (tmp_path / "nowhere", "does not exist"),
        ("shapes:dev", "the shapes have the parts train and test"),
        ({"label": ["a", "b"]}, "the data has no videos"),
        (([draw(1, frames=4)[0]] * 2, ["a", "a"]), "has only one label, 'a'"),
    ):
        with pytest.raises(DataError, match=message):
            task.finetune(data, verbose="quiet")
