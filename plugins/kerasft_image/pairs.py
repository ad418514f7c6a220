"""Is it the same person? Errors over all pairs of pictures, for every threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerasft.errors import DataError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """The receiver operating characteristic of a similarity.

    Attributes:
        thresholds: Falling; a pair counts as the same person from the threshold on.
        far: False accept rate at each: the share of pairs of two persons that count as the same.
        tar: True accept rate at each: the share of pairs of one person that count as the same.
        same: Number of pairs of one person.
        different: Number of pairs of two persons.
    """

    thresholds: np.ndarray
    far: np.ndarray
    tar: np.ndarray
    same: int
    different: int

    @property
    def eer(self) -> float:
        """The equal error rate: where as many are falsely accepted as falsely rejected."""
        gap = self.far - (1 - self.tar)
        at = int(np.argmax(gap >= 0))
        if at == 0:
            return float(self.far[0])
        before, after = -gap[at - 1], gap[at]
        share = before / (before + after) if before + after else 0.0
        return float(self.far[at - 1] + share * (self.far[at] - self.far[at - 1]))

    def at_far(self, far: float) -> tuple[float, float]:
        """Returns the true accept rate and the threshold where at most `far` are falsely accepted.

        Args:
            far: For example 0.001.
        """
        at = int(np.searchsorted(self.far, far, side="right")) - 1
        return float(self.tar[at]), float(self.thresholds[at])

    def plot(self, path: str | Path) -> None:
        """Draws true against false accept rate, the latter on a logarithmic axis, into a PNG."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = figure.subplots()
        floor = 1 / max(self.different, 1)
        axes.plot(np.maximum(self.far, floor / 2), self.tar)
        axes.set(xscale="log", xlim=(floor / 2, 1), ylim=(0, 1.01), title=f"EER {self.eer:.2%}")
        axes.set(xlabel="false accept rate", ylabel="true accept rate")
        axes.grid(alpha=0.3)
        figure.savefig(path, dpi=100)


def verification(embeddings: np.ndarray, labels: Sequence[str]) -> Verification:
    """Compares every picture with every other one.

    Args:
        embeddings: Unit vectors, float32 `[pictures, width]`.
        labels: Who is in each.

    Raises:
        DataError: There are not two pictures of one person, or not two persons.

    Example:
        >>> vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], np.float32)
        >>> found = verification(vectors, ["ann", "ann", "ben"])
        >>> found.eer, found.at_far(0.001)[0]
        (0.0, 1.0)
    """
    names = np.asarray(labels)
    upper = np.triu_indices(len(names), k=1)
    similarity = (embeddings @ embeddings.T)[upper]
    is_same = (names[:, None] == names[None])[upper]
    same, different = int(is_same.sum()), int((~is_same).sum())
    if not same or not different:
        raise DataError("verification needs two pictures of one person, and two persons.")
    order = np.argsort(-similarity, kind="stable")
    ranked, hits = similarity[order], is_same[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    tar, far = np.cumsum(hits)[last] / same, np.cumsum(~hits)[last] / different
    return Verification(
        thresholds=np.concatenate([[np.inf], ranked[last]]),
        far=np.concatenate([[0.0], far]),
        tar=np.concatenate([[0.0], tar]),
        same=same,
        different=different,
    )
