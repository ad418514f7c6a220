"""Regenerates `messages.binpb`, the descriptors of TensorFlow Serving's API and of the SavedModel format.

    python kerasft/serving/protos/generate.py

The descriptors are read out of the source text of the generated modules of three wheels, `tensorflow`
(installed), `tensorflow-serving-api` and `grpcio-health-checking` (downloaded by pip without their
dependencies): nothing of them is imported, so any version of protobuf will do. A few configuration files of
the server are in no wheel: their messages stand in `sources/` and are compiled.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf import any_pb2, descriptor_pb2, wrappers_pb2

WHEELS = ("tensorflow-serving-api==2.21.0", "grpcio-health-checking==1.85.1")
COMPILER = "grpcio-tools==1.85.1"
SOURCES = Path(__file__).with_name("sources")
OUTPUT = Path(__file__).with_name("messages.binpb")
ROOTS = (
    "grpc_health/v1/health.proto",
    "tensorflow/core/example/example.proto",
    "tensorflow/core/framework/kernel_def.proto",
    "tensorflow/core/framework/op_def.proto",
    "tensorflow/core/protobuf/config.proto",
    "tensorflow/core/protobuf/saved_model.proto",
    "tensorflow_serving/apis/get_model_metadata.proto",
    "tensorflow_serving/apis/get_model_status.proto",
    "tensorflow_serving/apis/model_service.proto",
    "tensorflow_serving/apis/prediction_log.proto",
    "tensorflow_serving/apis/prediction_service.proto",
    "tensorflow_serving/config/model_server_config.proto",
    "tensorflow_serving/config/monitoring_config.proto",
    "tensorflow_serving/config/ssl_config.proto",
    "tensorflow_serving/servables/tensorflow/session_bundle_config.proto",
)


def descriptors_in(source: str) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    """Yields the file descriptors that a generated `_pb2.py` module registers."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "AddSerializedFile":
            yield descriptor_pb2.FileDescriptorProto.FromString(ast.literal_eval(node.args[0]))


def available(tensorflow: Path, wheels: Iterable[Path]) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """Indexes every descriptor of the wheels and protobuf's own by the name of its `.proto` file."""
    sources = [path.read_text() for path in tensorflow.rglob("*_pb2.py")]
    for path in wheels:
        with zipfile.ZipFile(path) as wheel:
            sources += [wheel.read(name).decode() for name in wheel.namelist() if name.endswith("_pb2.py")]
    files = {file.name: file for source in sources for file in descriptors_in(source)}
    for module in (any_pb2, wrappers_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files[file.name] = file
    return files


def compiled(folder: Path) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """Compiles the files of `sources/` with a compiler that is installed into `folder`."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), COMPILER]
    subprocess.run(pip, check=True)
    names = [path.relative_to(SOURCES).as_posix() for path in sorted(SOURCES.rglob("*.proto"))]
    output = folder / "compiled.binpb"
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCES}", f"--descriptor_set_out={output}"]
    subprocess.run([*protoc, *names], check=True, env={**os.environ, "PYTHONPATH": str(folder)})
    return {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file}


def closure(
    files: dict[str, descriptor_pb2.FileDescriptorProto], roots: tuple[str, ...]
) -> descriptor_pb2.FileDescriptorSet:
    """Collects `roots` and all that they import, dependencies first."""
    result = descriptor_pb2.FileDescriptorSet()
    seen: set[str] = set()

    def add(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for dependency in files[name].dependency:
            add(dependency)
        result.file.append(files[name])

    for root in roots:
        add(root)
    return result


def main() -> None:
    """Downloads the wheels and writes `messages.binpb` next to this file."""
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        raise SystemExit("error: install tensorflow first: half of the messages are read from its wheel")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", name, *WHEELS]
        subprocess.run(pip, check=True)
        files = available(Path(spec.origin).parent, folder.glob("*.whl"))
        files.update(compiled(folder / "compiler"))
    chosen = closure(files, ROOTS)
    OUTPUT.write_bytes(chosen.SerializeToString(deterministic=True))
    print(f"wrote {OUTPUT}: {len(chosen.file)} files, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
