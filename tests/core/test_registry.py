"""Tasks by name, in this process and from really installed plugin packages."""

from __future__ import annotations

import importlib
import json
import os
import site
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import kerasft
from kerasft import registry
from kerasft.cli.scaffold import write_plugin
from kerasft.errors import RegistryError


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry without what other tests registered."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_failed", {})


def names() -> list[str]:
    return [info.name for info in kerasft.list_tasks()]


@pytest.mark.usefixtures("empty")
class TestInProcess:
    def test_a_registered_class_has_its_name_and_is_found(self) -> None:
        @kerasft.register("r-one")
        class One(kerasft.Task):
            """Does one thing."""

        assert One.name == "r-one"
        assert kerasft.get("r-one") is One
        (info,) = [info for info in kerasft.list_tasks() if info.name == "r-one"]
        assert (info.status, info.summary, info.error) == ("loaded", "Does one thing.", "")

    def test_create_validates_its_config(self) -> None:
        @kerasft.register("r-two")
        class Two(kerasft.Task):
            pass

        assert kerasft.create("r-two", seed=4).config.seed == 4
        with pytest.raises(kerasft.ConfigError, match='unknown key "sede"'):
            kerasft.create("r-two", sede=4)

    def test_a_name_registered_twice_names_both_places(self) -> None:
        @kerasft.register("r-twice")
        class First(kerasft.Task):
            pass

        with pytest.raises(RegistryError) as caught:

            @kerasft.register("r-twice")
            class Second(kerasft.Task):
                pass

        places = [f"{__name__}:{line}" for line in _lines('@kerasft.register("r-twice")')]
        assert len(places) == 2
        for place in places:
            assert place in str(caught.value)
        assert kerasft.get("r-twice") is First

    def test_a_class_defined_again_replaces_itself(self) -> None:
        def define() -> type[kerasft.Task]:
            @kerasft.register("r-cell")
            class Cell(kerasft.Task):
                pass

            return Cell

        define()
        again = define()
        assert kerasft.get("r-cell") is again

    def test_one_class_under_two_names_is_refused(self) -> None:
        @kerasft.register("r-a")
        class Thing(kerasft.Task):
            pass

        with pytest.raises(RegistryError, match=r'Thing is registered twice: as "r-a" at .* and as "r-b"'):
            kerasft.register("r-b")(Thing)

    def test_what_is_no_task_is_refused(self) -> None:
        with pytest.raises(RegistryError, match=r"not a subclass of kerasft\.Task"):
            kerasft.register("r-no")(dict)  # type: ignore[type-var]

    @pytest.mark.parametrize("name", ["", "Text", "a b", "1st", "a/b", 3])
    def test_a_bad_name_is_refused(self, name: str) -> None:
        with pytest.raises(RegistryError, match="is no task name"):
            kerasft.register(name)

    def test_an_unknown_name_says_what_was_probably_meant_and_what_is_there(self) -> None:
        @kerasft.register("r-recommender")
        class Recommender(kerasft.Task):
            pass

        with pytest.raises(
            RegistryError, match='there is no task "r-recomender": did you mean "r-recommender"'
        ):
            kerasft.get("r-recomender")
        with pytest.raises(RegistryError, match="r-recommender") as caught:
            kerasft.get("zzzzzzzzzz")
        assert "did you mean" not in str(caught.value)

    def test_an_installed_package_s_name_cannot_be_taken(self) -> None:
        with pytest.raises(
            RegistryError, match=r"kerasft_text\.task:Text by the installed package kerasft"
        ) as caught:

            @kerasft.register("text")
            class Mine(kerasft.Task):
                pass

        assert f"{__name__}:" in str(caught.value)


