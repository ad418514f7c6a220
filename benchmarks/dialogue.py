"""What LoRA makes of SmolLM2 on task-oriented dialogues, and how fast it talks.

    taskset -c 0 python benchmarks/dialogue.py star DATA --run DIR [--conversations N]
        [--rehearse benchmarks/dialogue_questions.txt] [--out FILE.md]
    taskset -c 0 python benchmarks/dialogue.py export --folder DIR
    taskset -c 0 python benchmarks/dialogue.py speed --folder DIR --torch-python PYTHON [--out FILE.md]

DATA is a folder with train.jsonl.gz and test.jsonl.gz of STAR (github.com/RasaHQ/STAR): turns of a user, a
wizard, and of queries to a knowledge base, which are left out. `star` measures the untouched model, trains
adapters, and measures again: perplexity of the wizard's turns, how often the right one is found among ten,
and whether the model still answers a question of general knowledge. With `--rehearse` it also learns what the
untouched model itself says to the questions of a file, so that it does not forget it (Huang et al., 2024,
"Mitigating Catastrophic Forgetting in Large Language Models with Self-Synthesized Rehearsal"). `export`
writes the model as SavedModels, one for each way to keep weights; `speed` lets them and `generate` of
transformers, with the same weights, answer the same prompts in processes of their own that take turns on one
thread. Tokens are those of the replies, CPU seconds all that the process spends from the text of a prompt to
the text of its reply.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turns import Worker, cpu_seconds, race, report, rows

ROLES = {"wizard": "assistant", "query": "skip", "kb": "skip"}
QUESTION = "What is the capital of France?"
PROMPTS = (
    QUESTION,
    "Write a short story about a fox and a crow.",
    "How do I boil an egg?",
    "Explain why the sky is blue.",
)
TOKENS = 64


# ------------------------------------------------------------------------------------------------------- STAR


def conversations(path: Path, count: int | None) -> dict[str, list[Any]]:
    """Returns the first conversations of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found = [json.loads(line)["turns"] for line in file]
    return {"turns": found[:count]}


def star(options: argparse.Namespace) -> list[str]:
    """Measures, trains, measures again."""
    one_thread()
    import keras

    import kerasft

    task = kerasft.create(
        "dialogue",
        model="smollm2",
        roles=ROLES,
        system="",
        context=256,
        seed=0,
        precision=options.precision,
        lora=options.rank,
        evaluation={"retrieval": options.queries},
        training={
            "epochs": 1,
            "batch_tokens": options.batch_tokens,
            "learning_rate": options.learning_rate,
            "warmup": 0.05,
        },
    )
    test = conversations(options.data / "test.jsonl.gz", options.test)
    spent = [0.0, 0.0, 0]

    class Clock(keras.callbacks.Callback):
        """Counts the CPU time of training: the first step, which makes the graph, and the others."""

        def on_train_begin(self, logs: Any = None) -> None:
            spent[1] = cpu_seconds()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if spent[2] == 0:
                spent[0] = cpu_seconds() - spent[1]
            spent[2] += 1
            say(f"step {spent[2]}: {cpu_seconds() - spent[1]:.0f} CPU-s, loss {float(logs['loss']):.3f}")

        def on_train_end(self, logs: Any = None) -> None:
            spent[1] = cpu_seconds() - spent[1]

    def measured() -> dict[str, float]:
        values = task.evaluate(test, verbose="quiet", batch_size=4)
        say(json.dumps(values))
        return values

    def answer() -> str:
        reply = task.predict([QUESTION], signature="ask", verbose="quiet")["reply"][0].decode()
        say(repr(reply))
        return str(reply)

    task.build()
    before, said_before = measured(), answer()
    train, mixed = conversations(options.data / "train.jsonl.gz", options.conversations), ""
    if options.rehearse is not None:
        started = cpu_seconds()
        rehearsed = own_answers(task, options.rehearse.read_text(encoding="utf-8").splitlines())
        train["turns"] += rehearsed * options.repeats
        mixed = (
            f" {len(rehearsed)} questions with the model's own answers, written in "
            f"{cpu_seconds() - started:.0f} CPU-s, are {options.repeats} times among them."
        )
    task.finetune(
        train,
        run_dir=options.run,
        callbacks=[Clock()],
        verbose="quiet",
    )
    after, said_after = measured(), answer()
    ratio = before["perplexity"] / after["perplexity"]
    how = (
        f"{spent[2]} steps of {options.batch_tokens} tokens, LoRA of rank {options.rank}, {options.precision}"
    )
    took = f"{spent[1] / 60:.1f} CPU-minutes, {spent[0]:.0f} CPU-s of them for the first step"
    on = f"{options.test} conversations of the test part, R@1 on {options.queries} of them"
    return [
        f"{options.conversations} conversations, {how}, rate {options.learning_rate}: {took}.{mixed}",
        f"Measured on {on}.",
        "",
        "| | untouched | fine-tuned | goal |",
        "|---|---|---|---|",
        f"| perplexity of the wizard's turns | {before['perplexity']:.2f} | {after['perplexity']:.2f} "
        f"({ratio:.2f} times lower) | 3 times lower |",
        f"| R@1 of 10 | {before['r@1']:.3f} | {after['r@1']:.3f} | 0.45 |",
        f"| {QUESTION} | {said_before} | {said_after} | Paris |",
    ]


def own_answers(task: Any, questions: list[str]) -> list[list[dict[str, str]]]:
    """Returns conversations of a question and what the task says to it."""
    replies = task.predict(questions, signature="ask", verbose="quiet")["reply"]
    return [
        [{"speaker": "user", "text": question}, {"speaker": "wizard", "text": reply.decode()}]
        for question, reply in zip(questions, replies, strict=True)
    ]


