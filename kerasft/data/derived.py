"""Sources made from the rows of another source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from kerasft.data.schema import CLASS_KINDS
from kerasft.data.source import Columns, Source, check_indices
from kerasft.data.tally import class_items


class Derived(Source):
    """Base of sources whose rows are those of another, some of their values changed while they are read.

    Override `take`, and whatever else differs: `fields` where a column is another one afterwards, or all that
    counts rows where there are not as many.

    Args:
        parent: The rows.

    Example:
        >>> from kerasft.data import Field, open_source
        >>> class Shouted(Derived):
        ...     def take(self, indices, columns=None):
        ...         found = self.parent.take(indices, columns)
        ...         return {**found, "text": [text.upper() for text in found["text"]]}
        >>> Shouted(open_source({"text": ["good", "bad"]}, fields=[Field(name="text")])).take([1])
        {'text': ['BAD']}
    """

    def __init__(self, parent: Source) -> None:
        self.parent = parent
        self.name, self.fields, self.notes = parent.name, parent.fields, parent.notes
        self.skipped, self.skip_examples = parent.skipped, parent.skip_examples

    def __len__(self) -> int:
        return len(self.parent)

    def where(self, index: int) -> str:
        return self.parent.where(index)

    def class_counts(self, name: str) -> dict[str, int]:
        return self.parent.class_counts(name)

    def classes(self, name: str) -> tuple[str, ...]:
        return self.parent.classes(name)

    def codes(self, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        return self.parent.codes(name)

    def fingerprint(self) -> str:
        return self.parent.fingerprint()

    def subset(self, indices: Sequence[int] | np.ndarray) -> Source:
        return Subset(self, indices)


class Subset(Derived):
    """Some rows of another source; see `Source.subset`."""

    def __init__(self, parent: Source, indices: Sequence[int] | np.ndarray) -> None:
        super().__init__(parent)
        self._indices = check_indices(indices, len(parent))

    def __len__(self) -> int:
        return len(self._indices)

    def take(self, indices: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> Columns:
        return self.parent.take(self._indices[check_indices(indices, len(self))], columns)

    def where(self, index: int) -> str:
        return self.parent.where(int(self._indices[check_indices([index], len(self))[0]]))

    def class_counts(self, name: str) -> dict[str, int]:
        field = self._class_field(name, *CLASS_KINDS)
        counts = dict.fromkeys(self.parent.class_counts(name), 0)
        if field.kind == "label":
            codes, classes = self.codes(name)
            counts.update(zip(classes, np.bincount(codes, minlength=len(classes)).tolist(), strict=True))
        else:
            for value in self.iterate(name):
                for item in class_items(field, value):
                    counts[item] += 1
        return {label: count for label, count in counts.items() if count or field.classes is not None}

    def codes(self, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        codes, classes = self.parent.codes(name)
        return codes[self._indices], classes

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(self.parent.fingerprint().encode(), digest_size=16)
        digest.update(self._indices.tobytes())
        return digest.hexdigest()

    def subset(self, indices: Sequence[int] | np.ndarray) -> Source:
        return Subset(self.parent, self._indices[check_indices(indices, len(self))])
