"""Checks that an exported model is fit to serve, in a fresh process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kerasft.export import layout, runtimes
from kerasft.export.report import CHECKS, Check, VerifyReport

_ROOT = Path(__file__).parents[2]


def verify(
    path: str | os.PathLike[str], *, runtime: str | None = None, timeout: float = 900.0
) -> VerifyReport:
    """Puts an exported model through every check of `kerasft.export.report.CHECKS`.

    The work is done by a new Python process that loads the model through TensorFlow's C++ loader, as
    TensorFlow Serving does, and imports neither Keras nor TensorFlow's Python; it sees no GPU. Models that
    kerasft did not export are welcome: what needs a manifest is then skipped.

    Args:
        path: A version folder, or a model's folder, of which the newest version is taken.
        runtime: Release of TensorFlow to load the model in, such as "2.20", which TensorFlow Serving runs; it
            is fetched the first time. None takes the installed one.
        timeout: Seconds before the process is stopped and the running check counted as failed.

    Returns:
        The report. A crash or hang of the process is a failed check.

    Raises:
        ConfigError: If there is no such release.
        ExportError: If there is no exported model at `path`.

    Example:
        >>> verify("saved_models/reviews").ok                                # doctest: +SKIP
        True
    """
    if Path(path).is_dir() and not layout.holds_model(Path(path)):
        detail = f"the folder holds neither {layout.GRAPH} nor a numbered version: export a model to it first"
        empty = Check(name="graph", ok=False, detail=detail)
        return VerifyReport(path=Path(path).absolute(), checks=_complete({"graph": empty}))
    folder = layout.version_folder(Path(path)).absolute()
    libraries = runtimes.environment(runtime) if runtime is not None else {}
    with tempfile.TemporaryDirectory(prefix="kerasft-verify-") as scratch:
        results, log = Path(scratch, "results.jsonl"), Path(scratch, "log")
        results.touch()
        ending = _run(folder, results, log, timeout, libraries)
        return VerifyReport(path=folder, checks=_collect(results, ending))


def _run(folder: Path, results: Path, log: Path, timeout: float, libraries: Mapping[str, str]) -> str:
    """Runs the worker and returns how it ended, in words, or an empty string if it ended well."""
    environment = {**os.environ, **libraries, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    inherited = [
        os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry
    ]
    environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *inherited])
    command = [sys.executable, "-m", "kerasft.export.worker", str(folder), str(results)]
    with log.open("wb") as output:
        # Not the user's working directory: modules in it would shadow those that the worker imports.
        process = subprocess.Popen(
            command,
            cwd=results.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return f"did not end within {timeout:g} s and was stopped"
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if code == 0:
        return ""
    lines = log.read_text(errors="replace").strip().splitlines()
    last = f" ({lines[-1].strip()[:300]})" if lines else ""
    if code < 0:
        return f"crashed the process with {signal.Signals(-code).name}{last}"
    return f"ended the process with exit code {code}{last}"


def _collect(results: Path, ending: str) -> tuple[Check, ...]:
    checks: dict[str, Check] = {}
    running = next(iter(CHECKS))
    for text in results.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # The process died while it wrote the last line.
            break
        if "begin" in line:
            running = line["begin"]
        else:
            checks[running] = Check(**line["check"])
    if ending:
        checks[running] = Check(
            name=running, ok=False, detail=f"the check {ending}; a server would fare the same"
        )
    return _complete(checks)


def _complete(checks: dict[str, Check]) -> tuple[Check, ...]:
    return tuple(checks.get(name) or Check(name=name, ok=None, detail="not reached") for name in CHECKS)
