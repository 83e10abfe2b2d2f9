"""What the server says, as frozen dataclasses, and `parse` to read it.

Counts are samples per channel at the rate that was sent; times are seconds
since the start of the stream. Fields and types that a later server adds are let
through: fields are left out, types come as `Unknown`. Knows nothing of sockets.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeAlias

from clients.errors import ProtocolBroken

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
    "Refused",
    "SpeechEnded",
    "SpeechStarted",
    "Totals",
    "Unknown",
    "Word",
    "parse",
]


@dataclass(frozen=True, slots=True)
class Ready:
    """The stream is open; what holds for it.

    A word shows at the latest `hop_ms + right_ms + budget_ms` after its end.
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
)

_TYPES: dict[str, type[Event]] = {
    "ready": Ready,
    "speech_started": SpeechStarted,
    "speech_ended": SpeechEnded,
    "partial": Partial,
    "final": Final,
    "ack": Ack,
    "flushed": Flushed,
    "configured": Configured,
    "finished": Finished,
    "load": Load,
    "warning": Notice,
    "goaway": GoAway,
    "error": Refused,
}
_COUNTS = [field.name for field in fields(Totals)]


def parse(message: str | bytes) -> tuple[int, Event]:
    """Read one message of the server.

    Returns:
        Its `seq` and what it says.

    Raises:
        ProtocolBroken: not JSON, or without a field that version 1 has.
    """
    try:
        said = json.loads(message)
        seq, kind = int(said["seq"]), str(said["type"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolBroken(f"not a message: {message[:80]!r}") from error
    try:
        return seq, _read(kind, said)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolBroken(f"{kind} without what it needs: {error}") from error


def _read(kind: str, said: dict[str, Any]) -> Event:
    shape = _TYPES.get(kind)
    if shape is None:
        return Unknown(kind)
    if shape is Finished:
        return Finished(_totals(said), int(said.get("odd_bytes", 0)))
    if shape is Final:
        said = said | {
            "made_by": said["pass"],
            "words": tuple(
                Word(**_known(Word, word)) for word in said.get("words", ())
            ),
        }
    return shape(**_known(shape, said))


def _known(shape: type, said: dict[str, Any]) -> dict[str, Any]:
    return {
        field.name: said[field.name]
        for field in fields(shape)
        if field.name in said or field.default is MISSING
    }


def _totals(said: dict[str, Any]) -> tuple[Totals, ...]:
    """One channel's counts are numbers, two channels' are lists of two."""
    columns = [
        count if isinstance(count, list) else [count]
        for count in (said[name] for name in _COUNTS)
    ]
    return tuple(Totals(*row) for row in zip(*columns, strict=True))
