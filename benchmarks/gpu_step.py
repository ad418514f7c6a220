"""A training step of every task on an accelerator: the loop against the same step written by hand.

    python benchmarks/gpu_step.py [--tasks text face] [--jobs N] [--out FILE.md]

Each task trains with random weights on made-up data, in float32 and mixed_bfloat16, with XLA and without: by
`finetune`, and by a function with a gradient tape, a Keras optimizer and the task's metrics, given the same
batches ready on the device. Figures are milliseconds of wall time a step (median over blocks), not CPU
seconds as elsewhere, because a CPU has little to do here; nothing else should use the device. Both sides take
turns, a block of `--steps` steps each (of the face task whole cycles of its regularisers); a block begins
and ends when the device has nothing left to do. Compiling, and the first step of a block, do not count.
"Between steps" is what the loop spends from the end of a call to the beginning of the next: waiting for
input, and callbacks.

Each row of the table is measured in a process of its own. `--jobs N` lets N of them compile at once; then
they measure one after another, while the others wait. `--small` tries it all with tiny networks, which a CPU
can do.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from gpu_cases import CASES, CLIP, DECAY, RATE
from turns import Turns, Worker, report

CYCLE = 16
PRECISIONS = ("float32", "mixed_bfloat16")


def by_hand(task: Any, examples: Any, jit: bool) -> Callable[[int, Any], Any]:
    """Returns a step that calls the task's network, loss and metrics, and nothing else of kerasft."""
    import keras
    import tensorflow as tf

    from kerasft.training.sparse_adam import SparseAdam
    from kerasft.training.update import Batch

    if task.config.training.optimizer == "sparseadam":
        optimizer: Any = SparseAdam(task.config.training.learning_rate)
    else:
        optimizer = keras.optimizers.AdamW(RATE, weight_decay=DECAY, global_clipnorm=CLIP)
        optimizer.exclude_from_weight_decay(var_list=list(task.freezing.undecayed))
    variables, metrics, spec = task.model.trainable_variables, task.metrics(), examples.spec()
    optimizer.build(variables)

    @tf.function(input_signature=[spec.features, spec.targets], jit_compile=jit, autograph=False)
    def step(features: Any, targets: Any) -> Any:
        batch = Batch(features, targets)
        values = [variable.value for variable in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            loss, outputs = task.supervised(batch, training=True)
        gradients = tape.gradient(loss, values)
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        optimizer.apply(*map(list, zip(*pairs, strict=True)))
        task.update_metrics(metrics, batch, outputs, training=True)
        return loss

    return lambda number, batch: step(batch.features, batch.targets)


def face_by_hand(task: Any, jit: bool) -> Callable[[int, Any], Any]:
    from face_step import PATH_EVERY, step_by_hand

    config = task.config
    step = step_by_hand(task, config.resolution, batch=config.training.batch_size, jit_compile=jit)
    return lambda number, batch: step(
        batch.features["picture"], number % CYCLE == 0, number % PATH_EVERY == 0
    )


def prepare(made: Callable[[], Any], data: Any, jit: bool) -> Callable[[], float]:
    """Returns what runs a block of steps by hand, and gives the milliseconds of one."""
    import tensorflow as tf

    from kerasft.data import open_source
    from kerasft.training.device import LENGTH_MULTIPLE
    from kerasft.training.examples import Examples
    from kerasft.training.grouping import training_batches
    from kerasft.training.progress import Reporter

    task = made()
    source = open_source(task.open_data(data), fields=task.fields())
    task.adapt(source)
    task.build(pretrained=False)
    rows = task.arranged(source, training=True, reporter=Reporter(verbose="quiet"))
    examples = Examples(task=task, source=rows, targets=True)
    step = face_by_hand(task, jit) if task.name == "face" else by_hand(task, examples, jit)
    chosen = training_batches(examples, task.config.training, seed=0, epoch=0)
    multiple = LENGTH_MULTIPLE if jit else 1
    with tf.device(tf.config.list_logical_devices()[-1].name):
        batches = [
            tf.nest.map_structure(
                lambda array: None if array is None else tf.identity(array),
                examples.batch(numbers, multiple=multiple),
            )
            for numbers in chosen
        ]

    def block() -> float:
        began = 0.0
        for number, batch in enumerate(batches):
            loss = step(number, batch)
            if number == 0:
                float(loss)
                began = time.perf_counter()
        float(loss)
        return 1e3 * (time.perf_counter() - began) / (len(batches) - 1)

    return block


def contend(options: argparse.Namespace) -> None:
    """Measures one row, in a process of its own."""
    import keras
    import tensorflow as tf

    import kerasft

    name, make_case = CASES[options.contender]
    steps = -(-options.steps // CYCLE) * CYCLE if name == "face" else options.steps
    case, turns, jit = make_case(steps + 1, options.small), Turns(1), options.jit[0] == "on"

    def made(**training: Any) -> Any:
        training = {**case.training, **training}
        return kerasft.create(name, precision=options.precision[0], training=training, **case.config)

    class Blocks(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            self.loop, self.between, self.hand = [], [], []
            # As a method it would let the loop read metrics after every step, which takes time.
            self.on_train_batch_end = self.end_step

        def end_step(self, batch: int, logs: Any = None) -> None:
            if batch == 0:
                tf.test.experimental.sync_devices()
            self.ends.append(time.perf_counter())

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.ends, self.begins = [], []

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.begins.append(time.perf_counter())

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 0:
                block()
                report(ready=True)
                turns.wait()
                return
            tf.test.experimental.sync_devices()
            count = len(self.ends) - 1
            self.loop.append(1e3 * (time.perf_counter() - self.ends[0]) / count)
            gaps = [begin - end for end, begin in zip(self.ends[:-1], self.begins[1:], strict=True)]
            self.between.append(1e3 * sum(gaps) / count)
            self.hand.append(block())

    try:
        # Before the loop begins: building a task seeds TensorFlow, which then prepares functions anew.
        block, blocks = prepare(made, case.data, jit), Blocks()
        task = made(epochs=1 + options.rounds, jit_compile=jit)
        task.finetune(case.data, callbacks=[blocks], verbose="quiet")
        report(loop=blocks.loop, between=blocks.between, hand=blocks.hand)
    except Exception as error:
        traceback.print_exc()
        first = str(error).strip().partition("\n")[0]
        report(error=f"{type(error).__name__}: {first}"[:200])
    turns.wait()


def row(title: str, precision: str, jit: str, figures: dict[str, Any]) -> str:
    head = f"| {title} | {precision} | {jit} |"
    if "error" in figures:
        return f"{head} {figures['error'].replace('|', '/')} | | | |"
    ratio = statistics.median(a / b for a, b in zip(figures["loop"], figures["hand"], strict=True))
    loop, hand, between = (statistics.median(figures[name]) for name in ("loop", "hand", "between"))
    return f"{head} {loop:.2f} | {hand:.2f} | {ratio:.2f} | {between:.2f} |"


def measured(worker: Worker, ready: Future[dict[str, Any]]) -> dict[str, Any]:
    """Lets a worker that has compiled measure; the others wait."""
    try:
        first = ready.result()
        return first if "error" in first else worker.turn()
    except (RuntimeError, OSError) as error:
        return {"error": str(error)}
    finally:
        worker.stop()


def compare(options: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    """Yields the rows of the table, and whether each was measured."""
    titles = [title for title, (name, _) in CASES.items() if name in options.tasks]
    wanted = list(itertools.product(titles, options.precision, options.jit))
    shared = ["--steps", str(options.steps), "--rounds", str(options.rounds)]
    shared += ["--small"] if options.small else []
    for start in range(0, len(wanted), options.jobs):
        some = wanted[start : start + options.jobs]
        workers = [
            Worker(
                title,
                [
                    sys.executable,
                    __file__,
                    *shared,
                    "--contender",
                    title,
                    "--precision",
                    precision,
                    "--jit",
                    jit,
                ],
                {"TF_FORCE_GPU_ALLOW_GROWTH": "true"},
            )
            for title, precision, jit in some
        ]
        with ThreadPoolExecutor(len(workers)) as pool:
            ready = [pool.submit(worker.read) for worker in workers]
            late = wait(ready, timeout=options.patience).not_done
            for worker, future in zip(workers, ready, strict=True):
                if future in late:  # It would disturb the others.
                    worker.kill()
                    worker.stop()
            for (title, precision, jit), worker, future in zip(some, workers, ready, strict=True):
                too_late = {"error": "not compiled in time; see --patience"}
                figures = too_late if future in late else measured(worker, future)
                yield row(title, precision, jit, figures), "error" not in figures


def main() -> None:
    names = list(dict.fromkeys(name for name, _ in CASES.values()))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", nargs="+", choices=names, default=names)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--jit", nargs="+", choices=("off", "on"), default=("off", "on"))
    parser.add_argument("--steps", type=int, default=16, help="steps in a block")
    parser.add_argument("--rounds", type=int, default=3, help="blocks of each side")
    parser.add_argument("--jobs", type=int, default=1, help="processes that compile at once")
    parser.add_argument("--patience", type=float, default=300, help="seconds that compiling may take")
    parser.add_argument("--small", action="store_true", help="tiny networks")
    parser.add_argument("--out", type=Path, help="write the table here too, row by row")
    parser.add_argument("--contender", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        contend(options)
        return
    lines, failed = (
        ["| task | precision | XLA | kerasft, ms a step | by hand | ratio | between steps |"],
        False,
    )
    lines.append("|---|---|---|---|---|---|---|")
    print("\n".join(lines), flush=True)
    for line, good in compare(options):
        print(line, flush=True)
        lines.append(line)
        failed = failed or not good
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sys.exit(failed)


if __name__ == "__main__":
    main()
