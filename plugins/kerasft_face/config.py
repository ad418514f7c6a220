"""The settings of the face task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pydantic

from kerasft.config import Config, TaskConfig, TrainingConfig

_PAPER = {"max_channels": 512, "z_dim": 512, "w_dim": 512, "mapping_depth": 8}
_AVERAGE = {"ema": 10_000.0, "ema_rampup": 0.05}

PRESETS: dict[str, dict[str, Any]] = {
    "micro": {},
    "paper256": {
        "resolution": 256,
        "network": {**_PAPER, "base": 16_384, "group": 8},
        "game": {"gamma": 1.0, "augment": "ada"},
        "training": {**_AVERAGE, "batch_size": 64, "learning_rate": 2.5e-3},
    },
    "paper512": {
        "resolution": 512,
        "network": {**_PAPER, "base": 32_768, "group": 8},
        "game": {"gamma": 0.5, "augment": "ada"},
        "training": {**_AVERAGE, "batch_size": 64, "learning_rate": 2.5e-3},
    },
    "stylegan2": {
        "resolution": 1024,
        "network": {**_PAPER, "base": 32_768, "group": 4},
        "game": {"gamma": 10.0},
        "training": {**_AVERAGE, "batch_size": 32, "learning_rate": 2e-3},
    },
}
"""What a preset sets, unless the user does; micro is what the fields say."""


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "stylegan2": {},
    "dcgan": {
        "resolution": 64,
        "network": {"base": 2048, "max_channels": 512, "z_dim": 100},
        "game": {"gamma": 0.0, "path_weight": 0.0},
        "adam": {"beta_1": 0.5, "beta_2": 0.999},
        "training": {"batch_size": 64, "learning_rate": 2e-4, "ema": 10_000.0, "ema_rampup": 0.05},
    },
}
"""The same of an architecture."""


class NetworkConfig(Config):
    """Both networks."""

    base: int = pydantic.Field(
        512, ge=8, description="Channels at a resolution: base / resolution, up to max_channels."
    )
    max_channels: int = pydantic.Field(32, ge=1, description="Most channels.")
    z_dim: int = pydantic.Field(64, ge=1, description="Length of a latent vector.")
    w_dim: int = pydantic.Field(64, ge=1, description="Length of a style vector.")
    mapping_depth: int = pydantic.Field(2, ge=1, description="Layers of the mapping network.")
    mapping_rate: float = pydantic.Field(
        0.01, gt=0, description="Learning rate of the mapping network relative to the rest."
    )
    label_depth: int | None = pydantic.Field(
        None,
        ge=0,
        description="With classes, layers that map a label in the discriminator; null: as mapping_depth.",
    )
    noise: bool = pydantic.Field(True, description="Whether synthesis adds noise.")
    group: int = pydantic.Field(
        4, ge=1, description="Pictures over which the minibatch standard deviation is taken."
    )
    mixed_blocks: int = pydantic.Field(
        4, ge=0, description="Under mixed precision, how many of the highest resolutions use it."
    )


class GameConfig(Config):
    """Losses and regularisers."""

    gamma: float | None = pydantic.Field(
        4.0,
        ge=0,
        description="Weight of R1; null: 0.0002 * resolution^2 / batch size; 0: none.",
    )
    r1_every: int = pydantic.Field(16, ge=1, description="Steps between two turns of R1.")
    path_weight: float = pydantic.Field(2.0, ge=0, description="Weight of path length; 0: none.")
    path_every: int = pydantic.Field(4, ge=1, description="Steps between two turns of path length.")
    path_decay: float = pydantic.Field(
        0.01, gt=0, le=1, description="What the average path length forgets in a turn."
    )
    style_mixing: float = pydantic.Field(
        0.9, ge=0, le=1, description="Chance that a picture has the styles of two latents."
    )
    augment: Literal["ada", "none"] | Annotated[float, pydantic.Field(ge=0, le=1)] = pydantic.Field(
        "none", description="Augmentation of all that is judged: ada (adaptive), none, or a probability."
    )
    augment_kinds: Literal["b", "g", "c", "bg", "bc", "gc", "bgc"] = pydantic.Field(
        "bgc", description="Of blitting, geometry and colour, what is augmented."
    )
    augment_target: float = pydantic.Field(
        0.6, ge=-1, le=1, description="Mean sign of the scores of real pictures that ada aims at."
    )
    augment_kimg: float = pydantic.Field(
        500.0, gt=0, description="Thousands of pictures in which ada can move the probability by 1."
    )

    @property
    def controller(self) -> dict[str, Any]:
        """The arguments of `Adaptive`."""
        if isinstance(self.augment, float):
            return {"start": self.augment, "kimg": None}
        return {"target": self.augment_target, "kimg": self.augment_kimg}


class AdamConfig(Config):
    """Of the optimizer adam."""

    beta_1: float = pydantic.Field(0.0, ge=0, lt=1, description="Momentum of the gradient.")
    beta_2: float = pydantic.Field(0.99, ge=0, lt=1, description="Momentum of its square.")
    epsilon: float = pydantic.Field(1e-8, gt=0, description="Least size of a gradient.")


class MetricsConfig(Config):
    """What `evaluate` and validation measure."""

    extractor: Literal["random:v1", "vgg16", "efficientnet_lite0", "inception"] = pydantic.Field(
        "random:v1",
        description="Network that turns pictures into features; random:v1 needs no weights, and can mislead.",
    )
    samples: int = pydantic.Field(1000, ge=2, description="Faces to make.")
    path_samples: int = pydantic.Field(
        100, ge=0, description="Steps in w of which the perceptual path length is the mean; 0: not measured."
    )


class SamplesConfig(Config):
    """Pictures in the run folder during training."""

    count: int = pydantic.Field(36, ge=0, description="Faces in a picture; 0 writes no pictures.")
    every: int = pydantic.Field(10, ge=1, description="Epochs from one picture to the next.")


class FaceTraining(TrainingConfig):
    """Training settings with the defaults of StyleGAN2."""

    optimizer: Any = pydantic.Field(
        "adam",
        description="Name of a Keras optimizer, its serialized form, or an object; one for each network.",
    )
    batch_size: int = pydantic.Field(16, ge=1, description="Pictures in one batch.")
    learning_rate: Any = pydantic.Field(5e-3, description="Rate of both networks, or a Keras schedule.")
    ema: float | None = pydantic.Field(
        800.0,
        gt=0,
        description="Half-life, in pictures, of a moving average of the generator, which is what is "
        "kept and served; below 1 its momentum a step.",
    )


class FaceConfig(TaskConfig):
    """Everything that can be said of a face task.

    Example:
        >>> FaceConfig().resolution, FaceConfig(preset="paper256").network.base
        (32, 16384)
    """

    preset: Literal["micro", "paper256", "paper512", "stylegan2"] = pydantic.Field(
        "micro", description="Other defaults of resolution, network, game and training than those of micro."
    )
    architecture: Literal["stylegan2", "dcgan"] = pydantic.Field(
        "stylegan2",
        description="Networks: stylegan2, or dcgan, plain convolutions, for which some settings have other "
        "defaults and those of styles have no effect.",
    )
    pretrained: Literal["dcgan_faces"] | None = pydantic.Field(
        None,
        description="Weights that the generator starts from: dcgan_faces (a dcgan at 64x64), or null.",
    )
    resolution: int = pydantic.Field(32, ge=8, le=1024, description="Side of the pictures, a power of two.")
    conditional: bool = pydantic.Field(False, description="Make faces of a class; the data then has labels.")
    mirror: bool = pydantic.Field(False, description="Whether mirrored pictures count as real as well.")
    labels: tuple[str, ...] | None = pydantic.Field(
        None, description="The classes; null: those of the training data, sorted."
    )
    network: NetworkConfig = pydantic.Field(default_factory=NetworkConfig, description="Both networks.")
    game: GameConfig = pydantic.Field(default_factory=GameConfig, description="Losses and regularisers.")
    adam: AdamConfig = pydantic.Field(default_factory=AdamConfig, description="Of the optimizer adam.")
    metrics: MetricsConfig = pydantic.Field(
        default_factory=MetricsConfig, description="What evaluate and validation measure."
    )
    samples: SamplesConfig = pydantic.Field(
        default_factory=SamplesConfig, description="Pictures in the run folder during training."
    )
    training: FaceTraining = pydantic.Field(
        default_factory=FaceTraining, description="Optimizer, rates, batches, epochs."
    )

    @property
    def gamma(self) -> float:
        """The weight of R1."""
        if self.game.gamma is not None:
            return self.game.gamma
        return 0.0002 * self.resolution**2 / self.training.batch_size

    @pydantic.model_validator(mode="before")
    @classmethod
    def _defaults_of_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        named = values.get("architecture", "stylegan2")
        defaults = ARCHITECTURES.get(named, {}) or PRESETS.get(values.get("preset", "micro"), {})
        for key, own in defaults.items():
            given = values.get(key, {} if isinstance(own, dict) else own)
            if isinstance(own, dict) and isinstance(given, dict):
                given = {**own, **given}
            values = {**values, key: given}
        return values

    @pydantic.model_validator(mode="after")
    def _check_architecture(self) -> FaceConfig:
        if self.architecture == "stylegan2":
            if self.pretrained is not None:
                raise ValueError(f"pretrained {self.pretrained} is a DCGAN: set architecture to dcgan too")
            return self
        wrong = {
            f"preset {self.preset}": self.preset != "micro",
            "conditional": self.conditional,
            "game.path_weight": self.game.path_weight > 0,
        }
        for name, is_wrong in wrong.items():
            if is_wrong:
                raise ValueError(f"a DCGAN knows no {name}: leave it out, or take architecture stylegan2")
        return self

    @pydantic.field_validator("resolution")
    @classmethod
    def _check_resolution(cls, resolution: int) -> int:
        if resolution & (resolution - 1):
            raise ValueError(f"{resolution} is no power of two; take 8, 16, 32, 64, 128, 256, 512 or 1024")
        return resolution

    @pydantic.field_validator("labels", mode="before")
    @classmethod
    def _labels_are_words(cls, labels: Any) -> Any:
        # A recipe says `labels: [0, 1]`; data has them as "0" and "1".
        if not isinstance(labels, (list, tuple)):
            return labels
        return [str(label) if isinstance(label, (int, bool)) else label for label in labels]

    @pydantic.model_validator(mode="after")
    def _check_labels(self) -> FaceConfig:
        if self.labels is not None and (not self.labels or len(set(self.labels)) != len(self.labels)):
            raise ValueError("labels must name at least one class, each once; or null to take the data's")
        if self.labels is not None and not self.conditional:
            raise ValueError("labels are of use with conditional=true only; set it or leave them out")
        return self
