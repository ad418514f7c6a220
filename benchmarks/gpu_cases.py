"""Tasks with random weights and made-up data, for `gpu_step.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

RATE, DECAY, CLIP = 1e-4, 0.01, 1.0
PLAIN = {
    "optimizer": "adamw",
    "learning_rate": RATE,
    "schedule": "constant",
    "warmup": 0,
    "weight_decay": DECAY,
    "clip_norm": CLIP,
}


class Case(NamedTuple):
    """A task, data for so many steps, and how it is trained."""

    config: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]


def sentences(count: int, length: int, words: int) -> list[str]:
    """Texts of one length: words are so few that each becomes one unit of a vocabulary."""
    random = np.random.default_rng(0)
    letters = np.array(list("aeioubdfgklmnprst"))
    known = ["".join(random.choice(letters, random.integers(2, 6))) for _ in range(words)]
    return [" ".join(known[i] for i in row) for row in random.integers(0, words, (count, length))]


def labels(count: int, classes: int = 10) -> list[str]:
    return [str(number % classes) for number in range(count)]


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def text(steps: int, small: bool) -> Case:
    width, layers, heads, batch = (32, 1, 2, 4) if small else (384, 6, 12, 32)
    blocks = {"layers": layers, "heads": heads, "intermediate_dim": 4 * width}
    config = {"encoder": "transformer", "embedding": {"dim": width}, "transformer": blocks}
    rows = sentences(steps * batch, 32, 200 if small else 20_000)
    return Case(config, {"text": rows, "label": labels(len(rows))}, {"batch_size": batch, **PLAIN})


def translation(steps: int, small: bool) -> Case:
    width, layers, batch, words = (32, 1, 4, 50) if small else (256, 3, 128, 1000)
    blocks = {"encoder_layers": layers, "decoder_layers": layers, "width": width, "hidden": 4 * width}
    count = steps * batch
    data = {side: sentences(count, 31, words) for side in ("source", "target")}
    training = {"batch_size": batch, "batch_tokens": None, **PLAIN}
    return Case({"transformer": blocks}, data, training)


def dialogue(steps: int, small: bool) -> Case:
    width, layers, heads, batch, words = (32, 1, 2, 2, 50) if small else (576, 12, 9, 16, 1000)
    network = {"layers": layers, "width": width, "heads": heads, "hidden": 8 * width // 3}
    count = steps * batch * 18  # so many of 28 tokens are in a row
    said = [{"text": spoken} for spoken in sentences(2 * count, 12, words)]
    pairs = [
        [{"role": "user", **asked}, {"role": "assistant", **answer}]
        for asked, answer in zip(said[::2], said[1::2], strict=True)
    ]
    config = {"network": network, "context": 512, "vocabulary": {"size": 8000}}
    return Case(config, {"turns": pairs}, {"batch_size": batch, "batch_tokens": None, **PLAIN})


def image(backbone: str, side: int, batch: int) -> Callable[[int, bool], Case]:
    def made(steps: int, small: bool) -> Case:
        size, number = (32, 4) if small else (side, batch)
        config = {"backbone": backbone, "size": size, "network": {"pretrained": False}}
        data = {"image": pixels(steps * number, size, size, 3), "label": labels(steps * number)}
        return Case(config, data, {"batch_size": number, **PLAIN})

    return made


def video(steps: int, small: bool) -> Case:
    side, frames, batch = (16, 4, 2) if small else (112, 16, 16)
    config = {"model": "r2plus1d", "size": side, "sampling": {"frames": frames}}
    data = {"clip": pixels(steps * batch, frames, side, side, 3), "label": labels(steps * batch, 2)}
    return Case(config, data, {"batch_size": batch, **PLAIN})


def face(steps: int, small: bool) -> Case:
    side, most, base, batch = (8, 8, 64, 4) if small else (64, 128, 4096, 16)
    network = {"base": base, "max_channels": most}
    config = {"resolution": side, "network": network, "samples": {"count": 0}}
    return Case(config, {"picture": pixels(steps * batch, side, side, 3)}, {"batch_size": batch})


def recommender(scorer: str) -> Callable[[int, bool], Case]:
    def made(steps: int, small: bool) -> Case:
        users, items, batch = (40, 30, 8) if small else (20_000, 10_000, 4096)
        random = np.random.default_rng(0)
        count = steps * batch
        rows = {"user_id": random.integers(0, users, count), "item_id": random.integers(0, items, count)}
        table = {"item_id": np.arange(items), "kind": labels(items), "price": random.random(items)}
        features = [{"name": "kind", "kind": "categorical"}, {"name": "price", "kind": "numeric"}]
        config = {"scorer": scorer, "features": features}
        return Case(config, {"interactions": rows, "items": table}, {"batch_size": batch})

    return made


CASES: dict[str, tuple[str, Callable[[int, bool], Case]]] = {
    "text": ("text", text),
    "translation": ("translation", translation),
    "dialogue": ("dialogue", dialogue),
    "image, EfficientNet-Lite0": ("image", image("efficientnet_lite0", 224, 64)),
    "image, resnet20": ("image", image("resnet20", 32, 128)),
    "video, R(2+1)D": ("video", video),
    "face, StyleGAN2": ("face", face),
    "recommender, two-tower": ("recommender", recommender("two_tower")),
    "recommender, DeepFM": ("recommender", recommender("deepfm")),
}
