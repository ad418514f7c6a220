"""Back-translation: sentences of the target language alone become pairs, by a run of the other direction."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import kerasft
from kerasft.data import Field, Source, open_source
from kerasft.errors import ConfigError, DataError
from kerasft_translation.config import BackTranslationConfig, TranslationConfig

SYNTHETIC = "synthetic"
"""The column that is true where a text is a machine's."""

_CHUNK = 2000
_FOLDER = "back_translations"


class Mixed(Source):
    """Real pairs, then synthetic ones; the column `synthetic` tells them apart.

    Args:
        real: Pairs with the columns "text" and "translation", perhaps with a weight.
        texts: What a reverse run made of `translations`.
        translations: Sentences of the target language.
        name: Where these come from, for messages.
        notes: Sentences about them.
    """

    def __init__(
        self,
        real: Source,
        texts: Sequence[str],
        translations: Sequence[str],
        *,
        name: str,
        notes: Sequence[str] = (),
    ) -> None:
        self._real, self._made = real, {"text": texts, "translation": translations}
        self.name, self._other = real.name, name
        self.fields = (*real.fields, Field(name=SYNTHETIC, kind="boolean"))
        self.notes = (*real.notes, *notes)
        self.skipped, self.skip_examples = real.skipped, real.skip_examples

    def __len__(self) -> int:
        return len(self._real) + len(self._made["text"])

    def take(self, indices: Sequence[int] | np.ndarray, columns: Sequence[str] | None = None) -> Any:
        names = self.columns if columns is None else tuple(columns)
        numbers = np.asarray(indices, np.int64)
        synthetic = numbers >= len(self._real)
        others = [name for name in names if name != SYNTHETIC]
        found = self._real.take(numbers[~synthetic], others) if others else {}
        made = (numbers[synthetic] - len(self._real)).tolist()
        places = np.argsort(np.concatenate([np.flatnonzero(~synthetic), np.flatnonzero(synthetic)]))
        taken: dict[str, Any] = {SYNTHETIC: synthetic}
        for name in others:
            if name in self._made:
                joined = [*found[name], *(self._made[name][i] for i in made)]
                taken[name] = [joined[place] for place in places]
            else:
                taken[name] = np.concatenate([found[name], np.ones(len(made), np.float32)])[places]
        return {name: taken[name] for name in names}

    def where(self, index: int) -> str:
        inside = index - len(self._real)
        return self._real.where(index) if inside < 0 else f"{self._other}, back-translation {inside + 1}"

    def class_counts(self, name: str) -> dict[str, int]:
        return self._real.class_counts(name)

    def classes(self, name: str) -> tuple[str, ...]:
        return self._real.classes(name)

    def codes(self, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
        return self._real.codes(name)

    def fingerprint(self) -> str:
        return _digest(self._real.fingerprint(), *self._made["text"], *self._made["translation"])

    def subset(self, indices: Sequence[int] | np.ndarray) -> Source:
        numbers = np.asarray(indices, np.int64)
        real, made = numbers[numbers < len(self._real)], numbers[numbers >= len(self._real)]
        if not np.array_equal(numbers, np.concatenate([real, made])):
            raise DataError(f"{self.name}: take the real pairs first, then the synthetic ones")
        kept = {name: [values[i - len(self._real)] for i in made] for name, values in self._made.items()}
        return Mixed(self._real.subset(real), kept["text"], kept["translation"], name=self._other)


def mixed(
    real: Source, *, config: TranslationConfig, open_data: Callable[[Any], Any] = lambda data: data
) -> Source:
    """Adds synthetic pairs to real ones until they make `back_translation.share` of all.

    Translations are kept in the folder of the reverse run, so that the same sentences are translated once.

    Source: Sennrich et al., 2016, "Improving Neural Machine Translation Models with Monolingual Data".

    Args:
        real: The training pairs.
        config: That of the task; `back_translation.texts` is set.
        open_data: Turns addresses of the plugin's own into data.

    Raises:
        ConfigError: the reverse run is of another task, or translates in the same direction.
        DataError: the sentences cannot be read.
    """
    settings = config.back_translation
    wanted = max(1, round(len(real) * settings.share / (1 - settings.share)))
    sentences, name = _sentences(settings, config.target, open_data)
    # A prefix of one order, so that a larger share keeps what a smaller one has had translated.
    order = np.random.default_rng(config.seed or 0).permutation(len(sentences))[:wanted]
    chosen = [sentences[i] for i in order]
    texts = _translated(chosen, settings, config)
    pairs = [(text, sentence) for text, sentence in zip(texts, chosen, strict=True) if text.strip()]
    if not pairs:
        raise DataError(f"{settings.run} translates every sentence of {name} into nothing; is it trained?")
    share = len(pairs) / (len(pairs) + len(real))
    note = (
        f"{len(pairs)} of {len(sentences)} sentences of {name} are back-translated: {share:.0%} of the pairs"
    )
    if len(sentences) < wanted:
        note += f" (share={settings.share} would need {wanted} sentences)"
    made, kept = ([pair[i] for pair in pairs] for i in (0, 1))
    return Mixed(real, made, kept, name=name, notes=[note])


def _sentences(
    settings: BackTranslationConfig, column: str, open_data: Callable[[Any], Any]
) -> tuple[list[str], str]:
    """Returns the sentences and how messages call them."""
    data: Any = settings.texts
    if Path(data).suffix == ".txt":
        try:
            lines = Path(data).read_text(encoding="utf-8").split("\n")
        except OSError as error:
            raise DataError(f"back_translation.texts: {data} cannot be read ({error.strerror}).") from error
        except UnicodeDecodeError as error:
            raise DataError(f"back_translation.texts: {data} is not UTF-8; save it as UTF-8.") from error
        name, found = Path(data).name, [line.strip() for line in lines]
    else:
        field = Field(name="translation", aliases=(column,))
        source = open_source(open_data(data), fields=[field])
        name, found = source.name, [text.strip() for text in source.iterate("translation")]
    found = list(dict.fromkeys(text for text in found if text))
    if not found:
        raise DataError(f"back_translation.texts: {name} holds no sentence.")
    return found, name


def _translated(
    sentences: list[str], settings: BackTranslationConfig, config: TranslationConfig
) -> list[str]:
    """Translates what has not been translated before."""
    run = Path(str(settings.run)).expanduser()
    task = _reverse(run, config)
    its = [task.config.decoding.model_dump_json(), *(units.proto.hex() for units in task.units)]
    its += [hashlib.sha256(weight.tobytes()).hexdigest() for weight in task.model.get_weights()]
    how = _digest(settings.search, str(config.seed), *its)
    made: list[str] = []
    for start in range(0, len(sentences), _CHUNK):
        chunk = sentences[start : start + _CHUNK]
        kept = run / _FOLDER / f"{_digest(how, *chunk)}.json"
        if not kept.is_file():
            seeds = range(start + (config.seed or 0), start + (config.seed or 0) + len(chunk))
            _write(kept, _translate(task, chunk, settings.search, seeds))
        made += json.loads(kept.read_text(encoding="utf-8"))
    return made


def _reverse(run: Path, config: TranslationConfig) -> Any:
    task: Any = kerasft.load(run)
    if task.name != "translation":
        raise ConfigError(f"back_translation.run: {run} is a run of the task {task.name!r}, no translation.")
    ours, its = (config.source, config.target), (task.config.source, task.config.target)
    if its == ours and ours != (TranslationConfig().source, TranslationConfig().target):
        raise ConfigError(
            f"back_translation.run: {run} translates from {its[0]!r} to {its[1]!r}, as this task does; it "
            "must be a run of the other direction."
        )
    return task


def _translate(task: Any, sentences: list[str], search: str, seeds: Sequence[int]) -> list[str]:
    data: dict[str, Any] = {"text": sentences}
    if search == "sample":
        data["seed"] = list(seeds)
    elif search == "greedy":
        data["beam"] = [1] * len(sentences)
    signature = "sample" if search == "sample" else "search"
    answers = task.predict(data, signature=signature, verbose="quiet")
    return [text.decode() for text in answers["translation"]]


def _write(path: Path, texts: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=".", delete=False
    ) as file:
        json.dump(texts, file, ensure_ascii=False)
    os.replace(file.name, path)


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:32]
