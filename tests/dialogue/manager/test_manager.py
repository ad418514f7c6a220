"""The manager: what models are told, what is stored, and what happens when something ends in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kerasft
from kerasft.errors import ConfigError
from kerasft.serving import Server
from kerasft.serving.client import Client
from kerasft_dialogue.manager import (
    DialogueManager,
    History,
    HistoryError,
    Responder,
    Sampling,
    connect,
)

INTENTS = {
    "text": ["play some jazz", "play a song", "play music now", "will it rain", "is it cold", "rain tomorrow"]
    * 4,
    "label": ["music", "music", "music", "weather", "weather", "weather"] * 4,
}
ENTITIES = {
    "tokens": [["rain", "in", "Paris"], ["cold", "in", "Rome", "today"], ["I", "am", "Ada"], ["am", "Bob"]]
    * 6,
    "tags": [["O", "O", "B-city"], ["O", "O", "B-city", "O"], ["O", "O", "B-name"], ["O", "B-name"]] * 6,
}


@pytest.fixture(scope="session")
def intents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tells intents, with an export beside it in the folder `model`."""
    folder = tmp_path_factory.mktemp("intents")
    task = kerasft.create("text", encoder="mlp")
    task.finetune(
        INTENTS, run_dir=folder / "run", epochs=30, learning_rate=0.05, batch_size=8, verbose="quiet"
    )
    task.export(folder / "model", verify=False)
    return folder


