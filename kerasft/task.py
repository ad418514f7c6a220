"""The task: five verbs for whoever uses one, a handful of methods for whoever writes one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import keras
import numpy as np
import tensorflow as tf

from kerasft import config as configs
from kerasft.averaging import average_tasks
from kerasft.data import Field, Source, open_source, split
from kerasft.errors import ConfigError, DataError, OrderError, SeveralModelsError
from kerasft.export.task import export_task
from kerasft.prediction import Predictor
from kerasft.training import device
from kerasft.training.adapterfile import load_adapters, save_adapters
from kerasft.training.augmentation import Augmentation
from kerasft.training.evaluation import Evaluator, check_measurable
from kerasft.training.examples import Examples
from kerasft.training.features import Forward, FrozenPrefix
from kerasft.training.finetune import finetune
from kerasft.training.freezereport import FreezeReport
from kerasft.training.freezing import Freezing, Policy
from kerasft.training.progress import Reporter, Verbosity
from kerasft.training.run import Run
from kerasft.training.schedules import Layerwise, Unfreeze
from kerasft.training.update import Batch, Update, weighted_mean

if TYPE_CHECKING:
    from kerasft.export import Batching, ExportReport


class Task:
    """Base class of tasks.

    Users call the verbs: `build`, `freeze`, `finetune`, `evaluate`, `predict`, `export`. Authors override the
    methods below "For authors"; those that raise NotImplementedError are abstract, the others have a sensible
    default.

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

    name: ClassVar[str] = ""
    config_class: ClassVar[type[configs.TaskConfig]] = configs.TaskConfig
    monitor: ClassVar[str] = "val_loss"

    def __init__(self, **values: Any) -> None:
        self.config: Any = configs.parse(self.config_class, values, where=self.name or type(self).__name__)
        self.given = _given(values.get("training"))
        self.models: dict[str, keras.Model] = {}
        self.forward: Forward | None = None
        self._freezing: Freezing | None = None
        self._predictors: dict[str, Predictor] = {}
        self._asked = ""
        self.run: Run | None = None
        self.last_metrics: dict[str, float] = {}
        self.evaluation_metrics: dict[str, keras.metrics.Metric] = {}
        self.notice = ""

    # -------------------------------------------------------------------------------------------- For authors

    def fields(self) -> tuple[Field, ...]:
        """Returns the columns that the task reads from data."""
        raise NotImplementedError(
            f"abstract: {type(self).__name__}.fields() must return the columns it reads"
        )

    def open_data(self, data: Any) -> Any:
        """Returns what a user passed to a verb as `kerasft.data.open_source` takes it, the default as it is.

        Override it for sorts of data of your own, such as a folder of pictures, and return a
        `kerasft.data.Records`.
        """
        return data

    def default_data(self, split: Literal["train", "test"]) -> Any:
        """Returns data for whoever gives none, such as a small set that ships with the plugin, or None."""
        return None

    def hold_out(self, source: Source, share: float) -> tuple[Source, Source]:
        """Splits training rows into those to train on and those to validate with.

        The default draws them at random, stratified by label.

        Args:
            source: All rows.
            share: What the caller gave as `validation_data`: a share, or a number of rows (an `int`).
        """
        label = next((field.name for field in self.fields() if field.kind == "label"), None)
        return split(source, share, seed=self.config.seed, stratify=label)

    def adapt(self, source: Source) -> None:
        """Learns from the training data, before `build_model`, what the config leaves open (labels, say)."""

    def extend(self, source: Source) -> None:
        """Learns from the training data of a task that is built already, such as ids that are new to it.

        Weights keep their shapes. It may see the same rows again, when a run is resumed.
        """

    def arrange(self, source: Source, *, training: bool) -> Source:
        """Turns rows, for training and evaluation, into those that are preprocessed; the default leaves them.

        Override it where an example is not a row of the data but several, such as all that one user chose.
        The fields of the source that it returns are what `preprocess` and `targets` get; its `notes` are
        said.

        Args:
            source: Rows with the task's `fields`.
            training: Whether they are trained on, under what is frozen now; else they are measured.
        """
        return source

    def save_assets(self, folder: Path) -> None:
        """Writes into `folder` what `build_model` needs beyond the config (vocabulary, architecture)."""

    def load_assets(self, folder: Path) -> None:
        """Reads what `save_assets` wrote; afterwards `build_model` must need nothing else."""

    def build_model(self) -> keras.Model | dict[str, keras.Model]:
        """Returns the model, or several by name, with fresh weights."""
        raise NotImplementedError(f"abstract: {type(self).__name__}.build_model() must return a Keras model")

    def load_pretrained(self, model: keras.Model | dict[str, keras.Model]) -> None:
        """Loads pretrained weights into a model just built; not called when a run is loaded."""

    @classmethod
    def import_file(cls, path: Path) -> Task | None:
        """Returns a task for a file that another program wrote: `finetune(init_from=...)` starts from it.

        Its config makes the networks of the file, its `load_pretrained` fills them when it is built, and its
        `notice` says what must be known of the weights.

        Args:
            path: A file that exists.

        Returns:
            The task, not built; None for a file of a kind that the task does not read, such as any by
            default.
        """
        return None

    def combine(self, sources: Sequence[Task]) -> None:
        """Fills the networks from several trained tasks; `finetune(init_from=[...])` starts from them.

        The default is the mean of their weights, which must be alike.

        Args:
            sources: In the order in which the caller named them.

        Raises:
            ConfigError: they do not fit together.
            TrainingError: their weights do not.
        """
        average_tasks(sources, self)

    def layer_groups(self, model: keras.Model | dict[str, keras.Model]) -> dict[str, list[keras.Layer]]:
        """Returns layer groups, ordered from input to head; every layer with weights in exactly one.

        The default makes a group of every layer with weights that the model holds directly.
        """
        models = model if isinstance(model, dict) else {"": model}
        return {
            f"{name}/{layer.name}" if name else layer.name: [layer]
            for name, part in models.items()
            for layer in part.layers
            if layer.weights
        }

    def freeze_policy(self, policy: Any) -> Policy:
        """Turns what a user passed to `freeze` into a policy that it knows, the default as it is.

        Override it for words of the task's own, such as "items", and return group names, patterns and so on.
        """
        return policy

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Turns raw columns into features, with TensorFlow operations only: the SavedModel uses it too.

        Args:
            raw: Column to tensor, see `kerasft.training.examples.raw_tensors`.

        Returns:
            Feature to tensor `[batch, ...]`. A RaggedTensor is of variable length: examples are bucketed by
            it, and the model gets it dense, padded with zeros.
        """
        raise NotImplementedError(
            f"abstract: {type(self).__name__}.preprocess() must turn raw columns into features"
        )

    def targets(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Turns raw columns into what `loss` and `metrics` compare with, with TensorFlow operations only.

        The default takes numeric target columns as they are.
        """
        return {
            f.name: raw[f.name] for f in self.fields() if f.target and f.kind == "number" and f.name in raw
        }

    def augmentation(self) -> Augmentation | None:
        """Returns how training batches are changed at random; None, the default, leaves them as they are.

        Examples are preprocessed once and then changed in every step, while the step before it runs, never in
        validation, `evaluate`, `predict` or an export. With an augmentation the feature cache is off.
        """
        return None

    def loss(self, batch: Batch, outputs: Any) -> tf.Tensor:
        """Returns one loss per example, float `[batch]`, or a scalar; the model's own losses are added."""
        raise NotImplementedError(f"abstract: {type(self).__name__}.loss() must return one loss per example")

    def updates(self, make_optimizer: Callable[..., keras.optimizers.Optimizer]) -> list[Update]:
        """Returns what a training step does; the default is one update of the one model by `loss`.

        Args:
            make_optimizer: Call it to get an optimizer as the config describes it. Keywords replace settings
                of the config (`learning_rate=1e-4`) and arguments of the optimizer that the config names
                (`beta_1=0.0`); an optimizer object stays as it is.
        """
        if self.forward is None:
            raise SeveralModelsError(
                f"The task {self.name!r} has several models and does not define updates(), which training "
                "needs: its author must."
            )
        return [
            Update(
                name="train",
                loss=lambda batch: self.supervised(batch, training=True),
                models=[self.forward.model],
                optimizer=make_optimizer(),
            )
        ]

    def averaged(self) -> Sequence[str]:
        """Returns the names of the models of which `training.ema` keeps an average; all, by default."""
        return tuple(self.models)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        """Returns fresh metrics by name; one whose result is a dict gives a value for each key."""
        return {}

    def score(self, batch: Batch, outputs: Any) -> tuple[Any, ...]:
        """Returns what metrics are updated with: (y_true, y_pred), or with a weight as third.

        The default is the only target, the outputs, and the sample weights.
        """
        (target,) = batch.targets.values()
        return (target, outputs) if batch.sample_weight is None else (target, outputs, batch.sample_weight)

    def update_metrics(
        self, metrics: Mapping[str, keras.metrics.Metric], batch: Batch, outputs: Any, *, training: bool
    ) -> None:
        """Updates all metrics in the graph, by default with what `score` returns.

        Args:
            metrics: Name to metric.
            batch: The batch.
            outputs: Those of the model, or what the losses of updates returned beside the loss.
            training: Whether the batch is of training, where rows come in any order.
        """
        if metrics:
            arguments = self.score(batch, outputs)
            for metric in metrics.values():
                metric.update_state(*arguments)

    def measure(
        self, examples: Examples, *, batch_size: int, progress: Callable[[int], None]
    ) -> dict[str, float]:
        """Returns what no metric can compute batch by batch: FID, BLEU of generated text, full rankings.

        `evaluate` and validation report it beside the loss and `metrics()`; of several models, which have no
        outputs of their own, it is all that they report.

        Args:
            examples: Rows with features and targets; `examples.batch(indices)` gives a `Batch`.
            batch_size: Examples at once.
            progress: Call it with the number of examples done.
        """
        return {}

    def measure_note(self) -> str:
        """Returns a sentence about what `measure` returns, for whoever reads the values; nothing by default.

        `evaluate` says it, and `finetune` with validation data.
        """
        return ""

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Returns callbacks of every training of this task, such as one that draws samples.

        They act before those of the user, so that what they add to the logs of an epoch can be monitored. At
        the end of an epoch the models hold their average weights, if there are any; `run` is the run.
        """
        return []

    def postprocess(self, outputs: Any, features: dict[str, Any]) -> dict[str, Any]:
        """Turns model outputs into named tensors for people and clients, with TensorFlow operations only."""
        raise NotImplementedError(
            f"abstract: {type(self).__name__}.postprocess() must return a dict of named tensors"
        )

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        """Turns rows of data into the inputs of a signature, for `predict`.

        The default takes the columns of these names; override it where data may come in another layout.

        Args:
            rows: Column to a list of values, of the fields that are no targets and that the data has.
            signature: One of `signatures`.
        """
        return {name: rows[name] for name in self.signatures()[signature] if name in rows}

    def serve(self, inputs: dict[str, Any], *, signature: str) -> dict[str, Any]:
        """Answers a request of a signature; the default is preprocess, model, postprocess."""
        features = self.preprocess(inputs)
        dense = {k: v.to_tensor() if isinstance(v, tf.RaggedTensor) else v for k, v in features.items()}
        return self.postprocess(self._built_forward()(Batch(dense, {}), training=False), dense)

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        """Returns signature name to input name to `tf.TensorSpec`; "serving_default" must be one of them."""
        raise NotImplementedError(
            f"abstract: {type(self).__name__}.signatures() must name the inputs of serving_default"
        )

    def calls(self) -> dict[str, str]:
        """Returns what clients call the signatures, name to signature: "serving_default" is `predict`.

        A client that knows the export's manifest offers them as `client.TASK.NAME(...)`.
        """
        return {"predict" if name == "serving_default" else name: name for name in self.signatures()}

    def example(self) -> dict[str, list[Any]]:
        """Returns a few raw rows, targets included: column to values."""
        raise NotImplementedError(f"abstract: {type(self).__name__}.example() must return a few raw rows")

    def next_request(self, answer: dict[str, Any], *, signature: str) -> tuple[str, dict[str, Any]] | None:
        """Returns what a client sends after an answer, where a signature goes on with what another one gave.

        An export adds it to the warm-up requests; what no `example` can hold, such as a state, is warm then.

        Args:
            answer: What the signature gave for the first row of `example`, arrays by name.
            signature: Its name.

        Returns:
            A signature and its inputs, or None if nothing follows.
        """
        return None

    def estimate(self) -> dict[str, str]:
        """Returns what a training with this config costs, name to a sentence with its formula.

        `kerasft describe` prints it. It must need neither data nor `build`; the default is nothing.
        """
        return {}

    def served_weights(self) -> list[Any]:
        """Returns the variables of the models that `serve` reads, to be exported; all, by default.

        Override it where `serve` reads others, such as copies in fewer bits.
        """
        return [weight.value for model in self.models.values() for weight in model.weights]

    def resources(self) -> list[Any]:
        """Returns lookup tables and the like that `preprocess` and `postprocess` use, to be exported."""
        return []

    def export_facts(self) -> dict[str, Any]:
        """Returns what is to be known of an export beyond config and metrics, such as what an index finds.

        The manifest has it as "facts", and the report says it; fit for JSON. It is asked after `resources`;
        the default is nothing.
        """
        return {}

    def forget_answers(self) -> None:
        """Drops the graphs that `predict` has traced, since what they read has changed.

        `build`, `freeze` and `load_adapters` call it. Override it to drop more, and call this one too.
        """
        self._predictors.clear()

    # -------------------------------------------------------------------------------------------------- Verbs

    @property
    def model(self) -> keras.Model:
        """The model; of several, the first.

        Raises:
            OrderError: before `build`.
        """
        if not self.models:
            raise OrderError(
                f"The task {self.name!r} has no model yet: call build() first, or finetune(), which builds."
            )
        return next(iter(self.models.values()))

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
            validation_data: The same, or a fraction of `data` to hold out (stratified by label).
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

    def forward_through(self, prefix: FrozenPrefix | None) -> None:
        """Lets training run a frozen prefix apart from the rest of the model (None: the model as a whole)."""
        if self.forward is not None:
            self.forward.prefix = prefix

    def supervised(self, batch: Batch, *, training: bool) -> tuple[tf.Tensor, Any]:
        """Returns the loss of a batch, a scalar with the model's own losses in it, and its outputs."""
        forward = self._built_forward()
        outputs = forward(batch, training=training)
        loss = weighted_mean(self.loss(batch, outputs), batch.sample_weight)
        if forward.model.losses:
            loss += tf.add_n([tf.cast(extra, loss.dtype) for extra in forward.model.losses])
        return loss, outputs

    def _built_forward(self) -> Forward:
        _ = self.model
        if self.forward is None:
            raise SeveralModelsError(
                f"The task {self.name!r} has several models and does not define serve(), which this needs: "
                "its author must."
            )
        return self.forward


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
