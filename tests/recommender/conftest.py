"""A small recommender, trained once for all tests that only ask it."""

from __future__ import annotations

import numpy as np
import pytest

import kerasft

TASTES = 4
PER_TASTE = 6
USERS = 48


def choices(users=USERS, *, seed=0, first=0):
    """Users who choose 4 of the 6 items of their taste, in some order: user i has the taste i % 4."""
    random = np.random.default_rng(seed)
    rows = {"user_id": [], "item_id": [], "timestamp": []}
    for user in range(first, first + users):
        taste = user % TASTES
        for at, item in enumerate(random.permutation(PER_TASTE)[:4]):
            rows["user_id"].append(f"u{user}")
            rows["item_id"].append(f"i{taste}-{item}")
            rows["timestamp"].append(at)
    return rows


def make(**values):
    """A recommender with small tables."""
    network = {"factors": 8, "layers": (16, 8, 4), **values.pop("network", {})}
    training = {"epochs": 30, "batch_size": 8, "learning_rate": 0.03, **values.pop("training", {})}
    return kerasft.create("recommender", network=network, training=training, **values)


@pytest.fixture(scope="session")
def trained():
    task = make()
    task.finetune(choices(), verbose="quiet")
    return task


def ratings(users=USERS, *, seed=0):
    """All items rated by all users: 4 to 5 for those of their taste, else 1 to 2."""
    random = np.random.default_rng(seed)
    rows = {"user_id": [], "item_id": [], "rating": []}
    for user in range(users):
        for taste in range(TASTES):
            for item in range(PER_TASTE):
                rows["user_id"].append(f"u{user}")
                rows["item_id"].append(f"i{taste}-{item}")
                rows["rating"].append(random.integers(1, 3) + (3 if taste == user % TASTES else 0))
    return rows
