"""BLEU and chrF are those of sacrebleu."""

from __future__ import annotations

import pytest
import sacrebleu

from kerasft.errors import ConfigError
from kerasft.metrics import bleu, chrf, sentence_chrf

MADE = ["The dog runs over the lawn.", "A cat drinks the milk.", "Nothing"]
WANTED = ["The dog runs across the lawn.", "A cat drinks milk.", "A man reads."]


def test_scores_are_those_of_sacrebleu() -> None:
    assert bleu(MADE, WANTED) == pytest.approx(sacrebleu.corpus_bleu(MADE, [WANTED]).score, abs=1e-5)
    assert chrf(MADE, WANTED) == pytest.approx(sacrebleu.corpus_chrf(MADE, [WANTED]).score, abs=1e-5)
    each = [sacrebleu.sentence_chrf(made, [wanted]).score for made, wanted in zip(MADE, WANTED, strict=True)]
    assert sentence_chrf(MADE, WANTED) == pytest.approx(each)


def test_case_counts() -> None:
    assert bleu([text.lower() for text in WANTED], WANTED) < 100.0 == bleu(WANTED, WANTED)


def test_languages_without_spaces_are_not_one_word_a_sentence() -> None:
    wanted = ["两个男人在城市的街道上走路。", "一只黑色的狗在草地上跑。"]
    made = ["两个女人在城市的街道上走路。", "一只黑色的狗在草地上跑。"]
    assert 50.0 < bleu(made, wanted) < 100.0
    assert bleu(made, wanted) == pytest.approx(
        sacrebleu.corpus_bleu(made, [wanted], tokenize="zh").score, abs=1e-5
    )
    assert bleu(made, wanted, tokenize="13a") < bleu(made, wanted)
    assert 50.0 < bleu(["二人の男が街の通りを歩く。"], ["二人の女が街の通りを歩く。"]) < 100.0


def test_each_translation_needs_a_reference() -> None:
    for score in (bleu, chrf, sentence_chrf):
        with pytest.raises(ConfigError, match="3 translations and 2 references"):
            score(MADE, WANTED[:2])
