"""Whole recordings in one full-context pass each, or as few as it takes.

What is longer than one pass may be is cut where it is quietest. Knows samples at
the model's rate; does not know files, streams or gates.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from streaming.core.decoder import Decoded, Decoder
from streaming.events import Samples, Word
from streaming.tools.workbench import Workbench

__all__ = ["Whole", "one_passes", "quiet_cuts", "spans_decoded"]

_QUIET_S = 0.3  # a pause between words is shorter, one between sentences longer
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Whole:
    """A recording, decoded without regard to time.

    Attributes:
        text: its words.
        words: with seconds from its first sample.
        pieces: how many passes it took.
    """

    text: str
    words: tuple[Word, ...] = ()
    pieces: int = 1


def one_passes(bench: Workbench, recordings: Iterable[Samples]) -> Iterator[Whole]:
    """Decode recordings, `(n,)` each at the model's rate, in order.

    Raises:
        ModelError: a pass failed.
    """
    rate = bench.facts.geometry.sample_rate
    counts: deque[int] = deque()

    def pieces() -> Iterator[tuple[Samples, int]]:
        for samples in recordings:
            cuts = [0, *quiet_cuts(samples, rate, bench.longest_pass), len(samples)]
            counts.append(len(cuts) - 1)
            for start, end in pairwise(cuts):
                yield samples[start:end], start

    decoded = spans_decoded(bench, pieces())
    for first in decoded:
        count = counts.popleft()
        parts = [first, *(next(decoded) for _ in range(count - 1))]
        space = bench.facts.vocabulary.space
        text = space.join(part.text for part in parts if part.text)
        words = tuple(word for part in parts for word in part.words)
        yield Whole(text, words, count)


def spans_decoded(
    bench: Workbench, spans: Iterable[tuple[Samples, int]]
) -> Iterator[Decoded]:
    """Decode each span by one full-context pass, in order.

    Args:
        bench: where.
        spans: `(n,)` samples and the place of the first in its recording, from
            which the words' times count.

    Raises:
        ModelError: a pass failed.
    """
    facts = bench.facts
    begun: deque[tuple[int, int]] = deque()

    def samples() -> Iterator[Samples]:
        for span, start in spans:
            begun.append((start, len(span)))
            yield span

    for rows in bench.passes(samples()):
        start, length = begun.popleft()
        decoder = Decoder(
            facts.vocabulary,
            facts.geometry,
            start=start,
            temperature=facts.temperature,
            bias=facts.bias,
        )
        yield decoder.full(rows, length)


def quiet_cuts(samples: Samples, rate: int, longest: int) -> list[int]:
    """Where to cut a recording so that no piece is longer than `longest` samples.

    Each cut is in the middle of the quietest third of a second of the later half
    of what one piece could hold; of equally quiet ones, the last.

    Args:
        samples: `(n,)`.
        rate: samples a second.
        longest: most samples of a piece, at least a second.

    Raises:
        ValueError: `longest` is shorter.
    """
    if longest < rate:
        raise ValueError(f"a piece must hold {rate} samples or more, got {longest}")
    quiet, look = int(_QUIET_S * rate), int(_LOOK_S * rate)
    # Running energy: the energy of any stretch is a difference of two.
    energy = np.concatenate(([0.0], np.cumsum(np.square(samples, dtype=np.float64))))
    cuts: list[int] = []
    start = 0
    while len(samples) - start > longest:
        places = np.arange(start + longest // 2, start + longest - quiet, look)
        loudness = energy[places + quiet] - energy[places]
        least = len(places) - 1 - int(np.argmin(loudness[::-1]))
        start = int(places[least]) + quiet // 2
        cuts.append(start)
    return cuts
