"""Tasks that start from presets of KerasHub: how they write turns, and that they learn and are served."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.errors import ConfigError, PretrainedError
from kerasft_dialogue.encoding import encode_conversations
from kerasft_dialogue.packing import joined
from kerasft_dialogue.replying import Replier

pytest.importorskip("keras_hub")
pytest.importorskip("tensorflow_text")

from ..pretrained import hub_presets
from .conftest import ANSWERS, conversation

PRESETS = {
    "gpt2": "GPT2",
    "llama3.1": "Llama3",
    "qwen": "Qwen",
    "gemma": "Gemma",
    "llama": "Llama",
    "phi3": "Phi3",
    "bloom": "Bloom",
}
TURNS = (["system", "user", "assistant"], ["Be the.", "!", "the é"])
# What the same turns are in each template; tokens that are no text stand as they are named.
WRITTEN = {
    "gpt2": "System:\nBe the.<|endoftext|>User:\n!<|endoftext|>Assistant:\nthe é<|endoftext|>",
    "llama3.1": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe the.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n!<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nthe é<|eot_id|>",
    "qwen": "<|im_start|>system\nBe the.<|im_end|>\n<|im_start|>user\n!<|im_end|>\n"
    "<|im_start|>assistant\nthe é<|im_end|>\n",
    "gemma": "<bos><start_of_turn>user\nBe the.<end_of_turn>\n<start_of_turn>user\n!<end_of_turn>\n"
    "<start_of_turn>model\nthe é<end_of_turn>\n",
    "phi3": "<s><|system|>Be the.<|end|><|user|>!<|end|><|assistant|>the é<|end|>",
    "bloom": "<s>System:\nBe the.</s>User:\n!</s>Assistant:\nthe é</s>",
    "llama": "<s>System:\n Be the.</s>User:\n !</s>Assistant:\n the é</s>",
}


def write(folder: Path, name: str) -> Path:
    family = PRESETS[name]
    pieces = family in ("Gemma", "Llama", "Phi3")
    (hub_presets.write_pieces if pieces else hub_presets.write_byte_pairs)(folder, name, family)
    return folder


@pytest.fixture(scope="module", params=PRESETS)
def preset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, write(tmp_path_factory.mktemp("presets") / request.param, request.param)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("presets") / "gpt2", "gpt2")


def create(folder: Path, **config: Any) -> Any:
    settings = {"context": 80, "decoding": {"max_tokens": 8}, "seed": 1, **config}
    return kerasft.create("dialogue", model=str(folder), **settings)


def text_of(codec: Any, tokens: list[int]) -> str:
    """Tokens as text, special ones by their names."""
    names = {number: name for name, number in codec.units.special.items()}
    parts: list[list[int]] = [[]]
    for token in tokens:
        if token in names or (parts[-1] and parts[-1][-1] in names):
            parts.append([])
        parts[-1].append(token)
    decoded = codec.decode(tf.ragged.constant(parts, tf.int32, ragged_rank=1)).numpy()
    return "".join(
        names.get(part[0], text.decode()) if part else "" for part, text in zip(parts, decoded, strict=True)
    )


def encoded(codec: Any, *rows: tuple[list[str], list[str]]) -> Any:
    roles, texts = (tf.ragged.constant([row[side] for row in rows]) for side in (0, 1))
    return encode_conversations(codec, roles, texts, context=500)


def test_turns_are_written_as_the_model_knows_them(preset: tuple[str, Path]) -> None:
    name, folder = preset
    task = create(folder)
    made = encoded(task.codec, TURNS, joined([TURNS, TURNS]))
    assert text_of(task.codec, made.tokens[0].numpy().tolist()) == WRITTEN[name]
    # Every conversation of a row begins as one alone.
    assert text_of(task.codec, made.tokens[1].numpy().tolist()) == 2 * WRITTEN[name]
    # Learned is the reply and its end, though "!" is token 0 of these vocabularies.
    targets = made.targets[0].numpy()
    said = WRITTEN[name].partition("the é")[2].partition(">")[0]
    assert text_of(task.codec, (targets[targets > 0] - 1).tolist()) == f"the é{said}>"
    # A reply begins behind the same tokens.
    task.build()
    replier = Replier(task.network, task.codec, context=80, system="Be the.")
    prompt, _ = replier.prompt(tf.constant([["user"]]), tf.constant([[" !\n"]]), tf.constant([8]))
    assert text_of(task.codec, prompt.to_list()[0]) == WRITTEN[name].partition("the é")[0].rstrip(" ")


def test_a_template_can_be_chosen(preset: tuple[str, Path]) -> None:
    name, folder = preset
    codec = create(folder, template="plain").codec
    made = text_of(codec, encoded(codec, TURNS).tokens[0].numpy().tolist())
    ends = {"llama3.1": "<|end_of_text|>", "gemma": "<eos>", "bloom": "</s>"}
    first = {"llama3.1": "<|begin_of_text|>", "gemma": "<bos>", "bloom": "<s>"}.get(name, "")
    wanted = first + WRITTEN["gpt2"].replace("<|endoftext|>", ends.get(name, "<|endoftext|>"))
    # A text alone begins with a space for the pieces of Llama.
    alike = {"llama": WRITTEN["llama"], "phi3": WRITTEN["llama"].replace("</s>", "<|endoftext|>")}
    assert made == alike.get(name, wanted)
    other = "chatml" if name == "gemma" else "gemma"
    with pytest.raises(PretrainedError, match=rf"template={other} writes <.* lacks: leave template=auto"):
        _ = create(folder, template=other).codec


def test_nobody_speaks_for_another_role(preset: tuple[str, Path], tmp_path: Path) -> None:
    _, folder = preset
    codec = create(folder).codec
    special = {*codec.units.special.values()}
    text = "".join(mark for mark in codec.units.special if not mark.startswith("<unused"))
    assert not special & {*codec.encode(tf.constant([text])).flat_values.numpy().tolist()}
    # What a run keeps of it is the same.
    codec.save(tmp_path)
    again = type(codec).load(tmp_path)
    assert again.template == codec.template
    assert again.encode(tf.constant(["the é"])).to_list() == codec.encode(tf.constant(["the é"])).to_list()


def test_a_template_from_scratch_is_refused() -> None:
    with pytest.raises(ConfigError, match="template=plain is for pretrained models"):
        kerasft.create("dialogue", template="plain")


def test_a_context_that_the_model_cannot_read_is_refused(gpt2: Path) -> None:
    with pytest.raises(ConfigError, match=r"context=97 is more than the 96 tokens that .* can read"):
        create(gpt2, context=97).build()


@pytest.mark.parametrize("name", ["gpt2", "bloom"])
def test_a_reply_is_what_the_network_says_token_by_token(tmp_path: Path, name: str) -> None:
    task = create(write(tmp_path, name))
    task.build()
    prompt = encoded(task.codec, (["user"], ["the é"])).tokens[0].numpy().tolist()
    tokens = [*prompt, *task.codec.template.before["assistant"]]
    said: list[int] = []
    for _ in range(8):
        ids = np.array([tokens + said], np.int32)
        logits = task.network.logits(task.network.model([ids, np.ones_like(ids)]))[0, -1].numpy()
        logits[list(task.codec.template.banned)] = -np.inf
        said.append(int(logits.argmax()))
        if said[-1] == task.codec.template.end:
            break
    reply = b"".join(task.codec.decode(tf.ragged.constant([[token]], tf.int32)).numpy()[0] for token in said)
    assert task.predict(["the é"])["reply"][0] == reply.decode(errors="replace").encode()
    # Where all logits are equal the first token is said: a word like others, not the end of anything.
    task.network.model.set_weights([weight * 0 for weight in task.network.model.get_weights()])
    made = task.predict(["the é"])
    assert (made["reply"][0], made["tokens"][0]) == (b"!" * 8, 8)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "weights"), [("gpt2", "float32"), ("gpt2", "int8"), ("gemma", "float32")])
def test_a_preset_learns_and_is_served(tmp_path: Path, name: str, weights: str) -> None:
    copy = write(tmp_path / "copy", name)
    rows = [{"turns": conversation(question, answer)} for question, answer in ANSWERS.items()] * 4
    task = create(
        copy, lora=0, decoding={"max_tokens": 24}, export={"weights": weights}, training={"batch_tokens": 256}
    )
    task.finetune(rows, run_dir=tmp_path / "run", epochs=60, learning_rate=1e-2, verbose="quiet")
    shutil.rmtree(copy)
    loaded = kerasft.load(tmp_path / "run")
    made = loaded.predict(list(ANSWERS))
    assert [reply.decode() for reply in made["reply"]] == list(ANSWERS.values())
    loaded.export(tmp_path / "saved")
    # Named, or the operations that it holds would go with it.
    saved = tf.saved_model.load(str(tmp_path / "saved" / "1"))
    reply = saved.signatures["ask"](text=tf.constant(list(ANSWERS)))["reply"].numpy()
    assert [text.decode() for text in reply] == list(ANSWERS.values())
    # In the terminal TensorFlow's libraries keep quiet.
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "kerasft", "chat", str(tmp_path / "saved"), "--max-tokens", "24"]
    said = "\n".join(f"{question}\n/reset" for question in ANSWERS)
    done = subprocess.run(command, input=said, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == list(ANSWERS.values())
    assert {*done.stderr.splitlines()} == {"(a new conversation)"}
