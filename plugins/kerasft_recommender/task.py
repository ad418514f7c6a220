"""The recommender task: from choices to the items that a user would choose next."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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
from kerasft_recommender.features import context_field, context_spec
from kerasft_recommender.objectives import make_objective
from kerasft_recommender.pointwise import POINTWISE, Pointwise, Scale, make_pointwise
from kerasft_recommender.ranker import Ranker
from kerasft_recommender.scorers import make_scorer
from kerasft_recommender.scorers.featured import CONTEXT
from kerasft_recommender.sides import Sides, SideTable, id_field
from kerasft_recommender.splitting import last_of_each, windows
from kerasft_recommender.vocabulary import UNKNOWN, Vocabulary

_CHUNK = 65_536
_SCALE = "ratings.json"
_TABLES = {"users": "user", "items": "item"}
_SAMPLES: dict[str, Callable[[int, Any], Any]] = {
    "categorical": lambda i, width: f"value {i % 3}",
    "multi": lambda i, width: f"value {i % 3}",
    "sequence": lambda i, width: f"value {i % 3}",
    "numeric": lambda i, width: 0.5 * i,
    "embedding": lambda i, width: np.full(width, 1.0 + i, np.float32),
}
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
        self._sides: Sides | None = None
        self._tables: dict[str, Any] = {}
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
    def sides(self) -> Sides:
        """Features of users, items and the context.

        Raises:
            OrderError: before training data was seen.
        """
        _ = self.catalogue
        assert self._sides is not None
        return self._sides

    @property
    def objective(self) -> str:
        """The objective, where the config leaves it open too."""
        if self.config.objective != "auto":
            return self.config.objective
        if self.config.scorer == "two_tower":
            return "in_batch_softmax"
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
            id_field("user"),
            id_field("item"),
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
        return (*fields, *map(context_field, self._context))

    @property
    def _context(self) -> list[Any]:
        return [feature for feature in self.config.features if feature.side == "context"]

    def default_data(self, split: Literal["train", "test"]) -> Any:
        rows = generated.ratings(split)
        of_items = any(feature.side == "item" for feature in self.config.features)
        if split == "test" or not of_items or self.config.items is not None:
            return rows
        return {"interactions": rows, "items": generated.films()}

    def open_data(self, data: Any) -> Any:
        self._tables = {}
        if not isinstance(data, Mapping) or "interactions" not in data:
            return data
        wrong = sorted(set(data) - {"interactions", *_TABLES})
        if wrong:
            raise DataError(f"Beside interactions there can be {' and '.join(_TABLES)}, not {wrong[0]!r}")
        self._tables = {name: data[name] for name in _TABLES if data.get(name) is not None}
        return data["interactions"]

    def _side_tables(self, *, anew: bool) -> dict[str, SideTable]:
        """Opens side tables, by side: those given with the data, and, anew, those of the config."""
        given, self._tables = self._tables, {}
        if anew:
            of_config = {name: getattr(self.config, name) for name in _TABLES}
            given = {**{name: path for name, path in of_config.items() if path is not None}, **given}
        tables = {}
        for name, side in _TABLES.items():
            features = [feature for feature in self.config.features if feature.side == side]
            if name in given and not features:
                raise DataError(f"There is a table of {name}, but no feature in the config has side={side}")
            if name in given:
                tables[side] = SideTable(given[name], side=side, features=features)
            elif anew and features:
                raise DataError(
                    f"The feature {features[0].name!r} needs a table of {name}: name its file in the config "
                    f'({name}=...), or give finetune() {{"interactions": ..., "{name}": ...}}'
                )
        return tables

    def _no_side_tables(self) -> None:
        given, self._tables = self._tables, {}
        if given:
            raise DataError(
                f"The table of {next(iter(given))} is for finetune(), add_users() and add_items(), which "
                "keep it; give interactions alone"
            )

    def add_users(self, table: Any) -> int:
        """Takes over a side table of users, new ones too, without training.

        Args:
            table: Anything that `kerasft.data.open_source` takes.

        Returns:
            How many are new. They are recommended what fits their features; export again to serve them.

        Raises:
            OrderError: before `finetune`.
            DataError: a column or a value is wrong, or there are not enough spare rows.
        """
        return self._add("users", table)

    def add_items(self, table: Any) -> int:
        """Takes over a side table of items, new ones too, without training; see `add_users`."""
        return self._add("items", table)

    def _add(self, name: str, table: Any) -> int:
        _ = self.model
        self._tables = {name: table}
        return sum(self._take_over([], [], None))

    def _take_over(self, users: list[str], items: list[str], source: Source | None) -> tuple[int, int]:
        tables = self._side_tables(anew=False)
        new = self.catalogue.extend(users, items, others=_others(tables))
        self.sides.extend(tables, source, users=self.catalogue.users, items=self.catalogue.items)
        self._predictors.clear()
        return new

    def hold_out(self, source: Source, share: float) -> tuple[Source, Source]:
        if self.config.hold_out == "random":
            return super().hold_out(source, share)
        return last_of_each(source, share)

    def adapt(self, source: Source) -> None:
        tables = self._side_tables(anew=True)
        spare = self.config.spare
        self._catalogue = Catalogue.learn(*_choices(source), spare=spare, others=_others(tables))
        self._sides = Sides.learn(
            self.config.features,
            tables=tables,
            choices=source,
            users=self.catalogue.users,
            items=self.catalogue.items,
            spare=spare,
        )
        if self.objective_is_pointwise:
            self._scale = Scale.learn(_ratings(source), threshold=self.config.threshold)

    def extend(self, source: Source) -> None:
        users, items = self._take_over(*_choices(source), source)
        if self._scale is not None:
            self._scale = self.model.objective.scale = self._scale.widened(_ratings(source))
        if users and not items and self.freezing.policy is None and self.scorer.user_table is not None:
            self.freeze("items")

    def arrange(self, source: Source, *, training: bool) -> Source:
        if not training:
            self._no_side_tables()
            source = source if self.objective_is_pointwise else self._rankable(source)
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
        arranged = open_source(grouped, fields=_GROUPED)
        arranged.notes = source.notes
        return arranged

    def _rankable(self, source: Source) -> Source:
        users, items = self.catalogue.users, self.catalogue.items
        known = users.numbers(source.iterate("user_id")) != UNKNOWN
        known &= items.numbers(source.iterate("item_id")) != UNKNOWN
        left_out = int((~known).sum())
        if not left_out:
            return source
        if not known.any():
            raise DataError(
                f"{source.name} has no choice of which training saw both the user and the item: nothing can "
                "be ranked"
            )
        kept = source.subset(np.flatnonzero(known))
        kept.notes = (
            *source.notes,
            f"{source.name}: {left_out} of {len(source)} choices are left out, as training did not see their "
            "user or item",
        )
        return kept

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
        self.sides.save(folder)
        if self._scale is not None:
            (folder / _SCALE).write_text(json.dumps(self._scale.to_json()) + "\n", encoding="utf-8")

    def load_assets(self, folder: Path) -> None:
        self._catalogue = catalogue = Catalogue.load(folder)
        self._sides = Sides.load(folder, self.config.features, users=catalogue.users, items=catalogue.items)
        if self.objective_is_pointwise:
            self._scale = Scale(**json.loads((folder / _SCALE).read_text(encoding="utf-8")))

    # ------------------------------------------------------------------------------------------------- Model

    def build_model(self) -> keras.Model:
        config, catalogue = self.config, self.catalogue
        scorer = make_scorer(config.scorer, config.network, catalogue, self.sides)
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
        if self.config.scorer != "neumf":
            super().combine(sources)
            return
        parts = {source.config.scorer: source for source in sources if isinstance(source, Recommender)}
        if len(sources) != 2 or set(parts) != {"gmf", "mlp"}:
            raise ConfigError(
                "init_from: a recommender with scorer=neumf starts from two runs, one of scorer gmf and one "
                "of mlp."
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
        return features | self._moment(raw)

    def _moment(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        return {CONTEXT + feature.name: feature.in_graph(raw[feature.name]) for feature in self.sides.context}

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

    def every_score(self, users: tf.Tensor, context: Mapping[str, Any] | None = None) -> tf.Tensor:
        """Returns the scores of all known items, float32 `[n, known]`; column 0 is that of no item."""
        vectors = self.scorer.users_for({"user": users, **(context or {})}, training=False)
        return self.scorer.every(vectors, stop=len(self.catalogue.items))

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
        context = {feature.name: context_spec(feature) for feature in self._context}
        return {
            "serving_default": {"user_id": strings(None), **k, **seen, **context},
            "recommend_from_history": {"item_ids": strings(None, None), **k},
            "score": {"user_id": strings(None), "item_ids": strings(None, None), **context},
            "similar_items": {"item_id": strings(None), **k},
        }

    def calls(self) -> dict[str, str]:
        return {"recommend": "serving_default"} | {
            name: name for name in self.signatures() if name != "serving_default"
        }

    def resources(self) -> list[Any]:
        catalogue = self.catalogue
        catalogue.histories.prepare()
        return [catalogue.users, catalogue.items, catalogue.histories, *self.sides.resources]

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        self._no_side_tables()
        return super().request(rows, signature=signature)

    def serve(self, inputs: dict[str, Any], *, signature: str) -> dict[str, Any]:
        answers: dict[str, Callable[..., dict[str, Any]]] = {
            "serving_default": self._recommend,
            "recommend_from_history": self._recommend_from_history,
            "score": self._score,
            "similar_items": self._similar_items,
        }
        return answers[signature](**inputs)

    def _recommend(self, *, user_id: Any, k: Any, exclude_seen: Any, **context: Any) -> dict[str, Any]:
        users = self.catalogue.users.rows(user_id)
        known = users != UNKNOWN
        scores = self.every_score(users, self._dense_moment(context))
        scores = tf.where(known[:, None], scores, self._popularity()[None])
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

    def _dense_moment(self, context: Mapping[str, Any]) -> dict[str, Any]:
        values = self._moment(context)
        return {k: v.to_tensor() if isinstance(v, tf.RaggedTensor) else v for k, v in values.items()}

    def _score(self, *, user_id: Any, item_ids: Any, **context: Any) -> dict[str, Any]:
        users, items = self.catalogue.users.rows(user_id), self.catalogue.items.rows(item_ids)
        known = (users != UNKNOWN)[:, None] & (items != UNKNOWN)
        moment = self._dense_moment(context)
        vectors = self.scorer.users_for({"user": users, **moment}, training=False)
        scores = self.scorer.pairs(vectors, self.scorer.item(items))
        return {"scores": self.estimates(scores, users, items), "known": known}

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
        context = {
            feature.name: [_SAMPLES[feature.kind](i, feature.width) for i in range(6)]
            for feature in self._context
        }
        ratings = {"rating": [5.0, 2.0, 4.0, 3.0, 1.0, 5.0]} if self.objective_is_pointwise else {}
        return {
            **context,
            **ratings,
            "user_id": ["ann", "ann", "bob", "bob", "cy", "cy"],
            "item_id": ["tea", "milk", "tea", "rice", "milk", "rice"],
            "timestamp": [1, 2, 1, 3, 2, 4],
            "k": [2, 2, 2, 2, 2, 2],
            "exclude_seen": [True, False, True, False, True, True],
            "item_ids": [["tea"], ["milk", "rice"], ["rice"], ["tea", "milk"], ["oat"], ["tea"]],
        }


def _others(tables: Mapping[str, SideTable]) -> tuple[list[str], list[str]]:
    users, items = (tables[side].ids if side in tables else [] for side in ("user", "item"))
    return users, items


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
