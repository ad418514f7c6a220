"""What the folder of a causal language model says of it."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasft.errors import ConfigError, PretrainedError
from kerasft.pretrained.converters.report import LoadReport

if TYPE_CHECKING:
    from kerasft.generation import ByteBpe, CausalLM, CausalSizes, SentencePieces


@dataclasses.dataclass(frozen=True, kw_only=True)
class CausalFolder(abc.ABC):
    """What a folder says of its model.

    Attributes:
        folder: The folder.
        sizes: Those of the network.
        context: Most tokens that it can read at once, or was trained with; None: it does not say.
        system: What its chat template has the system say where nobody does; nothing if it has none.
    """

    folder: Path
    sizes: CausalSizes
    context: int | None
    system: str

    @abc.abstractmethod
    def tokenizer(self) -> ByteBpe | SentencePieces:
        """Returns the tokenizer.

        Raises:
            PretrainedError: It is of a sort that is not known.
        """

    @abc.abstractmethod
    def load_weights(self, network: CausalLM) -> LoadReport:
        """Copies the weights into a network of these sizes.

        Raises:
            PretrainedError: Tensors are missing or have other shapes.
        """


def byte_pairs(folder: Path, record: dict[str, Any]) -> ByteBpe:
    """Returns the tokenizer with the arguments that were found in a folder.

    Raises:
        PretrainedError: They make none.
    """
    from kerasft.generation import ByteBpe

    try:
        return ByteBpe(**record)
    except ConfigError as error:
        raise PretrainedError(f"the tokenizer of {folder} cannot be used: {error}") from error


@contextlib.contextmanager
def needed(folder: Path) -> Iterator[None]:
    """Says what the files of a folder lack, when a key is looked up that is not there."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise PretrainedError(
            f"the model in {folder} does not say what is needed ({error}); download it again"
        ) from error
    except ConfigError as error:
        raise PretrainedError(f"the model in {folder} cannot be built: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        PretrainedError: There is none.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PretrainedError(f"{path} cannot be read ({error}); download it again") from error
    if not isinstance(record, dict):
        raise PretrainedError(f"{path} holds no JSON object; download it again")
    return record
