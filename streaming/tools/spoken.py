"""What a stream's windows are when nothing is detected: lengths alone decide.

Conversations as `talk.py` holds them, cut into utterances as a gate would and into
windows as a `Windower` does, with the place at which each is there. Knows samples;
neither clocks nor engines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streaming.config import GateConfig
from streaming.core.windows import WindowShape
from streaming.events import Samples, Window
from streaming.tools.talk import Talk

__all__ = ["SOUND_S", "Line", "Spoken", "Utterance", "utterances"]

SOUND_S = 30
"""Utterances are cut out of so much sound, from anywhere."""

_PHASE_S = 60.0  # streams are met anywhere within the first so many seconds


@dataclass(frozen=True, slots=True)
class Utterance:
    """Where it lies in its stream, in samples."""

    start: int
    length: int


def utterances(talk: Talk, gate: GateConfig, seed: int) -> Iterator[Utterance]:
    """Yield what a gate would make of a conversation, pre-roll and hangover included.

    The stream is met in the midst of it, perhaps of an utterance.

    Args:
        talk: how somebody is spoken to.
        gate: its hangover, pre-roll and longest utterance count.
        seed: of the conversation.
    """
    hangover = talk.rate * gate.hangover_ms // 1_000
    pre_roll = talk.rate * gate.pre_roll_ms // 1_000
    longest = int(talk.rate * gate.max_utterance_s)
    met = int(np.random.default_rng(seed).uniform(0, _PHASE_S) * talk.rate)
    begin = at = 0
    for spoken, silent in talk.spans(seed):
        at += spoken
        if silent >= hangover:
            end = at + hangover
            while end > begin:
                until = min(end, begin + longest)
                if until > met:
                    start = max(begin, met)
                    yield Utterance(start - met, until - start)
                begin = until
            begin = max(end, at + silent - pre_roll)
        at += silent


@dataclass(frozen=True, slots=True)
class Spoken:
    """A window, and how far its stream has come when its last sample arrives.

    Attributes:
        at: samples of the stream.
        utterance: number within the stream.
        window: what is to be run.
    """

    at: int
    utterance: int
    window: Window


class Line:
    """One stream: its windows in order, as a `Windower` cuts them.

    Args:
        shape: of windows.
        sound: what is said, `(n,)`; utterances begin anywhere in its first
            `SOUND_S` seconds.
        said: utterances in order.
        rate: samples a second.
        seed: of where in the sound they begin.
    """

    def __init__(
        self,
        shape: WindowShape,
        sound: Samples,
        said: Iterator[Utterance],
        rate: int,
        seed: int,
    ) -> None:
        self._shape = shape
        self._sound = sound
        self._said = said
        self._random = np.random.default_rng(seed)
        self._most = rate * SOUND_S
        self._number = -1
        self._begin()

    def _begin(self) -> None:
        self._utterance = next(self._said)
        self._number += 1
        self._from = int(self._random.integers(self._most))
        self._start = 0  # of the next hop in the utterance

    @property
    def at(self) -> int:
        """When its next window is there, in samples of the stream."""
        return self._utterance.start + min(self._whole, self._utterance.length)

    @property
    def _whole(self) -> int:
        """Where the next window ends, if the utterance does not."""
        return self._start + self._shape.hop + self._shape.right

    def take(self) -> Spoken:
        """The next window."""
        at, length = self.at, self._utterance.length
        if self._whole <= length:
            window = self._cut(self._shape.hop, self._shape.right)
            return Spoken(at, self._number, window)
        spoken = Spoken(at, self._number, self._cut(length - self._start, 0, last=True))
        self._begin()
        return spoken

    def end(self, at: int) -> Spoken | None:
        """End the utterance where the stream is now; None where none has begun."""
        if not self._start:
            return None
        hop = max(0, at - self._utterance.start - self._start)
        hop = min(hop, self._shape.hop + self._shape.right)
        return Spoken(at, self._number, self._cut(hop, 0, last=True))

    def _cut(self, hop: int, right: int, *, last: bool = False) -> Window:
        left = min(self._shape.left, self._start)
        begin = self._from + self._start - left
        samples = self._sound[begin : begin + left + hop + right]
        window = Window(samples, self._start, left, hop, right, last=last)
        self._start += hop
        return window
