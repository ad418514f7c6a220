"""Going on with a run: what it was trained with, what the caller may change, and what not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import keras

from kerasft.config import parse
from kerasft.errors import ConfigError, TrainingError
from kerasft.training.adapters import LoRA
from kerasft.training.optimizers import descends
from kerasft.training.run import Run
from kerasft.training.schedules import Unfreeze, parse_unfreeze
from kerasft.training.state import TrainingState

if TYPE_CHECKING:
    from kerasft.task import Task

# These may differ between the two halves of a resumed run: they do not change what a step computes.
_FREE_TO_CHANGE = (
    "epochs",
    "checkpoint_every",
    "cache_memory_mb",
    "feature_cache",
    "monitor",
    "monitor_mode",
)

_OBJECTS = ("optimizer", "learning_rate")


def describe_run(task: Task, *, unfreeze: Unfreeze | None, data: str) -> dict[str, Any]:
    """Returns what run.json says of a training that starts now; `data` is the fingerprint of its rows."""
    freezing = task.freezing
    return {
        "task": task.name,
        "config": task.dump_config(),
        "frozen": freezing.positions(),
        "freeze": freezing.policy if _is_plain(freezing.policy) else None,
        "lora": freezing.lora.get_config() if freezing.lora else None,
        "unfreeze": str(unfreeze) if unfreeze else None,
        "data": data,
        "versions": {"keras": keras.__version__},
    }


def _is_plain(policy: Any) -> bool:
    parts = policy if isinstance(policy, (list, tuple)) else [policy]
    return all(isinstance(part, (str, int)) for part in parts)


class Resume:
    """What an earlier half of a training left in its run folder.

    Args:
        run: The folder.

    Attributes:
        manifest: What `describe_run` returned then.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.manifest = run.read()

    @classmethod
    def decide(cls, run: Run | None, resume: str) -> Resume | None:
        """Returns what to go on from, or None to start anew.

        Raises:
            ConfigError: `resume` is none of its three words.
            TrainingError: there must or must not be a run, or it cannot be trained on.
        """
        if resume not in ("auto", "must", "never"):
            raise ConfigError(f"resume: {resume!r} is none of 'auto', 'must', 'never'.")
        if run is not None and run.exists() and run.read().get("averaged"):
            raise TrainingError(
                f"{run.folder} holds the mean of other runs, which has no optimizer to go on with: name it "
                "as init_from, with another run_dir."
            )
        if run is not None and run.can_resume():
            if resume == "never":
                raise TrainingError(
                    f"resume='never', but {run.folder} already holds a run: choose another run_dir, "
                    "or delete it."
                )
            return cls(run)
        if resume == "must":
            where = f"{run.folder} holds no run with a checkpoint" if run else "there is no run_dir"
            raise TrainingError(f"resume='must', but {where} to go on from.")
        return None

    def prepare(self, task: Task, *, freeze: Any, unfreeze: Unfreeze | None) -> Unfreeze | None:
        """Makes a task what it was, up to the weights; returns the schedule of unfreezing that it had.

        Args:
            task: Its config may leave open (None) what the run learned.
            freeze: The policy that the caller asks for, or None.
            unfreeze: The schedule that the caller asks for, or None.

        Raises:
            TrainingError: the caller contradicts the run.
        """
        if task.name != self.manifest["task"]:
            self._refuse("task", self.manifest["task"], task.name)
        self._adopt_config(task)
        if freeze is None and task.models:
            freeze = task.freezing.policy
        restore_task(task, self._run, self.manifest)
        if freeze is not None:
            task.freeze(freeze)
            if task.freezing.positions() != self.manifest["frozen"]:
                self._refuse("freeze", self.manifest["freeze"] or "another policy", freeze)
        before = parse_unfreeze(self.manifest["unfreeze"])
        if unfreeze is not None and str(unfreeze) != str(before):
            self._refuse("unfreeze", self.manifest["unfreeze"], str(unfreeze))
        return before

    def check_data(self, fingerprint: str) -> None:
        """Raises when the rows are others than those that the run was trained on.

        Raises:
            TrainingError: they are.
        """
        if self.manifest["data"] != fingerprint:
            raise TrainingError(
                f"{self._run.folder} was trained on other data: give the same data to go on, or another "
                "run_dir to start anew."
            )

    def restore(self, task: Task, state: TrainingState) -> str:
        """Reads the latest checkpoint into `state`; returns a sentence about where it goes on, if it does."""
        epochs = task.config.training.epochs
        self._run.write({**self.manifest, "config": task.dump_config()})
        checkpoint = self._run.checkpoints.latest()
        if checkpoint is not None:
            state.restore(checkpoint)
        if state.stopped:
            return f"{self._run.folder} is complete: a callback ended it after epoch {state.epoch}"
        if state.epoch >= epochs:
            return f"{self._run.folder} is complete: it has {state.epoch} epochs; more go on from there"
        where = f"resuming {self._run.folder} at epoch {state.epoch + 1}, batch {state.batch + 1}"
        before = self.manifest["config"]["training"]["epochs"]
        if epochs != before and any(map(descends, state.optimizers)):
            where += f"; the learning rate now takes {epochs} epochs for its way down, not {before}"
        return where

    def _adopt_config(self, task: Task) -> None:
        now, then = task.dump_config(), self.manifest["config"]
        for key, before, value in _contradictions(now, then):
            if key.removeprefix("training.") not in _FREE_TO_CHANGE:
                self._refuse(key, before, value)
        free = {key: now["training"][key] for key in _FREE_TO_CHANGE if key in task.given}
        # The objects are those of the run, but their serialized form may have lost something.
        free |= {key: getattr(task.config.training, key) for key in _OBJECTS}
        task.config = parse(
            task.config_class, {**then, "training": {**then["training"], **free}}, where=task.name
        )

    def _refuse(self, what: str, before: Any, now: Any) -> NoReturn:
        raise TrainingError(
            f"{self._run.folder} was trained with {what}={before!r}, not {now!r}: give the same to go on, or "
            "another run_dir to start anew."
        )


def _contradictions(now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yields (dotted key, before, now) where the two differ and `now` does not leave it open by None."""
    for key, value in now.items():
        before = then.get(key)
        if isinstance(value, dict) and isinstance(before, dict) and key not in _OBJECTS:
            yield from ((f"{key}.{below}", *values) for below, *values in _contradictions(value, before))
        elif value is not None and key in then and value != before:
            yield key, before, value


def restore_task(task: Task, run: Run, manifest: Mapping[str, Any]) -> None:
    """Builds a task as a run left it, up to the weights."""
    task.notice = manifest.get("notice", "")
    if not task.models:
        task.load_assets(run.assets)
        task.build(pretrained=False)
    if manifest["lora"]:
        task.freeze(LoRA(**manifest["lora"]))
    task.freezing.restore(manifest["frozen"], policy=manifest["freeze"])
