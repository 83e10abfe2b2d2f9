"""What one client holds: one or two streams, its commands, its totals.

Everything between the adapter and the engine for one connection. Events in;
jobs for the engine and events for the client out, in order. Reads no clock:
`now` is the engine's. Knows no socket and no dialect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, assert_never

from streaming.config import StreamConfig
from streaming.core.facts import ModelFacts
from streaming.core.gate import IsSpeech
from streaming.core.intake import Intake
from streaming.core.ladder import Rung
from streaming.core.ledger import Dropped, Ledger
from streaming.core.replies import Replies
from streaming.core.stream import Stream, StreamSetup
from streaming.errors import (
    BadRequest,
    ConfigError,
    ProtocolError,
    UnsupportedAudio,
    reason_of,
)
from streaming.events import (
    Ack,
    Audio,
    ClientEvent,
    Configure,
    Configured,
    Effect,
    EndReason,
    Finish,
    Finished,
    Flush,
    Flushed,
    Job,
    Keepalive,
    Load,
    Logits,
    Pass,
    Refused,
    Samples,
    Totals,
)

__all__ = ["Session"]

_T = TypeVar("_T")

_ACK_EVERY_S = 0.5  # the protocol promises one a second of audio


class Session:
    """The state of one client; make one per session.

    Every method returns what is to be done, in order. A fatal error comes as
    `Refused`, after which the session is `finished`.

    Args:
        config: what the client asked for.
        facts: the model's.
        first_stream: engine-wide number of its first stream; a second channel
            takes the next.
        detector: makes the gate's `is_speech`.
        full_pass_limit: most samples of a full pass that the machine affords.
    """

    def __init__(
        self,
        config: StreamConfig,
        facts: ModelFacts,
        first_stream: int,
        detector: Callable[[], IsSpeech],
        full_pass_limit: int,
    ) -> None:
        self._config = config
        self._rate = config.audio.sample_rate
        self._intake = Intake(config.audio, facts.geometry.sample_rate)
        self._ledgers = [
            Ledger(self._rate, facts.geometry.sample_rate)
            for _ in range(config.audio.channels)
        ]
        self._streams = [
            Stream(
                StreamSetup(
                    first_stream + channel, channel, facts, detector, full_pass_limit
                ),
                config,
                ledger,
            )
            for channel, ledger in enumerate(self._ledgers)
        ]
        self._by_number = {
            first_stream + channel: stream
            for channel, stream in enumerate(self._streams)
        }
        self._model_rate = facts.geometry.sample_rate
        self._replies = Replies(self._streams)
        self._acked = 0
        self._alive_at: float | None = None  # audio came or was decoded
        self._finishing = False
        self._finished = False

    # --- how it stands -------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Nothing is pending and nothing more is taken."""
        return self._finished

    @property
    def received(self) -> int:
        """Samples per channel that came, at the input rate."""
        return self._intake.received

    @property
    def odd_bytes(self) -> int:
        """Bytes that wait for the rest of their sample."""
        return self._intake.odd_bytes

    @property
    def backlog_s(self) -> float:
        """Seconds of audio in windows whose logits are not in."""
        return sum(s.backlog for s in self._streams) / self._model_rate

    @property
    def totals(self) -> tuple[Totals, ...]:
        """What became of the samples of each channel so far."""
        return tuple(ledger.totals for ledger in self._ledgers)

    @property
    def dropped(self) -> tuple[tuple[Dropped, ...], ...]:
        """For each channel the ranges that were dropped, and why."""
        return tuple(ledger.dropped_ranges for ledger in self._ledgers)

    @property
    def utterance_open(self) -> bool:
        """Someone is speaking."""
        return any(stream.speaking for stream in self._streams)

    @property
    def speaking(self) -> int:
        """In how many channels."""
        return sum(stream.speaking for stream in self._streams)

    def wake_at(self) -> float | None:
        """When `wake` is due: audio has stalled within an utterance."""
        if self._finishing or self._alive_at is None or not self.utterance_open:
            return None
        return self._alive_at + self._config.stall_ms / 1000

    def reconnected(self, now: float) -> None:
        """Its client was away: that no audio came meanwhile is no stall."""
        if self._alive_at is not None:
            self._alive_at = max(self._alive_at, now)

    # --- what happens --------------------------------------------------------

    def receive(self, event: ClientEvent, now: float) -> list[Effect]:
        """Take what the client sent."""
        if self._finishing:
            error = ProtocolError(f"{type(event).__name__.lower()} came after finish")
            return [] if self._finished else self._refuse(error)
        match event:
            case Audio():
                return self._audio(event, now)
            case Flush():
                effects = self._flush(EndReason.FLUSH, now)
                reply = Flushed(self.received)
                self._replies.end_epoch(lambda: reply)
                return effects + self._replies.ripe()
            case Finish(concealed):
                for ledger, count in zip(self._ledgers, concealed, strict=False):
                    ledger.made_up(count)
                effects = self._flush(EndReason.FINISH, now)
                self._finishing = True
                self._replies.end_epoch(self._finish)
                return effects + self._replies.ripe()
            case Configure():
                return self._configure(event)
            case Keepalive():
                return []
            case _:
                assert_never(event)

    def decoded(self, logits: Logits, now: float) -> list[Effect]:
        """Take the engine's answer to a job."""
        if self._finished:
            return []
        if self._alive_at is not None:
            self._alive_at = max(self._alive_at, now)
        stream = self._by_number[logits.job.stream]
        return stream.decoded(logits, now) + self._replies.ripe()

    def failed(self, job: Job, error: Exception) -> list[Effect]:
        """The engine has no answer to a job.

        Without a full pass the stitched text will do; without a window the
        session ends, and what was not decoded counts as dropped.
        """
        if self._finished:
            return []
        stream = self._by_number[job.stream]
        if job.kind is Pass.FULL:
            return stream.forgo(job) + self._replies.ripe()
        return self._refuse(error) if stream.wants(job) else []

    def wake(self, now: float) -> list[Effect]:
        """Time has passed: end an utterance whose audio has stalled."""
        at = self.wake_at()
        if at is None or now < at:
            return []
        return self._flush(EndReason.STALL, now) + self._replies.ripe()

    def ease(self, rung: Rung, longest: int) -> list[Effect]:
        """Go by another rung of the load ladder from here on, and say so.

        Args:
            rung: which.
            longest: most samples of a window that the machine affords.
        """
        if self._finished:
            return []
        effects: list[Effect] = [Load(rung.level)]
        for stream in self._streams:
            effects += stream.ease(rung, longest)
        return effects

    def abandon(self, now: float) -> list[Effect]:
        """The client is gone: make the tail final, count everything."""
        return [] if self._finishing else self.receive(Finish(), now)

    # --- audio -----------------------------------------------------------------

    def _audio(self, audio: Audio, now: float) -> list[Effect]:
        before = self.received
        try:
            pieces, notices = self._intake.push(audio.data)
        except UnsupportedAudio as error:
            self._count(self.received - before, audio)
            return self._refuse(error)
        self._count(self.received - before, audio)
        self._alive_at = now
        effects: list[Effect] = [*notices]
        effects += self._push(pieces, now)
        if self.received - self._acked >= _ACK_EVERY_S * self._rate:
            self._acked = self.received
            effects.append(Ack(self.received))
        return effects + self._replies.ripe()

    def _push(self, pieces: list[Samples], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for stream, samples in zip(self._streams, pieces, strict=True):
            effects += stream.push(samples, now)
        return effects

    def _count(self, samples: int, audio: Audio) -> None:
        none = (0,) * len(self._ledgers)
        fates = zip(audio.concealed or none, audio.late or none, strict=True)
        for ledger, (concealed, late) in zip(self._ledgers, fates, strict=True):
            ledger.received(samples - concealed)
            ledger.concealed(concealed)
            ledger.late(late)

    def _flush(self, reason: EndReason, now: float) -> list[Effect]:
        effects = self._push(self._intake.drain(), now)
        for stream, ledger in zip(self._streams, self._ledgers, strict=True):
            ledger.anchor(stream.end)
            effects += stream.flush(reason, now)
        return effects

    # --- answers ---------------------------------------------------------------

    def _configure(self, wanted: Configure) -> list[Effect]:
        gate = self._config.gate
        try:
            config = replace(
                self._config,
                partials=_either(wanted.partials, self._config.partials),
                budget_ms=_either(wanted.budget_ms, self._config.budget_ms),
                gate=replace(
                    gate,
                    hangover_ms=_either(wanted.hangover_ms, gate.hangover_ms),
                    max_utterance_s=_either(
                        wanted.max_utterance_s, gate.max_utterance_s
                    ),
                ),
            )
            effects = [e for s in self._streams for e in s.configure(config)]
        except ConfigError as error:
            return [Refused(BadRequest(str(error)), fatal=False)]
        self._config = config
        reply = Configured(
            config.partials,
            config.budget_ms,
            config.gate.hangover_ms,
            config.gate.max_utterance_s,
        )
        self._replies.owe(reply)
        return effects + self._replies.ripe()

    def _finish(self) -> Finished:
        self._finishing = self._finished = True
        for ledger in self._ledgers:
            ledger.close()
        return Finished(self.totals, self._intake.odd_bytes)

    def _refuse(self, error: Exception) -> list[Effect]:
        """End the session for an error: finals of what was decoded, then the error."""
        effects = [e for s in self._streams for e in s.give_up(error)]
        for ledger in self._ledgers:
            ledger.close(reason_of(error))
        self._finishing = self._finished = True
        return [*effects, Refused(error)]


def _either(wanted: _T | None, current: _T) -> _T:
    return current if wanted is None else wanted
