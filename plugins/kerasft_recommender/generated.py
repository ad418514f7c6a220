"""Ratings by made-up people with made-up tastes: data without a download."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

GENRES = ("action", "comedy", "drama", "fantasy", "horror", "romance", "thriller", "western")
_USERS, _ITEMS, _PER_USER = 600, 300, 30


def ratings(split: Literal["train", "test"] = "train", *, seed: int = 0) -> dict[str, list[Any]]:
    """Draws ratings of films by people: each film has genres, each person likes some of them.

    A person tends to watch what fits, and more so what many watch; the rating is how well it fits. The test
    part is the last film of each person.

    Args:
        split: Which part.
        seed: Draws other people and films.

    Returns:
        Columns user_id, item_id, rating (1 to 5) and timestamp (seconds), a row a rating.

    Example:
        >>> rows = ratings("test")
        >>> len(rows["user_id"]), rows["user_id"][0]
        (600, 'user-001')
    """
    random = np.random.default_rng(seed)
    genres = _genres(random)
    tastes = random.dirichlet(np.full(len(GENRES), 0.3), _USERS)
    fit = tastes @ genres.T
    fit = (fit - fit.mean()) / fit.std()
    fame = random.standard_normal(_ITEMS)
    drawn = 2.5 * fit + fame + random.gumbel(size=fit.shape)
    watched = np.argsort(-drawn, 1)[:, :_PER_USER]
    watched = random.permuted(watched, axis=1)
    scores = np.take_along_axis(fit, watched, 1) + 0.5 * random.standard_normal(watched.shape)
    stars = np.clip(np.round(3 + scores), 1, 5).astype(int)
    part = slice(0, -1) if split == "train" else slice(-1, None)
    times = 1_600_000_000 + 86_400 * np.arange(_PER_USER)
    rows = [
        (f"user-{user + 1:03d}", _film(film), int(star), int(time))
        for user in range(_USERS)
        for film, star, time in zip(watched[user, part], stars[user, part], times[part], strict=True)
    ]
    names = ("user_id", "item_id", "rating", "timestamp")
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def films(*, seed: int = 0) -> dict[str, list[Any]]:
    """Returns the films of `ratings`: columns item_id and genres, the latter joined by "|".

    Example:
        >>> films()["genres"][0].split("|")[0] in GENRES
        True
    """
    genres = _genres(np.random.default_rng(seed))
    return {
        "item_id": [_film(film) for film in range(_ITEMS)],
        "genres": ["|".join(np.array(GENRES)[row > 0]) for row in genres],
    }


def _genres(random: np.random.Generator) -> np.ndarray:
    """The share of each genre in each film; one to three of them."""
    chosen = np.argsort(random.random((_ITEMS, len(GENRES))), 1)[:, :3]
    count = random.integers(1, 4, _ITEMS)
    matrix = np.zeros((_ITEMS, len(GENRES)))
    for film in range(_ITEMS):
        matrix[film, chosen[film, : count[film]]] = 1.0 / count[film]
    return matrix


def _film(number: int) -> str:
    return f"film-{number + 1:03d}"
