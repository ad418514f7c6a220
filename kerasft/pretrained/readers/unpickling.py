"""Pickles through a list of what they may name: nothing else is imported, called or built."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import IO, Any

from kerasft.errors import PretrainedError


class Unpickler(pickle.Unpickler):
    """An unpickler that knows some classes and functions by name, and refuses all others.

    Args:
        stream: The pickle.
        known: What stands for each name, such as ``"collections.OrderedDict"``.
        persistent: From a persistent id to its object; None refuses such ids.
        source: What an error calls the file.
    """

    def __init__(
        self,
        stream: IO[bytes],
        *,
        known: Mapping[str, Any],
        persistent: Callable[[Any], Any] | None = None,
        source: Any,
    ) -> None:
        super().__init__(stream)
        self._known, self._persistent, self._source = known, persistent, source

    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if wanted not in self._known:
            raise PretrainedError(
                f"{self._source} asks for {wanted}, which weights do not need: it was not run; get the file "
                "from a source that you trust, or save its tensors alone"
            )
        return self._known[wanted]

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise pickle.UnpicklingError("unexpected persistent id")
        return self._persistent(pid)

    def load(self) -> Any:
        """Returns the object.

        Raises:
            PretrainedError: The pickle names something unknown, is cut short, or is none.
        """
        try:
            return super().load()
        except PretrainedError:
            raise
        except Exception as error:  # damaged pickles raise whatever their operations meet
            raise PretrainedError(
                f"{self._source} is damaged, cut short or no file of weights ({error}); download it again"
            ) from error
