"""What a user wants and names: intents and slots, by any models that tell them."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasft.errors import ConfigError
from kerasft_dialogue.manager.models import Model, texts
from kerasft_dialogue.manager.records import Slot

_SIGNATURE = "serving_default"
_SLOT_OUTPUTS = frozenset(("start", "end", "type", "score", "row_splits"))


class Intents:
    """Tells what a user wants.

    Args:
        model: One text in, `label` and `scores` out, as a classification of the task `text`.
        threshold: Probability below which no intent is told.

    Raises:
        ConfigError: The model answers something else.
    """

    def __init__(self, *, model: Model, threshold: float = 0.0) -> None:
        self._input = _only_input(model, "intents", {"label", "scores"})
        self._model = model
        self._threshold = threshold

    def __call__(self, text: str) -> tuple[str | None, float | None]:
        """Returns the intent, None if nothing is probable enough, and the probability of the first choice."""
        answer = self._model.ask(_SIGNATURE, {self._input: [text]})
        score = float(np.max(answer["scores"]))
        return (texts(answer["label"])[0] if score >= self._threshold else None), score


class Slots:
    """Finds the values that a user names.

    Args:
        model: One text in, `start`, `end`, `type` and `score` out, as entities of the task `text`.
        threshold: Probability below which a value is left out.

    Raises:
        ConfigError: The model answers something else.
    """

    def __init__(self, *, model: Model, threshold: float = 0.0) -> None:
        self._input = _only_input(model, "slots", _SLOT_OUTPUTS)
        self._model = model
        self._threshold = threshold

    def __call__(self, text: str) -> tuple[Slot, ...]:
        """Returns what was found, in the order of the text."""
        answer = self._model.ask(_SIGNATURE, {self._input: [text]})
        found = zip(
            texts(answer["type"]),
            answer["start"].tolist(),
            answer["end"].tolist(),
            answer["score"].tolist(),
            strict=True,
        )
        return tuple(
            Slot(name=name, value=text[start:end], start=start, end=end, score=score)
            for name, start, end, score in found
            if score >= self._threshold
        )


def _only_input(model: Model, what: str, outputs: Any) -> str:
    if _SIGNATURE not in model.inputs:
        raise ConfigError(f"{what}: {model.name} has no signature {_SIGNATURE!r}")
    missing = sorted(outputs - model.outputs[_SIGNATURE])
    inputs = sorted(model.inputs[_SIGNATURE])
    if missing or len(inputs) != 1:
        takes, gives = ", ".join(inputs), ", ".join(sorted(model.outputs[_SIGNATURE]))
        kind = "entities" if what == "slots" else "classification"
        raise ConfigError(
            f"{what}: {model.name} takes {takes} and answers {gives}; a model of texts with the outputs "
            f"{', '.join(sorted(outputs))} is needed, such as a run of the task text of kind {kind}"
        )
    return inputs[0]
