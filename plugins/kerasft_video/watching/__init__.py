"""Watching a video, a camera or a stream: scores of a model, smoothed, and alarms.

Importing this package loads neither TensorFlow nor Keras.
"""

from __future__ import annotations

from kerasft_video.watching.alarms import Alarm, Lines
from kerasft_video.watching.clips import Recorder
from kerasft_video.watching.films import write_film
from kerasft_video.watching.hysteresis import Hysteresis, Rule
from kerasft_video.watching.models import Model, OfExport, OfRun, OnServer, config_of, open_model
from kerasft_video.watching.scoring import Scorer, scorer
from kerasft_video.watching.smoothing import Exponential, Moving
from kerasft_video.watching.sources import Source, open_source
from kerasft_video.watching.watcher import Score, Watcher
from kerasft_video.watching.webhook import Webhook

__all__ = [
    "Alarm",
    "Exponential",
    "Hysteresis",
    "Lines",
    "Model",
    "Moving",
    "OfExport",
    "OfRun",
    "OnServer",
    "Recorder",
    "Rule",
    "Score",
    "Scorer",
    "Source",
    "Watcher",
    "Webhook",
    "config_of",
    "open_model",
    "open_source",
    "scorer",
    "write_film",
]
