"""One session as its connections see it: what comes in, and when time is up.

Outlives its connections: a client that was cut off may attach a new one, and what
was received is decoded, made final and counted whether or not somebody listens.
Knows no sockets and no dialect but how it says an event or an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from streaming.config import StreamConfig
from streaming.core.ladder import Rung
from streaming.core.session import Session
from streaming.errors import IdleTimeout, Unresponsive, WavestitchError
from streaming.events import (
    Audio,
    ClientEvent,
    Configure,
    Configured,
    Finish,
    Flush,
    Flushed,
    Refused,
)
from streaming.protocols.adapter import Say
from streaming.server.access import Account
from streaming.server.accounts import Accounts
from streaming.server.alarm import Alarm
from streaming.server.incoming import Incoming
from streaming.server.presence import Place, Presence
from streaming.server.surroundings import Surroundings
from streaming.server.telling import Telling, Write
from streaming.server.work import Hooks, Work

__all__ = ["Stream"]

_NORMAL = 1000

_log = logging.getLogger("wavestitch")


class Stream:
    """A session, one or two channels, and what it has to say.

    Args:
        session: its pure half.
        config: what the client asked for.
        around: what it shares with the others.
        write: writes an event as messages of its dialect.
        on_end: called when nothing of it is pending, and again when nobody will
            come back for what was said then.

    Attributes:
        config: what the client asked for.
        telling: what it has to say.
        outbox: what of it waits to be sent.
    """

    def __init__(
        self,
        session: Session,
        config: StreamConfig,
        around: Surroundings,
        write: Write,
        on_end: Callable[[], None],
    ) -> None:
        limits = around.limits
        self.config = config
        self._session = session
        self._around = around
        self._on_end = on_end
        self._finishing = False
        self._incoming = Incoming(config.audio, limits.max_stream_s, around.account)
        self.telling = Telling(
            write,
            limits.max_kept if limits.resume_window_s else 0,
            self._incoming.arrivals,
            limits,
            around.metrics,
        )
        self.telling.overhear = around.overhear
        self.outbox = self.telling.outbox
        self._presence = Presence(
            limits.resume_window_s, around.metrics.away, self._wait_no_more
        )
        self._work = Work(
            session,
            around,
            self.telling,
            Accounts(session, config.audio, around.metrics),
            config.budget_ms,
            Hooks(self.refuse, self._arm, self._ended),
        )
        self._active_at = around.clock()
        self._alarm = Alarm(self._tick)
        around.account.enter(self.channels)
        self._arm()

    @property
    def account(self) -> Account:
        """On which it sends its audio."""
        return self._around.account

    @property
    def ended(self) -> bool:
        """Nothing of it is pending."""
        return self._work.ended

    @property
    def budget_ms(self) -> int:
        """Its budget now."""
        return self._work.budget_ms

    # --- connections -------------------------------------------------------

    @property
    def wanted(self) -> bool:
        """Somebody listens, or may come back."""
        return self._presence.place is not Place.GONE

    @property
    def state(self) -> str:
        """`open`, `finishing` or `finished`."""
        if self.ended:
            return "finished"
        return "open" if self.listening else "finishing"

    @property
    def received(self) -> int:
        """Samples per channel that it has."""
        return self._session.received

    def attach(self, leave: Callable[[], None]) -> None:
        """A connection takes it over.

        Args:
            leave: called when a newer one does; from then on nothing of the older
                one may be received.
        """
        self._presence.attach(leave)
        self.telling.abandoned = False
        # Who comes back sends the sample again in the middle of which it was cut.
        self._incoming.repeated = self._session.odd_bytes
        self._active_at = self._around.clock()
        self._session.reconnected(self._active_at)
        self._arm()

    def detach(self, leave: Callable[[], None], *, goodbye: bool) -> None:
        """A connection is gone; one that was taken over is not missed.

        Args:
            leave: what it attached with.
            goodbye: it has heard everything it wants to hear.
        """
        if not self._presence.detach(leave, goodbye=goodbye):
            return
        if not self.wanted:
            self.outbox.clear()
            self.outbox.close(_NORMAL)
            self._abandon()
        if self.ended:
            self._settle()

    def _wait_no_more(self) -> None:
        self.telling.abandoned = True
        self._abandon()

    def _ended(self) -> None:
        self._around.account.leave(self.channels)
        self._alarm.stop()
        self._settle()

    def _settle(self) -> None:
        """It has ended: keep the rest for whoever comes back, or let go of it."""
        if self._presence.place is not Place.HERE:
            self._presence.end()
            self.telling.write_out()
        self._on_end()

    # --- from the connection -----------------------------------------------

    @property
    def paused(self) -> bool:
        """So much is undecoded that the socket is not read."""
        return not self._work.roomy.is_set()

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
                event = self._incoming.new_of(event)
                if (error := self._incoming.count(len(event.data), now)) is not None:
                    refusal = self._around.refusal(error)
                    self.finish(refusal.close, refusal.code, error)
                    return
            case Flush():
                self.telling.answers.owe(Flushed)
            case Configure():
                self.telling.answers.owe(Configured)
            case Finish():
                self._finishing = True
            case _:
                pass
        light = isinstance(event, Audio)
        self._work.step(lambda: self._session.receive(event, now), light=light)

    async def room(self) -> None:
        """Wait until so much is decoded that more may be read."""
        if not self.paused:
            return
        await self._work.roomy.wait()
        self._active_at = self._around.clock()
        self._arm()

    def answer(self, refused: Refused) -> None:
        """Refuse a command at its place: after the answers still owed."""
        self._active_at = self._around.clock()
        self.telling.tell_all(self.telling.answers.refuse(refused))
        self._work.look()

    def say(self, said: Say) -> None:
        """Let the dialect speak for itself, after what waits to be sent."""
        self.outbox.put(said)
        self._work.look()

    def refuse(self, error: Exception) -> None:
        """End the conversation with an error; what was received is made final."""
        if self.outbox.closed:
            return
        refusal = self._around.refusal(error)
        if refusal.status == 500 and isinstance(error, WavestitchError):
            _log.error("a stream failed", exc_info=error)
        self.telling.reason = refusal.code
        if isinstance(error, Unresponsive):
            self.outbox.clear()  # who takes nothing is not sent the rest
        self.telling.pass_on(Refused(error))
        self.outbox.put(Refused(error))
        self.outbox.close(refusal.close, refusal.code)
        self._abandon()

    def finish(self, code: int, reason: str, error: Exception | None = None) -> None:
        """End it by the server: the finals, the totals, then close so."""
        self.telling.end_with(code, reason, error)
        if self.listening:
            self._finishing = True
            now = self._around.clock()
            self._work.step(lambda: self._session.receive(Finish(), now))

    def ease(self, rung: Rung, longest: int) -> None:
        """Go by another rung of the load ladder; see `Session.ease`."""
        self._work.step(lambda: self._session.ease(rung, longest))

    def _abandon(self) -> None:
        if self.ended or self._finishing:
            return
        self._finishing = True
        now = self._around.clock()
        self._work.step(lambda: self._session.abandon(now))

    # --- time --------------------------------------------------------------

    @property
    def _rests(self) -> bool:
        """No time passes for it: it reads nothing, or its client is cut off."""
        away = self._presence.place is not Place.HERE
        return self.ended or self.paused or away

    def _idle_at(self) -> float | None:
        if not self.listening or self.paused:
            return None
        return self._active_at + self._around.limits.idle_timeout_s

    def _arm(self) -> None:
        """See to it that `_tick` is called when something is due."""
        if self._rests:
            return
        times = [t for t in (self._session.wake_at(), self._idle_at()) if t is not None]
        if times:
            self._alarm.set(min(times) - self._around.clock())

    def _tick(self) -> None:
        if self._rests:
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
            self._work.step(lambda: self._session.wake(now))
        self._arm()
