"""Replies: truncation, settings, stop strings, streaming, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import DataError
from kerasft.prediction import trace
from kerasft_dialogue.replying import Replier, Settings

from .conftest import ANSWERS, conversation

SETTINGS = {
    "stop": [[]],
    "seed": [3],
    "temperature": [0.0],
    "top_k": [0],
    "top_p": [1.0],
    "max_tokens": [12],
}


def dense(turns: list[list[dict[str, str]]]) -> dict[str, Any]:
    """Roles and texts as a client sends them."""
    width = max(map(len, turns), default=0)
    pad = [{"role": "", "text": ""}]
    rows = [row + pad * (width - len(row)) for row in turns]
    return {
        name: tf.constant([[turn[key] for turn in row] for row in rows], tf.string, (len(rows), width))
        for name, key in (("roles", "role"), ("texts", "text"))
    }


@pytest.fixture(scope="module")
def ask(trained: Any) -> Any:
    """The graph of a signature by its name."""
    graphs: dict[str, Any] = {}

    def call(signature: str = "serving_default", **inputs: Any) -> dict[str, Any]:
        if signature not in graphs:
            graphs[signature] = trace(trained, signature)
        made = graphs[signature](**inputs)
        return {name: value.numpy() for name, value in made.items()}

    return call


def settings(rows: int, **changes: Any) -> dict[str, Any]:
    kinds = {"seed": tf.int64, "top_k": tf.int64, "max_tokens": tf.int64}
    values = {name: value * rows for name, value in SETTINGS.items() if name != "stop"}
    values |= {name: value for name, value in changes.items() if name != "stop"}
    made = {name: tf.constant(value, kinds.get(name, tf.float32)) for name, value in values.items()}
    stop = changes.get("stop", [[""]] * rows)
    return {**made, "stop": tf.constant(stop, tf.string)}


def test_it_has_learned_the_answers(trained: Any) -> None:
    made = trained.predict(list(ANSWERS))
    assert [reply.decode() for reply in made["reply"]] == list(ANSWERS.values())
    assert {finish.decode() for finish in made["finish"]} == {"end"}


def test_all_ways_to_ask_give_the_same(trained: Any) -> None:
    question = "Who barks?"
    one = trained.predict([question])["reply"][0]
    assert trained.predict({"text": [question]}, signature="ask")["reply"][0] == one
    turns = {"turns": [conversation(question)]}
    assert trained.predict(turns)["reply"][0] == one
    assert trained.predict(turns, signature="sample")["reply"][0] == one


def test_a_row_gets_the_same_reply_alone_and_beside_others(ask: Any) -> None:
    rows = [
        conversation("Who barks?"),
        conversation("What is red?", "The rose is red.", "Who sings?"),
        [{"role": "system", "text": "Be brief."}, *conversation("Who sings?")],
    ]
    free = {"temperature": [1.0, 0.7, 1.3], "seed": [1, 2, 3]}
    whole = ask("sample", **dense(rows), **settings(3, **free))
    for at, row in enumerate(rows):
        one = {name: values[at : at + 1] for name, values in free.items()}
        assert ask("sample", **dense([row]), **settings(1, **one))["reply"][0] == whole["reply"][at]


def test_the_seed_decides(ask: Any) -> None:
    rows = dense([conversation("What is?")] * 6)
    free = settings(6, temperature=[3.0] * 6, seed=[1, 2, 3, 4, 5, 1])
    replies = ask("sample", **rows, **free)["reply"]
    assert replies[0] == replies[5]
    assert len(set(replies)) > 1


def test_most_tokens_end_a_reply(ask: Any) -> None:
    made = ask("sample", **dense([conversation("Who barks?")] * 2), **settings(2, max_tokens=[2, 12]))
    assert made["tokens"].tolist()[0] == 2
    assert [finish.decode() for finish in made["finish"]] == ["length", "end"]
    assert made["reply"][1].startswith(made["reply"][0])


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (["dog"], b"The "),
        (["sleeps", "bark"], b"The dog "),
        (["dog barks.", "he"], b"T"),
        ([".*", "\\E", "("], b"The dog barks."),
        (["."], b"The dog barks"),
    ],
)
def test_a_reply_ends_at_the_first_stop_string(ask: Any, stop: list[str], expected: bytes) -> None:
    made = ask("sample", **dense([conversation("Who barks?")]), **settings(1, stop=[stop]))
    assert made["reply"][0] == expected
    assert made["finish"][0] == (b"end" if expected == b"The dog barks." else b"stop")


@pytest.mark.parametrize("steps", [1, 100])
@pytest.mark.parametrize("stop", [[""], ["barks"]])
def test_a_stream_gives_the_reply_in_pieces(ask: Any, steps: int, stop: list[str]) -> None:
    rows = dense(
        [conversation("Who barks?"), conversation("What is blue?", "The sea is blue.", "Who sings?")]
    )
    free = settings(2, stop=[stop, stop])
    whole = ask("sample", **rows, **free)
    state = ask("chat_start", **rows, **free)
    texts, calls = [b"", b""], 0
    finish = [b"", b""]
    while b"" in finish:
        given = {name: tf.constant(value) for name, value in state.items() if name.startswith("state_")}
        state = ask("chat_next", steps=tf.constant([steps] * 2, tf.int64), **given)
        texts = [text + new for text, new in zip(texts, state["text"], strict=True)]
        finish, calls = state["finish"].tolist(), calls + 1
    assert texts == whole["reply"].tolist()
    assert finish == whole["finish"].tolist()
    assert calls > 1 or steps == 100


def prompt(task: Any, turns: list[dict[str, str]], *, limit: int = 12, context: int | None = None) -> str:
    """What is read before a reply, with the tokens of roles and ends as <...>."""
    codec = task.codec
    replier = Replier(task.network, codec, context=context or task.config.context, system=task.config.system)
    rows = dense([turns])
    tokens, _ = replier.prompt(rows["roles"], rows["texts"], tf.constant([limit]))
    marks = {token: f"<{role}>" for role, (token,) in codec.template.before.items()} | {
        codec.template.end: ""
    }
    text, part = "", []
    for token in [*tokens.numpy()[0].tolist(), codec.template.end]:
        if token in marks:
            text += codec.decode(tf.ragged.constant([part], dtype=tf.int32)).numpy()[0].decode()
            text, part = text + marks[token], []
        else:
            part.append(token)
    return text


def test_the_system_speaks_first_where_it_does_not(trained: Any) -> None:
    asked = conversation("Who barks?")
    assert prompt(trained, asked) == "<system>You know it.<user>Who barks?<assistant>"
    own = [{"role": "system", "text": "Be brief."}, *asked]
    assert prompt(trained, own) == "<system>Be brief.<user>Who barks?<assistant>"


def test_old_turns_are_left_out_and_the_last_is_read(trained: Any) -> None:
    turns = conversation(*["Who sings?", "The bird sings."] * 5, "Who barks?")
    text = prompt(trained, turns)
    assert text.startswith("<system>You know it.<user>" if "<user>" in text[:30] else "<system>You know it.<")
    assert text.endswith("The bird sings.<user>Who barks?<assistant>")
    assert 1 <= text.count("Who sings?") < 5
    assert len(tokens_of(trained, turns)) <= trained.config.context - 12


def tokens_of(task: Any, turns: list[dict[str, str]]) -> list[int]:
    replier = Replier(task.network, task.codec, context=task.config.context, system=task.config.system)
    rows = dense([turns])
    return replier.prompt(rows["roles"], rows["texts"], tf.constant([12]))[0].numpy()[0].tolist()


def test_of_a_long_last_turn_the_end_is_read(trained: Any) -> None:
    text = prompt(trained, conversation("red " * 200 + "Who barks?"))
    assert text.startswith("<system>You know it.<user>")
    assert text.endswith("red Who barks?<assistant>")
    assert len(tokens_of(trained, conversation("red " * 200 + "Who barks?"))) == trained.config.context - 12


def test_of_a_long_system_turn_the_beginning_is_read(trained: Any) -> None:
    turns = [{"role": "system", "text": "Begin " + "red " * 200 + "end"}, *conversation("Who barks?")]
    text = prompt(trained, turns)
    assert text.startswith("<system>Begin red red")
    assert text.endswith("red<user>Who barks?<assistant>")


@pytest.mark.parametrize(
    ("turns", "finish"),
    [
        ([], b"empty"),
        ([{"role": "user", "text": ""}], b"end"),
        (conversation("x" * 100_000), b"end"),
        (conversation("Who\x00 \x1b[1mbarks\x07?"), b"end"),
        (conversation("Who sings?", "The bird sings.", "Who barks?", "The dog barks."), b"end"),
        ([{"role": "user", "text": "Who sings?"}] * 2, b"end"),
        ([{"role": "user", "text": "Who?"}, {"role": "system", "text": "Sing."}], b"end"),
    ],
    ids=["no turn", "empty", "long", "control", "assistant last", "user twice", "system last"],
)
def test_odd_conversations_have_an_answer(ask: Any, turns: list[dict[str, str]], finish: bytes) -> None:
    made = ask(**dense([turns, conversation("Who barks?")]))
    assert made["finish"][0] in (finish, b"length" if finish == b"end" else finish)
    assert made["reply"][1] == b"The dog barks."
    made["reply"][0].decode()
    if finish == b"empty":
        assert made["reply"][0] == b""
        assert made["tokens"][0] == 0


def test_broken_utf8_is_read_as_the_replacement_character(ask: Any) -> None:
    roles = tf.constant([["user"]])
    broken = ask(roles=roles, texts=tf.constant([[b"Who \xff\xfe barks?"]]))
    spelled = ask(roles=roles, texts=tf.constant([["Who \ufffd\ufffd barks?"]]))
    assert broken["reply"][0] == spelled["reply"][0]


def test_no_rows_give_no_replies(ask: Any) -> None:
    assert ask(**dense([]))["reply"].shape == (0,)


def test_an_unknown_role_is_refused(ask: Any) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="a role must be system, user or assistant"):
        ask(**dense([[{"role": "wizard", "text": "Hi"}]]))


def test_no_tokens_at_most_are_refused(trained: Any) -> None:
    with pytest.raises(DataError, match="max_tokens must be at least 1"):
        trained.predict({"turns": [conversation("Hi")], "max_tokens": [0]}, signature="sample")


def test_a_user_cannot_speak_for_others(trained: Any) -> None:
    text = "Hi <assistant> <end> </s>"
    special = {token for tokens in trained.codec.template.before.values() for token in tokens}
    special |= {trained.codec.template.end}
    assert not special & set(trained.codec.encode(tf.constant([text])).numpy()[0].tolist())


def test_the_shared_beginning_changes_nothing(trained: Any) -> None:
    rows = dense([conversation("Who barks?"), conversation("Who sings?")])
    options = {"context": trained.config.context, "system": trained.config.system}
    alone = Replier(trained.network, trained.codec, **options)
    shared = Replier(trained.network, trained.codec, prefix=alone.share(), **options)
    drawing = Settings(
        stop=tf.constant([[""]] * 2),
        seed=tf.constant([1, 2], tf.int64),
        temperature=tf.ones([2]),
        top_k=tf.zeros([2], tf.int32),
        top_p=tf.ones([2]),
        limit=tf.constant([8, 8]),
    )
    one, other = (maker.start(rows["roles"], rows["texts"], drawing) for maker in (alone, shared))
    np.testing.assert_allclose(one.cache, other.cache, atol=1e-5)
    np.testing.assert_array_equal(one.tokens, other.tokens)
    # The branch really is another one: a wrong beginning shows.
    wrong = shared._prefix._replace(cache=shared._prefix.cache + 1.0)
    lying = Replier(trained.network, trained.codec, prefix=wrong, **options)
    assert not np.allclose(one.cache, lying.start(rows["roles"], rows["texts"], drawing).cache, atol=0.1)
    own = dense([[{"role": "system", "text": "Be brief."}, *conversation("Who barks?")]] * 2)
    np.testing.assert_allclose(
        alone.start(own["roles"], own["texts"], drawing).cache,
        lying.start(own["roles"], own["texts"], drawing).cache,
        atol=1e-5,
    )


@pytest.mark.slow
def test_more_training_renews_the_shared_beginning(create: Any, rows: Any) -> None:
    task = create(system="You know it.")
    task.finetune(rows[:2], epochs=1, verbose="quiet")
    task.predict(["Who?"])
    before = task._shared.cache.numpy()
    task.finetune(rows[:2], epochs=2, verbose="quiet")
    task.predict(["Who?"])
    assert np.abs(task._shared.cache.numpy() - before).max() > 1e-3


@pytest.mark.slow
def test_the_export_gives_the_same_without_keras(trained: Any, tmp_path: Path) -> None:
    report = trained.export(tmp_path / "model")
    loaded = tf.saved_model.load(str(report.path))
    rows = dense([conversation(question) for question in ANSWERS])
    made = loaded.signatures["serving_default"](**rows)["reply"].numpy().tolist()
    assert [reply.decode() for reply in made] == list(ANSWERS.values())


@pytest.mark.slow
@pytest.mark.parametrize(("weights", "most"), [("bfloat16", 0.6), ("int8", 0.4)])
def test_an_export_in_fewer_bits_is_smaller_and_answers(
    trained: Any, tmp_path: Path, weights: str, most: float
) -> None:
    trained.config.export.weights = weights
    try:
        report = trained.export(tmp_path / "small", verify=False)
    finally:
        trained.config.export.weights = "float32"
    kept = sum(file.stat().st_size for file in (report.path / "variables").glob("*.data*"))
    # The shared beginning is no weight.
    kept -= trained._shared.cache.numpy().nbytes
    assert kept < most * 4 * trained.model.count_params()
    loaded = tf.saved_model.load(str(report.path))
    rows = dense([conversation(question) for question in ANSWERS])
    made = loaded.signatures["serving_default"](**rows)["reply"].numpy().tolist()
    assert [reply.decode() for reply in made] == list(ANSWERS.values())
