"""Which frames of a video make the clips that a model looks at."""

from __future__ import annotations

import numpy as np

from kerasft_video.config import SamplingConfig


def clips_of(count: int, sampling: SamplingConfig) -> np.ndarray:
    """Returns the numbers of the frames of each clip.

    With "uniform", as in temporal segment networks (Wang et al. 2016), a clip goes over the whole video: it
    is cut into equal parts, and each clip takes its frames (`burst` neighbours) at another place of every
    part. With "dense" a clip is a run of frames, every `step`th, and the clips are spread over the video.

    A video that is shorter than a clip is shown to its end and then stands still.

    Args:
        count: Frames of the video or of the window of a live stream, 1 or more.
        sampling: Of the config.

    Returns:
        int64 `[clips, frames]`, each below `count`; the middle clip is `[clips // 2]`.

    Example:
        >>> clips_of(12, SamplingConfig(frames=4, clips=2)).tolist()
        [[0, 3, 6, 9], [2, 5, 8, 11]]
        >>> clips_of(12, SamplingConfig(frames=4, mode="dense", step=2)).tolist()
        [[3, 5, 7, 9]]
    """
    frames, clips = sampling.frames, sampling.clips
    shares = (np.arange(clips) + 0.5) / clips
    if sampling.mode == "dense":
        span = (frames - 1) * sampling.step + 1
        starts = np.floor(shares * max(count - span + 1, 1)).astype(np.int64)
        numbers = starts[:, None] + np.arange(frames) * sampling.step
    else:
        places = frames // sampling.burst
        parts = np.arange(places)[None, :] + shares[:, None]
        begins = np.floor(parts / places * max(count - sampling.burst + 1, 1)).astype(np.int64)
        numbers = (begins[:, :, None] + np.arange(sampling.burst)).reshape(clips, frames)
    return np.minimum(numbers, count - 1)
