"""The loop gives the losses of `model.fit` for MiniLM, dropout included."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest

import kerasft
from kerasft.data import open_source
from kerasft.training.examples import Examples
from kerasft_text.data import snips

STEPS, BATCH = 20, 8
SAME_LENGTH = 8  # tokens: `fit` pads all data alike, and dropout draws a number for each position


class Losses(keras.callbacks.Callback):
    """Records the running loss after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.values.append(logs["loss"])


def rows() -> list[dict[str, str]]:
    lines = [json.loads(line) for line in snips().train.read_text(encoding="utf-8").splitlines()]
    long = [line for line in lines if len(line["text"].split()) >= SAME_LENGTH]
    return [{"text": line["text"], "label": line["label"]} for line in long[: STEPS * BATCH]]


def task() -> Any:
    labels = sorted({row["label"] for row in rows()})
    return kerasft.create(
        "text", encoder="minilm", labels=labels, backbone={"max_length": SAME_LENGTH}, seed=3
    )


@pytest.mark.slow
@pytest.mark.minilm
@pytest.mark.usefixtures("minilm")
def test_the_loop_gives_the_losses_of_fit() -> None:
    fitted = task()
    fitted.build()
    source = open_source(rows(), fields=fitted.fields())
    whole = Examples(task=fitted, source=source, targets=True).batch(np.arange(STEPS * BATCH))
    assert whole.features["token_ids"].shape == (STEPS * BATCH, SAME_LENGTH)
    assert whole.features["token_ids"].all()
    expected, actual = Losses(), Losses()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    fitted.model.compile(keras.optimizers.AdamW(1e-4), loss=loss)
    data = (whole.features["token_ids"], whole.targets["label"])
    fitted.model.fit(*data, batch_size=BATCH, shuffle=False, callbacks=[expected], verbose=0)
    task().finetune(
        rows(),
        epochs=1,
        batch_size=BATCH,
        shuffle=False,
        bucket=False,
        optimizer=keras.optimizers.AdamW(1e-4),
        callbacks=[actual],
        verbose="quiet",
    )
    assert len(actual.values) == STEPS
    np.testing.assert_allclose(actual.values, expected.values, atol=1e-5)
    assert expected.values[0] - expected.values[-1] > 0.05
