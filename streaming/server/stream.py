"""One session at work: its events in, its jobs to the engine, its words out.

Outlives its connection: what was received is decoded, made final and counted
whether or not somebody still listens. This is where a resume will attach a new
connection. Knows no sockets and no dialect but how it says an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streaming.config import LimitConfig, StreamConfig
from streaming.core.ladder import Rung
from streaming.core.session import Session
from streaming.engine import Answer, Failed
from streaming.errors import IdleTimeout, TooBig, Unresponsive, WavestitchError
from streaming.events import (
    Audio,
    Cancel,
    ClientEvent,
    Configure,
    Configured,
    Effect,
    Final,
    Finish,
    Finished,
    Flush,
    Flushed,
    Job,
    Partial,
    Refused,
    ServerEvent,
)
from streaming.protocols.adapter import Refusal, Say
from streaming.server.access import Account
from streaming.server.accounts import Accounts
from streaming.server.alarm import Alarm
from streaming.server.answers import Answers
from streaming.server.arrivals import Arrivals
from streaming.server.inference import Inference
from streaming.server.metrics import Metrics
from streaming.server.outbox import Outbox

__all__ = ["Stream", "Surroundings"]

_NORMAL = 1000

_log = logging.getLogger("wavestitch")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all streams of a server share.

    Attributes:
        engine: runs their jobs.
        limits: what each may ask.
        metrics: where they count.
        clock: seconds, the engine's too.
        refusal: says an error in the stream's dialect.
        on_budget: called when a stream's budget has changed, or it has ended.
        account: on which it sends its audio.
        overhear: told each event as well; None where only the client is.
    """

    engine: Inference
    limits: LimitConfig
    metrics: Metrics
    clock: Callable[[], float]
    refusal: Callable[[Exception], Refusal]
    on_budget: Callable[[], None]
    account: Account
    overhear: Callable[[ServerEvent], None] | None = None


