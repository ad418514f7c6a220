"""List-valued columns: several labels, tokens, and spans over a text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kerasft.data.schema import Field
from kerasft.data.values import MISSING, BadValue, as_string, check_encodes, is_missing, show

_SPANS = "write spans as [[start, end, type], ...]"


def read_labels(value: Any, field: Field, single: Callable[[Any], str]) -> list[str]:
    """Reads any number of classes, each once; `single` reads one of them."""
    if isinstance(value, (str, bytes)):
        text = as_string(value, "labels are a list")
        if field.classes is not None and text.strip() in field.classes:
            return [text.strip()]
        items = list_items(text, "labels", [s for s in field.separators if s in text][:1])
        items = [item for item in items if not isinstance(item, str) or item.strip()]
    else:
        items = list_items(value, "labels", ())
    return list(dict.fromkeys(single(item) for item in items))


def read_tokens(value: Any) -> list[str]:
    """Reads a list of strings that are not empty."""
    items = list_items(value, "tokens", (" ",))
    tokens = [item if type(item) is str else as_string(item, "a token is a string") for item in items]
    if not tokens:
        raise BadValue("is empty", "fill it in")
    for token in tokens:
        if not token:
            raise BadValue(f"holds an empty token in {show(tokens)}", "remove the token and its tag")
        if not token.isascii():
            check_encodes(token)
    return tokens


def read_strings(value: Any) -> list[str]:
    """Reads a list of any strings, which may be empty; one string alone is a list of one."""
    if is_missing(value):
        raise BadValue("has no value", "give an empty list where there is none")
    strings = [as_string(item, "a list of strings is expected") for item in list_items(value, "strings", ())]
    for string in strings:
        check_encodes(string)
    return strings


def list_items(value: Any, noun: str, separators: Sequence[str]) -> list[Any]:
    """A list from a list, from a JSON list in a cell, or from a string cut at the first separator."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return list(value.tolist())
    text = as_string(value, f"{noun} are a list of strings")
    if text.startswith("[") and text.endswith("]"):
        try:
            listed = json.loads(text)
        except ValueError:
            listed = None
        if isinstance(listed, list) and all(isinstance(item, str) for item in listed):
            return listed
    parts = text.split(separators[0]) if separators else [text]
    return [part for part in parts if part]


def read_spans(value: Any, single: Callable[[Any], str]) -> list[tuple[int, int, str]]:
    """Reads spans as (start, end, type); `single` reads a type."""
    if isinstance(value, (str, bytes)):
        text = as_string(value, "spans are a list")
        try:
            value = json.loads(text) if text.strip() else []
        except ValueError:
            raise BadValue(f"holds {show(text)}, which is not JSON", _SPANS) from None
    if is_missing(value):
        raise BadValue("has no value", "give an empty list where nothing is marked")
    spans = []
    for item in value if isinstance(value, (list, tuple, np.ndarray)) else [value]:
        if isinstance(item, dict):
            kind = next((item[key] for key in ("type", "label", "tag") if key in item), MISSING)
            item = (item.get("start"), item.get("end"), kind)
        if not isinstance(item, (list, tuple)) or len(item) != 3:
            raise BadValue(f"holds {show(item)}, which is no span", _SPANS)
        start, end, kind = item
        if not all(isinstance(at, (int, np.integer)) and not isinstance(at, bool) for at in (start, end)):
            raise BadValue(f"holds {show(item)}, whose offsets are no whole numbers", _SPANS)
        spans.append((int(start), int(end), single(kind)))
    return spans
