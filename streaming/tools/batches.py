"""Draw training batches: weighted corpora, strung-together words, distortions.

Pure but for the audio store's memory map; the same seed draws the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streaming.tools.augment import (
    SAMPLE_RATE,
    Augmenter,
    Samples,
    change_speed,
    cut_soft_ends,
)
from streaming.tools.corpus import AudioStore, Utterance
from streaming.tools.recipe import CorpusShare, Recipe

__all__ = ["Batch", "Batches", "Example", "normalise"]

POOL = 24  # batches drawn at a time, then sorted by length to save padding


@dataclass(frozen=True, slots=True)
class Example:
    """Distorted samples and the words in them."""

    samples: Samples
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded to its longest.

    Attributes:
        samples: `(batch, n)`, zero mean and unit variance each, then zeros.
        counts: `(batch,)` samples before the padding.
        texts: what was said.
    """

    samples: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int64]
    texts: tuple[str, ...]


def normalise(samples: Samples) -> Samples:
    """Zero mean, unit variance, as `Wav2Vec2FeatureExtractor` does it."""
    scale = np.sqrt(samples.var() + np.float32(1e-7))
    return np.asarray((samples - samples.mean()) / scale, np.float32)


class Batches:
    """An endless supply for one worker.

    Args:
        recipe: shares, distortions and limits.
        utterances: what to draw from; corpora that have no share are left out.
        store: their audio.
        noises: background recordings.
        rooms: impulse responses.
        dice: source of randomness; one of its own for each worker.
    """

    def __init__(
        self,
        recipe: Recipe,
        utterances: list[Utterance],
        store: AudioStore,
        noises: list[Samples],
        rooms: list[Samples],
        dice: np.random.Generator,
    ) -> None:
        self._recipe = recipe
        self._store = store
        self._dice = dice
        self._augment = Augmenter(recipe.augmentation, noises, rooms, dice)
        self._corpora: list[tuple[CorpusShare, list[Utterance]]] = []
        self._peers: dict[tuple[str, str], list[Utterance]] = {}
        chances = []
        for share in recipe.corpora:
            rows = [u for u in utterances if u.corpus == share.name]
            if not rows or not share.weight:
                continue
            self._corpora.append((share, rows))
            mean = sum(store.seconds(u) for u in rows) / len(rows)
            chances.append(share.weight / (mean * (1 + share.join) / 2))
        for utterance in utterances:
            self._peers.setdefault((utterance.corpus, utterance.speaker), []).append(
                utterance
            )
        self._chances = np.array(chances) / sum(chances)

    def draw(self, seconds: float, strength: float = 1.0) -> Iterator[Batch]:
        """About `POOL` batches of `seconds` of audio, distorted with `strength`."""
        examples: list[Example] = []
        budget = seconds * SAMPLE_RATE
        while sum(len(e.samples) for e in examples) < budget * POOL:
            example = self._example(strength)
            if (
                len(example.samples)
                <= self._recipe.optimisation.max_utterance_s * SAMPLE_RATE
            ):
                examples.append(example)
        examples.sort(key=lambda e: len(e.samples))
        groups: list[list[Example]] = [[]]
        for example in examples:
            if groups[-1] and len(example.samples) * (len(groups[-1]) + 1) > budget:
                groups.append([])
            groups[-1].append(example)
        for place in self._dice.permutation(len(groups)):
            yield _pad(groups[place])

    def _example(self, strength: float) -> Example:
        augmentation = self._recipe.augmentation
        share, rows = self._corpora[
            self._dice.choice(len(self._corpora), p=self._chances)
        ]
        first = rows[self._dice.integers(len(rows))]
        peers = self._peers[first.corpus, first.speaker]
        count = int(self._dice.integers(1, share.join + 1))
        chosen = [
            first,
            *(peers[self._dice.integers(len(peers))] for _ in range(count - 1)),
        ]
        factor = self._dice.uniform(*share.speed)
        pieces = [self._silence(augmentation.edge_s)]
        for utterance in chosen:
            if len(pieces) > 1:
                pieces.append(self._silence(augmentation.pause_s))
            speech = self._trim(self._store.samples(utterance), share.trim_db)
            speech = speech * np.float32(0.1 / (np.sqrt((speech**2).mean()) + 1e-4))
            pieces.append(change_speed(speech, factor * self._dice.uniform(0.96, 1.04)))
        pieces.append(self._silence(augmentation.edge_s))
        samples = np.concatenate(pieces)
        text = " ".join(u.text for u in chosen if u.text)
        return Example(normalise(self._augment(samples, strength)), text)

    def _trim(self, samples: Samples, bounds: tuple[float, float]) -> Samples:
        """Half of the time, without the soft sounds at its ends."""
        if not any(bounds) or self._dice.random() < 0.5:
            return samples
        return cut_soft_ends(samples, float(self._dice.uniform(*bounds)))

    def _silence(self, bounds: tuple[float, float]) -> Samples:
        count = int(self._dice.uniform(*bounds) * SAMPLE_RATE)
        return self._augment.background(count) * np.float32(0.02)


def _pad(examples: list[Example]) -> Batch:
    counts = np.array([len(e.samples) for e in examples])
    samples = np.zeros((len(examples), counts.max()), np.float32)
    for row, example in zip(samples, examples, strict=True):
        row[: len(example.samples)] = example.samples
    return Batch(samples, counts, tuple(e.text for e in examples))
