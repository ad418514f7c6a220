"""The verb finetune: from data and a config to a running loop, new or resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from kerasft.config import parse
from kerasft.data import Field, Source, describe_balance, open_source, split
from kerasft.errors import ConfigError, TrainingError
from kerasft.reports import Notes, write_run_report
from kerasft.training import device
from kerasft.training.adapters import LoRA
from kerasft.training.examples import Examples
from kerasft.training.loop import Loop
from kerasft.training.optimizers import make_optimizer
from kerasft.training.progress import Reporter
from kerasft.training.run import Run
from kerasft.training.schedules import Unfreeze, parse_unfreeze
from kerasft.training.step import Stepper

if TYPE_CHECKING:
    from kerasft.task import Task

# These may differ between the two halves of a resumed run: they do not change what a step computes.
_FREE_TO_CHANGE = ("epochs", "checkpoint_every", "cache_memory_mb", "feature_cache", "monitor")
_WEIGHT = "sample_weight"


def finetune(
    task: Task,
    data: Any,
    *,
    validation_data: Any,
    run_dir: str | Path | None,
    resume: str,
    freeze: Any,
    unfreeze: Unfreeze | str | None,
    callbacks: Sequence[keras.callbacks.Callback],
    columns: Mapping[str, str] | None,
    sample_weight: str | None,
    on_error: Literal["raise", "skip"],
    reporter: Reporter,
) -> keras.callbacks.History:
    """Trains `task`; see `Task.finetune` for the arguments."""
    config = task.config.training
    unfreeze = parse_unfreeze(unfreeze)
    run = Run(run_dir) if run_dir is not None else None
    resuming = _decide_resume(run, resume)
    manifest = run.read() if run is not None and resuming else None
    if manifest is not None and run is not None:
        _adopt_config(task, manifest, run)
        restore_task(task, run, manifest)
        config = task.config.training
    fields = task.fields()
    if sample_weight is not None:
        fields += (Field(name=_WEIGHT, kind="number", target=True),)
        columns = {**(columns or {}), _WEIGHT: sample_weight}
    source = open_source(data, fields=fields, columns=columns, on_error=on_error)
    _say_skipped(source, reporter)
    if not task.models:
        task.adapt(source)
    label = next((field.name for field in fields if field.kind == "label"), None)
    source, validation = _hold_out(
        task, source, validation_data, label=label, columns=columns, on_error=on_error
    )
    _say_balance(source, label, reporter)
    if manifest is not None and manifest["data"] != source.fingerprint():
        raise TrainingError(
            f"{run_dir} was trained on other data: give the same data to go on, or another run_dir to start "
            "anew."
        )
    task.build()
    if freeze is not None and manifest is None:
        task.freeze(freeze)
    with reporter.bar("encoding", total=len(source)) as bar:
        examples = Examples(
            task=task,
            source=source,
            targets=True,
            weight=_row_weights(config.class_weight, source, label, sample_weight),
            memory_limit=config.cache_memory_mb << 20,
            progress=bar.update,
        )
    held_out = None
    if validation is not None:
        held_out = Examples(
            task=task, source=validation, targets=True, memory_limit=config.cache_memory_mb << 20
        )
    here = device.current()
    precision, jit_compile = here.precision(task.config.precision), here.jit_compile(config.jit_compile)
    reporter.say(f"device {here.name}, precision {precision}, jit {'on' if jit_compile else 'off'}")
    metrics = task.metrics()
    stepper = _make_stepper(task, examples, metrics, precision=precision, jit_compile=jit_compile)
    task.run = run
    if run is not None:
        callbacks = [*callbacks, keras.callbacks.TensorBoard(log_dir=str(run.tensorboard), write_graph=False)]
    loop = Loop(
        task=task,
        stepper=stepper,
        metrics=metrics,
        examples=examples,
        validation=held_out,
        config=config,
        unfreeze=unfreeze,
        run=run,
        callbacks=callbacks,
        jit_compile=jit_compile,
        reporter=reporter,
    )
    if run is not None:
        if manifest is None:
            task.save_assets(_made(run.assets))
            run.write(_manifest(task, source, unfreeze))
            if label is not None:
                Notes(run).add_balance(describe_balance(source, label))
        else:
            run.write({**manifest, "config": task.dump_config()})
            checkpoint = run.checkpoints.latest()
            if checkpoint is not None:
                loop.state.restore(checkpoint)
                reporter.say(
                    f"resuming {run.folder} at epoch {loop.state.epoch + 1}, batch {loop.state.batch + 1}"
                )
    with Notes(run).session(device=here.name, precision=precision):
        history = loop.train(resumed=loop.state.step > 0)
    task.last_metrics = {name: values[-1] for name, values in history.history.items() if values}
    if run is not None:
        reporter.say(f"report: {write_run_report(task, run)}")
    return history


def restore_task(task: Task, run: Run, manifest: Mapping[str, Any]) -> None:
    """Builds a task as a run left it, up to the weights."""
    if not task.models:
        task._restoring = True
        task.load_assets(run.assets)
        task.build()
    if manifest.get("lora"):
        task.freeze(LoRA(**manifest["lora"]))
    task.freezing.restore(manifest["frozen"])


def _decide_resume(run: Run | None, resume: str) -> bool:
    if resume not in ("auto", "must", "never"):
        raise ConfigError(f"resume: {resume!r} is none of 'auto', 'must', 'never'.")
    exists = run is not None and run.exists()
    if resume == "must" and not exists:
        where = f"{run.folder} holds no run" if run else "there is no run_dir"
        raise TrainingError(f"resume='must', but {where} to go on with.")
    if resume == "never" and exists and run is not None:
        raise TrainingError(
            f"resume='never', but {run.folder} already holds a run: choose another run_dir or delete it."
        )
    return exists


def _adopt_config(task: Task, manifest: Mapping[str, Any], run: Run) -> None:
    """Takes over what the run learned or was told, after checking that the caller does not contradict it."""
    now, then = task.dump_config(), manifest["config"]
    for part, before in ((now, then), (now["training"], then["training"])):
        for key, value in part.items():
            # None means that the caller left it open, as the first half may have done before it learned it.
            if (
                key != "training"
                and key not in _FREE_TO_CHANGE
                and value is not None
                and before.get(key) != value
            ):
                raise TrainingError(
                    f"{run.folder} was trained with {key}={before.get(key)!r}, not {value!r}: give the same "
                    "config to go on, or another run_dir to start anew."
                )
    free = {key: now["training"][key] for key in _FREE_TO_CHANGE}
    task.config = parse(
        task.config_class, {**then, "training": {**then["training"], **free}}, where=task.name
    )


def _manifest(task: Task, source: Source, unfreeze: Unfreeze | None) -> dict[str, Any]:
    freezing = task.freezing
    return {
        "task": task.name,
        "config": task.dump_config(),
        "frozen": freezing.positions(),
        "freeze": freezing.policy if isinstance(freezing.policy, (str, int)) else None,
        "lora": freezing.lora.get_config() if freezing.lora else None,
        "unfreeze": str(unfreeze) if unfreeze else None,
        "data": source.fingerprint(),
        "versions": {"keras": keras.__version__},
    }


def _hold_out(
    task: Task,
    source: Source,
    validation_data: Any,
    *,
    label: str | None,
    columns: Mapping[str, str] | None,
    on_error: Literal["raise", "skip"],
) -> tuple[Source, Source | None]:
    if validation_data is None:
        return source, None
    if isinstance(validation_data, (int, float)) and not isinstance(validation_data, bool):
        return split(source, validation_data, seed=task.config.seed, stratify=label)
    fields = task.fields()
    columns = {name: column for name, column in (columns or {}).items() if name != _WEIGHT}
    return source, open_source(validation_data, fields=fields, columns=columns or None, on_error=on_error)


def _row_weights(
    class_weight: Any, source: Source, label: str | None, sample_weight: str | None
) -> Callable[[Mapping[str, Any]], np.ndarray] | None:
    if class_weight is None and sample_weight is None:
        return None
    of_class: dict[str, float] = {}
    if class_weight is not None:
        if label is None:
            raise ConfigError("class_weight needs a task with a label column; this one has none.")
        counts = source.class_counts(label)
        if class_weight == "balanced":
            of_class = {name: len(source) / (len(counts) * count) for name, count in counts.items()}
        else:
            unknown = sorted(set(class_weight) - set(counts))
            if unknown:
                raise ConfigError(
                    f"class_weight: {unknown[0]!r} is not a class of the training data, which has "
                    f"{', '.join(counts)}."
                )
            of_class = {name: float(class_weight.get(name, 1.0)) for name in counts}

    def weights(rows: Mapping[str, Any]) -> np.ndarray:
        result = np.ones(len(next(iter(rows.values()))), np.float32)
        if of_class and label is not None:
            result *= np.array([of_class[str(name)] for name in rows[label]], np.float32)
        if sample_weight is not None:
            result *= np.asarray(rows[_WEIGHT], np.float32)
        return result

    return weights


def _make_stepper(
    task: Task,
    examples: Examples,
    metrics: Mapping[str, keras.metrics.Metric],
    *,
    precision: str,
    jit_compile: bool,
) -> Stepper:
    config = task.config.training
    batches = -(-len(examples) // config.batch_size)
    total_steps = config.epochs * -(-batches // config.accumulate)

    def make() -> keras.optimizers.Optimizer:
        return make_optimizer(
            config,
            variables=task.freezing.variables,
            total_steps=total_steps,
            loss_scale=precision == "mixed_float16",
        )

    updates = task.updates(make)
    device.check_loss_scale(precision, [update.optimizer for update in updates])
    return Stepper(
        updates=updates,
        freezing=task.freezing,
        observe=lambda batch, outputs: task.update_metrics(metrics, batch, outputs),
        rate_factors=task.freezing.rate_factors(task.layerwise),
        accumulate=config.accumulate,
        ema=config.ema,
        jit_compile=jit_compile,
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _say_skipped(source: Source, reporter: Reporter) -> None:
    if source.skipped:
        reporter.say(f"skipped {source.skipped} bad rows, for example: {source.skip_examples[0]}")


def _say_balance(source: Source, label: str | None, reporter: Reporter) -> None:
    if label is not None:
        reporter.say(describe_balance(source, label).table())
