"""The vocabularies of Hugging Face folders, read as data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasft.errors import PretrainedError
from kerasft.pretrained.converters.causal_folder import needed, read_json

# How the tokenizer.json of Llama 3 and of Qwen cut words.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_RULES = {_LLAMA3: "llama3", _LLAMA3.replace("{1,3}", ""): "qwen"}


def transformers_tokens(folder: Path, *, size: int) -> dict[str, Any]:
    """Returns the arguments of `ByteBpe` that a `tokenizer.json` stands for.

    Args:
        folder: Where it lies.
        size: Number of tokens of the network; ids that no piece has are special.

    Raises:
        PretrainedError: There is none, or it is of a sort that is not known.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise PretrainedError(f"{folder} has no tokenizer.json, which the tokenizer is read from")
    record = read_json(path)
    with needed(folder):
        model = record["model"]
        split = _split(record["pre_tokenizer"] or {})
        if model.get("type") != "BPE" or split is None:
            raise PretrainedError(
                f"the tokenizer of {folder} cuts text by a rule that is not known; byte-level BPE as of "
                "GPT-2, SmolLM, Llama 3 or Qwen is"
            )
        added = {token["id"]: token["content"] for token in record.get("added_tokens", ())}
        numbers = {**{number: token for token, number in model["vocab"].items()}, **added}
        merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
        if max(numbers) >= size:
            raise PretrainedError(
                f"the tokenizer of {folder} has {max(numbers) + 1} tokens and the network {size}; take both "
                "of one model"
            )
        unused = {number: f"<unused {number}>" for number in range(size) if number not in numbers}
        return {
            "tokens": [(numbers | unused)[number] for number in range(size)],
            "merges": merges,
            "split": split,
            "special": sorted({*added, *unused}),
        }


def _split(cuts: Mapping[str, Any]) -> str | None:
    """Returns the name of the rule for `ByteBpe`, None if it is another one."""
    steps = cuts["pretokenizers"] if cuts.get("type") == "Sequence" else [cuts]
    *before, last = steps
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        return None
    if last.get("use_regex", True):
        digits = [step.get("type") == "Digits" and bool(step.get("individual_digits")) for step in before]
        return {(): "gpt2", (True,): "smollm"}.get(tuple(digits))
    if len(before) != 1 or before[0].get("type") != "Split" or before[0].get("behavior") != "Isolated":
        return None
    return _RULES.get(before[0].get("pattern", {}).get("Regex"))
