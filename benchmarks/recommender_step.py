"""A NeuMF training step: the recommender against `model.fit` and torch; and a step of a large table.

    taskset -c 0 python benchmarks/recommender_step.py [--torch-python PYTHON] [--out FILE.md]

PYTHON is an interpreter that has torch; without it those rows are left out. All train the same NeuMF (8
factors, layers of 64, 32, 16 and 8) by binary cross-entropy on made-up choices of the size of MovieLens 1M,
with 4 other items for each choice. kerasft draws these anew in every step; the others are given them, drawn
before. An example is a pair of user and item, so a choice makes five; a step has 10,240.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from turns import Turns, Worker, race, rows

USERS, ITEMS, CHOICES = 6040, 3706, 400_000
BATCH, NEGATIVES, CALL = 2048, 4, 16
FACTORS, LAYERS, RATE = 8, (64, 32, 16, 8), 1e-3
STEPS = 64
TABLE, WIDTH = 1_000_000, 64


def choices() -> tuple[np.ndarray, np.ndarray]:
    """Users and items `[choices]`; all occur, the most popular item some 40 times as often as the last."""
    random = np.random.default_rng(0)
    fame = 1.0 / (np.arange(ITEMS) + 100.0)
    return random.integers(0, USERS, CHOICES), random.choice(ITEMS, CHOICES, p=fame / fame.sum())


def drawn(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Items `[choices, 5]`: the chosen one first."""
    others = np.random.default_rng(1).integers(0, ITEMS, (len(users), NEGATIVES))
    return np.concatenate([items[:, None], others], 1).astype(np.int32)


def run_kerasft(turns: Turns) -> None:
    import keras

    import kerasft

    class Count(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            turns.wait()

        # A callback that has on_train_batch_end makes the loop read its metrics after each call.
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            for _ in range(CALL):
                turns.step(BATCH * (1 + NEGATIVES))

    users, items = choices()
    whole = CHOICES // (BATCH * CALL) * BATCH * CALL
    task = kerasft.create(
        "recommender",
        scorer="neumf",
        objective="bce",
        negatives=NEGATIVES,
        penalty=0.0,
        spare=0.0,
        network={"factors": FACTORS, "layers": LAYERS, "deviation": 0.01},
    )
    task.finetune(
        {"user_id": users[:whole], "item_id": items[:whole]},
        epochs=1000,
        batch_size=BATCH,
        learning_rate=RATE,
        steps_per_call=CALL,
        jit_compile=True,
        callbacks=[Count()],
        verbose="quiet",
    )


def run_fit(turns: Turns) -> None:
    import keras

    class Count(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            turns.wait()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            turns.step(BATCH * (1 + NEGATIVES))

    layers = keras.layers
    user, item = keras.Input((), dtype="int32"), keras.Input((), dtype="int32")
    half = LAYERS[0] // 2
    product = layers.Multiply()(
        [layers.Embedding(USERS, FACTORS)(user), layers.Embedding(ITEMS, FACTORS)(item)]
    )
    hidden = layers.Concatenate()([layers.Embedding(USERS, half)(user), layers.Embedding(ITEMS, half)(item)])
    for width in LAYERS[1:]:
        hidden = layers.Dense(width, activation="relu")(hidden)
    output = layers.Dense(1)(layers.Concatenate()([product, hidden]))
    model = keras.Model([user, item], output)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE), loss)
    users, items = choices()
    pairs = drawn(users, items)
    flat = [np.repeat(users, 1 + NEGATIVES), pairs.reshape(-1)]
    labels = np.tile(np.eye(1 + NEGATIVES, dtype=np.float32)[0], len(users))
    model.fit(flat, labels, batch_size=BATCH * (1 + NEGATIVES), epochs=1000, verbose=0, callbacks=[Count()])


