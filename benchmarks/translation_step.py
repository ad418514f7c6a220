"""A training step of the translation task against torch's `nn.Transformer` of the same size.

    taskset -c 0 python benchmarks/translation_step.py DATA --torch-python PYTHON [--out FILE.md]

DATA is a folder with train.tsv (columns en, de), PYTHON an interpreter that has torch. Both train pre-norm
networks of equally many weights, tied embeddings and logits, on the same batches in the same order, with the
same dropout, label smoothing, clipping and Adam, in float32 on one thread. Each is a process of its own; they
take turns of some batches, so that a slow minute of the machine hits both. Tokens are those of text and
translation without padding, CPU seconds all that the process spends, reading of batches included; the first
turn (tracing, warming up) is left out.
"""

from __future__ import annotations

import argparse
import csv
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from turns import Turns, Worker, race, rows

TOKENS = 1536
WIDTH, HIDDEN, LAYERS, HEADS = 256, 512, 3, 4
DROPOUT, SMOOTHING, RATE, CLIP = 0.2, 0.1, 1e-3, 1.0
STEPS_A_TURN = 10


def pairs(data: Path, count: int) -> dict[str, list[str]]:
    """Returns the first pairs of the training data."""
    with (data / "train.tsv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:count]
    return {name: [row[name] for row in found] for name in ("en", "de")}


def translation() -> Any:
    import kerasft

    return kerasft.create(
        "translation",
        source="en",
        target="de",
        seed=0,
        vocabulary={"size": 4000},
        label_smoothing=SMOOTHING,
        transformer={
            "encoder_layers": LAYERS,
            "decoder_layers": LAYERS,
            "width": WIDTH,
            "hidden": HIDDEN,
            "heads": HEADS,
            "dropout": DROPOUT,
        },
    )


def prepare(data: Path, count: int, file: Path) -> None:
    """Writes the batches of the first epoch, for the other program and to count tokens by."""
    import tensorflow as tf

    from kerasft.data import epoch_batches, open_source

    task, rows = translation(), pairs(data, count)
    task.adapt(open_source(rows, fields=task.fields()))
    source = task.preprocess({"text": tf.constant(rows["en"])})["source_ids"]
    target = task.targets({"translation": tf.constant(rows["de"])})["target_ids"]
    lengths = np.maximum(source.row_lengths().numpy(), target.row_lengths().numpy())
    batches = epoch_batches(len(lengths), 32, seed=0, epoch=0, lengths=lengths, tokens=TOKENS)
    arrays = {}
    for i, indices in enumerate(batches):
        arrays[f"source_{i}"] = tf.gather(source, indices).to_tensor().numpy()
        arrays[f"target_{i}"] = tf.gather(target, indices).to_tensor().numpy()
    sizes = {"vocabulary": task.units[0].size, "weights": task.build().count_params()}
    np.savez(file, count=len(batches), **sizes, **arrays)


def token_counts(file: Path) -> list[int]:
    """Returns how many tokens each batch has."""
    with np.load(file) as kept:
        return [
            int((kept[f"source_{i}"] != 0).sum() + (kept[f"target_{i}"] != 0).sum())
            for i in range(int(kept["count"]))
        ]


def run_kerasft(data: Path, count: int, file: Path, turns: Turns) -> None:
    import keras

    tokens = token_counts(file)

    class Step(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            turns.step(tokens[batch])

    translation().finetune(
        pairs(data, count),
        epochs=20,
        batch_tokens=TOKENS,
        learning_rate=RATE,
        schedule="constant",
        warmup=0,
        clip_norm=CLIP,
        callbacks=[Step()],
        verbose="quiet",
    )


def run_torch(file: Path, turns: Turns) -> None:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)

    class Network(torch.nn.Module):
        def __init__(self, vocabulary: int) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(vocabulary, WIDTH)
            torch.nn.init.normal_(self.embedding.weight, std=WIDTH**-0.5)
            self.body = torch.nn.Transformer(
                WIDTH, HEADS, LAYERS, LAYERS, HIDDEN, DROPOUT, norm_first=True, batch_first=True
            )
            for module in self.body.modules():
                if isinstance(module, torch.nn.MultiheadAttention):
                    module.dropout = 0.0  # as kerasft's default
            self.dropout = torch.nn.Dropout(DROPOUT)
            rates = torch.exp(torch.arange(WIDTH // 2) * (-math.log(1e4) / (WIDTH // 2 - 1)))
            angles = torch.arange(256)[:, None] * rates
            self.register_buffer("places", torch.cat([angles.sin(), angles.cos()], dim=1))

        def vectors(self, ids: Any) -> Any:
            return self.dropout(self.embedding(ids) * WIDTH**0.5 + self.places[: ids.shape[1]])

        def forward(self, source: Any, written: Any) -> Any:
            hidden, length = source == 0, written.shape[1]
            made = self.body(
                self.vectors(source),
                self.vectors(written),
                tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(length),
                src_key_padding_mask=hidden,
                memory_key_padding_mask=hidden,
                tgt_is_causal=True,
            )
            return made @ self.embedding.weight.T

    with np.load(file) as kept:
        vocabulary, weights = int(kept["vocabulary"]), int(kept["weights"])
        batches = [
            tuple(torch.from_numpy(kept[f"{part}_{i}"].astype(np.int64)) for part in ("source", "target"))
            for i in range(int(kept["count"]))
        ]
    network = Network(vocabulary)
    found = sum(weight.numel() for weight in network.parameters())
    if found != weights:
        raise SystemExit(f"the networks differ: {found} weights instead of {weights}")
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    loss_of = torch.nn.CrossEntropyLoss(ignore_index=0, label_smoothing=SMOOTHING)
    turns.wait()
    while True:
        for source, target in batches:
            written = torch.nn.functional.pad(target[:, :-1], (1, 0), value=2)
            logits = network(source, written)
            loss = loss_of(logits.reshape(-1, vocabulary), target.reshape(-1))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            turns.step(int((source != 0).sum() + (target != 0).sum()))


def compare(options: argparse.Namespace) -> list[str]:
    """Lets both take turns and returns the table."""
    with tempfile.TemporaryDirectory() as folder:
        shared = [str(options.data), "--torch-python", options.torch_python, "--count", str(options.count)]
        shared += ["--batches", str(Path(folder) / "batches.npz"), "--contender"]
        subprocess.run([sys.executable, __file__, *shared, "prepare"], check=True)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
        programs = {"kerasft": sys.executable, "torch": options.torch_python}
        workers = [
            Worker(name, [python, __file__, *shared, name], threads) for name, python in programs.items()
        ]
        speeds = race(workers, options.rounds, lambda line: print(line, file=sys.stderr))
    head = ["| contender | tokens per CPU-s (median; min to max) | kerasft against it |", "|---|---|---|"]
    return [*head, *rows(speeds, "kerasft")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--torch-python", required=True)
    parser.add_argument("--count", type=int, default=4000, help="training pairs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the table here, as Markdown")
    parser.add_argument("--contender", choices=["prepare", "kerasft", "torch"], help=argparse.SUPPRESS)
    parser.add_argument("--batches", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    turns = Turns(STEPS_A_TURN)
    if options.contender == "prepare":
        prepare(options.data, options.count, options.batches)
    elif options.contender == "kerasft":
        turns.wait()
        run_kerasft(options.data, options.count, options.batches, turns)
    elif options.contender == "torch":
        run_torch(options.batches, turns)
    else:
        made = "\n".join(compare(options))
        print(made)
        if options.out:
            options.out.write_text(made + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
