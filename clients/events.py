"""What a stream tells: what the server says, and how its connection fares.

Counts are samples per channel at the rate that was sent; times are seconds
since the start of the stream. Knows nothing of sockets, nor how events are
written (`messages.py` does).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "Ack",
    "Configured",
    "Event",
    "Final",
    "Finished",
    "Flushed",
    "GoAway",
    "Load",
    "Notice",
    "Partial",
    "Ready",
    "Reconnecting",
    "Refused",
    "Resumed",
    "SpeechEnded",
    "SpeechStarted",
    "Totals",
    "Unknown",
    "Word",
]


@dataclass(frozen=True, slots=True)
class Ready:
    """The stream is open; what holds for it.

    A word shows at the latest `hop_ms + right_ms + budget_ms` after its end.

    Attributes:
        received: samples that the server has; more than 0 after a resume.
        state: `open`, `finishing` or `finished`.
        resume_window_s: how long the session outlives a cut; 0 is not at all.
        commands: how many of the client's commands the server has taken.
    """

    session: str
    token: str
    protocol: int
    model: str
    language: str
    encoding: str
    sample_rate: int
    channels: int
    budget_ms: int
    hop_ms: int
    right_ms: int
    idle_timeout_s: float
    received: int = 0
    state: str = "open"
    resume_window_s: float = 0.0
    commands: int = 0


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """An utterance began: `at` is its first sample of speech."""

    channel: int
    utterance: int
    at: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Its speech ended at `at`.

    Attributes:
        reason: `silence`, `blank`, `max_length`, `stall`, `flush` or `finish`.
    """

    channel: int
    utterance: int
    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class Partial:
    """The hypothesis so far.

    Attributes:
        stable: leading code points of `text` that no later partial changes.
        end: seconds of audio it covers.
    """

    channel: int
    utterance: int
    text: str
    stable: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it was heard, in seconds."""

    word: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Final:
    """The utterance's text, once; it may be empty.

    Attributes:
        made_by: `full` may correct what was shown stable, `stitched` never does.
    """

    channel: int
    utterance: int
    text: str
    start: float
    end: float
    confidence: float
    made_by: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Ack:
    """Samples that the server has taken over."""

    received: int


@dataclass(frozen=True, slots=True)
class Flushed:
    """Everything said before the flush is final."""

    received: int


@dataclass(frozen=True, slots=True)
class Configured:
    """What now holds."""

    partials: bool
    budget_ms: int
    hangover_ms: int
    max_utterance_s: float


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of one channel's samples.

    `received + concealed == decoded + gated + dropped`.
    """

    received: int
    decoded: int
    gated: int
    dropped: int
    concealed: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event: nothing is pending.

    Attributes:
        totals: one for each channel.
        odd_bytes: a trailing part of a sample, which nobody could use.
    """

    totals: tuple[Totals, ...]
    odd_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """How far the server has climbed down its load ladder; `normal` is not at all."""

    level: str


@dataclass(frozen=True, slots=True)
class Notice:
    """The audio looks wrong; the stream goes on."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class GoAway:
    """The server will stop: finish within `deadline_s`."""

    reason: str
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """What was wrong; where it was fatal, the stream ends with `StreamFailed`."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type that this client does not know yet."""

    type: str


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection was cut; what is sent now is kept. Said by this side.

    Attributes:
        why: how it ended.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The session goes on where it was cut, nothing is lost. Said by this side.

    Attributes:
        after_s: how long it was cut.
        received: samples that the server has.
        sent_again: samples that had been sent and did not arrive.
    """

    after_s: float
    received: int
    sent_again: int


Event: TypeAlias = (
    Ready
    | SpeechStarted
    | SpeechEnded
    | Partial
    | Final
    | Ack
    | Flushed
    | Configured
    | Finished
    | Load
    | Notice
    | GoAway
    | Refused
    | Unknown
    | Reconnecting
    | Resumed
)
