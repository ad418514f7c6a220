"""What a batch cannot measure: the right reply among wrong ones, and how varied replies are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from kerasft.generation import Past, hide
from kerasft.metrics import distinct
from kerasft.training.examples import Examples
from kerasft_dialogue.encoding import NOTHING
from kerasft_dialogue.replying import Settings

if TYPE_CHECKING:
    from kerasft_dialogue.task import Dialogue

_BATCH = 16
_RANKS = (1, 2, 5)
_PAD = -1  # behind a reply


class Exchange(NamedTuple):
    """A reply in a conversation.

    Attributes:
        before: Tokens up to where it begins, int32 [any].
        reply: Its tokens, the end included, int32 [any].
    """

    before: np.ndarray
    reply: np.ndarray


def measure(task: Dialogue, examples: Examples, *, progress: Callable[[int], None]) -> dict[str, float]:
    """Returns "r@1", "r@2", "r@5", "distinct_1" and "distinct_2", as far as the config asks for them.

    Args:
        task: Built.
        examples: Conversations that are not packed.
        progress: Called with the number of examples done.
    """
    config = task.config.evaluation
    values: dict[str, float] = {}
    if config.retrieval:
        exchanges = drawn_exchanges(examples, most=None, seed=task.config.seed)
        values |= retrieval(task, exchanges, progress=progress)
    if config.replies:
        exchanges = drawn_exchanges(examples, most=config.replies, seed=task.config.seed)
        texts = replies(task, exchanges, progress=progress)
        values |= {f"distinct_{n}": distinct(texts, n) for n in (1, 2)}
    return values


def drawn_exchanges(examples: Examples, *, most: int | None, seed: int) -> list[Exchange]:
    """Returns a reply of each conversation, drawn by `seed`; of the first conversations only if `most`.

    The first reply of a conversation is drawn only if there is no other: it often is the same greeting in
    all of them.
    """
    generator = np.random.default_rng(seed)
    found: list[Exchange] = []
    for index in range(len(examples)):
        if most is not None and len(found) >= most:
            break
        batch = examples.batch(np.array([index]))
        tokens, targets = batch.features["token_ids"][0], batch.targets["target_ids"][0]
        learned = np.flatnonzero(targets != NOTHING)
        if not len(learned):
            continue
        said = np.split(learned, np.flatnonzero(np.diff(learned) > 1) + 1)
        places = said[int(generator.integers(1, len(said)))] if len(said) > 1 else said[0]
        found.append(Exchange(tokens[: places[0] + 1], targets[places] - 1))
    return found


def retrieval(
    task: Dialogue, exchanges: list[Exchange], *, progress: Callable[[int], None]
) -> dict[str, float]:
    """Returns how often the right reply is among the best 1, 2 and 5 of the candidates.

    The others are replies of other conversations, drawn by the seed of the config, none equal to the right
    one. A reply scores the mean log probability of its tokens after the conversation, less
    `evaluation.prior` times the same after nothing, so that what can be said anywhere does not win; equal
    scores count as worse.

    Source: Li et al., 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models"
    (MMI-antiLM).

    Args:
        task: Built; its config says how many conversations and candidates.
        exchanges: The conversations.
        progress: Called with the number of conversations done.
    """
    config = task.config.evaluation
    generator = np.random.default_rng(task.config.seed)
    chosen = generator.permutation(len(exchanges))[: config.retrieval].tolist()
    different = len({exchange.reply.tobytes() for exchange in exchanges})
    candidates = min(config.candidates, different)
    template = task.codec.template
    nothing = np.array([*template.first, *template.before["assistant"]], np.int32)
    priors: dict[bytes, float] = {}
    places = []
    for done, index in enumerate(chosen, 1):
        before, right = exchanges[index]
        seen, offered = {right.tobytes()}, [right]
        while len(offered) < candidates:
            other = exchanges[int(generator.integers(len(exchanges)))].reply
            if other.tobytes() not in seen:
                seen.add(other.tobytes())
                offered.append(other)
        scores = score_replies(task, before, offered)
        if config.prior:
            new = [reply for reply in offered if reply.tobytes() not in priors]
            if new:
                found = score_replies(task, nothing, new)
                priors |= {reply.tobytes(): float(score) for reply, score in zip(new, found, strict=True)}
            scores = scores - config.prior * np.array([priors[reply.tobytes()] for reply in offered])
        places.append(int(np.sum(scores[1:] >= scores[0])))
        progress(done)
    return {f"r@{k}": float(np.mean(np.array(places) < k)) for k in _RANKS if k < candidates}


def score_replies(task: Dialogue, before: np.ndarray, replies: list[np.ndarray]) -> np.ndarray:
    """Returns the mean log probability of the tokens of each reply, float32 [replies].

    Args:
        task: Built.
        before: int32 [any], the conversation.
        replies: int32 [any] each.
    """
    ragged = tf.ragged.constant([reply.tolist() for reply in replies], dtype=tf.int32)
    return _scorer(task)(tf.constant(before), ragged.to_tensor(_PAD)).numpy()


def _scorer(task: Dialogue) -> Any:
    network = task.network

    def score(before: Any, replies: Any) -> tf.Tensor:
        count, length = tf.shape(replies)[0], tf.shape(before)[0]
        places = tf.range(length)[None]
        # The last token is read with each reply: what it says decides about the first.
        _, past = network.read(before[None, :-1], places[:, :-1], (), tf.zeros([1, length - 1]))
        past = Past(*tf.nest.map_structure(lambda part: tf.repeat(part, count, axis=0), tuple(past)))
        counts = tf.cast(replies != _PAD, tf.float32)
        replies = tf.maximum(replies, 0)
        given = tf.concat([tf.fill([count, 1], before[-1]), replies[:, :-1]], axis=1)
        onward = length - 1 + tf.range(tf.shape(given)[1])[None]
        vectors, _ = network.read(given, onward, (past,), hide(tf.ones_like(given, tf.bool)))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(replies, network.logits(vectors))
        return -tf.reduce_sum(losses * counts, axis=1) / tf.reduce_sum(counts, axis=1)

    return task.compiled(score, [tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None], tf.int32)])


def replies(task: Dialogue, exchanges: list[Exchange], *, progress: Callable[[int], None]) -> list[str]:
    """Returns what the task replies to conversations, with the settings of `decoding`."""
    decoding = task.config.decoding
    replier = task.replier()

    def write(tokens: Any, lengths: Any) -> tf.Tensor:
        rows = tf.shape(lengths)
        settings = Settings(
            stop=tf.fill([rows[0], 1], ""),
            seed=tf.fill(rows, tf.constant(decoding.seed, tf.int64)),
            temperature=tf.fill(rows, float(decoding.temperature)),
            top_k=tf.fill(rows, decoding.top_k),
            top_p=tf.fill(rows, float(decoding.top_p)),
            limit=tf.fill(rows, decoding.max_tokens),
        )
        ragged = tf.RaggedTensor.from_tensor(tokens, lengths)
        state = replier.begin(ragged, tf.ones(rows, tf.bool), settings)
        return replier.text(replier.go_on(state, steps=decoding.max_tokens))

    function = task.compiled(write, [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)])
    room = max(task.config.context - decoding.max_tokens, task.config.context // 2)
    texts: list[str] = []
    for start in range(0, len(exchanges), _BATCH):
        part = [exchange.before[-room:].tolist() for exchange in exchanges[start : start + _BATCH]]
        ragged = tf.ragged.constant(part, dtype=tf.int32)
        made = function(ragged.to_tensor(), tf.cast(ragged.row_lengths(), tf.int32))
        texts += [text.decode() for text in made.numpy()]
        progress(len(texts))
    return texts