def test_importing_kerasft_is_cheap() -> None:
    code = (
        "import sys, kerasft; kerasft.TaskConfig(training={'optimizer': 'sgd'})\n"
        "kerasft.list_tasks(); kerasft.ConfigError\n"
        "heavy = {'tensorflow', 'keras', 'kerasft_text', 'kerasft.task'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_can_be_had() -> None:
    for name in {*kerasft.__all__, *dir(kerasft)}:
        assert getattr(kerasft, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = kerasft.nonsense


class Environment:
    """A virtual environment that sees what this one has, and into which plugins are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
        self.python = folder / "env" / "bin" / "python"
        ours = [path for path in (*site.getsitepackages(), site.getusersitepackages()) if os.path.isdir(path)]
        (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
        # addsitedir, unlike a plain path, also runs the .pth files of editable installs.
        (packages / "outer.pth").write_text(
            "".join(f"import site; site.addsitedir({path!r})\n" for path in ours)
        )

    def write(self, name: str, change: Callable[[str], str] = str) -> Path:
        """Writes a scaffolded plugin with its task.py changed."""
        source = write_plugin(name, self.folder / name)
        module = source / f"kerasft_{name}" / "task.py"
        module.write_text(change(module.read_text()))
        return source

    def install(self, *sources: Path) -> None:
        """Builds and installs plugin packages."""
        command = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "--no-deps"]
        subprocess.run([*command, "--no-build-isolation", *sources], check=True, capture_output=True)

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.python, *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
        assert done.returncode == code, done.stderr
        return done

    def list(self, *flags: str) -> dict[str, dict[str, str]]:
        return {
            info["name"]: info
            for info in json.loads(self.run("-m", "kerasft", "list", "--json", *flags).stdout)
        }


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment(tmp_path_factory.mktemp("plugins"))
    made.install(
        made.write("mood"),
        made.write("lacking", lambda text: "import a_package_that_nobody_has\n" + text),
        made.write("broken", lambda text: text + "\ndef (:\n"),
        made.write("raising", lambda text: 'raise RuntimeError("no licence key")\n' + text),
        made.write("late", lambda text: text + '\nraise RuntimeError("no GPU")\n'),
        made.write("leaving", lambda text: text + '\nraise SystemExit("bye")\n'),
        made.write("silent", lambda text: text.replace('register("silent")', 'register("another")')),
    )
    return made


class TestInstalledPlugins:
    def test_list_shows_good_and_broken_ones_and_imports_none(self, environment: Environment) -> None:
        found = environment.list()
        assert found["mood"]["status"] == "available"
        assert found["mood"]["distribution"] == "kerasft-mood"
        assert found["mood"]["summary"] == "Classifies text by the average of its word embeddings."
        assert found["lacking"]["status"] == "broken"
        assert "No module named 'a_package_that_nobody_has'" in found["lacking"]["error"]
        assert found["broken"]["status"] == "broken"
        assert "SyntaxError" in found["broken"]["error"]
        code = (
            "import sys; sys.argv = ['kerasft', 'list']\n"
            "from kerasft.cli import main\n"
            "try: main()\n"
            "except SystemExit as stop: assert not stop.code\n"
            "heavy = {m for m in sys.modules if m.startswith(('kerasft_mood', 'tensorflow', 'keras.'))}\n"
            "assert not heavy, heavy"
        )
        assert "mood" in environment.run("-c", code).stdout

    def test_loading_all_finds_what_only_an_import_shows(self, environment: Environment) -> None:
        assert environment.list()["raising"]["status"] == "available"
        found = environment.list("--load")
        assert found["mood"]["status"] == "loaded"
        assert found["mood"]["where"].startswith("kerasft_mood.task:")
        assert "RuntimeError: no licence key" in found["raising"]["error"]
        assert 'registered twice: as "another"' in found["silent"]["error"]
        assert "RuntimeError: no GPU" in found["late"]["error"]
        assert "SystemExit: bye" in found["leaving"]["error"]
        bad = ("raising", "late", "leaving", "silent", "lacking", "broken")
        assert {found[name]["status"] for name in bad} == {"broken"}

    @pytest.mark.parametrize("name", ["late", "leaving"])
    def test_a_plugin_that_fails_after_it_registered_is_not_there(
        self, environment: Environment, name: str
    ) -> None:
        code = (
            "import kerasft\n"
            "for _ in range(2):\n"
            f"    try: kerasft.get({name!r})\n"
            "    except kerasft.RegistryError as error: print(error)\n"
            f"print({{info.name: info.status for info in kerasft.list_tasks()}}[{name!r}])\n"
        )
        first, second, status = environment.run("-c", code).stdout.splitlines()
        assert f"cannot be imported from kerasft_{name}.task:" in first
        assert second == first
        assert status == "broken"

    def test_a_good_plugin_works_beside_broken_ones(self, environment: Environment) -> None:
        code = (
            "import kerasft\n"
            "task = kerasft.create('mood', labels=['no', 'yes'])\n"
            "print(task.name, task.config.labels, kerasft.get('mood').__module__)\n"
            "try: kerasft.get('raising')\n"
            "except kerasft.RegistryError as error: print(error)\n"
            "print({info.name: info.status for info in kerasft.list_tasks()}['raising'])\n"
        )
        first, second, third = environment.run("-c", code).stdout.splitlines()
        assert first == "mood ['no', 'yes'] kerasft_mood.task"
        assert second.startswith(
            'task "raising" of kerasft-raising 0.1.0 cannot be imported from kerasft_raising.task:'
        )
        assert second.endswith("RuntimeError: no licence key")
        assert third == "broken"

    def test_describe_and_errors_on_the_command_line(self, environment: Environment) -> None:
        described = json.loads(environment.run("-m", "kerasft", "describe", "mood", "--json").stdout)
        assert described["signatures"] == {"serving_default": {"text": "string[None]"}}
        assert [column["name"] for column in described["columns"]] == ["text", "label"]
        (buckets,) = [field for field in described["config"] if field["key"] == "buckets"]
        assert (buckets["default"], buckets["limits"]) == (4096, ">= 2")
        failed = environment.run("-m", "kerasft", "describe", "moood", code=2)
        assert failed.stderr.startswith('error: there is no task "moood": did you mean "mood"?')
        assert failed.stdout == ""

    def test_a_name_offered_by_two_packages_names_both(self, tmp_path: Path) -> None:
        made = Environment(tmp_path)
        other = made.write("other")
        project = other / "pyproject.toml"
        project.write_text(project.read_text().replace('other = "kerasft_other', 'mood = "kerasft_other'))
        made.install(made.write("mood"), other)
        found = made.list()["mood"]
        assert found["status"] == "broken"
        failed = made.run("-m", "kerasft", "describe", "mood", code=2)
        for text in (found["error"], failed.stderr):
            assert "registered twice" in text
            assert "kerasft_mood.task:Mood of kerasft-mood 0.1.0" in text
            assert "kerasft_other.task:Other of kerasft-other 0.1.0" in text


def test_reloading_a_module_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reloaded_task.py").write_text(
        'import kerasft\n@kerasft.register("r-reloaded")\nclass Reloaded(kerasft.Task):\n    pass\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", {})
    module = importlib.import_module("reloaded_task")
    before = module.Reloaded
    importlib.reload(module)
    assert module.Reloaded is not before
    assert kerasft.get("r-reloaded") is module.Reloaded


def _lines(text: str) -> list[int]:
    lines = Path(__file__).read_text().splitlines()
    return [number for number, line in enumerate(lines, start=1) if line.strip() == text]
