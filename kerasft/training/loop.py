"""The training loop: one for every task."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import keras
import numpy as np
import tensorflow as tf

from kerasft.errors import Interrupted, TrainingError
from kerasft.training.augmentation import Augmentation
from kerasft.training.best import BestCheckpoint
from kerasft.training.cache import FeatureCache
from kerasft.training.callbacks import align, check_rate, reads_batches
from kerasft.training.config import TrainingConfig
from kerasft.training.device import LENGTH_MULTIPLE, current
from kerasft.training.evaluation import Evaluator, read_metrics
from kerasft.training.examples import Examples
from kerasft.training.feeding import Feed
from kerasft.training.grouping import group_steps, steps_per_epoch, training_batches
from kerasft.training.interrupt import SignalGuard, SignalReceived
from kerasft.training.movement import MovementWatch
from kerasft.training.progress import Bar, Reporter, format_logs
from kerasft.training.run import Run
from kerasft.training.schedules import Unfreeze
from kerasft.training.state import Snapshot, TrainingState
from kerasft.training.step import StepKind, Stepper
from kerasft.training.update import Batch

if TYPE_CHECKING:
    from kerasft.task import Task

_MUCH_WAITING = 0.05
_READ_SECONDS = 0.25


class _Unread(NamedTuple):
    """Losses of a call that an accelerator may still be at work on.

    Attributes:
        losses: float32 `[steps, updates due]`, without the first axis of a single step.
        kind: What the steps did.
        sizes: Examples in each step.
        step: Number of the first step, from 1.
    """

    losses: tf.Tensor
    kind: StepKind
    sizes: list[int]
    step: int


class Loop:
    """Trains a task.

    In pseudocode:

        for epoch in epochs:
            frozen = policy less what `unfreeze` has released by now       # a pure function of the epoch
            batches = order(seed, epoch)                                   # a pure function too
            for batch in batches not yet done:
                change it at random, if the task augments              # a pure function of seed and step
                stepper.run(batch)                                         # see Stepper
                stop on NaN; save and stop on a signal; save every so often
            validate; tell the callbacks; save; remember the best

    Args:
        task: A built task.
        stepper: Made from the task's updates.
        metrics: Name to metric, shared by training and validation.
        examples: Training data.
        validation: Validation data or None.
        config: How to train.
        unfreeze: When frozen groups are released.
        run: Where to save, or None to save nothing.
        callbacks: Keras callbacks.
        jit_compile: Compile with XLA.
        reporter: What a person sees.
        augmentation: What changes training batches at random, or None.
    """

    def __init__(
        self,
        *,
        task: Task,
        stepper: Stepper,
        metrics: dict[str, keras.metrics.Metric],
        examples: Examples,
        validation: Examples | None,
        config: TrainingConfig,
        unfreeze: Unfreeze | None,
        run: Run | None,
        callbacks: Sequence[keras.callbacks.Callback],
        jit_compile: bool,
        reporter: Reporter,
        augmentation: Augmentation | None = None,
    ) -> None:
        self._task = task
        self._stepper = stepper
        self._metrics = metrics
        self._examples = examples
        self._validation = validation
        self._config = config
        self._unfreeze = unfreeze
        self._run = run
        self._reporter = reporter
        self._multiple = LENGTH_MULTIPLE if jit_compile else 1
        self._evaluator = Evaluator(task=task, metrics=metrics, jit_compile=jit_compile)
        self._frozen: frozenset[int] | None = None
        self._movement = MovementWatch(freezing=task.freezing, stepper=stepper)
        self._features = FeatureCache(
            task=task,
            config=config,
            unfreeze=unfreeze,
            examples={"training": examples} | ({"validation": validation} if validation else {}),
            reporter=reporter,
            augmented=augmentation is not None,
        )
        self._feed = Feed(
            examples=examples,
            augmentation=augmentation,
            seed=task.config.seed,
            multiple=self._multiple,
            stacked=config.steps_per_call > 1,
            # XLA would else fetch int32 from the CPU, and let the GPU wait for it.
            device="GPU:0" if jit_compile and current().is_gpu else None,
        )
        self._unread: list[_Unread] = []
        self._last_read = time.monotonic()
        self._batch_logs = any(reads_batches(callback) for callback in callbacks)
        self.state = TrainingState(models=task.models, metrics=metrics, stepper=stepper, callbacks=callbacks)
        self._best = BestCheckpoint(task=task, config=config, run=run, state=self.state)
        self._callbacks = self._connect(callbacks)

    def _connect(self, callbacks: Sequence[keras.callbacks.Callback]) -> keras.callbacks.CallbackList:
        update = self._stepper.updates[0]
        model = update.models[0]
        model.compile(optimizer=update.optimizer, jit_compile=False)
        model.stop_training = False
        check_rate(callbacks, update.optimizer)
        self._model = model
        connected = keras.callbacks.CallbackList(
            list(callbacks),
            add_history=True,
            model=model,
            verbose=0,
            epochs=self._config.epochs,
            steps=steps_per_epoch(self._examples, self._config),
        )
        self.history: keras.callbacks.History = model.history
        return connected

    def train(self, *, resumed: bool) -> keras.callbacks.History:
        """Runs all epochs that are left.

        Args:
            resumed: Whether `state` was restored from a checkpoint.

        Raises:
            TrainingError: a loss became NaN or Inf, or a checkpoint cannot be written.
            Interrupted: a signal came; the state was saved.
        """
        started = time.perf_counter()
        try:
            with SignalGuard() as guard:
                self._callbacks.on_train_begin()
                self.state.callbacks_began()
                if resumed:
                    self.state.restore_callbacks(self.history)
                while self.state.epoch < self._config.epochs and not self.state.stopped:
                    self._epoch(guard)
                    self._stop_if_asked(guard)
        finally:
            self._task.forward_through(None)
        waited = self._feed.waited / (time.perf_counter() - started)
        if waited >= _MUCH_WAITING:
            self._reporter.say(f"steps waited for their input {waited:.0%} of the time")
        if self._stepper.average is not None:
            self._stepper.average.swap()
        self._callbacks.on_train_end()
        return self.history

    def _epoch(self, guard: SignalGuard) -> None:
        epoch = self.state.epoch
        self._enter_phase(epoch)
        batches = training_batches(self._examples, self._config, seed=self._task.config.seed, epoch=epoch)
        if self.state.batch == 0:
            for metric in self._metrics.values():
                metric.reset_state()
        self._callbacks.on_epoch_begin(epoch)
        title = f"epoch {epoch + 1}/{self._config.epochs}"
        with self._reporter.bar(title, total=len(self._examples)) as bar:
            feed = self._feed.run(self._calls(epoch, batches), batches, epoch=epoch)
            with contextlib.closing(feed):
                for steps, kind, batch in feed:
                    self._call(steps.start, [batches[i] for i in steps], kind, batch, bar)
                    if guard.received is not None:
                        self._save()
                        self._stop_if_asked(guard)
                    if self._model.stop_training:
                        break
                    if self.state.checkpoint_due(self._config.checkpoint_every) and steps.stop < len(batches):
                        self._save()
        self._end_epoch(epoch, title, guard)

    def _calls(self, epoch: int, batches: list[np.ndarray]) -> Iterator[tuple[range, StepKind]]:
        """Yields the steps of the epoch that are not yet done, together those that one call can run."""
        count, accumulate = len(batches), self._config.accumulate
        applications = epoch * -(-count // accumulate)
        kinds = [
            self._stepper.kind(step=applications + i // accumulate, batch=i, last=i + 1 == count)
            for i in range(count)
        ]
        sizes = [len(batch) for batch in batches]
        for steps in group_steps(kinds, sizes, first=self.state.batch, limit=self._config.steps_per_call):
            yield steps, kinds[steps.start]

    def _call(self, first: int, group: list[np.ndarray], kind: StepKind, batch: Batch, bar: Bar) -> None:
        self._movement.before_call()
        self._callbacks.on_train_batch_begin(first)
        stacked = self._config.steps_per_call > 1
        losses = self._stepper.run(batch, kind, spec=self._feed.spec, stacked=stacked)
        sizes = [len(indices) for indices in group]
        self._unread.append(_Unread(losses, kind, sizes, step=self.state.step + 1))
        for size in sizes:
            self.state.count(examples=size)
        # Now and then only: before a GPU gives a number it does all that it was told to do, and then idles.
        if time.monotonic() - self._last_read >= _READ_SECONDS:
            self._read_losses()
        bar.update(self.state.examples, self._logs)
        self._callbacks.on_train_batch_end(first + len(group) - 1, self._logs() if self._batch_logs else {})
        self._movement.after_call(kind, step=self.state.step)

    def _read_losses(self) -> None:
        unread, self._unread = self._unread, []
        for call in unread:
            names = [self._stepper.updates[i].name for i in call.kind.due]
            rows = call.losses.numpy().reshape(len(call.sizes), -1)
            for i, (row, size) in enumerate(zip(rows, call.sizes, strict=True)):
                losses = dict(zip(names, row.tolist(), strict=True))
                self._guard(losses, step=call.step + i)
                self.state.add_losses(losses, examples=size)
        self._last_read = time.monotonic()

    def _logs(self) -> dict[str, float]:
        self._read_losses()
        return {**self._losses(), **read_metrics(self._metrics)}

    def _losses(self) -> dict[str, float]:
        means = self.state.mean_losses()
        if len(self._stepper.updates) == 1:
            return {"loss": next(iter(means.values()))}
        return {f"{name}_loss": value for name, value in means.items()}

    def _guard(self, losses: Mapping[str, float], *, step: int) -> None:
        for name, loss in losses.items():
            if not np.isfinite(loss):
                self._fail(f"The loss of update {name!r} became {loss} at {self._where(step)}")

    def _where(self, step: int) -> str:
        """Returns "step 7 (epoch 2)", both counted from 1."""
        batches = steps_per_epoch(self._examples, self._config)
        return f"step {step} (epoch {-(-step // batches)})"

    def _fail(self, what: str) -> NoReturn:
        good = self._run.checkpoints.last_readable() if self._run is not None else None
        if self._run is None or good is None:
            raise TrainingError(
                f"{what}; nothing was saved. Lower learning_rate, set clip_norm, or look for NaN and Inf in "
                "the data."
            )
        raise TrainingError(
            f"{what}; the last good checkpoint is {good.path}. Look for NaN and Inf in the data, or go on "
            f'from there in a new folder: kerasft.load({str(self._run.folder)!r}, checkpoint="latest")'
            ".finetune(..., run_dir=NEW, learning_rate=LOWER, clip_norm=1.0)."
        )

    def _enter_phase(self, epoch: int) -> None:
        frozen = self._task.freezing.frozen_in(epoch, self._unfreeze)
        if frozen == self._frozen:
            return
        self._frozen = frozen
        self._stepper.set_frozen(frozen, variant=self._features.enter_phase(frozen, epoch))
        self._movement.enter_phase(frozen)
        if epoch == 0 or self._unfreeze is not None:
            self._reporter.say(self._task.freezing.report(frozen, self._task.layerwise))

    def _end_epoch(self, epoch: int, title: str, guard: SignalGuard) -> None:
        logs = self._logs()
        # Validation moves metrics and random state, so an interrupted one is saved as not begun.
        interruptible = self._run is not None and self._validation is not None
        before = self.state.snapshot(self.history) if interruptible else None
        if self._stepper.average is not None:
            self._stepper.average.swap()
        try:
            logs |= self._validate(title, guard)
        except SignalReceived:
            if self._stepper.average is not None:
                self._stepper.average.swap()
            self._save(before)
            self._stop_if_asked(guard)
        columns = set(self.history.history)
        self._callbacks.on_epoch_end(epoch, logs)
        align(self.history, columns)
        self._reporter.say(f"{title}  {format_logs(logs)}")
        if self._validation is not None and self._best.improved(logs, self.history):
            self._check_finite()
            self._best.save(logs, self._metrics)
        if self._stepper.average is not None:
            self._stepper.average.swap()
        self.state.next_epoch(stopped=bool(self._model.stop_training))
        if self._run is not None:
            self._run.write_history(self.history.history, self.history.epoch)
        self._save()

    def _validate(self, title: str, guard: SignalGuard) -> dict[str, float]:
        if self._validation is None:
            return {}

        def advance(done: int) -> None:
            bar.update(done)
            guard.check()

        with self._reporter.bar(f"{title} validation", total=len(self._validation)) as bar:
            results = self._evaluator.run(
                self._validation,
                batch_size=self._config.batch_size,
                variant=self._stepper.variant,
                progress=advance,
                callbacks=self._callbacks,
            )
        return {f"val_{name}": value for name, value in results.items()}

    def _save(self, snapshot: Snapshot | None = None) -> None:
        self._read_losses()
        if self._run is not None:
            self._check_finite()
            self.state.save(self._run.checkpoints, snapshot or self.state.snapshot(self.history))

    def _check_finite(self) -> None:
        broken = self.state.first_not_finite()
        if broken is not None:
            self._fail(f"The variable {broken} became NaN or Inf by {self._where(self.state.step)}")

    def _stop_if_asked(self, guard: SignalGuard) -> None:
        if guard.received is None:
            return
        self._callbacks.on_train_end()
        if self._run is None:
            raise Interrupted(
                f"{guard.received.name} stopped training at step {self.state.step}; nothing was saved, for "
                "want of a run_dir."
            )
        raise Interrupted(
            f"{guard.received.name} stopped training at {self._where(self.state.step)}; all of it is "
            f"saved in {self._run.folder}: the same command with resume='auto' (--resume auto) goes "
            "on from there."
        )
