"""What lies where in a folder of SavedModel versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from kerasft.errors import ExportError
from kerasft.serving import protos

GRAPH = "saved_model.pb"
WARMUP = "assets.extra/tf_serving_warmup_requests"
MANIFEST = "assets.extra/kerasft/manifest.json"
EXPECTED = "assets.extra/kerasft/expected_predictions"
DEFAULT_SIGNATURE = "serving_default"
MAX_VERSION = 2**63 - 1


def is_version(name: str) -> bool:
    """Tells whether TensorFlow Serving would take a folder of this name for a version."""
    return name.isascii() and name.isdecimal() and int(name) <= MAX_VERSION


def versions(folder: Path) -> dict[int, Path]:
    """Returns the version folders in `folder` by number, oldest first, as a server would see them."""
    if not folder.is_dir():
        return {}
    found = {
        int(child.name): child for child in folder.iterdir() if is_version(child.name) and child.is_dir()
    }
    return dict(sorted(found.items()))


def holds_model(path: Path) -> bool:
    """Tells whether a folder is a version folder, or holds one."""
    return (path / GRAPH).is_file() or bool(versions(path))


def version_folder(path: Path) -> Path:
    """Resolves a model folder to its newest version; a version folder stays itself.

    Raises:
        ExportError: If `path` is neither.
    """
    if (path / GRAPH).is_file():
        return path
    if path.is_file():
        raise ExportError(f"no exported model at {path}: it is a file; give the folder that holds it")
    if not path.is_dir():
        raise ExportError(f"no exported model at {path}: the folder does not exist")
    numbered = versions(path)
    if not numbered:
        raise ExportError(
            f"no exported model at {path}: it holds neither {GRAPH} nor a numbered version folder"
        )
    return numbered[max(numbered)]


def signatures(meta_graph: Any) -> dict[str, Any]:
    """Returns the public signatures of a MetaGraphDef; the loader's own start with two underscores."""
    return {name: s for name, s in sorted(meta_graph.signature_def.items()) if not name.startswith("__")}


def read_meta_graph(folder: Path) -> Any:
    """Parses the MetaGraphDef tagged `serve`, the one that TensorFlow Serving loads.

    Raises:
        ExportError: If there is no readable graph with that tag.
    """
    path = folder / GRAPH
    try:
        saved_model = protos.SavedModel.FromString(path.read_bytes())
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise ExportError(f"{path} is not a SavedModel, or was cut short; export it again") from error
    for meta_graph in saved_model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == {"serve"}:
            return meta_graph
    tags = [sorted(meta_graph.meta_info_def.tags) for meta_graph in saved_model.meta_graphs]
    raise ExportError(
        f"{path} has no graph tagged 'serve' (tags found: {tags}), so TensorFlow Serving cannot load it"
    )


def missing_files(folder: Path, meta_graph: Any) -> list[str]:
    """Returns the files that the graph needs and the folder lacks, as relative paths."""
    needed = [f"assets/{asset.filename}" for asset in meta_graph.asset_file_def]
    if any(node.op in ("VarHandleOp", "VariableV2") for node in meta_graph.graph_def.node):
        needed.append("variables/variables.index")
        if not list(folder.glob("variables/variables.data-*")):
            needed.append("variables/variables.data-00000-of-00001")
    return [name for name in needed if not (folder / name).is_file()]
