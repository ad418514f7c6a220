"""Back-translation: sentences of the target language alone become training pairs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.data import open_source
from kerasft.errors import ConfigError, DataError
from kerasft.generation import UNKNOWN


@pytest.fixture(scope="module")
def reverse(create: Callable, rows: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from German to English."""
    folder = tmp_path_factory.mktemp("reverse") / "run"
    create(source="de", target="en").finetune(rows, run_dir=folder, verbose="quiet")
    return folder


@pytest.fixture
def sentences(rows: dict, tmp_path: Path) -> Path:
    """A file with sentences of the target language, some of them twice and some lines empty."""
    path = tmp_path / "german.txt"
    path.write_text("\n".join([*rows["de"], "", "  ", *rows["de"][:5]]) + "\n", encoding="utf-8")
    return path


def mix(task: Any, rows: dict, count: int) -> Any:
    real = open_source({name: values[:count] for name, values in rows.items()}, fields=task.fields())
    if not task.models:
        task.adapt(real)
    return task.arrange(real, training=True)


def test_the_share_of_synthetic_pairs_is_what_was_asked(
    create: Callable, reverse: Path, sentences: Path, rows: dict
) -> None:
    settings = {"texts": str(sentences), "run": str(reverse), "share": 0.25}
    source = mix(create(back_translation=settings), rows, 30)
    found = source.take(np.arange(len(source)))
    assert len(source) == 40
    assert found["synthetic"].tolist() == [False] * 30 + [True] * 10
    assert found["text"][:30] == rows["en"][:30]
    assert len(set(found["translation"][30:])) == 10
    assert "10 of 48 sentences of german.txt are back-translated: 25% of the pairs" in source.notes
    right = dict(zip(rows["de"], rows["en"], strict=True))
    made = zip(found["translation"][30:], found["text"][30:], strict=True)
    assert sum(right[german] == english for german, english in made) >= 8
    shuffled = [35, 2, 31, 0]
    assert source.take(shuffled, ["text", "synthetic"]) == {
        "text": [found["text"][i] for i in shuffled],
        "synthetic": pytest.approx([True, False, True, False]),
    }
    assert source.where(31) == "german.txt, back-translation 2"
    assert source.subset([1, 33]).take([1], ["translation"]) == {"translation": [found["translation"][33]]}
    assert source.fingerprint() != source.subset([1, 33]).fingerprint()


def test_too_few_sentences_are_all_used_and_said(
    create: Callable, reverse: Path, sentences: Path, rows: dict
) -> None:
    settings = {"texts": str(sentences), "run": str(reverse), "share": 0.9, "search": "greedy"}
    source = mix(create(back_translation=settings), rows, 48)
    assert len(source) == 96
    assert "50% of the pairs (share=0.9 would need 432 sentences)" in source.notes[-1]


def test_sentences_are_translated_once(
    create: Callable, reverse: Path, sentences: Path, rows: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"texts": str(sentences), "run": str(reverse), "search": "sample"}
    task = create(back_translation=settings)
    first = mix(task, rows, 20)

    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("it translates again")

    monkeypatch.setattr(type(task), "predict", refuse)
    assert mix(create(back_translation=settings), rows, 20).fingerprint() == first.fingerprint()
    with pytest.raises(AssertionError, match="translates again"):
        mix(create(back_translation={**settings, "search": "greedy"}), rows, 20)


def test_a_tag_stands_before_synthetic_texts_in_training_alone(create: Callable, rows: dict) -> None:
    task = create(lengths={"source": 6})
    task.adapt(open_source(rows, fields=task.fields()))
    text = tf.constant(rows["en"][:2])
    plain = task.preprocess({"text": text})["source_ids"]
    marked = task.preprocess({"text": text, "synthetic": tf.constant([True, False])})["source_ids"]
    assert marked.shape[0] == 2
    assert marked[0, 0].numpy() == UNKNOWN
    assert marked[0, 1:].numpy().tolist() == [*plain[0, :4].numpy(), plain[0, -1].numpy()]
    assert UNKNOWN not in marked[1].numpy()
    untagged = create(back_translation={"tagged": False})
    untagged.adapt(open_source(rows, fields=untagged.fields()))
    ids = untagged.preprocess({"text": text, "synthetic": tf.constant([True, False])})["source_ids"]
    assert UNKNOWN not in ids.flat_values.numpy()


def test_it_trains_on_both_and_goes_on(
    create: Callable, reverse: Path, sentences: Path, rows: dict, tmp_path: Path
) -> None:
    settings = {"texts": str(sentences), "run": str(reverse)}
    few: dict[str, Any] = {**{name: values[:12] for name, values in rows.items()}, "weight": [2.0] * 12}
    task = create(back_translation=settings, training={"batch_size": 8, "batch_tokens": None})
    task.finetune(few, epochs=1, run_dir=tmp_path / "run", sample_weight="weight", verbose="quiet")
    assert int(task.run.checkpoints.latest().state["step"]) == 3
    again = kerasft.load(tmp_path / "run", checkpoint="latest")
    history = again.finetune(few, epochs=2, run_dir=tmp_path / "run", sample_weight="weight", verbose="quiet")
    assert len(history.history["loss"]) == 2


@pytest.mark.slow
def test_synthetic_pairs_teach_what_few_real_ones_do_not(
    create: Callable, reverse: Path, sentences: Path, rows: dict
) -> None:
    few = {name: values[::4] for name, values in rows.items()}
    more = {"texts": str(sentences), "run": str(reverse), "share": 0.8}
    losses = []
    for settings in ({}, more):
        task = create(back_translation=settings)
        task.finetune(few, epochs=20, verbose="quiet")
        losses.append(task.evaluate(rows, verbose="quiet")["loss"])
    assert losses[1] < losses[0] - 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"texts": "german.txt"}, "needs both texts and run"),
        ({"run": "runs/de-en"}, "needs both texts and run"),
        ({"texts": "german.txt", "run": "runs/de-en", "share": 1.0}, r"back_translation.share"),
    ],
)
def test_half_a_setting_is_refused(create: Callable, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create(back_translation=settings)


def test_a_run_of_the_same_direction_is_refused(
    create: Callable, reverse: Path, sentences: Path, rows: dict
) -> None:
    task = create(source="de", target="en", back_translation={"texts": str(sentences), "run": str(reverse)})
    with pytest.raises(ConfigError, match="translates from 'de' to 'en', as this task does"):
        mix(task, rows, 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"gr\xfcn\n", "is not UTF-8"), (b"\n \n", "holds no sentence")],
)
def test_sentences_that_cannot_be_read_are_named(
    create: Callable, reverse: Path, rows: dict, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "german.txt"
    if content is not None:
        path.write_bytes(content)
    task = create(back_translation={"texts": str(path), "run": str(reverse)})
    with pytest.raises(DataError, match=rf"german\.txt {message}"):
        mix(task, rows, 4)


def test_sentences_may_be_a_column_of_a_table(create: Callable, reverse: Path, rows: dict) -> None:
    settings = {"texts": "phrases:test", "run": str(reverse), "search": "greedy"}
    source = mix(create(back_translation=settings), rows, 3)
    assert len(source) == 6
