"""The bundled messages are those of TensorFlow and TensorFlow Serving, and need neither."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tensorflow as tf

from kerasft.serving import protos


@pytest.mark.parametrize(
    "module",
    [
        "kerasft.serving.client",
        "kerasft.serving.protos",
        "kerasft.serving.server",
        "kerasft.export",
        "kerasft.export.runtime",
    ],
)
def test_importing_it_imports_neither_tensorflow_nor_keras(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'tensorflow', 'keras'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_graphs_mean_the_same_to_tensorflow() -> None:
    with tf.Graph().as_default() as graph:
        tf.constant([1.0, 2.0], name="numbers")
        theirs = tf.compat.v1.train.export_meta_graph(graph=graph)
    ours = protos.MetaGraphDef.FromString(theirs.SerializeToString())
    assert [node.name for node in ours.graph_def.node] == ["numbers"]
    assert ours.meta_info_def.tensorflow_version == tf.__version__
    assert type(theirs).FromString(ours.SerializeToString()) == theirs


def test_both_can_live_in_one_process() -> None:
    from tensorflow.core.framework import tensor_pb2

    assert protos.TensorProto.DESCRIPTOR.full_name == tensor_pb2.TensorProto.DESCRIPTOR.full_name
    assert protos.TensorProto is not tensor_pb2.TensorProto
