"""What all inputs share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import tensorflow as tf

from kerasft.data import Field, Source
from kerasft.errors import DataError
from kerasft.training import Augmentation
from kerasft_video.config import VideoConfig
from kerasft_video.models import Network
from kerasft_video.views import Views


class Input:
    """One sort of input.

    Args:
        config: Of the task.
    """

    column: ClassVar[str]
    """Name of the column, of the feature and of the input of the model."""
    missing: ClassVar[str]
    """What to say when the data has no such column."""

    def __init__(self, config: VideoConfig) -> None:
        self.config = config

    @property
    def views(self) -> int:
        """How many examples are made of a row."""
        return 1

    def fields(self) -> tuple[Field, ...]:
        """Returns the columns that it is read from."""
        raise NotImplementedError

    def open_data(self, data: Any, *, target: str) -> Any:
        """Returns data as `kerasft.data.open_source` takes it."""
        raise NotImplementedError

    def default_data(self, split: Literal["train", "test"]) -> Any:
        """Returns data for whoever gives none."""
        return None

    def adapt(self, source: Source) -> None:
        """Learns from the training data what the network needs to know."""

    def learned(self) -> dict[str, Any]:
        """Returns what `adapt` learned, as values that survive JSON."""
        return {}

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Takes what `learned` returned."""

    def made(self, value: Any, where: str) -> np.ndarray:
        """Returns the examples of a value of the column, `[views, ...]`.

        Args:
            value: Of the column.
            where: Its place, for a message.

        Raises:
            DataError: It is no such value.
        """
        raise NotImplementedError

    def network(self) -> Network:
        """Builds the network."""
        raise NotImplementedError

    def augmentation(self) -> Augmentation | None:
        """Returns how training examples are changed at random."""
        return None

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Turns raw columns into the feature."""
        raise NotImplementedError

    def request(self, rows: dict[str, Any], *, signature: str) -> dict[str, Any]:
        """Turns rows of data into the inputs of a signature."""
        raise NotImplementedError

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        """Returns signature name to input name to `tf.TensorSpec`."""
        raise NotImplementedError

    def example(self, count: int) -> dict[str, list[Any]]:
        """Returns the columns of a few rows."""
        raise NotImplementedError

    def arrange(self, source: Source) -> Source:
        """Returns a source of examples.

        Raises:
            DataError: The data has no such column.
        """
        self.check(source)
        return Views(
            source,
            column=self.column,
            views=self.views,
            make=lambda value, row: self.made(value, source.where(row)),
        )

    def check(self, source: Source) -> None:
        """Refuses data without the column.

        Raises:
            DataError: It is missing.
        """
        if self.column not in source.columns:
            raise DataError(f"{source.name}: {self.missing}")
