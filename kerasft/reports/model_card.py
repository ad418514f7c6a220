"""The model card of an export: what it answers, how well, and how to ask it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kerasft.pretrained.catalogue import CATALOGUE
from kerasft.reports.facts import Facts, summary_of
from kerasft.reports.markdown import cell, fenced, table
from kerasft.reports.requests import python_request, rest_request
from kerasft.reports.ticks import number

if TYPE_CHECKING:
    from kerasft.task import Task
    from kerasft.training.run import Run

_SHOWN_CLASSES = 200
_VALIDATION = "val_"
_WEAK = 0.5  # a recall below this is worth a warning
_SKEWED = 10  # so is a class this many times rarer than another

Outputs = Mapping[str, Mapping[str, Any]]


def model_card(
    task: Task,
    *,
    name: str | None = None,
    metrics: Mapping[str, float] | None = None,
    run: Run | None = None,
    outputs: Outputs | None = None,
    limits: Sequence[str] = (),
) -> str:
    """Describes an exported model in Markdown.

    Args:
        task: Built.
        name: What a server calls the model; the task's name if None.
        metrics: What was measured; the task's last metrics if None.
        run: Where it was trained: adds class scores and what follows from them.
        outputs: Signature to output name to anything with a dtype and a shape, for example the
            `structured_outputs` of concrete functions.
        limits: Sentences about what the model cannot do, besides those that follow from the run.

    Returns:
        The text, which ends in a newline.

    Example:
        >>> Path("saved_models/reviews/README.md").write_text(model_card(task))     # doctest: +SKIP
        2310
    """
    name = name or task.name
    facts = Facts.read(task, run) if run is not None and run.exists() else None
    metrics = task.last_metrics if metrics is None else metrics
    parts = [f"# {cell(name)}", cell(summary_of(task)), f"Task `{task.name}`, made with kerasft."]
    parts += _labels(task)
    parts += _metrics(metrics, facts)
    parts += ["## Signatures", *_signatures(task, name, outputs or {})]
    parts += ["## Limits", "\n".join(f"- {limit}" for limit in [*limits, *_limits(task, facts, metrics)])]
    parts += _weights(task)
    return "\n\n".join(part for part in parts if part) + "\n"


def _labels(task: Task) -> list[str]:
    found = [(field.name, field.classes) for field in task.fields() if field.target and field.classes]
    parts = ["## Labels"] if found else []
    for field, classes in found:
        shown, more = classes[:_SHOWN_CLASSES], len(classes) - _SHOWN_CLASSES
        ending = f", the first {_SHOWN_CLASSES} of them" if more > 0 else ""
        parts += [f"{len(classes)} classes of {cell(field)}{ending}:", fenced(list(shown), "json")]
    return parts


def _metrics(metrics: Mapping[str, float], facts: Facts | None) -> list[str]:
    parts: list[str] = []
    if any(metric.startswith(_VALIDATION) for metric in metrics):
        names = dict.fromkeys(metric.removeprefix(_VALIDATION) for metric in metrics)
        both = [(name, metrics.get(name), metrics.get(_VALIDATION + name)) for name in names]
        rows = [(name, *map(number, values)) for name, *values in both]
        parts.append(table(["metric", "training", "validation"], rows))
    elif metrics:
        parts.append(table(["metric", "value"], [(name, number(value)) for name, value in metrics.items()]))
    for title, noted in (facts.notes.get("evaluations", {}) if facts else {}).items():
        measured = [(metric, number(value)) for metric, value in noted["values"].items()]
        after = f" after epoch {noted['epoch']}" if noted.get("epoch") else ""
        parts += [f"{title.capitalize()}{after}:", table(["metric", "value"], measured)]
    return ["## Metrics", *parts] if parts else []


def _signatures(task: Task, name: str, outputs: Outputs) -> Iterator[str]:
    rows = task.example()
    for signature, specs in task.signatures().items():
        yield f"### `{signature}`"
        sides = [("input", specs), ("output", outputs.get(signature, {}))]
        lines = [(side, key, _type(spec)) for side, tensors in sides for key, spec in sorted(tensors.items())]
        yield table(["", "name", "type"], lines)
        if set(specs) <= set(rows):
            batched = all(spec.shape.rank == 1 for spec in specs.values())
            request = {key: list(rows[key][: 2 if batched else 1]) for key in specs}
            yield "Over gRPC, from Python without TensorFlow:"
            yield fenced(python_request(name, signature, request), "python")
            yield f"Over REST, `POST /v1/models/{name}:predict`:"
            yield fenced(rest_request(signature, request), "json")


def _type(spec: Any) -> str:
    dims = spec.shape.as_list() if spec.shape.rank is not None else None
    shape = "?" if dims is None else ", ".join("?" if size is None else str(size) for size in dims)
    return f"{spec.dtype.name}[{shape}]"


def _limits(task: Task, facts: Facts | None, metrics: Mapping[str, float]) -> Iterator[str]:
    if task.notice:
        yield task.notice
    if any(field.target and field.classes for field in task.fields()):
        yield "It answers only with the labels above, also where none of them fits."
    yield "What it learned is what its training data showed; test it on your own data before you rely on it."
    evaluations = facts.notes.get("evaluations", {}) if facts else {}
    if not evaluations and not any(metric.startswith(_VALIDATION) for metric in metrics):
        yield "No validation was recorded, so how well it does on new data is unknown."
    counts = (facts.notes.get("balance") or {}).get("counts", {}) if facts else {}
    present = {label: count for label, count in counts.items() if count}
    if present and max(present.values()) >= _SKEWED * min(present.values()):
        rare, common = min(present, key=present.__getitem__), max(present, key=present.__getitem__)
        yield (
            f"The training data is unbalanced: {present[common]:,} examples of {cell(common)}, "
            f"{present[rare]:,} of {cell(rare)}."
        )
    for title, noted in evaluations.items():
        if noted.get("classes"):
            columns = noted["classes"]
            scored = zip(columns["names"], columns["recall"], columns["support"], strict=True)
            weak = [label for label, recall, support in scored if support and recall < _WEAK]
            if weak:
                shown = ", ".join(cell(label) for label in weak[:10]) + (", ..." if len(weak) > 10 else "")
                yield f"In {title} it missed more than half of the examples of: {shown}."


def _weights(task: Task) -> list[str]:
    lines = []
    for value in _strings(task.dump_config()):
        entry = CATALOGUE.get(value)
        if entry is not None:
            lines.append(
                f"- `{entry.name}`: {entry.description} Licence: {entry.licence} "
                f"(from {entry.distribution} {entry.version})."
            )
        elif value.startswith(("hf://", "kaggle://")):
            lines.append(f"- {cell(value)}: its licence is on its page.")
    return ["## Pretrained weights", "\n".join(dict.fromkeys(lines))] if lines else []


def _strings(config: Mapping[str, Any]) -> Iterator[str]:
    """Yields the values that may name weights: not lists, which hold labels."""
    for value in config.values():
        if isinstance(value, Mapping):
            yield from _strings(value)
        elif isinstance(value, str):
            yield value
