"""The verb finetune: from data and a config to a running loop, new or resumed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
import tensorflow as tf

from kerasft.data import Field, Source, describe_balance, open_source
from kerasft.errors import ConfigError
from kerasft.loading import import_file, load
from kerasft.reports import Notes, write_run_report
from kerasft.training import device
from kerasft.training.adapters import merged
from kerasft.training.average import Average
from kerasft.training.callbacks import Board, flatten
from kerasft.training.evaluation import check_measurable
from kerasft.training.examples import Examples
from kerasft.training.grouping import steps_per_epoch
from kerasft.training.loop import Loop
from kerasft.training.optimizers import make_optimizer
from kerasft.training.progress import Reporter
from kerasft.training.resume import Resume, describe_run
from kerasft.training.run import Run
from kerasft.training.schedules import Unfreeze, parse_unfreeze
from kerasft.training.step import Stepper
from kerasft.training.transfer import transfer_weights

if TYPE_CHECKING:
    from kerasft.task import Task

_WEIGHT = "sample_weight"


def finetune(
    task: Task,
    data: Any,
    *,
    validation_data: Any,
    run: Run | None,
    resume: str,
    init_from: str | Path | Sequence[str | Path] | None,
    partial: bool,
    freeze: Any,
    unfreeze: Unfreeze | str | None,
    callbacks: Any,
    columns: Mapping[str, str] | None,
    sample_weight: str | None,
    on_error: Literal["raise", "skip"],
    reporter: Reporter,
) -> keras.callbacks.History:
    """Trains `task` into `run`, which is locked; see `Task.finetune` for the other arguments."""
    device.current()  # settles how GPU memory is taken, before a task makes its first tensor
    callbacks, unfreeze = flatten(callbacks), parse_unfreeze(unfreeze)
    before = Resume.decide(run, resume)
    if before is not None:
        unfreeze = before.prepare(task, freeze=freeze, unfreeze=unfreeze)
    source, validation, label = _open(
        task, data, validation_data, columns=columns, sample_weight=sample_weight, on_error=on_error
    )
    for note in dict.fromkeys([*source.notes, *(validation.notes if validation else ())]):
        reporter.say(note)
    balance = describe_balance(source, label) if label is not None else None
    if balance is not None:
        reporter.say(balance.table())
    if before is not None:
        before.check_data(source.fingerprint())
    task.build()
    if validation is not None:
        check_measurable(task)
        if task.measure_note():
            reporter.say(task.measure_note())
    if init_from is not None and before is None:
        starts = [init_from] if isinstance(init_from, (str, Path)) else list(init_from)
        taken = _start_from(task, [Path(start) for start in starts], partial=partial)
        reporter.say(f"starting from {', '.join(map(str, starts))}: {taken}")
        if task.notice:
            reporter.say(task.notice)
    if freeze is not None and before is None:
        task.freeze(freeze)
    task.run = run
    loop = _make_loop(
        task,
        *_encode(task, source, validation, label=label, sample_weight=sample_weight, reporter=reporter),
        unfreeze=unfreeze,
        run=run,
        callbacks=callbacks,
        reporter=reporter,
    )
    if before is not None:
        reporter.say(before.restore(task, loop.state))
    elif run is not None:
        run.checkpoints.best_path.unlink(missing_ok=True)  # of an attempt that saved nothing else
        run.assets.mkdir(parents=True, exist_ok=True)
        task.save_assets(run.assets)
        described = describe_run(task, unfreeze=unfreeze, data=source.fingerprint())
        run.write({**described, "init_from": _names(init_from), "notice": task.notice})
        if balance is not None:
            Notes(run).add_balance(balance)
    here = device.current()
    with Notes(run).session(device=here.name, precision=here.precision(task.config.precision)):
        history = loop.train(resumed=loop.state.step > 0)
    task.last_metrics = {
        name: values[-1] for name, values in history.history.items() if values and values[-1] is not None
    }
    if run is not None:
        reporter.say(f"report: {write_run_report(task, run)}")
    return history


def _start_from(task: Task, starts: Sequence[Path], *, partial: bool) -> str:
    if task.freezing.lora is not None:
        raise ConfigError("init_from: the model has adapters already; give freeze= to finetune() instead.")
    if not starts:
        raise ConfigError("init_from: the list is empty; name a run, or leave it out.")
    sources = [_trained(type(task), start) for start in starts]
    task.notice = " ".join(dict.fromkeys(source.notice for source in sources if source.notice))
    models = [model for source in sources for model in source.models.values()]
    with merged(models):
        if len(sources) > 1:
            task.combine(sources)
            return f"combined into {task.name!r}"
        return str(transfer_weights(sources[0].models, task.models, partial=partial, where=str(starts[0])))


def _trained(task_class: type[Task], start: Path) -> Task:
    if not start.is_file():
        return load(start)
    source = import_file(task_class, start)
    source.build()
    return source


def _names(init_from: Any) -> Any:
    if init_from is None or isinstance(init_from, (str, Path)):
        return None if init_from is None else str(init_from)
    return [str(start) for start in init_from]


def _open(
    task: Task,
    data: Any,
    validation_data: Any,
    *,
    columns: Mapping[str, str] | None,
    sample_weight: str | None,
    on_error: Literal["raise", "skip"],
) -> tuple[Source, Source | None, str | None]:
    """Returns training rows, validation rows and the name of the label; the task learns what it left open."""
    data = task.open_data(task.own_data("train") if data is None else data)
    fields, all_columns = task.fields(), dict(columns or {})
    label = next((field.name for field in fields if field.kind == "label"), None)
    if sample_weight is not None:
        all_columns[_WEIGHT] = sample_weight
        with_weight = (*fields, Field(name=_WEIGHT, kind="number", target=True))
        source = open_source(data, fields=with_weight, columns=all_columns, on_error=on_error)
    else:
        source = open_source(data, fields=fields, columns=columns, on_error=on_error)
    held_out = None
    is_share = isinstance(validation_data, (int, float)) and not isinstance(validation_data, bool)
    if is_share:
        source, held_out = task.hold_out(source, validation_data)
    if task.models:
        task.extend(source)
    else:
        task.adapt(source)  # of the rows held out it sees the classes only
    if validation_data is not None and not is_share:
        held_out = open_source(
            task.open_data(validation_data),
            fields=task.fields(),
            columns=columns,
            on_error=on_error,
            default_splits=("validation", "test"),
        )
    return source, held_out, label


def _encode(
    task: Task,
    source: Source,
    validation: Source | None,
    *,
    label: str | None,
    sample_weight: str | None,
    reporter: Reporter,
) -> tuple[Examples, Examples | None]:
    config = task.config.training
    source = task.arranged(source, training=True, reporter=reporter)
    with reporter.bar("encoding", total=len(source)) as bar:
        examples = Examples(
            task=task,
            source=source,
            targets=True,
            weight=_row_weights(config.class_weight, source, label, sample_weight),
            memory_limit=config.cache_memory_mb << 20,
            progress=bar.update,
        )
    if validation is None:
        return examples, None
    return examples, Examples(
        task=task,
        source=task.arranged(validation, training=False, reporter=reporter),
        targets=True,
        memory_limit=config.cache_memory_mb << 20,
    )


def _make_loop(
    task: Task,
    examples: Examples,
    validation: Examples | None,
    *,
    unfreeze: Unfreeze | None,
    run: Run | None,
    callbacks: list[keras.callbacks.Callback],
    reporter: Reporter,
) -> Loop:
    config, here = task.config.training, device.current()
    precision = here.precision(task.config.precision)
    jit = here.jit_compile(config.jit_compile, lengths_vary=examples.lengths is not None)
    reporter.say(f"device {here.name}, precision {precision}, {jit}")
    metrics = task.metrics()
    callbacks = [*flatten(task.callbacks()), *callbacks]
    with tf.device("CPU:0"):
        augmentation = task.augmentation()
    if run is not None:
        callbacks = [*callbacks, Board(log_dir=str(run.tensorboard), write_graph=False)]
    return Loop(
        task=task,
        stepper=_make_stepper(task, examples, metrics, precision=precision, jit_compile=jit.on),
        metrics=metrics,
        examples=examples,
        validation=validation,
        config=config,
        unfreeze=unfreeze,
        run=run,
        callbacks=callbacks,
        jit_compile=jit.on,
        reporter=reporter,
        augmentation=augmentation,
    )


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
    batches = steps_per_epoch(examples, config)
    total_steps = config.epochs * -(-batches // config.accumulate)

    calls = itertools.count()

    def make(**settings: Any) -> keras.optimizers.Optimizer:
        return make_optimizer(
            config,
            given=task.given,
            settings=settings,
            undecayed=task.freezing.undecayed,
            total_steps=total_steps,
            loss_scale=precision == "mixed_float16",
            copy=next(calls) > 0,
        )

    updates = task.updates(make)
    device.check_loss_scale(precision, [update.optimizer for update in updates])
    return Stepper(
        updates=updates,
        freezing=task.freezing,
        observe=lambda batch, outputs: task.update_metrics(metrics, batch, outputs, training=True),
        rate_factors=task.freezing.rate_factors(task.layerwise),
        accumulate=config.accumulate,
        average=_make_average(task),
        jit_compile=jit_compile,
    )


def _make_average(task: Task) -> Average | None:
    config, names = task.config.training, task.averaged()
    unknown = sorted(set(names) - set(task.models))
    if unknown:
        raise ConfigError(
            f"averaged() of {task.name!r} names {unknown[0]!r}; the models are {', '.join(task.models)}."
        )
    if config.ema is None:
        return None
    models = {name: task.models[name] for name in names}
    return Average(models=models, memory=config.ema, rampup=config.ema_rampup)
