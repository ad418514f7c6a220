"""How well the translation task does on Multi30k from scratch, and how fast it writes.

    taskset -c 0 python benchmarks/translation.py quality DATA --run DIR [--target de] [--table FILE.md]
    taskset -c 0 python benchmarks/translation.py quality DATA --run MORE --schedule more --init-from DIR
    taskset -c 0 python benchmarks/translation.py test DATA --run DIR [--parts test_2016_flickr ...]
    taskset -c 0 python benchmarks/translation.py decoding DATA --run DIR [--table FILE.md]

DATA is a folder with train.tsv, val.tsv and test_2016_flickr.tsv, columns en, de, fr. `quality` trains (or
goes on with the run in DIR), chooses the length penalty on val.tsv (a beam of 5, sacrebleu's BLEU) and prints
BLEU, cased and detokenised, and chrF of the test part; the CPU time of an epoch is that of training and
validation. `test` does the same with a run that there is. `decoding` takes the run and compares greedy
decoding with kept keys and values against the same network that reads all that it has written anew for each
token (the text is read once by both).
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

import keras  # noqa: E402
import sacrebleu  # noqa: E402

import kerasft  # noqa: E402
from kerasft.generation import beam_search  # noqa: E402
from kerasft.recipe import updated  # noqa: E402

SHORT: dict[str, Any] = {
    "vocabulary": {"size": 4000},
    "transformer": {"encoder_layers": 3, "decoder_layers": 3, "width": 256, "hidden": 512, "dropout": 0.15},
    "evaluation": {"translate": False},
    "training": {
        "epochs": 8,
        "batch_tokens": 1536,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "warmup": 300,
    },
}

# Goes on from a run of the short one: more dropout, for by then the network fits the training data better.
MORE = updated(
    SHORT,
    {
        "transformer": {"dropout": 0.3},
        "training": {"epochs": 10, "learning_rate": 7e-4, "warmup": 100, "ema": 0.998},
    },
)
SCHEDULES = {"short": SHORT, "more": MORE}


class Clock(keras.callbacks.Callback):
    """Writes how much CPU time each epoch took; a run that goes on adds to what was written."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        # In a list, because a checkpoint keeps plain attributes of callbacks.
        self._path, self._since = path, [time.process_time()]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        now = time.process_time()
        with self._path.open("a", encoding="utf-8") as file:
            file.write(
                json.dumps({"epoch": epoch + 1, "seconds": now - self._since[0], **(logs or {})}) + "\n"
            )
        self._since[0] = now


