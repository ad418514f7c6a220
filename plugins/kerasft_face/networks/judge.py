"""What all discriminators have: augmentation of what they judge."""

from __future__ import annotations

from typing import Any

import keras

from kerasft_face.augment import Adaptive, Augment, Mirror
from kerasft_face.networks.plan import Plan


class Judge(keras.Model):
    """A discriminator without layers of its own.

    Args:
        plan: Sizes of the blocks, a `Plan` or its config.
        augment: Kinds of augmentations, see `Augment`; empty for none.
        adaptive: Arguments of `Adaptive`.
        mirror: Whether mirrored pictures are real as well.
        **kwargs: Of `keras.Model`.

    Attributes:
        augment: What training does to pictures first, or None; here, so that its state is state of the model.
        adaptive: Keeps the probability of it, or None.
        mirror: Mirrors real pictures, or None.
    """

    def __init__(
        self,
        plan: Plan | dict[str, Any],
        *,
        augment: str = "",
        adaptive: dict[str, Any] | None = None,
        mirror: bool = False,
        **kwargs: Any,
    ) -> None:
        precise = keras.config.dtype_policy().variable_dtype
        super().__init__(**{"dtype": precise, **kwargs})
        self.plan = plan if isinstance(plan, Plan) else Plan(**plan)
        self._settings: dict[str, Any] = {"augment": augment, "adaptive": adaptive, "mirror": mirror}
        self.augment = Augment(augment, dtype=precise, name="augment") if augment else None
        self.adaptive = Adaptive(**(adaptive or {}), dtype=precise, name="adaptive") if augment else None
        if self.adaptive is not None:
            self.adaptive.build((None,))
        self.mirror = Mirror(dtype=precise, name="mirror") if mirror else None

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "plan": self.plan.get_config(), **self._settings}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Judge:
        return cls(**config)
