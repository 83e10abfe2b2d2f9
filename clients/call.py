"""A call: one or two sides on one clock, and the records of what was said.

Times in records are seconds since the call began. Partials and finals are told as
they come, turns once their place in the conversation is certain. Knows sides and the
conversation; does not know where audio comes from or where records go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from clients.delivery import Record
from clients.events import (
    Ack,
    Event,
    Final,
    Finished,
    Flushed,
    GoAway,
    Load,
    Notice,
    Partial,
    Ready,
    SpeechStarted,
    Totals,
)
from clients.side import Asked, Side
from streaming.core.conversation import Conversation, Turn
from streaming.events import Word

__all__ = ["SPEAKERS", "Call", "Leg"]

SPEAKERS = ("caller", "agent")
# A side that is silent may yet send what was spoken so long ago.
_TRAILING_S = 2.0


@dataclass(slots=True, eq=False)
class Leg:
    """A side in its call.

    Attributes:
        number: in the conversation.
        speaker: its name.
        begins_s: where its position 0 is on the call's clock.
        side: its audio.
        totals: what the server counted, at its end.
        running: the task that serves it.
    """

    number: int
    speaker: str
    begins_s: float
    side: Side
    totals: Totals | None = None
    running: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Call:
    """Make one per call.

    Attributes:
        name: its id, in every record.
        asked: of the server, for each side.
        began_at: when, on the clock of what `tick` and `join` are told.
        tell: given every record, in order; must not wait.
        partials: whether to tell partials.
        turns: all that were given out.
        legs: its sides.
    """

    name: str
    asked: Asked
    began_at: float
    tell: Callable[[Record], None]
    partials: bool = True
    turns: list[Turn] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)
    _conversation: Conversation = field(default_factory=lambda: Conversation([]))
    _speakers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for speaker in SPEAKERS:
            self._conversation.join(speaker, 0.0)
            self._speakers.append(speaker)

    def join(self, speaker: str, rate: int, at: float, **about: Any) -> Leg:
        """A side begins at `at`; to be called on the event loop.

        Args:
            speaker: `caller`, `agent`, or anyone else; a second side of one name is
                a speaker of its own, with a number.
            rate: samples a second.
            at: when its position 0 was spoken.
            about: more for its record, such as the address it comes from.
        """
        begins_s = max(0.0, at - self.began_at)
        taken = [leg.speaker for leg in self.legs]
        if speaker in taken:
            speaker = f"{speaker}{1 + sum(t.startswith(speaker) for t in taken)}"
        if speaker not in self._speakers:
            self._conversation.join(speaker, begins_s)
            self._speakers.append(speaker)
        number = self._speakers.index(speaker)
        heard = partial(self._heard, len(self.legs))
        leg = Leg(number, speaker, begins_s, Side(self.asked, rate, heard))
        self.legs.append(leg)
        self._tell("side_started", leg, at=_s(begins_s), rate=rate, **about)
        leg.running = asyncio.create_task(leg.side.run(), name=f"{self.name} {speaker}")
        return leg

    def digit(self, leg: Leg, digit: str, at: int) -> None:
        """A key was pressed at this sample of the side."""
        self._tell("digit", leg, digit=digit, at=_s(leg.begins_s + at / leg.side.rate))

    def warn(self, message: str) -> None:
        """Something about the call is not as it should be."""
        self.tell({"type": "warning", "call": self.name, "message": message})

    def tick(self, now: float) -> None:
        """Time has passed: who says nothing holds up no turn."""
        until = now - self.began_at
        begun = {leg.number for leg in self.legs}
        for number in range(len(self._speakers)):
            if number not in begun:
                self._give(self._conversation.reached(number, until))
        for leg in self.legs:
            if leg.side.failure is not None:
                self._give(self._conversation.ended(leg.number))
            elif leg.side.quiet and leg.totals is None:
                at = until - _TRAILING_S
                self._give(self._conversation.reached(leg.number, at))

    async def finish(self, **about: Any) -> None:
        """End all sides, wait for their last words, and tell the totals."""
        for leg in self.legs:
            leg.side.end()
        for leg in self.legs:
            if leg.running is not None:
                await leg.running
        for number in range(len(self._speakers)):
            self._give(self._conversation.ended(number))
        for leg in self.legs:
            self._ended(leg)
        self.tell({"type": "call_ended", "call": self.name, **about})

    # --- events ------------------------------------------------------------

    def _heard(self, place: int, event: Event) -> None:
        leg = self.legs[place]
        match event:
            case Ready(session):
                self._tell("session", leg, session=session)
            case SpeechStarted(at=at):
                self._conversation.began(leg.number, leg.begins_s + at)
            case Partial() if self.partials:
                self._tell(
                    "partial",
                    leg,
                    utterance=event.utterance,
                    text=event.text,
                    stable=event.stable,
                    start=_s(leg.begins_s + event.start),
                    end=_s(leg.begins_s + event.end),
                )
            case Final():
                self._final(leg, event)
            case Ack(received) | Flushed(received):
                at = leg.begins_s + received / leg.side.rate
                self._give(self._conversation.reached(leg.number, at))
            case Finished(totals):
                leg.totals = totals[0]
                self._give(self._conversation.ended(leg.number))
            case Notice(code, message):
                self.warn(f"{leg.speaker}: {code}: {message}")
            case GoAway(reason, deadline_s):
                self.warn(f"the server will stop in {deadline_s:g} s ({reason})")
            case Load(level):
                self.warn(f"load of the server: {level}")
            case _:
                pass

    def _final(self, leg: Leg, event: Final) -> None:
        begins_s = leg.begins_s
        words = tuple(
            Word(w.word, begins_s + w.start, begins_s + w.end, w.confidence)
            for w in event.words
        )
        turn = Turn(
            leg.speaker,
            event.utterance,
            begins_s + event.start,
            begins_s + event.end,
            event.text,
            event.confidence,
            words,
        )
        self._tell("final", leg, **_fields(turn))
        self._give(self._conversation.said(leg.number, turn))

    def _give(self, turns: list[Turn]) -> None:
        for turn in turns:
            self.turns.append(turn)
            overlaps = [
                {"speaker": o.speaker, "start": _s(o.start), "end": _s(o.end)}
                for o in turn.overlaps
            ]
            self.tell(
                {
                    "type": "turn",
                    "call": self.name,
                    "speaker": turn.speaker,
                    **_fields(turn),
                    "overlaps": overlaps,
                }
            )

    def _ended(self, leg: Leg) -> None:
        side = leg.side
        if side.failure is not None:
            self.warn(f"{leg.speaker}: {side.failure}")
        counts = asdict(leg.totals) if leg.totals else {"concealed": side.concealed}
        self._tell("side_ended", leg, sent=side.sent, unsent=side.unsent, **counts)

    def _tell(self, kind: str, leg: Leg, **fields: Any) -> None:
        self.tell({"type": kind, "call": self.name, "speaker": leg.speaker, **fields})


def _s(seconds: float) -> float:
    return round(seconds, 3)


def _fields(turn: Turn) -> dict[str, Any]:
    return {
        "utterance": turn.utterance,
        "text": turn.text,
        "start": _s(turn.start),
        "end": _s(turn.end),
        "confidence": _s(turn.confidence),
        "words": [
            {
                "word": word.word,
                "start": _s(word.start),
                "end": _s(word.end),
                "confidence": _s(word.confidence),
            }
            for word in turn.words
        ],
    }
