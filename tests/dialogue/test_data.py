"""Conversations in every layout, and what is said of bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import kerasft
from kerasft.data import open_source
from kerasft.errors import ConfigError, DataError
from kerasft_dialogue.samples import conversations

TURNS = [{"role": "user", "text": "Hi"}, {"role": "assistant", "text": "Hello."}]
WANTED = {"roles": [["user", "assistant"]], "texts": [["Hi", "Hello."]]}


def opened(data: Any, *, on_error: Any = "raise", **config: Any) -> Any:
    task = kerasft.create("dialogue", **config)
    return open_source(task.open_data(data), fields=task.fields(), on_error=on_error)


@pytest.mark.parametrize(
    "row",
    [
        {"turns": TURNS},
        {"id": 7, "messages": [{"role": t["role"], "content": t["text"]} for t in TURNS]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]},
        {"dialogue": [{"speaker": "User", "text": "Hi"}, {"speaker": "Assistant", "text": "Hello."}]},
        {"turns": json.dumps(TURNS)},
        {"roles": ["user", "assistant"], "texts": ["Hi", "Hello."]},
    ],
)
def test_every_custom_is_read(row: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps(row) + "\n")
    for data in ([row], {name: [value] for name, value in row.items()}, path):
        assert opened(data).take([0]) == WANTED


def test_a_table_has_json_in_its_cells(tmp_path: Path) -> None:
    path = tmp_path / "chat.tsv"
    path.write_text("id\tturns\n1\t" + json.dumps(TURNS) + "\n")
    assert opened(path).take([0]) == WANTED


def test_other_speakers_are_named_in_the_config() -> None:
    turns = [
        {"speaker": "query", "api": "bank"},
        {"speaker": "customer", "text": "Hi"},
        {"speaker": "wizard", "text": "Hello.", "action": "hello"},
    ]
    roles = {"wizard": "assistant", "query": "skip"}
    assert opened([{"turns": turns}], roles=roles).take([0]) == WANTED


def test_another_column_is_named_in_the_config() -> None:
    assert opened([{"chat": TURNS, "turns": "something else"}], turns="chat").take([0]) == WANTED


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "has no turn"),
        (3, "holds a int, not a list of turns"),
        ("[{", "is no JSON"),
        (["Hi"], "as turn 1, which is no turn"),
        ([{"text": "Hi"}], "has no role in turn 1"),
        ([{"role": "wizard", "text": "Hi"}], "role 'wizard' in turn 1.*roles={'wizard': 'user'}"),
        ([TURNS[0], {"role": "assistant"}], "has no text in turn 2"),
        ([TURNS[0], {"role": "assistant", "text": " \n"}], "empty text in turn 2; fill it in"),
        ([{"role": "user", "text": "\ud800"}], "half a character in turn 1"),
    ],
)
def test_a_bad_conversation_names_its_place(value: Any, sentence: str) -> None:
    rows = [{"turns": TURNS}, {"turns": value}]
    with pytest.raises(DataError, match=f"the list, row 1: column 'turns' .*{sentence}"):
        opened(rows)
    kept = opened(rows, on_error="skip")
    assert len(kept) == 1
    assert kept.skipped == 1


def test_bad_lines_of_a_file_name_their_number(tmp_path: Path) -> None:
    good = json.dumps({"turns": TURNS}).encode()
    path = tmp_path / "chat.jsonl"
    path.write_bytes(good + b"\n" + good.replace(b"Hello", b"H\xffllo") + b"\n" + good + b"\n")
    with pytest.raises(DataError, match=r"chat.jsonl, line 2: broken UTF-8"):
        opened(path)
    assert len(opened(path, on_error="skip")) == 2
    table = tmp_path / "chat.tsv"
    table.write_text("id\tturns\n1\t" + json.dumps(TURNS) + "\n2\n")
    with pytest.raises(DataError, match=r"chat.tsv, line 3: one cell where the header has 2"):
        opened(table)


def test_data_without_conversations_is_refused() -> None:
    with pytest.raises(DataError, match=r"no column for .roles.*write turns as .* --set turns=NAME"):
        opened({"sentence": ["Hi"]})


def test_roles_and_texts_must_be_as_many() -> None:
    task = kerasft.create("dialogue")
    with pytest.raises(DataError, match="2 roles and 1 texts"):
        task.finetune({"roles": [["user", "assistant"]], "texts": [["Hi"]]}, verbose="quiet")


def test_without_an_assistant_there_is_nothing_to_learn() -> None:
    task = kerasft.create("dialogue")
    with pytest.raises(DataError, match=r"no turn of the assistant.*roles={'wizard': 'assistant'}"):
        task.finetune([{"turns": TURNS[:1]}], verbose="quiet")


def test_the_restaurant_is_always_the_same_and_its_parts_differ() -> None:
    train, test = conversations("train"), conversations("test")
    assert (len(train), len(test)) == (1500, 150)
    assert conversations("test") == test
    assert not {json.dumps(row) for row in train} & {json.dumps(row) for row in test}
    with pytest.raises(DataError, match="restaurant:dev names no conversations"):
        kerasft.create("dialogue").open_data("restaurant:dev")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"network": {"width": 30, "heads": 4}}, "width must be an even multiple of heads"),
        ({"context": 64, "decoding": {"max_tokens": 40}}, "more than half of a context of 64"),
        ({"roles": {"wizard": "robot"}}, "roles"),
        ({"vocabulary": {"size": 10}}, "vocabulary.size"),
    ],
)
def test_a_wrong_setting_is_refused(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        kerasft.create("dialogue", **config)


@pytest.mark.parametrize("model", ["scratch", "smollm2"])
def test_batches_may_be_of_so_many_rows_and_other_settings_are_left_open(model: str) -> None:
    training = {"batch_tokens": None, "learning_rate": None}
    made = kerasft.create("dialogue", model=model, training=training).config.training
    assert made.batch_tokens is None
    assert made.learning_rate is not None
    assert kerasft.create("dialogue", model=model).config.training.batch_tokens is not None
