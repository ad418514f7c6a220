"""Replies as a graph: what of a conversation is read, the loop that writes, and the state between calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from kerasft.generation import CausalLM, PackedLM, Past, draw, hide
from kerasft_dialogue.conversations import ROLES
from kerasft_dialogue.template import Codec, turn_overhead, write_turns

GOING, END, STOP, LENGTH, EMPTY = range(5)
FINISH = ("", "end", "stop", "length", "empty")
"""Why a reply ended, by number; nothing while it goes on."""

_NEVER = -1e30
_NONE = -1  # in place of a token, behind the end of a reply
_CHARS = 8  # of a text so many are read for each token of the context


class Settings(NamedTuple):
    """How replies are drawn, one value a row.

    Attributes:
        stop: string [rows, any], padded with "". At these a reply ends.
        seed: int64 [rows].
        temperature: float32 [rows].
        top_k: int32 [rows].
        top_p: float32 [rows].
        limit: int32 [rows]. Most tokens.
    """

    stop: Any
    seed: Any
    temperature: Any
    top_k: Any
    top_p: Any
    limit: Any


class State(NamedTuple):
    """A reply that is being written.

    Attributes:
        cache: float32 [rows, 2 * layers, kv heads, length, size]. Keys and values of all tokens but the last.
        hidden: float32 [rows, length]. 0 where they may be seen, else very negative.
        place: int32 [rows]. Where the last token stands.
        tokens: int32 [rows, any]. What was written; -1 behind the end.
        finish: int32 [rows]. See `FINISH`.
        shown: int32 [rows]. Bytes that were given out.
        settings: How the rest is drawn.
    """

    cache: Any
    hidden: Any
    place: Any
    tokens: Any
    finish: Any
    shown: Any
    settings: Settings


class Prefix(NamedTuple):
    """The beginning that conversations share, read once.

    Attributes:
        tokens: int32 [length].
        cache: float32 [1, 2 * layers, kv heads, length, size].
    """

    tokens: Any
    cache: Any


class Replier:
    """Writes replies with a network.

    Args:
        network: A causal language model, packed or not.
        codec: Its tokens.
        context: Most tokens of a conversation with its reply.
        system: What the system says where a conversation has no such turn; nothing if empty.
        prefix: What `share` returned, or None.
    """

    def __init__(
        self,
        network: CausalLM | PackedLM,
        codec: Codec,
        *,
        context: int,
        system: str,
        prefix: Prefix | None = None,
    ) -> None:
        self._network, self._codec = network, codec
        self._context, self._system, self._prefix = context, system, prefix

    def prompt(self, roles: Any, texts: Any, limit: Any) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """Returns the tokens that are read before a reply, and which rows have a turn.

        The first turn of the system and as many of the last turns as fit are read, the last one always; of a
        turn that is longer than the room its end is read, of the system's the beginning, at most half.

        Args:
            roles: string [rows, turns], padded with "".
            texts: The same.
            limit: int32 [rows]. Most tokens of the reply; half of the context is for the conversation anyway.
        """
        template, context = self._codec.template, self._context
        there = roles != ""
        right = tf.reduce_any(roles[:, :, None] == tf.constant(ROLES)[None, None], axis=2) | ~there
        message = f"a role must be {', '.join(ROLES[:-1])} or {ROLES[-1]}"
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(right), [message, roles])]):
            some = tf.reduce_any(there, axis=1)
        if self._system:
            first = there & (tf.cumsum(tf.cast(there, tf.int32), axis=1) == 1)
            lacking = ~tf.reduce_any(first & (roles == "system"), axis=1)[:, None]
            roles = tf.concat([tf.where(lacking, "system", ""), roles], axis=1)
            texts = tf.concat([tf.where(lacking, self._system, ""), texts], axis=1)
            there = roles != ""
        place = tf.where(there)
        row = tf.cast(place[:, 0], tf.int32)
        rows = tf.shape(roles)[0]
        role, text = tf.boolean_mask(roles, there), tf.boolean_mask(texts, there)
        around = turn_overhead(template, role)
        begin = template.before["assistant"]
        room = tf.maximum(context - limit, context // 2) - len(template.first) - len(begin)
        is_first = tf.concat([[True], row[1:] != row[:-1]], axis=0)[: tf.shape(row)[0]]
        is_last = tf.concat([row[1:] != row[:-1], [True]], axis=0)[: tf.shape(row)[0]]
        is_system = is_first & (role == "system") & ~is_last
        half = tf.gather(room, row) // 2 - around
        written = write_turns(
            self._codec,
            role,
            self._readable(text, ~is_system),
            most=tf.where(is_system, half, context),
            keep_end=~is_system,
        )
        sizes = tf.cast(written.tokens.row_lengths(), tf.int32)
        system = tf.math.unsorted_segment_sum(tf.where(is_system, sizes, 0), row, rows)
        free = tf.gather(room - system, row)
        # Of all turns but the first of the system the total from each to the last one.
        counted = tf.where(is_system, 0, sizes)
        totals = tf.cumsum(counted)
        ends = tf.gather(tf.math.unsorted_segment_max(totals, row, rows), row)
        onward = ends - totals + counted
        kept = is_system | is_last | (onward <= free)
        tokens = tf.ragged.boolean_mask(written.tokens, kept)
        row = tf.boolean_mask(row, kept)
        # Only the last turn can still be too long: what stands before its text stays, its end too.
        most = tf.boolean_mask(tf.where(is_last, free, context), kept)
        front = tf.boolean_mask(self._before(role), kept)
        tokens = _without_middle(tokens, front, most)
        nested = tf.RaggedTensor.from_value_rowids(tokens, tf.cast(row, tf.int64), tf.cast(rows, tf.int64))
        first, opening = (
            tf.tile(tf.constant([part], tf.int32), [rows, 1]) for part in (template.first, begin)
        )
        return tf.concat([first, nested.merge_dims(1, 2), opening], axis=1), some

    def _before(self, role: Any) -> tf.Tensor:
        sizes = tf.constant([len(self._codec.template.before[name]) for name in ROLES])
        return tf.reduce_sum(tf.where(role[:, None] == tf.constant(ROLES)[None], sizes[None], 0), axis=1)

    def _readable(self, text: Any, keep_end: Any) -> tf.Tensor:
        # Text that cannot matter is not made into tokens, which takes long.
        valid = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
        most = _CHARS * self._context
        over = tf.maximum(tf.strings.length(valid, unit="UTF8_CHAR") - most, 0)
        start = tf.where(keep_end, over, 0)
        return tf.strings.substr(valid, start, tf.fill(tf.shape(start), most), unit="UTF8_CHAR")

    def share(self) -> Prefix | None:
        """Reads what conversations without a turn of the system begin with; None if that is nothing."""
        if not self._system:
            return None
        role, text = tf.constant(["system"]), tf.constant([self._system])
        most = tf.constant([self._context // 4])
        written = write_turns(
            self._codec, role, text, opens=tf.constant([True]), most=most, keep_end=tf.constant([False])
        )
        tokens = written.tokens.to_tensor()
        network = self._network
        _, past = network.read(tokens, tf.range(tf.shape(tokens)[1])[None], (), tf.zeros(tf.shape(tokens)))
        return Prefix(tokens[0], _stacked(past))

    def start(self, roles: Any, texts: Any, settings: Settings) -> State:
        """Reads conversations and writes the first token of each reply.

        Args:
            roles: string [rows, turns], padded with "".
            texts: The same.
            settings: How replies are drawn.
        """
        prompts, some = self.prompt(roles, texts, settings.limit)
        return self.begin(prompts, some, settings)

    def begin(self, prompts: tf.RaggedTensor, some: Any, settings: Settings) -> State:
        """Reads tokens and writes the first one of each reply.

        Args:
            prompts: int32 [rows, tokens], at least one a row.
            some: bool [rows]. Where there is something to reply to.
            settings: How replies are drawn.
        """
        lengths = tf.cast(prompts.row_lengths(), tf.int32)
        settings = settings._replace(limit=tf.minimum(settings.limit, self._context - lengths))
        tokens = prompts.to_tensor()
        visible = tf.sequence_mask(lengths, tf.shape(tokens)[1])
        last, cache = self._read(tokens, lengths, hide(visible))
        rows = tf.shape(tokens)[0]
        state = State(
            cache=cache,
            hidden=hide(visible),
            place=lengths,
            tokens=tf.zeros([rows, 0], tf.int32),
            finish=tf.where(some, GOING, EMPTY),
            shown=tf.zeros([rows], tf.int32),
            settings=settings,
        )
        return self._with_next(state, self._network.logits(last))

    def _read(self, tokens: Any, lengths: Any, hidden: Any) -> tuple[Any, Any]:
        """Returns the vectors of the last tokens, float [rows, width], and the cache of all."""
        network, prefix = self._network, self._prefix
        length = tf.shape(tokens)[1]
        if prefix is None:
            vectors, past = network.read(tokens, tf.range(length)[None], (), hidden)
            return tf.gather(vectors, lengths - 1, batch_dims=1), _stacked(past)
        # What all rows begin with is not read again; where one begins otherwise, nothing is skipped.
        size = tf.shape(prefix.tokens)[0]
        compared = tokens[:, : tf.minimum(size, length)]
        longer = tf.reduce_all(lengths > size) & (length > size)
        same = tf.reduce_all(compared == prefix.tokens[None, : tf.shape(compared)[1]])
        skipped = tf.where(longer & same, size, 0)
        rows = tf.shape(tokens)[0]
        shared = tf.repeat(prefix.cache[:, :, :, :skipped], rows, axis=0)
        before = _apart(shared, tf.zeros([rows, skipped]), self._kept)
        places = tf.range(skipped, length)[None]
        vectors, past = network.read(tokens[:, skipped:], places, (before,), hidden[:, skipped:])
        last = tf.gather(vectors, lengths - 1 - skipped, batch_dims=1)
        return last, tf.concat([shared, _stacked(past)], axis=3)

    @property
    def cache_shape(self) -> list[int | None]:
        """The shape of `State.cache`."""
        sizes = self._network.sizes
        return [None, 2 * sizes.layers, sizes.kv_heads, None, sizes.size]

    @property
    def _kept(self) -> tf.DType:
        return tf.as_dtype(self._network.blocks[0].compute_dtype)

    def go_on(self, state: State, *, steps: Any) -> State:
        """Writes up to `steps` (a scalar) more tokens of each reply."""
        network, settings = self._network, state.settings
        rows = tf.shape(state.tokens)[0]
        before = _apart(state.cache, state.hidden, self._kept)
        target = tf.shape(state.tokens)[1] + steps

        def body(tokens: Any, finish: Any, place: Any, grown: Past) -> tuple[Any, ...]:
            going = finish == GOING
            hidden = hide(going)[:, None]
            last = tf.maximum(tokens[:, -1:], 0)
            vectors, new = network.read(last, place[:, None], (before, grown), hidden)
            grown = Past(
                tuple(tf.concat(pair, axis=2) for pair in zip(grown.keys, new.keys, strict=True)),
                tuple(tf.concat(pair, axis=2) for pair in zip(grown.values, new.values, strict=True)),
                tf.concat([grown.hidden, hidden], axis=1),
            )
            logits = network.logits(vectors[:, 0])
            token = self._next(logits, tf.shape(tokens)[1], going, settings)
            tokens = tf.concat([tokens, token[:, None]], axis=1)
            return tokens, self._finish(tokens, finish, settings), place + tf.cast(going, tf.int32), grown

        sizes = network.sizes
        part = tf.TensorShape([None, sizes.kv_heads, None, sizes.size])
        each = (part,) * sizes.layers
        shapes = (
            tf.TensorShape([None, None]),
            tf.TensorShape([None]),
            tf.TensorShape([None]),
            Past(each, each, tf.TensorShape([None, None])),
        )
        tokens, finish, place, grown = tf.while_loop(
            lambda tokens, finish, *_: tf.reduce_any(finish == GOING) & (tf.shape(tokens)[1] < target),
            body,
            (state.tokens, state.finish, state.place, network.nothing(rows)),
            shape_invariants=shapes,
            parallel_iterations=1,
        )
        return state._replace(
            cache=tf.concat([state.cache, _stacked(grown)], axis=3),
            hidden=tf.concat([state.hidden, grown.hidden], axis=1),
            place=place,
            tokens=tokens,
            finish=finish,
        )

    def _with_next(self, state: State, logits: Any) -> State:
        token = self._next(logits, tf.constant(0), state.finish == GOING, state.settings)
        tokens = tf.concat([state.tokens, token[:, None]], axis=1)
        return state._replace(tokens=tokens, finish=self._finish(tokens, state.finish, state.settings))

    def _next(self, logits: Any, position: Any, going: Any, settings: Settings) -> tf.Tensor:
        banned = self._codec.template.banned
        places = tf.constant(banned, tf.int32, [len(banned), 1])
        token = draw(
            logits + tf.scatter_nd(places, tf.fill([len(banned)], _NEVER), [self._codec.size])[None],
            seed=settings.seed,
            position=position,
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
        )
        return tf.where(going, token, _NONE)

    def _finish(self, tokens: Any, finish: Any, settings: Settings) -> tf.Tensor:
        """Returns why rows end that were going on before the last token."""
        going = finish == GOING
        finish = tf.where(going & (tokens[:, -1] == self._codec.template.end), END, finish)
        stopped = tf.cond(
            tf.reduce_any(settings.stop != ""),
            lambda: _holds(self._decode(tokens), settings.stop),
            lambda: tf.zeros_like(going),
        )
        finish = tf.where(going & stopped, STOP, finish)
        full = tf.reduce_sum(tf.cast(tokens != _NONE, tf.int32), axis=1) >= settings.limit
        return tf.where((finish == GOING) & full, LENGTH, finish)

    def _decode(self, tokens: Any) -> tf.Tensor:
        ragged = tf.RaggedTensor.from_tensor(tokens)
        said = (tokens != _NONE) & (tokens != self._codec.template.end)
        text = self._codec.decode(tf.ragged.boolean_mask(ragged, said))
        return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")

    def text(self, state: State) -> tf.Tensor:
        """Returns what was written so far, string [rows], up to a stop string."""
        return _cut_at(self._decode(state.tokens), state.settings.stop)

    def show(self, state: State) -> tuple[tf.Tensor, State]:
        """Returns what can be shown now and was not yet, string [rows], and the state that knows it.

        While a reply goes on, a character that is not whole and what may become a stop string wait.
        """
        whole = self.text(state)
        certain = tf.strings.regex_replace(whole, "\ufffd+$", "")
        most = tf.reduce_max(tf.strings.length(state.settings.stop, unit="UTF8_CHAR"), axis=1)
        chars = tf.strings.length(certain, unit="UTF8_CHAR") - tf.maximum(most - 1, 0)
        certain = tf.strings.substr(certain, tf.zeros_like(chars), tf.maximum(chars, 0), unit="UTF8_CHAR")
        text = tf.where(state.finish == GOING, certain, whole)
        length = tf.strings.length(text)
        start = tf.minimum(state.shown, length)
        new = tf.strings.substr(text, start, length - start)
        return new, state._replace(shown=tf.maximum(state.shown, length))


def count(state: State) -> tf.Tensor:
    """Returns how many tokens each reply has, its end included, int32 [rows]."""
    return tf.reduce_sum(tf.cast(state.tokens != _NONE, tf.int32), axis=1)


def _without_middle(tokens: tf.RaggedTensor, front: Any, most: Any) -> tf.RaggedTensor:
    """Returns turns with `most` tokens each: `front` of the beginning, the rest of the end."""
    lengths = tf.cast(tokens.row_lengths(), tf.int32)
    places = tf.ragged.range(lengths)
    rows = places.value_rowids()
    resume = tf.gather(front + tf.maximum(lengths - most, 0), rows)
    kept = (places.flat_values < tf.gather(front, rows)) | (places.flat_values >= resume)
    return tf.ragged.boolean_mask(tokens, tokens.with_flat_values(kept))


def _stacked(past: Past) -> tf.Tensor:
    return tf.cast(tf.stack([*past.keys, *past.values], axis=1), tf.float32)


def _apart(cache: Any, hidden: Any, dtype: Any) -> Past:
    parts: Sequence[Any] = tf.unstack(tf.cast(cache, dtype), axis=1)
    half = len(parts) // 2
    return Past(tuple(parts[:half]), tuple(parts[half:]), hidden)


def _pattern(stop: Any) -> tf.Tensor:
    # A quotation ends at \E, so one inside is spelled out.
    valid = tf.strings.unicode_transcode(stop, "UTF-8", "UTF-8", errors="replace")
    return tf.strings.join(["\\Q", tf.strings.regex_replace(valid, r"\\E", r"\\E\\\\E\\Q"), "\\E"])


def _cut_at(text: Any, stop: Any) -> tf.Tensor:
    """Returns texts up to the first of their stop strings."""

    def one(pair: tuple[Any, Any]) -> Any:
        def cut(index: Any, left: Any) -> tuple[Any, Any]:
            pattern = tf.strings.join(["(?s)", _pattern(pair[1][index]), ".*"])
            # The op takes a pattern that is a tensor; the function of this name does too, but not always.
            shorter = tf.raw_ops.RegexReplace(input=left, pattern=pattern, rewrite="", replace_global=False)
            return index + 1, tf.where(pair[1][index] == "", left, shorter)

        _, left = tf.while_loop(lambda index, _: index < tf.shape(stop)[1], cut, (0, pair[0]))
        return left

    spec = tf.TensorSpec([], tf.string)
    return tf.cond(
        tf.reduce_any(stop != ""),
        lambda: tf.map_fn(one, (text, stop), fn_output_signature=spec),
        lambda: tf.identity(text),
    )


def _holds(text: Any, stop: Any) -> tf.Tensor:
    return (_cut_at(text, stop) != text) & tf.reduce_any(stop != "", axis=1)