class Stream:
    """A session, one or two channels, and what it has to say.

    Args:
        session: its pure half.
        config: what the client asked for.
        around: what it shares with the others.
        on_end: called once, when nothing of it is pending.
    """

    def __init__(
        self,
        session: Session,
        config: StreamConfig,
        around: Surroundings,
        on_end: Callable[[], None],
    ) -> None:
        self.config = config
        self.budget_ms = config.budget_ms
        self.outbox = Outbox(around.limits.max_unsent)
        self.ended = False
        self._session = session
        self._around = around
        self._on_end = on_end
        self._finishing = False
        self._reason = "lost"
        self._close = (_NORMAL, "")
        self._farewell: Exception | None = None
        self._answers = Answers()
        self._jobs: set[Job] = set()
        self._numbers: set[int] = set()  # of its streams, to the engine
        self._arrivals = Arrivals(config.audio)
        self._accounts = Accounts(session, config.audio, around.metrics)
        self._active_at = around.clock()
        self._alarm = Alarm(self._tick)
        self._roomy = asyncio.Event()
        self._roomy.set()
        around.account.enter(self.channels)
        self._arm()

    # --- from the connection -----------------------------------------------

    @property
    def paused(self) -> bool:
        """So much is undecoded that the socket is not read."""
        return not self._roomy.is_set()

    @property
    def listening(self) -> bool:
        """What the client sends is still wanted."""
        return not (self._finishing or self.outbox.closed)

    @property
    def channels(self) -> int:
        """Audio channels that it holds."""
        return self.config.audio.channels

    @property
    def speaking(self) -> int:
        """In how many of them somebody is speaking."""
        return self._session.speaking

    def now(self) -> float:
        """Seconds on the clock of the engine and the arrivals."""
        return self._around.clock()

    def receive(self, event: ClientEvent) -> None:
        """Take an event of the client."""
        if not self.listening:
            return
        now = self._around.clock()
        self._active_at = now
        match event:
            case Audio():
                if (error := self._beyond(len(event.data), now)) is not None:
                    refusal = self._around.refusal(error)
                    self.finish(refusal.close, refusal.code, error)
                    return
            case Flush():
                self._answers.owe(Flushed)
            case Configure():
                self._answers.owe(Configured)
            case Finish():
                self._finishing = True
            case _:
                pass
        light = isinstance(event, Audio)
        self._step(lambda: self._session.receive(event, now), light=light)

    async def room(self) -> None:
        """Wait until so much is decoded that more may be read."""
        if not self.paused:
            return
        await self._roomy.wait()
        self._active_at = self._around.clock()
        self._arm()

    def answer(self, refused: Refused) -> None:
        """Refuse a command at its place: after the answers still owed."""
        self._active_at = self._around.clock()
        self._tell_all(self._answers.refuse(refused))
        self._after()

    def say(self, said: Say) -> None:
        """Let the dialect speak for itself, after what waits to be sent."""
        self.outbox.put(said)
        self._after()

    def refuse(self, error: Exception) -> None:
        """End the conversation with an error; what was received is made final."""
        if self.outbox.closed:
            return
        refusal = self._around.refusal(error)
        if refusal.status == 500 and isinstance(error, WavestitchError):
            _log.error("a stream failed", exc_info=error)
        self._reason = refusal.code
        if isinstance(error, Unresponsive):
            self.outbox.clear()  # who takes nothing is not sent the rest
        if self._around.overhear is not None:
            self._around.overhear(Refused(error))
        self.outbox.put(Refused(error))
        self.outbox.close(refusal.close, refusal.code)
        self._abandon()

    def finish(self, code: int, reason: str, error: Exception | None = None) -> None:
        """End it by the server: the finals, the totals, then close so."""
        if not self.outbox.closed:
            self._close, self._farewell = (code, reason), error
            self._reason = reason
        if self.listening:
            self._finishing = True
            now = self._around.clock()
            self._step(lambda: self._session.receive(Finish(), now))

    def ease(self, rung: Rung, longest: int) -> None:
        """Go by another rung of the load ladder; see `Session.ease`."""
        self._step(lambda: self._session.ease(rung, longest))

    def lose(self) -> None:
        """The connection is gone."""
        self.outbox.clear()
        self.outbox.close(_NORMAL)
        self._abandon()

    # --- from the engine ---------------------------------------------------

    def _answered(self, answer: Answer) -> None:
        now = self._around.clock()
        self._jobs.discard(answer.job)
        if isinstance(answer, Failed):
            self._step(lambda: self._session.failed(answer.job, answer.error))
            return
        lateness = max(0.0, now - answer.job.deadline)
        self._around.metrics.lateness.observe(lateness)
        self._step(lambda: self._session.decoded(answer, now))

    # --- steps of the session ----------------------------------------------

    def _step(self, step: Callable[[], list[Effect]], *, light: bool = False) -> None:
        """Take a step of the session; a light one often brings nothing about."""
        if self.ended:
            return
        try:
            effects = step()
            self._apply(effects)
            light = light and not effects
        except WavestitchError as error:
            self.refuse(error)
            light = False
        except Exception as error:
            self._break(error)
        if not light:
            self._after()

    def _apply(self, effects: list[Effect]) -> None:
        engine = self._around.engine
        fatal: Exception | None = None
        for effect in effects:
            match effect:
                case Job():
                    self._jobs.add(effect)
                    self._numbers.add(effect.stream)
                    engine.submit(effect, self._answered)
                case Cancel():
                    self._jobs.difference_update(engine.cancel(effect))
                case Refused(error=error, fatal=True):
                    fatal = error
                case Refused():
                    self._tell_all(self._answers.refuse_owed(Configured, effect))
                case _:
                    self._tell(effect)
        if fatal is not None:
            self.refuse(fatal)

    def _after(self) -> None:
        if self.ended:
            return
        self._accounts.update()
        if (error := self._overfull()) is not None:
            self.refuse(error)
        if self._session.finished:
            self._end()
        elif self._session.backlog_s > self._around.limits.backlog_s:
            self._roomy.clear()
        else:
            self._roomy.set()
        self._arm()

    def _overfull(self) -> WavestitchError | None:
        """Does a client leave more unread, or ask for more, than we hold for it?"""
        limit = self._around.limits.max_unsent
        if self.outbox.full:
            return Unresponsive(f"more than {limit} messages wait to be taken")
        if len(self._answers) > limit:
            return TooBig(f"more than {limit} commands wait for their answers")
        return None

    def _abandon(self) -> None:
        if self.ended or self._finishing:
            return
        self._finishing = True
        now = self._around.clock()
        self._step(lambda: self._session.abandon(now))

    def _beyond(self, size: int, now: float) -> WavestitchError | None:
        """Count audio that came; not None: it is more than may come."""
        before = self._arrivals.seconds
        self._arrivals.add(size, now)
        longest = self._around.limits.max_stream_s
        if self._arrivals.seconds > longest:
            return TooBig(f"a stream may last {longest:g} s: go on in a new one")
        come = self._arrivals.seconds - before
        return self._around.account.spend(come * self.channels)

    def _break(self, error: Exception) -> None:
        """A bug in our own code: this session can only be cut off."""
        _log.error("a session broke", exc_info=error)
        self.refuse(error)
        self._end()

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        for number in self._numbers:  # what a model keeps of it goes, whatever ended it
            self._around.engine.cancel(Cancel(number, None))
        self._accounts.close()
        self._around.account.leave(self.channels)
        self._roomy.set()
        self.outbox.close(*self._close)
        self._alarm.stop()
        self._around.metrics.ended.labels(self._reason).inc()
        self._on_end()
        self._around.on_budget()

    # --- to the client -----------------------------------------------------

    def _tell(self, event: ServerEvent) -> None:
        metrics = self._around.metrics
        if self._around.overhear is not None:
            self._around.overhear(event)
        since = None
        match event:
            case Partial():
                since = self._arrivals.at(event.end)
            case Final():
                since = self._arrivals.at(event.end)
                metrics.finals.labels(event.made_by.value).inc()
                if self.outbox.closed:
                    metrics.undelivered.inc()
            case Finished():
                if not self.outbox.closed:
                    self._reason = self._close[1] or "finished"
            case Configured():
                self.budget_ms = event.budget_ms
                self._around.on_budget()
            case _:
                pass
        self.outbox.put(event, since)
        if isinstance(event, Finished) and self._farewell is not None:
            self.outbox.put(Refused(self._farewell))
        if isinstance(event, Flushed | Configured):
            self._tell_all(self._answers.give(type(event)))

    def _tell_all(self, events: Sequence[ServerEvent]) -> None:
        for event in events:
            self._tell(event)

    # --- time --------------------------------------------------------------

    def _idle_at(self) -> float | None:
        if not self.listening or self.paused:
            return None
        return self._active_at + self._around.limits.idle_timeout_s

    def _arm(self) -> None:
        """See to it that `_tick` is called when something is due."""
        if self.ended or self.paused:
            return
        times = [t for t in (self._session.wake_at(), self._idle_at()) if t is not None]
        if times:
            self._alarm.set(min(times) - self._around.clock())

    def _tick(self) -> None:
        if self.ended or self.paused:
            return
        now = self._around.clock()
        idle_at, wake_at = self._idle_at(), self._session.wake_at()
        if idle_at is not None and idle_at <= now:
            idle_s = self._around.limits.idle_timeout_s
            self.refuse(
                IdleTimeout(
                    f"neither audio nor keepalive came for {idle_s:g} s: "
                    'send {"type":"keepalive"} to hold an idle stream open'
                )
            )
        elif wake_at is not None and wake_at <= now:
            self._step(lambda: self._session.wake(now))
        self._arm()
