"""The sessions of a server by id: those at work, and what ended ones said last.

A client that was cut off finds its session by id and token.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hmac import compare_digest
from math import inf

from streaming.errors import SessionLost
from streaming.protocols.adapter import Adapter, Resume
from streaming.server.stream import Stream

__all__ = ["Held", "Identity", "Sessions"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a client shows to come back.

    Attributes:
        session: public name.
        token: secret.
    """

    session: str
    token: str


@dataclass(frozen=True, slots=True)
class Held:
    """A session, and who speaks for it.

    Attributes:
        identity: what its client shows.
        stream: at work, or ended.
        adapter: speaks for it over all its connections.
    """

    identity: Identity
    stream: Stream
    adapter: Adapter


class Sessions:
    """All sessions of a server.

    Args:
        mark: what their ids begin with: which of several processes holds them.
        result_window_s: how long an ended one is kept whose client may have missed
            what it said.
        most_results: ended ones that are kept; the oldest go first.
    """

    def __init__(
        self, mark: str = "", result_window_s: float = 0.0, most_results: int = 0
    ) -> None:
        self._mark = mark
        self._result_window_s = result_window_s
        self._most_results = most_results
        self._open: dict[str, Held] = {}
        self._results: dict[str, tuple[Held, asyncio.TimerHandle]] = {}
        self._next = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Stream]:
        return iter([held.stream for held in self._open.values()])

    @property
    def results(self) -> int:
        """Ended sessions that are kept."""
        return len(self._results)

    def open(
        self,
        channels: int,
        adapter: Adapter,
        make: Callable[[int, Callable[[], None]], Stream],
    ) -> Held:
        """Number and name a new session.

        Args:
            channels: streams it has; each gets a number of its own.
            adapter: speaks for it.
            make: first number and what to call at its end to the stream.
        """
        identity = Identity(
            self._mark + secrets.token_hex(8), secrets.token_urlsafe(24)
        )
        first, self._next = self._next, self._next + channels
        stream = make(first, lambda: self._ended(identity.session))
        held = self._open[identity.session] = Held(identity, stream, adapter)
        self._empty.clear()
        return held

    def find(self, session: str, token: str) -> Held:
        """A session, at work or ended, whose token this is.

        Raises:
            SessionLost: it is not held here.
        """
        held = self._held(session)
        if held is None or not compare_digest(
            held.identity.token.encode(), token.encode()
        ):
            raise _lost(session)
        return held

    def look(self, session: str) -> Held:
        """A session, at work or ended; who may see it is the caller's to decide.

        Raises:
            SessionLost: it is not held here.
        """
        held = self._held(session)
        if held is None:
            raise _lost(session)
        return held

    def resume(self, asked: Resume) -> Held:
        """Find the session that a client wants to go on with.

        Raises:
            SessionLost: it is not held here, or not all that the client missed.
            BadRequest: it was opened otherwise, or did not say what came after.
        """
        held = self.find(asked.session, asked.token)
        asked.insist_same(held.stream.config)
        held.stream.telling.sent.after(asked.after)
        return held

    def smallest_budget_ms(self, other: float = inf) -> float:
        """The smallest budget of all sessions and of one that is to come."""
        return min([other, *(stream.budget_ms for stream in self)])

    async def wait_empty(self) -> None:
        """Wait until no session is left at work."""
        await self._empty.wait()

    def forget_all(self) -> None:
        """Let go of the ended ones."""
        while self._results:
            self._forget(next(iter(self._results)))

    def _held(self, session: str) -> Held | None:
        if session in self._results:
            return self._results[session][0]
        return self._open.get(session)

    def _ended(self, session: str) -> None:
        """Nothing of it is pending, or nobody will come back for it."""
        held = self._open.pop(session, None)
        if not self._open:
            self._empty.set()
        if held is None:
            ended = self._results.get(session)
            if ended is not None and not ended[0].stream.wanted:
                self._forget(session)
        elif held.stream.wanted and self._most_results:
            if len(self._results) >= self._most_results:
                self._forget(next(iter(self._results)))
            timer = asyncio.get_running_loop().call_later(
                self._result_window_s, self._forget, session
            )
            self._results[session] = held, timer

    def _forget(self, session: str) -> None:
        _, timer = self._results.pop(session)
        timer.cancel()


def _lost(session: str) -> SessionLost:
    return SessionLost(f"session {session!a} is lost: it is not held here")
