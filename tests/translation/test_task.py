"""The task as its users meet it: pairs in, translations out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.errors import ConfigError, DataError, OrderError
from kerasft.export.runtime import Model
from kerasft.prediction import trace
from kerasft.training.adapters import merged

ODD = ["the dog sees the book.", "the cat", "", "   ", "x" * 5000, "a\0b\tc", "狗在睡觉。", "The DOG"]


@pytest.fixture(scope="module", params=["transformer", pytest.param("gru", marks=pytest.mark.slow)])
def trained(
    request: pytest.FixtureRequest, create: Callable, rows: dict, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path]:
    """A task of each architecture and its run."""
    folder = tmp_path_factory.mktemp(request.param)
    data = folder / "pairs.tsv"
    lines = ["\t".join(pair) for pair in zip(*rows.values(), strict=True)]
    data.write_text("\n".join(["\t".join(rows), *lines]) + "\n", encoding="utf-8")
    task = create(architecture=request.param)
    task.finetune(data, validation_data=data, run_dir=folder / "run", verbose="quiet")
    return task, folder / "run"


def texts_of(answer: dict[str, np.ndarray]) -> list[str]:
    return [text.decode() for text in answer["translation"]]


def test_it_learns(trained: tuple[Any, Path], rows: dict) -> None:
    task, _ = trained
    assert sum(a == b for a, b in zip(texts_of(task.predict(rows["en"])), rows["de"], strict=True)) > 44


def test_a_loaded_run_answers_the_same(trained: tuple[Any, Path]) -> None:
    task, run = trained
    loaded = kerasft.load(run, checkpoint="latest")
    texts = [text for text in ODD if text.strip()]
    assert texts_of(loaded.predict(texts)) == texts_of(task.predict(texts))


TRACED: dict[tuple[Any, str], Any] = {}


def serve(task: Any, signature: str, *, anew: bool = False, **inputs: Any) -> dict[str, np.ndarray]:
    """Answers as the SavedModel does; traces once unless `anew`."""
    specs = task.signatures()[signature]
    if anew or (task, signature) not in TRACED:
        TRACED[task, signature] = trace(task, signature)
    tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
    return {name: value.numpy() for name, value in TRACED[task, signature](**tensors).items()}


def test_a_text_gets_the_same_translation_alone_as_beside_others(trained: tuple[Any, Path]) -> None:
    task, _ = trained
    beams, longest = [1, 3, 4, 2, 5, 1, 2, 4], [20, 9, 5, 5, 3, 8, 30, 1]
    together = serve(task, "search", text=ODD, beam=beams, max_length=longest)
    for i, text in enumerate(ODD):
        alone = serve(task, "search", text=[text], beam=beams[i : i + 1], max_length=longest[i : i + 1])
        assert texts_of(alone) == texts_of(together)[i : i + 1]
        assert alone["score"][0] == pytest.approx(together["score"][i], abs=1e-4)


def test_what_is_empty_stays_empty(trained: tuple[Any, Path]) -> None:
    answer = serve(trained[0], "serving_default", text=["", " \n", "the dog"])
    assert texts_of(answer)[:2] == ["", ""]
    assert answer["score"][:2].tolist() == [0.0, 0.0]
    assert texts_of(answer)[2]
    assert serve(trained[0], "serving_default", text=np.zeros(0, "O"))["translation"].tolist() == []


def test_broken_bytes_and_endless_texts_are_answered(trained: tuple[Any, Path]) -> None:
    answer = serve(trained[0], "serving_default", text=[b"the \xff dog\xfe", "the dog " * 12_500])
    assert all(isinstance(text, bytes) for text in answer["translation"])
    assert np.isfinite(answer["score"]).all()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"beam": [0], "max_length": [9]}, "beam must be"),
        ({"beam": [33], "max_length": [9]}, "beam must be"),
        ({"beam": [1], "max_length": [0]}, "max_length must be"),
    ],
)
def test_senseless_requests_are_refused(trained: tuple[Any, Path], inputs: dict, message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve(trained[0], "search", text=["the dog"], **inputs)


def test_a_wider_beam_never_scores_less_on_the_whole(trained: tuple[Any, Path], rows: dict) -> None:
    task, _ = trained
    narrow, wide = (
        serve(task, "search", text=rows["en"], beam=[beam] * 48, max_length=[30] * 48)["score"].sum()
        for beam in (1, 6)
    )
    assert wide > narrow - 1e-3


def test_no_translation_is_longer_than_asked(trained: tuple[Any, Path]) -> None:
    task, _ = trained
    whole, cut = (
        serve(task, "search", text=["the dog sees the book."], beam=[1], max_length=[most])
        for most in (40, 3)
    )
    ids = task.units[1].encode(tf.constant([texts_of(whole)[0]]), limit=3)
    assert texts_of(cut) == [task.units[1].decode(ids).numpy()[0].decode()]


def test_sampling_depends_on_its_seed_alone(trained: tuple[Any, Path], rows: dict) -> None:
    task, _ = trained
    text, count = rows["en"][:6], 6

    def draw(seed: list[int], rows: slice = slice(None), temperature: float = 3.0) -> list[str]:
        text_now = text[rows]
        n = len(text_now)
        return texts_of(
            serve(
                task,
                "sample",
                text=text_now,
                seed=seed,
                temperature=[temperature] * n,
                top_k=[0] * n,
                top_p=[1.0] * n,
                max_length=[12] * n,
            )
        )

    together = draw(list(range(count)))
    assert together == draw(list(range(count)))
    assert draw([4], slice(4, 5)) == [together[4]]
    assert together != draw(list(range(10, 16)))
    greedy = serve(task, "search", text=text, beam=[1] * 6, max_length=[12] * 6)
    assert draw([1] * 6, temperature=0.0) == texts_of(greedy)


def test_predict_takes_request_columns(trained: tuple[Any, Path]) -> None:
    task, _ = trained
    data = {"text": ["the dog sees the book.", "the cat hears the child."], "max_length": [2, 30]}
    short, long = texts_of(task.predict(data, signature="search"))
    assert len(short) < len(long)


def test_the_export_translates_without_keras(trained: tuple[Any, Path], tmp_path: Path) -> None:
    task, _ = trained
    report = task.export(tmp_path / "model")
    expected = texts_of(serve(task, "serving_default", text=ODD))
    with Model(report.path) as model:
        found = model.call("serving_default", {"text": np.array([text.encode() for text in ODD], object)})
        assert texts_of(found) == expected
    assert not list(report.path.rglob("*.model"))


def test_the_vocabulary_of_a_run_can_be_kept(trained: tuple[Any, Path], create: Callable, rows: dict) -> None:
    task, run = trained
    other = create(
        architecture=task.config.architecture,
        vocabulary={"run": str(run)},
        training={**task.config.training.model_dump(), "epochs": 1},
    )
    other.finetune(
        {"en": ["new words 猫", "more"], "de": ["neue Wörter 猫", "mehr"]}, init_from=run, verbose="quiet"
    )
    assert other.units[0].proto == task.units[0].proto


@pytest.mark.slow
def test_vocabularies_can_be_separate(create: Callable, rows: dict, tmp_path: Path) -> None:
    config = {"vocabulary": {"size": 320, "joint": False}}
    task = create(**config)
    history = task.finetune(rows, run_dir=tmp_path / "run", epochs=4, verbose="quiet")
    assert history.history["loss"][-1] < history.history["loss"][0]
    source, target = kerasft.load(tmp_path / "run", checkpoint="latest").units
    assert source.proto != target.proto
    assert source.decode(source.encode(tf.constant(["the house"]), limit=9)).numpy()[0] == b"the house"
    with pytest.raises(ConfigError, match=r"is one for each language; set vocabulary.joint=False"):
        create(vocabulary={"run": str(tmp_path / "run")}).finetune(rows, verbose="quiet")


@pytest.mark.slow
def test_languages_without_spaces(create: Callable) -> None:
    pairs = {
        "en": ["a cat", "a dog", "two cats", "two dogs"] * 4,
        "de": ["一只猫", "一只狗", "两只猫", "两只狗"] * 4,
    }
    task = create(vocabulary={"size": 290})
    task.finetune(pairs, epochs=60, verbose="quiet")
    assert texts_of(task.predict(pairs["en"][:4])) == pairs["de"][:4]


def test_what_one_does_not_know_yet_is_said(create: Callable) -> None:
    task = create()
    with pytest.raises(OrderError, match="vocabulary is learned from the training data"):
        _ = task.units
    with pytest.raises(OrderError, match="no network yet"):
        _ = task.network


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"source": "de"}, "both the column 'de'"),
        ({"transformer": {"width": 30, "heads": 4}}, "heads must divide width"),
        ({"vocabulary": {"size": 200}}, "vocabulary.size"),
    ],
)
def test_wrong_settings_are_refused(create: Callable, config: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create(**config)


def test_a_line_with_too_few_columns_is_named(create: Callable, tmp_path: Path) -> None:
    data = tmp_path / "pairs.tsv"
    data.write_text("en\tde\nthe dog\tder Hund\nthe cat\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"pairs.tsv, line 3"):
        create().finetune(data, verbose="quiet")


@pytest.mark.slow
def test_evaluation_measures_translations_and_reports_the_worst(
    create: Callable, rows: dict, tmp_path: Path
) -> None:
    task = create(evaluation={"worst": 3, "beam": 1})
    some = {name: values[:20] for name, values in rows.items()}
    task.finetune(some, validation_data=some, run_dir=tmp_path / "run", epochs=2, verbose="quiet")
    values = task.evaluate(some, verbose="quiet")
    assert {"loss", "perplexity", "bleu", "chrf"} <= set(values)
    greedy = serve(task, "search", text=some["en"], beam=[1] * 20, max_length=[128] * 20)
    from kerasft.metrics import bleu, chrf

    assert values["bleu"] == pytest.approx(bleu(texts_of(greedy), some["de"]))
    assert values["chrf"] == pytest.approx(chrf(texts_of(greedy), some["de"]))
    worst = json.loads((tmp_path / "run" / "tables" / "2-worst.json").read_text(encoding="utf-8"))
    assert len(worst["rows"]) == 3
    assert {row[0] for row in worst["rows"]} <= set(some["en"])
    assert "The worst translations" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("policy", ["embeddings", "encoder", "decoder"])
def test_parts_can_be_frozen(create: Callable, rows: dict, policy: str) -> None:
    task = create()
    task.adapt(kerasft.data.open_source(rows, fields=task.fields()))
    task.build()
    report = task.freeze(policy)
    assert {row.group for row in report.rows if not row.trainable} == {
        row.group for row in report.rows if row.group.startswith(policy)
    }


@pytest.mark.slow
def test_adapters_train_and_are_merged_into_the_answer(create: Callable, rows: dict) -> None:
    task = create()
    task.finetune(rows, epochs=8, verbose="quiet")
    before = texts_of(task.predict(rows["en"]))
    turned = {"en": rows["en"], "de": rows["de"][::-1]}
    task.finetune(turned, freeze=kerasft.LoRA(rank=4), epochs=3, verbose="quiet")
    after = serve(task, "serving_default", text=rows["en"][:8])
    assert texts_of(after) != before[:8]
    with merged(list(task.models.values())):
        whole = serve(task, "serving_default", anew=True, text=rows["en"][:8])
    assert texts_of(whole) == texts_of(after)


@pytest.mark.slow
def test_recurrent_networks_train_under_xla() -> None:
    rows = {"source": ["one two", "two three"] * 4, "target": ["eins zwei", "zwei drei"] * 4}
    sizes = {"gru": {"width": 8, "units": 8}, "vocabulary": {"size": 280}}
    task = kerasft.create("translation", architecture="gru", **sizes)
    history = task.finetune(rows, epochs=2, batch_tokens=None, jit_compile=True, verbose="quiet")
    assert history.history["loss"][1] < history.history["loss"][0]
