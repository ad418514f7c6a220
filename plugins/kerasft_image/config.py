"""The settings of the image task."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from kerasft.config import Config, FinetuningConfig, Labels, TaskConfig, refuse_idle, with_defaults
from kerasft.vision.names import PRETRAINED, SCRATCH

Kind = Literal["classification", "multilabel", "recognition"]

_SMALL, _USUAL = 32, 224
_FROM_SCRATCH: dict[str, dict[str, Any]] = {"training": {"learning_rate": 3e-3, "epochs": 12}}
_PRETRAINED: dict[str, dict[str, Any]] = {"training": {"learning_rate": 1e-3}, "head": {"norm": True}}

_SERVES: dict[str, tuple[str, tuple[str, ...]]] = {
    "network.filters": ("backbone", ("cnn",)),
    "head.members": ("kind", ("classification", "multilabel")),
    "head.label_smoothing": ("kind", ("classification",)),
    "head.threshold": ("kind", ("multilabel",)),
    "recognition": ("kind", ("recognition",)),
    "augment.mixup": ("kind", ("classification", "multilabel")),
    "augment.cutmix": ("kind", ("classification", "multilabel")),
}
"""Settings that do something for some backbones or kinds only."""


class NetworkConfig(Config):
    """The backbone."""

    pretrained: bool = pydantic.Field(
        default=True, description="Whether to start from pretrained weights, where the backbone has any."
    )
    scale: int | None = pydantic.Field(
        default=None,
        ge=8,
        description="Side to which the network itself enlarges pictures, which are kept at their size.",
    )
    stages: int = pydantic.Field(
        default=1,
        ge=1,
        description="How many of the last stages give features: earlier ones have seen smaller things, which "
        "helps a head on a frozen backbone.",
    )
    filters: tuple[int, ...] = pydantic.Field(
        default=(32, 64, 128), min_length=1, description="Filters of each stage of the backbone cnn."
    )


class HeadConfig(Config):
    """What turns features into an answer."""

    norm: bool = pydantic.Field(
        default=False,
        description="Normalise features over the batch first; on for a backbone with pretrained weights, "
        "whose features differ much in size.",
    )
    hidden: tuple[int, ...] = pydantic.Field(
        default=(), description="Widths of hidden layers between features and answer."
    )
    dropout: float = pydantic.Field(
        default=0.2, ge=0, lt=1, description="Dropout rate before the last layer, and each hidden one."
    )
    members: int = pydantic.Field(
        default=1,
        ge=1,
        description="How many heads learn, each alone, on the same features; the answer is the mean of what "
        "they say (classification, multilabel).",
    )
    label_smoothing: float = pydantic.Field(
        default=0.0, ge=0, lt=1, description="Share of the target spread over all classes (classification)."
    )
    threshold: float = pydantic.Field(
        default=0.5, gt=0, lt=1, description="Score from which a label is given (multilabel)."
    )


class RecognitionConfig(Config):
    """Recognition of persons by ArcFace (Deng et al. 2019)."""

    width: int = pydantic.Field(default=128, ge=2, description="Length of an embedding.")
    margin: float = pydantic.Field(
        default=0.5, ge=0, lt=1.5, description="Angle, in radians, that persons are kept apart by."
    )
    scale: float = pydantic.Field(
        default=30.0,
        gt=0,
        description="Factor of the cosines; more for more persons (64 for many thousands).",
    )
    threshold: float = pydantic.Field(
        default=0.4, ge=-1, le=1, description="Similarity from which two pictures are of one person."
    )
    trained: bool = pydantic.Field(
        default=True, description="Whether the persons of the training data are in the gallery."
    )


class AugmentConfig(Config):
    """Random changes of training pictures; none of them is in validation, `predict` or an export."""

    flip: Literal["none", "horizontal", "vertical", "both"] = pydantic.Field(
        default="none", description="Mirror half of the pictures."
    )
    shift: float = pydantic.Field(
        default=0.0, ge=0, le=1, description="Farthest move, as a share of the side; the rest is reflected."
    )
    rotate: float = pydantic.Field(default=0.0, ge=0, le=180, description="Widest turn, in degrees.")
    zoom: float = pydantic.Field(
        default=0.0, ge=0, lt=1, description="Strongest zoom: from 1 - zoom to 1 + zoom of what is seen."
    )
    brightness: float = pydantic.Field(
        default=0.0, ge=0, le=1, description="Largest change of brightness, as a share of white."
    )
    contrast: float = pydantic.Field(
        default=0.0, ge=0, lt=1, description="Largest change of contrast, as a factor from 1."
    )
    rand_augment: float = pydantic.Field(
        default=0.0, ge=0, le=1, description="Strength of RandAugment, two changes a picture; 0: none."
    )
    erase: float = pydantic.Field(
        default=0.0, ge=0, le=1, description="Chance that a rectangle of the picture is erased."
    )
    mixup: float = pydantic.Field(
        default=0.0, ge=0, description="Alpha of MixUp, which blends pictures and their labels; 0: none."
    )
    cutmix: float = pydantic.Field(
        default=0.0,
        ge=0,
        le=1,
        description="Largest share of another picture that CutMix pastes, with its labels; 0: none.",
    )
    test_time: Literal["none", "flip"] = pydantic.Field(
        default="none",
        description="Outside of training, average what is seen in a picture and, with flip, in its mirror "
        "image.",
    )


class ImageTraining(FinetuningConfig):
    """Training settings with the defaults for pictures; rate and epochs depend on the backbone."""

    learning_rate: Any = pydantic.Field(
        default=None, description="Peak rate; null: 3e-3 for a small backbone from scratch, else 1e-3."
    )
    momentum: float = pydantic.Field(default=0.9, ge=0, lt=1, description="Of the optimizer sgd.")


class ImageConfig(TaskConfig):
    """Everything that can be said of an image task.

    Example:
        >>> ImageConfig().side, ImageConfig(backbone="resnet20", size=64).side
        (32, 64)
        >>> ImageConfig(backbone="cnn").training.learning_rate
        0.003
    """

    kind: Kind = pydantic.Field(
        default="classification",
        description="classification: one label a picture; multilabel: any number of labels; recognition: "
        "who it is, of persons whom it may get to know after training.",
    )
    backbone: str = pydantic.Field(
        default="cnn",
        min_length=1,
        description=f"What sees: one that starts from scratch ({', '.join(SCRATCH)}), "
        f"{', '.join(PRETRAINED)}, a name of keras.applications, or an image preset of KerasHub (also "
        "hf://, kaggle://, a folder).",
    )
    size: int | None = pydantic.Field(
        default=None,
        ge=8,
        description="Side to which pictures are brought; null: 32 for a small backbone, else 224.",
    )
    fit: Literal["crop", "stretch", "pad"] = pydantic.Field(
        default="crop",
        description="How a picture becomes a square: crop cuts its middle out, stretch changes the "
        "proportions, pad adds black.",
    )
    crop: float = pydantic.Field(
        default=1.0, gt=0, le=1, description="Share of the shorter side that crop keeps."
    )
    labels: Labels = pydantic.Field(
        default=None, description="The labels; null: those of the training data, sorted."
    )
    network: NetworkConfig = pydantic.Field(default_factory=NetworkConfig, description="The backbone.")
    head: HeadConfig = pydantic.Field(default_factory=HeadConfig, description="After the backbone.")
    recognition: RecognitionConfig = pydantic.Field(
        default_factory=RecognitionConfig, description="Of the kind recognition."
    )
    augment: AugmentConfig = pydantic.Field(
        default_factory=AugmentConfig, description="Random changes of training pictures."
    )
    training: ImageTraining = pydantic.Field(
        default_factory=ImageTraining, description="Optimizer, rates, batches, epochs."
    )

    @property
    def side(self) -> int:
        """The side of the pictures that the model takes."""
        return self.size or (_SMALL if self.backbone in SCRATCH else _USUAL)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _defaults_of_backbone(cls, values: Any) -> Any:
        chosen = values.get("backbone", "cnn") if isinstance(values, dict) else "cnn"
        return with_defaults(values, _FROM_SCRATCH if chosen in SCRATCH else _PRETRAINED)

    @pydantic.model_validator(mode="after")
    def _check_use(self) -> ImageConfig:
        refuse_idle(self, _SERVES)
        if self.crop < 1 and self.fit != "crop":
            raise ValueError(f"crop does nothing with fit {self.fit!r}, only with crop; leave it out")
        return self
