"""A training that a test runs in a process of its own."""

from __future__ import annotations

import os
import signal

import keras
from tasks import words
from variants import Bags

import kerasft

EPOCHS = 3
ROWS = 72
BATCH = 8


def train(folder: str, kill_at: int | None) -> None:
    """Trains with dropout, accumulation, EMA, cosine, shuffling and unfreezing; dies at step `kill_at`."""

    class Kill(keras.callbacks.Callback):
        done = 0

        def on_train_batch_end(self, batch, logs=None):
            Kill.done += 1
            if Kill.done == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

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
        unfreeze=kerasft.Gradual(every=1),
        checkpoint_every=2,
        callbacks=[Kill(), keras.callbacks.EarlyStopping(patience=9)],
        run_dir=folder,
        resume="auto",
        verbose="quiet",
    )
