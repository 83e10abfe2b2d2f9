"""One caller of a crowd: its session, its audio, and what it waited for.

Gives a message when its last sample has been spoken; a late one counts from when it
should have been given, so that a front end which does not keep up shows. Waits for
nothing itself.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from streaming.core.ladder import Rung
from streaming.core.session import Session
from streaming.engine import Answer, Engine, Failed
from streaming.events import (
    Audio,
    Cancel,
    Effect,
    EndReason,
    Final,
    Job,
    Pass,
    Refused,
    SpeechEnded,
    SpeechStarted,
    Totals,
)
from streaming.tools.playing import Ran

__all__ = ["Caller", "Heard", "Speech"]


@dataclass(slots=True)
class Heard:
    """What all callers of a crowd heard; see `outcome.Outcome` for the names.

    Attributes:
        rate: samples a second.
        hangover_s: silence that ends an utterance.
        measuring: waits and passes count now.
        passes: of each stream in their order, by its number.
    """

    rate: int
    hangover_s: float
    measuring: bool = False
    waits: list[float] = field(default_factory=list)
    finals_after: list[float] = field(default_factory=list)
    passes: defaultdict[int, list[Ran]] = field(
        default_factory=lambda: defaultdict(list)
    )
    utterances: int = 0
    finals: int = 0
    full: int = 0
    broken: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """What a caller says.

    Attributes:
        pieces: audio in messages, endless.
        piece_s: seconds of one.
        begins: when its first sample is spoken, on the engine's clock.
    """

    pieces: Iterator[bytes]
    piece_s: float
    begins: float


class Caller:
    """Make one per stream.

    Args:
        engine: runs its jobs.
        number: engine-wide number of its stream.
        session: of one channel.
        speech: what it says.
        heard: where what it hears is counted.
    """

    def __init__(
        self,
        engine: Engine,
        number: int,
        session: Session,
        speech: Speech,
        heard: Heard,
    ) -> None:
        self._engine = engine
        self._number = number
        self._session = session
        self._speech = speech
        self._heard = heard
        self._given = 0
        self._gone = False
        self._spoken: dict[Job, float] = {}  # when the last sample of its window was
        self._ends: dict[int, SpeechEnded] = {}

    @property
    def due(self) -> float:
        """When its next message is to be given."""
        return self._speech.begins + (self._given + 1) * self._speech.piece_s

    @property
    def over(self) -> bool:
        """Nothing more is given, and nothing is pending."""
        return self._gone or self._session.finished

    @property
    def totals(self) -> Totals:
        """What became of its samples."""
        return self._session.totals[0]

    def give(self, now: float) -> None:
        """Give the next message."""
        spoken = self.due
        self._given += 1
        effects = self._session.receive(Audio(next(self._speech.pieces)), now)
        self._apply(effects, spoken, now)

    def ease(self, rung: Rung, longest: int) -> None:
        """Go by another rung of the load ladder."""
        now = time.monotonic()
        self._apply(self._session.ease(rung, longest), now, now)

    def finish(self) -> None:
        """Say that no more comes."""
        now = time.monotonic()
        self._apply(self._session.abandon(now), now, now)

    def hang_up(self) -> None:
        """Be gone, and want nothing any more."""
        self._gone = True
        self._engine.cancel(Cancel(self._number, None))

    def _answered(self, answer: Answer) -> None:
        spoken = self._spoken.pop(answer.job, None)
        if self._gone:
            return
        now = time.monotonic()
        if isinstance(answer, Failed):
            self._apply(self._session.failed(answer.job, answer.error), now, now)
            return
        self._apply(self._session.decoded(answer, now), now, now)
        heard, job = self._heard, answer.job
        if not heard.measuring:
            return
        window = job.window
        if len(window.samples):
            ran = Ran(job.kind, len(window.samples), window.hop, window.start)
            heard.passes[self._number].append(ran)
        if job.kind is Pass.STITCHED and spoken is not None:
            heard.waits.append(time.monotonic() - spoken)

    def _apply(self, effects: list[Effect], spoken: float, now: float) -> None:
        heard = self._heard
        for effect in effects:
            match effect:
                case Job():
                    self._spoken[effect] = spoken
                    self._engine.submit(effect, self._answered)
                case Cancel():
                    for job in self._engine.cancel(effect):
                        self._spoken.pop(job, None)
                case SpeechStarted():
                    heard.utterances += 1
                case SpeechEnded():
                    self._ends[effect.utterance] = effect
                case Final():
                    self._final(effect, now)
                case Refused():
                    heard.broken += 1
                case _:
                    pass

    def _final(self, final: Final, now: float) -> None:
        heard = self._heard
        heard.finals += 1
        heard.full += final.made_by is Pass.FULL
        ended = self._ends.pop(final.utterance, None)
        if heard.measuring and ended and ended.reason is EndReason.SILENCE:
            silent = self._speech.begins + ended.at + heard.hangover_s
            heard.finals_after.append(now - silent)
