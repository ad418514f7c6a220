"""`kerasft watch`: alarms of a model on a file, a camera or a stream."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasft.cli.output import answering, print_json
from kerasft.errors import ConfigError

if TYPE_CHECKING:
    from kerasft_video.watching import Model
    from kerasft_video.watching.fitting import Fit


_ON, _BELOW = 0.8, 0.2


def watch(
    source: Annotated[str, typer.Argument(help="A video file, the number of a camera, or a URL.")],
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="Folder of a run, or of an exported model.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address", metavar="HOST:PORT", help="Ask a server instead; --run says how it was trained."
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", help="Name of the model on the server.")] = "default",
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class", help="Raise alarms for this; may be repeated. By default the run's alarm.label."
        ),
    ] = None,
    on: Annotated[
        float | None,
        typer.Option("--on", help="Score from which on it is an alarm; the run's alarm.threshold, or 0.8."),
    ] = None,
    off: Annotated[
        float | None, typer.Option("--off", help="Score below which it ends; 0.2 below --on by default.")
    ] = None,
    shortest: Annotated[
        float, typer.Option("--for", metavar="SECONDS", help="How long it must be one to be raised.")
    ] = 0.0,
    pause: Annotated[
        float, typer.Option("--cool-down", metavar="SECONDS", help="After an alarm, raise none for so long.")
    ] = 0.0,
    smooth: Annotated[
        str, typer.Option("--smooth", help="exponential:SECONDS, moving:SECONDS or none.")
    ] = "exponential:1",
    window: Annotated[
        float | None,
        typer.Option("--window", metavar="SECONDS", help="Span of a clip, of models that see whole videos."),
    ] = None,
    every: Annotated[
        float | None, typer.Option("--every", metavar="SECONDS", help="From score to score; 0: all frames.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", min=1, help="Of a clip; needed where a server does not say.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="JSONL", help="Append alarms here too.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option("--scores", metavar="JSONL", help="Append every score here.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="PNG", help="At the end, draw scores and alarms.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option("--webhook", metavar="URL", help="POST alarms there as JSON.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--webhook-header", metavar="'NAME: VALUE'", help="Sent with them; may be repeated."),
    ] = None,
    webhook_timeout: Annotated[
        float, typer.Option("--webhook-timeout", min=0.001, help="Seconds that a try may take.")
    ] = 5.0,
    webhook_tries: Annotated[int, typer.Option("--webhook-tries", min=1, help="How often, at most.")] = 4,
    clips: Annotated[
        Path | None, typer.Option("--clips", metavar="DIR", help="Save an mp4 of each alarm there.")
    ] = None,
    before: Annotated[float, typer.Option("--before", help="Seconds of a clip before the alarm.")] = 3.0,
    after: Annotated[float, typer.Option("--after", help="Seconds of a clip after its end.")] = 3.0,
    longest: Annotated[float, typer.Option("--longest", help="Seconds of a clip at most.")] = 60.0,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play a file at its own speed, as if it were live.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Take a URL for a film that has an end.")] = False,
    give_up: Annotated[
        float | None,
        typer.Option("--give-up", metavar="SECONDS", help="Stop if a lost source stays away so long."),
    ] = None,
    report: Annotated[
        float,
        typer.Option("--report", metavar="SECONDS", min=0, help="Between lines about the pace; 0: none."),
    ] = 10.0,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Of TensorFlow, for an exported model.")
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="best|latest", help="Of a run.")
    ] = "best",
) -> None:
    """Watch a video, a camera or a stream; prints alarms as JSON lines. Stop with Ctrl-C."""
    with answering(only_json=True), contextlib.ExitStack() as stack:
        from kerasft.training.interrupt import SignalGuard
        from kerasft.training.progress import Reporter
        from kerasft_video.watching import Lines, Recorder, Rule, Watcher, Webhook, open_source, scorer
        from kerasft_video.watching.plot import Curve
        from kerasft_video.watching.smoothing import parse

        say = Reporter(verbose="line").say
        smoother = parse(smooth)
        watched = open_source(source, realtime=realtime, once=once, give_up=give_up, say=say)
        asked, fit = _model(run, address, model, checkpoint=checkpoint, threads=threads)
        stack.callback(asked.close)
        chosen = None if asked.config is None else asked.config.alarm
        classes = classes or ([chosen.label] if chosen is not None and chosen.label is not None else None)
        if not classes:
            raise ConfigError("--class is missing: name what to raise alarms for, for example --class fight")
        if on is None:
            on = chosen.threshold if chosen is not None and chosen.label is not None else _ON
        off = max(on - _BELOW, 0.0) if off is None else off
        rule = Rule(on=on, off=off, shortest=shortest, pause=pause)
        alarms: list[Any] = [lambda alarm: print_json(alarm.to_dict())]
        takers: list[Any] = []
        if out is not None:
            lines = stack.enter_context(Lines(out))
            alarms.append(lambda alarm: lines.write(alarm.to_dict()))
        if webhook is not None:
            hook = Webhook(
                webhook,
                headers=_headers(header or []),
                timeout=webhook_timeout,
                tries=webhook_tries,
                say=say,
            )
            stack.callback(hook.close)
            alarms.append(lambda alarm: hook.send(alarm.to_dict()))
        if scores is not None:
            all_scores = stack.enter_context(Lines(scores))
            takers.append(lambda score: all_scores.write(score.to_dict()))
        if plot is not None:
            curve = Curve(tuple(classes), rule)
            alarms.append(curve.alarm)
            takers.append(curve.score)
            stack.callback(curve.save, plot)
        recorder = None
        if clips is not None:
            recorder = Recorder(
                clips, before=before, after=after, longest=longest, wait=not watched.drops, say=say
            )
        watcher = Watcher(
            watched,
            scorer(asked, window=window, every=every, frames=frames, fit=fit),
            classes=classes,
            rule=rule,
            smoother=smoother,
            recorder=recorder,
            alarms=alarms,
            scores=takers,
            say=say,
            report=report,
        )
        with SignalGuard() as guard:
            figures = watcher.run(stop=lambda: guard.received is not None)
        say(f"{source}: {figures.pictures} pictures, {figures}, alarms: {watcher.raised}")


def _model(
    run: Path | None, address: str | None, name: str, *, checkpoint: str, threads: int | None
) -> tuple[Model, Fit]:
    from kerasft.cli.quiet import import_tensorflow
    from kerasft_video.watching import OnServer, config_of, open_model
    from kerasft_video.watching.fitting import as_trained, shrunk

    if run is not None:
        import_tensorflow()
    if address is not None:
        config = None if run is None else config_of(run)
        server = OnServer(address, model=name, config=config)
        return server, shrunk(224) if config is None else as_trained(config)
    if run is None:
        raise ConfigError("say which model: --run FOLDER, or --address HOST:PORT --model NAME of a server")
    found = open_model(run, checkpoint=checkpoint, threads=threads)
    assert found.config is not None
    return found, as_trained(found.config)


def _headers(items: list[str]) -> dict[str, str]:
    found = {}
    for item in items:
        name, colon, value = item.partition(":")
        if not colon or not name.strip() or not item.isprintable():
            raise ConfigError("--webhook-header: write a name, a colon and a value, for example 'X-Key: abc'")
        found[name.strip()] = value.strip()
    return found
