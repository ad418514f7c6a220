"""Pairs of English and German that a small grammar makes: numbers, dates, times and simple sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kerasft.errors import DataError

PREFIX = "phrases:"
"""What an address of these pairs starts with: `phrases:train`, `phrases:test`."""

_PARTS = {"train": (0, 8000), "test": (8000, 8500)}

_DAYS = {
    "Monday": "Montag",
    "Tuesday": "Dienstag",
    "Wednesday": "Mittwoch",
    "Thursday": "Donnerstag",
    "Friday": "Freitag",
    "Saturday": "Samstag",
    "Sunday": "Sonntag",
}
_MONTHS = {
    "January": "Januar",
    "February": "Februar",
    "March": "März",
    "April": "April",
    "May": "Mai",
    "June": "Juni",
    "July": "Juli",
    "August": "August",
    "September": "September",
    "October": "Oktober",
    "November": "November",
    "December": "Dezember",
}
# English: German with the gender that its articles and adjectives show.
_PEOPLE = {
    "doctor": ("Arzt", "m"),
    "neighbour": ("Nachbar", "m"),
    "gardener": ("Gärtner", "m"),
    "baker": ("Bäcker", "m"),
    "woman": ("Frau", "f"),
    "nurse": ("Krankenschwester", "f"),
    "aunt": ("Tante", "f"),
    "child": ("Kind", "n"),
    "girl": ("Mädchen", "n"),
}
_THINGS = {
    "table": ("Tisch", "m"),
    "apple": ("Apfel", "m"),
    "coat": ("Mantel", "m"),
    "chair": ("Stuhl", "m"),
    "lamp": ("Lampe", "f"),
    "cup": ("Tasse", "f"),
    "flower": ("Blume", "f"),
    "clock": ("Uhr", "f"),
    "book": ("Buch", "n"),
    "bicycle": ("Fahrrad", "n"),
    "house": ("Haus", "n"),
    "picture": ("Bild", "n"),
}
_ADJECTIVES = {
    "red": "rot",
    "green": "grün",
    "old": "alt",
    "new": "neu",
    "small": "klein",
    "big": "groß",
    "beautiful": "schön",
    "cheap": "billig",
}
# English base form: third person, German third person, German infinitive.
_VERBS = {
    "buy": ("buys", "kauft", "kaufen"),
    "see": ("sees", "sieht", "sehen"),
    "paint": ("paints", "malt", "malen"),
    "find": ("finds", "findet", "finden"),
    "bring": ("brings", "bringt", "bringen"),
    "sell": ("sells", "verkauft", "verkaufen"),
    "need": ("needs", "braucht", "brauchen"),
    "look for": ("looks for", "sucht", "suchen"),
}
_MODALS = {"can": "kann", "must": "muss", "wants to": "will"}
_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_EINS = (
    *("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf"),
    *("zwölf", "dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn"),
)
_ZEHNER = ("zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")
_DER = {
    "nominative": {"m": "der", "f": "die", "n": "das"},
    "accusative": {"m": "den", "f": "die", "n": "das"},
}
_EIN = {"m": "einen", "f": "eine", "n": "ein"}
_STRONG = {"m": "en", "f": "e", "n": "es"}
_WEAK = {"m": "en", "f": "e", "n": "e"}


class Phrases(NamedTuple):
    """Pairs to learn from and pairs to test with, which are others.

    Attributes:
        train: Columns "en" and "de", 8,000 pairs.
        test: Columns "en" and "de", 500 pairs.
    """

    train: dict[str, list[str]]
    test: dict[str, list[str]]


def phrases() -> Phrases:
    """Makes 8,500 different pairs of English and German, always the same ones.

    Example:
        >>> made = phrases()
        >>> len(made.train["en"]), len(set(made.train["en"]) & set(made.test["en"]))
        (8000, 0)
    """
    generator = np.random.default_rng(7)
    made: dict[str, str] = {}
    while len(made) < max(end for _, end in _PARTS.values()):
        english, german = _KINDS[generator.choice(len(_KINDS), p=_SHARES)](generator)
        made.setdefault(english, german)
    rows = list(made.items())
    parts = {
        name: {"en": [row[0] for row in rows[start:end]], "de": [row[1] for row in rows[start:end]]}
        for name, (start, end) in _PARTS.items()
    }
    return Phrases(**parts)


def from_address(address: str) -> dict[str, list[str]]:
    """Returns the pairs of an address, columns "en" and "de".

    Raises:
        DataError: There is no such part.

    Example:
        >>> len(from_address("phrases:test")["de"])
        500
    """
    part = address.removeprefix(PREFIX)
    if part not in _PARTS:
        raise DataError(
            f"{address!r} names no pairs; there are {', '.join(PREFIX + name for name in _PARTS)}"
        )
    return getattr(phrases(), part)


def number_words(number: int) -> tuple[str, str]:
    """Returns a number from 0 to 999 in English and German words.

    Example:
        >>> number_words(321)
        ('three hundred and twenty-one', 'dreihunderteinundzwanzig')
    """
    if number < 20:
        return _ONES[number], _EINS[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        english, german = _TENS[tens - 2], _ZEHNER[tens - 2]
        if not ones:
            return english, german
        return f"{english}-{_ONES[ones]}", f"{_compound(ones)}und{german}"
    hundreds, rest = divmod(number, 100)
    english, german = f"{_ONES[hundreds]} hundred", f"{_compound(hundreds)}hundert"
    if not rest:
        return english, german
    more = number_words(rest)
    return f"{english} and {more[0]}", german + more[1]


def _compound(digit: int) -> str:
    return "ein" if digit == 1 else _EINS[digit]


def _pick(generator: np.random.Generator, table: dict) -> tuple:
    key = list(table)[generator.integers(len(table))]
    return key, table[key]


def _number(generator: np.random.Generator) -> tuple[str, str]:
    english, german = number_words(int(generator.integers(1000)))
    return f"{english}.".capitalize(), f"{german}.".capitalize()


def _date(generator: np.random.Generator) -> tuple[str, str]:
    (day, tag), (month, monat) = _pick(generator, _DAYS), _pick(generator, _MONTHS)
    number, year = int(generator.integers(1, 29)), int(generator.integers(1950, 2050))
    return f"It is {day}, {month} {number}, {year}.", f"Es ist {tag}, der {number}. {monat} {year}."


def _time(generator: np.random.Generator) -> tuple[str, str]:
    hour, minute = int(generator.integers(24)), int(generator.integers(60))
    (day, tag) = _pick(generator, _DAYS)
    clock = f"{hour}:{minute:02}"
    return f"The train leaves on {day} at {clock}.", f"Der Zug fährt am {tag} um {clock} Uhr ab."


def _someone(generator: np.random.Generator) -> tuple[str, str]:
    english, (german, gender) = _pick(generator, _PEOPLE)
    return f"the {english}", f"{_DER['nominative'][gender]} {german}"


def _something(generator: np.random.Generator) -> tuple[str, str]:
    english, (german, gender) = _pick(generator, _THINGS)
    adjective, stem = _pick(generator, _ADJECTIVES)
    if generator.random() < 0.5:
        return f"the {adjective} {english}", f"{_DER['accusative'][gender]} {stem}{_WEAK[gender]} {german}"
    article = "an" if adjective[0] in "aeiou" else "a"
    return f"{article} {adjective} {english}", f"{_EIN[gender]} {stem}{_STRONG[gender]} {german}"


def _sentence(generator: np.random.Generator) -> tuple[str, str]:
    (who, wer), (what, was) = _someone(generator), _something(generator)
    base, (verb, sagt, infinitive) = _pick(generator, _VERBS)
    forms: list[Callable[[], tuple[str, str]]] = [
        lambda: (f"{who} {verb} {what}.", f"{wer} {sagt} {was}."),
        lambda: (f"Does {who} {base} {what}?", f"{sagt} {wer} {was}?"),
        lambda: (f"{who} does not {base} {what}.", f"{wer} {sagt} {was} nicht."),
        lambda: _on_a_day(generator, (who, wer), (what, was), (verb, sagt)),
        lambda: _modal(generator, (who, wer), (what, was), (base, infinitive)),
    ]
    english, german = forms[generator.integers(len(forms))]()
    return english[0].upper() + english[1:], german[0].upper() + german[1:]


def _on_a_day(
    generator: np.random.Generator, who: tuple[str, str], what: tuple[str, str], verb: tuple[str, str]
) -> tuple[str, str]:
    # The German verb stays second, so the sentence turns around.
    day, tag = _pick(generator, _DAYS)
    return f"On {day} {who[0]} {verb[0]} {what[0]}.", f"Am {tag} {verb[1]} {who[1]} {what[1]}."


def _modal(
    generator: np.random.Generator, who: tuple[str, str], what: tuple[str, str], verb: tuple[str, str]
) -> tuple[str, str]:
    modal, modus = _pick(generator, _MODALS)
    return f"{who[0]} {modal} {verb[0]} {what[0]}.", f"{who[1]} {modus} {what[1]} {verb[1]}."


_KINDS = (_number, _date, _time, _sentence)
_SHARES = (0.06, 0.17, 0.17, 0.6)
