"""One caller in virtual time: when windows and a full pass can be made of what is said.

Knows how somebody talks and how far the audio has come; neither the schedule nor
who else calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import inf

import numpy as np

from benchmarks.hours import Talk
from streaming.core.pacing import Pacer
from streaming.events import Job, Pass, Window
from streaming.numeric.geometry import Geometry

__all__ = ["GEOMETRY", "Call", "Utterance"]

GEOMETRY = Geometry()
_RATE = GEOMETRY.sample_rate
_STRIDE = GEOMETRY.stride
_SILENCE = np.zeros(120 * _RATE, np.float32)  # as long as an utterance may be


@dataclass(slots=True, eq=False)
class Utterance:
    """What its final waits for.

    Attributes:
        end: when its last sample arrives.
        due: bound of its final.
        windows: all are done.
        full: the full pass that is asked for and not answered.
        made_full: it was answered with rows.
    """

    end: float
    due: float
    windows: bool = False
    full: Job | None = None
    made_full: bool = False


@cache
def _window(left: int, start: int, hop: int, right: int, last: bool) -> Window:
    # One for all streams: what is in it does not matter here, only how long it is.
    length = left + hop + right
    return Window(_SILENCE[:length], start, left, hop, right, last)


class Call:
    """One caller, speaking or silent.

    Args:
        number: of the stream.
        talk: how everybody talks.
        until: when it ends, at the next silence.

    Attributes:
        utterance: what is spoken now, once a full pass could have been asked for.
    """

    def __init__(self, number: int, talk: Talk, until: float) -> None:
        self.until = until
        self.utterance: Utterance | None = None
        self._number = number
        self._talk = talk
        self._pacer = Pacer(_RATE, talk.budget_s)
        self._at = 0  # samples of speech before this utterance
        self._start = inf  # of the utterance
        self._length = 0
        self._sent = 0
        self._serial = -1
        self._speculated = False

    def begin(self, start: float, spoken_s: float) -> None:
        """An utterance begins."""
        talk = self._talk
        spoken_s = min(max(spoken_s, talk.hangover_s + 0.2), talk.longest_s)
        self._at += self._length
        self._start, self._serial, self._sent = start, self._serial + 1, 0
        self._length = int(spoken_s * _RATE) // _STRIDE * _STRIDE
        self._speculated = False
        self.utterance = None

    def next_at(self, hops: int) -> float:
        """When enough has arrived for a window, a full pass, or the end."""
        shape = self._talk.shape
        wanted = self._sent + hops * shape.hop + shape.right
        if not self._speculated:
            wanted = min(wanted, self._pause)
        return self._start + min(wanted, self._length) / _RATE

    def windows(self, hops: int, now: float) -> Iterator[Job]:
        """The windows that there is enough for, but for the last."""
        shape, hop = self._talk.shape, hops * self._talk.shape.hop
        heard = min(self._heard(now), self._length - 1)
        while self._sent + hop + shape.right <= heard:
            yield self._job(hop, shape.right, now)

    def pause(self, now: float) -> Job | None:
        """A full pass, once, when the silence that ends the utterance has begun."""
        if self._speculated or self._heard(now) < self._pause:
            return None
        self._speculated = True
        talk = self._talk
        wait_s = talk.hangover_s - talk.speculate_s
        due = self._pacer.full_pass(now, wait_s)
        self.utterance = Utterance(now + wait_s, due)
        window = _window(0, 0, self._pause, 0, True)
        budget_s = wait_s + talk.budget_s
        return Job(self._number, self._serial, window, Pass.FULL, due, budget_s)

    def end(self, now: float) -> tuple[Job, Utterance] | None:
        """The last window, and what its final waits for, when all has been said."""
        if self._heard(now) < self._length:
            return None
        last = self._job(self._length - self._sent, 0, now, last=True)
        utterance = self.utterance or Utterance(now, 0.0)
        utterance.end = now
        utterance.due = max(utterance.due, last.deadline)
        return last, utterance

    @property
    def _pause(self) -> int:
        talk = self._talk
        return self._length - int((talk.hangover_s - talk.speculate_s) * _RATE)

    def _heard(self, now: float) -> int:
        return round((now - self._start) * _RATE)

    def _job(self, hop: int, right: int, now: float, *, last: bool = False) -> Job:
        left = min(self._talk.shape.left, self._sent)
        window = _window(left, self._sent, hop, right, last)
        due = self._pacer.window(window, self._at, now)
        self._sent += hop
        budget_s = self._talk.budget_s
        return Job(self._number, self._serial, window, Pass.STITCHED, due, budget_s)
