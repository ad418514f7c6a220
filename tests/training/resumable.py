"""A training that a test runs in a process of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import keras
from tasks import words
from variants import Bags

import kerasft

EPOCHS = 4
ROWS = 72
BATCH = 8


def train(folder: str, stop_at: int | None = None, number: int = signal.SIGKILL) -> None:
    """Trains with dropout, accumulation, EMA, cosine, shuffling and unfreezing, all together.

    Args:
        folder: The run folder; what `Interrupted` says is written beside it.
        stop_at: Step of this process after which it sends itself a signal.
        number: The signal.
    """

    class Stop(keras.callbacks.Callback):
        done = 0

        def on_train_batch_end(self, batch, logs=None):
            Stop.done += 1
            if Stop.done == stop_at:
                os.kill(os.getpid(), number)

    try:
        Bags(seed=5, dropout=0.2).finetune(
            words(ROWS),
            validation_data=words(16, seed=9),
            epochs=EPOCHS,
            batch_size=BATCH,
            optimizer="adamw",
            weight_decay=0.01,
            clip_norm=1.0,
            learning_rate=0.01,
            schedule="cosine",
            warmup=0.1,
            accumulate=2,
            ema=0.9,
            unfreeze=kerasft.Gradual(every=2),
            checkpoint_every=2,
            callbacks=[Stop(), keras.callbacks.EarlyStopping(patience=9)],
            run_dir=folder,
            resume="auto",
            verbose="quiet",
        )
    except kerasft.Interrupted as error:
        Path(f"{folder}.message").write_text(str(error))
