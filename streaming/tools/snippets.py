"""Cut words and short phrases out of longer recordings, where they were spoken.

A small model learns words by heart with the few voices of a word corpus; read
sentences hold the same words in hundreds of voices. A model that is half trained
finds them well enough, since the text is known (numeric/alignment.py). Knows
nothing of how the model runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

from streaming.events import Samples
from streaming.tools.corpus import SAMPLE_RATE, AudioStore, Utterance
from streaming.tools.recipe import Snippets

__all__ = ["PHRASES", "WORDS", "Aligner", "cut_snippets"]

WORDS = "snippet_words"
PHRASES = "snippet_phrases"
"""The corpora they are listed under."""

Aligner = Callable[[Samples, str], Sequence[tuple[int, int]] | None]
"""Samples `(n,)` and text in; the span of each word in samples, or None."""

_SHORTEST_S = 0.1
_LONGEST_S = 2.5
_FADE_S = 0.005
_SEARCH_S = 0.04  # how far from the middle between two words the cut may lie
_FRAME_S = 0.01  # whose loudness is looked at
_MARGIN_S = 0.17  # kept before the first word and after the last


@dataclass(frozen=True, slots=True)
class _Cut:
    corpus: str
    first: int
    end: int


def cut_snippets(
    plan: Snippets,
    utterances: Iterable[Utterance],
    store: AudioStore,
    align: Aligner,
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> Path:
    """Cut them and write them down.

    Args:
        plan: which words, and how long the phrases.
        utterances: the recordings to cut.
        store: their audio.
        align: where the words are.
        folder: receives the clips and the manifest.
        progress: called with the recordings done.

    Returns:
        The manifest; its speakers are those of the recordings.
    """
    dice = np.random.default_rng(plan.seed)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.jsonl"
    with manifest.open("w") as out:
        for number, utterance in enumerate(utterances):
            progress(number)
            words = utterance.text.split()
            samples = store.samples(utterance)
            spans = align(samples, utterance.text) if words else None
            if spans is None:
                continue
            edges = _edges(samples, spans)
            for cut in _cuts(plan, words, dice):
                clip = samples[edges[cut.first] : edges[cut.end]]
                if not _SHORTEST_S <= len(clip) / SAMPLE_RATE <= _LONGEST_S:
                    continue
                name = f"{number}_{cut.corpus}_{cut.first}.flac"
                soundfile.write(folder / name, _faded(clip), SAMPLE_RATE)
                row = {
                    "audio": name,
                    "text": " ".join(words[cut.first : cut.end]),
                    "speaker": utterance.speaker,
                    "corpus": cut.corpus,
                    "duration": round(len(clip) / SAMPLE_RATE, 3),
                }
                out.write(json.dumps(row) + "\n")
    return manifest


def _cuts(
    plan: Snippets, words: Sequence[str], dice: np.random.Generator
) -> Iterator[_Cut]:
    """The wanted words alone, then everything in phrases of random lengths."""
    for place, word in enumerate(words):
        if word in plan.words:
            yield _Cut(WORDS, place, place + 1)
    first = 0
    while plan.phrase_words and first < len(words):
        end = min(len(words), first + int(dice.integers(1, plan.phrase_words + 1)))
        yield _Cut(PHRASES, first, end)
        first = end


def _edges(samples: Samples, spans: Sequence[tuple[int, int]]) -> list[int]:
    """Where to cut before each word, and after the last one.

    At the quietest frame near the middle between two words.
    """
    margin = round(_MARGIN_S * SAMPLE_RATE)
    middles = [(end + start) // 2 for (_, end), (start, _) in pairwise(spans)]
    rough = [spans[0][0] - margin, *middles, spans[-1][1] + margin]
    return [_quietest(samples, min(max(0, at), len(samples))) for at in rough]


def _quietest(samples: Samples, at: int) -> int:
    search, frame = (round(s * SAMPLE_RATE) for s in (_SEARCH_S, _FRAME_S))
    first, end = max(0, at - search), min(len(samples), at + search)
    if end - first < 2 * frame:
        return at
    sums = np.convolve(samples[first:end] ** 2, np.ones(frame), "valid")
    return first + int(sums.argmin()) + frame // 2


def _faded(clip: Samples) -> Samples:
    """Without a click at its ends."""
    count = round(_FADE_S * SAMPLE_RATE)
    ramp = np.linspace(0, 1, count, dtype=np.float32)
    clip = clip.copy()
    clip[:count] *= ramp
    clip[-count:] *= ramp[::-1]
    return clip
