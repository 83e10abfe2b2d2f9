"""One utterance on its way through the house: what is known of it so far.

A record with small decisions of its own; the stream moves it along. Made when
the gate opens, gone with its final.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from streaming.config import GateConfig
from streaming.core.decoder import Decoded, Decoder, Hypothesis
from streaming.core.turns import Closed
from streaming.core.windows import Windower
from streaming.events import Job, LogitRows, Partial, Pass

__all__ = ["FullPass", "Utterance"]


class FullPass(Enum):
    """Where the full-context pass of an utterance stands."""

    NONE = "none"  # not asked for
    ASKED = "asked"
    HERE = "here"
    FAILED = "failed"  # not to be had: the stitched text will do


@dataclass(slots=True)
class Utterance:
    """One utterance.

    Positions are samples of the stream at the model's rate, lengths count from
    the utterance's first sample.

    Attributes:
        serial: number of its jobs; never used twice in a stream.
        epoch: how many flushes of the client came before it.
        start: its first sample.
        at: its first sample of speech.
        gate: the gate's settings at its first sample.
        windower: cuts it into windows.
        decoder: turns their logits into text.
        number: what the client knows it as, once it was told of it.
        closed: where and why it ended, once it has.
        decoded: every window's logits are in.
        outstanding: samples of hops whose logits are not in.
        full: where its full pass stands.
        full_job: the pass that counts; answers to others are ignored.
        full_rows: its logits.
        full_tried: samples of the latest full pass asked for, dropped or not.
        weighed: the latest hypothesis that a partial was or was not made of.
        shown: the latest partial sent.
        end_told: the client knows that its speech ended.
    """

    serial: int
    epoch: int
    start: int
    at: int
    gate: GateConfig
    windower: Windower
    decoder: Decoder
    number: int | None = None
    closed: Closed | None = None
    decoded: bool = False
    outstanding: int = 0
    full: FullPass = FullPass.NONE
    full_job: Job | None = None
    full_rows: LogitRows | None = None
    full_tried: int = 0
    weighed: Hypothesis | None = None
    shown: Partial | None = None
    end_told: bool = False

    @property
    def complete(self) -> bool:
        """It has ended, and all its windows are decoded."""
        return self.closed is not None and self.decoded

    @property
    def length(self) -> int:
        """Its samples, once it has ended.

        Raises:
            ValueError: it has not.
        """
        if self.closed is None:
            raise ValueError(f"utterance {self.serial} has not ended")
        return self.closed.end - self.start

    @property
    def full_length(self) -> int:
        """Samples that the full pass in question covers; 0 without one."""
        return self.full_job.window.hop if self.full_job else 0

    def ask_full(self, job: Job) -> None:
        """A full pass was asked for; an earlier one counts no more."""
        self.full, self.full_job, self.full_rows = FullPass.ASKED, job, None
        self.full_tried = job.window.hop

    def drop_full(self) -> None:
        """The full pass counts no more, whatever became of it."""
        self.full, self.full_job, self.full_rows = FullPass.NONE, None, None

    def answer_full(self, job: Job, rows: LogitRows | None) -> None:
        """A full pass came back, with rows or without."""
        if job is self.full_job:
            self.full = FullPass.FAILED if rows is None else FullPass.HERE
            self.full_rows = rows

    def full_covers(self) -> bool:
        """Whether the full pass saw all the speech of the ended utterance.

        What it did not see must be silence to the gate and to the decoder alike;
        and it saw nothing of what became the next utterance.
        """
        if self.closed is None or self.full is FullPass.NONE:
            return False
        spoken = min(self.decoder.spoken_end or 0, self.length)
        speech = self.closed.speech_end - self.start
        return max(spoken, speech) <= self.full_length <= self.length

    def text(self) -> tuple[Decoded, Pass, int]:
        """Its text, once complete, how it was made, and of how many samples."""
        if self.full is FullPass.HERE and self.full_rows is not None:
            length = self.full_length
            return self.decoder.full(self.full_rows, length), Pass.FULL, length
        return self.decoder.stitched(self.length), Pass.STITCHED, self.length
