"""Pace of `kerasft watch` on one core, and false alarms per hour of a model on clips joined end to end.

    python benchmarks/video_watch.py pace
    python benchmarks/video_watch.py alarms CLIPS RUN [RUN ...] [--folds 1,2,...]

`pace` exports two models with random weights (`r2plus1d`, which is shown a window, and `movinet_stream`,
which is shown each frame once) and watches a made-up film of 640 x 360, as fast as it goes and at its own
speed of 25 pictures a second. Run it under `taskset -c 0`.

`alarms` joins the clips of CLIPS/index.tsv (columns path, label, fold5_grouped) that show no fight end to end
and watches them, fold by fold, each with a run that was trained on the other folds. Each fight is watched
between two clips without one; it is found if an alarm is raised from its beginning to a second after its end,
and an alarm that is on already does not count. `benchmarks/video.py fights --runs` trains the runs.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FPS, SECONDS, HEIGHT, WIDTH = 25, 12, 360, 640
MODELS = {
    "r2plus1d": {"size": 112, "sampling": {"frames": 8}},
    "movinet_stream": {"size": 112, "sampling": {"frames": 16, "mode": "dense"}},
}
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
GRACE = 1.0


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


class Track(NamedTuple):
    """Scores of the class over videos joined end to end.

    Attributes:
        scores: Times, in seconds, and scores as the model gave them.
        bounds: When each video begins, and after them the end of the last.
    """

    scores: list[tuple[float, float]]
    bounds: list[float]


def joined(paths: Sequence[Path], bounds: list[float]) -> Any:
    """Returns a source that shows videos end to end, without a gap, and fills in the bounds of a track."""
    from kerasft_video.reading import frames
    from kerasft_video.watching.sources import Picture, Source

    class Joined(Source):
        name = "joined"

        def batches(self) -> Iterator[list[Picture]]:
            bounds[:] = [0.0]
            for path in paths:
                begin, last, step = bounds[-1], 0.0, 0.0
                for frame in frames(path):
                    step, last = frame.time - last, frame.time
                    yield [Picture(begin + last, begin + last, time.monotonic(), False, frame)]
                bounds.append(begin + last + (step or 1 / FPS))

        def close(self) -> None:
            pass

    return Joined()


def track(model: Any, paths: Sequence[Path], options: argparse.Namespace) -> Track:
    """Watches videos joined end to end."""
    from kerasft_video.watching import Watcher, scorer
    from kerasft_video.watching.fitting import as_trained

    label = options.positive
    found = Track([], [])
    Watcher(
        joined(paths, found.bounds),
        scorer(model, window=options.window, every=options.every, fit=as_trained(model.config)),
        classes=[label],
        scores=[lambda s: found.scores.append((s.source_time, float(s.raw[s.labels.index(label)])))],
        say=quiet,
        report=0,
    ).run()
    return found


def raised(scores: list[tuple[float, float]], on: float, smooth: float) -> list[float]:
    """Returns when a threshold raises alarms over a track of scores."""
    from kerasft_video.watching import Exponential, Hysteresis, Rule

    smoother, follow = Exponential(seconds=smooth), Hysteresis(Rule(on=on, off=on - 0.2))
    turns = (follow.update(t, float(smoother.update(t, np.array([s]))[0])) for t, s in scores)
    return [turn.time for turn in turns if turn is not None and turn.kind == "start"]


def delay(seen: Track, on: float, smooth: float) -> float | None:
    """Returns how long after the second of three videos began its alarm came; None if none came in time."""
    _, begin, end, _ = seen.bounds
    delays = [at - begin for at in raised(seen.scores, on, smooth) if begin <= at < end + GRACE]
    return delays[0] if delays else None


def alarms(options: argparse.Namespace) -> None:
    from kerasft_video.watching import open_model

    with (options.clips / "index.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    calm: list[Track] = []
    fights: list[Track] = []
    for fold, run in zip(options.folds.split(","), options.runs, strict=True):
        model = open_model(run)
        mine = [row for row in rows if row["fold5_grouped"] == fold]
        paths = [options.clips / row["path"] for row in mine if row["label"] != options.positive]
        calm.append(track(model, paths, options))
        positive = [options.clips / row["path"] for row in mine if row["label"] == options.positive]
        for number, path in enumerate(positive):
            before, after = (paths[(number + step) % len(paths)] for step in (0, 1))
            fights.append(track(model, (before, path, after), options))
        model.close()
        print(f"fold {fold}: {len(paths)} and {len(positive)} clips", flush=True)
    hours = sum(seen.bounds[-1] for seen in calm) / 3600
    print(f"{60 * hours:.1f} minutes without a fight, {len(fights)} fights\n")
    print("| smoothed over | --on | false alarms | an hour | fights found | delay p50 | p90 |")
    print("|---|---|---|---|---|---|---|")
    for smooth in (float(part) for part in options.smooth.split(",")):
        for on in THRESHOLDS:
            count = sum(len(raised(seen.scores, on, smooth)) for seen in calm)
            delays = [value for seen in fights if (value := delay(seen, on, smooth)) is not None]
            p50, p90 = np.percentile(delays, [50, 90]) if delays else (np.nan, np.nan)
            cells = (
                f"{count / hours:.0f}",
                f"{len(delays) / len(fights):.2f}",
                f"{p50:.1f} s",
                f"{p90:.1f} s",
            )
            print(f"| {smooth:g} s | {on} | {count} |", " | ".join(cells), "|")


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
    joining.add_argument("--smooth", default="0,1", help="seconds, several with commas between them")
    options = parser.parse_args()
    if options.command == "pace":
        pace()
    else:
        alarms(options)


if __name__ == "__main__":
    main()
