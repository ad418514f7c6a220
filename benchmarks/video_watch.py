"""Pace of `kerasft watch` on one core, and false alarms per hour of a model on clips joined end to end.

    python benchmarks/video_watch.py pace
    python benchmarks/video_watch.py alarms CLIPS RUN [RUN ...] [--folds 1,2,...]

`pace` exports two models with random weights (`r2plus1d`, which is shown a window, and `movinet_stream`,
which is shown each frame once) and watches a made-up film of 640 x 360, as fast as it goes and at its own
speed of 25 pictures a second. Run it under `taskset -c 0`.

`alarms` joins the clips of CLIPS/index.tsv (columns path, label, fold5_grouped) that show no fight end to end
and watches them, fold by fold, each with a run that was trained on the other folds; fights are watched one by
one. `benchmarks/video.py` says how the model of fights is trained.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FPS, SECONDS, HEIGHT, WIDTH = 25, 12, 360, 640
MODELS = {
    "r2plus1d": {"size": 112, "sampling": {"frames": 8}},
    "movinet_stream": {"size": 112, "sampling": {"frames": 16, "mode": "dense"}},
}
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def film(path: Path) -> None:
    """Writes noise that drifts over a photo-like ground."""
    from kerasft_video.watching import write_film

    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (HEIGHT // 20, WIDTH // 20, 3)).astype(np.uint8)
    ground = np.kron(coarse, np.ones((20, 20, 1), np.uint8))
    write_film(path, (np.roll(ground, 3 * at, axis=1) for at in range(FPS * SECONDS)), fps=FPS)


def pace() -> None:
    import kerasft
    from kerasft_video.watching import Watcher, open_model, open_source, scorer
    from kerasft_video.watching.fitting import as_trained

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        film(path)
        print("| model | asked | speed | frames/s | latency p50 | p95 | scores | dropped | CPU a frame |")
        print("|---|---|---|---|---|---|---|---|---|")
        for name, config in MODELS.items():
            task = kerasft.create("video", model=name, labels=["fight", "none"], **config)
            task.build()
            task.export(Path(folder) / name, verify=False)
            model = open_model(Path(folder) / name, threads=1)
            every = 0.2 if name == "r2plus1d" else 0.0
            for realtime in (False, True):
                assert model.config is not None
                watcher = Watcher(
                    open_source(str(path), realtime=realtime, say=quiet),
                    scorer(model, every=every, fit=as_trained(model.config)),
                    classes=["fight"],
                    say=quiet,
                    report=0,
                )
                began = time.process_time()
                figures = watcher.run()
                spent = time.process_time() - began
                cells = (
                    f"`{name}`",
                    f"every {every} s" if every else "every frame",
                    "25 frames/s" if realtime else "as fast as it goes",
                    f"{figures.fps:.1f}",
                    f"{1000 * figures.p50:.1f} ms",
                    f"{1000 * figures.p95:.1f} ms",
                    figures.scores,
                    figures.dropped,
                    f"{1000 * spent / figures.pictures:.1f} ms",
                )
                print("|", " | ".join(map(str, cells)), "|", flush=True)


def quiet(text: str) -> None:
    """Says nothing."""


def joined(paths: Sequence[Path]) -> Any:
    """Returns a source that shows videos end to end, without a gap."""
    from kerasft_video.reading import frames
    from kerasft_video.watching.sources import Picture, Source

    class Joined(Source):
        name = "joined"

        def batches(self) -> Iterator[list[Picture]]:
            begin = end = 0.0
            for path in paths:
                begin, last = end, 0.0
                for frame in frames(path):
                    step, last = frame.time - last, frame.time
                    end = begin + frame.time + (step or 1 / FPS)
                    yield [Picture(begin + frame.time, begin + frame.time, time.monotonic(), False, frame)]

        def close(self) -> None:
            pass

    return Joined()


def track(run: Path, paths: Sequence[Path], options: argparse.Namespace) -> list[tuple[float, float]]:
    """Returns the times and scores of the class over videos joined end to end."""
    from kerasft_video.watching import Watcher, open_model, scorer
    from kerasft_video.watching.fitting import as_trained

    model, label = open_model(run), options.positive
    assert model.config is not None
    found: list[tuple[float, float]] = []
    Watcher(
        joined(paths),
        scorer(model, window=options.window, every=options.every, fit=as_trained(model.config)),
        classes=[label],
        scores=[lambda s: found.append((s.source_time, float(s.raw[s.labels.index(label)])))],
        say=quiet,
        report=0,
    ).run()
    model.close()
    return found


def raised(scores: list[tuple[float, float]], on: float, smooth: float) -> int:
    """Returns how many alarms a threshold raises over a track of scores."""
    from kerasft_video.watching import Exponential, Hysteresis, Rule

    smoother, follow = Exponential(seconds=smooth), Hysteresis(Rule(on=on, off=on - 0.2))
    turns = (follow.update(t, float(smoother.update(t, np.array([s]))[0])) for t, s in scores)
    return sum(turn is not None and turn.kind == "start" for turn in turns)


def alarms(options: argparse.Namespace) -> None:
    folder, positive, smooth = options.clips, options.positive, options.smooth
    with (folder / "index.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    calm: list[list[tuple[float, float]]] = []
    clips: list[tuple[float, ...]] = []
    for fold, run in zip(options.folds.split(","), options.runs, strict=True):
        mine = [row for row in rows if row["fold5_grouped"] == fold]
        others = [folder / row["path"] for row in mine if row["label"] != positive]
        calm.append(track(run, others, options))
        for row in mine:
            if row["label"] == positive:
                clips.append(tuple(s for _, s in track(run, [folder / row["path"]], options)))
        print(f"fold {fold}: {len(mine)} clips", flush=True)
    hours = sum(scores[-1][0] for scores in calm) / 3600
    print(f"{60 * hours:.1f} minutes without a fight, {len(clips)} fights, smoothed over {smooth:g} s\n")
    print("| --on | false alarms | an hour | fights with a score above it |")
    print("|---|---|---|---|")
    for on in THRESHOLDS:
        count = sum(raised(scores, on, smooth) for scores in calm)
        seen = np.mean([max(scores, default=0) >= on for scores in clips])
        print(f"| {on} | {count} | {count / hours:.0f} | {seen:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pace")
    joining = commands.add_parser("alarms")
    joining.add_argument("clips", type=Path)
    joining.add_argument("runs", type=Path, nargs="+")
    joining.add_argument("--folds", default="0,1,2,3,4")
    joining.add_argument("--every", type=float)
    joining.add_argument("--class", dest="positive", default="fight")
    joining.add_argument("--window", type=float)
    joining.add_argument("--smooth", type=float, default=1.0)
    options = parser.parse_args()
    if options.command == "pace":
        pace()
    else:
        alarms(options)


if __name__ == "__main__":
    main()
