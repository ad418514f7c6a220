"""The TFRecord files are TensorFlow's, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasft.errors import ExportError
from kerasft.export import warmup
from kerasft.serving.tensors import to_numpy

RECORDS = [b"", b"one", bytes(range(256)) * 50]


def test_tensorflow_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    warmup.write_records(path, RECORDS)
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(path))] == RECORDS


def test_what_tensorflow_writes_is_read(tmp_path: Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "file")) as writer:
        for record in RECORDS:
            writer.write(record)
    assert list(warmup.read_records(tmp_path / "file")) == RECORDS


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("records") / "file"
    warmup.write_records(path, [b"first record", b"second"])
    return path


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, 49), flip=st.integers(1, 255))
def test_any_flipped_byte_is_noticed(written: Path, position: int, flip: int) -> None:
    content = bytearray(written.read_bytes())
    assert len(content) == 50
    content[position] ^= flip
    damaged = written.with_name("damaged")
    damaged.write_bytes(content)
    with pytest.raises(ExportError, match="is damaged"):
        list(warmup.read_records(damaged))


@pytest.mark.parametrize("kept", [5, 11, 20, 27, 33, 49])
def test_a_file_cut_short_is_noticed(written: Path, kept: int) -> None:
    cut = written.with_name("cut")
    cut.write_bytes(written.read_bytes()[:kept])
    with pytest.raises(ExportError, match="is damaged"):
        list(warmup.read_records(cut))


def test_something_else_than_a_log_is_an_error(tmp_path: Path) -> None:
    warmup.write_records(tmp_path / "file", [b"\xff\xff"])
    with pytest.raises(ExportError, match=r"record 0 of .* is not a PredictionLog"):
        list(warmup.read_logs(tmp_path / "file"))


def test_logs_come_back(tmp_path: Path) -> None:
    log = warmup.predict_log("rank", {"user": ["u1"], "k": 3}, {"scores": np.float32([0.5])}, model="shop")
    warmup.write_logs(tmp_path / "file", [log])
    (read,) = warmup.read_logs(tmp_path / "file")
    assert read.WhichOneof("log_type") == "predict_log"
    request, response = read.predict_log.request, read.predict_log.response
    assert (request.model_spec.name, request.model_spec.signature_name) == ("shop", "rank")
    assert to_numpy(request.inputs["user"]).tolist() == [b"u1"]
    assert to_numpy(request.inputs["k"]).item() == 3
    assert to_numpy(response.outputs["scores"]).tolist() == [0.5]
