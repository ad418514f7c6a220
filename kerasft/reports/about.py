"""The parts of a run report that say what was trained, and how to go on with it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from kerasft.reports.facts import Facts, summary_of
from kerasft.reports.markup import Html, details, join, section, table, tag
from kerasft.reports.settings import settings


def subtitle(facts: Facts) -> Html:
    """Returns what the task is, when it was trained and on what."""
    parts = [summary_of(facts.task)]
    if facts.sessions:
        last = facts.sessions[-1]
        known = [last[fact] for fact in ("device", "precision") if last.get(fact)]
        parts.append(" ".join([str(last["started"])[:10], *(["on", ", ".join(known)] if known else [])]))
    return tag("p", " · ".join(part for part in parts if part), class_="soft")


def freezing(facts: Facts) -> Html:
    """Returns the layer groups, and what of them trains from which epoch on."""
    phases, unfreeze = facts.phases, facts.unfreeze
    headings = ["group", "layers", "parameters", "trainable", "rate factor"]
    rows = []
    for i, row in enumerate(phases[-1].rows):
        factor = f"{row.rate_factor:g}" if row.trainable else "–"
        cells = [row.group, str(row.layers), f"{row.parameters:,}", f"{row.trainable:,}", factor]
        if unfreeze is not None:
            begin = next((e for e, phase in enumerate(phases, start=1) if phase.rows[i].trainable), None)
            cells.append("–" if begin is None else str(begin))
        rows.append(cells)
    last = phases[-1]
    said = [f"{last.trainable:,} of {last.parameters:,} parameters train"]
    if unfreeze is not None:
        headings.append("from epoch")
        said[0] += " in the last epoch"
        said.append(f"unfreezing {unfreeze}")
    if facts.manifest.get("freeze") is not None:
        said.append(f"freeze policy {facts.manifest['freeze']!r}")
    if facts.manifest.get("lora"):
        given = ", ".join(f"{k}={v!r}" for k, v in facts.manifest["lora"].items() if v is not None)
        said.append(f"LoRA({given})")
    return section("Layers", tag("p", "; ".join(said), class_="soft"), table(headings, rows))


def next_steps(facts: Facts) -> Html:
    """Returns the commands that use the run, and what must be known before."""
    folder, notice = facts.folder, facts.manifest.get("notice")
    run, name = shlex.quote(str(folder)), model_name(folder)
    shell = f"""\
kerasft evaluate {run} --data TEST_FILE
kerasft predict {run} --data FILE --out answers.jsonl
kerasft export {run} saved_models/{name}
kerasft verify saved_models/{name}/1
kerasft serve saved_models/{name} --grpc-port 8500
tensorboard --logdir {run}/tensorboard"""
    python = f"""\
import kerasft

task = kerasft.load({str(folder)!r})
task.evaluate("TEST_FILE")
task.predict("FILE")
task.export("saved_models/{name}")"""
    blocks = [
        tag("div", tag("h3", heading), tag("pre", tag("code", text)))
        for heading, text in (("Shell", shell), ("Python", python))
    ]
    said = [tag("p", notice)] if notice else []
    return section("Use this run", *said, tag("div", *blocks, class_="two"))


def config(facts: Facts) -> Html:
    """Returns the settings, those that differ from the defaults first."""
    rows = settings(facts.task, facts.manifest["config"])
    changed = [row for row in rows if row.changed]
    rest = [row for row in rows if not row.changed]
    said = f"{len(changed)} of {len(rows)} settings differ from their defaults"
    first = table(
        ["setting", "value", "default"],
        [(_key(row.key, row.help), _code(row.value), _code(row.default)) for row in changed],
        text=3,
    )
    others = table(
        ["setting", "default"], [(_key(row.key, row.help), _code(row.value)) for row in rest], text=2
    )
    parts = [
        *([first] if changed else []),
        *([details(f"{len(rest)} at their defaults", others)] if rest else []),
    ]
    return section("Config", details(said, *parts))


def _key(key: str, explanation: str) -> Html:
    return join([tag("code", key), Html("<br>"), tag("small", explanation)])


def _code(value: str) -> Html:
    return tag("code", value if len(value) <= 300 else value[:299] + "…")


def versions(facts: Facts) -> Html:
    """Returns the versions that the run was made with."""
    found: dict[str, str] = dict(facts.manifest.get("versions", {}))
    for session in facts.sessions:
        for name, version in session.get("versions", {}).items():
            if version not in found.get(name, "").split(", then "):
                found[name] = f"{found[name]}, then {version}" if name in found else version
    return section("Versions", tag("p", ", ".join(f"{name} {version}" for name, version in found.items())))


def model_name(folder: Path) -> str:
    """Returns a name for the exported model that is safe in a path, a URL and a shell.

    Example:
        >>> model_name(Path("runs/my reviews!"))
        'my-reviews'
    """
    return re.sub(r"[^A-Za-z0-9_.]+", "-", folder.absolute().name).strip("-.") or "model"
