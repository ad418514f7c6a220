"""The bundled messages are those of TensorFlow and TensorFlow Serving, and need neither."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
import tensorflow_serving.apis
import tensorflow_serving.config
from google.protobuf import descriptor_pb2, text_format
from grpc_health.v1 import health_pb2
from tensorflow_serving.apis import prediction_service_pb2

from kerasft.serving import protos

BUNDLED = {
    file.name: file
    for file in descriptor_pb2.FileDescriptorSet.FromString(
        Path(protos.__file__).with_name("messages.binpb").read_bytes()
    ).file
}


def official_files() -> Iterator[Any]:
    for package in (tensorflow_serving.apis, tensorflow_serving.config):
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.endswith("_pb2"):
                yield importlib.import_module(f"{package.__name__}.{module.name}").DESCRIPTOR
    yield health_pb2.DESCRIPTOR


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


def test_the_bundled_files_equal_those_of_the_official_packages() -> None:
    compared = set()
    for file in official_files():
        # The package for Python 3.10 is older, from before services could be listed.
        older = file.name == health_pb2.DESCRIPTOR.name and not hasattr(health_pb2, "HealthListRequest")
        if file.name in BUNDLED:
            assert older or BUNDLED[file.name].SerializeToString() == file.serialized_pb, file.name
            compared.add(file.name)
    own = {
        "tensorflow_serving/config/monitoring_config.proto",
        "tensorflow_serving/config/ssl_config.proto",
        "tensorflow_serving/servables/tensorflow/session_bundle_config.proto",
    }
    served = {name for name in BUNDLED if name.startswith(("tensorflow_serving/", "grpc_health/"))}
    assert served - compared == own


def test_the_methods_are_those_of_the_official_service() -> None:
    theirs = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"].methods
    ours = protos.methods(protos.PREDICTION_SERVICE)
    assert {
        method.name: (method.input_type.full_name, method.output_type.full_name) for method in theirs
    } == {
        name: (request.DESCRIPTOR.full_name, response.DESCRIPTOR.full_name)
        for name, (request, response) in ours.items()
    }


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            protos.BatchingParameters,
            "max_batch_size { value: 64 } batch_timeout_micros { value: 0 } max_enqueued_batches { value: 9 }"
            " num_batch_threads { value: 2 } thread_pool_name { value: 'pool' } allowed_batch_sizes: [1, 64] "
            "pad_variable_length_inputs: true",
        ),
        (
            protos.MonitoringConfig,
            "prometheus_config { enable: true path: '/monitoring/prometheus/metrics' }",
        ),
        (protos.SSLConfig, "server_key: 'k' server_cert: 'c' custom_ca: 'a' client_verify: false"),
        (
            protos.ModelServerConfig,
            "model_config_list { config { name: 'm' base_path: '/m' model_platform: 'tensorflow' "
            "model_version_policy { specific { versions: 1 versions: 2 } } "
            "version_labels { key: 'stable' value: 1 } } }",
        ),
    ],
    ids=lambda value: value.DESCRIPTOR.name if hasattr(value, "DESCRIPTOR") else "",
)
def test_configuration_files_are_read(message: Any, text: str) -> None:
    read = text_format.Parse(text, message())
    assert text_format.Parse(text_format.MessageToString(read), message()) == read