def columns(path: Path, *names: str) -> list[list[str]]:
    """Returns columns of a file with tabs, quotes taken as they are."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [[row[name] for row in rows] for name in names]


def pairs(path: Path, target: str) -> dict[str, list[str]]:
    """Returns English texts and their translations."""
    return dict(zip(("en", target), columns(path, "en", target), strict=True))


def quality(options: argparse.Namespace) -> str:
    """Trains and tests."""
    config = updated(SCHEDULES[options.schedule], options.set)
    if options.init_from is not None:
        config = updated(config, {"vocabulary": {"run": str(options.init_from)}})
    task = kerasft.create("translation", **config, source="en", target=options.target)
    options.run.mkdir(parents=True, exist_ok=True)
    task.finetune(
        pairs(options.data / "train.tsv", options.target),
        validation_data=pairs(options.data / "val.tsv", options.target),
        run_dir=options.run,
        init_from=options.init_from,
        callbacks=[Clock(options.run / "clock.jsonl")],
        verbose="line",
    )
    return test(options)


def test(options: argparse.Namespace) -> str:
    """Chooses the length penalty on the validation part, then translates the test parts."""
    log = options.run / "clock.jsonl"
    epochs = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    minutes = sum(epoch["seconds"] for epoch in epochs) / 60
    lines = [f"# Multi30k en-{options.target} from scratch", ""]
    lines += [f"{len(epochs)} epochs in {minutes:.1f} CPU-minutes.", ""]
    lines += [
        "| epoch | CPU-s | loss | perplexity | val loss | val perplexity |",
        "|---|---|---|---|---|---|",
    ]
    columns_of_log = ("loss", "perplexity", "val_loss", "val_perplexity")
    for i, epoch in enumerate(epochs, 1):
        values = " | ".join(f"{epoch[name]:.3f}" for name in columns_of_log)
        lines.append(f"| {i} | {epoch['seconds']:.0f} | {values} |")
    lines += ["", "| part | search | length penalty | BLEU | brevity | chrF2 | CPU-s |"]
    lines.append("|---|---|---|---|---|---|---|")

    def measure(part: str, beam: int, penalty: float) -> float:
        task = kerasft.load(options.run, config={"decoding": {"length_penalty": penalty}})
        texts, references = columns(options.data / f"{part}.tsv", "en", options.target)
        started = time.process_time()
        data = {"text": texts, "beam": [beam] * len(texts)}
        found = task.predict(data, signature="search", verbose="quiet")["translation"]
        seconds = time.process_time() - started
        made = [text.decode() for text in found]
        bleu, chrf = sacrebleu.corpus_bleu(made, [references]), sacrebleu.corpus_chrf(made, [references])
        name, cost = (
            f"beam {beam}" if beam > 1 else "greedy",
            f"{bleu.bp:.3f} | {chrf.score:.1f} | {seconds:.0f}",
        )
        lines.append(f"| {part} | {name} | {penalty} | {bleu.score:.2f} | {cost} |")
        print(lines[-1], flush=True)
        return bleu.score

    penalty = max(options.penalties, key=lambda value: measure("val", 5, value))
    for part in options.parts:
        measure(part, 1, penalty)
        measure(part, 5, penalty)
    return "\n".join(lines)


def decoding(options: argparse.Namespace) -> str:
    """Compares decoding with and without kept keys and values."""
    task = kerasft.load(options.run, checkpoint="latest")
    (texts,) = columns(options.data / "test_2016_flickr.tsv", "en")
    ids = task.preprocess({"text": tf.constant(texts[: options.count])})["source_ids"].to_tensor()
    network, length = task.network, options.length

    def kept(source_ids: Any) -> Any:
        memory = network.remember(source_ids)
        state, shapes = network.start(memory, 1)
        return loop(source_ids, lambda *now: network.step(*now, memory), state, shapes)

    layer = network.model.get_layer
    blocks = [layer(f"decoder_{i}") for i in range(task.config.transformer.decoder_layers)]
    read = keras.Model(network.model.inputs[0], layer("encoder_norm").output)

    def anew(source_ids: Any) -> Any:
        memory, seen = read(source_ids), source_ids != 0

        def step(tokens: Any, position: Any, state: Any) -> Any:
            said = tf.concat([state[:, 0], tokens], axis=1)
            vectors = layer("target_positions")(layer("embedding")(said))
            for block in blocks:
                vectors = block(vectors, memory, seen)
            logits = layer("embedding")(layer("decoder_norm")(vectors[:, -1:]), reverse=True)
            return logits, said[:, None]

        state = tf.zeros([tf.shape(source_ids)[0], 1, 0], tf.int32)
        return loop(source_ids, step, state, tf.TensorShape([None, None, None]))

    def loop(source_ids: Any, step: Any, state: Any, shapes: Any) -> Any:
        rows = tf.fill([tf.shape(source_ids)[0]], 1)

        # Never an end, so that both write the same number of tokens.
        def endless(*now: Any) -> Any:
            logits, following = step(*now)
            return logits - 1e9 * tf.one_hot(3, tf.shape(logits)[-1]), following

        return beam_search(endless, state, shapes, beam=rows, limit=rows * length).tokens

    seconds, tokens = zip(*(timed(body, ids) for body in (kept, anew)), strict=True)
    same = float(tf.reduce_mean(tf.cast(tokens[0] == tokens[1], tf.float32)))
    lines = [
        "# Greedy decoding",
        "",
        f"{len(ids)} texts, {length} tokens each; {same:.2%} of the tokens are the same.",
        "",
        "| | CPU-s | tokens per CPU-s |",
        "|---|---|---|",
    ]
    for name, spent in zip(("keys and values kept", "all read anew"), seconds, strict=True):
        lines.append(f"| {name} | {spent:.2f} | {len(ids) * length / spent:.0f} |")
    lines.append(f"| ratio | {seconds[1] / seconds[0]:.1f} | |")
    return "\n".join(lines)


def timed(body: Callable[[Any], Any], ids: Any) -> tuple[float, Any]:
    """Returns the CPU seconds of a second run and what it gave."""
    function = tf.function(body, autograph=False)
    function(ids)
    started = time.process_time()
    made = function(ids)
    return time.process_time() - started, made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["quality", "test", "decoding"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--target", default="de", help="column of the translations")
    parser.add_argument("--schedule", choices=list(SCHEDULES), default="short")
    parser.add_argument("--set", type=json.loads, default={}, metavar="JSON", help="changes to the config")
    parser.add_argument("--init-from", type=Path, help="run to start from")
    parser.add_argument("--penalties", type=float, nargs="+", default=[1.0, 1.5, 2.0], help="to choose from")
    parser.add_argument("--parts", nargs="+", default=["test_2016_flickr"], help="files to test on")
    parser.add_argument("--count", type=int, default=64, help="texts to decode")
    parser.add_argument("--length", type=int, default=48, help="tokens to decode of each text")
    parser.add_argument("--table", type=Path, help="write the result here, as Markdown")
    options = parser.parse_args()
    made = {"quality": quality, "test": test, "decoding": decoding}[options.what](options)
    print(made)
    if options.table:
        options.table.write_text(made + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
