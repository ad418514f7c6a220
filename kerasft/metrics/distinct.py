"""How varied texts are."""

from __future__ import annotations

from collections.abc import Sequence


def distinct(texts: Sequence[str], n: int) -> float:
    """Returns the share of different n-grams of words among all of them.

    Source: Li et al., 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models".

    Args:
        texts: Any texts; words stand between spaces.
        n: Words of an n-gram.

    Returns:
        From 0 to 1; 0 if there is none.

    Example:
        >>> distinct(["yes yes no", "no"], 1), distinct(["yes yes no", "no"], 2)
        (0.5, 1.0)
    """
    grams = []
    for text in texts:
        words = text.split()
        grams += [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0
