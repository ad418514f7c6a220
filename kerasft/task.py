"""The task: five verbs for whoever uses one, over what its author wrote."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from kerasft import config as configs
from kerasft.contract import Contract
from kerasft.data import Source, open_source
from kerasft.errors import ConfigError, DataError, OrderError
from kerasft.export.task import export_task
from kerasft.prediction import Predictor
from kerasft.training import device
from kerasft.training.adapterfile import load_adapters, save_adapters
from kerasft.training.evaluation import Evaluator, check_measurable
from kerasft.training.examples import Examples
from kerasft.training.features import Forward, FrozenPrefix
from kerasft.training.finetune import finetune
from kerasft.training.freezereport import FreezeReport
from kerasft.training.freezing import Freezing, Policy
from kerasft.training.progress import Reporter, Verbosity
from kerasft.training.run import Run
from kerasft.training.schedules import Layerwise, Unfreeze

if TYPE_CHECKING:
    from kerasft.export import Batching, ExportReport


class Task(Contract):
    """Base class of tasks.

    Users call the verbs: `build`, `freeze`, `finetune`, `evaluate`, `predict`, `export`. Authors override the
    methods of `kerasft.contract.Contract`; those that raise NotImplementedError are abstract, the others have
    a sensible default.

    Args:
        **values: Fields of `config_class`.

    Raises:
        ConfigError: an unknown field or a wrong value.

    Attributes:
        config: The validated config.
        given: Training settings that the caller chose; the others are defaults, or those of a loaded run.
        models: Name to model, after `build`.
        freezing: Layer groups and what of them is frozen, after `build`.
        run: The run folder it was trained in or loaded from.
        last_metrics: Metrics of the last epoch, or of the checkpoint that was loaded.
        evaluation_metrics: The metric objects of the last `evaluate`, in the state that it left.
        notice: What must be known of weights that it started from, such as their licence; runs, reports and
            exports keep it.

    Example:
        >>> import tensorflow as tf
        >>> from kerasft import Field
        >>> class Double(Task):
        ...     def fields(self):
        ...         return Field(name="x", kind="number"), Field(name="y", kind="number", target=True)
        ...     def build_model(self):
        ...         return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        ...     def preprocess(self, raw):
        ...         return {"x": raw["x"][:, None]}
        ...     def loss(self, batch, outputs):
        ...         return tf.square(outputs[:, 0] - batch.targets["y"])
        ...     def postprocess(self, outputs, features):
        ...         return {"y": outputs[:, 0]}
        ...     def signatures(self):
        ...         return {"serving_default": {"x": tf.TensorSpec([None], tf.float32)}}
        >>> task = Double(seed=1)
        >>> data = {"x": [1, 2, 3, 4], "y": [2, 4, 6, 8]}
        >>> history = task.finetune(data, epochs=200, optimizer="sgd", learning_rate=0.05, verbose="quiet")
        >>> task.predict([10.0])["y"].round().tolist()
        [20.0]
    """

    def __init__(self, **values: Any) -> None:
        self.config = configs.parse(self.config_class, values, where=self.name or type(self).__name__)
        self.given = _given(values.get("training"))
        self.models = {}
        self.forward = None
        self._freezing: Freezing | None = None
        self._predictors: dict[str, Predictor] = {}
        self._asked = ""
        self.run: Run | None = None
        self.last_metrics: dict[str, float] = {}
        self.evaluation_metrics: dict[str, keras.metrics.Metric] = {}
        self.notice = ""

    # -------------------------------------------------------------------------------------------------- Verbs

    @property
    def measurable(self) -> bool:
        """Whether `evaluate` and validation can say anything: not of several models without `measure`."""
        return self.forward is not None or type(self).measure is not Task.measure

    @property
    def freezing(self) -> Freezing:
        """Layer groups and their state.

        Raises:
            OrderError: before `build`.
        """
        if self._freezing is None:
            raise OrderError(
                f"The task {self.name!r} has no layers yet: call build() first, or finetune(freeze=...), "
                "which builds."
            )
        return self._freezing

    @property
    def layerwise(self) -> Layerwise | None:
        """The discriminative rates of the config, if it has any."""
        rate = self.config.training.learning_rate
        return rate if isinstance(rate, Layerwise) else None

    def build(self, *, pretrained: bool = True) -> keras.Model | dict[str, keras.Model]:
        """Makes the model (or the models) and loads pretrained weights; a second call returns the same.

        Args:
            pretrained: Whether to load pretrained weights, where the task has any.

        Returns:
            What `build_model` returned: a model, or several by name.

        Raises:
            ConfigError: `build_model` or `layer_groups` returned something unusable.
        """
        if not self.models:
            keras.utils.set_random_seed(self.config.seed)
            with _dtype_policy(device.current().precision(self.config.precision)):
                built = self.build_model()
            models = built if isinstance(built, dict) else {"model": built}
            for name, model in models.items():
                if not isinstance(model, keras.Model):
                    raise ConfigError(
                        f"build_model() of {self.name!r} returned {type(model).__name__} for {name!r}, "
                        "not a keras.Model."
                    )
                if not model.built:
                    raise ConfigError(
                        f"The model {model.name!r} has no weights yet: call it once in build_model()."
                    )
            if pretrained:
                self.load_pretrained(built)
            self._freezing = Freezing(models=models, groups=self.layer_groups(built), seed=self.config.seed)
            self.forward = None if isinstance(built, dict) else Forward(model=built)
            self.models = models
            self.forget_answers()
        return self.models if self.forward is None else self.model

    def freeze(self, policy: Policy) -> FreezeReport:
        """Chooses what does not train, anew.

        Args:
            policy: "backbone" (all groups but the last one of each model), "all", "none", "norm"
                (normalisation layers), the name of a layer group, a number of groups from the input, a
                pattern searched for in names of groups and paths of variables, "only:" and such a pattern
                (freezes the rest of the models in which it matches), a callable that is given each layer
                and says whether to freeze it, a list of these, a `kerasft.LoRA`, or a word of the task's
                own (see its README).

        Returns:
            A report of what trains in each layer group; `str()` gives plain lines, rich prints a table.

        Raises:
            OrderError: before `build`.
            ConfigError: nothing is named so.
        """
        self.freezing.freeze(self.freeze_policy(policy))
        self.forget_answers()
        return self.freezing.report(layerwise=self.layerwise)

    def finetune(
        self,
        data: Any = None,
        *,
        validation_data: Any = None,
        run_dir: str | Path | None = None,
        resume: str = "auto",
        init_from: str | Path | Sequence[str | Path] | None = None,
        partial: bool = False,
        freeze: Policy | None = None,
        unfreeze: Unfreeze | str | None = None,
        callbacks: Any = (),
        columns: Mapping[str, str] | None = None,
        sample_weight: str | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        verbose: Verbosity = "auto",
        **training: Any,
    ) -> keras.callbacks.History:
        """Trains on data; builds first when needed.

        Args:
            data: A path (.jsonl, .tsv, .csv), "tfds:NAME[SPLIT]", arrays, a DataFrame or a `tf.data.Dataset`;
                None takes the data that the task has of its own, if it has any.
            validation_data: The same, or what to hold out of `data`, stratified by label: a share (0.1) or a
                number of rows (200).
            run_dir: Folder for checkpoints, history, logs and the report; None saves nothing.
            resume: "auto" goes on if `run_dir` holds a run, "must" demands one, "never" refuses one.
            init_from: Folder of another run whose weights to start from, or a file of another program that
                the task can read.
            partial: Leave out weights that differ in shape or name from those of `init_from`, instead of
                refusing it.
            freeze: Same as calling `freeze` before.
            unfreeze: `kerasft.Gradual`, `kerasft.Milestones`, or their text form "gradual:1".
            callbacks: Keras callbacks, as `fit` takes them.
            columns: The task's column name to the data's.
            sample_weight: Column with the weight of each row.
            on_error: "raise" stops at a bad row, "skip" counts it.
            verbose: "auto", "bar", "line" or "quiet".
            **training: Fields of `kerasft.TrainingConfig`, such as `epochs=5`, instead of the config's.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ConfigError: a wrong argument.
            DataError: a bad file or row.
            TrainingError: training cannot start or go on.
            Interrupted: SIGINT or SIGTERM came; the state was saved.
        """
        if training:
            values = self.config.model_dump()
            values["training"] = {**dict(self.config.training), **training}
            self.config = configs.parse(self.config_class, values, where=self.name)
            self.given |= _given(training)
        run = Run(run_dir) if run_dir is not None else None
        with run.lock() if run is not None else contextlib.nullcontext():
            return finetune(
                self,
                data,
                validation_data=validation_data,
                run=run,
                resume=resume,
                init_from=init_from,
                partial=partial,
                freeze=freeze,
                unfreeze=unfreeze,
                callbacks=callbacks,
                columns=columns,
                sample_weight=sample_weight,
                on_error=on_error,
                reporter=Reporter(verbose=verbose),
            )

    def evaluate(
        self,
        data: Any = None,
        *,
        batch_size: int | None = None,
        columns: Mapping[str, str] | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        verbose: Verbosity = "auto",
    ) -> dict[str, float]:
        """Measures on data with targets.

        Args:
            data: The same as for `finetune`.
            batch_size: Examples at once; that of the config if None.
            columns: The task's column name to the data's.
            on_error: "raise" stops at a bad row, "skip" counts it.
            verbose: "auto", "bar", "line" or "quiet".

        Returns:
            "loss", every scalar metric by name, and what the task measures beyond.

        Raises:
            OrderError: before `build` or `finetune`.
            DataError: a bad file or row.
        """
        _ = self.model
        check_measurable(self)
        reporter = Reporter(verbose=verbose)
        source = open_source(
            self.open_data(self.own_data("test") if data is None else data),
            fields=self.fields(),
            columns=columns,
            on_error=on_error,
            default_splits=("test",),
        )
        for note in filter(None, (*source.notes, self.measure_note())):
            reporter.say(note)
        source = self.arranged(source, training=False, reporter=reporter)
        with reporter.bar("encoding", total=len(source)) as bar:
            examples = Examples(task=self, source=source, targets=True, progress=bar.update)
        self.evaluation_metrics = self.metrics()
        with reporter.bar("evaluating", total=len(source)) as bar:
            return Evaluator(task=self, metrics=self.evaluation_metrics).run(
                examples, batch_size=batch_size or self.config.training.batch_size, progress=bar.update
            )

    def predict(
        self,
        data: Any,
        *,
        signature: str = "serving_default",
        columns: Mapping[str, str] | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        verbose: Verbosity = "auto",
    ) -> dict[str, np.ndarray]:
        """Returns what the SavedModel would answer: output name to array.

        Large data goes through the model in parts: outputs whose first dimension is unknown are joined,
        `row_splits` (where the flat values of each row begin and end) are renumbered, others (a list of
        labels) stand once.

        Args:
            data: Raw values of the only input (a list), or anything that `finetune` takes, without targets.
            signature: Which of `signatures` to ask.
            columns: The task's column name to the data's.
            on_error: "raise" stops at a bad row, "skip" leaves it without an answer and counts it.
            verbose: "auto", "bar", "line" or "quiet".

        Returns:
            What `postprocess` returns, as arrays `[rows, ...]` by name.

        Raises:
            ConfigError: there is no such signature.
            OrderError: before `build` or `finetune`.
            DataError: a bad file or row.
        """
        _ = self.model
        if signature not in self._predictors:
            self._predictors[signature] = Predictor(self, signature)
        self._asked = signature
        return self._predictors[signature].predict(
            data, columns=columns, on_error=on_error, reporter=Reporter(verbose=verbose)
        )

    @property
    def row_outputs(self) -> frozenset[str]:
        """Names of the outputs that `predict` last gave for each row; the others stand once for all rows.

        Raises:
            OrderError: before `predict`.
        """
        if self._asked not in self._predictors:
            raise OrderError(f"The task {self.name!r} has not answered anything yet: call predict() first.")
        return self._predictors[self._asked].row_outputs

    def embed(self, data: Any) -> np.ndarray:
        """Returns a vector for each row of data, as another task can learn from: float32 `[rows, width]`.

        The default is the output "embedding" of `predict`.

        Args:
            data: The same as for `predict`.

        Raises:
            ConfigError: the task has no vectors.
            OrderError: before `build` or `finetune`.
            DataError: a bad file or row.
        """
        answers = self.predict(data, verbose="quiet")
        if "embedding" not in answers:
            raise ConfigError(
                f"The task {self.name!r} as it is configured gives no embedding, only {', '.join(answers)}."
            )
        return answers["embedding"]

    def export(
        self,
        target: str | Path,
        *,
        version: int | None = None,
        verify: bool = True,
        batching: Batching | None = None,
    ) -> ExportReport:
        """Writes a SavedModel as the next version under `target`: verified, warm, and only then visible.

        Args:
            target: Folder of the model; versions are its numbered subfolders.
            version: Number of the version; the next free one if None.
            verify: Reload it in a fresh process and compare.
            batching: Let the graph batch requests that arrive side by side, a `kerasft.export.Batching`.

        Raises:
            OrderError: before `build` or `finetune`.
            ExportError: a check failed, or the folder cannot be written.
        """
        _ = self.model
        return export_task(self, Path(target), version=version, verify=verify, batching=batching)

    # --------------------------------------------------------------------------------------- Beyond the verbs

    def arranged(self, source: Source, *, training: bool, reporter: Reporter) -> Source:
        """Returns what `arrange` makes of rows, and says what it notes about them."""
        result = self.arrange(source, training=training)
        for note in result.notes:
            if note not in source.notes:
                reporter.say(note)
        return result

    def own_data(self, split: Literal["train", "test"]) -> Any:
        """Returns what `default_data` gives.

        Raises:
            DataError: it gives none.
        """
        data = self.default_data(split)
        if data is None:
            raise DataError(
                f"The task {self.name!r} has no {split} data of its own: give a path or arrays (--data)."
            )
        return data

    def save_adapters(self, path: str | Path) -> None:
        """Writes what trains under the present policy (LoRA pairs, their biases, the head) to a small .npz.

        Args:
            path: A file whose name ends in .npz.

        Raises:
            OrderError: before `build`.
        """
        save_adapters(self.freezing, Path(path))

    def load_adapters(self, path: str | Path) -> None:
        """Reads what `save_adapters` wrote into a task built from the same config, and freezes the rest.

        Args:
            path: The file.

        Raises:
            OrderError: before `build`.
            TrainingError: the file does not fit the model.
        """
        load_adapters(self.freezing, Path(path))
        self.forget_answers()

    def dump_config(self) -> dict[str, Any]:
        """Returns the config as JSON-able values."""
        return json.loads(self.config.model_dump_json())

    def forget_answers(self) -> None:
        """Drops the graphs that `predict` has traced, since what they read has changed.

        `build`, `freeze` and `load_adapters` call it. Override it to drop more, and call this one too.
        """
        self._predictors.clear()

    def forward_through(self, prefix: FrozenPrefix | None) -> None:
        """Lets training run a frozen prefix apart from the rest of the model (None: the model as a whole)."""
        if self.forward is not None:
            self.forward.prefix = prefix


def _given(training: Any) -> set[str]:
    if isinstance(training, configs.TrainingConfig):
        return set(training.model_fields_set)
    return {name for name, value in (training or {}).items() if value is not None}


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
