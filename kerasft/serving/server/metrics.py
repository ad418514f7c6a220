"""What Prometheus scrapes: TensorFlow Serving's metrics under its names, in its format."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence

PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = "text/plain"

Labels = tuple[str, ...]


class Counter:
    """A number for each combination of label values, that only grows.

    Args:
        name: Its name, with colons where TensorFlow Serving has slashes.
        labels: Names of its labels.

    Example:
        >>> requests = Counter(":tensorflow:serving:request_count", labels=("model_name", "status"))
        >>> requests.add("m", "OK")
        >>> print(*requests.lines(), sep="\\n")
        # TYPE :tensorflow:serving:request_count counter
        :tensorflow:serving:request_count{model_name="m",status="OK"} 1
    """

    def __init__(self, name: str, *, labels: Sequence[str]) -> None:
        self.name = name
        self.labels = tuple(labels)
        self._lock = threading.Lock()
        self._values: dict[Labels, int] = {}

    def add(self, *values: str, by: int = 1) -> None:
        """Adds to the number with these label values."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + by

    def lines(self) -> list[str]:
        """Returns its lines of the page."""
        with self._lock:
            found = sorted(self._values.items())
        head = f"# TYPE {self.name} counter"
        return [head, *(f"{self.name}{{{_named(self.labels, values)}}} {count}" for values, count in found)]


class Histogram:
    """Numbers counted in buckets whose limits grow by a factor, for each combination of label values.

    Args:
        name: Its name, with colons where TensorFlow Serving has slashes.
        labels: Names of its labels.
        start: Limit of the first bucket.
        factor: The quotient of two limits.
        buckets: How many there are, the last and unlimited one included.
    """

    def __init__(
        self, name: str, *, labels: Sequence[str], start: float, factor: float, buckets: int
    ) -> None:
        self.name = name
        self.labels = tuple(labels)
        self.limits = [start * factor**i for i in range(buckets - 1)]
        self._lock = threading.Lock()
        self._values: dict[Labels, tuple[list[int], list[float]]] = {}

    def add(self, value: float, *labels: str) -> None:
        """Counts a number under these label values."""
        with self._lock:
            found = self._values.get(labels)
            if found is None:
                found = self._values[labels] = ([0] * (len(self.limits) + 1), [0.0])
            counts, total = found
            counts[bisect.bisect_right(self.limits, value)] += 1
            total[0] += value

    def lines(self) -> list[str]:
        """Returns its lines of the page."""
        with self._lock:
            found = [(labels, list(counts), total[0]) for labels, (counts, total) in self._values.items()]
        lines = [f"# TYPE {self.name} histogram"]
        limits = [*(f"{limit:g}" for limit in self.limits), "+Inf"]
        for labels, counts, total in sorted(found):
            named, so_far = _named(self.labels, labels), 0
            for limit, count in zip(limits, counts, strict=True):
                so_far += count
                lines.append(f'{self.name}_bucket{{{named},le="{limit}"}} {so_far}')
            lines.append(f"{self.name}_sum{{{named}}} {total:g}")
            lines.append(f"{self.name}_count{{{named}}} {so_far}")
        return lines


class Metrics:
    """The metrics of one server; times are in microseconds."""

    def __init__(self) -> None:
        prefix = ":tensorflow:serving:"
        self.request_count = Counter(f"{prefix}request_count", labels=("model_name", "status"))
        self.request_latency = Histogram(
            f"{prefix}request_latency",
            labels=("model_name", "API", "entrypoint"),
            start=10,
            factor=1.8,
            buckets=33,
        )
        self.runtime_latency = Histogram(
            f"{prefix}runtime_latency",
            labels=("model_name", "API", "runtime"),
            start=10,
            factor=1.8,
            buckets=33,
        )
        self.example_counts = Histogram(
            f"{prefix}request_example_counts", labels=("model",), start=1, factor=2, buckets=15
        )
        self.example_count_total = Counter(f"{prefix}request_example_count_total", labels=("model",))
        self.queuing_latency = Histogram(
            f"{prefix}batching_session:queuing_latency",
            labels=("thread_pool_name",),
            start=100,
            factor=1.2,
            buckets=52,
        )

    def page(self) -> str:
        """Returns the page that a scrape gets."""
        metrics = (value for value in vars(self).values() if isinstance(value, Counter | Histogram))
        lines = [
            line for metric in sorted(metrics, key=lambda metric: metric.name) for line in metric.lines()
        ]
        return "\n".join(lines) + "\n"


def _named(names: Labels, values: Labels) -> str:
    pairs = zip(names, values, strict=True)
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
