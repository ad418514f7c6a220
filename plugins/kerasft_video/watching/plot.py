"""The curve of scores and its alarms, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasft_video.watching.alarms import Alarm
from kerasft_video.watching.hysteresis import Rule

if TYPE_CHECKING:
    from kerasft_video.watching.watcher import Score


class Curve:
    """Keeps scores and alarms, and draws them.

    Args:
        classes: Labels to draw.
        rule: Its thresholds are drawn too.
    """

    def __init__(self, classes: tuple[str, ...], rule: Rule) -> None:
        self._classes, self._rule = classes, rule
        self._times: list[float] = []
        self._values: dict[str, list[tuple[float, float]]] = {label: [] for label in classes}
        self._spans: dict[str, list[Any]] = {}

    def score(self, score: Score) -> None:
        """Takes a score."""
        self._times.append(score.source_time)
        for label in self._classes:
            at = score.labels.index(label)
            self._values[label].append((float(score.raw[at]), float(score.smooth[at])))

    def alarm(self, alarm: Alarm) -> None:
        """Takes the beginning or the end of an alarm."""
        self._spans.setdefault(alarm.id, [alarm.label]).append(alarm.source_time)

    def save(self, path: Path) -> None:
        """Draws a .png, .svg or .pdf."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 2.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for number, label in enumerate(self._classes):
            colour = f"C{number}"
            raw, smooth = zip(*self._values[label], strict=True) if self._values[label] else ((), ())
            axes.plot(self._times, raw, color=colour, alpha=0.35, linewidth=0.8)
            axes.plot(self._times, smooth, color=colour, linewidth=1.6, label=label)
            for name, *span in self._spans.values():
                if name == label:
                    axes.axvspan(span[0], span[-1], color=colour, alpha=0.15, linewidth=0)
        for value, style in ((self._rule.on, "--"), (self._rule.off, ":")):
            axes.axhline(value, color="0.4", linestyle=style, linewidth=0.8)
        axes.set(xlabel="seconds", ylabel="score", ylim=(-0.02, 1.02))
        axes.legend(loc="upper right", frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
