"""`kerasft watch` with a model that was trained for it, on films, a stream and a server."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import kerasft
from kerasft.cli import main
from kerasft.serving.server import Server
from kerasft_video.reading import frames as frames_of
from kerasft_video.watching import command, open_model

from .filming import film, moving, served, stream_of
from .test_watching_io import Receiver, shown

QUICK = (
    "--class",
    "moving",
    "--window",
    "1",
    "--every",
    "0.2",
    "--smooth",
    "none",
    "--on",
    "0.6",
    "--off",
    "0.5",
)


class Answer(NamedTuple):
    """What a call of the command line left behind."""

    out: list[dict[str, Any]]
    err: str


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Calls `kerasft watch ARGUMENTS` in this process."""

    def call(*arguments: object, code: int = 0) -> Answer:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["kerasft", "watch", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        assert int(stopped.value.code or 0) == code, err
        return Answer([json.loads(line) for line in out.splitlines()], err)

    return call


def dance(task: kerasft.Task, run: Path) -> None:
    """Trains a task to tell a square that moves from one that stands still."""
    clips = [np.stack(list(moving("sm"[number % 2], seed=number))) for number in range(32)]
    labels = ["still", "moving"] * 16
    task.finetune({"clip": clips, "label": labels}, run_dir=run, verbose="quiet")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tells moving from still."""
    folder = tmp_path_factory.mktemp("watch") / "run"
    dance(
        kerasft.create(
            "video",
            model="c3d",
            size=16,
            sampling={"frames": 4},
            network={"filters": (4, 8)},
            training={"batch_size": 8, "epochs": 12, "learning_rate": 0.01},
        ),
        folder,
    )
    return folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    kerasft.load(run).export(run.parent / "model", verify=False)
    return run.parent / "model"


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model that is asked frame by frame; its export lies beside it."""
    folder = tmp_path_factory.mktemp("watch") / "causal"
    task = kerasft.create(
        "video",
        model="movinet_stream",
        size=16,
        sampling={"frames": 8, "mode": "dense"},
        network={"filters": (8,)},
        training={"batch_size": 8, "epochs": 12, "learning_rate": 0.01},
    )
    dance(task, folder)
    task.export(folder.parent / "exported", verify=False)
    return folder


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds: still, from the second to the fifth second moving, still."""
    return film(tmp_path_factory.mktemp("films") / "yard.mp4", moving("ssmmmsss", seed=99))


@pytest.fixture
def receiver() -> Iterator[tuple[str, Receiver]]:
    got = Receiver(200)
    with served(got) as url:
        yield url, got


class TestFiles:
    def test_an_alarm_has_its_clip_its_line_and_its_request(
        self, watch, run, yard, tmp_path, receiver
    ) -> None:
        url, got = receiver
        answer = watch(
            *(yard, "--run", run, *QUICK, "--webhook", url, "--webhook-header", "X-Key: abc"),
            *("--clips", tmp_path / "clips", "--before", 1, "--after", 0.5),
            *("--out", tmp_path / "a.jsonl", "--scores", tmp_path / "s.jsonl", "--plot", tmp_path / "c.png"),
        )
        start, end = answer.out
        assert (start["event"], end["event"]) == ("start", "end")
        assert start["id"] == end["id"]
        assert start["class"] == "moving"
        assert 2.0 < start["source_time"] < 3.2
        assert 5.0 < end["source_time"] < 6.2
        assert start["window"] == pytest.approx([start["source_time"] - 0.9, start["source_time"]])
        assert start["score"] >= 0.6 <= end["score"]
        assert got.got == answer.out
        assert got.headers[0]["X-Key"] == "abc"
        assert [json.loads(line) for line in (tmp_path / "a.jsonl").open()] == answer.out
        _, times = shown(Path(start["clip"]))
        expected = 1 + end["source_time"] - start["source_time"] + 0.5
        assert times[-1] == pytest.approx(expected, abs=0.11)
        scores = [json.loads(line) for line in (tmp_path / "s.jsonl").open()]
        assert scores[0]["source_time"] == 0.9
        assert all(set(line["scores"]) == {"moving", "still"} for line in scores)
        assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
        assert "80 pictures" in answer.err
        assert "latency p50" in answer.err
        assert f"{len(scores)} scores, 0 dropped, alarms: 1" in answer.err

    def test_an_export_and_a_server_say_what_the_run_says(self, watch, run, exported, yard, tmp_path) -> None:
        tracks = []
        with Server(exported, grpc_port=0, model_name="moves") as server:
            asked = ("--address", server.address, "--model", "moves")
            for which in (("--run", run), ("--run", exported), (*asked, "--run", run), asked):
                path = tmp_path / f"{len(tracks)}.jsonl"
                watch(yard, *which, *QUICK, "--scores", path)
                lines = [json.loads(line) for line in path.open()]
                tracks.append([line["scores"]["moving"] for line in lines])
        assert tracks[1] == pytest.approx(tracks[0], abs=1e-3)
        assert tracks[2] == pytest.approx(tracks[0], abs=1e-3)
        # The server shrinks pictures in its own graph, from those that it was sent.
        assert tracks[3] == pytest.approx(tracks[0], abs=1e-3)

    def test_a_run_that_knows_its_alarm_needs_no_class(self, watch, run, yard, tmp_path) -> None:
        own = tmp_path / "run"
        shutil.copytree(run, own)
        manifest = json.loads((own / "run.json").read_text())
        manifest["config"]["alarm"] = {"label": "moving", "threshold": 1.0}
        (own / "run.json").write_text(json.dumps(manifest))
        settings = ("--run", own, "--window", "1", "--smooth", "none")
        assert watch(yard, *settings).out == []
        assert [line["class"] for line in watch(yard, *settings, "--on", "0.6").out] == ["moving", "moving"]

    def test_a_rule_of_time_keeps_short_moments_quiet(self, watch, run, tmp_path) -> None:
        path = film(tmp_path / "short.mp4", moving("ssmsssmmmmss", seed=5))
        answer = watch(path, "--run", run, *QUICK, "--for", "2")
        assert [line["event"] for line in answer.out] == ["start", "end"]
        assert answer.out[0]["source_time"] - answer.out[0]["since"] >= 2
        assert answer.out[0]["since"] > 6

    def test_real_time_leaves_out_what_it_has_no_time_for_but_not_the_alarm(
        self, watch, run, tmp_path
    ) -> None:
        path = film(tmp_path / "fast.mp4", moving("mm", seed=5))
        answer = watch(path, "--run", run, *QUICK, "--realtime")
        assert [line["event"] for line in answer.out] == ["start", "end"]

    def test_a_film_shorter_than_the_window_is_scored_once(self, watch, run, tmp_path) -> None:
        path = film(tmp_path / "short.mp4", moving("m", seconds=0.8, seed=3))
        answer = watch(path, "--run", run, *QUICK, "--window", "5")
        assert [line["event"] for line in answer.out] == ["start", "end"]
        assert "short.mp4 is shorter than the window: it is scored as a whole" in answer.err

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--class", "moving"), "--run FOLDER, or --address"),
            (("--run", "RUN"), "--class is missing"),
            (("--run", "RUN", "--class", "movin"), 'the model knows no such class; did you mean "moving"?'),
            (("--run", "nowhere", "--class", "moving"), "nowhere does not exist"),
            (("--run", "RUN", *QUICK, "--off", "0.9"), "off at most on"),
            (("--run", "RUN", *QUICK, "--smooth", "much"), "write exponential:SECONDS"),
            (("--run", "RUN", *QUICK, "--webhook", "here"), "starts with http"),
            (("--run", "RUN", *QUICK, "--webhook", "http://a", "--webhook-header", "x"), "name, a colon"),
            (("--run", "RUN", *QUICK, "--window", "0"), "give a value above 0"),
            (("--address", "127.0.0.1:1", *QUICK), "127.0.0.1:1"),
        ],
    )
    def test_what_is_wrong_is_said_in_a_sentence(self, watch, run, yard, arguments, said) -> None:
        answer = watch(yard, *(run if word == "RUN" else word for word in arguments), code=2)
        assert answer.out == []
        (line,) = answer.err.splitlines()
        assert line.startswith("error: ")
        assert said in line

    def test_a_run_of_another_task_is_refused(self, watch, run, yard, tmp_path) -> None:
        manifest = json.loads((run / "run.json").read_text())
        (tmp_path / "run.json").write_text(json.dumps({**manifest, "task": "text"}))
        answer = watch(yard, "--address", "127.0.0.1:1", "--run", tmp_path, *QUICK, code=2)
        assert "is of the task 'text', and only videos can be watched" in answer.err


class TestFrameByFrame:
    def test_a_frame_is_asked_for_once_and_the_alarm_is_where_it_was(self, watch, causal, tmp_path) -> None:
        yard = film(tmp_path / "yard.mp4", moving("ssmms", seed=99))
        asked = ("--class", "moving", "--smooth", "none", "--on", "0.7", "--scores", tmp_path / "s.jsonl")
        export = causal.parent / "exported"
        answer = watch(yard, "--run", export, *asked)
        start, end = answer.out
        assert (start["event"], end["event"]) == ("start", "end")
        assert 2.0 < start["source_time"] < 3.5
        assert 4.0 < end["source_time"] < 5.0
        assert start["window"] == pytest.approx([start["source_time"] - 0.7, start["source_time"]])
        lines = [json.loads(line) for line in (tmp_path / "s.jsonl").open()]
        assert [line["source_time"] for line in lines] == [round(n / 10, 3) for n in range(7, 50)]
        # As after the whole clip of eight frames, which the model was trained on.
        frames = np.stack([frame.pixels for _, frame in zip(range(8), frames_of(yard), strict=False)])
        model = open_model(export)
        whole = model.call("serving_default", {"clip": frames[None]})
        model.close()
        place = [label.decode() for label in whole["labels"]].index("moving")
        assert lines[0]["scores"]["moving"] == pytest.approx(float(whole["scores"][0, place]), abs=1e-4)
        # The same from a server: the state goes over the wire.
        with Server(export, grpc_port=0) as server:
            watch(yard, "--run", causal, "--address", server.address, *asked[:-1], tmp_path / "t.jsonl")
        again = [json.loads(line)["scores"]["moving"] for line in (tmp_path / "t.jsonl").open()]
        assert again == pytest.approx([line["scores"]["moving"] for line in lines], abs=1e-3)

    def test_a_film_shorter_than_a_clip_is_scored_once(self, watch, causal, tmp_path) -> None:
        path = film(tmp_path / "short.mp4", moving("m", seconds=0.6, seed=3))
        answer = watch(
            path, "--run", causal, "--class", "moving", "--on", "0", "--scores", tmp_path / "s.jsonl"
        )
        assert [line["event"] for line in answer.out] == ["start", "end"]
        assert len((tmp_path / "s.jsonl").read_text().splitlines()) == 1
        assert "short.mp4 is shorter than the window: it is scored as a whole" in answer.err

    def test_window_does_nothing_for_runs_of_frames(self, watch, causal, yard) -> None:
        answer = watch(yard, "--run", causal, "--class", "moving", "--window", "2", code=2)
        assert "--window does nothing here" in answer.err
        assert "was trained on 8 frames, one in 1; leave it out" in answer.err


def test_the_commands_of_the_readme_run(watch, run, exported, yard, tmp_path, monkeypatch, receiver) -> None:
    """With what there is here in place of their files, camera, addresses and class."""
    text = (Path(command.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^kerasft watch (.*)$", text, re.MULTILINE)
    assert len(lines) == 3
    monkeypatch.chdir(tmp_path)
    answer, _ = stream_of(film(tmp_path / "live.ts", moving("mm", seconds=2.0, seed=7)).read_bytes())
    with served(answer) as live, Server(exported, grpc_port=0, model_name="behaviour") as server:
        here = {
            "yard.mp4": yard,
            "rtsp://gate.local/1": live,
            "0": live,
            "runs/behaviour": run,
            "saved_models/behaviour": exported,
            "127.0.0.1:8500": server.address,
            "http://127.0.0.1:9000/alarms": receiver[0],
            "fight": "moving",
        }
        watch(*(here.get(word, word) for word in shlex.split(lines[0])))
        for line in lines[1:]:
            words = [here.get(word, word) for word in shlex.split(line)]
            assert words[0] == live
            assert "so it is given up" in watch(*words, "--give-up", "0", code=2).err
    assert (tmp_path / "curve.png").is_file()


def test_a_stream_that_breaks_off_and_comes_back_in_a_real_process(exported, tmp_path, receiver) -> None:
    """Alarms of both halves, on standard output and at the webhook; Ctrl-C ends it in good order.

    A server has the model: that process need not import TensorFlow.
    """
    part = film(tmp_path / "live.ts", moving("mmm", seed=7)).read_bytes()
    url, got = receiver
    answer, asked = stream_of(part, 503, part)
    with served(answer) as live, Server(exported, grpc_port=0, model_name="moves") as server:
        command = [
            *(sys.executable, "-m", "kerasft", "watch", live),
            *("--address", server.address, "--model", "moves"),
            *QUICK,
            *("--webhook", url),
        ]
        process = subprocess.Popen(
            [str(word) for word in (*command, "--report", "0.5", "--clips", tmp_path / "clips")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        lines: list[dict[str, Any]] = []
        for line in process.stdout or ():
            lines.append(json.loads(line))
            if lines[-1]["event"] == "start" and [said["event"] for said in lines].count("start") == 2:
                process.send_signal(signal.SIGINT)
        err = process.communicate()[1]
    assert process.returncode == 0, err
    assert [line["event"] for line in lines[:4]] == ["start", "end", "start", "end"]
    assert lines[-1]["event"] == "end"
    assert len(asked) >= 3
    assert got.got == lines
    assert "lost (Input/output error); trying again in 1 s" in err
    assert "lost (Server returned 5XX Server Error reply); trying again in 2 s" in err
    assert "back after" in err
    assert "frames/s, latency p50" in err
    clips = {line["clip"] for line in lines}
    assert {str(path) for path in (tmp_path / "clips").iterdir()} == clips
    assert all(shown(Path(path))[0] for path in clips)
