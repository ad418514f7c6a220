"""Conversations with a small restaurant that a grammar makes: tables, prices, opening hours."""

from __future__ import annotations

import numpy as np

from kerasft.errors import DataError

PREFIX = "restaurant:"
"""What an address of these conversations starts with: `restaurant:train`, `restaurant:test`."""

_PARTS = {"train": (0, 1500), "test": (1500, 1650)}

_DAYS = ("Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PEOPLE = ("two", "three", "four", "five", "six", "seven", "eight")
_TIMES = ("noon", "half past twelve", "one", "six", "half past six", "seven", "half past seven", "eight")
_HOURS = {
    "Tuesday": "from noon to nine",
    "Wednesday": "from noon to nine",
    "Thursday": "from noon to ten",
    "Friday": "from noon to eleven",
    "Saturday": "from ten to eleven",
    "Sunday": "from ten to six",
}
_PRICES = {
    "soup": 6,
    "salad": 8,
    "bread": 2,
    "fish": 17,
    "pie": 12,
    "cake": 5,
    "coffee": 3,
    "tea": 2,
    "cheese": 9,
    "stew": 14,
}

Row = dict[str, list[dict[str, str]]]


def conversations(part: str = "train") -> list[Row]:
    """Makes conversations, always the same ones; no conversation of one part is in the other.

    Args:
        part: "train", 1,500 of them, or "test", 150.

    Returns:
        Rows with the column `turns`.

    Raises:
        DataError: There is no such part.

    Example:
        >>> len(conversations("test")), conversations("test")[0]["turns"][0]["role"]
        (150, 'user')
    """
    if part not in _PARTS:
        raise DataError(
            f"{PREFIX}{part} names no conversations; there are {', '.join(PREFIX + name for name in _PARTS)}"
        )
    generator = np.random.default_rng(11)
    made: dict[str, Row] = {}
    while len(made) < max(end for _, end in _PARTS.values()):
        row = _conversation(generator)
        made.setdefault(repr(row), row)
    start, end = _PARTS[part]
    return list(made.values())[start:end]


def _pick(generator: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(generator.integers(len(choices)))]


def _conversation(generator: np.random.Generator) -> Row:
    said: list[tuple[str, str]] = []
    if generator.random() < 0.4:
        said.append(
            (_pick(generator, ("Hello!", "Good day!", "Hi there.")), "Good day, this is the Blue Boat.")
        )
    for _ in range(int(generator.integers(1, 4))):
        topic = generator.random()
        if topic < 0.4:
            said += _booking(generator)
        elif topic < 0.7:
            said.append(_price(generator))
        else:
            said.append(_opening(generator))
    if generator.random() < 0.4:
        said.append((_pick(generator, ("Thank you, goodbye.", "Thanks!", "Bye.")), "Goodbye, see you soon!"))
    roles = ("user", "assistant")
    return {
        "turns": [
            {"role": role, "text": text} for pair in said for role, text in zip(roles, pair, strict=True)
        ]
    }


def _price(generator: np.random.Generator) -> tuple[str, str]:
    names = tuple(_PRICES)
    one, other = _pick(generator, names), _pick(generator, names)
    first = _PRICES[one]
    if one == other or generator.random() < 0.6:
        question = _pick(generator, ("What does the {} cost?", "How much is the {}?", "The price of the {}?"))
        return question.format(one), f"The {one} costs {first} euros."
    return (
        f"How much are the {one} and the {other}?",
        f"The {one} costs {first} euros and the {other} {_PRICES[other]}.",
    )


def _opening(generator: np.random.Generator) -> tuple[str, str]:
    if generator.random() < 0.15:
        return "Are you open on Monday?", "No, on Monday we are closed."
    day = _pick(generator, _DAYS)
    question = _pick(
        generator, ("When are you open on {}?", "Are you open on {}?", "Your hours on {}, please?")
    )
    return question.format(day), f"On {day} we are open {_HOURS[day]}."


def _booking(generator: np.random.Generator) -> list[tuple[str, str]]:
    people, day, time = _pick(generator, _PEOPLE), _pick(generator, _DAYS), _pick(generator, _TIMES)
    known = generator.random(3) < 0.5
    request = "I would like a table" if generator.random() < 0.5 else "Can I book a table"
    parts = (f" for {people}", f" on {day}", f" at {time}")
    request += "".join(part for part, given in zip(parts, known, strict=True) if given)
    said: list[tuple[str, str]] = []
    last = request + ("." if request[0] == "I" else "?")
    questions = ("For how many people?", "On which day?", "At what time?")
    answers = (f"For {people}.", f"On {day}.", f"At {time}, please.")
    for given, question, answer in zip(known, questions, answers, strict=True):
        if not given:
            said.append((last, question))
            last = answer
    said.append((last, _offer(people, day, time)))
    if generator.random() < 0.25:
        other = _pick(generator, _DAYS)
        said.append((f"No, make it {other}.", _offer(people, other, time)))
        day = other
    said.append(
        (_pick(generator, ("Yes, please.", "Yes.", "That is right.")), f"It is booked. See you on {day}!")
    )
    return said


def _offer(people: str, day: str, time: str) -> str:
    return f"A table for {people} on {day} at {time}. Shall I book it?"
