"""What one session says to its client: in order, kept for one that comes back.

Refusals wait for the answers before them. Messages are written by the dialect when
their turn comes, so that partials may be replaced until then. Knows no sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from streaming.config import LimitConfig
from streaming.errors import TooBig, Unresponsive, WavestitchError
from streaming.events import (
    Configured,
    Final,
    Finished,
    Flushed,
    Partial,
    Refused,
    ServerEvent,
)
from streaming.protocols.adapter import Say
from streaming.server.answers import Answers
from streaming.server.arrivals import Arrivals
from streaming.server.metrics import Metrics
from streaming.server.outbox import Outbox
from streaming.server.sent import Sent

__all__ = ["Telling", "Write"]

_NORMAL, _POLICY = 1000, 1008

Write = Callable[[ServerEvent], Sequence[str | bytes]]


class Telling:
    """The way from a session to its client.

    Args:
        write: writes an event as messages of the dialect.
        most_sent: messages that are kept for one who comes back; 0 for none.
        arrivals: of the audio, for latencies.
        limits: what may wait.
        metrics: where finals are counted.

    Attributes:
        outbox: what waits to be sent.
        sent: what was, and may not have arrived.
        answers: what is owed.
        reason: how the session ended, in the words of the metrics.
        abandoned: nobody has come back for what is said from here on.
        overhear: told each event as well; None where only the client is.
        readers: what waits for those who read along.
    """

    def __init__(
        self,
        write: Write,
        most_sent: int,
        arrivals: Arrivals,
        limits: LimitConfig,
        metrics: Metrics,
    ) -> None:
        self.outbox = Outbox(limits.max_unsent)
        self.sent = Sent(most_sent)
        self.answers = Answers()
        self.reason = "lost"
        self.abandoned = False
        self.overhear: Callable[[ServerEvent], None] | None = None
        self.readers: list[Outbox] = []
        self._write = write
        self._most = limits.max_unsent
        self._arrivals = arrivals
        self._metrics = metrics
        self._close = (_NORMAL, "")
        self._farewell: Exception | None = None

    def tell(self, event: ServerEvent) -> None:
        """Say an event, and the refusals that waited for it."""
        self.pass_on(event)
        since = None
        match event:
            case Partial():
                since = self._arrivals.at(event.end)
            case Final():
                since = self._arrivals.at(event.end)
                self._metrics.finals.labels(event.made_by.value).inc()
                if self.abandoned or self.outbox.closed:
                    self._metrics.undelivered.inc()
            case Finished():
                if not (self.abandoned or self.outbox.closed):
                    self.reason = self._close[1] or "finished"
            case _:
                pass
        self.outbox.put(event, since)
        if isinstance(event, Finished) and self._farewell is not None:
            self.outbox.put(Refused(self._farewell))
        if isinstance(event, Flushed | Configured):
            self.tell_all(self.answers.give(type(event)))

    def pass_on(self, event: ServerEvent) -> None:
        """Let those hear an event who are not the client."""
        if self.overhear is not None:
            self.overhear(event)
        for reader in self.readers:
            reader.put(event)
            if reader.full:  # it is told why, and nothing more
                reader.clear()
                reader.close(_POLICY, "unresponsive")

    @contextmanager
    def read(self) -> Iterator[Outbox]:
        """What is told from here on, for one who reads along."""
        reader = Outbox(self._most)
        if self.outbox.closed:
            reader.close(_NORMAL)
        self.readers.append(reader)
        try:
            yield reader
        finally:
            self.readers.remove(reader)

    def tell_all(self, events: Sequence[ServerEvent]) -> None:
        """Say several."""
        for event in events:
            self.tell(event)

    def written(self, said: ServerEvent | Say) -> Sequence[str | bytes]:
        """The messages of what is sent next; from now on they count as sent."""
        messages = said.written() if isinstance(said, Say) else self._write(said)
        self.sent.add(messages)
        return messages

    def write_out(self) -> None:
        """Nobody takes what waits: keep it as sent."""
        for item in self.outbox.take_all():
            self.written(item.event)

    def end_with(self, code: int, reason: str, error: Exception | None) -> None:
        """Close so once `Finished` is said, and say an error after it."""
        if not self.outbox.closed:
            self._close, self._farewell = (code, reason), error
            self.reason = reason

    def end(self) -> None:
        """Nothing more will be said."""
        self.outbox.close(*self._close)
        for reader in self.readers:
            reader.close(_NORMAL)

    def overfull(self) -> WavestitchError | None:
        """Does a client leave more unread, or ask for more, than we hold for it?"""
        if self.outbox.full:
            return Unresponsive(f"more than {self._most} messages wait to be taken")
        if len(self.answers) > self._most:
            return TooBig(f"more than {self._most} commands wait for their answers")
        return None
