"""The commands: each parses, calls the module of its name, and prints JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasft.cli.output import answering, print_json
from kerasft.cli.quiet import import_tensorflow
from kerasft.errors import ConfigError

if TYPE_CHECKING:
    from kerasft_face.directions import Direction
    from kerasft_face.task import Face

app = typer.Typer(
    help="Project, mix, morph and edit the faces of a run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_FACES = "Seeds (7, 1..4) and files that project wrote (me.npz)"

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run of the task face.")]
Truncation = Annotated[
    float,
    typer.Option("--truncation", min=0.0, max=1.0, help="Of seeds: 1 for any face, 0 for the average one."),
]
Label = Annotated[str | None, typer.Option("--label", help="Of seeds: the class, if there are classes.")]
Styles = Annotated[
    str,
    typer.Option(
        "--styles", metavar="WHICH", help="coarse, middle, fine, all, or resolutions: <=8, >=16, 8."
    ),
]
Checkpoint = Annotated[str, typer.Option("--checkpoint", metavar="best|latest", help="Which weights.")]


def _load(run: Path, checkpoint: str) -> Face:
    import_tensorflow()
    import kerasft
    from kerasft_face.wspace import check_stylish

    task: Any = kerasft.load(run, checkpoint=checkpoint)
    check_stylish(task)
    return task


@app.command()
def project(
    run: RunFolder,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, each of a face.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path("projected"),
    extractor: Annotated[
        str,
        typer.Option("--extractor", help="Perceptual distance: vgg16 (kerasft fetch vgg16) or random:v1."),
    ] = "vgg16",
    points: Annotated[
        Path | None,
        typer.Option("--landmarks", metavar="FILE", help="Five points a picture, to align the faces by."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of the search.")] = 1000,
    each_style: Annotated[
        bool, typer.Option("--each-style", help="One w for each style: nearer, and harder to edit.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the search.")] = 0,
    label: Label = None,
    checkpoint: Checkpoint = "best",
) -> None:
    """Find the faces of a run that look like pictures; writes NAME.npz and, side by side, NAME.png."""
    with answering(only_json=True):
        task = _load(run, checkpoint)
        import numpy as np

        from kerasft.training.progress import Reporter
        from kerasft_face.alignment import read_landmarks
        from kerasft_face.data import read_picture
        from kerasft_face.projection import project as look_for
        from kerasft_face.samples import save_png
        from kerasft_face.wspace import save_styles

        known = read_landmarks(points) if points is not None else {}
        if missing := [path.name for path in pictures if points is not None and path.name not in known]:
            raise ConfigError(f"--landmarks {points} has no line for {missing[0]}; add its five points")
        targets = [read_picture(path, task.config.resolution, known.get(path.name)) for path in pictures]
        for path, target in zip(pictures, targets, strict=True):
            with Reporter().bar(f"project {path.name}", total=steps, unit="steps") as bar:
                found = look_for(
                    task,
                    target,
                    steps=steps,
                    extractor=extractor,
                    each_style=each_style,
                    label=label,
                    seed=seed,
                    progress=bar.update,
                )
            first, last = float(found.losses[0]), float(found.losses[-1])
            about = {"picture": path.name, "extractor": found.extractor, "distance": last}
            save_styles(out / f"{path.stem}.npz", found.styles, about)
            shown = np.concatenate([found.target, found.picture, found.fitted], axis=1)
            save_png(shown, out / f"{path.stem}.png")
            print_json(
                {
                    "picture": path,
                    "face": out / f"{path.stem}.npz",
                    "compare": out / f"{path.stem}.png",
                    "extractor": found.extractor,
                    "distance": {"first": first, "last": last},
                }
            )


@app.command()
def mix(
    run: RunFolder,
    rows: Annotated[list[str], typer.Option("--rows", help=f"{_FACES} that give --styles; repeat for more.")],
    columns: Annotated[list[str], typer.Option("--columns", help="The same, that give the rest.")],
    out: Annotated[Path, typer.Option("--out", metavar="PNG", help="The table.")] = Path("mixed.png"),
    styles: Styles = "coarse",
    truncation: Truncation = 0.7,
    label: Label = None,
    checkpoint: Checkpoint = "best",
) -> None:
    """Draw a table of faces with the coarse styles of its rows and the fine ones of its columns."""
    _check_ending(out, ".png")
    with answering(only_json=True):
        task = _load(run, checkpoint)
        from kerasft_face.mixing import mixing_table
        from kerasft_face.samples import save_png
        from kerasft_face.wspace import face_styles

        left = face_styles(task, rows, truncation=truncation, label=label)
        above = face_styles(task, columns, truncation=truncation, label=label)
        save_png(mixing_table(task, left, above, styles=styles), out)
        print_json({"table": out, "rows": len(left), "columns": len(above), "styles": styles})


@app.command()
def morph(
    run: RunFolder,
    faces: Annotated[list[str], typer.Argument(help=f"{_FACES}, at least two in all.")],
    out: Annotated[Path, typer.Option("--out", metavar="GIF|MP4", help="The film.")] = Path("morph.gif"),
    steps: Annotated[int, typer.Option("--steps", min=1, help="Frames from a face to the next.")] = 24,
    fps: Annotated[int, typer.Option("--fps", min=1, max=100, help="Frames a second.")] = 24,
    loop: Annotated[bool, typer.Option("--loop/--no-loop", help="Return to the first face.")] = True,
    zoom: Annotated[
        int | None, typer.Option("--zoom", min=1, help="Enlarge; by default to at least 256 pixels.")
    ] = None,
    truncation: Truncation = 0.7,
    label: Label = None,
    checkpoint: Checkpoint = "best",
) -> None:
    """Write a film that goes from face to face."""
    _check_ending(out, ".gif", ".mp4")
    with answering(only_json=True):
        task = _load(run, checkpoint)
        from kerasft_face.morphing import morph as film
        from kerasft_face.wspace import face_styles

        found = face_styles(task, faces, truncation=truncation, label=label)
        frames = film(task, found, out, steps=steps, fps=fps, loop=loop, zoom=zoom)
        print_json({"film": out, "faces": len(found), "frames": frames, "fps": fps})


@app.command()
def directions(
    run: RunFolder,
    face: Annotated[str, typer.Option("--face", help="A seed, or a file that project wrote.")] = "0",
    out: Annotated[Path, typer.Option("--out", metavar="PNG", help="The picture.")] = Path("directions.png"),
    count: Annotated[int, typer.Option("--count", min=1, help="How many directions to show.")] = 8,
    styles: Styles = "all",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--save", metavar="NAME=N", help="Keep the n-th direction under a name; may be repeated."
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--apply",
            metavar="NAME=AMOUNT",
            help="Change the face; 1 is as far as faces usually lie from the average; may be repeated.",
        ),
    ] = None,
    keep_face: Annotated[
        Path | None,
        typer.Option("--save-face", metavar="NPZ", help="Keep the changed face for mix and morph."),
    ] = None,
    truncation: Truncation = 0.7,
    label: Label = None,
    checkpoint: Checkpoint = "best",
) -> None:
    """Show, name and apply the directions that change faces most (in the n-th line the n-th)."""
    _check_ending(out, ".png")
    if keep_face is not None and not change:
        raise ConfigError("--save-face keeps a changed face; say what to change with --apply NAME=AMOUNT")
    with answering(only_json=True):
        task = _load(run, checkpoint)
        from kerasft_face.directions import (
            FILE,
            apply,
            direction_table,
            found_directions,
            load_directions,
            save_directions,
        )
        from kerasft_face.samples import save_png, synthesize
        from kerasft_face.wspace import face_styles, save_styles

        named = load_directions(run / FILE)
        found = found_directions(task, styles=styles, label=label)
        for name, number in _pairs("--save", keep, "smile=3").items():
            if number not in range(1, len(found) + 1):
                raise ConfigError(f"--save {name}={number:g}: take a whole number from 1 to {len(found)}")
            named[name] = found[int(number) - 1]
        if keep:
            save_directions(run / FILE, named)
        start = face_styles(task, [face], truncation=truncation, label=label)
        if len(start) != 1:
            raise ConfigError(f"--face {face} are {len(start)} faces; name one")
        answer: dict[str, Any] = {"names": sorted(named), "picture": out}
        if change:
            amounts = _pairs("--apply", change, "smile=0.5")
            changes = [(_named(named, name), amount) for name, amount in amounts.items()]
            moved = apply(task, start, changes)
            save_png(synthesize(task, moved)[0], out)
            if keep_face is not None:
                save_styles(keep_face, moved, {"face": face, "changes": amounts})
                answer["face"] = keep_face
        else:
            save_png(direction_table(task, start, found[:count]), out)
        print_json(answer)


def _check_ending(path: Path, *endings: str) -> None:
    if path.suffix.lower() not in endings:
        raise ConfigError(f"--out {path}: name a file that ends in {' or '.join(endings)}")


def _pairs(flag: str, items: list[str] | None, example: str) -> dict[str, float]:
    found = {}
    for item in items or []:
        name, _, number = item.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            raise ConfigError(f"{flag} {item!r}: write a name and a number, for example {flag} {example}")
    return found


def _named(named: dict[str, Direction], name: str) -> Direction:
    if name not in named:
        known = f"there are {', '.join(sorted(named))}" if named else "there are none yet"
        raise ConfigError(
            f"--apply {name}: no direction has this name ({known}); make one with --save {name}=3"
        )
    return named[name]
