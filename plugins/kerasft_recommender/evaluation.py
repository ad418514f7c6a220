"""Rankings of held-out choices, of the model and of baselines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from kerasft.errors import DataError
from kerasft.metrics import ranking_scores, ranks, variety_scores
from kerasft_recommender import baselines
from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.vocabulary import UNKNOWN

if TYPE_CHECKING:
    from kerasft.training.examples import Examples
    from kerasft_recommender.task import Recommender

_CHUNK = 4096
_USERS = 128
_SCORES = 1 << 25


class HeldOut(NamedTuple):
    """Choices to find again.

    Attributes:
        users: Row of the user of each, int32 `[n]`.
        items: Row of the item of each, int32 `[n]`.
        negatives: Rows of the items to rank it among, int32 `[n, m]`; None: all that there are.
    """

    users: np.ndarray
    items: np.ndarray
    negatives: np.ndarray | None


def held_out(examples: Examples) -> HeldOut:
    """Collects the choices of encoded examples whose user and item are known.

    Raises:
        DataError: there are none.
    """
    parts: list[tuple[np.ndarray, ...]] = []
    for start in range(0, len(examples), _CHUNK):
        batch = examples.batch(np.arange(start, min(start + _CHUNK, len(examples))))
        features = batch.features
        user, items = np.asarray(features["user"]), np.asarray(features["items"])
        rows, columns = np.nonzero((items != UNKNOWN) & (user != UNKNOWN)[:, None])
        part: tuple[np.ndarray, ...] = user[rows], items[rows, columns]
        if "negatives" in batch.targets:
            part = (*part, np.asarray(batch.targets["negatives"])[rows])
        parts.append(part)
    users, items = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    if not len(users):
        raise DataError(
            "None of the data has both a user and an item that training saw: nothing can be ranked"
        )
    negatives = None
    if len(parts[0]) > 2:
        width = max(part[2].shape[1] for part in parts)
        negatives = np.concatenate([np.pad(p[2], ((0, 0), (0, width - p[2].shape[1]))) for p in parts])
    return HeldOut(users, items, negatives)


def measure(
    task: Recommender, examples: Examples, *, batch_size: int, progress: Callable[[int], None]
) -> dict[str, float]:
    """Ranks held-out choices by the model, and by baselines.

    Args:
        task: With a trained model.
        examples: Encoded choices.
        batch_size: Not used: users go through the model as memory allows.
        progress: Called with how many of the examples are done.

    Returns:
        The scores of `kerasft.metrics.ranking_scores` and, of full rankings, `variety_scores`; then "hr" and
        "ndcg" of each baseline, with its name at the end.
    """
    choices, catalogue, config = held_out(examples), task.catalogue, task.config.metrics
    score = tf.function(task.every_score, autograph=False, input_signature=[tf.TensorSpec([None], tf.int32)])

    def of_model(users: np.ndarray) -> np.ndarray:
        return score(tf.constant(users)).numpy()

    def advance(done: float) -> None:
        progress(int(done * len(examples)))

    values = rank(of_model, choices, catalogue, k=config.k, progress=advance)
    for name in config.baselines:
        values |= task.baseline_scores(name, choices)
    return values


def measure_ratings(
    task: Recommender, examples: Examples, *, batch_size: int, progress: Callable[[int], None]
) -> dict[str, float]:
    """Compares answers with ratings, those of unknown users and items too.

    Args:
        task: With a model of a pointwise objective.
        examples: Encoded choices with ratings.
        batch_size: Choices at once.
        progress: Called with how many are done.
    """

    def answer(features: dict[str, tf.Tensor]) -> tf.Tensor:
        return task.estimates(task.model(features, training=False), features["user"], features["items"])

    function = tf.function(answer, autograph=False).get_concrete_function(examples.spec().features)
    parts: list[tuple[np.ndarray, ...]] = []
    size = max(batch_size, _CHUNK)
    for start in range(0, len(examples), size):
        batch = examples.batch(np.arange(start, min(start + size, len(examples))))
        features = {name: tf.constant(value) for name, value in batch.features.items()}
        shown = function(features).numpy()[:, 0]
        parts.append((shown, np.asarray(batch.targets["rating"]), np.asarray(batch.features["user"])))
        progress(start + len(shown))
    return task.model.objective.measure(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def rank(
    score: baselines.Scores,
    choices: HeldOut,
    catalogue: Catalogue,
    *,
    k: int,
    progress: Callable[[float], None] = lambda done: None,
) -> dict[str, float]:
    """Scores the rankings of a recommender.

    Without negatives, an item is ranked among all items of the catalogue but those that its user chose in
    training; what is asked for is never left out.

    Args:
        score: From rows of users to scores of all rows of items.
        choices: What to find.
        catalogue: Which items there are, and who chose what.
        k: Length of a list.
        progress: Called with the share that is done.
    """
    order = np.argsort(choices.users, kind="stable")
    users, starts = np.unique(choices.users[order], return_index=True)
    ends = np.r_[starts[1:], len(order)]
    places = np.empty(len(order))
    lists = np.full((len(users), k), UNKNOWN)
    known = len(catalogue.items)
    at_once = max(1, min(_USERS, _SCORES // known))
    for first in range(0, len(users), at_once):
        last = min(first + at_once, len(users))
        scores = np.array(score(users[first:last])[:, :known], np.float32)
        asked = order[starts[first] : ends[last - 1]]
        rows = np.repeat(np.arange(last - first), (ends - starts)[first:last])
        if choices.negatives is None:
            own = scores[rows, choices.items[asked]]
            scores[catalogue.histories.pairs_of(users[first:last])] = -np.inf
            scores[:, UNKNOWN] = -np.inf
            scores[rows, choices.items[asked]] = own
            places[asked] = ranks(scores, rows, choices.items[asked])
            size = min(k, known - 1)
            top = np.argpartition(-scores, size - 1, axis=1)[:, :size]
            shown = np.take_along_axis(scores, top, 1) > -np.inf
            lists[first:last, :size] = np.where(shown, top, UNKNOWN)
        else:
            places[asked] = _among(scores, rows, choices.items[asked], choices.negatives[asked])
        progress(last / len(users))
    values = ranking_scores(places, choices.users, k=k)
    if choices.negatives is None:
        values |= variety_scores(lists - 1, catalogue.histories.popularity[1:known], k=k)
    return values


def _among(scores: np.ndarray, rows: np.ndarray, items: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Places of items among their own negatives; copies of the item there, and unknown ones, do not count."""
    candidates = np.concatenate([items[:, None], negatives], 1)
    chosen = scores[rows[:, None], candidates]
    others = candidates[:, 1:]
    chosen[:, 1:][(others == items[:, None]) | (others == UNKNOWN)] = -np.inf
    return ranks(chosen, np.arange(len(items)), np.zeros(len(items), np.int64))


def fingerprint(choices: HeldOut, catalogue: Catalogue) -> str:
    """Returns what tells apart choices, and the histories that baselines learn from."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (*choices, catalogue.histories.items, catalogue.histories.offsets):
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
