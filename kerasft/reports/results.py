"""The parts of a run report that say how well it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kerasft.reports.classes import ClassScores
from kerasft.reports.curves import line_chart
from kerasft.reports.facts import Curve, Facts
from kerasft.reports.heatmap import confusion_picture
from kerasft.reports.markup import Html, bar, details, join, section, table, tag
from kerasft.reports.ticks import compact, duration, number

_CHARTS = 6  # the others are folded away
_CLASSES = 30  # more are shown as extremes, the whole table folded away
_PAIRS = 15
_BALANCE = 20


def tiles(facts: Facts) -> Html:
    """Returns the main numbers."""
    shown: list[tuple[str, str]] = []
    if facts.best is not None:
        epoch, monitor, value = facts.best
        shown.append((number(value), f"best {readable(monitor)}, epoch {epoch}"))
        test = facts.notes.get("evaluations", {}).get("test", {}).get("values", {})
        metric = monitor.removeprefix("val_")
        if metric in test:
            shown.append((number(test[metric]), f"test {readable(metric)}"))
    wanted = facts.manifest["config"].get("training", {}).get("epochs")
    done = len(facts.epochs)
    shown.append((str(done) if done == wanted or not wanted else f"{done} of {wanted}", "epochs"))
    report = facts.phases[-1]
    shown.append((compact(report.trainable), f"of {compact(report.parameters)} parameters train"))
    if facts.seconds is not None:
        stretches = f", in {len(facts.sessions)} sessions" if len(facts.sessions) > 1 else ""
        shown.append((duration(facts.seconds), f"of training{stretches}"))
    return tag(
        "div",
        *(tag("div", tag("b", value), tag("span", label), class_="tile") for value, label in shown),
        class_="tiles",
    )


def curves(facts: Facts) -> Html:
    """Returns a chart for each metric."""
    if not facts.epochs:
        return section("Training", tag("p", "No epoch has ended yet.", class_="soft"))
    if len(facts.epochs) == 1:
        return section("Training", _metrics(facts))
    charts = [_chart(curve, facts) for curve in facts.curves]
    parts = [tag("div", *charts[:_CHARTS], class_="charts")]
    if charts[_CHARTS:]:
        parts.append(
            details(f"{len(charts) - _CHARTS} more curves", tag("div", *charts[_CHARTS:], class_="charts"))
        )
    return section("Training", *parts, _metrics(facts))


def _chart(curve: Curve, facts: Facts) -> Html:
    both = {"training": curve.training, "validation": curve.validation}
    series = {name: list(zip(facts.epochs, values, strict=False)) for name, values in both.items() if values}
    keys = (tag("span", tag("i", class_=name), name, class_="key") for name in series)
    mark = facts.best.epoch if facts.best and curve.validation else None
    chart = line_chart(series, title=f"{readable(curve.name)} by epoch", mark=mark)
    return tag("figure", tag("figcaption", tag("strong", readable(curve.name)), join(keys)), chart)


def _metrics(facts: Facts) -> Html:
    best = facts.epochs.index(facts.best.epoch) if facts.best and facts.best.epoch in facts.epochs else None
    columns = [("training", "training", -1)]
    if any(curve.validation for curve in facts.curves):
        columns.append(("validation", "validation", -1))
    if best is not None and best + 1 < len(facts.epochs):
        columns.append((f"validation, epoch {facts.epochs[best]} (best)", "validation", best))
    rows = [
        (readable(curve.name), *(number(_value(getattr(curve, part), place)) for _, part, place in columns))
        for curve in facts.curves
    ]
    return join(
        [
            tag("h3", f"Metrics after epoch {facts.epochs[-1]}"),
            table(["metric", *(heading for heading, _, _ in columns)], rows),
        ]
    )


def _value(values: Sequence[float | None], place: int) -> float | None:
    return values[place] if -len(values) <= place < len(values) else None


def evaluation(title: str, noted: Mapping[str, Any]) -> Html:
    """Returns an evaluation's metrics, confusions and classes."""
    epoch = f" after epoch {noted['epoch']}" if noted.get("epoch") else ""
    values = ", ".join(f"{readable(name)} {number(value)}" for name, value in noted["values"].items())
    parts: list[Any] = [tag("p", values, class_="soft")] if values else []
    if noted.get("classes"):
        scores = ClassScores.from_json(noted["classes"])
        parts += [*_confusions(scores), tag("h3", "Classes"), *_classes(scores)]
    return section(f"{title.capitalize()}{epoch}", *parts) if parts else Html("")


def _confusions(scores: ClassScores) -> list[Html]:
    if scores.confusion is None:
        return []
    caption = "Rows are true classes, columns what was predicted; the shade is the share of the true class."
    picture = confusion_picture(scores.confusion, scores.names)
    parts = [tag("h3", "Confusions"), tag("figure", tag("figcaption", caption, class_="soft"), picture)]
    pairs = scores.confused(limit=_PAIRS)
    if len(scores.names) > _CLASSES and pairs:
        rows = [(true, predicted, f"{count:,.0f}", f"{share:.1%}") for true, predicted, count, share in pairs]
        parts.append(tag("h3", "Most confused"))
        parts.append(table(["true", "predicted", "count", "share of true"], rows, text=2))
    return parts


def _classes(scores: ClassScores) -> list[Html]:
    headings = ["class", "precision", "recall", "F1", "examples", ""]
    rows = [
        (name, f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", f"{support:,.0f}", bar(f1))
        for name, precision, recall, f1, support in scores.rows()
    ]
    if len(rows) <= _CLASSES:
        return [table(headings, rows)]
    by_f1 = sorted(range(len(rows)), key=lambda i: scores.f1[i])
    return [
        tag("p", f"The {_PAIRS} of {len(rows)} classes with the lowest F1:", class_="soft"),
        table(headings, [rows[i] for i in by_f1[:_PAIRS]]),
        details(f"All {len(rows)} classes", table(headings, rows)),
    ]


def balance(noted: Mapping[str, Any] | None) -> Html:
    """Returns how often each class occurs in the training data, if known."""
    if not noted or not noted["counts"]:
        return Html("")
    counts = sorted(noted["counts"].items(), key=lambda item: -item[1])
    total, most = sum(count for _, count in counts) or 1, counts[0][1] or 1
    headings = ["class", "count", "share", ""]
    rows = [(name, f"{count:,}", f"{count / total:.1%}", bar(count / most)) for name, count in counts]
    said = f"{noted['rows']:,} rows, {len(counts)} classes of {noted['field']!r}"
    parts = [tag("p", said, class_="soft")]
    if len(rows) <= _BALANCE:
        parts.append(table(headings, rows))
    else:
        half = _BALANCE // 2
        gap = (tag("span", f"… {len(rows) - _BALANCE} more", class_="soft"), "", "", "")
        parts.append(table(headings, [*rows[:half], gap, *rows[-half:]]))
        parts.append(details(f"All {len(rows)} classes", table(headings, rows)))
    return section("Training data", *parts)


def readable(name: str) -> str:
    """Returns a metric's name for people.

    Example:
        >>> readable("val_macro_f1")
        'validation macro F1'
    """
    words = ("validation" + name.removeprefix("val")) if name.startswith("val_") else name
    return " ".join("F1" if word == "f1" else word for word in words.replace("_", " ").split(" "))
