"""The recommender task: from choices to the items that a user would choose next."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf

import kerasft
from kerasft.data import Field, Source
from kerasft.errors import ConfigError, OrderError
from kerasft.training.examples import Examples
from kerasft.training.update import Batch
from kerasft_recommender import arranging, baselines, evaluation, generated, samples
from kerasft_recommender.catalogue import Catalogue
from kerasft_recommender.combining import combine
from kerasft_recommender.config import FULL_SOFTMAX_ITEMS, RecommenderConfig
from kerasft_recommender.features import context_field
from kerasft_recommender.folding import Folding
from kerasft_recommender.given import GivenTables, ids_of
from kerasft_recommender.index import Index
from kerasft_recommender.objectives import make_objective
from kerasft_recommender.pointwise import POINTWISE, Pointwise, Scale, make_pointwise
from kerasft_recommender.ranker import Ranker
from kerasft_recommender.scorers import make_scorer
from kerasft_recommender.scorers.featured import CONTEXT
from kerasft_recommender.serving import Answers, signatures
from kerasft_recommender.sides import Sides, id_field
from kerasft_recommender.splitting import last_of_each
from kerasft_recommender.vocabulary import UNKNOWN

_SCALE = "ratings.json"
_BASELINE_VALUES = ("hr", "ndcg")


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
        self._given = GivenTables()
        self._index: Index | None = None
        self._folding: Folding | None = None
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
        return self._given.split(data)

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
        self._given.add(name, table)
        return sum(self._take_over([], [], None))

    def _take_over(self, users: list[str], items: list[str], source: Source | None) -> tuple[int, int]:
        tables = self._given.take(self.config, anew=False)
        new = self.catalogue.extend(users, items, others=ids_of(tables))
        self.sides.extend(tables, source, users=self.catalogue.users, items=self.catalogue.items)
        if new[0]:
            self.model.welcome()
        self.forget_answers()
        return new

    def forget_answers(self) -> None:
        super().forget_answers()
        self._index = self._folding = None

    def hold_out(self, source: Source, share: float) -> tuple[Source, Source]:
        if self.config.hold_out == "random":
            return super().hold_out(source, share)
        return last_of_each(source, share)

    def adapt(self, source: Source) -> None:
        tables = self._given.take(self.config, anew=True)
        spare = self.config.spare
        self._catalogue = Catalogue.learn(*arranging.choices(source), spare=spare, others=ids_of(tables))
        self._sides = Sides.learn(
            self.config.features,
            tables=tables,
            choices=source,
            users=self.catalogue.users,
            items=self.catalogue.items,
            spare=spare,
        )
        if self.objective_is_pointwise:
            self._scale = Scale.learn(arranging.ratings(source), threshold=self.config.threshold)

    def extend(self, source: Source) -> None:
        users, items = self._take_over(*arranging.choices(source), source)
        if self._scale is not None:
            self._scale = self.model.objective.scale = self._scale.widened(arranging.ratings(source))
        if users and not items and self.freezing.policy is None and self.scorer.user_table is not None:
            self.freeze("items")

    def arrange(self, source: Source, *, training: bool) -> Source:
        config = self.config
        if not training:
            self._given.refuse()
            source = source if self.objective_is_pointwise else arranging.rankable(source, self.catalogue)
        if training and self._only_new_users:
            source = arranging.of_new_users(source, self.catalogue)
            self.model.apart = True
        elif training:
            self.model.apart = False
        if config.metrics.protocol == "ncf99" and "negatives" in source.columns:
            return source
        if not self._make_objective().by_user:
            return source
        cut = training and config.scorer == "sasrec"
        return arranging.by_user(source, window=config.network.length + 1 if cut else None)

    @property
    def _only_new_users(self) -> bool:
        if not self.models or self.scorer.user_table is None:
            return False
        return bool(self.freezing.policy == self.freeze_policy("items"))

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
                ordinal=config.ordinal,
                penalty=config.penalty,
            )
        name = "next_item" if config.scorer == "sasrec" else self.objective
        return make_objective(name, self.catalogue, negatives=config.negatives)

    def combine(self, sources: Sequence[kerasft.Task]) -> None:
        if self.config.scorer == "neumf":
            combine(self, sources)
        else:
            super().combine(sources)

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
        return features | self.moment(raw)

    def moment(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the features of the context, by their names in a batch."""
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
        return signatures(self._context)

    def calls(self) -> dict[str, str]:
        return {"recommend": "serving_default"} | {
            name: name for name in self.signatures() if name != "serving_default"
        }

    def resources(self) -> list[Any]:
        catalogue = self.catalogue
        catalogue.histories.prepare()
        of_index: list[Any] = []
        if self.config.index == "ivf":
            self._index = self._build_index()
            of_index = self._index.resources
        self._folding = self.model.folding()
        of_folding = [] if self._folding is None else self._folding.resources
        return [
            catalogue.users,
            catalogue.items,
            catalogue.histories,
            *self.sides.resources,
            *of_index,
            *of_folding,
        ]

    def export_facts(self) -> dict[str, Any]:
        return {} if self._index is None else {"index": self._index.facts()}

    def _build_index(self) -> Index:
        config = self.config
        return Index.build(
            self.scorer, self.catalogue, recall=config.recall, k=config.metrics.k, seed=config.seed
        )

    def callbacks(self) -> list[keras.callbacks.Callback]:
        # An index, as what finds vectors for histories, is made of weights as they were.
        return [keras.callbacks.LambdaCallback(on_train_end=lambda logs: self.forget_answers())]

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        self._given.refuse()
        return super().request(rows, signature=signature)

    def serve(self, inputs: dict[str, Any], *, signature: str) -> dict[str, Any]:
        if self.config.index == "ivf" and self._index is None and signature != "score":
            with tf.init_scope():
                self._index = self._build_index()
        if self._folding is None and signature == "recommend_from_history":
            with tf.init_scope():
                self._folding = self.model.folding()
        return Answers(self, self._index, self._folding)(signature, inputs)

    def example(self) -> dict[str, list[Any]]:
        return samples.rows(self._context, rated=self.objective_is_pointwise)
