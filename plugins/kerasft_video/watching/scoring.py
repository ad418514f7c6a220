"""From pictures to the scores of classes: a window at a time, or a frame at a time with a state."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np

from kerasft.errors import ConfigError, DataError
from kerasft_video.config import SamplingConfig
from kerasft_video.sampling import clips_of
from kerasft_video.watching.fitting import Fit
from kerasft_video.watching.models import CLIP, NEXT, START, Model
from kerasft_video.watching.sources import Picture
from kerasft_video.watching.window import Schedule, Window

EVERY = 0.25
WINDOW = 2.0

_BLACK = np.zeros((64, 64, 3), np.uint8)


class Scorer(Protocol):
    """Sees pictures and scores what it has seen.

    Attributes:
        labels: The classes; known once the model was asked.
    """

    labels: tuple[str, ...]

    def warm_up(self) -> None:
        """Asks the model about nothing: its first answer takes longest, and brings the labels."""
        ...

    def add(self, picture: Picture) -> bool:
        """Takes a picture; tells whether it is time for a score."""
        ...

    def score(self) -> np.ndarray:
        """Returns scores, float `[classes]`, of what was seen up to now."""
        ...

    @property
    def ready(self) -> bool:
        """Whether what was scored last is as much as the model was trained to look at."""
        ...

    def last(self) -> bool:
        """Tells, at the end of the source, whether something was seen and never as much as that."""
        ...

    @property
    def window(self) -> tuple[float, float]:
        """Times in the source of the first and the last picture of what was scored last."""
        ...

    def reset(self) -> None:
        """Forgets what was seen."""
        ...


class _Seen:
    """A picture at the size of the model, made when it is first looked at."""

    def __init__(self, picture: Picture, fit: Fit) -> None:
        self.source_time = picture.source_time
        self._picture: Picture | None = picture
        self._fit = fit
        self._pixels: np.ndarray | None = None

    @property
    def pixels(self) -> np.ndarray:
        if self._pixels is None:
            assert self._picture is not None
            self._pixels, self._picture = self._fit(self._picture.pixels), None
        return self._pixels


class Windows:
    """Scores the last pictures as a clip, which is chosen from them as clips are from videos.

    Args:
        model: Its signature `serving_default` takes clips.
        sampling: How the model's clips were chosen. With "dense" the window is as many pictures as a clip
            spans.
        seconds: Of the window, with "uniform".
        every: Seconds from score to score.
        fit: Brings a picture to the size of the model.

    Raises:
        ConfigError: The model takes no such clips.
    """

    def __init__(
        self,
        model: Model,
        *,
        sampling: SamplingConfig,
        seconds: float = WINDOW,
        every: float = EVERY,
        fit: Fit,
    ) -> None:
        shape = model.shapes.get(CLIP, {}).get("clip")
        if shape is None or len(shape) != 5 or shape[1] not in (None, sampling.frames):
            raise ConfigError(
                f"{model.name} takes no clips of {sampling.frames} frames [clips, frames, height, width, 3]; "
                f"its signature {CLIP} takes {dict(model.shapes.get(CLIP, {}))}"
            )
        self.labels: tuple[str, ...] = ()
        self._model, self._sampling, self._fit = model, sampling, fit
        self._schedule = Schedule(every=every)
        span = (sampling.frames - 1) * sampling.step + 1
        dense = sampling.mode == "dense"
        self._window: Window[_Seen] = Window(count=span) if dense else Window(seconds=seconds)
        self._scored = False

    def warm_up(self) -> None:
        clip = np.stack([self._fit(_BLACK)] * self._sampling.frames)[None]
        self.labels, _ = _read(self._model, self._model.call(CLIP, {"clip": clip}))

    def add(self, picture: Picture) -> bool:
        self._window.add(picture.time, _Seen(picture, self._fit))
        return self._window.full and self._schedule.due(picture.time)

    def score(self) -> np.ndarray:
        self._scored = True
        seen = self._window.items
        clips = clips_of(len(seen), self._sampling)
        pixels = [seen[number].pixels for number in clips[len(clips) // 2]]
        answer = self._model.call(CLIP, {"clip": np.stack(pixels)[None]})
        return _read(self._model, answer)[1]

    @property
    def ready(self) -> bool:
        return True

    def last(self) -> bool:
        return not self._scored and bool(self._window.items)

    @property
    def window(self) -> tuple[float, float]:
        seen = self._window.items
        return seen[0].source_time, seen[-1].source_time

    def reset(self) -> None:
        self._window.clear()
        self._schedule.reset()


class Stream:
    """Scores each picture with what a causal model remembers of those before it: one frame a call.

    Its first scores, which are of fewer pictures than a clip that it was trained on has, are not `ready`.

    Args:
        model: It has the signatures `stream_start` and `stream_next`.
        step: Every how many pictures one is shown to it.
        every: Seconds from one of those that are shown to the next; 0: all.
        frames: Of a clip that it was trained on, which is as far back as a score is said to reach.
        fit: Brings a picture to the size of the model.
    """

    def __init__(self, model: Model, *, step: int = 1, every: float = 0.0, frames: int, fit: Fit) -> None:
        self.labels: tuple[str, ...] = ()
        self._model, self._step, self._fit = model, step, fit
        self._schedule = Schedule(every=every)
        self._state: np.ndarray | None = None
        self._seen = 0
        self._next: Picture | None = None
        self._times: deque[float] = deque(maxlen=frames)
        self._scores = np.zeros(0)
        self._was_ready = False

    def warm_up(self) -> None:
        frame = self._fit(_BLACK)[None]
        state = self._model.call(START, {"frame": frame})["state"]
        self.labels, _ = _read(self._model, self._model.call(NEXT, {"frame": frame, "state": state}))

    def add(self, picture: Picture) -> bool:
        self._seen += 1
        if (self._seen - 1) % self._step or not self._schedule.due(picture.time):
            return False
        self._next = picture
        return True

    def score(self) -> np.ndarray:
        if self._next is None:
            return self._scores
        frame = self._fit(self._next.pixels)[None]
        if self._state is None:
            answer = self._model.call(START, {"frame": frame})
        else:
            answer = self._model.call(NEXT, {"frame": frame, "state": self._state})
        self._state = answer["state"]
        self._times.append(self._next.source_time)
        self._was_ready |= self.ready
        self._next = None
        self._scores = _read(self._model, answer)[1]
        return self._scores

    @property
    def ready(self) -> bool:
        return len(self._times) == self._times.maxlen

    def last(self) -> bool:
        return bool(self._times) and not self._was_ready

    @property
    def window(self) -> tuple[float, float]:
        return self._times[0], self._times[-1]

    def reset(self) -> None:
        self._state = self._next = None
        self._times.clear()
        self._schedule.reset()


def scorer(
    model: Model,
    *,
    window: float | None = None,
    every: float | None = None,
    frames: int | None = None,
    fit: Fit,
) -> Scorer:
    """Returns what suits a model: `Stream` if it keeps a state, else `Windows`.

    Args:
        model: The model.
        window: Seconds that a clip of it spans, where its config does not say.
        every: Seconds from score to score.
        frames: Of a clip, where neither its config nor its signature says.
        fit: Brings a picture to the size of the model.

    Raises:
        ConfigError: `window` does nothing, or `frames` is missing.
    """
    sampling = model.config.sampling if model.config is not None else None
    if sampling is None:
        clip = model.shapes.get(CLIP, {}).get("clip", ())
        count = frames or (clip[1] if len(clip) == 5 else None)
        if count is None:
            raise ConfigError(f"{model.name} does not say how many frames its clips have: give --frames")
        sampling = SamplingConfig(frames=count)
    dense = sampling.mode == "dense"
    if dense and window is not None:
        raise ConfigError(
            f"--window does nothing here: {model.name} was trained on {sampling.frames} frames, one in "
            f"{sampling.step}; leave it out"
        )
    seconds = WINDOW if window is None else window
    if START in model.shapes:
        if every is None:
            every = 0.0 if dense else seconds / sampling.frames
        return Stream(model, step=sampling.step, every=every, frames=sampling.frames, fit=fit)
    return Windows(
        model, sampling=sampling, seconds=seconds, every=EVERY if every is None else every, fit=fit
    )


def _read(model: Model, answer: dict[str, np.ndarray]) -> tuple[tuple[str, ...], np.ndarray]:
    scores = np.asarray(answer["scores"], float)[0]
    if not np.isfinite(scores).all():
        raise DataError(f"{model.name} answers scores that are no numbers: {scores.tolist()}")
    labels = (label.decode() if isinstance(label, bytes) else str(label) for label in answer["labels"])
    return tuple(labels), scores