@pytest.fixture(scope="session")
def entities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that finds names and cities."""
    folder = tmp_path_factory.mktemp("entities") / "run"
    task = kerasft.create("text", encoder="cnn", kind="entities")
    task.finetune(ENTITIES, run_dir=folder, epochs=40, learning_rate=0.02, batch_size=8, verbose="quiet")
    return folder


class TestContext:
    def test_each_turn_is_told_all_before_it(self, echo: Path) -> None:
        with DialogueManager(responder=echo, system="Be brief.", sampling=Sampling(seed=40)) as manager:
            session = manager.session()
            first = session.say("One.")
            second = session.say("Two.")
            other = manager.session().say("Three.")
        assert first.reply == "system=Be brief. user=One. [seed 41]"
        assert second.reply == (f"system=Be brief. user=One. assistant={first.reply} user=Two. [seed 42]")
        assert other.reply == "system=Be brief. user=Three. [seed 41]"
        assert (second.number, second.finish, second.session) == (2, "end", first.session)

    def test_only_so_many_turns(self, echo: Path) -> None:
        with DialogueManager(responder=echo, context_turns=1) as manager:
            session = manager.session()
            session.say("One.")
            two, three = session.say("Two."), session.say("Three.")
        assert three.reply == f"user=Two. assistant={two.reply} user=Three. [seed 3]"
        with DialogueManager(responder=echo, context_turns=0) as manager:
            session = manager.session()
            session.say("One.")
            assert session.say("Two.").reply == "user=Two. [seed 2]"

    def test_sampling_of_one_turn(self, echo: Path) -> None:
        with DialogueManager(responder=echo) as manager:
            turn = manager.session().say("a b c d e f", sampling=Sampling(max_tokens=3, seed=7))
        assert (turn.reply, turn.finish) == ("user=a b c", "length")

    def test_a_system_made_of_profile_and_slots(self, echo: Path, entities: Path) -> None:
        with DialogueManager(
            responder=echo,
            slots=entities,
            remember={"name": "called"},
            system=lambda profile, slots: f"{profile.get('called', '?')} in {slots.get('city', '?')}",
        ) as manager:
            session = manager.session(user="ada")
            assert (session.say("I am Ada").reply or "").startswith("system=Ada in ? user=")
            assert (session.say("rain in Paris").reply or "").startswith("system=Ada in Paris user=")
            assert session.slots == {"name": "Ada", "city": "Paris"}
            assert manager.session(user="ada").profile == {"called": "Ada"}
            assert manager.session().profile == {}

    def test_a_text_of_any_length_and_kind(self, echo: Path) -> None:
        with DialogueManager(responder=echo, sampling=Sampling(max_tokens=5)) as manager:
            session = manager.session()
            assert session.say("x" * 100_000).reply == "user=" + "x" * 100_000 + " [seed 1]"
            assert session.say("a\udcff\x00 b").said == "a?\x00 b"
            for empty in ("", " \n\t"):
                with pytest.raises(ConfigError, match="nothing was said"):
                    session.say(empty)
                with pytest.raises(ConfigError, match="nothing was said"):
                    session.stream(empty)
            assert len(session.turns) == 2


class TestUnderstanding:
    @pytest.mark.parametrize("source", ["run", "model", "task", "client"])
    def test_intents_by_a_run_an_export_a_task_and_a_server(
        self, echo: Path, intents: Path, source: str
    ) -> None:
        with Server(intents / "model", model_name="intents", grpc_port=0) as server:
            given = {
                "run": str(intents / "run"),
                "model": intents / "model",
                "task": kerasft.load(intents / "run"),
                "client": f"localhost:{server.port}/intents",
            }[source]
            with DialogueManager(responder=echo, intents=given) as manager:
                turn = manager.session().say("play a jazz song")
                assert turn.intent == "music"
                assert turn.intent_score == pytest.approx(manager.understand("play a jazz song")[1])
                assert 0.5 < (turn.intent_score or 0) <= 1
                assert manager.understand("is rain cold")[0] == "weather"

    def test_thresholds(self, echo: Path, intents: Path, entities: Path) -> None:
        with DialogueManager(
            responder=echo, intents=intents / "run", slots=entities, intent_threshold=1.1, slot_threshold=1.1
        ) as manager:
            turn = manager.session().say("rain in Paris")
        assert turn.intent is None
        assert turn.intent_score is not None
        assert turn.slots == ()

    def test_slots_have_their_place(self, echo: Path, entities: Path) -> None:
        with DialogueManager(responder=echo, slots=entities) as manager:
            (slot,) = manager.session().say("rain in Paris").slots
        assert (slot.name, slot.value, slot.start, slot.end) == ("city", "Paris", 8, 13)

    def test_handlers_reply_in_place_of_the_model(self, echo: Path, intents: Path) -> None:
        def weather(session, turn):
            return None if "cold" in turn.said else f"turn {turn.number} of {session.user}: sunny"

        with DialogueManager(
            responder=echo, intents=intents / "run", handlers={"weather": weather}
        ) as manager:
            session = manager.session(user="ada")
            turn = session.say("will it rain tomorrow")
            assert (turn.reply, turn.finish) == ("turn 1 of ada: sunny", "handler")
            assert list(session.stream("will it rain")) == ["turn 2 of ada: sunny"]
            assert "user=is it cold" in (session.say("is it cold").reply or "")

    def test_models_that_do_something_else_are_refused(
        self, echo: Path, intents: Path, entities: Path
    ) -> None:
        with pytest.raises(ConfigError, match=r"slots: .* such as a run of the task text of kind entities"):
            DialogueManager(responder=echo, slots=intents / "run")
        with pytest.raises(ConfigError, match=r"intents: .* such as a run .* of kind classification"):
            DialogueManager(responder=echo, intents=entities)
        with pytest.raises(ConfigError, match="holds no conversation"):
            DialogueManager(responder=intents / "model")
        with pytest.raises(ConfigError, match=r"intents: .* has no signature 'serving_default'"):
            DialogueManager(responder=echo, intents=echo)
        with pytest.raises(ConfigError, match="no intents= tells any"):
            DialogueManager(responder=echo, handlers={"a": print})
        with pytest.raises(ConfigError, match="no slots= finds any"):
            DialogueManager(responder=echo, remember={"a": "b"})


class TestModels:
    def test_what_stands_for_no_model(self, tmp_path: Path) -> None:
        for source in ("nothing/there", "localhost", "localhost:port/chat"):
            with pytest.raises(ConfigError, match="is no model: give the folder of a run"):
                connect(source)
        with pytest.raises(ConfigError, match="neither the folder of a run nor that of an exported model"):
            connect(tmp_path)

    def test_a_server_that_is_not_there_or_lacks_the_model(self, echo: Path) -> None:
        with pytest.raises(kerasft.KerasftError, match=r"127\.0\.0\.1:9"):
            connect("127.0.0.1:9/chat", timeout=1)
        with (
            Server(echo, model_name="echo", grpc_port=0) as server,
            pytest.raises(kerasft.KerasftError, match="other"),
        ):
            connect(f"localhost:{server.port}/other")

    def test_replies_over_grpc_and_rest_equal_those_in_process(self, echo: Path) -> None:
        with Server(echo, model_name="echo", grpc_port=0, rest_port=0) as server:
            sources = (
                echo,
                f"localhost:{server.port}/echo",
                f"http://localhost:{server.rest_port}/echo",
                Client(f"localhost:{server.port}", model="echo"),
            )
            replies = []
            for source in sources:
                with DialogueManager(responder=source, system="日本語") as manager:
                    session = manager.session()
                    pieces = list(session.stream("Hello there, Łódź!"))
                    assert len(pieces) > 1
                    assert session.turns[0].reply == "".join(pieces)
                    replies.append((pieces, session.say("And?").reply))
        assert all(reply == replies[0] for reply in replies)

    def test_without_a_stream_words_come_at_once_and_without_sample_from_the_stream(
        self, echo: Path, echo_whole: Path
    ) -> None:
        with DialogueManager(responder=echo_whole) as manager:
            assert list(manager.session().stream("a b c d e f")) == ["user=a b c d e f [seed 1]"]
        with connect(echo) as model:
            model.inputs = {name: model.inputs[name] for name in ("chat_start", "chat_next")}
            with DialogueManager(responder=model) as manager:
                assert manager.session().say("a b c d e f").reply == "user=a b c d e f [seed 1]"

    def test_pieces_are_as_long_as_asked(self, echo: Path) -> None:
        with connect(echo) as model:
            stream = Responder(model=model, steps=2).stream([("user", "a b c")], sampling=Sampling())
            assert list(stream) == ["user=a b", " c [seed", " 0]"]

    @pytest.mark.parametrize(
        "values",
        [
            {"temperature": -1},
            {"temperature": float("nan")},
            {"top_k": -1},
            {"top_p": 0},
            {"top_p": 1.5},
            {"max_tokens": 0},
            {"seed": 2**63},
            {"stop": "\n"},
            {"stop": ("",)},
        ],
    )
    def test_sampling_that_makes_no_sense(self, values) -> None:
        (name,) = values
        with pytest.raises(ConfigError, match=f"^{name}: "):
            Sampling(**values)


class TestStreams:
    def test_a_reader_who_leaves_keeps_what_came(self, echo: Path) -> None:
        with DialogueManager(responder=echo, sampling=Sampling(max_tokens=50)) as manager:
            session = manager.session()
            stream = session.stream("count")
            assert next(stream) == "0 1 2 3"
            stream.close()
            (turn,) = session.turns
            assert (turn.reply, turn.finish) == ("0 1 2 3", "interrupted")
            assert "user=count assistant=0 1 2 3 user=Go on." in (session.say("Go on.").reply or "")

    def test_ctrl_c_keeps_what_came(self, echo: Path) -> None:
        with DialogueManager(responder=echo, sampling=Sampling(max_tokens=50)) as manager:
            session = manager.session()
            stream = session.stream("count")
            next(stream)
            with pytest.raises(KeyboardInterrupt):
                stream.throw(KeyboardInterrupt())
            assert [turn.finish for turn in session.turns] == ["interrupted"]

    def test_what_failed_is_said_again_with_the_next(self, echo: Path) -> None:
        with connect(echo) as model, DialogueManager(responder=model) as manager:
            session = manager.session()
            asked = model.ask
            model.ask = lambda signature, inputs: asked("nonsense", inputs)  # type: ignore[method-assign]
            with pytest.raises(kerasft.KerasftError, match="nonsense"):
                session.say("My name is Ada.")
            model.ask = asked  # type: ignore[method-assign]
            assert session.say("Hello?").reply == "user=My name is Ada. Hello? [seed 2]"
            assert [turn.reply is None for turn in session.turns] == [True, False]


class TestMemory:
    def test_ratings_and_data_for_training(self, echo: Path, tmp_path: Path) -> None:
        with DialogueManager(responder=echo, history=tmp_path / "chat.sqlite") as manager:
            session = manager.session(user="ada")
            with pytest.raises(HistoryError, match="could be rated"):
                session.rate(4)
            first = session.say("One.")
            session.say("Two.")
            assert session.rate(5).number == 2
            assert session.rate(3, turn=first.id).rating == 3
            with pytest.raises(HistoryError, match="whole number from 1"):
                session.rate(0)
            assert manager.history.export(tmp_path / "good.jsonl", min_rating=3) == 1

    def test_a_history_that_was_given_stays_open(self, echo: Path) -> None:
        with History() as history:
            with DialogueManager(responder=echo, history=history) as manager:
                manager.session("a").say("One.")
            assert len(history.turns("a")) == 1

    def test_a_deleted_session_cannot_go_on(self, echo: Path) -> None:
        with DialogueManager(responder=echo) as manager:
            session = manager.session(user="ada")
            session.say("One.")
            manager.history.delete_user("ada")
            with pytest.raises(HistoryError, match="may have been deleted"):
                session.say("Two.")

    def test_a_process_killed_between_turns_is_taken_over(self, echo: Path, tmp_path: Path) -> None:
        code = """
