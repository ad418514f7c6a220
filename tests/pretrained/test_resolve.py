"""Names, folders and URIs become folders."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kerasft.errors import PretrainedError
from kerasft.pretrained import resolve

from .conftest import Index


class FakeHub:
    """Stands for huggingface_hub and kagglehub: remembers what it was asked for."""

    def __init__(self, folder: Path, error: Exception | None = None) -> None:
        self.folder, self.error = folder, error
        self.asked: list[Any] = []

    def answer(self, **question: Any) -> str:
        self.asked.append(question)
        if self.error:
            raise self.error
        return str(self.folder)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
        fake = SimpleNamespace(
            snapshot_download=self.answer, model_download=lambda handle: self.answer(handle=handle)
        )
        monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
        monkeypatch.setitem(sys.modules, "kagglehub", fake)
        return self


def test_a_catalogue_name_is_fetched(index: Index) -> None:
    assert resolve("tiny", progress=False) == index.cached


def test_a_folder_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bert").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve(tmp_path / "bert") == resolve("./bert") == resolve("bert") == tmp_path / "bert"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/bert") == tmp_path / "bert"


def test_a_catalogue_name_wins_over_a_folder(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("tiny", progress=False) == index.cached
    assert resolve("./tiny") == tmp_path / "tiny"


def test_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub(tmp_path).install(monkeypatch)
    assert resolve("hf://org/model") == tmp_path
    resolve("hf://org/model@v2")
    assert [(question["repo_id"], question["revision"]) for question in hub.asked] == [
        ("org/model", None),
        ("org/model", "v2"),
    ]
    assert "*.safetensors" in hub.asked[0]["allow_patterns"]
    assert "*.bin" not in hub.asked[0]["allow_patterns"]


def test_kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub(tmp_path).install(monkeypatch)
    assert resolve("kaggle://keras/bert/keras/bert_tiny_en_uncased/2") == tmp_path
    assert hub.asked == [{"handle": "keras/bert/keras/bert_tiny_en_uncased/2"}]


def test_a_keras_hub_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keras_hub = pytest.importorskip("keras_hub")
    hub = FakeHub(tmp_path).install(monkeypatch)
    assert resolve("bert_tiny_en_uncased") == tmp_path
    handle = keras_hub.models.BertBackbone.presets["bert_tiny_en_uncased"]["kaggle_handle"]
    assert hub.asked == [{"handle": handle.removeprefix("kaggle://")}]


@pytest.mark.parametrize(
    "uri", ["hf://org/model", "kaggle://keras/bert/keras/bert_tiny_en_uncased", "bert_tiny_en_uncased"]
)
def test_an_unreachable_hub(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "://" not in uri:
        pytest.importorskip("keras_hub")
    FakeHub(tmp_path, ConnectionError("no route\nmore")).install(monkeypatch)
    with pytest.raises(
        PretrainedError, match=r"neither cached nor .* \(no route\); .* give its path"
    ) as caught:
        resolve(uri)
    assert uri in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "package"), [("hf://a/b", "huggingface_hub"), ("kaggle://a/b/c/d", "kagglehub")]
)
def test_a_hub_whose_package_is_missing(uri: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PretrainedError, match=f"pip install {package}"):
        resolve(uri)


def test_presets_where_keras_hub_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PretrainedError, match=r"presets where it is installed \(pip install 'kerasft"):
        resolve("bert_tiny_en_uncased")


@pytest.mark.parametrize(
    ("uri", "form"),
    [
        ("hf://model", "hf://org/model"),
        ("hf:///model", "hf://org/model"),
        ("hf://a/b/c", "hf://org/model"),
        ("kaggle://keras/bert", "kaggle://org/model/keras/variant"),
        ("gs://bucket/model", "hf:// or kaggle://"),
    ],
)
def test_a_malformed_uri(uri: str, form: str) -> None:
    with pytest.raises(PretrainedError) as caught:
        resolve(uri)
    assert uri in str(caught.value)
    assert form in str(caught.value)


def test_what_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(PretrainedError, match='"minilmm"; did you mean "minilm"'):
        resolve("minilmm")
    with pytest.raises(PretrainedError, match="there is no folder"):
        resolve(tmp_path / "none")
    with pytest.raises(PretrainedError, match="there is no folder ~no-such-user/bert"):
        resolve("~no-such-user/bert")
    (tmp_path / "file").write_text("")
    with pytest.raises(PretrainedError, match="is a file"):
        resolve(tmp_path / "file")


def test_unknown_names_know_the_presets() -> None:
    pytest.importorskip("keras_hub")
    with pytest.raises(PretrainedError, match='did you mean "bert_tiny_en_uncased"'):
        resolve("bert_tiny_en_uncasd")
    with pytest.raises(PretrainedError, match=r"minilm, smollm2, vgg16, or one of \d+ KerasHub presets"):
        resolve("xyzzy")
