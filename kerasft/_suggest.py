"""One way to say "you probably meant": shared by the registry, the configs and the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(word: str, choices: Iterable[str], *, noun: str) -> str:
    """Returns ``did you mean "x"?`` or, when nothing is near, the list of choices.

    Args:
        word: What the user wrote.
        choices: What would have been valid.
        noun: Plural name of the choices, for the sentence ("tasks", "keys").

    Example:
        >>> suggestion("epocs", ["epochs", "seed"], noun="keys")
        'did you mean "epochs"?'
        >>> suggestion("zzz", ["epochs", "seed"], noun="keys")
        'valid keys: epochs, seed'
    """
    choices = set(choices)
    near = nearest(word, choices)
    return f'did you mean "{near}"?' if near is not None else valid(choices, noun=noun)


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Returns the choice that is spelled most like a word, or None."""
    choices = sorted(set(choices))
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if not near:
        near = [choice for choice in choices if choice.lower() == word.lower()]
    return near[0] if near else None


def valid(choices: Iterable[str], *, noun: str) -> str:
    """Returns the list of choices, for the end of a sentence."""
    choices = sorted(set(choices))
    return f"valid {noun}: {', '.join(choices)}" if choices else f"there are no valid {noun}"
