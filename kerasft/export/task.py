"""The verb export: from a task to a published, verified SavedModel with a model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasft.export.batching import Batching, batch_in_graph
from kerasft.export.report import ExportReport
from kerasft.export.savedmodel import Example, export_savedmodel, input_specs

if TYPE_CHECKING:
    from kerasft.task import Task


def export_task(
    task: Task, target: Path, *, version: int | None, verify: bool, batching: Batching | None
) -> ExportReport:
    """Exports `task`; see `Task.export` for the arguments."""
    import tensorflow as tf

    from kerasft.prediction import trace
    from kerasft.reports import model_card
    from kerasft.training.adapters import merged
    from kerasft.training.checkpoint import write_atomically

    module = tf.Module()
    module.weights = task.served_weights()
    module.resources = task.resources()
    facts = task.export_facts()
    with merged(list(task.models.values())):
        signatures = {name: trace(task, name) for name in task.signatures()}
        if batching is not None:
            signatures = {name: batch_in_graph(name, one, batching) for name, one in signatures.items()}
        report = export_savedmodel(
            module,
            signatures=signatures,
            target=target,
            examples=_examples(task, signatures),
            manifest={
                "task": task.name,
                "config": task.dump_config(),
                "metrics": task.last_metrics,
                "calls": _calls(task, signatures),
                "facts": facts,
            },
            version=version,
            verify=verify,
        )
    report = replace(report, facts=facts)
    outputs = {name: function.structured_outputs for name, function in signatures.items()}
    card = model_card(task, name=target.name, run=task.run, outputs=outputs).encode(errors="replace")
    write_atomically(target / "README.md", lambda file: file.write(card))
    return report


def _calls(task: Task, signatures: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the calls that clients offer by the task's own names: signature, inputs and outputs of each."""
    return {
        call: {
            "signature": name,
            "inputs": {key: _described(spec) for key, spec in input_specs(signatures[name]).items()},
            "outputs": {key: _described(spec) for key, spec in signatures[name].structured_outputs.items()},
        }
        for call, name in task.calls().items()
    }


def _described(spec: Any) -> str:
    rank = spec.shape.rank
    sizes = "..." if rank is None else ",".join("?" if size is None else str(size) for size in spec.shape)
    return f"{spec.dtype.name}[{sizes}]"


def _dense(tensor: Any) -> Any:
    return tensor.to_tensor() if hasattr(tensor, "to_tensor") else tensor


def _examples(task: Task, signatures: Mapping[str, Any]) -> list[Example]:
    """Returns requests of all rows at once and of one row, for each signature that the example fits.

    And the one that follows, where a signature goes on with what another one gave.
    """
    import tensorflow as tf

    from kerasft.task import Task
    from kerasft.training.examples import raw_tensors

    rows = task.example()
    examples: list[Example] = []
    for name, specs in task.signatures().items():
        if set(specs) <= set(rows):
            fields = tuple(field for field in task.fields() if field.name in specs)
            tensors = raw_tensors({k: rows[k] for k in specs}, fields)
            raw = {k: _dense(tensor).numpy() for k, tensor in tensors.items()}
            one = {k: v[:1] for k, v in raw.items()}
            examples += [(name, raw), (name, one)]
            if type(task).next_request is not Task.next_request:
                answer = signatures[name](**{k: tf.constant(v) for k, v in one.items()})
                following = task.next_request({k: v.numpy() for k, v in answer.items()}, signature=name)
                examples += [] if following is None else [following]
    return examples
