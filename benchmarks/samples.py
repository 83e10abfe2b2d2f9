"""The test sets: recordings of known text, each with a quiet room around it.

A clip that is shorter than a second begins and ends in the middle of a word; life
does not. So each gets the same faint noise before and after it for streams and
whole passes alike. Knows files and seeds; nothing of models.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from streaming.cli.demo import RECORDING
from streaming.events import Samples
from streaming.numeric.recordings import read_samples
from streaming.tools.corpus import Utterance, held_out, read_manifest

__all__ = ["DOMAIN", "RATE", "SETS", "SPEECH", "Sample", "load", "quiet_room"]

RATE = 16_000
SPEECH = Path(__file__).parent.parent.parent / "shared" / "speech"

BEFORE_S = 0.5
AFTER_S = 0.8  # past the hangover, so that the gate itself ends the utterance
# The noise of a quiet room: 66 dB under full scale, as in the demo's recording.
ROOM = 10 ** (-66 / 20)
DIGIT_STRINGS = 60
HELD_OUT_ONE_IN = 12  # as in the recipe of the bundled model


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A recording and what it says.

    Attributes:
        corpus: the test set.
        name: within it.
        text: lower case.
        samples: `(n,)` at 16 kHz, with its quiet room.
    """

    corpus: str
    name: str
    text: str
    samples: Samples

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / RATE


def load(
    corpora: Sequence[str], folder: Path = SPEECH, limit: int | None = None
) -> list[Sample]:
    """The samples of test sets.

    Args:
        corpora: keys of `SETS`.
        folder: with `test/manifest.jsonl` and `train/manifest.jsonl`.
        limit: most samples of each, spread over it.
    """
    found = []
    for corpus in corpora:
        for name, text, samples in SETS[corpus](folder, limit):
            found.append(Sample(corpus, name, text, in_quiet_room(samples, name)))
    return found


def in_quiet_room(samples: Samples, name: str) -> Samples:
    """The samples with faint noise before and after them, the same every time."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    before, after = quiet_room(BEFORE_S, random), quiet_room(AFTER_S, random)
    return np.concatenate((before, samples, after)).astype(np.float32)


def quiet_room(seconds: float, random: np.random.Generator) -> Samples:
    """Faint noise, `(n,)`."""
    return random.normal(0, ROOM, round(seconds * RATE)).astype(np.float32)


_Row = tuple[str, str, Samples]
_Set = Callable[[Path, int | None], Iterator[_Row]]


def _of_corpus(corpus: str) -> _Set:
    def rows(folder: Path, limit: int | None) -> Iterator[_Row]:
        manifest = read_manifest(folder / "test" / "manifest.jsonl")
        yield from _read([u for u in manifest if u.corpus == corpus], limit)

    return rows


def _grid(folder: Path, limit: int | None) -> Iterator[_Row]:
    """Sentences kept out of training, of a speaker who was in it."""
    manifest = read_manifest(folder / "train" / "manifest.jsonl")
    grid = [u for u in manifest if u.corpus == "grid_s1"]
    yield from _read([u for u in grid if held_out(u, HELD_OUT_ONE_IN)], limit)


def _digit_strings(folder: Path, limit: int | None) -> Iterator[_Row]:
    """3 to 10 digits of the speaker nobody trained on, 0.1 to 0.4 s apart."""
    manifest = read_manifest(folder / "test" / "manifest.jsonl")
    digits = [u for u in manifest if u.corpus == "fsdd"]
    random = np.random.default_rng(7)
    for number in range(min(DIGIT_STRINGS, limit or DIGIT_STRINGS)):
        chosen = random.choice(len(digits), int(random.integers(3, 11)), replace=False)
        pieces: list[Samples] = []
        for place in chosen:
            if pieces:
                pieces.append(quiet_room(float(random.uniform(0.1, 0.4)), random))
            pieces.append(read_samples(digits[place].path, RATE))
        text = " ".join(digits[place].text for place in chosen)
        yield f"string_{number}", text, np.concatenate(pieces)


def _demo(_folder: Path, _limit: int | None) -> Iterator[_Row]:
    """The project's own recording, a synthetic voice; an utterance each."""
    whole = read_samples(RECORDING, RATE)
    about = json.loads(RECORDING.with_suffix(".json").read_text(encoding="utf-8"))
    for number, said in enumerate(about["utterances"]):
        start, end = round(said["start"] * RATE), round(said["end"] * RATE)
        yield f"demo_{number}", said["text"], whole[start:end]


def _read(rows: Sequence[Utterance], limit: int | None) -> Iterator[_Row]:
    step = max(1, len(rows) // limit) if limit else 1
    for row in rows[::step][:limit]:
        yield row.path.stem, row.text, read_samples(row.path, RATE)


SETS: dict[str, _Set] = {
    "librispeech": _of_corpus("librispeech"),
    "speechocean762": _of_corpus("speechocean762"),
    "fsdd": _of_corpus("fsdd"),
    "speech_commands": _of_corpus("speech_commands"),
    "fsdd strings": _digit_strings,
    "grid_s1 (seen speaker)": _grid,
    "demo (synthetic)": _demo,
}
"""What makes each test set: its name, text and samples, without the room."""

DOMAIN = (
    "speech_commands",
    "fsdd strings",
    "grid_s1 (seen speaker)",
    "demo (synthetic)",
)
"""What the bundled model is for. Single digits are in the strings already."""