# ------------------------------------------------------------------------------------------------------ Speed


def export(options: argparse.Namespace) -> list[str]:
    """Writes a SavedModel for each way to keep weights."""
    one_thread()
    import kerasft

    lines = []
    for kept in options.kept:
        config = {"model": "smollm2", "context": 256, "decoding": {"max_tokens": TOKENS}}
        task = kerasft.create("dialogue", **config, export={"weights": kept})
        task.build()
        began = cpu_seconds()
        task.export(options.folder / kept, verify=False)
        lines.append(f"{kept}: {cpu_seconds() - began:.0f} CPU-s")
    return lines


def run_kerasft(folder: Path) -> None:
    """Answers the prompts with an export in TensorFlow's C++ runtime, after the warm-up of a server."""
    from kerasft.export.layout import version_folder
    from kerasft.export.replay import NotFinite, replay_warmup
    from kerasft.export.runtime import Model

    model = Model(version_folder(folder), threads=1)
    replay_warmup(model, NotFinite())

    def reply(prompt: str) -> int:
        answer = model.call("ask", {"text": [prompt]})
        return int(answer["tokens"][0])

    talk(reply)


def run_torch(folder: Path, kept: str) -> None:
    """Answers the prompts with `generate`, greedily, from the file of weights that the exports come from."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    (file,) = folder.glob("*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
    dtype = getattr(torch, kept)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name, dtype=dtype).eval()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    said = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

    def reply(prompt: str) -> int:
        turns = f"<|im_start|>system\n{said}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n"
        text = f"{turns}<|im_start|>assistant\n"
        given = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            made = model.generate(
                **given, max_new_tokens=TOKENS, do_sample=False, eos_token_id=end, pad_token_id=end
            )
        new = made[0, given["input_ids"].shape[1] :]
        tokenizer.decode(new, skip_special_tokens=True)
        return len(new)

    talk(reply)


def talk(reply: Callable[[str], int]) -> None:
    """Answers all prompts whenever it is told to, and reports what that took."""
    firsts: list[float] = []
    while sys.stdin.readline().strip() == "go":
        tokens, began = 0, cpu_seconds()
        for prompt in PROMPTS:
            tokens += reply(prompt)
            if prompt == PROMPTS[0]:
                firsts.append(cpu_seconds() - began)
        report(
            examples=tokens,
            cpu=cpu_seconds() - began,
            first=firsts[0],
            steady=statistics.median(firsts[1:] or firsts),
            peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )


def speed(options: argparse.Namespace) -> list[str]:
    """Lets all contenders take turns and returns the table."""
    from kerasft.pretrained import resolve

    threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    this = [__file__, "contender", "--folder"]
    weights = str(resolve("smollm2"))
    workers = [
        Worker(f"kerasft, {kept}", [sys.executable, *this, str(options.folder / kept)], threads)
        for kept in options.kept
    ]
    workers += [
        Worker(f"transformers, {kept}", [options.torch_python, *this, weights, "--torch", kept], threads)
        for kept in options.torch
    ]
    speeds = race(workers, options.rounds, say)
    head = [
        "| contender | tokens per CPU-s (median; min to max) | the first kerasft against it |",
        "|---|---|---|",
    ]
    lines = [*head, *rows(speeds, workers[0].name), ""]
    lines += [
        "| contender | peak memory, MB | first call, CPU-s | later, CPU-s | ratio |",
        "|---|---|---|---|---|",
    ]
    for worker in workers:
        last = worker.turns[-1]
        first, steady = last["first"], last["steady"]
        lines.append(
            f"| {worker.name} | {last['peak']:.0f} | {first:.2f} | {steady:.2f} | {first / steady:.2f} |"
        )
    return lines


def one_thread() -> None:
    """Keeps TensorFlow on one thread."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    part = commands.add_parser("star")
    part.add_argument("data", type=Path)
    part.add_argument("--run", type=Path, required=True)
    part.add_argument("--conversations", type=int, default=600, help="training conversations")
    part.add_argument("--test", type=int, default=60, help="test conversations")
    part.add_argument("--queries", type=int, default=60, help="of them, for R@1")
    part.add_argument("--batch-tokens", type=int, default=512)
    part.add_argument("--learning-rate", type=float, default=1e-3)
    part.add_argument("--rank", type=int, default=8)
    part.add_argument("--rehearse", type=Path, help="file of questions, one a line")
    part.add_argument("--repeats", type=int, default=3, help="how often each is in the training data")
    part.add_argument("--precision", default="float32")
    part = commands.add_parser("export")
    part.add_argument("--folder", type=Path, required=True)
    part.add_argument("--kept", nargs="+", default=["float32", "bfloat16", "int8"])
    part = commands.add_parser("speed")
    part.add_argument("--folder", type=Path, required=True, help="what export wrote")
    part.add_argument("--torch-python", required=True)
    part.add_argument("--kept", nargs="+", default=["float32", "bfloat16", "int8"])
    part.add_argument("--torch", nargs="+", default=["float32", "bfloat16"])
    part.add_argument("--rounds", type=int, default=3)
    part = commands.add_parser("contender")
    part.add_argument("--folder", type=Path, required=True)
    part.add_argument("--torch")
    for name in ("star", "export", "speed"):
        commands.choices[name].add_argument("--out", type=Path, help="write the answer here, as Markdown")
    options = parser.parse_args()
    if options.command == "contender":
        if options.torch:
            run_torch(options.folder, options.torch)
        else:
            run_kerasft(options.folder)
        return
    made = "\n".join({"star": star, "export": export, "speed": speed}[options.command](options))
    print(made)
    if options.out:
        options.out.write_text(made + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
