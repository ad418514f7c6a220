"""One training step for any list of updates: the only place where gradients meet weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from kerasft import _compat
from kerasft.errors import ConfigError, TrainingError
from kerasft.training.average import Average
from kerasft.training.freezing import Freezing
from kerasft.training.lazy import correct_lazy
from kerasft.training.update import Batch, Update


class StepKind(NamedTuple):
    """What distinguishes one compiled step from another, the frozen set apart.

    Attributes:
        due: Positions of the updates that take part.
        apply: Whether gradients move the weights now, or are only accumulated.
    """

    due: tuple[int, ...]
    apply: bool


class Stepper:
    """Compiles and runs training steps.

    In pseudocode, for one batch:

        for update in updates that are due:
            loss = update.loss(batch)                    # inside a tape that watches what trains
            gradients = d loss / d trainable             # times `every` if lazy; scaled first, under float16
            accumulate them, weighted by the number of examples
            if this is the last batch to accumulate:
                optimizer.apply(mean gradient)           # clips and decays
                scale the step of each layer group       # Layerwise
        move the average weights                         # EMA

    There is one compiled function per frozen set, set of due updates and accumulation phase, because a trace
    remembers what was trainable when it was made; under XLA with several steps a call also per batch size.

    Args:
        updates: In the order in which they act.
        freezing: Knows the variables.
        observe: Called in the graph with the batch and the outputs of an update that returned any.
        rate_factors: Factor of the step of a variable, by its id, where not 1.
        accumulate: Batches per application of the gradients.
        average: Average weights to keep, or None.
        jit_compile: Compile with XLA.

    Raises:
        ConfigError: an optimizer belongs to another model.
        TrainingError: no update acts in every step, or two have one name.
    """

    def __init__(
        self,
        *,
        updates: Sequence[Update],
        freezing: Freezing,
        observe: Callable[[Batch, Any], None],
        rate_factors: Mapping[int, float],
        accumulate: int = 1,
        average: Average | None = None,
        jit_compile: bool = False,
    ) -> None:
        self.updates = correct_lazy(updates)
        _check_updates(self.updates)
        self._freezing = freezing
        self._observe = observe
        self._rate_factors = rate_factors
        self._accumulate = accumulate
        self._jit_compile = jit_compile
        self._frozen: frozenset[int] = frozenset()
        self.variant = ""
        self._functions: dict[tuple, Callable] = {}
        self._build_optimizers()
        self._accumulators: dict[tuple[int, int], tf.Variable] = {}
        self._examples = [tf.Variable(0.0, trainable=False, name=f"{u.name}_examples") for u in self.updates]
        if accumulate > 1:
            for i, update in enumerate(self.updates):
                for variable in freezing.trainable(frozenset(), models=update.models):
                    self._accumulators[i, id(variable)] = tf.Variable(
                        tf.zeros(variable.shape), trainable=False, name=f"{variable.path}/gradients"
                    )
        self.average = average

    def _build_optimizers(self) -> None:
        """Lets every optimizer know all that it may ever move, so that unfreezing keeps its state."""
        for optimizer in self.optimizers:
            models = [
                model for update in self.updates if update.optimizer is optimizer for model in update.models
            ]
            variables = self._freezing.trainable(frozenset(), models=models)
            if not optimizer.built:
                optimizer.build(variables)
                optimizer.built = True
            known = {id(variable) for variable in _compat.optimized_variables(optimizer)}
            if not known.issuperset(map(id, variables)):
                raise ConfigError(
                    f"optimizer: {optimizer.name} was built for another model; pass a new one, or its name."
                )

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """The distinct optimizers, in the order of the updates."""
        return list(dict.fromkeys(update.optimizer for update in self.updates))

    def set_frozen(self, frozen: frozenset[int], *, variant: str = "") -> None:
        """Chooses what trains from now on.

        Args:
            frozen: Ids of the frozen variables.
            variant: Tells apart steps that compute differently for another reason (a feature cache).

        Raises:
            TrainingError: an update would have nothing to move.
        """
        self._freezing.apply(frozen)
        for update in self.updates:
            if not self._freezing.trainable(frozen, models=update.models):
                raise TrainingError(
                    f"Nothing would train in the update {update.name!r}: every layer group is frozen."
                )
        self._frozen, self.variant = frozen, variant

    def kind(self, *, step: int, batch: int, last: bool) -> StepKind:
        """Returns what a step does.

        Args:
            step: Number of the application of gradients that the step belongs to, from 0; `Update.every`
                counts these, so that accumulation and `every` do not miss each other.
            batch: Number of the batch in its epoch, from 0.
            last: Whether the batch is the epoch's last one.
        """
        due = tuple(i for i, update in enumerate(self.updates) if update.is_due(step=step))
        return StepKind(due, last or (batch + 1) % self._accumulate == 0)

    def run(self, batch: Batch, kind: StepKind, *, spec: Batch, stacked: bool) -> tf.Tensor:
        """Runs one step, or several on stacked batches.

        Args:
            batch: Arrays `[batch, ...]`, or `[steps, batch, ...]` if `stacked`.
            kind: From `kind`, the same for all steps.
            spec: `tf.TensorSpec` of one batch, None where sizes differ, so that one trace serves all shapes.
            stacked: Whether there is a leading axis of steps.

        Returns:
            Losses, float32 `[updates due]`, or `[steps, updates due]` if `stacked`; an accelerator may
            still be at work on them.
        """
        # XLA compiles for each size anyway, and a graph that knows the size may choose by it.
        size = tf.nest.flatten(batch)[0].shape[1] if stacked and self._jit_compile else None
        key = (self._frozen, self.variant, kind, stacked, size)
        if key not in self._functions:
            if stacked:
                spec = tf.nest.map_structure(
                    lambda s: s and tf.TensorSpec([None, size, *s.shape[1:]], s.dtype), spec
                )
            body = self._many(kind) if stacked else self._one(kind)
            function = tf.function(body, jit_compile=self._jit_compile, autograph=False)
            self._functions[key] = function.get_concrete_function(spec)
        return self._functions[key](tf.nest.map_structure(_to_tensor, batch))

    def _one(self, kind: StepKind) -> Callable[[Batch], tf.Tensor]:
        trainable = [self._freezing.trainable(self._frozen, models=update.models) for update in self.updates]

        def step(batch: Batch) -> tf.Tensor:
            losses = [self._update(i, batch, trainable[i], apply=kind.apply) for i in kind.due]
            if self.average is not None:
                self.average.see(_size(batch))
                if kind.apply:
                    self.average.update()
            return tf.stack(losses)

        return step

    def _many(self, kind: StepKind) -> Callable[[Batch], tf.Tensor]:
        one = self._one(kind)

        def steps(batches: Batch) -> tf.Tensor:
            count = tf.shape(tf.nest.flatten(batches)[0])[0]
            losses = tf.TensorArray(tf.float32, size=count, element_shape=[len(kind.due)])

            def body(i: tf.Tensor, losses: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
                batch = tf.nest.map_structure(lambda tensor: None if tensor is None else tensor[i], batches)
                return i + 1, losses.write(i, one(batch))

            _, losses = tf.while_loop(lambda i, _: i < count, body, (0, losses), parallel_iterations=1)
            return losses.stack()

        return steps

    def _update(
        self, position: int, batch: Batch, trainable: list[keras.Variable], *, apply: bool
    ) -> tf.Tensor:
        update = self.updates[position]
        values = [variable.value for variable in trainable]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            result = update.loss(batch)
            loss, outputs = result if isinstance(result, tuple) else (result, None)
            scaled = update.optimizer.scale_loss(loss * update.every if update.lazy else loss)
        gradients = tape.gradient(scaled, values)
        pairs = [(g, variable) for g, variable in zip(gradients, trainable, strict=True) if g is not None]
        if not pairs:
            raise TrainingError(
                f"The loss of update {update.name!r} does not depend on anything that trains."
            )
        if self._accumulate > 1:
            pairs = self._accumulated(position, pairs, batch, apply=apply)
        if apply:
            self._apply(update.optimizer, pairs)
        if outputs is not None:
            self._observe(batch, outputs)
        return tf.cast(loss, tf.float32)

    def _accumulated(
        self, position: int, pairs: list[tuple[Any, keras.Variable]], batch: Batch, *, apply: bool
    ) -> list[tuple[Any, keras.Variable]]:
        examples = self._examples[position]
        size = _size(batch)
        examples.assign_add(size)
        sums = [
            (self._accumulators[position, id(variable)], gradient, variable) for gradient, variable in pairs
        ]
        for total, gradient, _ in sums:
            total.assign_add(tf.cast(tf.convert_to_tensor(gradient), tf.float32) * size)
        if not apply:
            return []
        means = [(total / examples, variable) for total, _, variable in sums]
        for total, _, _ in sums:
            total.assign(tf.zeros_like(total))
        examples.assign(0.0)
        return means

    def _apply(self, optimizer: keras.optimizers.Optimizer, pairs: list[tuple[Any, keras.Variable]]) -> None:
        slowed = [(v, self._rate_factors[id(v)]) for _, v in pairs if id(v) in self._rate_factors]
        before = [tf.identity(variable.value) for variable, _ in slowed]
        gradients, variables = zip(*pairs, strict=True)
        optimizer.apply(list(gradients), list(variables))
        for (variable, factor), old in zip(slowed, before, strict=True):
            variable.assign(old + factor * (variable.value - old))

    def state(self) -> dict[str, Any]:
        """Returns the step's own variables by name, for checkpoints: optimizers, accumulators, averages."""
        state: dict[str, Any] = {}
        for i, optimizer in enumerate(self.optimizers):
            state |= {f"optimizer/{i}/{j}": variable for j, variable in enumerate(optimizer.variables)}
        state |= {f"accumulator/{i}": total for i, total in enumerate(self._accumulators.values())}
        state |= {f"examples/{i}": count for i, count in enumerate(self._examples)}
        if self.average is not None:
            state |= self.average.state()
        return state

    def finite_state(self) -> dict[str, Any]:
        """Returns what of `state` must be finite: not sums of gradients that a loss scale may overflow."""
        overflowing = {
            f"accumulator/{n}"
            for n, (i, _) in enumerate(self._accumulators)
            if isinstance(self.updates[i].optimizer, keras.optimizers.LossScaleOptimizer)
        }
        return {name: variable for name, variable in self.state().items() if name not in overflowing}

    @property
    def applied(self) -> list[int]:
        """How often each optimizer moved weights: less than steps under accumulation and float16 overflow."""
        return [int(optimizer.iterations.numpy()) for optimizer in self.optimizers]


def _check_updates(updates: Sequence[Update]) -> None:
    if all(update.every > 1 for update in updates):
        raise TrainingError("No update acts in every step: updates() must return at least one with every=1.")
    names = [update.name for update in updates]
    for name in names:
        if names.count(name) > 1:
            raise TrainingError(f"Two updates are called {name!r}: give each a name of its own in updates().")


def _size(batch: Batch) -> tf.Tensor:
    return tf.cast(tf.shape(tf.nest.flatten(batch.features)[0])[0], tf.float32)


def _to_tensor(value: Any) -> tf.Tensor | None:
    return None if value is None else tf.convert_to_tensor(value)
