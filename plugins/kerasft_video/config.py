"""The settings of the video task."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from kerasft.config import Config, FinetuningConfig, Labels, TaskConfig, refuse_idle, with_defaults

Model = Literal["r2plus1d", "c3d", "movinet_stream", "i3d", "cnn_lstm", "skeleton"]

BACKBONES = ("i3d", "cnn_lstm")
"""Models that are made from a backbone of pictures."""

_SMALL, _USUAL = 32, 224
_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "r2plus1d": {"training": {"learning_rate": 3e-3, "epochs": 12}},
    "c3d": {"training": {"learning_rate": 3e-3, "epochs": 12}},
    "movinet_stream": {"training": {"learning_rate": 3e-3, "epochs": 20}},
    "i3d": {"training": {"learning_rate": 3e-4, "epochs": 10}},
    "cnn_lstm": {"training": {"learning_rate": 1e-3, "epochs": 20}},
    "skeleton": {
        "training": {"learning_rate": 3e-3, "epochs": 30, "batch_size": 64},
        "sampling": {"frames": 32},
        "head": {"dropout": 0.5},
    },
}
"""Defaults that depend on the model."""

_CLIPS = ("r2plus1d", "c3d", "movinet_stream", *BACKBONES)
_SERVES: dict[str, tuple[str, ...]] = {
    "size": _CLIPS,
    "fit": _CLIPS,
    "sampling.mode": _CLIPS,
    "sampling.step": _CLIPS,
    "sampling.burst": _CLIPS,
    "sampling.clips": _CLIPS,
    "sampling.mirror": _CLIPS,
    "augment": _CLIPS,
    "network.filters": ("r2plus1d", "c3d", "movinet_stream"),
    "network.backbone": BACKBONES,
    "network.pretrained": BACKBONES,
    "network.recurrent": ("cnn_lstm",),
    "network.units": ("cnn_lstm",),
    "network.sees": ("cnn_lstm",),
    "network.dropout": ("cnn_lstm",),
    "skeleton": ("skeleton",),
}
"""Settings that do something for some models only."""


class SamplingConfig(Config):
    """Which frames of a video the model looks at."""

    frames: int = pydantic.Field(default=8, ge=1, description="Frames of a clip.")
    mode: Literal["uniform", "dense"] = pydantic.Field(
        default="uniform",
        description="uniform: a clip goes over the whole video; dense: it is a run of frames.",
    )
    step: int = pydantic.Field(
        default=1, ge=1, description="With dense: every how many frames of the video one is taken."
    )
    burst: int = pydantic.Field(
        default=1,
        ge=1,
        description="With uniform: how many neighbouring frames are taken at each place; frames is a "
        "multiple of it.",
    )
    clips: int = pydantic.Field(
        default=1,
        ge=1,
        description="Clips of each video: so many examples in training; in evaluation and `predict` their "
        "scores are averaged.",
    )
    mirror: bool = pydantic.Field(
        default=False, description="Look at each clip mirrored too: twice as many clips."
    )
    least: int = pydantic.Field(
        default=2, ge=1, description="A video with fewer frames than this is a bad row."
    )

    @property
    def views(self) -> int:
        """How many clips are looked at, mirrored ones included."""
        return self.clips * (2 if self.mirror else 1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> SamplingConfig:
        if self.frames % self.burst:
            raise ValueError(f"frames is {self.frames}, which is no multiple of burst, {self.burst}")
        if self.burst > 1 and self.mode == "dense":
            raise ValueError("burst does nothing with mode 'dense', only with uniform; leave it out")
        if self.step > 1 and self.mode == "uniform":
            raise ValueError("step does nothing with mode 'uniform', only with dense; leave it out")
        return self


class NetworkConfig(Config):
    """The network."""

    backbone: str = pydantic.Field(
        default="efficientnet_lite0",
        min_length=1,
        description="What sees a frame (cnn_lstm, i3d): efficientnet_lite0, cnn, resnet20, or a name of "
        "keras.applications.",
    )
    pretrained: bool = pydantic.Field(
        default=True, description="Whether the backbone starts from pretrained weights, where it has any."
    )
    filters: tuple[int, ...] = pydantic.Field(
        default=(16, 32, 64), min_length=1, description="Filters of each stage of a model from scratch."
    )
    recurrent: Literal["gru", "lstm", "none"] = pydantic.Field(
        default="gru", description="What goes over the frames (cnn_lstm); none: they are averaged."
    )
    units: int = pydantic.Field(default=64, ge=1, description="Units of the recurrent layer (cnn_lstm).")
    sees: Literal["frames", "motion", "both"] = pydantic.Field(
        default="frames",
        description="What the backbone is shown: frames, what changes between them, or both (cnn_lstm).",
    )
    dropout: float = pydantic.Field(
        default=0.5, ge=0, lt=1, description="Dropout rate of the features of frames (cnn_lstm)."
    )


class AugmentConfig(Config):
    """Random changes of training clips, the same for all frames of one; with any, no features are kept."""

    flip: bool = pydantic.Field(default=False, description="Mirror half of the clips.")
    shift: float = pydantic.Field(
        default=0.0, ge=0, le=1, description="Farthest move, as a share of the side; the rest is reflected."
    )
    brightness: float = pydantic.Field(
        default=0.0, ge=0, le=1, description="Largest change of brightness, as a share of white."
    )


class SkeletonConfig(Config):
    """The model skeleton, and random changes of its training examples."""

    joints: int | None = pydantic.Field(
        default=None, ge=2, description="Joints of a skeleton; null: those of the training data."
    )
    filters: tuple[int, ...] = pydantic.Field(
        default=(64, 128, 256), min_length=1, description="Filters of each stage."
    )
    crop: float = pydantic.Field(
        default=0.3, ge=0, lt=1, description="Largest share of the time that training leaves out."
    )
    flip: bool = pydantic.Field(default=True, description="Mirror half of the training examples.")
    pairs: tuple[tuple[int, int], ...] = pydantic.Field(
        default=(), description="Left and right joints, which change places in the mirror."
    )
    rotate: float = pydantic.Field(default=10.0, ge=0, le=180, description="Widest turn, in degrees.")
    scale: float = pydantic.Field(default=0.1, ge=0, lt=1, description="Strongest change of size, from 1.")
    noise: float = pydantic.Field(
        default=0.02, ge=0, description="Noise on places, in parts of the spread of a skeleton."
    )


class HeadConfig(Config):
    """What turns features into an answer."""

    dropout: float = pydantic.Field(
        default=0.2, ge=0, lt=1, description="Dropout rate before the last layer."
    )
    label_smoothing: float = pydantic.Field(
        default=0.0, ge=0, lt=1, description="Share of the target that is spread over all classes."
    )


class AlarmConfig(Config):
    """A class whose videos shall raise an alarm; evaluation then says how good it is."""

    label: str | None = pydantic.Field(default=None, description="The class; null: none.")
    threshold: float = pydantic.Field(
        default=0.5, gt=0, le=1, description="Score from which on the alarm is raised."
    )


class VideoTraining(FinetuningConfig):
    """Training settings with the defaults for videos; rate and epochs depend on the model."""

    batch_size: int = pydantic.Field(default=16, ge=1, description="Examples in one batch.")
    learning_rate: Any = pydantic.Field(
        default=None, description="Peak rate; null: 3e-3 for a model from scratch, else 1e-3."
    )


class VideoConfig(TaskConfig):
    """Everything that can be said of a video task.

    Example:
        >>> VideoConfig().side, VideoConfig(model="cnn_lstm").side
        (32, 224)
        >>> VideoConfig(model="c3d").training.learning_rate
        0.003
    """

    model: Model = pydantic.Field(
        default="r2plus1d",
        description="r2plus1d, c3d: convolutions over space and time, from scratch; movinet_stream: a causal "
        "network, from scratch, that can be asked frame by frame; i3d: a backbone of "
        "pictures, inflated to three dimensions; cnn_lstm: a backbone for each frame and a recurrent layer "
        "over them; skeleton: joints in motion instead of pictures.",
    )
    size: int | None = pydantic.Field(
        default=None,
        ge=8,
        description="Side to which frames are brought; null: 32 for a model from scratch, else 224.",
    )
    fit: Literal["crop", "stretch", "pad"] = pydantic.Field(
        default="crop",
        description="How a frame becomes a square: crop cuts its middle out, stretch changes the "
        "proportions, pad adds black.",
    )
    labels: Labels = pydantic.Field(
        default=None, description="The labels; null: those of the training data, sorted."
    )
    sampling: SamplingConfig = pydantic.Field(
        default_factory=SamplingConfig, description="Which frames of a video the model looks at."
    )
    network: NetworkConfig = pydantic.Field(default_factory=NetworkConfig, description="The network.")
    augment: AugmentConfig = pydantic.Field(
        default_factory=AugmentConfig, description="Random changes of training clips."
    )
    skeleton: SkeletonConfig = pydantic.Field(
        default_factory=SkeletonConfig, description="The model skeleton."
    )
    head: HeadConfig = pydantic.Field(default_factory=HeadConfig, description="After the network.")
    alarm: AlarmConfig = pydantic.Field(
        default_factory=AlarmConfig, description="A class whose videos shall raise an alarm."
    )
    training: VideoTraining = pydantic.Field(
        default_factory=VideoTraining, description="Optimizer, rates, batches, epochs."
    )

    @property
    def side(self) -> int:
        """The side of the frames that the model takes."""
        return self.size or (_USUAL if self.model in BACKBONES else _SMALL)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _defaults_of_model(cls, values: Any) -> Any:
        chosen = values.get("model", "r2plus1d") if isinstance(values, dict) else "r2plus1d"
        return with_defaults(values, _DEFAULTS.get(chosen, {}))

    @pydantic.model_validator(mode="after")
    def _check_use(self) -> VideoConfig:
        refuse_idle(self, {setting: ("model", models) for setting, models in _SERVES.items()})
        return self
