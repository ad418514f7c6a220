"""The pairs that come with the plugin."""

from __future__ import annotations

import re

import pytest

from kerasft.errors import DataError
from kerasft_translation import phrases
from kerasft_translation.data import from_address, number_words


def test_pairs_are_always_the_same_and_no_text_has_two_translations() -> None:
    made = phrases()
    assert made == phrases()
    texts = [*made.train["en"], *made.test["en"]]
    assert len(texts) == len(set(texts)) == 8500
    assert all(
        re.fullmatch(r"[A-ZÄÖÜ0-9].*[.?]", text) for text in [*texts, *made.train["de"], *made.test["de"]]
    )


@pytest.mark.parametrize(
    ("number", "english", "german"),
    [
        (0, "zero", "null"),
        (1, "one", "eins"),
        (16, "sixteen", "sechzehn"),
        (21, "twenty-one", "einundzwanzig"),
        (30, "thirty", "dreißig"),
        (100, "one hundred", "einhundert"),
        (101, "one hundred and one", "einhunderteins"),
        (777, "seven hundred and seventy-seven", "siebenhundertsiebenundsiebzig"),
    ],
)
def test_numbers_in_words(number: int, english: str, german: str) -> None:
    assert number_words(number) == (english, german)


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("an old table", "einen alten Tisch"),
        ("the old table", "den alten Tisch"),
        ("a green lamp", "eine grüne Lampe"),
        ("the green lamp", "die grüne Lampe"),
        ("a big house", "ein großes Haus"),
        ("the big house", "das große Haus"),
        ("must paint", "malen."),
        ("Does the neighbour", " der Nachbar "),
        ("On Friday the girl", " das Mädchen "),
    ],
)
def test_the_grammar_agrees_in_gender_and_case(english: str, german: str) -> None:
    made = phrases().train
    found = [de for en, de in zip(made["en"], made["de"], strict=True) if english in en]
    assert found
    assert all(german in text for text in found)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(DataError, match="phrases:train, phrases:test"):
        from_address("phrases:dev")
