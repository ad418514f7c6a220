"""Regenerates `messages.binpb`, the descriptors of TensorFlow Serving's API and of the SavedModel format.

    python -m kerasft.serving.protos.generate

The descriptors are read out of the source text of the generated modules of two wheels, `tensorflow`
(installed) and `tensorflow-serving-api` (downloaded by pip without its dependencies): nothing of them is
imported, so any version of protobuf will do.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import any_pb2, descriptor_pb2, wrappers_pb2

SERVING_API = "tensorflow-serving-api==2.21.0"
OUTPUT = Path(__file__).with_name("messages.binpb")
ROOTS = (
    "tensorflow/core/framework/kernel_def.proto",
    "tensorflow/core/framework/op_def.proto",
    "tensorflow/core/protobuf/config.proto",
    "tensorflow/core/protobuf/saved_model.proto",
    "tensorflow_serving/apis/get_model_metadata.proto",
    "tensorflow_serving/apis/get_model_status.proto",
    "tensorflow_serving/apis/model_service.proto",
    "tensorflow_serving/apis/prediction_log.proto",
    "tensorflow_serving/apis/prediction_service.proto",
)


def descriptors_in(source: str) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    """Yields the file descriptors that a generated `_pb2.py` module registers."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "AddSerializedFile":
            yield descriptor_pb2.FileDescriptorProto.FromString(ast.literal_eval(node.args[0]))


def available(tensorflow: Path, serving_wheel: Path) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """Indexes every descriptor of the two wheels and protobuf's own by the name of its `.proto` file."""
    sources = [path.read_text() for path in tensorflow.rglob("*_pb2.py")]
    with zipfile.ZipFile(serving_wheel) as wheel:
        sources += [wheel.read(name).decode() for name in wheel.namelist() if name.endswith("_pb2.py")]
    files = {file.name: file for source in sources for file in descriptors_in(source)}
    for module in (any_pb2, wrappers_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files[file.name] = file
    return files


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
    """Downloads the serving wheel and writes `messages.binpb` next to this file."""
    spec = importlib.util.find_spec("tensorflow")
    if spec is None or spec.origin is None:
        raise SystemExit("error: install tensorflow first: half of the messages are read from its wheel")
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", folder, SERVING_API]
        subprocess.run(pip, check=True)
        files = available(Path(spec.origin).parent, next(Path(folder).glob("*.whl")))
    chosen = closure(files, ROOTS)
    OUTPUT.write_bytes(chosen.SerializeToString(deterministic=True))
    print(f"wrote {OUTPUT}: {len(chosen.file)} files, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
