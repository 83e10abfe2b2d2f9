"""One ordered audio channel: samples in; jobs, partials and finals out.

Gate, windows and decoders of a channel, put in order. What the client is told
follows from the samples alone: an utterance's events wait until the one before
it is final, and where the decoder ends an utterance early, what follows is read
again from that sample. Time is an argument, for deadlines only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from streaming.config import GateConfig, StreamConfig
from streaming.core.decoder import BlankRun, Decoder
from streaming.core.facts import ModelFacts
from streaming.core.frontend import FrontEnd, FrontEvent, Parted
from streaming.core.fullpass import FullPasses
from streaming.core.gate import IsSpeech
from streaming.core.ladder import NORMAL, Rung
from streaming.core.ledger import Ledger
from streaming.core.pacing import Pacer
from streaming.core.pending import Pending
from streaming.core.reporting import Reporter
from streaming.core.turns import Closed, Opened, Quiet, Resumed, Speech
from streaming.core.utterance import FullPass, Utterance
from streaming.core.windows import Windower, WindowShape
from streaming.errors import reason_of
from streaming.events import (
    Cancel,
    Effect,
    EndReason,
    Job,
    Logits,
    Pass,
    Samples,
    Window,
)

__all__ = ["Stream", "StreamSetup"]


@dataclass(frozen=True, slots=True)
class StreamSetup:
    """What a stream is made of.

    Attributes:
        number: engine-wide.
        channel: the client's.
        facts: the model's.
        detector: makes the gate's `is_speech`.
        full_pass_limit: most samples of a full pass that the machine affords.
    """

    number: int
    channel: int
    facts: ModelFacts
    detector: Callable[[], IsSpeech]
    full_pass_limit: int


class Stream:
    """Decides everything about one channel; make one per channel.

    Every method returns what is to be done, in order: jobs to submit or cancel,
    and events for the client.

    Args:
        setup: what it is made of.
        config: what the client asked for.
        ledger: where its samples are accounted for.
    """

    def __init__(
        self, setup: StreamSetup, config: StreamConfig, ledger: Ledger
    ) -> None:
        self._setup = setup
        self._config = config
        facts = setup.facts
        self._rate = facts.geometry.sample_rate
        self._shape = WindowShape.from_config(config.window, facts)
        self._rung = NORMAL
        self._hops = 1
        self._pacer = Pacer(self._rate, config.budget_ms / 1000)
        self._front = FrontEnd(config, self._rate, self._shape, setup.detector)
        self._full_passes = FullPasses(
            setup.number,
            config.decoder,
            facts,
            setup.full_pass_limit,
            self._pacer,
            self._front.between,
        )
        self._epoch = 0
        self._pending = Pending(Reporter(setup.channel, self._rate), ledger)
        self._open: Utterance | None = None
        self._effects: list[Effect] = []

    # --- what the session asks --------------------------------------------

    @property
    def end(self) -> int:
        """The position after the last sample that came."""
        return self._front.end

    @property
    def backlog(self) -> int:
        """Samples in windows whose logits are not in."""
        return self._pending.outstanding

    @property
    def speaking(self) -> bool:
        """An utterance is open: audio goes on."""
        return self._open is not None

    def settled(self, epoch: int) -> bool:
        """Every utterance before the end of this epoch is final."""
        return self._pending.settled(epoch)

    def push(self, samples: Samples, now: float) -> list[Effect]:
        """Take samples at the model's rate, `(n,)`."""
        events = self._front.push(samples)
        self._follow(events, now)
        # Most messages are a little more of the same: nothing is ripe by them.
        more = self._open is not None and all(type(e) is Speech for e in events)
        return [] if more and not self._effects else self._done()

    def flush(self, reason: EndReason, now: float) -> list[Effect]:
        """End what is open; what follows belongs to the next epoch."""
        self._follow(self._front.part(reason), now)
        return self._done()

    def release(self, epoch: int) -> list[Effect]:
        """Let the client see the utterances up to this epoch."""
        self._pending.release(epoch)
        return self._done()

    def configure(self, config: StreamConfig) -> list[Effect]:
        """Go by other options from this sample on."""
        if config.gate != self._config.gate:
            self._front.configure(config.gate)
        self._pacer.budget_s = config.budget_ms / 1000
        self._config = config
        return self._done()

    def ease(self, rung: Rung, longest: int) -> list[Effect]:
        """Go by another rung of the load ladder from here on.

        Full passes that wait are the engine's to give up.

        Args:
            rung: which.
            longest: most samples of a window that the machine affords.
        """
        self._rung = rung
        self._hops = self._shape.affordable_hops(rung.hops, longest)
        if self._open is not None:
            self._open.windower.hops = self._hops
        limit = self._setup.full_pass_limit if rung.full_passes else 0
        self._full_passes = replace(self._full_passes, limit=limit)
        return self._done()

    def decoded(self, logits: Logits, now: float) -> list[Effect]:
        """Take the answer to a job; one that is wanted no more is ignored."""
        utterance = self._pending.get(logits.job.utterance)
        if utterance is not None:
            match logits.job.kind:
                case Pass.FULL:
                    utterance.answer_full(logits.job, logits.rows)
                case Pass.STITCHED:
                    self._take_window(utterance, logits, now)
                case _:
                    assert_never(logits.job.kind)
        return self._done()

    def wants(self, job: Job) -> bool:
        """The answer to this job still matters."""
        utterance = self._pending.get(job.utterance)
        return utterance is not None and not utterance.decoded

    def forgo(self, job: Job) -> list[Effect]:
        """A full pass is not to be had: the stitched text will do."""
        utterance = self._pending.get(job.utterance)
        if utterance is not None:
            utterance.answer_full(job, None)
        return self._done()

    def give_up(self, error: Exception) -> list[Effect]:
        """Windows are not to be had: end every utterance with what there is.

        Their undecoded audio, and all that was not judged yet, is dropped.
        """
        for utterance in self._pending:
            self._cancel(utterance)
        self._effects += self._pending.give_up(
            self._config, self._front.end, self._front.settled, reason_of(error)
        )
        self._open = None
        effects, self._effects = self._effects, []
        return effects

    # --- the gate ----------------------------------------------------------

    def _follow(self, events: Iterable[FrontEvent], now: float) -> None:
        for event in events:
            match event:
                case Opened():
                    self._begin(event)
                case Speech():
                    utterance = self._expect_open()
                    self._submit(utterance, utterance.windower.push(event.samples), now)
                case Quiet():
                    utterance = self._expect_open()
                    self._effects += self._full_passes.paused(utterance, event.at, now)
                case Resumed():
                    self._effects += self._full_passes.resumed(self._expect_open())
                case Closed():
                    self._close(self._expect_open(), event, now)
                case Parted():
                    self._epoch += event.reason is not EndReason.STALL
                case _:
                    assert_never(event)

    def _expect_open(self) -> Utterance:
        if self._open is None:
            raise RuntimeError("the gate speaks of an utterance that is not open")
        return self._open

    # --- an utterance's life -----------------------------------------------

    def _begin(self, opened: Opened) -> None:
        facts = self._setup.facts
        gate = self._front.settings(opened.start)
        self._open = Utterance(
            serial=self._pending.next_serial(),
            epoch=self._epoch,
            start=opened.start,
            at=opened.at,
            gate=gate,
            windower=Windower(self._shape, facts.normalise, self._hops),
            decoder=Decoder(
                facts.vocabulary,
                facts.geometry,
                start=opened.start,
                temperature=facts.temperature,
                bias=facts.bias,
                blank_run=self._blank_run(gate),
            ),
        )
        self._pending.add(self._open)

    def _blank_run(self, gate: GateConfig) -> BlankRun:
        """What the right context shows decides early, and is left to what follows."""
        geometry = self._setup.facts.geometry
        run = geometry.samples_of_ms(gate.hangover_ms + gate.blank_extra_ms)
        least = geometry.samples_of_ms(gate.hangover_ms)
        kept = max(least, run - self._shape.right)
        return BlankRun(run // geometry.stride, kept // geometry.stride)

    def _submit(self, utterance: Utterance, windows: list[Window], now: float) -> None:
        for window in windows:
            deadline = self._pacer.window(window, utterance.start, now)
            utterance.outstanding += window.hop
            self._effects.append(
                Job(
                    self._setup.number,
                    utterance.serial,
                    window,
                    Pass.STITCHED,
                    deadline,
                    self._pacer.budget_s,
                )
            )

    def _close(self, utterance: Utterance, closed: Closed, now: float) -> None:
        utterance.closed = closed
        self._open = None
        windows = utterance.windower.cut(closed.end - utterance.start)
        self._submit(utterance, windows, now)
        self._effects += self._full_passes.ended(utterance, now)

    def _take_window(self, utterance: Utterance, logits: Logits, now: float) -> None:
        if utterance.decoded:
            return
        window = logits.job.window
        utterance.outstanding -= window.hop
        utterance.decoder.accept(logits)
        utterance.decoded = window.last
        cut = utterance.decoder.cut
        if cut is not None:
            end = utterance.start + cut
            if utterance.closed is None or end < utterance.closed.end:
                self._cut(utterance, end, now)
        if utterance.complete and utterance.full is not FullPass.NONE:
            self._effects += self._full_passes.ended(utterance, now)

    def _cut(self, utterance: Utterance, end: int, now: float) -> None:
        """The decoder ends this utterance at `end`; read on from there anew."""
        for other in self._pending.since(utterance):
            self._cancel(other)
            if other is not utterance:
                self._pending.discard(other)
        spoken = utterance.start + (utterance.decoder.spoken_end or 0)
        utterance.closed = Closed(end, spoken, EndReason.BLANK)
        utterance.decoded = True
        utterance.outstanding = 0
        self._effects += self._full_passes.cut(utterance, now)
        self._open = None
        self._epoch = utterance.epoch
        self._follow(self._front.restart(end), now)

    def _cancel(self, utterance: Utterance) -> None:
        self._effects.append(Cancel(self._setup.number, utterance.serial))

    def _done(self) -> list[Effect]:
        """Tell what is ripe, settle what is certain, and hand over what came of it."""
        self._effects += self._pending.ripe(self._config, self._rung)
        self._front.forget(self._pending.gate(self._front.settled))
        effects, self._effects = self._effects, []
        return effects
