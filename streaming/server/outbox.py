"""What waits to be sent to one client.

Partials are coalesced: the latest of an utterance wins, and its final replaces
it. Everything else is kept in order and never dropped; past the bound the
reader is too slow to be kept. Knows no sockets.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

from streaming.events import Final, Partial, ServerEvent
from streaming.protocols.adapter import Say

__all__ = ["Closing", "Outbox", "Outgoing"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event or a dialect's own words, and when their audio arrived.

    Attributes:
        since: clock seconds; None where no latency is measured.
    """

    event: ServerEvent | Say
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Closing:
    """The last thing in an outbox: close the connection so."""

    code: int
    reason: str


_Key: TypeAlias = int | tuple[int, int]  # a number, or a partial's utterance


class Outbox:
    """A bounded queue with one reader.

    Args:
        limit: most events that may wait.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: OrderedDict[_Key, Outgoing] = OrderedDict()
        self._number = 0
        self._closing: Closing | None = None
        self._stirred = asyncio.Event()
        self.coalesced = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        """Nothing more is taken."""
        return self._closing is not None

    @property
    def full(self) -> bool:
        """More waits than a reader may leave waiting."""
        return len(self._waiting) > self._limit

    def put(self, event: ServerEvent | Say, since: float | None = None) -> None:
        """Add an event; after `close` it is ignored."""
        if self.closed:
            return
        key: _Key
        match event:
            case Partial():
                key = (event.channel, event.utterance)
                self._supersede(key)
            case _:
                if isinstance(event, Final):
                    self._supersede((event.channel, event.utterance))
                key = self._number
                self._number += 1
        self._waiting[key] = Outgoing(event, since)
        self._stirred.set()

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def close(self, code: int, reason: str = "") -> None:
        """End after what waits; the first close holds."""
        if self.closed:
            return
        self._closing = Closing(code, reason)
        self._stirred.set()

    async def take(self) -> Outgoing | Closing:
        """The next event, or how to close once all are taken."""
        while not self._waiting:
            if self._closing is not None:
                return self._closing
            self._stirred.clear()
            await self._stirred.wait()
        return self._waiting.popitem(last=False)[1]

    def take_all(self) -> list[Outgoing]:
        """Everything that waits, at once."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        return waiting

    def _supersede(self, key: tuple[int, int]) -> None:
        if self._waiting.pop(key, None) is not None:
            self.coalesced += 1
