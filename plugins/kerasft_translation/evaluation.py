"""Translations of examples, and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from kerasft.data import epoch_batches
from kerasft.metrics import bleu, chrf, sentence_chrf
from kerasft.reports.tables import save_table
from kerasft.training.examples import Examples

if TYPE_CHECKING:
    from kerasft_translation.task import Translation

_LONGEST = (10, 20, 40)  # where one class of lengths ends, in words of the text or characters without spaces


def measure(
    task: Translation, examples: Examples, *, batch_size: int, progress: Callable[[int], None]
) -> dict[str, float]:
    """Returns "bleu" and "chrf" of the translations of all examples.

    In a run they also make two tables of its report: the scores by length, and the worst translations.

    Args:
        task: Built.
        examples: With targets, which are the references as far as they were encoded.
        batch_size: Examples at once.
        progress: Called with the number of examples done.
    """
    texts, references, translations = translate(task, examples, batch_size=batch_size, progress=progress)
    values = {"bleu": bleu(translations, references), "chrf": chrf(translations, references)}
    if task.run is not None:
        _report(task, texts, references, translations)
    return values


def translate(
    task: Translation, examples: Examples, *, batch_size: int, progress: Callable[[int], None]
) -> tuple[list[str], list[str], list[str]]:
    """Returns texts, references and translations of all examples."""
    source, target = task.units
    config = task.config
    beam = config.evaluation.beam or config.decoding.beam
    rows: list[tuple[str, str, str]] = [("", "", "")] * len(examples)

    def batch(source_ids: Any, target_ids: Any) -> tuple[Any, Any, Any]:
        count = tf.shape(source_ids)[0]
        lengths = tf.reduce_sum(tf.cast(source_ids != 0, tf.int32), axis=1)
        limit = tf.minimum(2 * lengths + 16, config.decoding.max_length)
        found = task.search(source_ids, beam=tf.fill([count], beam), limit=limit)
        return source.decode(source_ids), target.decode(target_ids), target.decode(found.tokens)

    ids = tf.TensorSpec([None, None], tf.int32)
    function = tf.function(batch, input_signature=[ids, ids], autograph=False)
    done = 0
    batches = epoch_batches(
        len(examples), batch_size, seed=0, epoch=0, lengths=examples.lengths, shuffle=False
    )
    for indices in batches:
        encoded = examples.batch(indices)
        found = function(
            tf.constant(encoded.features["source_ids"]), tf.constant(encoded.targets["target_ids"])
        )
        columns = [[text.decode() for text in column.numpy()] for column in found]
        for index, row in zip(indices, zip(*columns, strict=True), strict=True):
            rows[index] = row
        done += len(indices)
        progress(done)
    texts, references, translations = (list(column) for column in zip(*rows, strict=True))
    return texts, references, translations


def _report(
    task: Translation, texts: Sequence[str], references: Sequence[str], translations: Sequence[str]
) -> None:
    assert task.run is not None
    lengths = np.array([_length(text) for text in texts])
    rows = []
    for low, high in zip((0, *_LONGEST), (*_LONGEST, None), strict=True):
        inside = np.flatnonzero((lengths > low) & (lengths <= (high or np.inf)))
        if len(inside):
            made, wanted = ([part[i] for i in inside.tolist()] for part in (translations, references))
            label = f"{low + 1} to {high}" if high else f"more than {low}"
            rows.append([label, str(len(inside)), f"{bleu(made, wanted):.1f}", f"{chrf(made, wanted):.1f}"])
    save_table(
        task.run.folder,
        "1-lengths",
        title="Translations by the length of the text",
        headings=["words", "texts", "BLEU", "chrF"],
        rows=rows,
    )
    scores = sentence_chrf(translations, references)
    worst = np.argsort(scores, kind="stable")[: task.config.evaluation.worst].tolist()
    save_table(
        task.run.folder,
        "2-worst",
        title="The worst translations",
        headings=["text", "translation", "reference", "chrF"],
        rows=[[texts[i], translations[i], references[i], f"{scores[i]:.1f}"] for i in worst],
        text=3,
    )


def _length(text: str) -> int:
    words = len(text.split())
    # A language without spaces counts by characters, about two of which make a word.
    return max(words, len(text) // 2 if words < len(text) / 12 else words)
