"""The words everything is said in: what travels between the rooms.

    bytes -> Audio|Flush|Configure|Keepalive|Finish -> Window -> Job -> Logits
          -> Partial|Final -> bytes

Frozen dataclasses, compared by value where they carry no arrays. Sample counts
are ints: at the model's rate unless a name says `input`. Seconds are floats
since the start of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Ack",
    "Audio",
    "Cancel",
    "ClientEvent",
    "Configure",
    "Configured",
    "Effect",
    "EndReason",
    "Final",
    "Finish",
    "Finished",
    "Flush",
    "Flushed",
    "GoAway",
    "Job",
    "Keepalive",
    "Load",
    "LogitRows",
    "Logits",
    "Notice",
    "Partial",
    "Pass",
    "Ready",
    "Refused",
    "Samples",
    "ServerEvent",
    "SpeechEnded",
    "SpeechStarted",
    "Totals",
    "Window",
    "Word",
]

Samples: TypeAlias = npt.NDArray[np.float32]  # (n,), -1..1
LogitRows: TypeAlias = npt.NDArray[np.float32]  # (steps, labels), unnormalised


class EndReason(Enum):
    """Why an utterance ended."""

    SILENCE = "silence"
    BLANK = "blank"
    MAX_LENGTH = "max_length"
    STALL = "stall"
    FLUSH = "flush"
    FINISH = "finish"


class Pass(Enum):
    """How a final was made: one pass over the utterance, or stitched windows."""

    FULL = "full"
    STITCHED = "stitched"


# --- from the client -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Audio:
    """Bytes in the stream's encoding; they need not end on a sample.

    Attributes:
        data: the bytes.
        concealed: samples of each channel that stand for lost ones, among `data`,
            which are whole samples then; () for none.
        late: samples of each channel that came after others had to stand for them,
            and are not among `data`; () for none.
    """

    data: bytes
    concealed: tuple[int, ...] = ()
    late: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Flush:
    """Make all speech up to here final."""


@dataclass(frozen=True, slots=True)
class Finish:
    """No more audio comes: as flush, then the totals.

    Attributes:
        concealed: samples of each channel, among all that came, that its sender made
            up for lost ones; none where empty.
    """

    concealed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The stream is idle but wanted."""


@dataclass(frozen=True, slots=True)
class Configure:
    """Change options from here on; None leaves one as it is."""

    partials: bool | None = None
    budget_ms: int | None = None
    hangover_ms: int | None = None
    max_utterance_s: float | None = None


ClientEvent: TypeAlias = Audio | Flush | Finish | Keepalive | Configure


# --- through the engine ----------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One forward pass over left context + hop + right context.

    Attributes:
        samples: `(left + hop + right,)`, normalised as the checkpoint asks.
        start: first sample of the hop, counted from the utterance's first.
        left: samples of left context.
        hop: samples whose logits are kept; 0 only when `last`.
        right: samples of right context.
        last: the utterance ends with this hop.
    """

    samples: Samples
    start: int
    left: int
    hop: int
    right: int
    last: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A window to run, for whom, and until when.

    Attributes:
        stream: the engine-wide number of the stream.
        utterance: its number within the stream.
        window: what to run; a full pass has no context and its hop is all.
        kind: a full pass over the utterance, or one of the stitched windows.
        deadline: absolute seconds on the engine's clock.
        budget_s: seconds that the deadline leaves from when its audio would have
            come at the pace of speech; infinite where nobody waits for it.
    """

    stream: int
    utterance: int
    window: Window
    kind: Pass
    deadline: float
    budget_s: float = inf

    def used(self, at: float) -> float:
        """Share of the budget that is gone `at` seconds; 1 at the deadline."""
        return 0.0 if self.budget_s == inf else 1 + (at - self.deadline) / self.budget_s


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """What the model said of a job's window.

    Attributes:
        job: the job that was run.
        rows: `(steps, labels)`: a row for each stride of the window's samples,
            contexts included.
    """

    job: Job
    rows: LogitRows


@dataclass(frozen=True, slots=True)
class Cancel:
    """Jobs of this utterance that have not begun are wanted no more.

    Where its windows are meant, none follows: what a model keeps of it may go.

    Attributes:
        utterance: None means every one of the stream.
        kind: only those of this kind; None means all of them.
    """

    stream: int
    utterance: int | None
    kind: Pass | None = None


# --- to the client ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it was heard, in seconds."""

    word: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The stream is open; what holds for it.

    Attributes:
        received: samples per channel that came; more than 0 after a resume.
        state: `open`, `finishing` or `finished`.
        resume_window_s: how long the session outlives a cut; 0: not at all.
        after: number of the last message that a client has which comes back; None
            where the session begins.
    """

    session: str
    token: str
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
    after: int | None = None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """An utterance began at `at` seconds."""

    channel: int
    utterance: int
    at: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Its speech ended at `at` seconds."""

    channel: int
    utterance: int
    at: float
    reason: EndReason


@dataclass(frozen=True, slots=True)
class Partial:
    """The hypothesis so far.

    Attributes:
        stable: leading code points that no later partial changes.
    """

    channel: int
    utterance: int
    text: str
    stable: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Final:
    """The utterance's text, once.

    Attributes:
        start: begin of the audio that the text is of, pre-roll included.
        end: its end. A full pass over just this audio gives just this text where
            `made_by` says so; what silence follows it in the utterance is left out.
        confidence: share of its words expected to be right, 0 to 1.
        made_by: how the text was made.
    """

    channel: int
    utterance: int
    text: str
    start: float
    end: float
    confidence: float
    made_by: Pass
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of the samples of one channel, at the input rate.

    `received + concealed == decoded + gated + dropped` once nothing is pending.
    """

    received: int = 0
    decoded: int = 0
    gated: int = 0
    dropped: int = 0
    concealed: int = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """Samples per channel that the server has taken over."""

    received: int


@dataclass(frozen=True, slots=True)
class Flushed:
    """Every final of the speech before the flush has been sent."""

    received: int


@dataclass(frozen=True, slots=True)
class Configured:
    """What now holds."""

    partials: bool
    budget_ms: int
    hangover_ms: int
    max_utterance_s: float


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing is pending; the totals of each channel."""

    totals: tuple[Totals, ...]
    odd_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """The rung of the load ladder now in force."""

    level: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning: the audio looks wrong, but the stream goes on."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class GoAway:
    """Finish before the deadline, or open a new session elsewhere."""

    reason: str
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A request or a stream was refused; fatal ones end the connection."""

    error: Exception = field(compare=False)
    fatal: bool = True


ServerEvent: TypeAlias = (
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
)

# What a session asks for: work of the engine, or messages to its client.
Effect: TypeAlias = Job | Cancel | ServerEvent
