"""`kerasft finetune`, `evaluate`, `predict`, `export`, `verify` and `serve` on a small task."""

from __future__ import annotations

import json
import re
import shutil
import signal

import pytest

import kerasft
from kerasft.cli.training import parse_freeze
from kerasft.export.layout import MANIFEST
from kerasft.serving.client import Client


def sentence(answer) -> str:
    """The one line on standard error of a refused request."""
    assert answer.out == ""
    (line,) = answer.err.strip().splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.usefixtures("plugin")
class TestFinetune:
    def test_it_trains_and_prints_the_best_checkpoint_s_test_metrics_last(self, cli, data, tmp_path) -> None:
        test = data / "test.jsonl"
        answer = cli(
            *("finetune", "tinymood", "--data", data / "train.jsonl", "--validation", 0.2, "--test", test),
            *("--run", tmp_path / "run", "--epochs", 2, "--set", "training.learning_rate=0.05"),
        )
        printed = json.loads(answer.out.splitlines()[-1])
        assert printed == pytest.approx(kerasft.load(tmp_path / "run").evaluate(test, verbose="quiet"))
        assert printed["accuracy"] > 0.8
        assert "epoch 2/2" in answer.err

    def test_json_is_all_there_is_on_standard_output(self, cli, data, tmp_path) -> None:
        found = cli(
            *("finetune", "tinymood", "--data", data / "train.jsonl", "--validation", data / "test.jsonl"),
            *("--run", tmp_path / "run", "--epochs", 2, "--seed", 5, "--json"),
        ).json
        assert found["epochs"] == 2
        assert len(found["history"]["val_accuracy"]) == 2
        assert found["test"] is None
        assert kerasft.load(tmp_path / "run").config.seed == 5

    def test_a_whole_number_of_validation_rows(self, cli, data, tmp_path) -> None:
        answer = cli(
            *("finetune", "tinymood", "--data", data / "train.jsonl", "--validation", 12),
            *("--run", tmp_path / "run", "--epochs", 1),
        )
        assert "val accuracy" in answer.err
        assert re.search(r"48", answer.err)

    def test_what_was_guessed_or_skipped_is_said(self, cli, tmp_path) -> None:
        rows = [json.dumps({"text": f"film {i}", "verdict": ("good", "bad")[i % 2]}) for i in range(12)]
        (tmp_path / "d.jsonl").write_text("\n".join([*rows, '{"text": "", "verdict": "good"}']))
        arguments = ("--data", tmp_path / "d.jsonl", "--on-error", "skip")
        said = cli("finetune", "tinymood", *arguments, "--run", tmp_path / "run", "--epochs", 1).err
        evaluated = cli("evaluate", tmp_path / "run", *arguments).err
        for err in (said, evaluated):
            assert "read the column 'verdict' as 'label'" in err
            assert "skipped 1 of 13 rows, the first:" in err
            assert "d.jsonl, line 13" in err

    def test_a_run_is_the_start_of_another_and_gives_its_config(self, cli, data, tmp_path) -> None:
        train = ("--data", data / "train.jsonl", "--epochs", 1)
        settings = ("--set", "training.batch_size=7", "--set", "training.learning_rate=0.05")
        cli("finetune", "tinymood", *train, "--run", tmp_path / "one", *settings)
        answer = cli(
            *("finetune", "--init-from", tmp_path / "one", *train, "--run", tmp_path / "two"),
            *("--set", "training.learning_rate=0.01"),
        )
        assert re.search(r"starting from \S*one: \d+ of \d+ weights taken over", answer.err)
        config = kerasft.load(tmp_path / "two").config.training
        assert (config.batch_size, config.learning_rate, config.epochs) == (7, 0.01, 1)

    def test_the_mean_of_runs_is_a_run(self, cli, data, tmp_path) -> None:
        train = ("--data", data / "train.jsonl", "--epochs", 1)
        runs = [tmp_path / "one", tmp_path / "two"]
        for seed, run in enumerate(runs):
            cli("finetune", "tinymood", *train, "--run", run, "--seed", seed)
        answer = cli("average", *runs, "--run", tmp_path / "mean")
        assert answer.out == f"{tmp_path / 'mean'}: the mean of 2 runs\n"
        assert "accuracy" in cli("evaluate", tmp_path / "mean", "--data", data / "test.jsonl").json
        refused = cli("average", *runs, "--run", tmp_path / "mean", code=2)
        assert "already holds a run" in sentence(refused)

    def test_a_recipe_names_the_column_of_weights(self, cli, tmp_path) -> None:
        rows = [{"text": f"film {i}", "label": ("good", "bad")[i % 2], "w": 1 - i % 2} for i in range(16)]
        (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
        recipe = tmp_path / "r.yaml"
        recipe.write_text(
            f"task: tinymood\ndata: {tmp_path / 'd.jsonl'}\nrun: {tmp_path / 'run'}\nsample_weight: w\n"
            "epochs: 4\nconfig: {training: {learning_rate: 0.1}}\n"
        )
        cli("finetune", "--recipe", recipe)
        answer = cli("predict", tmp_path / "run", "--text", "film 1", "--text", "film 3").out
        assert [json.loads(line)["label"] for line in answer.splitlines()] == ["good", "good"]

    def test_flags_win_over_the_recipe_and_the_recipe_over_defaults(self, cli, data, tmp_path) -> None:
        recipe = tmp_path / "r.yaml"
        recipe.write_text(
            f"task: tinymood\ndata: {data / 'train.jsonl'}\nvalidation: 0.2\nrun: {tmp_path / 'run'}\n"
            "freeze: backbone\nunfreeze: gradual:1\nepochs: 5\n"
            "config:\n  seed: 7\n  buckets: 100\n  training: {batch_size: 16}\n"
        )
        found = cli(
            *("finetune", "--recipe", recipe, "--run", tmp_path / "other", "--epochs", 1, "--seed", 8),
            *("--set", "training.batch_size=4", "--set", "training.batch_size=8", "--json"),
        ).json
        config = kerasft.load(tmp_path / "other").config
        assert found["run"] == str(tmp_path / "other")
        assert (found["epochs"], config.seed, config.buckets, config.training.batch_size) == (1, 8, 100, 8)
        assert not (tmp_path / "run").exists()

    def test_freeze_reaches_the_task(self, cli, data, tmp_path) -> None:
        answer = cli(
            *(
                "finetune",
                "tinymood",
                "--data",
                data / "train.jsonl",
                "--run",
                tmp_path / "run",
                "--epochs",
                1,
            ),
            *("--freeze", "backbone"),
        )
        assert re.search(r"embedding .* 0 ", answer.err)
        loaded = kerasft.load(tmp_path / "run")
        assert [row.group for row in loaded.freezing.report().rows if row.trainable] == ["head"]

    def test_columns_can_be_named(self, cli, data, tmp_path) -> None:
        rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
        odd = tmp_path / "odd.tsv"
        lines = (f"{row['text']}\t{row['label']}\t{row['label']}\n" for row in rows)
        odd.write_text("wording\tverdict\tsecond verdict\n" + "".join(lines))
        arguments = ("finetune", "tinymood", "--data", odd, "--run", tmp_path / "run", "--epochs", 1)
        assert "odd.tsv has no column for 'text'" in sentence(cli(*arguments, code=2))
        named = ("--column", "text=wording", "--column", "label=verdict")
        last = cli(*arguments, *named, "--test", odd).out.splitlines()[-1]
        assert cli("evaluate", tmp_path / "run", "--data", odd, *named).json == pytest.approx(
            json.loads(last)
        )
        answers = cli("predict", tmp_path / "run", "--data", odd, *named[:2]).out.splitlines()
        assert len(answers) == len(rows)

    def test_rows_can_be_weighed(self, cli, data, tmp_path) -> None:
        rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
        weighed = tmp_path / "weighed.jsonl"
        weighed.write_text("".join(json.dumps({**row, "trust": 0}) + "\n" for row in rows))
        found = cli(
            *("finetune", "tinymood", "--data", weighed, "--run", tmp_path / "run", "--epochs", 1),
            *("--sample-weight", "trust", "--json"),
        ).json
        assert found["history"]["loss"] == [0.0]

    def test_resume_must_demands_a_run_and_never_demands_none(self, cli, data, tmp_path) -> None:
        arguments = (
            "finetune",
            "tinymood",
            "--data",
            data / "train.jsonl",
            "--epochs",
            1,
            "--run",
            tmp_path / "run",
        )
        assert str(tmp_path / "run") in sentence(cli(*arguments, "--resume", "must", code=2))
        cli(*arguments)
        assert str(tmp_path / "run") in sentence(cli(*arguments, "--resume", "never", code=2))

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ([], "finetune needs a task"),
            (
                ["tinymod", "--data", "x", "--run", "y"],
                'there is no task "tinymod": did you mean "tinymood"?',
            ),
            (["tinymood", "--run", "y"], "finetune needs data,"),
            (["tinymood", "--data", "x"], "finetune needs a run folder"),
            (["tinymood", "--data", "none.tsv", "--run", "y"], "none.tsv"),
            (["tinymood", "--data", "x", "--run", "y", "--test", "gone.tsv"], "gone.tsv"),
            (["tinymood", "--data", "x", "--run", "y", "--set", "training.epoch=2"], '"training.epochs"'),
            (["tinymood", "--data", "x", "--run", "y", "--set", "buckets=1"], '"buckets" is 1'),
            (
                ["tinymood", "--data", "none.tsv", "--run", "y", "--set", "training.optimizer=adan"],
                "\"training.optimizer\" is 'adan': there is no such optimizer; did you mean",
            ),
            (["tinymood", "--data", "x", "--run", "y", "--set", "epoch=3"], '"training.epochs"?'),
            (["tinymood", "--data", "x", "--run", "y", "--set", "optimzer=adam"], '"training.optimizer"?'),
            (["tinymood", "--data", "x", "--run", "y", "--set", f"seed={'1' * 5000}"], "as int"),
            (["tinymood", "--data", "x", "--run", "y", "--set", "buckets"], "KEY=VALUE"),
            (["tinymood", "--data", "x", "--run", "y", "--column", "text"], "NAME=COLUMN"),
            (["tinymood", "--data", "x", "--run", "y", "--recipe", "none.yaml"], "none.yaml"),
            (["tinymood", "--data", "x", "--run", "y", "--unfreeze", "slowly"], "slowly"),
            (["tinymood", "--data", "x", "--run", "y", "--freeze", "lora:x"], "lora:8"),
            (["tinymood", "--data", "x", "--run", "y", "--resume", "maybe"], "maybe"),
            (["tinymood", "--data", "x", "--run", "y", "--on-error", "cry"], "cry"),
        ],
    )
    def test_a_wrong_request_is_one_sentence(self, cli, tmp_path, monkeypatch, arguments, expected) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "x").mkdir()
        assert expected in sentence(cli("finetune", *arguments, code=2))
        assert not (tmp_path / "y").exists()

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("task: 3", 'line 1: "task" is 3'),
            ("task: tinymood\ndata: x\nrun: 5", 'line 3: "run" is 5'),
            ("columns: {text: 1}", 'line 1: "columns" is'),
            ("data: x\nvalidation: true", 'line 2: "validation" is True'),
            (
                "task: tinymood\ndata: x\nrun: y\nepoch: 3",
                'line 4: unknown key "epoch" (value 3): did you mean',
            ),
            ("config: " + "[" * 5000, "nested too deeply"),
        ],
    )
    def test_a_wrong_recipe_is_one_sentence(self, cli, tmp_path, monkeypatch, text, expected) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "r.yaml").write_text(text)
        answer = sentence(cli("finetune", "--recipe", "r.yaml", code=2))
        assert answer.startswith("r.yaml")
        assert expected in answer
        assert [path.name for path in tmp_path.iterdir()] == ["r.yaml"]

    def test_a_wrong_recipe_key_names_file_and_line(self, cli, tmp_path) -> None:
        recipe = tmp_path / "r.yaml"
        recipe.write_text(
            "task: tinymood\ndata: x\nrun: y\nconfig:\n  training:\n    epochs: 2\n    batchsize: 3\n"
        )
        expected = 'line 7: unknown key "training.batchsize" (value 3): did you mean "training.batch_size"?'
        assert sentence(cli("finetune", "--recipe", recipe, code=2)) == f"{recipe}: {expected}"

    def test_a_bad_row_names_file_and_line(self, cli, tmp_path) -> None:
        bad = tmp_path / "bad.jsonl"
        bad.write_text('{"text": "fine", "label": "good"}\n{"text": "what", "label": "goood"}\n')
        text = sentence(cli("finetune", "tinymood", "--data", bad, "--run", tmp_path / "run", code=2))
        assert "bad.jsonl, line 2" in text
        assert "goood" in text

    def test_interrupted_it_saves_says_how_to_go_on_and_exits_with_130(
        self, spawn, cli, data, tmp_path
    ) -> None:
        arguments = ("finetune", "tinymood", "--data", data / "train.jsonl", "--run", tmp_path / "run")
        process = spawn(*arguments, "--epochs", 100_000)
        for line in process.stderr:
            if line.startswith("epoch 2/"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert process.returncode == 130, err
        assert out == ""
        assert "--resume" in err
        assert "Traceback" not in err
        assert kerasft.load(tmp_path / "run", checkpoint="latest").last_metrics["epoch"] >= 1


class TestFreezePolicies:
    @pytest.mark.parametrize(
        ("text", "policy"),
        [("backbone", "backbone"), ("3", 3), (2, 2), (None, None), ("block_[0-3]", "block_[0-3]")],
    )
    def test_names_numbers_and_patterns(self, text, policy) -> None:
        assert parse_freeze(text) == policy

    def test_lora(self) -> None:
        assert parse_freeze("lora") == kerasft.LoRA(rank=8)
        assert parse_freeze("lora:4") == kerasft.LoRA(rank=4)
        assert parse_freeze("lora:4:query|value") == kerasft.LoRA(rank=4, targets="query|value")


class TestEvaluateAndPredict:
    def test_evaluate_prints_the_metrics(self, cli, run, data) -> None:
        expected = kerasft.load(run).evaluate(data / "test.jsonl", verbose="quiet")
        for flags in ([], ["--json"]):
            assert cli("evaluate", run, "--data", data / "test.jsonl", *flags).json == pytest.approx(expected)

    def test_evaluate_takes_settings_in_place_of_those_of_the_run(self, cli, run, data) -> None:
        changed = kerasft.load(run, config={"training": {"batch_size": 3}})
        assert changed.config.training.batch_size == 3
        assert changed.config.training.learning_rate == kerasft.load(run).config.training.learning_rate
        arguments = ("evaluate", run, "--data", data / "test.jsonl", "--set")
        assert set(cli(*arguments, "training.batch_size=3").json) >= {"loss", "accuracy"}
        assert "batch_size" in sentence(cli(*arguments, "training.batch_size=0", code=2))

    def test_predict_answers_texts_in_order(self, cli, run) -> None:
        lines = cli("predict", run, "--text", "superb film", "--text", "dull film").out.splitlines()
        answers = [json.loads(line) for line in lines]
        assert [answer["label"] for answer in answers] == ["good", "bad"]
        assert all(len(answer["scores"]) == 2 for answer in answers)

    def test_predict_writes_a_file(self, cli, run, data, tmp_path) -> None:
        out = tmp_path / "new" / "answers.jsonl"
        assert cli("predict", run, "--data", data / "test.jsonl", "--out", out).out == ""
        answers = [json.loads(line)["label"] for line in out.read_text().splitlines()]
        labels = [json.loads(line)["label"] for line in (data / "test.jsonl").read_text().splitlines()]
        assert answers == labels

    def test_predict_leaves_out_bad_rows_when_asked_to(self, cli, run, tmp_path) -> None:
        data = tmp_path / "some.jsonl"
        data.write_text('{"text": "superb film"}\n{"text": ""}\n{"text": "dull film"}\n')
        assert "some.jsonl, line 2" in sentence(cli("predict", run, "--data", data, code=2))
        answer = cli("predict", run, "--data", data, "--on-error", "skip")
        assert [json.loads(line)["label"] for line in answer.out.splitlines()] == ["good", "bad"]
        assert "skipped 1 of 3 rows" in answer.err

    def test_a_place_for_answers_that_cannot_be_written_is_named(self, cli, run, tmp_path) -> None:
        (tmp_path / "file").write_text("kept")
        for out in (tmp_path, tmp_path / "file" / "below.jsonl"):
            said = sentence(cli("predict", run, "--text", "superb film", "--out", out, code=2))
            assert str(tmp_path) in said
        assert (tmp_path / "file").read_text() == "kept"

    @pytest.mark.parametrize("arguments", [[], ["--text", "a", "--data", "b"]])
    def test_predict_needs_one_source(self, cli, tmp_path, arguments) -> None:
        assert "one of --text, --input and --data" in sentence(cli("predict", tmp_path, *arguments, code=2))

    @pytest.mark.parametrize(
        "verb", [["evaluate", "--data", "x"], ["predict", "--text", "x"], ["export", "out"]]
    )
    def test_a_folder_that_is_no_run_is_named(self, cli, tmp_path, verb) -> None:
        command, *rest = verb
        assert str(tmp_path / "nothing") in sentence(cli(command, tmp_path / "nothing", *rest, code=2))


class TestShipping:
    def test_export_numbers_versions(self, cli, run, tmp_path) -> None:
        target = tmp_path / "model"
        first = cli("export", run, target, "--json").json
        assert (first["version"], first["path"]) == (1, str(target / "1"))
        assert first["checks"]
        assert all(check["ok"] is not False for check in first["checks"])
        assert first["facts"] == {}
        shown = cli("export", run, target, "--version", 7, "--set", "training.epochs=3").out
        assert str(target / "7") in shown
        manifest = json.loads((target / "7" / MANIFEST).read_text())
        assert manifest["config"]["training"]["epochs"] == 3
        assert (target / "7" / "saved_model.pb").is_file()
        assert "version 7" in sentence(cli("export", run, target, "--version", 7, code=2))

    def test_verify_passes_a_good_export(self, cli, exported) -> None:
        found = cli("verify", exported / "1", "--json").json
        assert found["ok"]
        assert "warm-up" in cli("verify", exported / "1").out

    def test_verify_exits_with_1_when_a_check_fails(self, cli, exported, tmp_path) -> None:
        broken = tmp_path / "2"
        shutil.copytree(exported / "1", broken)
        (weights,) = (broken / "variables").glob("*.data*")
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 0xFF
        weights.write_bytes(content)
        found = cli("verify", broken, "--json", code=1).json
        assert not found["ok"]
        assert {check["name"] for check in found["checks"] if check["ok"] is False} >= {"checksums"}
        assert "FAILED" in cli("verify", broken, code=1).out

    def test_serve_answers_and_stops_politely(self, cli, spawn, exported, run) -> None:
        process = spawn("serve", exported, "--grpc-port", 0)
        first = process.stdout.readline()
        port = re.search(r"127\.0\.0\.1:(\d+)", first)
        assert port is not None, first + process.communicate()[1]
        with Client(f"127.0.0.1:{port[1]}") as client:
            answer = client.predict(text=["superb film", "dull film"])
        assert answer["label"].tolist() == ["good", "bad"]
        place = f"127.0.0.1:{port[1]}"
        asked = cli("ask", place, "default", "--text", "superb film", "--text", "dull film").out
        assert [json.loads(line)["label"] for line in asked.splitlines()] == ["good", "bad"]
        one = cli("ask", place, "default", "--input", "text=dull film").json
        assert one["label"] == "bad"
        wrong = cli("ask", place, "elsewhere", "--text", "a", code=2)
        assert "Servable not found for request: Latest(elsewhere)" in sentence(wrong)
        assert answer["scores"] == pytest.approx(
            kerasft.load(run).predict(["superb film", "dull film"])["scores"]
        )
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        assert process.returncode == 0, err

    def test_serving_nothing_is_one_sentence(self, cli, tmp_path) -> None:
        assert str(tmp_path) in sentence(cli("serve", tmp_path, code=2))
