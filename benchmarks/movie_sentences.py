"""The sentences of SST-2 as people write them, and more sentences of the same kind from MR.

MR (rt-polarity) is where the treebank's sentences come from. It also has those that the treebank calls
neutral, which SST-2 leaves out; each is labelled by the review that it stands in.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

_RUN = 25
_MARKS = {"-lrb-": "(", "-rrb-": ")", "``": '"', "''": '"'}


def plain(text: str) -> str:
    """Returns a sentence without the treebank's split contractions, named brackets and accents encoded twice.

    >>> plain("it does n't -lrb- really -rrb- work")
    "it doesn't ( really ) work"
    """
    with contextlib.suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")
    for mark, sign in _MARKS.items():
        text = text.replace(mark, sign)
    text = re.sub(r" n't\b", "n't", text)
    return re.sub(r" '(s|re|ve|ll|d|m)\b", r"'\1", text)


def unseen(rows: Iterable[dict[str, Any]], others: Iterable[str]) -> list[dict[str, Any]]:
    """Returns the rows whose text shares no run of 25 letters with any of the others.

    Case, spaces, marks and accents do not count: the two data sets spell one sentence in different ways. A
    text shorter than that is compared as a whole.
    """
    known = {run for text in others for run in _runs(_letters(text))}
    return [row for row in rows if known.isdisjoint(_runs(_letters(row["text"])))]


def _letters(text: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", plain(text).lower())
    return re.sub(r"[^a-z0-9]", "", ascii_only)


def _runs(letters: str) -> Iterator[str]:
    for start in range(max(1, len(letters) - _RUN + 1)):
        yield letters[start : start + _RUN]