def run_torch(turns: Turns, *, every: bool = False) -> None:
    """A step in torch; `every`: the first layer of all items comes before the look-up, as in kerasft."""
    import torch
    from torch import nn

    torch.set_num_threads(1)

    class NeuMF(nn.Module):
        """In the layout of kerasft: a user once, its items side by side."""

        def __init__(self) -> None:
            super().__init__()
            width = FACTORS + LAYERS[0] // 2
            self.users, self.items = nn.Embedding(USERS, width), nn.Embedding(ITEMS, width)
            self.of_user = nn.Linear(LAYERS[0] // 2, LAYERS[1], bias=False)
            self.of_item = nn.Linear(LAYERS[0] // 2, LAYERS[1])
            hidden: list[nn.Module] = []
            for before, width in itertools.pairwise(LAYERS[1:]):
                hidden += [nn.Linear(before, width), nn.ReLU()]
            self.hidden = nn.Sequential(*hidden)
            self.head = nn.Linear(FACTORS + LAYERS[-1], 1)

        def forward(self, user: Any, item: Any) -> Any:
            p = self.users(user)
            factors, of_item = self.parts(item)
            first = torch.relu(self.of_user(p[:, FACTORS:])[:, None] + of_item)
            return self.head(torch.cat([p[:, None, :FACTORS] * factors, self.hidden(first)], -1))[..., 0]

        def parts(self, item: Any) -> Any:
            if not every:
                q = self.items(item)
                return q[..., :FACTORS], self.of_item(q[..., FACTORS:])
            factors, rest = self.items.weight.split([FACTORS, LAYERS[0] // 2], 1)
            table = torch.cat([factors, self.of_item(rest)], 1)
            return nn.functional.embedding(item, table).split([FACTORS, LAYERS[1]], -1)

    model = NeuMF()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    loss = nn.BCEWithLogitsLoss()
    labels = torch.zeros(BATCH, 1 + NEGATIVES)
    labels[:, 0] = 1
    users, items = choices()
    user, pairs = torch.from_numpy(users.astype(np.int32)), torch.from_numpy(drawn(users, items))
    turns.wait()
    while True:
        for start in range(0, CHOICES - BATCH, BATCH):
            batch = slice(start, start + BATCH)
            optimizer.zero_grad(set_to_none=True)
            loss(model(user[batch], pairs[batch]), labels).backward()
            optimizer.step()
            turns.step(BATCH * (1 + NEGATIVES))


def run_table(turns: Turns, optimizer: Any, *, embedding: bool) -> None:
    """Steps of a table of a million rows, of which a batch reads 2,048."""
    import keras
    import tensorflow as tf

    from kerasft_recommender.layers import Table

    table = keras.layers.Embedding(TABLE, WIDTH) if embedding else Table(TABLE, WIDTH, deviation=0.1)
    table(tf.zeros((1,), tf.int32))
    (weight,) = table.weights
    optimizer.build([weight])

    @tf.function(autograph=False)
    def step(ids: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(table(ids) - 1.0))
        optimizer.apply([tape.gradient(loss, weight.value)], [weight])

    random = np.random.default_rng(0)
    turns.wait()
    while True:
        step(tf.constant(random.integers(0, TABLE, BATCH), tf.int32))
        turns.step(1)


def run_sparse(turns: Turns) -> None:
    from kerasft.training.sparse_adam import SparseAdam

    run_table(turns, SparseAdam(RATE), embedding=False)


def run_keras_adam(turns: Turns) -> None:
    import keras

    run_table(turns, keras.optimizers.Adam(RATE), embedding=True)


def run_torch_every(turns: Turns) -> None:
    run_torch(turns, every=True)


OURS, FIT = "kerasft", "model.fit, arrays"
TORCH, EVERY = "torch, fused Adam, same layout", "the same torch, first layer of all items before the look-up"
SPARSE, DENSE = "kerasft: Table and SparseAdam", "keras: Embedding and Adam"
CONTENDERS: dict[str, Callable[[Turns], None]] = {
    OURS: run_kerasft,
    FIT: run_fit,
    TORCH: run_torch,
    EVERY: run_torch_every,
    SPARSE: run_sparse,
    DENSE: run_keras_adam,
}
TURNS = {SPARSE: 50, DENSE: 5}


def compare(names: list[str], torch_python: str | None, rounds: int) -> dict[str, list[float]]:
    workers = [
        Worker(
            name,
            [
                torch_python if name in (TORCH, EVERY) and torch_python else sys.executable,
                __file__,
                "--contender",
                name,
            ],
            {"CUDA_VISIBLE_DEVICES": "-1"},
        )
        for name in names
        if name not in (TORCH, EVERY) or torch_python
    ]
    return race(workers, rounds, lambda line: print(line, file=sys.stderr))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--torch-python", help="an interpreter that has torch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the tables here")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        CONTENDERS[options.contender](Turns(TURNS.get(options.contender, STEPS)))
        return
    lines = ["| NeuMF | examples per CPU-s (median; min to max) | kerasft against it |", "|---|---|---|"]
    lines += rows(compare([OURS, FIT, TORCH, EVERY], options.torch_python, options.rounds), OURS)
    lines += ["", f"| table of {TABLE:,} x {WIDTH}, batch {BATCH} | CPU-ms a step (median) |", "|---|---|"]
    for name, speeds in compare([SPARSE, DENSE], None, options.rounds).items():
        lines.append(f"| {name} | {1e3 / float(np.median(speeds)):.1f} |")
    text = "\n".join([*lines, ""])
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
