"""The sessions that are open or still being decoded, by id.

The seam for resuming: a session is found by its id and token. For now one that
has lost its connection is decoded to its end and let go.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hmac import compare_digest
from math import inf

from streaming.errors import SessionLost
from streaming.protocols.adapter import Resume
from streaming.server.stream import Stream

__all__ = ["Identity", "Sessions"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a client shows to come back.

    Attributes:
        session: public name.
        token: secret.
    """

    session: str
    token: str


class Sessions:
    """All sessions of a server.

    Args:
        mark: what their ids begin with: which of several processes holds them.
    """

    def __init__(self, mark: str = "") -> None:
        self._mark = mark
        self._streams: dict[str, tuple[Identity, Stream]] = {}
        self._next = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[Stream]:
        return iter([stream for _, stream in self._streams.values()])

    def open(
        self, channels: int, make: Callable[[int, Callable[[], None]], Stream]
    ) -> tuple[Identity, Stream]:
        """Number and name a new session.

        Args:
            channels: streams it has; each gets a number of its own.
            make: first number and what to call at its end to the stream.
        """
        identity = Identity(
            self._mark + secrets.token_hex(8), secrets.token_urlsafe(24)
        )
        first, self._next = self._next, self._next + channels
        stream = make(first, lambda: self._release(identity.session))
        self._streams[identity.session] = (identity, stream)
        self._empty.clear()
        return identity, stream

    def resume(self, asked: Resume) -> Stream:
        """Find the session that a client wants to go on with.

        Raises:
            SessionLost: always, until sessions outlive their connections.
        """
        held = self._streams.get(asked.session)
        known = held is not None and compare_digest(
            held[0].token.encode(), asked.token.encode()
        )
        why = (
            "it cannot be resumed: this server keeps no session without its connection"
            if known
            else "it is not held here"
        )
        raise SessionLost(f"session {asked.session!a} is lost: {why}")

    def smallest_budget_ms(self, other: float = inf) -> float:
        """The smallest budget of all sessions and of one that is to come."""
        return min([other, *(stream.budget_ms for stream in self)])

    async def wait_empty(self) -> None:
        """Wait until no session is left."""
        await self._empty.wait()

    def _release(self, session: str) -> None:
        self._streams.pop(session, None)
        if not self._streams:
            self._empty.set()