import sys
from kerasft_dialogue.manager import DialogueManager, Sampling
manager = DialogueManager(responder=sys.argv[1], history=sys.argv[2], sampling=Sampling(max_tokens=10**6))
session = manager.session("s", user="ada")
print(session.say("One.").reply, flush=True)
for piece in session.stream("count"):
    print(piece, flush=True)
"""
        path = tmp_path / "chat.sqlite"
        talker = subprocess.Popen(
            [sys.executable, "-c", code, str(echo), str(path)], stdout=subprocess.PIPE, text=True
        )
        assert talker.stdout is not None
        first = talker.stdout.readline().rstrip("\n")
        assert talker.stdout.readline()
        os.kill(talker.pid, signal.SIGKILL)
        talker.communicate()
        with DialogueManager(responder=echo, history=path) as manager:
            session = manager.session("s")
            assert [(turn.said, turn.reply) for turn in session.turns] == [("One.", first), ("count", None)]
            assert session.user == "ada"
            assert session.say("Three.").reply == f"user=One. assistant={first} user=count Three. [seed 3]"

    def test_two_processes_hold_one_conversation(self, echo: Path, tmp_path: Path) -> None:
        code = """
import sys
from kerasft_dialogue.manager import DialogueManager
with DialogueManager(responder=sys.argv[1], history=sys.argv[2], context_turns=0) as manager:
    session = manager.session("s")
    for number in range(10):
        session.say(f"{sys.argv[3]} {number}")
"""
        path = tmp_path / "chat.sqlite"
        talkers = [
            subprocess.Popen([sys.executable, "-c", code, str(echo), str(path), name]) for name in ("a", "b")
        ]
        assert [talker.wait() for talker in talkers] == [0, 0]
        with History(path) as history:
            turns = history.turns("s")
        assert [turn.number for turn in turns] == list(range(1, 21))
        assert all(turn.reply == f"user={turn.said} [seed {turn.number}]" for turn in turns)

    def test_no_tensorflow_is_imported_for_exports(self, echo: Path) -> None:
        code = """
import sys
from kerasft_dialogue.manager import DialogueManager
with DialogueManager(responder=sys.argv[1]) as manager:
    print(manager.session().say("One.").reply, "tensorflow" in sys.modules, "keras" in sys.modules)
"""
        done = subprocess.run([sys.executable, "-c", code, str(echo)], capture_output=True, text=True)
        assert done.stdout == "user=One. [seed 1] False False\n", done.stderr


def test_texts_are_str_whatever_comes() -> None:
    from kerasft_dialogue.manager.models import texts

    assert texts(np.array([b"a\xff", "b"], object)) == ["a\ufffd", "b"]
