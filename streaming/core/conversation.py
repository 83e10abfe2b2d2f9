"""Two sides of a call as one conversation: turns in time order, overlaps marked.

Each side tells what it said and up to where nothing older can come; a turn is given
out once no other side can say anything before its end, so that neither its place
nor its overlaps change any more. All times are of one clock. Knows no audio.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

from streaming.events import Word

__all__ = ["Conversation", "Overlap", "Turn"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """While this was said, so did another.

    Attributes:
        speaker: the other one.
    """

    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker said in one go: an utterance.

    Attributes:
        speaker: who.
        utterance: its number among the speaker's.
        start: of the first word, or of the utterance where words have no times.
        end: likewise of the last.
        overlaps: with others, in order.
    """

    speaker: str
    utterance: int
    start: float
    end: float
    text: str
    confidence: float = 1.0
    words: tuple[Word, ...] = ()
    overlaps: tuple[Overlap, ...] = ()


@dataclass(slots=True)
class _Side:
    """One speaker.

    Attributes:
        waiting: turns that are not given out.
        given: those that were and may overlap with what others have yet to say.
        open_from: nothing of the open utterance lies before this; None without one.
        floor: what follows the open utterance, or the silence, lies after this.
    """

    speaker: str
    waiting: deque[Turn] = field(default_factory=deque)
    given: list[Turn] = field(default_factory=list)
    open_from: float | None = None
    floor: float = -inf

    @property
    def certain(self) -> float:
        """What is still to be told begins here at the earliest."""
        return self.floor if self.open_from is None else self.open_from


class Conversation:
    """Merge the sides of one call; make one per call.

    What a side tells is answered by the turns that are certain now, in the order of
    their starts.

    Args:
        speakers: a name for each side; sides are numbered in this order. One that
            has yet to begin holds up the others' turns until it `reached` them.
        lookback_s: an utterance may begin so long before the place where speech was
            noticed, and is told of at so much later audio: pre-roll and onset.
    """

    def __init__(self, speakers: Sequence[str], lookback_s: float = 1.0) -> None:
        self._sides = [_Side(speaker) for speaker in speakers]
        self._lookback_s = lookback_s

    def join(self, speaker: str, at: float) -> int:
        """One more side, which says nothing before `at`; returns its number."""
        self._sides.append(_Side(speaker, floor=at))
        return len(self._sides) - 1

    def began(self, side: int, at: float) -> None:
        """An utterance began; speech was noticed at `at`."""
        one = self._sides[side]
        one.open_from = max(one.floor, at - self._lookback_s)

    def said(self, side: int, turn: Turn) -> list[Turn]:
        """An utterance is final; one without text is no turn.

        Args:
            side: whose.
            turn: its start and end are the utterance's, its speaker is ignored.
        """
        one = self._sides[side]
        one.open_from = None
        one.floor = max(one.floor, turn.end)
        if turn.text:
            start, end = turn.start, turn.end
            if turn.words:
                start, end = turn.words[0].start, turn.words[-1].end
            one.waiting.append(
                replace(turn, speaker=one.speaker, start=start, end=max(start, end))
            )
        return self._certain()

    def reached(self, side: int, at: float) -> list[Turn]:
        """All that a side said before `at` was told, unless an utterance is open.

        A server takes audio over while older audio still waits for its words.
        """
        one = self._sides[side]
        if one.open_from is None:
            one.floor = max(one.floor, at - self._lookback_s)
        return self._certain()

    def ended(self, side: int) -> list[Turn]:
        """A side says nothing more."""
        one = self._sides[side]
        one.open_from, one.floor = None, inf
        return self._certain()

    def _certain(self) -> list[Turn]:
        turns: list[Turn] = []
        while True:
            waiting = [side for side in self._sides if side.waiting]
            if not waiting:
                break
            first = min(waiting, key=lambda side: side.waiting[0].start)
            turn = first.waiting[0]
            others = [side for side in self._sides if side is not first]
            if any(side.certain < turn.end for side in others):
                break
            first.waiting.popleft()
            first.given.append(turn)
            turns.append(replace(turn, overlaps=_overlaps(turn, others)))
        self._forget()
        return turns

    def _forget(self) -> None:
        """Given turns matter while another side may still overlap with them."""
        for side in self._sides:
            needed = min(
                (
                    min([other.certain, *(turn.start for turn in other.waiting)])
                    for other in self._sides
                    if other is not side
                ),
                default=inf,
            )
            side.given = [turn for turn in side.given if turn.end > needed]


def _overlaps(turn: Turn, others: Sequence[_Side]) -> tuple[Overlap, ...]:
    found = [
        Overlap(max(turn.start, other.start), min(turn.end, other.end), side.speaker)
        for side in others
        for other in (*side.given, *side.waiting)
        if max(turn.start, other.start) < min(turn.end, other.end)
    ]
    return tuple(sorted(found, key=lambda overlap: overlap.start))
