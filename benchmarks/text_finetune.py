"""Fine-tuning MiniLM on CLINC150: the loop against `model.fit` and against transformers' `Trainer`.

    python benchmarks/text_finetune.py DATA --torch-python PYTHON [--out benchmarks/results/text_finetune.md]

DATA is a folder with train.jsonl (text, label). PYTHON is an interpreter that has torch, transformers,
accelerate and datasets (they are peers, not dependencies); without it that row is left out. Every contender
is a process of its own; they take turns, a few steps each, so that a slow minute of the machine hits all
alike. Figures are CPU seconds of the process (user and system, all threads), the first turn (tracing, warming
up) left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from turns import Turns, Worker, cpu_seconds, race, report, rows

BATCH = 32
LENGTH = 64
RATE = 1e-4
STEPS_A_TURN = 15


def read_rows(data: Path) -> tuple[list[str], list[str]]:
    found = [json.loads(line) for line in (data / "train.jsonl").open(encoding="utf-8")]
    return [row["text"] for row in found], [str(row["label"]) for row in found]


def text_task(labels: list[str]) -> Any:
    import kerasft

    names = sorted(set(labels))
    return kerasft.create("text", encoder="minilm", labels=names, seed=0, backbone={"max_length": LENGTH})


def keras_arrays(task: Any, texts: list[str], labels: list[str]) -> tuple[Any, Any]:
    import numpy as np
    import tensorflow as tf

    ids = task.preprocess({"text": tf.constant(texts)})["token_ids"].to_tensor(shape=[None, LENGTH]).numpy()
    names = sorted(set(labels))
    return ids, np.array([names.index(label) for label in labels])


def compiled_model(task: Any) -> Any:
    import keras

    model = task.build()
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=0.01, global_clipnorm=1.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, metrics=["accuracy"], jit_compile=False)
    return model


def run_loop(data: Path, turns: Turns) -> None:
    import keras

    class Step(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            turns.step(BATCH)

    texts, labels = read_rows(data)
    text_task(labels).finetune(
        {"text": texts, "label": labels},
        epochs=10,
        batch_size=BATCH,
        optimizer="adamw",
        learning_rate=RATE,
        schedule="constant",
        warmup=0,
        weight_decay=0.01,
        clip_norm=1.0,
        callbacks=[Step()],
        verbose="quiet",
    )


def run_fit(data: Path, turns: Turns) -> None:
    import keras

    class Step(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            turns.step(BATCH)

    texts, labels = read_rows(data)
    task = text_task(labels)
    model = compiled_model(task)
    ids, targets = keras_arrays(task, texts, labels)
    model.fit(ids, targets, batch_size=BATCH, epochs=10, verbose=0, callbacks=[Step()])


def run_transformers(data: Path, turns: Turns) -> None:
    import tempfile

    import torch
    import transformers
    from datasets import Dataset

    folder = os.environ["MINILM"]

    class Classifier(torch.nn.Module):
        """The same network: masked mean of the last layer, one dense layer."""

        def __init__(self, classes: int) -> None:
            super().__init__()
            self.bert = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
            self.head = torch.nn.Linear(self.bert.config.hidden_size, classes)

        def forward(self, input_ids: Any, attention_mask: Any, labels: Any) -> dict[str, Any]:
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            logits = self.head((hidden * mask).sum(1) / mask.sum(1))
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    class Step(transformers.TrainerCallback):
        def on_step_end(self, *arguments: Any, **values: Any) -> None:
            turns.step(BATCH)

    texts, labels = read_rows(data)
    names = sorted(set(labels))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(texts, truncation=True, max_length=LENGTH, return_token_type_ids=False)
    encoded["labels"] = [names.index(label) for label in labels]
    arguments = transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=BATCH,
        num_train_epochs=10,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.01,
        max_grad_norm=1.0,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
    )
    transformers.Trainer(
        model=Classifier(len(names)),
        args=arguments,
        train_dataset=Dataset.from_dict(dict(encoded)),
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
        callbacks=[Step()],
    ).train()


HEAD_EXAMPLES = 2000
HEAD_EPOCHS = 5


def head_loop(data: Path, turns: Turns) -> None:
    texts, labels = (part[:: len(part) // HEAD_EXAMPLES][:HEAD_EXAMPLES] for part in read_rows(data))
    task = text_task(labels)
    task.build()
    began = cpu_seconds()
    task.freeze("backbone")
    data_rows = {"text": list(texts), "label": list(labels)}
    task.finetune(data_rows, epochs=HEAD_EPOCHS, batch_size=BATCH, learning_rate=1e-3, verbose="quiet")
    report(examples=len(texts) * HEAD_EPOCHS, cpu=cpu_seconds() - began)


def head_fit(data: Path, turns: Turns) -> None:
    texts, labels = (part[:: len(part) // HEAD_EXAMPLES][:HEAD_EXAMPLES] for part in read_rows(data))
    task = text_task(labels)
    task.build()
    began = cpu_seconds()
    task.freeze("backbone")
    model = compiled_model(task)
    ids, targets = keras_arrays(task, list(texts), list(labels))
    model.fit(ids, targets, batch_size=BATCH, epochs=HEAD_EPOCHS, verbose=0)
    report(examples=len(texts) * HEAD_EPOCHS, cpu=cpu_seconds() - began)


CONTENDERS = {
    "kerasft": run_loop,
    "model.fit, padded to 64": run_fit,
    "transformers Trainer": run_transformers,
    "kerasft, head only": head_loop,
    "model.fit, head only": head_fit,
}


def worker(name: str, python: str, data: Path, minilm: Path) -> Worker:
    threads = {"OMP_NUM_THREADS": str(os.cpu_count())}
    command = [python, __file__, str(data), "--contender", name]
    return Worker(name, command, {**threads, "MINILM": str(minilm)})


def compare(data: Path, torch_python: str | None, rounds: int) -> list[str]:
    from kerasft.pretrained import resolve

    minilm = resolve("minilm")
    pythons = {"kerasft": sys.executable, "model.fit, padded to 64": sys.executable}
    if torch_python:
        pythons["transformers Trainer"] = torch_python
    workers = [worker(name, python, data, minilm) for name, python in pythons.items()]
    speeds = race(workers, rounds, lambda line: print(line, file=sys.stderr))
    lines = ["| contender | examples per CPU-s (median; min to max) | kerasft against it |", "|---|---|---|"]
    lines += rows(speeds, "kerasft")
    heads = {}
    for name in ("kerasft, head only", "model.fit, head only"):
        alone = worker(name, sys.executable, data, minilm)
        heads[name] = alone.turn()
        alone.stop()
    gain = heads["model.fit, head only"]["cpu"] / heads["kerasft, head only"]["cpu"]
    lines += [
        "",
        f"Head only, {HEAD_EXAMPLES} examples, {HEAD_EPOCHS} epochs; tokenizing, tracing and caching are",
    ]
    lines += ["included, building the model is not.", ""]
    lines += ["| contender | CPU-s | kerasft against it |", "|---|---|---|"]
    for name, figures in heads.items():
        ratio = "-" if name.startswith("kerasft") else f"{gain:.1f}x"
        lines.append(f"| {name} | {figures['cpu']:.1f} | {ratio} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--torch-python")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        turns = Turns(STEPS_A_TURN)
        turns.wait()
        CONTENDERS[options.contender](options.data, turns)
        return
    lines = compare(options.data, options.torch_python, options.rounds)
    print("\n".join(lines))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
