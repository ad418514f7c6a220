"""The fresh process behind `verify`: runs the checks without TensorFlow's Python or Keras.

python -m kerasft.export.worker VERSION_FOLDER RESULTS_FILE
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kerasft.errors import KerasftError
from kerasft.export import layout, lint, op_registry, replay, runtime
from kerasft.export.manifest import check_checksums
from kerasft.export.report import CHECKS, Check


class Checks:
    """The state that one check leaves for the next: the parsed graph, then the loaded model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta_graph: Any = None
        self.model: runtime.Model | None = None
        self.seen = replay.NotFinite()

    def run(self) -> Iterator[str | Check]:
        """Yields the name of each check before it starts and its result afterwards."""
        for name in CHECKS:
            yield name
            yield self._one(name)

    def _one(self, name: str) -> Check:
        needs_graph = name not in ("graph", "checksums")
        if needs_graph and self.meta_graph is None:
            return Check(name=name, ok=None, detail="needs a readable graph")
        if name in ("warmup", "agreement", "finite") and self.model is None:
            return Check(name=name, ok=None, detail="needs a loaded model")
        check: Callable[[], Check] = getattr(self, f"_{name}")
        try:
            result = check()
        except KerasftError as error:
            result = Check(name=name, ok=False, detail=str(error))
        return replace(result, detail=" ".join(result.detail.split()))  # TensorFlow's have many lines.

    def _graph(self) -> Check:
        self.meta_graph = layout.read_meta_graph(self.folder)
        version = self.meta_graph.meta_info_def.tensorflow_version
        return Check(name="graph", ok=True, detail=f"written by TensorFlow {version}")

    def _files(self) -> Check:
        missing = layout.missing_files(self.folder, self.meta_graph)
        if missing:
            return Check(
                name="files", ok=False, detail=f"missing: {', '.join(missing)}; copy the whole folder again"
            )
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return Check(name="files", ok=True, detail=f"{size / 1e6:.1f} MB")

    def _checksums(self) -> Check:
        return check_checksums(self.folder)

    def _signatures(self) -> Check:
        return lint.check_signatures(self.meta_graph)

    def _python(self) -> Check:
        return lint.check_python(self.meta_graph)

    def _xla(self) -> Check:
        return lint.check_xla(self.meta_graph)

    def _ops(self) -> Check:
        return lint.check_ops(self.meta_graph, op_registry.core_ops())

    def _kernels(self) -> Check:
        op_registry.load_extensions_for(op_registry.graph_ops(self.meta_graph))
        return lint.check_kernels(self.meta_graph, op_registry.op_defs(), op_registry.kernels())

    def _load(self) -> Check:
        start = time.perf_counter()
        self.model = runtime.Model(self.folder)
        if empty := self.model.uninitialized_variables():
            names = ", ".join(empty[:3]) + (f" and {len(empty) - 3} more" if len(empty) > 3 else "")
            cure = (
                "save Keras models with model.export(), or track tf.Variables, which for Keras weights are "
                "`weight.value`"
            )
            return Check(name="load", ok=False, detail=f"{names} have no value once loaded: {cure}")
        detail = f"TensorFlow {op_registry.version()} took it in {time.perf_counter() - start:.1f} s"
        return Check(name="load", ok=True, detail=detail)

    def _warmup(self) -> Check:
        assert self.model is not None
        return replay.replay_warmup(self.model, self.seen)

    def _agreement(self) -> Check:
        assert self.model is not None
        return replay.compare_expected(self.model, self.seen)

    def _finite(self) -> Check:
        return self.seen.check()


def main(folder: str, results: str) -> None:
    """Checks a version folder; `{"begin": name}` tells the parent which check a crash belongs to."""
    with open(results, "w", encoding="utf-8") as file:
        for step in Checks(Path(folder)).run():
            line = {"begin": step} if isinstance(step, str) else {"check": asdict(step)}
            file.write(json.dumps(line) + "\n")
            file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
