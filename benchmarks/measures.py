"""What is measured of hypotheses, as pure functions of texts, times and counts.

The names and definitions are those of benchmarks/README.md. Knows neither
models nor sockets: the same functions serve events of a session and of a client.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from clients import events as client
from streaming import events as server
from streaming.numeric.wer import align

__all__ = [
    "Churn",
    "Shown",
    "churn",
    "first_kept",
    "percentiles",
    "shown",
    "summary",
]

_PARTIAL = (server.Partial, client.Partial)
_FINAL = (server.Final, client.Final)
_STARTED = (server.SpeechStarted, client.SpeechStarted)
_ENDED = (server.SpeechEnded, client.SpeechEnded)

Final: TypeAlias = server.Final | client.Final


@dataclass(slots=True)
class Shown:
    """What was told of one utterance; times are whatever the events came with.

    Attributes:
        channel: the client's.
        utterance: its number within the channel.
        onset: its first sample of speech, seconds of audio.
        speech_end: its last.
        reason: why it ended.
        partials: when each came, and its words.
        ends: seconds of audio that each partial covers.
        final: None until it has come.
        final_at: when that was.
    """

    channel: int
    utterance: int
    onset: float = 0.0
    speech_end: float | None = None
    reason: str = ""
    partials: list[tuple[float, list[str]]] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    final: Final | None = None
    final_at: float = 0.0

    @property
    def hypotheses(self) -> list[tuple[float, list[str]]]:
        """The partials and then the final: when each came, and its words."""
        if self.final is None:
            return self.partials
        return [*self.partials, (self.final_at, self.final.text.split())]


def shown(events: Iterable[tuple[float, object]]) -> list[Shown]:
    """Sort events, each with when it came, by the utterance they tell of."""
    found: dict[tuple[int, int], Shown] = {}
    for at, event in events:
        if not isinstance(event, (*_PARTIAL, *_FINAL, *_STARTED, *_ENDED)):
            continue
        key = event.channel, event.utterance
        one = found.setdefault(key, Shown(*key))
        if isinstance(event, _STARTED):
            one.onset = event.at
        elif isinstance(event, _ENDED):
            one.speech_end = event.at
            one.reason = str(getattr(event.reason, "value", event.reason))
        elif isinstance(event, _PARTIAL):
            one.partials.append((at, event.text.split()))
            one.ends.append(event.end)
        else:
            one.final, one.final_at = event, at
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Churn:
    """How much of what was shown was taken back.

    Attributes:
        words: in finals.
        revised: words shown in a partial and not in the hypothesis after it.
        at_final: those of them that the final took back.
        grown: last words that went on growing; not revised.
        revisions: hypotheses that revised at least one word.
        seconds: of utterances.
    """

    words: int = 0
    revised: int = 0
    at_final: int = 0
    grown: int = 0
    revisions: int = 0
    seconds: float = 0.0

    def __add__(self, other: Churn) -> Churn:
        return Churn(
            self.words + other.words,
            self.revised + other.revised,
            self.at_final + other.at_final,
            self.grown + other.grown,
            self.revisions + other.revisions,
            self.seconds + other.seconds,
        )

    @property
    def upwr(self) -> float:
        """Unstable partial word ratio: words revised over words in finals."""
        return self.revised / max(1, self.words)

    @property
    def growth(self) -> float:
        """Last words that grew, over words in finals."""
        return self.grown / max(1, self.words)

    @property
    def flicker(self) -> float:
        """Revisions per second of utterance."""
        return self.revisions / self.seconds if self.seconds else 0.0


def churn(hypotheses: Sequence[Sequence[str]], seconds: float) -> Churn:
    """What the hypotheses of one utterance took back.

    Args:
        hypotheses: the words of every partial in order, then those of the final.
        seconds: the utterance's length.
    """
    revised = grown = revisions = at_final = 0
    for place in range(1, len(hypotheses)):
        before, after = hypotheses[place - 1], hypotheses[place]
        lost, grew = _taken_back(before, after)
        revised += lost
        grown += grew
        revisions += lost > 0
        if place == len(hypotheses) - 1:
            at_final = lost
    words = len(hypotheses[-1]) if hypotheses else 0
    return Churn(words, revised, at_final, grown, revisions, seconds)


def _taken_back(before: Sequence[str], after: Sequence[str]) -> tuple[int, bool]:
    """Words of `before` that are not in `after`, and whether its last one grew."""
    pairs = _aligned(before, after)
    lost = sum(old is not None and old != new for old, new in pairs)
    if not lost or not before or _kept_last(pairs):
        return lost, False
    # The last word is gone: did the first word after the kept ones grow out of it?
    kept = max((i for i, (old, new) in enumerate(pairs) if old == new), default=-1)
    follows = next((new for _, new in pairs[kept + 1 :] if new is not None), "")
    grew = follows.startswith(before[-1])
    return lost - grew, grew


def _kept_last(pairs: Sequence[tuple[str | None, str | None]]) -> bool:
    last = max(i for i, (old, _) in enumerate(pairs) if old is not None)
    return pairs[last][0] == pairs[last][1]


def _aligned(
    before: Sequence[str], after: Sequence[str]
) -> list[tuple[str | None, str | None]]:
    """An alignment in which what is common at the beginning stays where it is."""
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    head: list[tuple[str | None, str | None]] = [(word, word) for word in before[:same]]
    return [*head, *align(before[same:], after[same:])]


def first_kept(
    hypotheses: Sequence[Sequence[str]], words: Sequence[str]
) -> list[int | None]:
    """The first hypothesis that shows each word and from which on it was kept.

    Args:
        hypotheses: the words of every partial of an utterance in order, then
            those of the final.
        words: of one full-context pass over the utterance.

    Returns:
        For each word the place of the hypothesis; None where the last one does
        not have it.
    """
    since: list[int | None] = [None] * len(words)
    for number, hypothesis in enumerate(hypotheses):
        place = 0
        for word, heard in _aligned(words, hypothesis):
            if word is None:
                continue
            if word != heard:
                since[place] = None
            elif since[place] is None:
                since[place] = number
            place += 1
    return since


def percentiles(
    values: Sequence[float], shares: Sequence[float] = (0.5, 0.95, 0.99)
) -> list[float | None]:
    """The smallest values that these shares do not exceed; None of no values."""
    ordered = sorted(values)
    return [
        ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else None
        for share in shares
    ]


def summary(values: Sequence[float]) -> dict[str, float | None]:
    """How many values there are, and their percentiles."""
    p50, p95, p99 = percentiles(values)
    return {"of": len(values), "p50": p50, "p95": p95, "p99": p99}
