"""What is watched: a file at its own pace or the clock's, a camera, a URL that may be lost and come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from kerasft.errors import ConfigError, DataError
from kerasft_video.reading import Frame, frames
from kerasft_video.watching.mailbox import Mailbox
from kerasft_video.watching.timeline import Timeline

_ROOM = 32
_LONGEST_PAUSE = 30.0

Open = Callable[[], Iterator[Frame]]


class Picture(NamedTuple):
    """A frame of what is watched.

    Attributes:
        time: Seconds on a line that never goes back, whatever happens to the source.
        source_time: Seconds in the source; in one that came back, since it did.
        arrived: `time.monotonic()` when it had been decoded.
        gap: Whether something was lost before it.
        frame: Its pixels, rendered when they are asked for.
    """

    time: float
    source_time: float
    arrived: float
    gap: bool
    frame: Frame

    @property
    def pixels(self) -> np.ndarray:
        """RGB, uint8 `[height, width, 3]`."""
        return self.frame.pixels


class Source:
    """Gives pictures in batches: all that came since the last was taken.

    Attributes:
        name: What people call it.
        drops: Whether it goes on when pictures are not taken in time.
        lost: How many pictures were never taken.
    """

    name: str
    drops: bool = False
    lost: int = 0

    def batches(self) -> Iterator[list[Picture]]:
        """Yields what is there, oldest first; now and then an empty list, if nothing comes for a while.

        Raises:
            DataError: It cannot be read (any more).
        """
        raise NotImplementedError

    def close(self) -> None:
        """Stops `batches`; may be called from another thread."""
        raise NotImplementedError


class Whole(Source):
    """Every frame of a file, as fast as they are taken.

    Args:
        name: What people call it.
        opened: Begins to read it.
    """

    def __init__(self, name: str, opened: Open) -> None:
        self.name = name
        self._opened = opened
        self._closed = False

    def batches(self) -> Iterator[list[Picture]]:
        line = Timeline(jumps=False)
        for frame in self._opened():
            if self._closed:
                return
            moment = line.place(frame.time, 0.0)
            if moment is not None:
                yield [Picture(moment.time, frame.time, time.monotonic(), moment.gap, frame)]

    def close(self) -> None:
        self._closed = True


class Live(Source):
    """What goes on whether it is looked at or not: a thread reads, and the newest pictures win.

    Args:
        name: What people call it.
        opened: Begins to read it.
        paced: Read no faster than the clock, as for a file that is played.
        comes_back: Whether to try again when it ends or fails, with pauses that double. What fails at the
            very first try is an error all the same.
        give_up: Seconds without a picture after which it is no longer tried again; None: never.
        pause: Seconds before the first try.
        room: Pictures that may wait.
        say: Takes sentences about losses.
    """

    drops = True

    def __init__(
        self,
        name: str,
        opened: Open,
        *,
        paced: bool = False,
        comes_back: bool = True,
        give_up: float | None = None,
        pause: float = 1.0,
        room: int = _ROOM,
        say: Callable[[str], None] = print,
    ) -> None:
        self.name = name
        self._opened = opened
        self._paced, self._comes_back = paced, comes_back
        self._give_up, self._pause = give_up, pause
        self._say = say
        self._box: Mailbox[Picture] = Mailbox(room=room)
        self._stop = threading.Event()
        self._began = self._heard = time.monotonic()
        self._connected = False
        self._line = Timeline(jumps=not paced)

    @property
    def lost(self) -> int:  # type: ignore[override]
        """How many pictures found no room."""
        return self._box.lost

    def batches(self) -> Iterator[list[Picture]]:
        self._began = self._heard = time.monotonic()
        threading.Thread(target=self._read, name="kerasft-source", daemon=True).start()
        while (found := self._box.take(timeout=0.5)) is not None:
            yield found

    def close(self) -> None:
        self._stop.set()
        self._box.close()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            self._connect()
        except Exception as caught:  # whatever it is, the watcher must hear of it
            error = caught
        self._box.close(error)

    def _connect(self) -> None:
        pause = self._pause
        while not self._stop.is_set():
            before = self._heard
            reason = self._play()
            if reason is None:
                return
            pause = self._pause if self._heard > before else min(2 * pause, _LONGEST_PAUSE)
            waited = time.monotonic() - self._heard
            if self._give_up is not None and waited + pause > self._give_up:
                raise DataError(f"{self.name}: no picture for {waited:.0f} s, so it is given up: {reason}")
            self._say(f"{self.name}: lost ({reason}); trying again in {pause:g} s")
            self._stop.wait(pause)

    def _play(self) -> str | None:
        """Reads one connection to its end; returns why it ended, None if that is the end of all."""
        lost = self._connected
        self._line.lost()
        try:
            for frame in self._opened():
                if self._stop.is_set():
                    return None
                now = time.monotonic()
                if lost:
                    self._say(f"{self.name}: back after {now - self._heard:.1f} s")
                    lost = False
                self._connected, self._heard = True, now
                self._put(frame, now)
        except DataError as error:
            if not (self._connected and self._comes_back):
                raise
            # What the reader of files advises (to repair it) is no help here.
            return getattr(error.__context__, "strerror", None) or str(error)
        return "it ended" if self._comes_back else None

    def _put(self, frame: Frame, now: float) -> None:
        moment = self._line.place(frame.time, 0.0 if self._paced else now - self._began)
        if moment is None:
            return
        if self._paced:
            self._stop.wait(max(self._began + moment.time - now, 0.0))
            now = time.monotonic()
        self._box.put(Picture(moment.time, frame.time, now, moment.gap, frame))


def is_live(text: str) -> bool:
    """Tells whether a source goes on by itself: the number of a camera, or a URL.

    Example:
        >>> [is_live(text) for text in ("0", "rtsp://gate/1", "yard.mp4")]
        [True, True, False]
    """
    return text.isdigit() or "://" in text


def open_source(
    text: str,
    *,
    realtime: bool = False,
    once: bool = False,
    give_up: float | None = None,
    pause: float = 1.0,
    say: Callable[[str], None] = print,
) -> Source:
    """Returns what a text names.

    Args:
        text: A file, a folder of pictures, the number of a camera, or a URL that FFmpeg reads.
        realtime: Play a file at its own speed, and leave out what there is no time for.
        once: Take a URL for a film that has an end, like a file.
        give_up: Seconds without a picture after which a live source is given up; None: never.
        pause: Seconds before a lost source is tried again, the first time.
        say: Takes sentences about losses.

    Raises:
        ConfigError: An option does nothing for such a source.
    """

    def opened() -> Iterator[Frame]:
        return frames(text)

    if text.isdigit() and once:
        raise ConfigError("--once is for a URL: a camera has no end")
    if is_live(text) and not once:
        if realtime:
            raise ConfigError(f"--realtime is for files: {text} is live (a URL with an end needs --once)")
        return Live(text, opened, give_up=give_up, pause=pause, say=say)
    if realtime:
        return Live(text, opened, paced=True, comes_back=False, say=say)
    return Whole(text, opened)
