"""The pretrained model that a task starts from."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from kerasft import pretrained
from kerasft.errors import ConfigError
from kerasft.generation import CausalSizes
from kerasft.pretrained.converters.causal import open_causal
from kerasft.pretrained.converters.causal_folder import CausalFolder

_FILE = "origin.json"
_NAMES = ("smollm2",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """What a run keeps of it, so that it needs the folder no more.

    Attributes:
        name: What the config calls it.
        sizes: Those of its network.
        context: Most tokens that it can read at once, or was trained with; None: nobody knows.
        system: What its chat template has the system say where nobody does.
    """

    name: str
    sizes: CausalSizes
    context: int | None = None
    system: str

    @classmethod
    def find(cls, name: str) -> Origin:
        """Reads what a pretrained model says of itself, fetching it if need be.

        Raises:
            PretrainedError: it cannot be had, or is of a sort that is not known.
        """
        found = _open(name)
        return cls(name=name, sizes=found.sizes, context=found.context, system=found.system)

    def check_context(self, context: int) -> None:
        """Raises a `ConfigError` if it cannot read so many tokens."""
        if self.context is not None and context > self.context:
            raise ConfigError(
                f"context={context} is more than the {self.context} tokens that {self.name} can read at "
                "once; make it smaller"
            )

    def open(self) -> CausalFolder:
        """Returns the folder, for the tokenizer and the weights.

        Raises:
            PretrainedError: it cannot be had.
        """
        return _open(self.name)

    def save(self, folder: Path) -> None:
        """Writes what `load` reads."""
        (folder / _FILE).write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Origin:
        """Reads what `save` wrote.

        Raises:
            ConfigError: There is no such file, or it is another one.
        """
        try:
            record = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            return cls(**{**record, "sizes": CausalSizes(**record["sizes"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{folder / _FILE} cannot be read ({error!r})") from error


def _open(name: str) -> CausalFolder:
    return open_causal(pretrained.resolve(name, suggest=_NAMES))
