"""Who calls a hall, and what became of them, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from streaming.core.ladder import NORMAL
from streaming.tools.machine import Elsewhere
from streaming.tools.playing import Ran
from streaming.tools.talk import Talk

__all__ = ["Crowd", "Outcome"]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who calls.

    Attributes:
        streams: callers at once.
        talk: how they are spoken to.
        seconds: measured time.
        settle_s: time before it; callers come in its first half.
        message_ms: audio in one message.
        seed: of their conversations.
    """

    streams: int
    talk: Talk
    seconds: float = 8.0
    settle_s: float = 4.0
    message_ms: int = 20
    seed: int = 7


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of a crowd.

    Attributes:
        streams: callers.
        hopeless: it was broken off, as windows were later and later.
        lowest: number and name of the lowest rung of the ladder while measuring.
        waits: seconds from when the last sample of a window was spoken until its
            partial could be sent, of those that ended while measuring.
        finals_after: seconds from the end of the hangover to the final, likewise.
        utterances: begun, in all; `finals` of them became final.
        full: finals made by a full pass.
        broken: sessions that ended with an error.
        lost: samples that were neither decoded nor told as not speech.
        received: samples, and `decoded` of them.
        seconds: that were measured.
        busy: share of the workers' time in passes.
        computed: samples in passes, contexts and full passes included, over samples
            that windows decoded, while measuring.
        passes: of each stream, that the model ran while measuring.
        front: share of one core that everything but the model took.
        state_bytes: most that one stream's state took; 0 without states.
        elsewhere: what the machine did beside us while measuring.
    """

    streams: int
    hopeless: bool = False
    lowest: tuple[int, str] = (0, NORMAL.level)
    waits: tuple[float, ...] = ()
    finals_after: tuple[float, ...] = ()
    utterances: int = 0
    finals: int = 0
    full: int = 0
    broken: int = 0
    lost: int = 0
    received: int = 0
    decoded: int = 0
    seconds: float = 0.0
    busy: float = 0.0
    computed: float = 0.0
    passes: tuple[tuple[Ran, ...], ...] = ()
    front: float = 0.0
    state_bytes: int = 0
    elsewhere: Elsewhere = field(default_factory=Elsewhere)

    def wait_s(self, share: float) -> float | None:
        """Seconds within which this share of the windows was; None without any."""
        if not self.waits:
            return None
        return float(np.quantile(self.waits, share, method="inverted_cdf"))

    def final_s(self, share: float) -> float | None:
        """The same of finals."""
        if not self.finals_after:
            return None
        return float(np.quantile(self.finals_after, share, method="inverted_cdf"))
