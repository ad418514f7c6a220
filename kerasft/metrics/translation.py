"""Scores of translations against references, by sacrebleu."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kerasft.errors import ConfigError

_HAN, _OTHERS = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]"), re.compile(r"[\u3040-\u30ff\u0e00-\u0eff]")
_LETTER = re.compile(r"\w")


def bleu(translations: Sequence[str], references: Sequence[str], *, tokenize: str = "auto") -> float:
    """Returns the BLEU of a set of translations, 0 to 100, cased.

    Source: Papineni et al., 2002, "BLEU"; Post, 2018, "A Call for Clarity in Reporting BLEU Scores".

    Args:
        translations: What was translated, untokenized.
        references: What it should be, one each.
        tokenize: A tokenizer of sacrebleu; "auto" is "13a", "zh" for Chinese, and "char" for Japanese, Thai
            and Lao, which have no spaces.

    Raises:
        ConfigError: sacrebleu is not installed, or the two differ in number.

    Example:
        >>> bleu(["a man walks a dog ."], ["a man walks a dog ."])
        100.0
    """
    metrics = _metrics(translations, references)
    tokenize = tokenizer_of(references) if tokenize == "auto" else tokenize
    score = metrics.BLEU(tokenize=tokenize).corpus_score(list(translations), [list(references)])
    return round(float(score.score), 6)


def chrf(translations: Sequence[str], references: Sequence[str]) -> float:
    """Returns the chrF2 of a set of translations, 0 to 100.

    Source: Popović, 2015, "chrF: character n-gram F-score for automatic MT evaluation".

    Args:
        translations: What was translated.
        references: What it should be, one each.

    Raises:
        ConfigError: sacrebleu is not installed, or the two differ in number.
    """
    score = _metrics(translations, references).CHRF().corpus_score(list(translations), [list(references)])
    return round(float(score.score), 6)


def sentence_chrf(translations: Sequence[str], references: Sequence[str]) -> list[float]:
    """Returns the chrF2 of each translation, which says more of a single one than BLEU does.

    Args:
        translations: What was translated.
        references: What it should be, one each.

    Raises:
        ConfigError: sacrebleu is not installed, or the two differ in number.
    """
    metric = _metrics(translations, references).CHRF()
    pairs = zip(translations, references, strict=True)
    return [float(metric.sentence_score(made, [wanted]).score) for made, wanted in pairs]


def tokenizer_of(texts: Sequence[str]) -> str:
    """Returns the tokenizer of sacrebleu that suits a language: "13a", "zh" or "char".

    Example:
        >>> tuple(tokenizer_of([text]) for text in ("二人の男が歩く。", "两个男人在走路。", "Zwei Männer"))
        ('char', 'zh', '13a')
    """
    text = "".join(texts[:1000])
    letters = max(1, len(_LETTER.findall(text)))
    if len(_OTHERS.findall(text)) > letters / 10:
        return "char"
    return "zh" if len(_HAN.findall(text)) > letters / 4 else "13a"


def _metrics(translations: Sequence[str], references: Sequence[str]) -> Any:
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise ConfigError("BLEU and chrF need sacrebleu: pip install 'kerasft[translation]'") from error
    if len(translations) != len(references):
        raise ConfigError(
            f"There are {len(translations)} translations and {len(references)} references: give one each."
        )
    return metrics
