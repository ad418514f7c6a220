"""Which head for fights, decided without the fold that it is tested on.

    python benchmarks/video_heads.py inner CANDIDATE [...] --fights surv_fight --kept moments.npz
    python benchmarks/video_heads.py outer CANDIDATE [...] --fights surv_fight --kept moments.npz

What the frozen backbone of `benchmarks/video.py fights` sees is computed once and kept; heads are trained on
it with the loop and the settings of the video task. `inner` leaves out two folds, trains on three, and scores
the two: what stands for a fold is measured on the other four, each scored by heads that saw neither it nor
that fold. `outer` trains on four folds and tests on the fifth. With several seeds, the last line is that of
their mean scores.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from video import FIGHTS, decoded, fights_of

import kerasft
from kerasft.data import Field

CANDIDATES: dict[str, dict[str, Any]] = {
    "plain": {"views": 1, "epochs": 30, "weight_decay": 0.05, "smoothing": 0.1},
    "mirrored": {"epochs": 30, "weight_decay": 0.05, "smoothing": 0.1},
    "decay-3-plain": {"views": 1, "epochs": 30, "weight_decay": 3.0, "smoothing": 0.1},
    "decay-3": {"epochs": 20, "weight_decay": 3.0},
}


class Head(kerasft.Task):
    """The head of the video task, on what its frozen part gives."""

    def __init__(self, *, smoothing: float, **values: Any) -> None:
        super().__init__(**values)
        self.smoothing = smoothing

    def fields(self) -> tuple[Field, ...]:
        return Field(name="moments", kind="any"), Field(name="fight", kind="number", target=True)

    def build_model(self) -> keras.Model:
        moments = keras.Input((12, 1280), name="moments")
        x = keras.layers.BatchNormalization(momentum=0.9)(moments)
        x = keras.layers.GlobalAveragePooling1D()(keras.layers.Dropout(0.5)(x))
        return keras.Model(moments, keras.layers.Dense(2)(keras.layers.Dropout(0.2)(x)))

    def preprocess(self, raw: dict[str, Any]) -> dict[str, Any]:
        return {"moments": raw["moments"]}

    def loss(self, batch: Any, outputs: Any) -> tf.Tensor:
        hot = tf.one_hot(tf.cast(batch.targets["fight"], tf.int32), 2)
        return tf.nn.softmax_cross_entropy_with_logits(
            hot * (1 - self.smoothing) + self.smoothing / 2, outputs
        )

    def postprocess(self, outputs: Any, features: dict[str, Any]) -> dict[str, Any]:
        return {"fight": tf.nn.softmax(outputs)[:, 1]}

    def signatures(self) -> dict[str, dict[str, tf.TensorSpec]]:
        return {"serving_default": {"moments": tf.TensorSpec([None, 12, 1280], tf.float32)}}


def seen(clips: np.ndarray) -> np.ndarray:
    """Returns what the frozen part sees of clips and of their mirror images, `[videos, 2, 12, 1280]`."""
    task: Any = kerasft.create("video", labels=["fight", "noFight"], **FIGHTS)
    model = task.build()
    frozen = tf.function(keras.Model(model.input, model.get_layer("seen_norm").input))
    found = []
    for video in clips:
        both = np.concatenate([video[:1], video[:1, ..., ::-1, :]]).astype(np.float32)
        found.append([frozen(tf.constant(clip[None]), training=False)[0].numpy() for clip in both])
    return np.array(found, np.float16)


Scores = dict[int, tuple[np.ndarray, np.ndarray]]
"""Of the fold that is to be tested: how much videos look like fights, and which are."""


def scores(
    moments: np.ndarray, fight: np.ndarray, train: np.ndarray, settings: dict[str, Any], seed: int
) -> np.ndarray:
    """Trains a head and returns how much each video looks like a fight, the mean over its views."""
    given = {"smoothing": 0.0, "views": 2, **settings}
    views, smoothing = given.pop("views"), given.pop("smoothing")
    moments = moments[:, :views].astype(np.float32)
    usual = {"batch_size": 16, "learning_rate": 1e-3, "schedule": "cosine", "warmup": 0.1, "clip_norm": 1.0}
    task = Head(smoothing=smoothing, seed=seed, training={**usual, "ema": 0.98, **given})
    rows = {
        "moments": list(moments[train].reshape(-1, 12, 1280)),
        "fight": np.repeat(fight[train], views).astype(float),
    }
    task.finetune(rows, verbose="quiet")
    found = task.predict({"moments": list(moments.reshape(-1, 12, 1280))}, verbose="quiet")["fight"]
    return found.reshape(-1, views).mean(1)


def values(score: np.ndarray, fight: np.ndarray) -> tuple[float, float, float]:
    """Returns accuracy, log loss and the area under the ROC curve."""
    right = np.where(fight, score, 1 - score)
    pairs = score[fight][:, None] - score[~fight][None]
    return (
        float((right > 0.5).mean()),
        float(-np.log(np.maximum(right, 1e-7)).mean()),
        float((pairs > 0).mean() + (pairs == 0).mean() / 2),
    )


def inner(
    moments: np.ndarray, fight: np.ndarray, folds: np.ndarray, settings: dict[str, Any], seed: int
) -> Scores:
    """Scores for each fold to be tested, of videos of the other four."""
    found = {}
    for one in range(5):
        for other in range(one + 1, 5):
            score = scores(moments, fight, (folds != one) & (folds != other), settings, seed)
            found[one, other], found[other, one] = score[folds == other], score[folds == one]
    return {
        tested: (
            np.concatenate([found[tested, fold] for fold in range(5) if fold != tested]),
            np.concatenate([fight[folds == fold] for fold in range(5) if fold != tested]),
        )
        for tested in range(5)
    }


def outer(
    moments: np.ndarray, fight: np.ndarray, folds: np.ndarray, settings: dict[str, Any], seed: int
) -> Scores:
    """Scores of each fold's own videos."""
    found = {fold: scores(moments, fight, folds != fold, settings, seed) for fold in range(5)}
    return {fold: (score[folds == fold], fight[folds == fold]) for fold, score in found.items()}


