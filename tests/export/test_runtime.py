"""The C++ runtime through ctypes: every type, strings, threads, errors, memory."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kerasft.errors import ExportError
from kerasft.export import _capi
from kerasft.export.runtime import Model, RuntimeFailure

TYPES = """bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex64
complex128 string""".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model that answers what it is given, in every type."""

    def call(**inputs: Any) -> dict[str, Any]:
        return {f"{name}_out": tf.identity(value) for name, value in inputs.items()}

    module = tf.Module()
    function = tf.function(call).get_concrete_function(
        **{name: tf.TensorSpec([None, None], tf.dtypes.as_dtype(name)) for name in TYPES}
    )
    folder = tmp_path_factory.mktemp("echo")
    tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
    return Model(folder)


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model that answers strings of any shape, and their doubles."""
    module = tf.Module()
    module.call = tf.function(lambda text: {"same": text, "double": tf.strings.join([text, text])})
    function = module.call.get_concrete_function(text=tf.TensorSpec([None], tf.string))
    folder = tmp_path_factory.mktemp("strings")
    tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
    return Model(folder)


def full(shape: tuple[int, ...]) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name in TYPES:
        if name == "string":
            arrays[name] = np.full(shape, b"x", dtype=object)
        else:
            dtype = ml_dtypes.bfloat16 if name == "bfloat16" else name
            arrays[name] = random.integers(0, 2, shape).astype(dtype)
    return arrays


@pytest.mark.parametrize("shape", [(3, 2), (1, 1), (0, 2), (2, 0)])
def test_every_type_comes_back_as_it_went(echo: Model, shape: tuple[int, ...]) -> None:
    inputs = full(shape)
    outputs = echo.call("serving_default", inputs)
    assert outputs.keys() == {f"{name}_out" for name in TYPES}
    for name, array in inputs.items():
        assert outputs[f"{name}_out"].dtype == array.dtype
        np.testing.assert_array_equal(outputs[f"{name}_out"], array)


def test_arrays_need_not_be_contiguous(echo: Model) -> None:
    inputs = full((2, 3))
    inputs["float32"] = np.arange(6, dtype=np.float32).reshape(3, 2).T
    outputs = echo.call("serving_default", inputs, ["float32_out"])
    np.testing.assert_array_equal(outputs["float32_out"], [[0, 2, 4], [1, 3, 5]])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"x" * 22, b"x" * 23, b"\0", b""]))))
def test_strings_of_any_bytes_come_back(strings: Model, texts: list[bytes]) -> None:
    outputs = strings.call("serving_default", {"text": np.array([*texts, b""], dtype=object)})
    assert outputs["same"].tolist() == [*texts, b""]
    assert outputs["double"].tolist() == [text + text for text in [*texts, b""]]


def test_large_strings_come_back(strings: Model) -> None:
    text = bytes(range(256)) * 20_000
    outputs = strings.call("serving_default", {"text": [text, "é"]})
    assert outputs["same"].tolist() == [text, "é".encode()]


def test_plain_numbers_take_the_type_of_the_signature(exported: Path) -> None:
    with Model(exported) as model:
        outputs = model.call("serving_default", {"x": [[1, 2, 3]], "text": ["good"]})
    np.testing.assert_array_equal(outputs["y"], np.array([[6, 6]], np.float32))
    assert outputs["id"].tolist() == [1]


def test_it_agrees_with_tensorflow_in_python(exported: Path) -> None:
    inputs = {
        "x": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32),
        "text": np.array(["bad"] * 5),
    }
    theirs = tf.saved_model.load(str(exported)).signatures["serving_default"](
        **{name: tf.constant(value) for name, value in inputs.items()}
    )
    with Model(exported) as model:
        mine = model.call("serving_default", inputs)
    for name, value in theirs.items():
        np.testing.assert_array_equal(mine[name], value.numpy())


@pytest.mark.parametrize(
    ("inputs", "code", "message"),
    [
        ({"x": np.ones((1, 3), np.int64), "text": ["a"]}, 3, "to be float but int64 is provided"),
        ({"x": [[1.0]], "text": ["a"]}, 3, "Matrix size-incompatible"),
        ({"text": ["a"]}, 3, "must feed a value for placeholder"),
    ],
)
def test_failures_carry_tensorflows_code_and_message(
    exported: Path, inputs: dict[str, Any], code: int, message: str
) -> None:
    with Model(exported) as model, pytest.raises(RuntimeFailure, match=message) as caught:
        model.call("serving_default", inputs)
    assert caught.value.code == code


def test_unknown_names_are_errors(exported: Path) -> None:
    with Model(exported) as model:
        with pytest.raises(ExportError, match="no signature 'other'; it has serving_default"):
            model.call("other", {})
        with pytest.raises(ExportError, match="no input or output 'z'"):
            model.call("serving_default", {"z": 1})
        with pytest.raises(ExportError, match="no input or output 'w'"):
            model.call("serving_default", {}, ["w"])


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"saved_model\.pb cannot be read"):
        Model(tmp_path)


def test_a_closed_model_refuses_calls(exported: Path) -> None:
    model = Model(exported)
    model.close()
    model.close()
    with pytest.raises(ExportError, match="closed"):
        model.call("serving_default", {"x": [[1, 2, 3]], "text": ["good"]})


def test_threads_share_a_model(exported: Path) -> None:
    problems: list[Exception] = []

    def work(model: Model, seed: int) -> None:
        try:
            x = np.random.default_rng(seed).normal(size=(20, 3)).astype(np.float32)
            texts = [f"text {seed} {'x' * seed * 5}"] * 20
            for _ in range(30):
                outputs = model.call("serving_default", {"x": x, "text": texts})
                np.testing.assert_allclose(outputs["y"], np.repeat(x.sum(1, keepdims=True), 2, 1), atol=1e-5)
                assert outputs["echo"].tolist() == [texts[0].encode()] * 20
        except Exception as error:
            problems.append(error)

    with Model(exported) as model:
        threads = [threading.Thread(target=work, args=(model, seed)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not problems


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_memory_is_freed(strings: Model, exported: Path) -> None:
    texts = np.array([b"x" * 100_000] * 100, dtype=object)  # 10 MB in, 30 MB out
    strings.call("serving_default", {"text": texts})
    before = resident_megabytes()
    for _ in range(10):
        strings.call("serving_default", {"text": texts})
    for _ in range(5):
        Model(exported).close()
    gc.collect()
    assert not _capi._alive
    assert (
        resident_megabytes() - before < 200
    )  # A leak of the inputs alone would take 200, of the outputs 600.
