"""What a gate says: where utterances begin, pause, go on and end.

Positions are samples of the channel, at the model's rate, since its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from streaming.events import EndReason, Samples

__all__ = ["Closed", "GateEvent", "Opened", "Quiet", "Resumed", "Speech"]


@dataclass(frozen=True, slots=True)
class Opened:
    """An utterance began.

    Attributes:
        start: its first sample, pre-roll included.
        at: its first sample of speech.
    """

    start: int
    at: int


@dataclass(frozen=True, slots=True, eq=False)
class Speech:
    """Audio of the open utterance; each goes on where the last one ended."""

    start: int
    samples: Samples


@dataclass(frozen=True, slots=True)
class Quiet:
    """Silence has just lasted `speculate` samples within the utterance.

    Attributes:
        at: samples given so far.
    """

    at: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """Speech goes on after a `Quiet`.

    Attributes:
        at: its first sample.
    """

    at: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The utterance ended.

    Attributes:
        end: the sample after its last; for `MAX_LENGTH` up to `search` samples
            before the end of what was given as `Speech`.
        speech_end: the sample after its last of speech.
        reason: why.
    """

    end: int
    speech_end: int
    reason: EndReason


GateEvent: TypeAlias = Opened | Speech | Quiet | Resumed | Closed