def show(name: str, found: Scores) -> None:
    """Prints a line of the table."""
    rows = np.array([values(score, fight) for score, fight in found.values()])
    accuracy, loss, roc = rows.mean(0)
    each = [" ".join(f"{value:.3f}" for value in rows[:, column]) for column in (0, 1)]
    print(f"| {name} | {accuracy:.4f} | {each[0]} | {loss:.3f} | {each[1]} | {roc:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["inner", "outer"])
    parser.add_argument("candidates", nargs="+", choices=list(CANDIDATES))
    parser.add_argument("--fights", type=Path, required=True)
    parser.add_argument("--decoded", type=Path, help="see benchmarks/video.py")
    parser.add_argument("--kept", type=Path, help="an .npz in which what the frozen part sees is kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    rows = fights_of(arguments.fights)
    fight = np.array([row["label"] == "fight" for row in rows])
    folds = np.array([int(row["fold5_grouped"]) for row in rows])
    if arguments.kept is not None and arguments.kept.is_file():
        moments = np.load(arguments.kept)["moments"]
    else:
        paths = [arguments.fights / row["path"] for row in rows]
        clips, _ = decoded(paths, kerasft.create("video", **FIGHTS).config, arguments.decoded)
        moments = seen(clips)
        if arguments.kept is not None:
            np.savez(arguments.kept, moments=moments)
    measure = {"inner": inner, "outer": outer}[arguments.what]
    print("| head | accuracy | by fold | log loss | by fold | ROC |")
    print("|---|---|---|---|---|---|")
    for name in arguments.candidates:
        of_seeds = []
        for seed in arguments.seeds:
            of_seeds.append(measure(moments, fight, folds, CANDIDATES[name], seed))
            show(f"{name}, seed {seed}", of_seeds[-1])
        if len(of_seeds) > 1:
            together = {
                fold: (np.mean([found[fold][0] for found in of_seeds], axis=0), truth)
                for fold, (_, truth) in of_seeds[0].items()
            }
            show(f"{name}, mean scores of {len(of_seeds)} seeds", together)


if __name__ == "__main__":
    main()
