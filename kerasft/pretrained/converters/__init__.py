"""From a folder of weights to a Keras backbone.

A converter is a module that answers the functions of `Converter`. `converter_of` picks the one for a folder;
`build` rebuilds a model from its architecture alone, so that a saved run needs neither the folder nor a
network.

Example:
    ```python
    folder = kerasft.pretrained.resolve("minilm")
    converter = converter_of(folder)
    architecture = converter.architecture(folder)  # goes into the run folder as JSON
    backbone = build(architecture, dropout=0.1)
    converter.load_weights(backbone, folder)  # fresh runs only
    ```
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters import bert, hub
from kerasft.pretrained.converters.report import LoadReport

__all__ = ["Converter", "LoadReport", "bert", "build", "converter_of", "hub"]


class Converter(Protocol):
    """What a converter module offers."""

    KIND: str

    def matches(self, folder: Path) -> bool:
        """Says whether the folder is for this converter."""

    def architecture(self, folder: Path) -> dict[str, Any]:
        """Returns what `build` needs, JSON-able, with ``"kind"``."""

    def build(
        self,
        architecture: Mapping[str, Any],
        *,
        dropout: float | None = None,
        name: str = "backbone",
        dtype: Any = None,
    ) -> Any:
        """Builds the model with random weights."""

    def load_weights(self, backbone: Any, folder: Path) -> LoadReport:
        """Copies the folder's weights into the model."""

    def vocabulary(self, folder: Path) -> list[str]:
        """Returns the WordPiece vocabulary."""

    def lowercase(self, folder: Path) -> bool:
        """Says whether the tokenizer lower-cases."""

    def strip_accents(self, folder: Path) -> bool:
        """Says whether the tokenizer strips accents."""


_CONVERTERS: tuple[Converter, ...] = (bert, hub)  # the first that matches wins


def converter_of(folder: Path) -> Converter:
    """Returns the converter for a folder.

    Args:
        folder: What `kerasft.pretrained.resolve` returned.

    Raises:
        PretrainedError: No converter knows what is in the folder.
    """
    for converter in _CONVERTERS:
        if converter.matches(folder):
            return converter
    raise PretrainedError(
        f"{folder} holds no model that can be converted: it needs a config.json (a Hugging Face BERT "
        "folder or a KerasHub preset)"
    )


def build(
    architecture: Mapping[str, Any],
    *,
    dropout: float | None = None,
    name: str = "backbone",
    dtype: Any = None,
) -> Any:
    """Builds the model of an architecture, with random weights, without its folder.

    Args:
        architecture: What a converter's ``architecture`` returned.
        dropout: Dropout rate instead of the architecture's.
        name: Name of the model.
        dtype: Keras dtype policy; the global one by default.

    Raises:
        PretrainedError: The architecture's kind is not known.
    """
    for converter in _CONVERTERS:
        if architecture.get("kind") == converter.KIND:
            return converter.build(architecture, dropout=dropout, name=name, dtype=dtype)
    known = ", ".join(converter.KIND for converter in _CONVERTERS)
    raise PretrainedError(
        f'no converter builds architectures of kind "{architecture.get("kind")}"; known are: {known}'
    )
