"""Tables that say, for every Unicode code point, where words break and what the code point becomes.

The tables are plain arrays, so the graph that uses them needs only `tf.gather`: no regular expression engine,
no Unicode library of the server, the same result everywhere.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

import numpy as np

OTHER, SPACE, SINGLE, DROP = 0, 1, 2, 3
"""Classes: part of a word; separates words; a word by itself (punctuation, Chinese); invisible."""

PAGE = 256
SEQUENCE = 1 << 21
"""Larger than any code point: tells a replacement sequence from a difference."""

_CODE_POINTS = 0x110000
_WITHOUT_MEANING = ("Cn", "Co", "Cs")

# The ideographs of the original BERT tokenizer, which reads each as a word.
_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
# Japanese writes no spaces either; its syllables are read one by one where the vocabulary is our own.
_KANA = ((0x3041, 0x3096), (0x30A1, 0x30FA), (0x31F0, 0x31FF), (0xFF66, 0xFF9D))
# Unicode's default ignorable code points, which NFKC case folding removes.
_IGNORABLE = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)


class Tables(NamedTuple):
    """Two-level tables over all code points: `classes[page_of[code // PAGE], code % PAGE]`.

    Attributes:
        page_of: int32 [pages]. The row of `classes` and `change` that a page of code points uses.
        classes: int32 [rows, PAGE]. One of OTHER, SPACE, SINGLE, DROP.
        change: int32 [rows, PAGE]. What to add to the code point; `-SEQUENCE - k` where the k-th sequence
            replaces it.
        sequences: int32 [n]. The code points of all sequences, end to end.
        sequence_splits: int32 [k + 1]. Where each sequence starts.
    """

    page_of: np.ndarray
    classes: np.ndarray
    change: np.ndarray
    sequences: np.ndarray
    sequence_splits: np.ndarray


@functools.cache
def build_tables(*, lowercase: bool, strip_accents: bool, split_symbols: bool) -> Tables:
    """Builds the tables for one way of normalising text.

    Args:
        lowercase: apply NFKC case folding ("Ａ" and "A" become "a", "ß" becomes "ss").
        strip_accents: decompose and drop the marks ("é" becomes "e").
        split_symbols: read each symbol (emoji, arrows) and each kana as a word; BERT does not.

    Returns:
        The tables. Built once for each combination in a process.
    """
    codes = [c for c in range(_CODE_POINTS) if unicodedata.category(chr(c)) not in _WITHOUT_MEANING]
    chars = [chr(c) for c in codes]
    bare = _stripped(chars) if strip_accents else chars
    folded = _folded(bare) if lowercase else bare

    classes = np.full(_CODE_POINTS, OTHER, np.int32)
    change = np.zeros(_CODE_POINTS, np.int32)
    sequences: list[int] = []
    splits = [0]
    for code, char, base, result in zip(codes, chars, bare, folded, strict=True):
        kind = _class(base, split_symbols) if base else DROP
        if kind == OTHER and not result:
            kind = DROP
        classes[code] = kind
        if result == char or kind in (SPACE, DROP):
            continue
        if len(result) == 1:
            change[code] = ord(result) - code
        else:
            change[code] = -SEQUENCE - (len(splits) - 1)
            sequences.extend(map(ord, result))
            splits.append(len(sequences))
    for low, high in _CJK + (_KANA if split_symbols else ()):
        classes[low : high + 1] = SINGLE
    page_of, classes, change = _paged(classes, change)
    return Tables(page_of, classes, change, np.array(sequences, np.int32), np.array(splits, np.int32))


def _stripped(chars: list[str]) -> list[str]:
    # "\n" composes with nothing, so one call decomposes every code point on its own.
    decomposed = _rejoin(unicodedata.normalize("NFD", "\n".join(chars)).split("\n"), chars)
    marks = {c for s in decomposed for c in s if unicodedata.category(c) == "Mn"}
    return ["".join(c for c in s if c not in marks) for s in decomposed]


def _folded(texts: list[str]) -> list[str]:
    joined = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", "\n".join(texts)).casefold())
    ignorable: dict[int, str | int | None] = {
        c: None for low, high in _IGNORABLE for c in range(low, high + 1)
    }
    return _rejoin(joined.translate(ignorable).split("\n"), texts)


def _rejoin(parts: list[str], chars: list[str]) -> list[str]:
    """Puts back "\\n" itself, which splitting turned into two empty parts."""
    newline = chars.index("\n")
    return [*parts[:newline], "\n", *parts[newline + 2 :]]


def _class(text: str, split_symbols: bool) -> int:
    char = text[0]
    category = unicodedata.category(char)
    if category in ("Cc", "Cf", "Zs", "Zl", "Zp"):
        return SPACE
    if category[0] == "P" or (char.isascii() and not char.isalnum()):
        return SINGLE
    if split_symbols and category[0] == "S":
        return SINGLE
    return OTHER


def _paged(classes: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    known: dict[bytes, int] = {}
    page_of = np.zeros(_CODE_POINTS // PAGE, np.int32)
    first_codes: list[int] = []
    for page, start in enumerate(range(0, _CODE_POINTS, PAGE)):
        content = classes[start : start + PAGE].tobytes() + change[start : start + PAGE].tobytes()
        page_of[page] = known.setdefault(content, len(known))
        if page_of[page] == len(first_codes):
            first_codes.append(start)
    rows = np.array(first_codes)[:, None] + np.arange(PAGE)
    return page_of, classes[rows], change[rows]
