"""Pictures around an alarm as an mp4 file."""

from __future__ import annotations

import queue
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kerasft.errors import ConfigError
from kerasft_video.watching.films import check_encoder, encode, packed
from kerasft_video.watching.sources import Picture

_ROOM = 256


class _Shot(NamedTuple):
    time: float
    planes: np.ndarray


class _Take:
    """A clip that is being made; the file is written beside and renamed when it is whole."""

    def __init__(self, path: Path, until: float, *, wait: bool) -> None:
        self.path, self.until = path, until
        self._wait = wait
        self.shots: queue.Queue[_Shot | None] = queue.Queue(_ROOM if wait else 0)
        self.lost = 0
        self.error: str | None = None
        self._taken_all = False
        self.thread = threading.Thread(target=self._write, name="kerasft-clip", daemon=True)
        self.thread.start()

    def put(self, shot: _Shot) -> None:
        """Takes a picture; if it may not wait and too many are there, it is lost."""
        if not self._wait and self.shots.qsize() >= _ROOM:
            self.lost += 1
            return
        self.shots.put(shot)

    def begin(self, past: Iterable[_Shot]) -> None:
        """Takes what was before the alarm, all of it."""
        for shot in past:
            self.shots.put(shot)

    def end(self) -> None:
        """Says that nothing more comes."""
        self.shots.put(None)

    def _write(self) -> None:
        part = self.path.with_name(f".{self.path.name}.part")
        try:
            encode(part, self._all())
            part.replace(self.path)
        except Exception as error:  # the stream goes on without the clip
            self.error = str(error) or type(error).__name__
            for _ in self._all():
                pass
            part.unlink(missing_ok=True)

    def _all(self) -> Iterator[_Shot]:
        while not self._taken_all:
            shot = self.shots.get()
            self._taken_all = shot is None
            if shot is not None:
                yield shot


class Recorder:
    """Keeps the last seconds, and writes a clip for each alarm, in threads of their own.

    Args:
        folder: Made if need be.
        before: Seconds before the alarm.
        after: Seconds after its end.
        longest: Seconds of a clip, at most.
        side: To how many pixels the longer side is brought, if it has more.
        wait: Whether to wait for a slow disk, as for a file; a live source loses pictures of the clip
            instead.
        say: Takes sentences about clips that could not be saved.

    Raises:
        ConfigError: A time is below 0, or this machine cannot encode H.264.
    """

    def __init__(
        self,
        folder: Path,
        *,
        before: float = 3.0,
        after: float = 3.0,
        longest: float = 60.0,
        side: int = 640,
        wait: bool = False,
        say: Callable[[str], None] = print,
    ) -> None:
        if min(before, after) < 0 or longest <= 0:
            raise ConfigError(
                f"clips of {before:g} s before, {after:g} s after, {longest:g} s at most: none may be below 0"
            )
        check_encoder()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.saved: list[Path] = []
        self._before, self._after, self._longest = before, after, longest
        self._side, self._wait, self._say = side, wait, say
        self._past: deque[_Shot] = deque()
        self._takes: dict[str, _Take] = {}
        self._finishing: list[_Take] = []

    def add(self, picture: Picture) -> None:
        """Takes a picture: for the clips under way, and for those that may begin."""
        shot = _Shot(picture.time, packed(picture.pixels, side=self._side))
        self._past.append(shot)
        while self._past[0].time < picture.time - self._before:
            self._past.popleft()
        for key in [key for key, take in self._takes.items() if picture.time > take.until]:
            self._finish(key)
        for take in self._takes.values():
            take.put(shot)

    def begin(self, key: str, time: float, name: str) -> Path:
        """Begins a clip with what is kept of the past.

        Args:
            key: The alarm's.
            time: Of the alarm.
            name: What to call the file; what no file system likes is replaced.

        Returns:
            Where it will be.
        """
        path = self._free(re.sub(r"[^\w.+-]+", "_", name))
        take = self._takes[key] = _Take(path, time + self._longest - self._before, wait=self._wait)
        take.begin(self._past)
        return path

    def end(self, key: str, time: float) -> None:
        """Lets the clip of an alarm end some seconds after a time."""
        if key in self._takes:
            self._takes[key].until = min(self._takes[key].until, time + self._after)

    def cut(self) -> None:
        """Ends all clips, and forgets what is kept of the past: what comes next is something else."""
        for key in list(self._takes):
            self._finish(key)
        self._past.clear()

    def close(self) -> None:
        """Ends all clips and waits until they are written."""
        self.cut()
        for take in self._finishing:
            take.thread.join()
            self._settle(take)
        self._finishing.clear()

    def _finish(self, key: str) -> None:
        take = self._takes.pop(key)
        take.end()
        for done in [other for other in self._finishing if not other.thread.is_alive()]:
            self._finishing.remove(done)
            self._settle(done)
        self._finishing.append(take)

    def _settle(self, take: _Take) -> None:
        if take.error is not None:
            self._say(f"{take.path} could not be saved: {take.error}")
            return
        self.saved.append(take.path)
        if take.lost:
            self._say(f"{take.path} lacks {take.lost} pictures: the disk or the encoder is too slow")

    def _free(self, name: str) -> Path:
        taken = {take.path for take in [*self._takes.values(), *self._finishing]}
        path, number = self.folder / f"{name}.mp4", 1
        while path in taken or path.exists():
            number += 1
            path = self.folder / f"{name}-{number}.mp4"
        return path
