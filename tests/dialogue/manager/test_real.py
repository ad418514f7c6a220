"""The manager with models of the task `dialogue`: a run, its export, and a server give the same replies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import kerasft
from kerasft.export import layout, warmup
from kerasft.serving import Server
from kerasft_dialogue.manager import DialogueManager, Sampling

pytestmark = pytest.mark.slow
SAMPLING = Sampling(max_tokens=12)


@pytest.fixture(scope="module")
def run(create, rows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned a little."""
    folder = tmp_path_factory.mktemp("runs") / "chat"
    create().finetune(rows, run_dir=folder, epochs=3, verbose="quiet")
    return folder


@pytest.fixture(scope="module")
def export(trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What knows the answers, exported."""
    folder = tmp_path_factory.mktemp("models") / "chat"
    trained.export(folder, verify=False)
    return folder


def talk(source: object, sampling: Sampling = SAMPLING) -> list[str | None]:
    """Returns whole and streamed replies of one conversation."""
    with DialogueManager(responder=source, sampling=sampling) as manager:
        session = manager.session()
        for said in ("What is red?", "Who sings?"):
            session.say(said)
            pieces = list(session.stream(said))
            assert "".join(pieces) == session.turns[-1].reply
        return [turn.reply for turn in session.turns]


def test_every_signature_is_warm_the_stream_too(trained, export: Path) -> None:
    (version,) = (path for path in export.iterdir() if path.is_dir())
    requests = [log.predict_log.request for log in warmup.read_logs(version / layout.WARMUP)]
    assert {request.model_spec.signature_name for request in requests} == {*trained.signatures()}
    (streamed,) = (one for one in requests if one.model_spec.signature_name == "chat_next")
    assert {*streamed.inputs} == {*trained.signatures()["chat_next"]}


def test_a_task_its_export_and_a_server_reply_alike(trained, export: Path) -> None:
    with DialogueManager(responder=export, sampling=SAMPLING, steps=1) as manager:
        turn = manager.session().say("What is red?")
        assert (turn.reply, turn.finish) == ("The rose is red.", "end")
        pieces = list(manager.session().stream("What is red?"))
    assert len(pieces) > 1
    assert "".join(pieces) == turn.reply
    drawn = Sampling(temperature=1.5, top_k=40, top_p=0.95, seed=3, max_tokens=12)
    with Server(export, model_name="chat", grpc_port=0) as server:
        for sampling in (SAMPLING, drawn):
            replies = talk(export, sampling)
            assert talk(f"localhost:{server.port}/chat", sampling) == replies
            assert talk(trained, sampling) == replies


def test_a_run_in_the_terminal(run: Path) -> None:
    said = "What is red?\nWho sings?\n"
    done = subprocess.run(
        [sys.executable, "-m", "kerasft", "chat", str(run), "--max-tokens", "12"],
        input=said,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    with DialogueManager(responder=run, sampling=SAMPLING) as manager:
        session = manager.session()
        expected = [session.say(line).reply for line in said.splitlines()]
    assert done.stdout == "".join(f"{reply}\n" for reply in expected)


def test_a_conversation_longer_than_the_context_goes_on(export: Path) -> None:
    with DialogueManager(responder=export, sampling=SAMPLING) as manager:
        session = manager.session()
        session.say("x" * 100_000)
        for _ in range(8):
            session.say("Who barks? " * 10)
        assert session.say("What is red?").reply == "The rose is red."


def test_ratings_become_data_that_a_run_goes_on_with(run: Path, export: Path, tmp_path: Path) -> None:
    data, better = tmp_path / "good.jsonl", tmp_path / "better"
    with DialogueManager(responder=export, sampling=SAMPLING, system="Be kind.") as manager:
        for said in ("What is red?", "Who sings?", "Who barks?"):
            session = manager.session()
            session.say(said)
            session.rate(5 if "red" in said else 2)
        assert manager.history.export(data, min_rating=4) == 1
    (line,) = data.read_text().splitlines()
    assert [turn["text"] for turn in json.loads(line)["turns"]] == [
        "Be kind.",
        "What is red?",
        "The rose is red.",
    ]
    start = kerasft.load(run)
    config = start.dump_config()
    config["vocabulary"]["run"] = str(run)
    task = kerasft.create("dialogue", **config)
    task.finetune(str(data), init_from=run, run_dir=better, epochs=20, verbose="quiet")
    assert (
        task.evaluate(str(data), verbose="quiet")["loss"] < start.evaluate(str(data), verbose="quiet")["loss"]
    )


def test_a_vocabulary_of_no_run_is_refused(create, rows, tmp_path: Path) -> None:
    with pytest.raises(kerasft.ConfigError, match=r"vocabulary\.run: .* is not the folder of a run"):
        create(vocabulary={"run": str(tmp_path)}).finetune(rows, verbose="quiet")
