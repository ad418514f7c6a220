"""The dialogue task: conversations in, a SavedModel out that reads turns and writes a reply."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

import kerasft
from kerasft.data import Field, Source, open_source
from kerasft.errors import ConfigError, DataError, OrderError
from kerasft.export import ExportReport
from kerasft.generation import CausalLM, CausalSizes, PackedLM
from kerasft.metrics import Perplexity
from kerasft.training.adapters import is_adapted
from kerasft.training.examples import Examples
from kerasft.training.run import Run
from kerasft.training.update import Batch
from kerasft_dialogue import evaluation
from kerasft_dialogue.chat_codec import ChatCodec
from kerasft_dialogue.config import DialogueConfig
from kerasft_dialogue.conversations import FORM, check_replies, open_conversations
from kerasft_dialogue.encoding import NOTHING, encode_conversations
from kerasft_dialogue.origin import Origin
from kerasft_dialogue.packing import Turns, joined, pack, split_turns
from kerasft_dialogue.replying import FINISH, Prefix, Replier, Settings, State, count
from kerasft_dialogue.samples import PREFIX, conversations
from kerasft_dialogue.subword_codec import SubwordCodec
from kerasft_dialogue.template import write_turns

_CHUNK = 512
_PACKED = "/packed"
_TURNS = {name: tf.TensorSpec([None, None], tf.string) for name in ("roles", "texts")}
_SETTINGS = {
    "stop": tf.TensorSpec([None, None], tf.string),
    "seed": tf.TensorSpec([None], tf.int64),
    "temperature": tf.TensorSpec([None], tf.float32),
    "top_k": tf.TensorSpec([None], tf.int64),
    "top_p": tf.TensorSpec([None], tf.float32),
    "max_tokens": tf.TensorSpec([None], tf.int64),
}
# What `chat_next` takes back; names and values are those of `State` and `Settings`.
_STATE = {
    "cache": tf.TensorSpec([None, None, None, None, None], tf.float32),
    "hidden": tf.TensorSpec([None, None], tf.float32),
    "place": tf.TensorSpec([None], tf.int32),
    "tokens": tf.TensorSpec([None, None], tf.int32),
    "finish": tf.TensorSpec([None], tf.int32),
    "shown": tf.TensorSpec([None], tf.int32),
}
_DRAWING = {
    "stop": tf.TensorSpec([None, None], tf.string),
    "seed": tf.TensorSpec([None], tf.int64),
    "temperature": tf.TensorSpec([None], tf.float32),
    "top_k": tf.TensorSpec([None], tf.int32),
    "top_p": tf.TensorSpec([None], tf.float32),
    "limit": tf.TensorSpec([None], tf.int32),
}
_REMEDY = f'{FORM}, a conversation a row, in the column "turns", or name yours: --set turns=NAME'
_ROWS = (Field(name="roles", kind="tokens", remedy=_REMEDY), Field(name="texts", kind="strings"))
_EXAMPLE = (
    ("Good day!", "Hello, how can I help?"),
    ("What does the soup cost?", "The soup costs six euros."),
    ("Are you open on Monday?", "No, on Monday we are closed."),
    ("Thank you, goodbye.", "Goodbye, see you soon!"),
    ("I would like a table for two.", "On which day?"),
)


@kerasft.register("dialogue")
class Dialogue(kerasft.Task):
    """A reply to a conversation.

    Example:
        >>> task = kerasft.create("dialogue")
        >>> list(task.signatures()["serving_default"])
        ['roles', 'texts']
    """

    config_class = DialogueConfig
    monitor = "val_loss"

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._codec: SubwordCodec | ChatCodec | None = None
        self._origin: Origin | None = None
        self._network: CausalLM | None = None
        self._shared: Prefix | None = None
        self._compiled: dict[str, Any] = {}
        self._packed: PackedLM | None = None

    @property
    def codec(self) -> SubwordCodec | ChatCodec:
        """Text to tokens and back.

        Raises:
            OrderError: it is not known before the training data is.
            PretrainedError: the pretrained model cannot be had.
        """
        if self._codec is None and self.config.pretrained:
            self._codec = ChatCodec(self.origin.open().tokenizer(), template=self.config.template)
        if self._codec is None:
            raise OrderError("The vocabulary is learned from the training data: call finetune(data) first.")
        return self._codec

    @property
    def origin(self) -> Origin:
        """The pretrained model that it started from.

        Raises:
            PretrainedError: it cannot be had.
        """
        if self._origin is None:
            self._origin = Origin.find(self.config.model)
            self._origin.check_context(self.config.context)
        return self._origin

    @property
    def system(self) -> str:
        """What the system says where a conversation has no such turn."""
        if self.config.system is not None:
            return self.config.system
        return self.origin.system if self.config.pretrained else ""

    @property
    def network(self) -> CausalLM:
        """The language model.

        Raises:
            OrderError: before `build`.
        """
        if self._network is None:
            raise OrderError("The dialogue task has no network yet: call build() or finetune() first.")
        return self._network

    def fields(self) -> tuple[Field, ...]:
        decoding = self.config.decoding

        def request(name: str, kind: Any, default: Any) -> Field:
            return Field(name=name, kind=kind, request=True, default=default)

        return (
            *_ROWS,
            request("text", "text", None),
            request("stop", "strings", list(decoding.stop)),
            request("seed", "integer", decoding.seed),
            request("temperature", "number", decoding.temperature),
            request("top_k", "integer", decoding.top_k),
            request("top_p", "number", decoding.top_p),
            request("max_tokens", "integer", decoding.max_tokens),
        )

    def open_data(self, data: Any) -> Any:
        if isinstance(data, str) and data.startswith(PREFIX):
            data = conversations(data.removeprefix(PREFIX))
        return open_conversations(data, column=self.config.turns, roles=self.config.roles)

    def default_data(self, split: Literal["train", "test"]) -> Any:
        return f"{PREFIX}{split}"

    def adapt(self, source: Source) -> None:
        check_replies(source.name, list(source.iterate("roles")))
        if self.config.pretrained:
            return
        vocabulary = self.config.vocabulary
        if vocabulary.run is not None:
            kept = Path(vocabulary.run).expanduser() / "assets"
            if not kept.is_dir():
                raise ConfigError(f"vocabulary.run: {vocabulary.run} is not the folder of a run.")
            self._codec = SubwordCodec.load(kept)
            return
        self._codec = SubwordCodec.train(
            _texts(source), size=vocabulary.size, kind=vocabulary.kind, coverage=vocabulary.coverage
        )

    def save_assets(self, folder: Path) -> None:
        self.codec.save(folder)
        if self.config.pretrained:
            self.origin.save(folder)

    def load_assets(self, folder: Path) -> None:
        if self.config.pretrained:
            self._origin = Origin.load(folder)
            self._codec = ChatCodec.load(folder, template=self.config.template)
        else:
            self._codec = SubwordCodec.load(folder)

    def arrange(self, source: Source, *, training: bool) -> Source:
        fixed = len(self.codec.template.first)
        context = self.config.context - fixed
        parts: list[Turns] = []
        sizes: list[int] = []
        cut = 0
        for turns, lengths in self._measured(source):
            found = split_turns(turns, lengths, context=context)
            cut += len(found) > 1
            for part, size in found:
                parts.append(part)
                sizes.append(size + fixed)
        check_replies(source.name, [roles for roles, _ in parts])
        if training and self.config.pack:
            parts = [joined([parts[i] for i in row]) for row in pack(sizes, context=self.config.context)]
        arranged = open_source(
            {"roles": [roles for roles, _ in parts], "texts": [texts for _, texts in parts]}, fields=_ROWS
        )
        arranged.notes = source.notes
        if cut:
            arranged.notes += (
                f"{source.name}: cut {cut} of {len(source)} conversations, longer than "
                f"{self.config.context} tokens.",
            )
        return arranged

    def _measured(self, source: Source) -> Iterator[tuple[Turns, list[int]]]:
        """Yields conversations, the system's turn included, and the tokens of each turn."""

        def count_tokens(roles: Any, texts: Any) -> Any:
            return write_turns(self.codec, roles, texts).tokens.row_lengths()

        function = tf.function(
            count_tokens, input_signature=[tf.TensorSpec([None], tf.string)] * 2, autograph=False
        )
        for start in range(0, len(source), _CHUNK):
            rows = source.take(np.arange(start, min(start + _CHUNK, len(source))))
            chunk = [self._opened(*row) for row in zip(rows["roles"], rows["texts"], strict=True)]
            _check_turns(source, chunk)
            flat = [[turn for row in chunk for turn in row[side]] for side in (0, 1)]
            lengths = function(*(tf.constant(side, tf.string) for side in flat)).numpy().tolist()
            at = 0
            for row in chunk:
                yield row, lengths[at : at + len(row[0])]
                at += len(row[0])

    def _opened(self, roles: list[str], texts: list[str]) -> Turns:
        if self.system and roles[0] != "system":
            return ["system", *roles], [self.system, *texts]
        return list(roles), list(texts)

    def build_model(self) -> keras.Model:
        network, codec = self.config.network, self.codec
        dropout = self.config.dropout
        if self.config.pretrained:
            sizes = dataclasses.replace(self.origin.sizes, dropout=dropout or 0.0)
            return self._made(sizes)
        sizes = CausalSizes(
            vocabulary=codec.size,
            width=network.width,
            layers=network.layers,
            heads=network.heads,
            kv_heads=network.heads,
            size=network.width // network.heads,
            hidden=network.hidden,
            dropout=0.1 if dropout is None else dropout,
            scaled=True,
        )
        return self._made(sizes)

    def _made(self, sizes: CausalSizes) -> keras.Model:
        self._network = CausalLM(sizes)
        self._compiled.clear()
        self._shared = None
        return self._network.model

    def load_pretrained(self, model: keras.Model | dict[str, keras.Model]) -> None:
        if self.config.pretrained:
            self.origin.open().load_weights(self.network)

    def finetune(
        self, data: Any = None, *, freeze: Any = None, run_dir: str | Path | None = None, **options: Any
    ) -> keras.callbacks.History:
        """Trains; of a pretrained model adapters only, where nothing else is said. See `kerasft.Task`."""
        begun = run_dir is not None and Run(run_dir).can_resume()
        chosen = bool(self.models) and self.freezing.policy is not None
        if freeze is None and self.config.pretrained and self.config.lora and not begun and not chosen:
            freeze = kerasft.LoRA(rank=self.config.lora)
        return super().finetune(data, freeze=freeze, run_dir=run_dir, **options)

    def layer_groups(self, model: keras.Model | dict[str, keras.Model]) -> dict[str, list[keras.Layer]]:
        return self.network.groups

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        encoded = self._encoded(raw)
        return {"token_ids": encoded.tokens, "segments": encoded.segments}

    def targets(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {"target_ids": self._encoded(raw).targets}

    def _encoded(self, raw: dict[str, Any]) -> Any:
        return encode_conversations(self.codec, raw["roles"], raw["texts"], context=self.config.context)

    def loss(self, batch: Batch, outputs: Any) -> tf.Tensor:
        losses, rows = self._token_losses(batch, outputs)
        number = tf.shape(batch.targets["target_ids"])[0]
        each = tf.math.unsorted_segment_sum(losses, rows, number)
        # Every token weighs the same, whatever row it stands in.
        return each * tf.cast(number, tf.float32) / tf.maximum(tf.cast(tf.size(losses), tf.float32), 1.0)

    def _token_losses(self, batch: Batch, outputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the losses of the tokens that are learned, float32 [tokens], and their rows."""
        targets = batch.targets["target_ids"]
        # Logits are as wide as the vocabulary, so they are made where they are needed only.
        places = tf.where(targets != NOTHING)
        logits = self.network.logits(tf.gather_nd(outputs, places))
        wanted = tf.gather_nd(targets, places) - 1
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=wanted, logits=logits)
        return losses, tf.cast(places[:, 0], tf.int32)

    def metrics(self) -> dict[str, keras.metrics.Metric]:
        return {"perplexity": Perplexity()}

    def score(self, batch: Batch, outputs: Any) -> tuple[Any, ...]:
        losses, _ = self._token_losses(batch, outputs)
        return losses, tf.ones_like(losses)

    def measure(
        self, examples: Examples, *, batch_size: int, progress: Callable[[int], None]
    ) -> dict[str, float]:
        return evaluation.measure(self, examples, progress=progress)

    def compiled(self, function: Callable, specs: Sequence[Any]) -> Any:
        """Returns a function as a graph that all callers share: a network of many layers takes long to trace.

        Args:
            function: Known by its name: of what it closes over only the network may change.
            specs: What it takes, as `tf.TensorSpec` or tuples of them.
        """
        # Adapters, when they come and when they are merged for an export, make another graph.
        key = f"{function.__module__}.{function.__qualname__}/{is_adapted(self.network.blocks[0].query)}"
        key += _PACKED if self._packed is not None else ""
        if key not in self._compiled:
            self._compiled[key] = tf.function(function, input_signature=specs, autograph=False)
        return self._compiled[key]

    def replier(self) -> Replier:
        """Returns what writes replies with the weights as they are now."""
        config = self.config
        with tf.init_scope():
            self._share()
        return Replier(
            self._writer, self.codec, context=config.context, system=self.system, prefix=self._shared
        )

    @property
    def _writer(self) -> CausalLM | PackedLM:
        """What writes: the network, or while it is exported perhaps its copy in fewer bits."""
        return self.network if self._packed is None else self._packed

    def export(self, target: str | Path, **options: Any) -> ExportReport:
        """Writes a SavedModel, its weights as `export.weights` says. See `kerasft.Task`."""
        if self.config.export.weights == "float32" or self._network is None:
            return super().export(target, **options)
        self._packed = PackedLM(self._network, self.config.export.weights)
        try:
            return super().export(target, **options)
        finally:
            self._packed = None
            self._compiled = {name: graph for name, graph in self._compiled.items() if _PACKED not in name}

    def served_weights(self) -> list[Any]:
        if self._packed is None:
            return super().served_weights()
        return [*self._packed.variables, *self._packed.kept]

    def _share(self) -> None:
        """Reads the system's turn, as the weights are now."""
        config = self.config
        alone = Replier(self._writer, self.codec, context=config.context, system=self.system)
        made = alone.share()
        if made is None:
            return
        if self._shared is None:
            # A variable, because a graph that was traced before goes on to use it after more training.
            self._shared = Prefix(made.tokens, tf.Variable(made.cache, trainable=False))
        else:
            self._shared.cache.assign(made.cache)

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        if self._network is not None:
            self._share()
        return super().request(rows, signature=signature)

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        return {
            "serving_default": dict(_TURNS),
            "ask": {"text": tf.TensorSpec([None], tf.string)},
            "sample": {**_TURNS, **_SETTINGS},
            "chat_start": {**_TURNS, **_SETTINGS},
            "chat_next": {
                "steps": tf.TensorSpec([None], tf.int64),
                **{f"state_{name}": spec for name, spec in {**_STATE, **_DRAWING}.items()},
            },
        }

    def calls(self) -> dict[str, str]:
        return {"chat": "serving_default", **{name: name for name in list(self.signatures())[1:]}}

    def serve(self, inputs: dict[str, Any], *, signature: str) -> dict[str, Any]:
        replier = self.replier()
        if signature == "chat_next":
            return self._go_on(replier, inputs)
        if signature == "ask":
            texts = inputs["text"][:, None]
            roles = tf.where(texts != "", "user", "")
        else:
            roles, texts = inputs["roles"], inputs["texts"]
        state = self._start(replier, roles, texts, self._settings(inputs, tf.shape(roles)[:1]))
        if signature == "chat_start":
            return _named(state)
        return _answer(replier, self._write(replier, state, tf.constant(self.config.context)))

    def _go_on(self, replier: Replier, inputs: dict[str, Any]) -> dict[str, Any]:
        given = {name: inputs[f"state_{name}"] for name in (*_STATE, *_DRAWING)}
        state = State(
            **{name: given[name] for name in _STATE},
            settings=Settings(**{name: given[name] for name in _DRAWING}),
        )
        steps = tf.reduce_max(tf.concat([inputs["steps"], [0]], axis=0))
        state = self._write(replier, state, tf.cast(tf.minimum(steps, self.config.context), tf.int32))
        text, state = replier.show(state)
        return {"text": text, "finish": tf.gather(tf.constant(FINISH), state.finish), **_named(state)}

    def _start(self, replier: Replier, roles: Any, texts: Any, settings: Settings) -> State:
        specs = [*_TURNS.values(), Settings(**_DRAWING)]
        return self.compiled(replier.start, specs)(roles, texts, settings)

    def _write(self, replier: Replier, state: State, steps: Any) -> State:
        specs = [State(**_STATE, settings=Settings(**_DRAWING)), tf.TensorSpec([], tf.int32)]

        def write(state: State, steps: Any) -> State:
            shape = replier.cache_shape
            return replier.go_on(state._replace(cache=tf.ensure_shape(state.cache, shape)), steps=steps)

        return self.compiled(write, specs)(state, steps)

    def _settings(self, inputs: dict[str, Any], rows: Any) -> Settings:
        decoding = self.config.decoding
        if "seed" not in inputs:
            stop = tf.constant([list(decoding.stop) or [""]], tf.string)
            return Settings(
                stop=tf.tile(stop, [rows[0], 1]),
                seed=tf.fill(rows, tf.constant(decoding.seed, tf.int64)),
                temperature=tf.fill(rows, float(decoding.temperature)),
                top_k=tf.fill(rows, decoding.top_k),
                top_p=tf.fill(rows, float(decoding.top_p)),
                limit=tf.fill(rows, decoding.max_tokens),
            )
        limit = _checked(inputs["max_tokens"], inputs["max_tokens"] >= 1, "max_tokens must be at least 1")
        return Settings(
            # A column of nothing, so that there is a longest stop string.
            stop=tf.concat([inputs["stop"], tf.fill([rows[0], 1], "")], axis=1),
            seed=inputs["seed"],
            temperature=inputs["temperature"],
            top_k=tf.cast(tf.clip_by_value(inputs["top_k"], 0, self.codec.size), tf.int32),
            top_p=inputs["top_p"],
            limit=tf.cast(tf.minimum(limit, self.config.context), tf.int32),
        )

    def example(self) -> dict[str, list[Any]]:
        number = len(_EXAMPLE)
        return {
            "roles": [["user", "assistant"]] * number,
            "texts": [list(pair) for pair in _EXAMPLE],
            "text": [pair[0] for pair in _EXAMPLE],
            "stop": [["!", "?"], [], ["."], [], []],
            "seed": list(range(number)),
            "temperature": [0.0, 0.5, 0.7, 1.0, 1.0],
            "top_k": [0, 0, 10, 10, 0],
            "top_p": [1.0, 1.0, 0.9, 0.9, 1.0],
            "max_tokens": [8] * number,
        }

    def next_request(self, answer: dict[str, Any], *, signature: str) -> tuple[str, dict[str, Any]] | None:
        if signature != "chat_start":
            return None
        # Of one row and few tokens, the state is small enough to go with an export.
        return "chat_next", {**answer, "steps": np.ones([1], np.int64)}

    def resources(self) -> list[Any]:
        self.replier()
        return [*self.codec.resources, *([] if self._shared is None else [self._shared.cache])]


def _named(state: State) -> dict[str, Any]:
    values = {**state._asdict(), **state.settings._asdict()}
    return {f"state_{name}": values[name] for name in (*_STATE, *_DRAWING)}


def _answer(replier: Replier, state: State) -> dict[str, Any]:
    reason = tf.gather(tf.constant(FINISH), state.finish)
    return {"reply": replier.text(state), "finish": reason, "tokens": count(state)}


def _checked(values: Any, right: Any, message: str) -> Any:
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(right), [message, values])]):
        return tf.identity(values)


def _check_turns(source: Source, rows: Sequence[Turns]) -> None:
    for roles, texts in rows:
        if len(roles) != len(texts):
            raise DataError(
                f"{source.name} has a conversation of {len(roles)} roles and {len(texts)} texts; "
                "give each turn both"
            )


def _texts(source: Source) -> Iterator[str]:
    for texts in source.iterate("texts"):
        yield from texts
