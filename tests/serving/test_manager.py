"""Which versions are served: policies, labels, hot reload, and versions that fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kerasft.export import layout, warmup
from kerasft.serving import ServingError, protos
from kerasft.serving.server.config import from_folders, read
from kerasft.serving.server.manager import ModelManager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ModelManager]:
    manager = ModelManager(threads=1, root=tmp_path / "root")
    yield manager
    manager.close()


@pytest.fixture
def base(model: Path, tmp_path: Path) -> Path:
    """A model folder with version 3, to which versions can be added."""
    add_version(model, tmp_path / "root/demo", 3)
    return tmp_path / "root/demo"


def add_version(model: Path, base: Path, number: int) -> Path:
    folder = Path(shutil.copytree(model / "3", base / f".{number}"))
    return folder.rename(base / str(number))


def one(base: Path, text: str = "") -> Any:
    """The configuration of one model, with the rest of its ModelConfig as text."""
    from google.protobuf import text_format

    config = from_folders({"demo": base})
    text_format.Merge(text, config.model_config_list.config[0])
    return config


def spec(**fields: Any) -> Any:
    spec = protos.ModelSpec(name="demo")
    for name, value in fields.items():
        if name == "version":
            spec.version.value = value
        else:
            spec.version_label = value
    return spec


def states(manager: ModelManager) -> dict[int, str]:
    names = protos.message("tensorflow.serving.ModelVersionStatus").DESCRIPTOR.enum_types_by_name["State"]
    found = manager.status(spec()).model_version_status
    return {status.version: names.values_by_number[status.state].name for status in found}


def newest(manager: ModelManager, **fields: Any) -> int:
    with manager.use(spec(**fields)) as servable:
        return servable.version


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", [20]),
        ("latest {}", [20]),
        ("latest { num_versions: 2 }", [10, 20]),
        ("all {}", [3, 10, 20]),
        ("specific { versions: 3 versions: 10 versions: 99 }", [3, 10]),
    ],
)
def test_policies_choose_versions(
    manager: ModelManager, model: Path, base: Path, policy: str, served: list[int]
) -> None:
    add_version(model, base, 10)
    add_version(model, base, 20)
    (base / "notes").mkdir()
    manager.start(one(base, f"model_version_policy {{ {policy} }}" if policy else ""))
    assert list(manager.served()["demo"]) == served
    assert newest(manager) == max(served)
    assert newest(manager, version=min(served)) == min(served)


def test_a_new_version_takes_over_and_the_old_one_ends(
    manager: ModelManager, model: Path, base: Path
) -> None:
    manager.start(one(base))
    add_version(model, base, 4)
    manager.poll()
    assert newest(manager) == 4
    manager.close()
    assert states(manager) == {4: "END", 3: "END"}
    with pytest.raises(ServingError, match=r"Servable not found for request: Latest\(demo\)"):
        newest(manager)


def test_a_version_in_use_goes_on_until_it_is_released(
    manager: ModelManager, model: Path, base: Path
) -> None:
    manager.start(one(base))
    with manager.use(spec()) as old:
        add_version(model, base, 4)
        manager.poll()
        assert newest(manager) == 4
        assert states(manager) == {4: "AVAILABLE", 3: "UNLOADING"}
        assert old.model.call("mean", {"image": [[[[1.0, 1.0, 1.0]]]]})["mean"].tolist() == [1.0]


def test_a_version_that_fails_is_reported_and_the_old_one_stays(
    manager: ModelManager, model: Path, base: Path
) -> None:
    manager.start(one(base))
    broken = add_version(model, base, 4)
    shutil.rmtree(broken / "variables")
    manager.poll()
    assert newest(manager) == 3
    assert states(manager) == {4: "END", 3: "AVAILABLE"}
    (status,) = manager.status(spec(version=4)).model_version_status
    assert status.status.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert f"the model at {broken} cannot be served" in status.status.error_message
    with pytest.raises(ServingError, match=r"Specific\(demo, 4\)"):
        newest(manager, version=4)


def test_a_version_that_was_half_written_is_served_once_it_is_whole(
    manager: ModelManager, model: Path, base: Path
) -> None:
    manager.start(one(base))
    (base / "4").mkdir()
    manager.poll()
    content = (model / "3" / layout.GRAPH).read_bytes()
    (base / "4" / layout.GRAPH).write_bytes(content[: len(content) // 2])
    manager.poll()
    (base / "4" / layout.GRAPH).write_bytes(content)
    manager.poll()
    assert (newest(manager), states(manager)[4]) == (3, "END")
    shutil.copytree(model / "3/variables", base / "4/variables")
    manager.poll()
    assert newest(manager) == 4
    assert states(manager)[4] == "AVAILABLE"


def test_a_version_that_failed_is_not_tried_again_in_vain(
    manager: ModelManager, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.start(one(base))
    (base / "4").mkdir()
    manager.poll()
    monkeypatch.setattr("kerasft.serving.server.manager.Servable.load", None)
    manager.poll()
    assert states(manager) == {4: "END", 3: "AVAILABLE"}


def test_a_version_whose_warmup_fails_is_not_served(manager: ModelManager, model: Path, base: Path) -> None:
    manager.start(one(base))
    broken = add_version(model, base, 4)
    warmup.write_logs(
        broken / layout.WARMUP, [warmup.predict_log("serving_default", {"x": [[1.0]], "text": ["a"]})]
    )
    manager.poll()
    assert newest(manager) == 3
    (status,) = manager.status(spec(version=4)).model_version_status
    assert status.status.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "warm-up request 0 failed: Matrix size-incompatible" in status.status.error_message


def test_warmup_requests_of_every_kind_are_replayed(
    manager: ModelManager, judge: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(judge, tmp_path / "judge"))
    logs = []
    for kind, signature in (("classify", "judge"), ("regress", "double")):
        log = protos.PredictionLog()
        request = getattr(log, f"{kind}_log").request
        request.model_spec.name, request.model_spec.signature_name = "other", signature
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(1.0)
        logs.append(log)
    warmup.write_logs(base / "1" / layout.WARMUP, logs)
    manager.start(from_folders({"judge": base}))
    logs[1].regress_log.request.model_spec.signature_name = "judge"
    warmup.write_logs(base / "1" / layout.WARMUP, logs)
    with pytest.raises(ServingError, match="warm-up request 1 failed: Expected regression signature"):
        ModelManager(threads=1).start(from_folders({"judge": base}))


def test_a_folder_that_is_gone_for_a_while_changes_nothing(
    manager: ModelManager, base: Path, tmp_path: Path
) -> None:
    manager.start(one(base))
    base.rename(tmp_path / "away")
    manager.poll()
    assert newest(manager) == 3


def test_links_out_of_the_base_path_are_not_followed(
    manager: ModelManager, model: Path, base: Path, tmp_path: Path
) -> None:
    add_version(model, tmp_path / "elsewhere", 9)
    os.symlink(tmp_path / "elsewhere/9", base / "9")
    os.symlink(base / "3", base / "5")
    manager.start(one(base, "model_version_policy { all {} }"))
    assert list(manager.served()["demo"]) == [3, 5]


def test_labels_name_versions_and_move_with_a_reload(manager: ModelManager, model: Path, base: Path) -> None:
    add_version(model, base, 4)
    every = "model_version_policy { all {} } "
    manager.start(one(base, every + "version_labels { key: 'stable' value: 3 }"))
    assert newest(manager, version_label="stable") == 3
    manager.reload(one(base, every + "version_labels { key: 'stable' value: 4 }"))
    assert newest(manager, version_label="stable") == 4
    with pytest.raises(ServingError, match="Unrecognized servable version label: beta") as caught:
        newest(manager, version_label="beta")
    assert caught.value.code == "INVALID_ARGUMENT"
    with pytest.raises(ServingError) as caught:
        manager.reload(one(base, every + "version_labels { key: 'stable' value: 7 }"))
    assert (caught.value.code, caught.value.details) == (
        "FAILED_PRECONDITION",
        "Request to assign label to version 7 of model demo, which is not currently available for inference",
    )
    assert newest(manager, version_label="stable") == 4


def test_a_reload_adds_and_removes_models(
    manager: ModelManager, judge: Path, base: Path, tmp_path: Path
) -> None:
    manager.start(one(base))
    shutil.copytree(judge, tmp_path / "root/judge")
    manager.reload(from_folders({"judge": tmp_path / "root/judge"}))
    with manager.use(protos.ModelSpec(name="judge")) as servable:
        assert servable.version == 1
    with pytest.raises(ServingError, match=r"Latest\(demo\)"):
        newest(manager)
    manager.reload(one(base))
    assert newest(manager) == 3


def test_a_reload_stays_within_the_model_root(manager: ModelManager, model: Path, base: Path) -> None:
    manager.start(one(base))
    for path in (model, base.parent / ".." / ".." / "x"):
        with pytest.raises(ServingError, match="lies outside the model root") as caught:
            manager.reload(one(path))
        assert caught.value.code == "PERMISSION_DENIED"
    assert newest(manager) == 3


def test_without_a_root_a_reload_names_only_what_was_there(model: Path, base: Path) -> None:
    manager = ModelManager(threads=1)
    try:
        manager.start(one(base))
        manager.reload(one(base, "model_version_policy { all {} }"))
        with pytest.raises(ServingError, match="start it with --model-root") as caught:
            manager.reload(one(model))
        assert caught.value.code == "PERMISSION_DENIED"
    finally:
        manager.close()


def test_a_reload_to_a_model_that_cannot_be_loaded_says_so(
    manager: ModelManager, base: Path, tmp_path: Path
) -> None:
    manager.start(one(base))
    (tmp_path / "root/empty").mkdir()
    config = from_folders({"demo": base, "empty": tmp_path / "root/empty"})
    with pytest.raises(ServingError, match=r"Some models did not become available: \{empty\}") as caught:
        manager.reload(config)
    assert caught.value.code == "UNKNOWN"
    assert newest(manager) == 3


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            "config { name: 'a' base_path: '/a' model_platform: 'tensorflow' } "
            "config { name: 'a' base_path: '/b' model_platform: 'tensorflow' }",
            "INVALID_ARGUMENT",
            "Illegal to list model a multiple times in config list",
        ),
        (
            "config { name: 'a' base_path: '/a' }",
            "INVALID_ARGUMENT",
            "Illegal setting neither model_type(deprecated) nor model_platform.",
        ),
        (
            "config { name: 'a' base_path: '/a' model_type: TENSORFLOW model_platform: 'tensorflow' }",
            "INVALID_ARGUMENT",
            "Illegal setting both model_type(deprecated) and model_platform.",
        ),
        (
            "config { name: 'a' base_path: '/a' model_platform: 'other' }",
            "INVALID_ARGUMENT",
            "Model a requests unsupported platform other",
        ),
        (
            "config { name: 'a' base_path: 'a' model_platform: 'tensorflow' }",
            "INVALID_ARGUMENT",
            "Expected model a to have an absolute path or URI; got base_path()=a",
        ),
    ],
)
def test_wrong_configurations_are_refused(
    manager: ModelManager, base: Path, tmp_path: Path, text: str, code: str, message: str
) -> None:
    path = tmp_path / "models.config"
    path.write_text(f"model_config_list {{ {text} }}")
    with pytest.raises(ServingError) as caught:
        manager.start(read(path, protos.ModelServerConfig))
    assert (caught.value.code, caught.value.details) == (code, message)


def test_a_file_that_is_no_configuration_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text("model_config_list {\n  model { }\n}")
    with pytest.raises(ServingError, match=f"{path} is not the text form of a ModelServerConfig: line 2:3"):
        read(path, protos.ModelServerConfig)
    with pytest.raises(ServingError, match="cannot be read"):
        read(tmp_path / "nothing", protos.ModelServerConfig)
