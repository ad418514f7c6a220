"""The vocabularies of KerasHub presets, read as data.

Text is cut into words as each model was trained; KerasHub itself cuts all of them by the rule of Llama 3,
which for GPT-2 differs in runs of new lines, for Qwen in numbers and for BLOOM in punctuation.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasft.errors import ConfigError, PretrainedError
from kerasft.pretrained.converters.causal_folder import byte_pairs, needed, read_json
from kerasft.pretrained.converters.transformers_tokens import transformers_tokens

if TYPE_CHECKING:
    from kerasft.generation import ByteBpe, SentencePieces

_SPLITS = {
    "GPT2Tokenizer": "gpt2",
    "OPTTokenizer": "gpt2",
    "GPTNeoXTokenizer": "gpt2",
    "FalconTokenizer": "gpt2",  # as KerasHub's only Falcon has it, falcon-rw-1b
    "BloomTokenizer": "bloom",
    "Llama3Tokenizer": "llama3",
    "SmolLM3Tokenizer": "llama3",
    "QwenTokenizer": "qwen",
    "Qwen3Tokenizer": "qwen",
    "QwenMoeTokenizer": "qwen",
    "Qwen3MoeTokenizer": "qwen",
}
_PIECES = (
    *("LlamaTokenizer", "MistralTokenizer", "MixtralTokenizer"),
    *("GemmaTokenizer", "Gemma3Tokenizer", "Phi3Tokenizer"),
)
# Pieces that SentencePiece would find in a text too.
_PHI3 = ("endoftext", "system", "user", "assistant", "end", "data", *(f"placeholder{n}" for n in range(1, 7)))
_MARKS = (
    *("<start_of_turn>", "<end_of_turn>", "<mask>", "<|im_start|>", "<|im_end|>"),
    *(f"<|{name}|>" for name in _PHI3),
)


def read_tokenizer(folder: Path, *, size: int) -> ByteBpe | SentencePieces:
    """Returns the tokenizer of a preset, or of a Hugging Face folder.

    Args:
        folder: The folder.
        size: Number of tokens of the network.

    Raises:
        PretrainedError: It has no tokenizer, or one that is not known.
    """
    record = _config(folder)
    if "class_name" not in record:
        return _transformers(folder, size=size)
    kind = record["class_name"]
    if kind in _PIECES:
        return _pieces(_asset(folder, "vocabulary.spm"), size=size)
    if kind in _SPLITS:
        return byte_pairs(folder, {**_pairs(folder, size=size), "split": _SPLITS[kind]})
    raise PretrainedError(
        f"the tokenizer of {folder} is a {kind}; of KerasHub's {', '.join((*_SPLITS, *_PIECES))} are known"
    )


def _transformers(folder: Path, *, size: int) -> ByteBpe | SentencePieces:
    path = folder / "tokenizer.model"
    if path.is_file():
        return _pieces(path, size=size)
    return byte_pairs(folder, transformers_tokens(folder, size=size))


def _pieces(path: Path, *, size: int) -> SentencePieces:
    from kerasft.generation import SentencePieces

    try:
        return SentencePieces(path.read_bytes(), size=size, special=_MARKS)
    except (OSError, ConfigError) as error:
        raise PretrainedError(f"the tokenizer {path} cannot be used: {error}") from error


def _pairs(folder: Path, *, size: int) -> dict[str, Any]:
    from kerasft.generation import byte_alphabet

    vocabulary = read_json(_asset(folder, "vocabulary.json"))
    merges = _lines(_asset(folder, "merges.txt"))
    with needed(folder):
        pieces = {number: piece for piece, number in vocabulary.items()}
        if max(pieces) >= size:
            raise PretrainedError(
                f"the tokenizer of {folder} has {max(pieces) + 1} tokens and the network {size}; save both "
                "of one model"
            )
        made = {*byte_alphabet(), *(pair.replace(" ", "") for pair in merges)}
    # Special is what neither a byte nor a merge makes, and what the network has beside the vocabulary.
    tokens = [pieces.get(number, f"<unused {number}>") for number in range(size)]
    special = [number for number, token in enumerate(tokens) if token not in made]
    return {"tokens": tokens, "merges": merges, "special": special}


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise PretrainedError(
            f"{folder} has no tokenizer.json; save the tokenizer beside the backbone "
            "(tokenizer.save_to_preset)"
        )
    return read_json(path)


def _asset(folder: Path, name: str) -> Path:
    # Presets of before KerasHub 0.16 keep them another way.
    places = [folder / "assets" / "tokenizer" / name, folder / name]
    for path in places:
        if path.is_file():
            return path
    raise PretrainedError(f"{folder} has no {places[0].relative_to(folder)}; download it again")


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise PretrainedError(f"{path} cannot be read ({error}); download it again") from error
    return [line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version:")]
