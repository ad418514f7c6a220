"""Pictures at the size of a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kerasft_video.config import VideoConfig

Fit = Callable[[np.ndarray], np.ndarray]


def as_trained(config: VideoConfig) -> Fit:
    """Returns what brings pictures to the size of a model exactly as training did."""
    import tensorflow as tf

    from kerasft.vision.resizing import resize

    def fit(pixels: np.ndarray) -> np.ndarray:
        with tf.device("CPU:0"):
            return resize(tf.convert_to_tensor(pixels), size=config.side, fit=config.fit).numpy()

    return fit


def shrunk(side: int) -> Fit:
    """Returns what makes the shorter side of pictures at most so long, for a server that does the rest.

    Without TensorFlow, and with the means of FFmpeg: it differs from training by little.

    Args:
        side: In pixels.
    """

    def fit(pixels: np.ndarray) -> np.ndarray:
        import av

        height, width = pixels.shape[:2]
        scale = side / min(height, width)
        if scale >= 1:
            return pixels
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        small = frame.reformat(width=round(width * scale), height=round(height * scale), interpolation="AREA")
        return small.to_ndarray(format="rgb24")

    return fit
