"""What the author of a task writes: a handful of methods, most of them with a default."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import keras
import tensorflow as tf

from kerasft import config as configs
from kerasft.averaging import average_tasks
from kerasft.data import Field, Source, split
from kerasft.errors import OrderError, SeveralModelsError
from kerasft.training.augmentation import Augmentation
from kerasft.training.examples import Examples
from kerasft.training.features import Forward
from kerasft.training.freezing import Policy
from kerasft.training.update import Batch, Update, weighted_mean

if TYPE_CHECKING:
    from kerasft.task import Task


class Contract:
    """The methods that authors of tasks override, in a subclass of `kerasft.Task`, which adds the verbs.

    Those that raise NotImplementedError are abstract, the others have a sensible default. `config`, `models`
    and `model` are there for them, and `supervised` for losses of `updates`.

    Attributes:
        config: The validated config.
        models: Name to model, after `build`.
        forward: The only model as losses call it, after `build`; None of several.
    """

    name: ClassVar[str] = ""
    config_class: ClassVar[type[configs.TaskConfig]] = configs.TaskConfig
    monitor: ClassVar[str] = "val_loss"

    config: Any
    models: dict[str, keras.Model]
    forward: Forward | None

    # -------------------------------------------------------------------------------------------- To override

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

    # ------------------------------------------------------------------------------------------------ To call

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
