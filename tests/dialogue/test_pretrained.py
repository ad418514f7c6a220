"""Tasks that start from a pretrained chat model: a tiny one, and SmolLM2 itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.errors import PretrainedError
from kerasft.pretrained import cached
from kerasft_dialogue.origin import Origin
from kerasft_dialogue.replying import Replier
from kerasft_dialogue.template import write_turns

from . import tiny_llama
from .conftest import conversation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.write(tmp_path_factory.mktemp("tiny") / "model")


def create(folder: Path, **config: Any) -> Any:
    return kerasft.create(
        "dialogue", model=str(folder), context=96, decoding={"max_tokens": 8}, **{"seed": 1, **config}
    )


def text_of(tokens: list[int]) -> str:
    """Tokens as they are written in the vocabulary, spaces and new lines as such."""
    return "".join(tiny_llama.TOKENS[token] for token in tokens).replace("Ġ", " ").replace("Ċ", "\n")


def test_turns_are_written_as_chatml(folder: Path) -> None:
    task = create(folder)
    replier = Replier(task.build() and task.network, task.codec, context=96, system=task.system)
    prompt, _ = replier.prompt(tf.constant([["user"]]), tf.constant([[" the end\n"]]), tf.constant([8]))
    assert text_of(prompt.to_list()[0]) == (
        "<|im_start|>system\nBe tiny.<|im_end|>\n<|im_start|>user\nthe end<|im_end|>\n<|im_start|>assistant\n"
    )


def test_marks_in_a_text_are_text(folder: Path) -> None:
    codec = create(folder).codec
    written = write_turns(codec, tf.constant(["user"]), tf.constant(["<|im_end|>"])).tokens.to_list()[0]
    assert written.count(codec.template.end) == 1
    assert text_of(written) == "<|im_start|>user\n<|im_end|><|im_end|>\n"


def test_weights_are_loaded_and_answer_before_any_training(folder: Path) -> None:
    task = create(folder)
    task.build()
    random = create(folder)
    random.build(pretrained=False)
    assert np.abs(task.network.embedding.table.numpy() - random.network.embedding.table.numpy()).max() > 0.1
    assert task.predict(["the"])["tokens"][0] > 0


def test_adapters_train_by_default_and_the_run_needs_the_folder_no_more(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    task = create(copy)
    rows = [{"turns": conversation("Who?", "the")}] * 4
    before = create(folder).build().get_weights()
    task.finetune(rows, run_dir=tmp_path / "run", epochs=1, verbose="quiet")
    assert task.freezing.lora == kerasft.LoRA(rank=8)
    np.testing.assert_array_equal(task.network.embedding.table, before[0])
    shutil.rmtree(copy)
    loaded = kerasft.load(tmp_path / "run")
    assert loaded.system == "Be tiny."
    assert loaded.predict(["Who?"])["reply"].tolist() == task.predict(["Who?"])["reply"].tolist()


@pytest.mark.slow
def test_a_run_with_adapters_goes_on(folder: Path, tmp_path: Path) -> None:
    rows = [{"turns": conversation("Who?", "the")}] * 4
    for epochs in (1, 2):
        task = create(folder)
        history = task.finetune(rows, run_dir=tmp_path / "run", epochs=epochs, verbose="quiet")
    assert len(history.history["loss"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "options", "trains"),
    [({}, {"freeze": "none"}, True), ({}, {"freeze": "embeddings"}, False), ({"lora": 0}, {}, True)],
)
def test_other_policies_are_obeyed(
    folder: Path, config: dict[str, Any], options: dict[str, Any], trains: bool
) -> None:
    task = create(folder, **config)
    before = create(folder).build().get_weights()[0]
    task.finetune([{"turns": conversation("Who?", "the")}] * 4, epochs=2, verbose="quiet", **options)
    assert task.freezing.lora is None
    assert bool(np.abs(task.network.embedding.table - before).max() > 0) == trains


def test_a_run_from_before_contexts_were_kept_is_read(folder: Path, tmp_path: Path) -> None:
    Origin.find(str(folder)).save(tmp_path)
    (path,) = tmp_path.iterdir()
    record = json.loads(path.read_text())
    assert record.pop("context") == Origin.load(tmp_path).context > 0
    path.write_text(json.dumps(record))
    assert Origin.load(tmp_path).context is None


def test_a_model_that_ends_no_text_is_refused(tmp_path: Path) -> None:
    task = create(tiny_llama.write(tmp_path, special=0))
    with pytest.raises(PretrainedError, match="unknown how the model writes turns"):
        task.build()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(PretrainedError, match='did you mean "smollm2"'):
        kerasft.create("dialogue", model="smolm2").build()


@pytest.mark.slow
@pytest.mark.fetched
def test_smollm2_knows_the_capital_of_france() -> None:
    if cached("smollm2") is None:
        pytest.skip("the smollm2 weights are not cached; run: kerasft fetch smollm2")
    task = kerasft.create("dialogue", model="smollm2", decoding={"max_tokens": 16})
    task.build()
    assert "Paris" in task.predict(["What is the capital of France?"])["reply"][0].decode()
