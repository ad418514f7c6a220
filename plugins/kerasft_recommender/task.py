"""The recommender task: from choices to the items that a user would choose next."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

import kerasft
from kerasft.data import Field, Source, open_source
from kerasft.errors import ConfigError, DataError, OrderError
from kerasft.training.examples import Examples
from kerasft.training.update import Batch
from kerasft_recommender import answering, baselines, evaluation, generated
from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.config import FULL_SOFTMAX_ITEMS, RecommenderConfig
from kerasft_recommender.objectives import make_objective
from kerasft_recommender.pointwise import POINTWISE, Pointwise, Scale, make_pointwise
from kerasft_recommender.ranker import Ranker
from kerasft_recommender.scorers import make_scorer
from kerasft_recommender.splitting import last_of_each, windows
from kerasft_recommender.vocabulary import UNKNOWN, Vocabulary

_CHUNK = 65_536
_SCALE = "ratings.json"
_BASELINE_VALUES = ("hr", "ndcg")
_GROUPED = (Field(name="user_id", kind="id"), Field(name="items", kind="tokens"))


@kerasft.register("recommender")
class Recommender(kerasft.Task):
    """What a user would choose next, learned from what users chose.

    Example:
        >>> task = kerasft.create("recommender", scorer="gmf")
        >>> list(task.signatures())
        ['serving_default', 'recommend_from_history', 'score', 'similar_items']
    """

    config_class = RecommenderConfig

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._catalogue: Catalogue | None = None
        self._scale: Scale | None = None
        self._baselines: dict[tuple[str, str], dict[str, float]] = {}

    @property
    def catalogue(self) -> Catalogue:
        """Users, items, and the choices of the training data.

        Raises:
            OrderError: before training data was seen.
        """
        if self._catalogue is None:
            raise OrderError("The users and items are those of the training data: call finetune(data) first.")
        return self._catalogue

    @property
    def objective(self) -> str:
        """The objective, where the config leaves it open too."""
        if self.config.objective != "auto":
            return self.config.objective
        small = len(self.catalogue.items) <= FULL_SOFTMAX_ITEMS
        return "full_softmax" if self.config.scorer in ("gmf", "sasrec") and small else "bce"

    @property
    def objective_is_pointwise(self) -> bool:
        """Whether single ratings are learned and measured, rather than lists."""
        return self.config.objective in POINTWISE

    @property
    def monitor(self) -> str:  # type: ignore[override]
        """The discounted gain of the list that a user sees; of single ratings, how well they are met."""
        if self.objective_is_pointwise:
            return {"rating": "val_rmse", "click": "val_auc"}[self.config.objective]
        return f"val_ndcg@{self.config.metrics.k}"

    # -------------------------------------------------------------------------------------------------- Data

    def fields(self) -> tuple[Field, ...]:
        fields = [
            Field(name="user_id", kind="id", aliases=("user", "userId", "userid", "uid", "customer_id")),
            Field(
                name="item_id", kind="id", aliases=("item", "itemId", "itemid", "iid", "movieId", "positive")
            ),
            Field(name="timestamp", kind="integer", aliases=("time", "date"), required=False),
            Field(name="k", kind="integer", request=True, default=10),
            Field(name="exclude_seen", kind="boolean", request=True, default=True),
            Field(name="item_ids", kind="tokens", request=True),
        ]
        if self.config.metrics.protocol == "ncf99":
            fields.append(
                Field(name="negatives", kind="tokens", aliases=("negatives99",), target=True, required=False)
            )
        if self.objective_is_pointwise:
            fields.append(Field(name="rating", kind="number", aliases=("ratings", "stars"), target=True))
        return tuple(fields)

    def default_data(self, split: Literal["train", "test"]) -> Any:
        return generated.ratings(split)

    def hold_out(self, source: Source, share: float) -> tuple[Source, Source]:
        if self.config.hold_out == "random":
            return super().hold_out(source, share)
        return last_of_each(source, share)

    def adapt(self, source: Source) -> None:
        users, items = _choices(source)
        self._catalogue = Catalogue.learn(users, items, spare=self.config.spare)
        if self.objective_is_pointwise:
            self._scale = Scale.learn(_ratings(source), threshold=self.config.threshold)

    def extend(self, source: Source) -> None:
        users, items = self.catalogue.extend(*_choices(source))
        self._predictors.clear()
        if self._scale is not None:
            self._scale = self.model.objective.scale = self._scale.widened(_ratings(source))
        if users and not items and self.freezing.policy is None and self.scorer.user_table is not None:
            self.freeze("items")

    def arrange(self, source: Source, *, training: bool) -> Source:
        if training and self._only_new_users:
            source = self._of_new_users(source)
        if self.config.metrics.protocol == "ncf99" and "negatives" in source.columns:
            return source
        if not self._make_objective().by_user:
            return source
        users, items = _choices(source)
        histories: dict[str, dict[str, None]] = {}
        for user, item in zip(users, items, strict=True):
            histories.setdefault(user, {})[item] = None
        rows = [(user, list(chosen)) for user, chosen in histories.items()]
        if training and self.config.scorer == "sasrec":
            length = self.config.network.length
            rows = [(user, part) for user, chosen in rows for part in windows(chosen, length + 1)]
        grouped = {"user_id": [user for user, _ in rows], "items": [chosen for _, chosen in rows]}
        return open_source(grouped, fields=_GROUPED)

    @property
    def _only_new_users(self) -> bool:
        if not self.models or self.scorer.user_table is None:
            return False
        return bool(self.freezing.policy == self.freeze_policy("items"))

    def _of_new_users(self, source: Source) -> Source:
        rows = self.catalogue.users.numbers(source.iterate("user_id"))
        new = np.flatnonzero(rows >= self.catalogue.new_from)
        if self.catalogue.new_from == 1 or not len(new):
            raise DataError(
                f"{source.name} has no new users, and freeze('items') trains the rows of new users only: "
                "choose freeze('none')."
            )
        return source.subset(new)

    def save_assets(self, folder: Path) -> None:
        self.catalogue.save(folder)
        if self._scale is not None:
            (folder / _SCALE).write_text(json.dumps(self._scale.to_json()) + "\n", encoding="utf-8")

    def load_assets(self, folder: Path) -> None:
        self._catalogue = Catalogue.load(folder)
        if self.objective_is_pointwise:
            self._scale = Scale(**json.loads((folder / _SCALE).read_text(encoding="utf-8")))

    # ------------------------------------------------------------------------------------------------- Model

    def build_model(self) -> keras.Model:
        config, catalogue = self.config, self.catalogue
        scorer = make_scorer(config.scorer, config.network, catalogue)
        return Ranker(scorer=scorer, objective=self._make_objective(), penalty=config.penalty)

    def _make_objective(self) -> Any:
        config = self.config
        if self._scale is not None:
            return make_pointwise(
                config.objective,
                self.catalogue,
                scale=self._scale,
                threshold=config.threshold,
                penalty=config.penalty,
            )
        name = "next_item" if config.scorer == "sasrec" else self.objective
        return make_objective(name, self.catalogue, negatives=config.negatives)

    def combine(self, sources: Sequence[kerasft.Task]) -> None:
        parts = {source.config.scorer: source for source in sources if isinstance(source, Recommender)}
        if self.config.scorer != "neumf" or len(sources) != 2 or set(parts) != {"gmf", "mlp"}:
            raise ConfigError(
                "init_from: a recommender with scorer=neumf starts from two runs, one of scorer gmf and one "
                "of mlp; any other from one run."
            )
        network = self.config.network
        for name, setting in (("gmf", "factors"), ("mlp", "layers")):
            here, there = (getattr(config.network, setting) for config in (self.config, parts[name].config))
            if here != there:
                raise ConfigError(
                    f"init_from: the {name} run has network.{setting}={there}, this task {here}: make them "
                    "equal."
                )
        catalogues = [parts[name].catalogue for name in ("gmf", "mlp")]
        self.scorer.combine(
            parts["gmf"].scorer,
            parts["mlp"].scorer,
            users=_common(self.catalogue.users, [catalogue.users for catalogue in catalogues]),
            items=_common(self.catalogue.items, [catalogue.items for catalogue in catalogues]),
            alpha=network.alpha,
        )

    @property
    def scorer(self) -> Any:
        """What scores an item for a user."""
        return self.model.scorer

    def layer_groups(self, model: keras.Model | dict[str, keras.Model]) -> dict[str, list[keras.Layer]]:
        assert isinstance(model, Ranker)
        groups = {name: list(layers) for name, layers in model.scorer.groups.items()}
        if isinstance(model.objective, Pointwise):
            groups["user_table"].append(model.objective.user_bias)
        return groups

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        features = {"user": self.catalogue.users.rows(raw["user_id"])}
        if "items" in raw:
            features["items"] = self.catalogue.items.rows(raw["items"])
        else:
            features["items"] = self.catalogue.items.rows(raw["item_id"])[:, None]
        return features

    def targets(self, raw: dict[str, Any]) -> dict[str, Any]:
        targets = {name: raw[name] for name in ("rating",) if name in raw}
        if "negatives" in raw:
            targets["negatives"] = self.catalogue.items.rows(raw["negatives"])
        return targets

    def loss(self, batch: Batch, outputs: Any) -> tf.Tensor:
        return self.model.objective.loss(outputs, {**batch.features, **batch.targets})

    def freeze_policy(self, policy: Any) -> Any:
        if policy == "items" and self.scorer.user_table is None:
            raise ConfigError(
                f"freeze: scorer={self.config.scorer} has no rows of users that could train alone; new users "
                "need no training."
            )
        if policy == "items":
            return [name for name in self.freezing.groups if name != "user_table"]
        if policy == "towers":
            return [name for name in self.freezing.groups if name not in ("user_table", "item_table")]
        return policy

    # ------------------------------------------------------------------------------------------- Measurement

    def measure(
        self, examples: Examples, *, batch_size: int, progress: Callable[[int], None]
    ) -> dict[str, float]:
        measure = evaluation.measure_ratings if self.objective_is_pointwise else evaluation.measure
        return measure(self, examples, batch_size=batch_size, progress=progress)

    def estimates(self, scores: tf.Tensor, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Returns scores `[users, n]` of rows as people see them; of an unknown user or item that of 0."""
        known = (users != UNKNOWN)[:, None] & (items != UNKNOWN)
        return self.model.objective.shown(tf.where(known, scores, 0.0), users)

    def every_score(self, users: tf.Tensor) -> tf.Tensor:
        """Returns the scores of all known items, float32 `[n, known]`; column 0 is that of no item."""
        return self.scorer.every(self.scorer.user(users), stop=len(self.catalogue.items))

    def baseline_scores(self, name: str, choices: evaluation.HeldOut) -> dict[str, float]:
        """Returns what a baseline reaches on choices; computed once for the same ones."""
        key = name, evaluation.fingerprint(choices, self.catalogue)
        if key not in self._baselines:
            score = baselines.BASELINES[name](self.catalogue.histories)
            if score is None:
                return {}
            k = self.config.metrics.k
            found = evaluation.rank(score, choices, self.catalogue, k=k)
            self._baselines[key] = {
                f"{value}@{k}_{name}": found[f"{value}@{k}"] for value in _BASELINE_VALUES
            }
        return self._baselines[key]

    # ----------------------------------------------------------------------------------------------- Serving

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        def strings(*shape: int | None) -> tf.TensorSpec:
            return tf.TensorSpec(shape, tf.string)

        k = {"k": tf.TensorSpec([None], tf.int64)}
        seen = {"exclude_seen": tf.TensorSpec([None], tf.bool)}
        return {
            "serving_default": {"user_id": strings(None), **k, **seen},
            "recommend_from_history": {"item_ids": strings(None, None), **k},
            "score": {"user_id": strings(None), "item_ids": strings(None, None)},
            "similar_items": {"item_id": strings(None), **k},
        }

    def calls(self) -> dict[str, str]:
        return {"recommend": "serving_default"} | {
            name: name for name in self.signatures() if name != "serving_default"
        }

    def resources(self) -> list[Any]:
        catalogue = self.catalogue
        catalogue.histories.prepare()
        return [catalogue.users, catalogue.items, catalogue.histories]

    def serve(self, inputs: dict[str, Any], *, signature: str) -> dict[str, Any]:
        answers: dict[str, Callable[..., dict[str, Any]]] = {
            "serving_default": self._recommend,
            "recommend_from_history": self._recommend_from_history,
            "score": self._score,
            "similar_items": self._similar_items,
        }
        return answers[signature](**inputs)

    def _recommend(self, *, user_id: Any, k: Any, exclude_seen: Any) -> dict[str, Any]:
        users = self.catalogue.users.rows(user_id)
        known = users != UNKNOWN
        scores = tf.where(known[:, None], self.every_score(users), self._popularity()[None])
        rows, items = self.catalogue.histories.seen_by(users)
        left_out = tf.gather(exclude_seen, rows)
        scores = answering.without(scores, rows[left_out], items[left_out])
        best = answering.best(scores, k, self.catalogue)
        shown = self.model.objective.shown(best["scores"], users)
        shown = tf.where(best["item_ids"] != "", shown, 0.0)
        best["scores"] = tf.where(known[:, None], shown, best["scores"])
        return {**best, "known": known}

    def _recommend_from_history(self, *, item_ids: Any, k: Any) -> dict[str, Any]:
        items = self.catalogue.items.rows(item_ids)
        chosen = items != UNKNOWN
        known = tf.reduce_any(chosen, 1)
        scores = self.scorer.of_history(items, chosen, stop=len(self.catalogue.items))
        scores = tf.where(known[:, None], scores, self._popularity()[None])
        places = tf.cast(tf.where(chosen), tf.int32)
        scores = answering.without(scores, places[:, 0], tf.boolean_mask(items, chosen))
        return {**answering.best(scores, k, self.catalogue), "known": known}

    def _score(self, *, user_id: Any, item_ids: Any) -> dict[str, Any]:
        users, items = self.catalogue.users.rows(user_id), self.catalogue.items.rows(item_ids)
        known = (users != UNKNOWN)[:, None] & (items != UNKNOWN)
        return {"scores": self.estimates(self.scorer(users, items), users, items), "known": known}

    def _similar_items(self, *, item_id: Any, k: Any) -> dict[str, Any]:
        items = self.catalogue.items.rows(item_id)
        known = items != UNKNOWN
        vectors = self.scorer.directions(stop=len(self.catalogue.items))
        scores = tf.matmul(tf.gather(vectors, items), vectors, transpose_b=True)
        scores = tf.where(known[:, None], scores, float("-inf"))
        scores = answering.without(scores, tf.range(tf.size(items)), items)
        return {**answering.best(scores, k, self.catalogue), "known": known}

    def _popularity(self) -> tf.Tensor:
        counts = self.catalogue.histories.popularity[: len(self.catalogue.items)]
        return tf.constant(np.log1p(counts), tf.float32)

    def example(self) -> dict[str, list[Any]]:
        return {
            "user_id": ["ann", "ann", "bob", "bob", "cy", "cy"],
            "item_id": ["tea", "milk", "tea", "rice", "milk", "rice"],
            "rating": [5.0, 2.0, 4.0, 3.0, 1.0, 5.0],
            "timestamp": [1, 2, 1, 3, 2, 4],
            "k": [2, 2, 2, 2, 2, 2],
            "exclude_seen": [True, False, True, False, True, True],
            "item_ids": [["tea"], ["milk", "rice"], ["rice"], ["tea", "milk"], ["oat"], ["tea"]],
        }


def _ratings(source: Source) -> np.ndarray:
    return np.fromiter(source.iterate("rating"), np.float64, len(source))


def _choices(source: Source) -> tuple[list[str], list[str]]:
    """Returns the user and the item of each row, in the order of time where it is known."""
    order = np.arange(len(source))
    if "timestamp" in source.columns:
        order = np.argsort(np.fromiter(source.iterate("timestamp"), np.int64, len(source)), kind="stable")
    users: list[str] = []
    items: list[str] = []
    for start in range(0, len(source), _CHUNK):
        rows = source.take(order[start : start + _CHUNK], ["user_id", "item_id"])
        users += rows["user_id"]
        items += rows["item_id"]
    return users, items


def _common(mine: Vocabulary, theirs: Sequence[Vocabulary]) -> np.ndarray:
    """Rows of the ids that all know, here and there: int `[ids, 1 + vocabularies]`."""
    names = mine.known
    rows = np.stack([ids.numbers(names) for ids in (mine, *theirs)], 1)
    return rows[(rows != UNKNOWN).all(1)]
